"""The web site: built once, its files read, and its pages opened in headless Chromium.

The tests in the browser are skipped where there is none. Screenshots are left in tests/browser/.
"""

import functools
import importlib
import json
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from chapters import COURSE, NOTEBOOKS
from PIL import Image
from served import LEFT, served
from test_gallery import facts, fake, png

LIVE = {
    "index.html": "explorer",
    "draw.html": "draw",
    "notebooks/04_training_loop.html": "iterations",
    "notebooks/05_grids.html": "sheet",
    "notebooks/06_clear_pictures.html": "changes",
    "notebooks/12_birth.html": "birth",
}


@pytest.fixture(scope="module")
def builder():
    """The module site/build.py."""
    sys.path.insert(0, str(COURSE / "site"))
    yield importlib.import_module("build")
    sys.path.remove(str(COURSE / "site"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, with the gallery of a small atlas."""
    folder = tmp_path_factory.mktemp("built")
    tile = np.full((32, 32, 3), (200, 30, 30), np.uint8)
    fake(folder / "atlas", {"block1_conv1": 2}, lambda *_: png(tile), facts)
    command = [sys.executable, "site/build.py", folder / "site", "--atlas", folder / "atlas"]
    done = subprocess.run(command, cwd=COURSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # Sphinx is silent unless it warns.
    assert re.fullmatch(r".*site: \d+ pages, \d+ MB, in \d+ s\n", done.stdout), done.stdout
    return folder / "site"


@functools.cache
def parsed(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def pages(site):
    """All pages but the live one, which is shown in others."""
    return [path for path in sorted(site.rglob("*.html")) if "live" not in path.parts]


# ---------------------------------------------------------------- what is built


def test_all_chapters_are_there_and_follow_each_other(site):
    path = site / "notebooks/01_model_download.html"
    for notebook in NOTEBOOKS:
        assert path.stem == notebook.stem
        title = nbformat.read(notebook, as_version=4).cells[0].source.splitlines()[0]
        assert parsed(path).h1.get_text().startswith(title.removeprefix("# "))
        following = parsed(path).find("a", class_="right-next")
        path = (path.parent / following["href"]).resolve()
    cards = [link["href"] for link in parsed(site / "index.html").select("#the-chapters li a")]
    assert [Path(each).stem for each in cards] == [notebook.stem for notebook in NOTEBOOKS]


def test_links_and_pictures_lead_somewhere(site):
    anchors = {}
    for page in pages(site):
        anchors[page] = {each["id"] for each in parsed(page).find_all(id=True)}
    for page in pages(site):
        for name, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
            for tag in parsed(page).find_all(name, attrs={attribute: True}):
                address = urllib.parse.urlsplit(tag[attribute])
                if address.scheme:
                    # Links to the works that are spoken of lead out of the site; what a page loads does not.
                    assert name == "a" and address.scheme == "https", tag
                    continue
                file = (page.parent / urllib.parse.unquote(address.path)).resolve()
                file = page if not address.path else file
                assert file.is_file(), f"{page}: {tag[attribute]}"
                if address.fragment and file in anchors:
                    assert address.fragment in anchors[file], f"{page}: {tag[attribute]}"


def words_of(notebook):
    """The words of all pictures of a notebook, in their order."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown":
            yield from re.findall(r"!\[(.*?)\]\(\.\./media", cell.source)
        for output in cell.get("outputs", []):
            if "image/jpeg" in output.get("data", {}):
                yield output.metadata["image/jpeg"]["alt"]


def plain(text):
    """Without the quotation marks and spaces that typesetting changes."""
    return re.sub(r"""[\s'"‘’“”]+""", " ", text).strip()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_pictures_keep_their_words_and_say_their_size(site, notebook):
    page = site / f"notebooks/{notebook.stem}.html"
    found = parsed(page).select("article img")
    assert [plain(each["alt"]) for each in found] == [plain(words) for words in words_of(notebook)]
    for each in found:
        with Image.open(page.parent / each["src"]) as image:
            assert (int(each["width"]), int(each["height"])) == image.size


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_can_be_downloaded_as_it_is(site, notebook):
    page = site / f"notebooks/{notebook.stem}.html"
    (link,) = [a for a in parsed(page).find_all("a") if a.get_text() == "Download the notebook"]
    assert (page.parent / link["href"]).read_bytes() == notebook.read_bytes()


def test_a_file_that_is_no_page_is_in_the_site_or_in_the_repository(site, builder):
    (link,) = [
        a
        for a in parsed(site / "docs/networks.html").find_all("a")
        if a.get_text() == "patterns.py"
    ]
    original = COURSE / "filtersight/world/patterns.py"
    assert (site / "docs" / link["href"]).read_bytes() == original.read_bytes()
    address = "https://github.com/alice/course/blob/v2.0"
    text = "[p](../filtersight/world/patterns.py) [c](../CONCEPTS.md#vgg16) ![x](../media/strip.jpg) f[0](images)"
    assert builder.rewrite.page(text, "docs/networks.md", address) == text.replace(
        "../filtersight", f"{address}/filtersight"
    )


def test_a_stamped_chapter_opens_in_colab_and_loads_no_badge(builder):
    badge = (
        "[![Open in Colab](https://colab.example/badge.svg)](https://colab.example/05_grids.ipynb)"
    )
    cell = nbformat.v4.new_markdown_cell(
        f"[Course](../README.md) · <!-- colab -->{badge}<!-- /colab -->"
    )
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("1 + 1")])
    shown = json.loads(
        builder.rewrite.page(nbformat.writes(notebook), "notebooks/05_grids.ipynb", "https://x")
    )
    assert shown["cells"][0]["source"] == (
        "[Course](../index.md) · [Open in Colab](https://colab.example/05_grids.ipynb) · "
        "{download}`Download the notebook <05_grids.ipynb>`"
    )


