"""The course in a real browser: JupyterLab and headless Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

COURSE = Path(__file__).resolve().parents[1]


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab on `folder`, on this machine only, with settings of its own; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = [
        "--no-browser",
        "--allow-root",
        f"--ServerApp.port={port}",
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",  # so that its commands can be called
    ]
    # No question whether to look for news, which would lie over the page.
    settings = folder / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"),
        "COURSE_MODEL": "pocketvgg",
    }
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as server:
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{address}/api", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield address
        finally:
            server.terminate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium as it is installed here; OSError if it is not."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise OSError("no Chromium on this machine")
    flags = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    flags += " --disable-component-update --disable-sync"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags.split())
        yield browser
        browser.close()


@contextmanager
def course_copy() -> Iterator[Path]:
    """The course in a folder of its own, without outputs: running must not change the repository."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "course"
        shutil.copytree(COURSE, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        for path in copy.glob("notebooks/*.ipynb"):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    cell["outputs"] = []
            path.write_text(json.dumps(notebook), encoding="utf-8")
        yield copy


def open_explorer(page: Page, address: str, notebook: str) -> Locator:
    """Opens a notebook, runs all of its cells, and gives its explorer when the first picture is there."""
    # In a workspace of its own, which opens no other notebook.
    page.goto(f"{address}/lab/workspaces/{Path(notebook).stem}/tree/{notebook}", timeout=120_000)
    page.wait_for_selector(".jp-Notebook", timeout=120_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    explorer = page.locator(".jp-OutputArea-output:has(select)").first
    explorer.wait_for(timeout=240_000, state="attached")
    explorer.scroll_into_view_if_needed()
    return explorer


def screenshot() -> bytes:
    """The explorer of chapter 5 with a picture and the sheet of its layer, as PNG."""
    with course_copy() as course, jupyterlab(course) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 1300})
        explorer = open_explorer(page, address, "notebooks/05_grids.ipynb")
        explorer.locator("select").first.select_option(label="block3_conv2 (48 filters)")
        explorer.get_by_text(re.compile(r"block3_conv2 filter \d+: ")).wait_for(timeout=120_000)
        explorer.get_by_role("button", name="all filters").click()
        explorer.get_by_text("filters 0 to 47", exact=True).wait_for(timeout=120_000)
        page.wait_for_timeout(500)
        return explorer.screenshot()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(screenshot())
