"""The explorer's real widgets, driven without a browser."""

import asyncio
import base64
import dataclasses
import io
import random
import re

import cv2
import keras
import numpy as np
import psutil
import pytest
from PIL import Image

import helpers
from filtersight.ascent import recipe as recipe_module
from filtersight.basics import figures
from filtersight.explorer import explorer as explorer_module
from filtersight.explorer import sheet as sheet_module
from filtersight.world import pocketvgg


@pytest.fixture(scope="module")
def narrow():
    """The same layers, untrained and narrower, but for one that has two sheets: for what needs no good picture."""
    return pocketvgg.build((16, 4, 8, 80, 8))


def drive(model, scenario, **options):
    """Runs `scenario(explorer)` in an event loop, as in Jupyter, and checks that no task is left."""

    async def main():
        explorer = helpers.explorer(model, **{"size": 64, **options})
        await scenario(explorer)
        explorer.close()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asyncio.run(main())


async def until(condition):
    """Gives way until `condition()` holds."""
    for _ in range(6_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("it did not happen")


async def finished(explorer):
    """Gives way until the explorer has nothing to do."""
    await until(lambda: not explorer.running)


def shown(explorer):
    """The picture on the screen, as small as the one that was made."""
    return np.asarray(Image.open(io.BytesIO(explorer.picture.value)).resize((64, 64)))


def alike(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


@pytest.mark.parametrize("recipe", recipe_module.RECIPES)
def test_the_picture_grows_and_is_what_visualize_makes(model, recipe):
    async def scenario(explorer):
        frames, curves = [], []
        explorer.iterations.value = 60
        await finished(explorer)
        explorer.picture.observe(lambda change: frames.append(change["new"]), "value")
        explorer.curve.observe(lambda change: curves.append(change["new"]), "value")
        explorer.filter.value = 9
        await finished(explorer)
        assert len(set(frames)) >= 5
        made = helpers.visualize(
            model, explorer.layer.value, [9], recipe=recipe, steps=60, size=64, rescue=False
        )[0]
        assert np.array_equal(explorer.result.image, made.image)
        assert alike(shown(explorer), made.image) > 0.7
        assert str(made) in explorer.facts.value and re.search(
            r"; \d+\.\d s$", explorer.facts.value
        )
        assert explorer.progress.value == explorer.progress.max == 60
        assert explorer.button.description == "Run"
        # The curve grows to the right and ends at the last of all steps.
        ends = [float(x) for c in curves for x in re.findall(r"([\d.]+),[\d.]+\"", c)]
        assert ends == sorted(ends) and len(set(ends)) >= 5 and ends[-1] == 316

    drive(model, scenario, recipe=recipe)


def test_the_start_is_shown_beside_the_picture(model):
    async def scenario(explorer):
        explorer.seed.value = 5
        await finished(explorer)
        start = recipe_module.start_image(explorer.result.recipe)
        small = np.asarray(Image.open(io.BytesIO(explorer.start.value)).resize((64, 64)))
        assert alike(small, start) > 0.8
        assert alike(small, explorer.result.image) < 0.5

    drive(model, scenario)


@pytest.mark.parametrize(
    ("control", "value", "fact"),
    [
        ("layer", "block3_conv2", "block3_conv2 filter"),
        ("filter", 11, "filter 11:"),
        ("iterations", 23, "23 steps"),
        ("size", 96, "96 px"),
        ("recipe", "plain", "plain,"),
        ("seed", 77, "seed 77"),
    ],
)
def test_every_control_makes_another_picture(model, control, value, fact):
    async def scenario(explorer):
        before = explorer.result.image
        assert fact not in explorer.facts.value
        getattr(explorer, control).value = value
        assert explorer.running
        await finished(explorer)
        assert fact in explorer.facts.value
        after = explorer.result.image
        assert before.shape != after.shape or not np.array_equal(before, after)
        assert after.shape == (explorer.size.value, explorer.size.value, 3)

    drive(model, scenario)


def test_the_dice_gives_another_start(model):
    async def scenario(explorer):
        seeds = set()
        for _ in range(3):
            explorer.dice.click()
            await finished(explorer)
            assert f"seed {explorer.seed.value}," in explorer.facts.value
            seeds.add(explorer.seed.value)
        assert len(seeds) >= 2

    drive(model, scenario)


def test_a_layer_brings_its_own_filter_range(model):
    async def scenario(explorer):
        explorer.layer.value = "block5_conv1"
        assert explorer.filter.max == 127
        explorer.filter.value = 120
        explorer.layer.value = "block1_conv1"
        assert explorer.filter.max == explorer.filter.value == 15
        await finished(explorer)
        assert (explorer.result.layer, explorer.result.filter) == ("block1_conv1", 15)

    drive(model, scenario)


def test_every_layer_can_be_chosen_and_the_filter_slider_follows(model):
    async def scenario(explorer):
        for name in helpers.conv_layers(model):
            explorer.layer.value = name
            assert explorer.filter.max + 1 == model.get_layer(name).filters

    drive(model, scenario)


def test_stop_keeps_what_is_there_and_run_begins_anew(model):
    async def scenario(explorer):
        explorer.iterations.value = 400
        await until(lambda: explorer.progress.value >= 5 and explorer.progress.max == 400)
        explorer.button.click()
        await finished(explorer)
        done = explorer.progress.value
        assert 5 <= done < 400 and explorer.left.value == f"stopped after {done} of 400"
        assert len(explorer.result.history) == done == explorer.result.recipe.stop_after
        assert f"{done} of 400 steps" in explorer.facts.value
        assert explorer.button.description == "Run"
        explorer.iterations.value = 20
        await finished(explorer)
        assert len(explorer.result.history) == 20
        first = explorer.result
        explorer.button.click()
        assert explorer.running
        await until(lambda: explorer.button.description == "Stop")
        await finished(explorer)
        assert explorer.result is not first and np.array_equal(explorer.result.image, first.image)

    drive(model, scenario)


def test_stop_before_the_first_step_leaves_the_last_picture(model):
    async def scenario(explorer):
        before = explorer.result
        explorer.filter.value = 8
        explorer.button.click()
        await finished(explorer)
        assert explorer.result is before and explorer.button.description == "Run"

    drive(model, scenario)


def test_a_slider_moved_during_a_run_drops_the_old_picture(model):
    async def scenario(explorer):
        explorer.iterations.value = 120
        await finished(explorer)
        before = explorer.result
        for number in (3, 4, 5, 6):
            explorer.filter.value = number
            await until(lambda number=number: f"filter {number}" in explorer.facts.value)
            await until(lambda: explorer.progress.value >= 2)
            assert explorer.result is before  # none of the dropped ones was finished
        await finished(explorer)
        assert explorer.result.filter == 6 and len(explorer.result.history) == 120

    drive(model, scenario)


def test_a_picture_that_was_made_comes_back_without_work(model, monkeypatch):
    async def scenario(explorer):
        explorer.filter.value = 3
        await finished(explorer)
        first, image, facts = explorer.result, explorer.picture.value, explorer.facts.value
        explorer.filter.value = 4
        await finished(explorer)
        monkeypatch.setattr(explorer_module, "frames", None)  # whoever works now fails
        explorer.filter.value = 3
        await finished(explorer)
        assert explorer.result is first
        assert (explorer.picture.value, explorer.facts.value) == (image, facts)

    drive(model, scenario)


def test_other_weights_make_another_picture():
    model = pocketvgg.load()  # its own, because it is changed

    async def scenario(explorer):
        explorer.filter.value = 3
        await finished(explorer)
        first = explorer.result
        kernel = model.get_layer(explorer.layer.value).kernel
        kernel.assign(-kernel)
        explorer.filter.value = 4
        await finished(explorer)
        explorer.filter.value = 3
        await finished(explorer)
        assert not np.array_equal(explorer.result.image, first.image)

    drive(model, scenario)


def test_no_more_pictures_are_kept_than_fit(model, monkeypatch):
    monkeypatch.setattr(explorer_module, "KEPT", 3 * 64 * 64 * 3)

    async def scenario(explorer):
        for number in range(6):
            explorer.filter.value = number
            await finished(explorer)
        assert [recipe.filter for recipe in explorer.kept] == [3, 4, 5]

    drive(model, scenario)


def test_the_sheet_shows_all_filters_and_a_tile_chooses_one(model):
    async def scenario(explorer):
        explorer.layer.value = "block4_conv1"
        assert explorer.sheet.layout.display == "none"
        drawn = []
        explorer.sheet.range.observe(lambda change: drawn.append(change["new"]), "value")
        explorer.overview.value = True
        assert explorer.sheet.layout.display is None
        await finished(explorer)
        assert [f"filters 0 to 63, {n} drawn" for n in range(16, 64, 16)] == [
            each for each in drawn if "drawn" in each and ", 0 drawn" not in each
        ]
        assert explorer.sheet.range.value == "filters 0 to 63"
        assert len(explorer.sheet.grid.children) == 64
        style = explorer.sheet.tile_images.value
        assert len(set(re.findall(r"\.tile-\d+", style))) == 64
        # The tile shows the filter that it chooses.
        data = re.search(r"base64,([^)]*)", style)[1]
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        side = sheet_module.TILE
        top, left = 37 // 8 * side, 37 % 8 * side
        expected = helpers.visualize(model, "block4_conv1", [37], steps=30, size=64, rescue=False)[
            0
        ].image
        tile = np.asarray(
            Image.fromarray(sheet[top : top + side, left : left + side]).resize((64, 64))
        )
        assert alike(tile, expected) > 0.8
        position = re.search(r"tile-37 \{ background-position: -(\d+)px -(\d+)px", style)
        assert (int(position[1]), int(position[2])) == (left, top)
        explorer.sheet.tiles[37].click()
        await finished(explorer)
        assert explorer.filter.value == explorer.result.filter == 37
        assert f".sheet-{explorer.sheet.model_id} .tile-37 {{ outline" in explorer.sheet.mark.value
        explorer.overview.value = False
        assert explorer.sheet.layout.display == "none"

    drive(model, scenario)


def test_a_large_layer_has_pages(narrow):
    async def scenario(explorer):
        explorer.layer.value = "block4_conv3"
        explorer.overview.value = True
        await finished(explorer)
        assert explorer.sheet.back.disabled and not explorer.sheet.forth.disabled
        explorer.sheet.forth.click()
        assert explorer.running
        await finished(explorer)
        assert explorer.sheet.range.value == "filters 64 to 79" and explorer.sheet.forth.disabled
        assert [tile.description.split()[0] for tile in explorer.sheet.grid.children] == [
            str(n) for n in range(64, 80)
        ]
        explorer.sheet.tiles[5].click()
        await finished(explorer)
        assert explorer.result.filter == 69 and ".tile-5 " in explorer.sheet.mark.value
        explorer.layer.value = "block1_conv1"
        await finished(explorer)
        assert (
            explorer.sheet.range.value == "filters 0 to 15"
            and len(explorer.sheet.grid.children) == 16
        )

    drive(narrow, scenario)


def test_the_sheet_marks_silent_filters():
    model = pocketvgg.load()
    layer = model.get_layer("block2_conv2")
    kernel, bias = layer.get_weights()
    kernel[..., 5] = 0
    layer.set_weights([kernel, np.where(np.arange(32) == 5, -1, bias)])

    async def scenario(explorer):
        explorer.overview.value = True
        await finished(explorer)
        assert explorer.sheet.tiles[5].description == "5 dead"
        assert explorer.sheet.tiles[6].description == "6"
        explorer.sheet.tiles[5].click()
        await finished(explorer)
        assert "dead, silent on the start image" in explorer.facts.value
        assert "helpers.visualize would try other starts" in explorer.facts.value

    drive(model, scenario)


def test_the_slider_comes_before_the_sheet_which_goes_on_after(narrow):
    async def scenario(explorer):
        explorer.layer.value = "block4_conv3"
        explorer.overview.value = True
        await until(lambda: ", 16 drawn" in explorer.sheet.range.value)
        explorer.filter.value = 7
        await until(lambda: explorer.result.filter == 7)
        assert "drawn" in explorer.sheet.range.value
        await finished(explorer)
        assert explorer.sheet.range.value == "filters 0 to 63"

    drive(narrow, scenario)


def test_save_writes_what_rerun_makes_again(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    async def scenario(explorer):
        explorer.filter.value = 6
        await finished(explorer)
        explorer.save.click()
        (path,) = tmp_path.glob("filter_pictures/*.png")
        assert f"saved as filter_pictures/{path.name}" in explorer.facts.value.replace("\\", "/")
        explorer.iterations.value = 400
        await until(lambda: explorer.progress.value >= 7 and explorer.progress.max == 400)
        explorer.button.click()
        await finished(explorer)
        explorer.save.click()
        assert len(list(tmp_path.glob("filter_pictures/*.png"))) == 2

    drive(model, scenario)
    for path in tmp_path.glob("filter_pictures/*.png"):
        again = helpers.rerun(path, model)
        assert "The same picture, every pixel of it." in capsys.readouterr().out
        assert np.array_equal(again.image, np.asarray(Image.open(path)))


def test_save_says_when_it_cannot(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filter_pictures").write_text("a file where the folder should be")

    async def scenario(explorer):
        explorer.save.click()
        assert "not saved, filter_pictures" in explorer.facts.value
        assert "cannot be written" in explorer.facts.value

    drive(model, scenario)


def test_an_error_is_shown_and_the_next_picture_works(model, monkeypatch):
    async def scenario(explorer):
        def broken(*_args, **_kwargs):
            raise RuntimeError("no memory for <this>\nand a second line")

        with monkeypatch.context() as patch:
            patch.setattr(explorer_module, "frames", broken)
            explorer.filter.value = 7
            await finished(explorer)
            assert explorer.facts.value == "RuntimeError: no memory for &lt;this&gt;"
            assert explorer.button.description == "Run" and explorer.left.value == "failed"
        explorer.filter.value = 8
        await finished(explorer)
        assert explorer.result.filter == 8

    drive(model, scenario)


def test_an_error_at_the_end_is_shown_too(model, monkeypatch):
    async def scenario(explorer):
        def broken(*_args, **_kwargs):
            raise MemoryError("too much")

        with monkeypatch.context() as patch:
            patch.setattr(explorer_module, "judge", broken)
            explorer.filter.value = 7
            await finished(explorer)
        assert explorer.facts.value == "MemoryError: too much"
        assert explorer.button.description == "Run"

    drive(model, scenario)


def test_weights_that_are_not_finite_are_said_whatever_is_pressed():
    model = pocketvgg.load()

    async def scenario(explorer):
        layer = model.get_layer("block1_conv1")
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * np.nan, bias])
        for press in (explorer.button.click, lambda: setattr(explorer.filter, "value", 3)):
            explorer.facts.value = ""
            press()
            await finished(explorer)
            assert "has weights that are not finite" in explorer.facts.value
        layer.set_weights([kernel, bias])
        explorer.button.click()
        await finished(explorer)
        assert explorer.result.filter == 3

    drive(model, scenario)


def test_the_sheet_opens_after_a_climb_that_was_stopped_at_once(model):
    async def scenario(explorer):
        explorer.iterations.value = 400
        await until(lambda: explorer.progress.value >= 1 and explorer.progress.max == 400)
        explorer.filter.value = 9  # a climb is dropped for another one
        explorer.button.click()  # that has not begun yet
        await finished(explorer)
        explorer.overview.value = True
        await until(lambda: explorer.sheet.range.value == "filters 0 to 31")

    drive(model, scenario)


def test_a_layer_of_one_filter(model):
    import keras

    network = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(1, 3, name="one")]
    )

    async def scenario(explorer):
        assert explorer.filter.max >= explorer.filter.value == 0
        explorer.overview.value = True
        await finished(explorer)
        assert explorer.sheet.range.value == "filters 0 to 0"

    drive(network, scenario)


