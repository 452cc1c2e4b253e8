"""Downloads that end within bounds.

Keras downloads weights into its cache and checks them, but waits for ever for a server that does
not answer. `bounded_downloads` puts limits on the wait and lets no half file appear.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from keras.src.utils import file_utils

STALL_SECONDS = 8  # until the server begins to answer, and later without a byte
WINDOW_SECONDS, WINDOW_BYTES = 10, 200_000  # less than this in that time is no download


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks and the address that failed, at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^URL fetch failure on \S+: (None -- )?", "", text)
    return text if len(text) <= 200 else text[:197] + "..."


@contextlib.contextmanager
def bounded_downloads() -> Iterator[list[tuple[str, Path]]]:
    """Lets Keras' own downloads end within bounds; gives the list of those begun, as (URL, file)."""
    begun: list[tuple[str, Path]] = []

    def retrieve(url: str, filename: str, report: Callable[[int, int, int], None]) -> None:
        """As urllib.request.urlretrieve; the file appears under its name when it is whole."""
        begun.append((url, Path(filename)))
        part = Path(f"{filename}.part")
        try:
            with open(part, "wb") as file:
                download(url, file.write, report)
            part.replace(filename)
        finally:
            part.unlink(missing_ok=True)
            print()  # ends the line of Keras' progress bar

    # Keras has no setting for this; get_file takes the function from its module.
    with mock.patch.object(file_utils, "urlretrieve", retrieve):
        yield begun


def download(
    url: str, write: Callable[[bytes], object], report: Callable[[int, int, int], None]
) -> None:
    """Gives the bytes at `url` to `write`, and progress to `report` as urlretrieve does.

    OSError if the server cannot be found, does not answer, stalls, drips, or ends too early.
    """
    with answer(url) as response:
        total = int(response.headers.get("Content-Length", -1))
        done = mark = 0
        since = time.monotonic()
        while data := response.read1(1 << 16):
            write(data)
            done += len(data)
            report(done, 1, total)
            if time.monotonic() - since > WINDOW_SECONDS:
                if done - mark < WINDOW_BYTES:
                    raise OSError(f"the server sent {done - mark} bytes in {WINDOW_SECONDS} s")
                mark, since = done, time.monotonic()
    if done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def answer(url: str) -> http.client.HTTPResponse:
    """The server's answer, headers read; OSError if there is none in time.

    Looking up an address can hang, each of several addresses takes the time limit anew, and headers
    can drip; so all of it happens in a thread that is left behind when the time is up.
    """
    results: list[http.client.HTTPResponse | BaseException] = []

    def ask() -> None:
        try:
            results.append(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=ask, daemon=True)  # it must not keep Python alive
    thread.start()
    thread.join(STALL_SECONDS)
    if not results:
        raise OSError(f"no answer from {urllib.parse.urlsplit(url).hostname} in {STALL_SECONDS} s")
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]
