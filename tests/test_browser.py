"""The explorer in JupyterLab and headless Chromium, driven as a person does.

Skipped where there is no Chromium. Screenshots, and how long things took, are left in tests/browser/.
"""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import helpers
from filtersight.world import pocketvgg
from tools.browser import chromium, course_copy, jupyterlab, open_explorer

LEFT = Path(__file__).with_name("browser")

# When each picture of the explorer has come to the screen, in milliseconds, and the last thing done.
WATCH = """explorer => {
    window.frames_seen = []; window.done_at = 0;
    explorer.querySelector("img").addEventListener("load", () => requestAnimationFrame(() =>
        requestAnimationFrame(() => window.frames_seen.push(performance.now()))));
    for (const event of ["keydown", "mousedown", "change"])
        document.addEventListener(event, () => { window.done_at = performance.now(); }, true);
}"""


def notebook(*cells):
    """A notebook file's text."""
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return json.dumps(
        {
            "cells": [
                {**code, "id": f"cell-{n}", "source": source} for n, source in enumerate(cells)
            ],
            "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


@pytest.fixture(scope="module")
def lab():
    """Chromium, the address of a JupyterLab, and the folder of the course that it shows."""
    LEFT.mkdir(exist_ok=True)
    (LEFT / "seconds.txt").write_text("")
    try:
        with chromium() as browser, course_copy() as course, jupyterlab(course) as address:
            yield browser, address, course
    except OSError as error:
        pytest.skip(f"the explorer was not tried in a browser: {error}")


def write_down(what, seconds):
    """Keeps what was measured: not asserted, because machines differ, but to be read."""
    with open(LEFT / "seconds.txt", "a") as file:
        print(f"{what}: {seconds}", file=file)


def explorer_in(browser, address, path):
    """The explorer of a notebook whose cells have all been run; errors of the page are collected."""
    page = browser.new_page(viewport={"width": 1100, "height": 1200})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    explorer = open_explorer(page, address, path)
    # Cells that still run would keep the explorer waiting.
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").last.wait_for(timeout=300_000)
    explorer.evaluate(WATCH)
    return explorer


@pytest.fixture(scope="module")
def explorer(lab):
    """The explorer of chapter 4; of its other cells only those run that it needs."""
    browser, address, course = lab
    path = course / "notebooks/04_training_loop.ipynb"
    chapter = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in chapter["cells"] if cell["cell_type"] == "code"]
    shown = [cell for cell in code if "explorer(model" in "".join(cell["source"])]
    path.write_text(json.dumps({**chapter, "cells": [*code[:2], *shown]}), encoding="utf-8")
    found = explorer_in(browser, address, f"notebooks/{path.name}")
    yield found
    assert found.page.errors == []
    found.page.close()


def wait(condition):
    """Waits until `condition()` holds, five minutes at most."""
    end = time.monotonic() + 300
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen")
        time.sleep(0.02)


def facts(explorer):
    """All that is written in the explorer."""
    return explorer.inner_text()


def slider(explorer, name):
    """The row of a slider or of another control."""
    return explorer.locator(
        ".jupyter-widgets", has=explorer.page.get_by_text(name, exact=True)
    ).last


def type_number(explorer, name, number):
    """Types a number beside a slider."""
    readout = slider(explorer, name).locator(".widget-readout")
    readout.click()
    explorer.page.keyboard.press("Control+a")
    explorer.page.keyboard.type(str(number))
    explorer.page.keyboard.press("Enter")


def button(explorer, name):
    """A button by what is written on it; its icon belongs to its name, too."""
    return explorer.get_by_role("button", name=re.compile(rf"\b{name}$"))


def idle(explorer):
    """Waits until there is nothing to stop."""
    button(explorer, "Run").wait_for(timeout=300_000)


def seen(explorer):
    """Waits until the last picture that has come is on the screen, as WATCH counts it."""
    explorer.locator("img").first.evaluate("""async picture => {
        await picture.decode();
        for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    }""")


def clear_frames(explorer):
    explorer.page.evaluate("window.frames_seen = []")


def frames(explorer):
    """Milliseconds from the last thing done to each picture since `clear_frames`."""
    return explorer.page.evaluate("window.frames_seen.map(each => each - window.done_at)")


def test_arrow_keys_step_through_the_filters(explorer):
    type_number(explorer, "iterations", 150)
    wait(lambda: "150 steps" in facts(explorer))
    idle(explorer)
    handle = slider(explorer, "filter").locator(".noUi-handle")
    number = int(handle.get_attribute("aria-valuenow").split(".")[0])
    handle.focus()
    first, climbed, rates = [], [], []
    for step in range(1, 6):
        idle(explorer)
        clear_frames(explorer)
        explorer.page.keyboard.press("ArrowRight")
        wait(lambda step=step: f"filter {number + step}: " in facts(explorer))
        idle(explorer)
        times = frames(explorer)
        if "dead" in facts(explorer):  # it has nothing to show but its start
            continue
        assert len(times) >= 5
        first.append(times[0])
        climbed.append(times[1])
        rates.append(1000 * (len(times) - 2) / (times[-1] - times[1]))
    assert first
    write_down("slider to the start image, ms", [round(each) for each in first])
    write_down("slider to the first step, ms", [round(each) for each in climbed])
    write_down("pictures per second", [round(each, 1) for each in rates])


def test_a_typed_number_is_taken(explorer):
    type_number(explorer, "filter", 22)
    wait(lambda: "filter 22: " in facts(explorer))
    idle(explorer)


def test_the_slider_can_be_dragged(explorer):
    box = slider(explorer, "filter").locator(".noUi-target").bounding_box()
    handle = slider(explorer, "filter").locator(".noUi-handle").bounding_box()
    mouse, middle = explorer.page.mouse, handle["y"] + handle["height"] / 2
    clear_frames(explorer)
    mouse.move(handle["x"] + handle["width"] / 2, middle)
    mouse.down()
    for share in np.linspace(0.6, 0.2, 12):
        mouse.move(box["x"] + share * box["width"], middle)
        explorer.page.wait_for_timeout(80)
    mouse.up()
    number = int(slider(explorer, "filter").locator(".widget-readout").inner_text())
    assert 4 <= number <= 9  # a fifth of 32 filters, within the width of the handle
    wait(lambda: f"filter {number}: " in facts(explorer))
    idle(explorer)
    assert len(frames(explorer)) >= 5


def test_stop_is_obeyed(explorer):
    type_number(explorer, "iterations", 400)
    waits = []
    for number in (13, 14, 15):
        type_number(explorer, "filter", number)
        clear_frames(explorer)
        wait(lambda: len(frames(explorer)) >= 5)
        button(explorer, "Stop").click()
        begun = time.monotonic()
        stopped = rf"filter {number}: .* \d+ of 400 steps"
        wait(lambda stopped=stopped: re.search(stopped, facts(explorer)))
        waits.append(round(1000 * (time.monotonic() - begun)))
        idle(explorer)
        seen(explorer)
        clear_frames(explorer)
        explorer.page.wait_for_timeout(400)
        assert frames(explorer) == []  # and nothing moves any more
    write_down("Stop to stopped, ms", waits)


def test_a_layer_that_was_not_seen_yet(explorer):
    explorer.locator("select").nth(2).select_option(label="clear")
    type_number(explorer, "iterations", 60)
    type_number(explorer, "filter", 30)
    wait(lambda: "filter 30: alive" in facts(explorer) and "60 steps" in facts(explorer))
    idle(explorer)
    waits = []
    for layer, count in (("block4_conv3", 80), ("block5_conv1", 128), ("block1_conv2", 16)):
        clear_frames(explorer)
        explorer.locator("select").first.select_option(label=f"{layer} ({count} filters)")
        wait(lambda: len(frames(explorer)) >= 2)
        waits.append([round(each) for each in frames(explorer)[:2]])
        wait(lambda layer=layer: f"{layer} filter" in facts(explorer))
        idle(explorer)
        handle = slider(explorer, "filter").locator(".noUi-handle")
        assert float(handle.get_attribute("aria-valuemax")) == count - 1
    assert "block1_conv2 filter 15:" in facts(explorer)
    write_down("layer to the start image and to the first step, the first time, ms", waits)


def test_a_tile_of_the_sheet_chooses_its_filter(explorer):
    explorer.locator("select").first.select_option(label="block3_conv1 (48 filters)")
    idle(explorer)
    button(explorer, "all filters").click()
    explorer.get_by_text("filters 0 to 47", exact=True).wait_for(timeout=300_000)
    tile = explorer.get_by_role("button", name="23", exact=True)
    assert "url(" in tile.evaluate("tile => getComputedStyle(tile).backgroundImage")
    tile.click()
    wait(lambda: "block3_conv1 filter 23: " in facts(explorer))
    idle(explorer)
    picture = np.asarray(
        Image.open(_shot(explorer.locator("img").first)).convert("L").resize((48, 48))
    )
    small = np.asarray(Image.open(_shot(tile)).convert("L").resize((48, 48)))
    assert picture.std() > 20 and small.std() > 20


def _shot(locator):
    path = LEFT / "part.png"
    locator.screenshot(path=path)
    return path


def test_save_writes_a_picture_that_can_be_made_again(explorer, lab, capsys):
    button(explorer, "Save").click()
    wait(lambda: "saved as filter_pictures" in facts(explorer))
    (path,) = (lab[2] / "notebooks" / "filter_pictures").glob("*.png")
    again = helpers.rerun(path, pocketvgg.load())
    assert (again.layer, again.filter) == ("block3_conv1", 23)
    assert "The same picture" in capsys.readouterr().out


def test_it_looks_right_in_both_themes_and_in_a_narrow_window(explorer):
    page = explorer.page
    explorer.scroll_into_view_if_needed()
    explorer.screenshot(path=LEFT / "light.png")
    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    page.locator("body[data-jp-theme-light=false]").wait_for(timeout=300_000, state="attached")

    def is_dark():  # the page; and the writing is not
        explorer.screenshot(path=LEFT / "dark.png")
        dark = np.asarray(Image.open(LEFT / "dark.png").convert("L"))
        ink = explorer.locator("svg").evaluate("svg => getComputedStyle(svg).color")
        return np.median(dark[:, -40:]) < 60 and min(map(int, re.findall(r"\d+", ink)[:3])) > 180

    wait(is_dark)
    page.set_viewport_size({"width": 700, "height": 1200})
    page.evaluate(
        "jupyterapp.commands.execute('application:toggle-left-area')"
    )  # the list of files
    right = page.viewport_size["width"]

    def nothing_is_cut_off():  # what is wide has gone below
        parts = explorer.locator("img, select, .noUi-target, button:visible").all()
        boxes = [box for part in parts if (box := part.bounding_box())]
        wide = explorer.evaluate("e => e.scrollWidth - e.clientWidth")
        return wide <= 1 and all(box["x"] + box["width"] <= right for box in boxes)

    wait(nothing_is_cut_off)
    page.screenshot(path=LEFT / "narrow.png")


def test_a_cell_run_again_leaves_one_explorer(lab):
    browser, address, course = lab
    (course / "notebooks" / "again.ipynb").write_text(
        notebook(
            "import sys, gc; sys.path.insert(0, '..')\n"
            "import helpers\nfrom filtersight.explorer import explorer",
            "helpers.explorer(helpers.load_model('pocketvgg'), size=64)",
            "sum(isinstance(o, explorer.Explorer) and o.comm is not None for o in gc.get_objects())",
        )
    )
    found = explorer_in(browser, address, "notebooks/again.ipynb")
    page = found.page
    output = page.locator(".jp-OutputArea-executeResult .jp-OutputArea-output").last
    assert output.inner_text().strip() == "1"
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.get_by_text("[6]:").first.wait_for(timeout=300_000)
    wait(lambda: output.inner_text().strip() == "1")
    assert page.locator(".jp-OutputArea-output select").count() == 3  # layer, size, recipe
    page.close()


def test_vgg16_stays_responsive(lab):
    """With random weights, which take as long as the true ones."""
    browser, address, course = lab
    (course / "notebooks" / "vgg16.ipynb").write_text(
        notebook(
            "import sys; sys.path.insert(0, '..')\nimport keras, helpers\n"
            "keras.utils.set_random_seed(0)\n"
            "helpers.explorer(keras.applications.VGG16(weights=None, include_top=False))"
        )
    )
    explorer = explorer_in(browser, address, "notebooks/vgg16.ipynb")
    clear_frames(explorer)
    explorer.locator("select").first.select_option(label="block5_conv3 (512 filters)")
    wait(lambda: len(frames(explorer)) >= 2)
    write_down("VGG16 block5_conv3, to the first step, ms", round(frames(explorer)[1]))
    waits = []
    for _ in range(3):
        wait(lambda: len(frames(explorer)) >= 5)
        button(explorer, "Stop").click()
        begun = time.monotonic()
        wait(lambda: re.search(r"\d+ of 50 steps", facts(explorer)))
        waits.append(round(1000 * (time.monotonic() - begun)))
        idle(explorer)
        clear_frames(explorer)
        button(explorer, "Run").click()
    write_down("VGG16 block5_conv3, Stop to stopped, ms", waits)
    button(explorer, "Stop").click()
    explorer.page.close()