def test_close_ends_the_run_and_every_part(model):
    parts = []

    async def scenario(explorer):
        explorer.iterations.value = 400
        await until(lambda: explorer.progress.value >= 3)
        parts.extend([explorer, explorer.picture, explorer.facts, *explorer.sheet.tiles])
        # drive() closes it, and looks for tasks that are left

    drive(model, scenario)
    assert all(part.comm is None for part in parts)


def test_two_explorers_do_not_disturb_each_other(model):
    async def scenario(explorer):
        other = helpers.explorer(model, size=64)
        other.filter.value = 9
        explorer.filter.value = 2
        await finished(explorer)
        await finished(other)
        assert (explorer.result.filter, other.result.filter) == (2, 9)
        alone = helpers.visualize(model, explorer.layer.value, [2], size=64, rescue=False)[0]
        assert np.array_equal(explorer.result.image, alone.image)
        assert (
            explorer.sheet.tile_images.value.split("--sheet")[0]
            != other.sheet.tile_images.value.split("--sheet")[0]
        )
        other.close()

    drive(model, scenario)


def test_without_an_event_loop_the_picture_is_made_at_once(model):
    explorer = helpers.explorer(model, size=32)
    assert explorer.result.status == "alive"
    explorer.filter.value = 7
    assert explorer.result.filter == 7 and not explorer.running
    assert "\n" not in repr(explorer) and "pocketvgg" in repr(explorer)
    explorer.close()


