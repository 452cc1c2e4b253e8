"""Chapter 4 in a real browser: JupyterLab, headless Chromium, the explorer's sliders moved."""

from __future__ import annotations

import json
import os
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

from playwright.sync_api import Page, sync_playwright

COURSE = Path(__file__).resolve().parents[1]
NOTEBOOK = "04_training_loop.ipynb"


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab on `folder`, on this machine only; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = [
        "--no-browser",
        "--allow-root",
        f"--ServerApp.port={port}",
        "--IdentityProvider.token=",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"]
    environment = {**os.environ, "COURSE_MODEL": "pocketvgg"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as server:
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"{address}/api", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield address
        finally:
            server.terminate()


@contextmanager
def explorer_page() -> Iterator[Page]:
    """Chapter 4 open in Chromium with all cells run and the explorer's first picture finished."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise OSError("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        copy = Path(folder) / "course"  # running must not change the notebook of the repository
        shutil.copytree(COURSE, copy, ignore=shutil.ignore_patterns(".*"))
        notebook = copy / "notebooks" / NOTEBOOK
        text = json.loads(notebook.read_text(encoding="utf-8"))
        for cell in text["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"] = []
        notebook.write_text(json.dumps(text), encoding="utf-8")
        flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        flags += " --disable-component-update --disable-sync"
        browser = playwright.chromium.launch(executable_path=chromium, args=flags.split())
        with jupyterlab(copy) as address:
            page = browser.new_page(viewport={"width": 1200, "height": 1000})
            page.goto(f"{address}/lab/tree/notebooks/{NOTEBOOK}", timeout=90_000)
            page.wait_for_selector(".jp-Notebook", timeout=90_000)
            page.wait_for_timeout(3000)
            page.click("text=Run")
            page.click("text=Run All Cells", timeout=10_000)
            page.wait_for_selector(".widget-image >> nth=1", timeout=180_000, state="attached")
            yield page
        browser.close()


def screenshot() -> bytes:
    """The explorer after its picture is finished, as PNG."""
    with explorer_page() as page:
        explorer = page.locator(".jp-OutputArea-output:has(select)").first
        explorer.scroll_into_view_if_needed()
        explorer.get_by_text("40 steps", exact=True).wait_for(timeout=120_000)
        return explorer.screenshot()