def test_a_thumbnail_is_made_of_the_pictures_in_a_figure(builder):
    figure = Image.new("RGB", (500, 230), "white")
    colours = {
        (row, column): (row * 200, column * 50, 90) for row in range(2) for column in range(5)
    }
    for (row, column), colour in colours.items():
        figure.paste(colour, (column * 95 + 10, row * 110 + 20, column * 95 + 95, row * 110 + 105))
        figure.paste(
            "black", (column * 95 + 10, row * 110 + 8, column * 95 + 40, row * 110 + 16)
        )  # words
    small = builder.thumbnail(figure)
    assert small.size == (360, 240)
    for row, column in np.ndindex(2, 3):
        assert small.getpixel((column * 120 + 60, row * 120 + 60)) == colours[row, 2 * column]


def test_what_is_no_site_is_left_alone(builder, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(
        ValueError, match="holds something that is no earlier site; name a new folder"
    ):
        builder.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.filterwarnings("ignore")  # what myst-parser has to change before Sphinx 11
def test_a_link_to_nowhere_ends_the_build(builder, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(builder, "PAGES", ["README.md", "media"])
    with pytest.raises(SystemExit):
        builder.build(tmp_path / "site")
    assert "'draw.md'" not in (said := capfd.readouterr().err) and "CONCEPTS" in said
    assert not (tmp_path / "site").exists()


# ---------------------------------------------------------------- in the browser


@pytest.fixture(scope="module")
def in_browser(site):
    """Chromium, and the site's address."""
    with served(site) as (browser, address):
        yield browser, f"{address}/"


@pytest.fixture
def page(in_browser):
    """A page whose complaints and requests to outside are collected, and must be none in the end."""
    browser, address = in_browser
    opened = browser.new_page(base_url=address, viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(20_000)
    found = opened.complaints = []
    opened.on("pageerror", lambda error: found.append(str(error)))
    opened.on("console", lambda said: found.append(said.text) if said.type == "error" else None)
    opened.on("response", lambda got: found.append(got.url) if got.status >= 400 else None)
    ours = (address, "blob:", "data:")
    opened.on("request", lambda sent: None if sent.url.startswith(ours) else found.append(sent.url))
    yield opened
    opened.close()
    assert found == []


def wait_for_a_picture(page):
    """Waits until the live page shows more than empty canvases."""
    page.wait_for_function(
        """() => [...document.querySelector(".live iframe").contentDocument.querySelectorAll("canvas")]
        .some(canvas => canvas.toDataURL().length > 10_000)"""
    )


def sideways(page):
    """How many pixels the page is wider than the window."""
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def test_every_page_opens_whole_on_a_phone(page, site):
    page.set_viewport_size({"width": 390, "height": 844})
    for path in pages(site):
        page.goto(path.relative_to(site).as_posix())
        broken = page.evaluate(
            """async () => {
            const images = [...document.images].filter(image => image.getAttribute("src"));
            for (const image of images) image.loading = "eager";
            await Promise.allSettled(images.map(image => image.decode()));
            return images.filter(image => !image.naturalWidth).map(image => image.src);
        }"""
        )
        assert broken == [], path
        assert sideways(page) <= 0, path


@pytest.mark.parametrize("name", LIVE)
def test_the_live_picture_stands_where_the_still_one_was(page, name):
    page.goto(name)
    frame = page.locator(".live iframe")
    frame.scroll_into_view_if_needed()
    assert f"view={LIVE[name]}" in frame.get_attribute("src")
    assert len(frame.get_attribute("title")) > 10
    wait_for_a_picture(page)
    assert page.locator(".cell[class*=tag_live] .cell_output").count() == 0
    # The frame is as high as what is in it.
    page.wait_for_function(
        """() => { const frame = document.querySelector(".live iframe"), inner = frame.contentDocument;
        return Math.abs(frame.clientHeight - inner.querySelector("main").getBoundingClientRect().bottom) < 20; }"""
    )


def test_without_javascript_a_still_picture_and_a_sentence(in_browser):
    browser, address = in_browser
    page = browser.new_page(base_url=address, java_script_enabled=False)
    for name in LIVE:
        page.goto(name)
        assert "JavaScript" in page.locator(".live").inner_text()
        assert page.locator(".live iframe").count() == 0
        if name.startswith("notebooks"):
            assert page.locator(".cell[class*=tag_live] .cell_output img").is_visible()
    page.close()


def test_search_finds_a_word(page):
    page.goto("index.html")
    page.get_by_label("Search the course").fill("polysemantic")
    page.keyboard.press("Enter")
    page.locator("#search-results li a", has_text="The ideas, in reading order").wait_for()


def lightness(page):
    return page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    )


def test_the_dark_is_one_for_all_pages(page):
    page.goto("index.html")
    assert min(lightness(page)) > 240
    page.get_by_role("button", name="Light or dark").click()
    assert max(lightness(page)) < 40
    inside = page.frame_locator("iframe").locator(":root[data-theme=dark]")
    inside.wait_for(state="attached")
    page.goto("notebooks/04_training_loop.html")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert max(lightness(page)) < 40


def test_keys_alone_lead_through_the_site(page):
    page.goto("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    for _ in range(2):  # past the name of the course to "Chapters"
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/01_model_download.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("receptive field")
    page.keyboard.press("Enter")
    page.locator("#search-results li a").first.wait_for()


@pytest.mark.parametrize(
    ("width", "colours"), [(390, "light"), (820, "light"), (1280, "light"), (1280, "dark")]
)
def test_it_looks_right(page, width, colours):
    page.emulate_media(color_scheme=colours)
    page.set_viewport_size({"width": width, "height": 900})
    for name in ("index", "notebooks/04_training_loop"):
        page.goto(f"{name}.html")
        page.locator(".live").scroll_into_view_if_needed()
        wait_for_a_picture(page)
        assert sideways(page) <= 0
        assert (max(lightness(page)) < 40) == (colours == "dark")
        page.screenshot(path=LEFT / f"site_{Path(name).stem}_{width}_{colours}.png")