def test_without_widgets_there_is_a_still_picture_that_says_so(model, monkeypatch):
    displayed = []
    monkeypatch.setattr(
        figures, "display", lambda data, metadata, raw: displayed.append((data, metadata))
    )
    explorer = helpers.explorer(model, size=64)
    explorer._ipython_display_()
    ((data, metadata),) = displayed
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert "a still picture stands here: block2_conv2 filter 0" in data["text/plain"]
    assert metadata["image/jpeg"]["alt"] == data["text/plain"]
    still = Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"])))
    assert np.asarray(still).std() > 30  # not an empty page
    explorer.close()


def test_running_the_cell_again_ends_what_it_made_before(model, monkeypatch):
    class Shell:
        execution_count = 1
        cell = "a"

        def get_parent(self):
            return {"metadata": {"cellId": self.cell}}

    shell = Shell()
    monkeypatch.setattr(explorer_module, "get_ipython", lambda: shell)

    async def scenario(explorer):
        beside = helpers.explorer(model, size=64)
        shell.execution_count, shell.cell = 2, "b"
        elsewhere = helpers.explorer(model, size=64)
        for each in (explorer, beside, elsewhere):
            each.iterations.value = 400
        await until(lambda: explorer.progress.value >= 1)
        assert explorer.running and beside.running
        shell.execution_count, shell.cell = 3, "a"
        again = helpers.explorer(model, size=64)
        await until(lambda: not explorer.running and not beside.running)
        assert explorer.comm is None and elsewhere.comm is not None and elsewhere.running
        elsewhere.close()
        again.close()

    drive(model, scenario)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 8}, "size must be"),
        ({"seed": -1}, "seed must be"),
        ({"recipe": "best"}, "recipe must be one of clear, plain, not 'best'"),
    ],
)
def test_wrong_options_are_refused(model, options, said):
    with pytest.raises(ValueError, match=said):
        helpers.explorer(model, **options)


