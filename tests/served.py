"""A folder of the site in a browser, for the tests of the site and of its live explorer."""

import contextlib
import functools
import http.server
import threading
from pathlib import Path

import pytest

from tools.browser import chromium

LEFT = Path(__file__).with_name("browser")  # where screenshots are left


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """Chromium and the address of a folder, without a slash in the end; skips where there is no Chromium."""
    LEFT.mkdir(exist_ok=True)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with chromium() as browser:
                yield browser, f"http://127.0.0.1:{server.server_port}"
        except OSError as error:
            pytest.skip(f"not tried in a browser: {error}")
        finally:
            server.shutdown()