def test_a_size_that_a_layer_cannot_take_gives_way_to_one_that_it_takes():
    import keras

    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 3, name="small"),
            keras.layers.Conv2D(4, 65, name="wide"),
        ]
    )

    async def scenario(explorer):
        explorer.size.value = 64
        await finished(explorer)
        explorer.layer.value = "wide"  # needs images of at least 67 pixels
        await finished(explorer)
        assert explorer.result.layer == "wide" and explorer.result.recipe.size == 128
        assert 64 not in [size for _, size in explorer.size.options]

    drive(model, scenario)


def test_two_hundred_random_moves(narrow):
    """No error, no task left, and memory that does not grow."""
    rng = random.Random(0)
    layers = ["block1_conv2", "block2_conv2", "block3_conv1", "block4_conv3"]

    def move(explorer):
        what = rng.randrange(12)
        if what == 0:
            explorer.layer.value = rng.choice(layers)
        elif what == 1:
            explorer.iterations.value = rng.randint(1, 400)
        elif what == 2:
            explorer.size.value = rng.choice([64, 96, 128])
        elif what == 3:
            explorer.recipe.value = rng.choice(["clear", "plain"])
        elif what == 4:
            explorer.dice.click()
        elif what == 5:
            explorer.button.click()
        elif what == 6:
            explorer.overview.value = not explorer.overview.value
        elif what == 7:
            rng.choice(explorer.sheet.tiles).click()
        elif what == 8 and not explorer.sheet.forth.disabled:
            explorer.sheet.forth.click()
        elif what == 9 and not explorer.sheet.back.disabled:
            explorer.sheet.back.click()
        else:
            explorer.filter.value = rng.randint(0, explorer.filter.max)

    async def scenario(explorer):
        failures = []

        def look(change):
            if change["new"] == "failed":
                failures.append(explorer.facts.value)

        explorer.left.observe(look, "value")
        # Graphs are built once for a layer and stay; they are not what this test is about.
        explorer.iterations.value = 2
        for recipe in recipe_module.RECIPES:
            for layer in layers:
                explorer.recipe.value, explorer.layer.value, explorer.size.value = (
                    recipe,
                    layer,
                    128,
                )
                await finished(explorer)
        explorer.overview.value = True
        await finished(explorer)
        before = psutil.Process().memory_info().rss
        for _ in range(200):
            move(explorer)
            await asyncio.sleep(rng.choice([0, 0.01, 0.1]))
            assert len(asyncio.all_tasks()) <= 3  # this one, the one at work, one that is ending
        await finished(explorer)
        grown = psutil.Process().memory_info().rss - before
        assert not failures
        assert grown < 50e6
        assert len(asyncio.all_tasks()) == 1

    drive(narrow, scenario)


def test_the_sizes_offered_are_those_that_the_layer_takes():
    fixed = keras.Sequential(
        [keras.Input((48, 96, 3)), keras.layers.Flatten(), keras.layers.Dense(2, name="d")]
    )
    made = explorer_module.Explorer(fixed, recipe="clear", size=None, seed=0)
    assert made.size.options == (("48 × 96 pixels", (48, 96)),)
    tile = made.sheet
    picture = made.still
    tile.show({picture.filter: dataclasses.replace(picture, image=np.zeros((48, 96, 3), np.uint8))})
    data = tile.tile_images.value.partition("base64,")[2].partition(")")[0]
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1)
    left = picture.filter * 56  # twice as wide as high: bright above and below, dark in the middle
    assert drawn[:10, left : left + 56].min() > 200 and drawn[20:36, left : left + 56].max() < 50
    made.close()
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, name="near")(inputs)
    far = keras.layers.Conv2D(2, 3, dilation_rate=50, name="far")(x)  # needs 103 pixels
    made = explorer_module.Explorer(keras.Model(inputs, far), recipe="clear", size=64, seed=0)
    made.iterations.value = 1
    assert [size for _, size in made.size.options] == [64, 96, 128, 192, 256, 384]
    made.layer.value = "far"
    assert [size for _, size in made.size.options] == [128, 192, 256, 384]
    assert made.result.image.shape == (128, 128, 3)
    made.close()
