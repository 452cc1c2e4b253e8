"""The functions of chapter 5 against calculations of another kind, what it says of VGG19, and its widget."""

import functools
import io
import re

import ipywidgets
import keras
import numpy as np
import pytest
from chapters import COURSE, cells, functions
from PIL import Image

import helpers

CHAPTER = COURSE / "notebooks/05_grids.ipynb"


@pytest.fixture(scope="module")
def taught(model):
    return functions(CHAPTER, model=model)


def cell_with(text):
    (source,) = (cell.source for cell in cells(CHAPTER, "code") if text in cell.source)
    return source


def wave(length, side=128):
    stripes = np.sin(np.arange(side) / length * 2 * np.pi)[:, None, None]
    return 127 + 100 * stripes * np.ones((1, side, 3))


def test_the_grid_has_its_pictures_in_rows(taught):
    tiles = [np.full((10, 10, 3), level, np.uint8) for level in (0, 50, 100, 150)]
    sheet = taught["simple_grid"](tiles, 2)
    assert sheet.shape == (28, 28, 3)
    assert [sheet[5, 5, 0], sheet[5, 20, 0], sheet[20, 5, 0], sheet[20, 20, 0]] == [0, 50, 100, 150]


def test_the_picture_of_a_filter_does_not_depend_on_the_batch(model):
    draw = functools.partial(helpers.visualize, model, "block2_conv2", steps=10, size=48)
    together, alone = draw(range(8), recipe="plain"), draw([6], recipe="plain")[0]
    assert np.corrcoef(together[6].image.ravel(), alone.image.ravel())[0, 1] > 0.95
    assert np.corrcoef(together[5].image.ravel(), alone.image.ravel())[0, 1] < 0.6


def test_grain_is_the_wavelength(taught):
    for length in (4, 16, 32):
        assert taught["grain"](wave(length)) == pytest.approx(length)
    # Two waves: where the stronger one is.
    assert taught["grain"](wave(4) + 0.5 * wave(32)) == pytest.approx(4)
    assert taught["grain"](wave(4) + 2 * wave(32)) == pytest.approx(32)


def test_memory_is_that_of_all_maps(taught, model):
    cut = helpers.submodel(model, "block2_conv1")
    blank = np.zeros((3, 40, 40, 3), "f4")
    values = sum(np.size(helpers.submodel(model, each.name)(blank)) for each in cut.layers[1:])
    assert taught["megabytes"](model, "block2_conv1", 3, 40) == pytest.approx(4 * values / 1e6)


def test_dead_pictures_keep_their_places():
    """Nothing in the chapter sorts or chooses pictures by what became of them."""
    text = "\n".join(cell.source for cell in cells(CHAPTER, "code"))
    assert not re.search(r"\bsorted\(", text) and 'status == "alive"' not in text
    drawn = functions(CHAPTER, model=None, last=["a", "b"], count=3, size=8)
    drawn["visualize"] = lambda network, name, filters, **_: [(name, each) for each in filters]
    assert drawn["rows"](None, "plain") == [[(n, k) for k in range(3)] for n in "ab"]


def test_vgg19s_tiles_are_cut_out_whole_and_become_coarser(taught):
    names = taught | {"course": COURSE, "plain": [], "clear": [], "chance": []}
    exec(cell_with("vgg19.jpg"), names)
    assert np.shape(names["tiles"]) == (5, 16, 88, 88, 3)
    for tile in (tile for row in names["tiles"] for tile in row):
        for edge in (tile[0], tile[-1], tile[:, 0], tile[:, -1]):
            assert np.mean(edge.min(axis=-1) > 240) < 0.95  # not the white between the tiles
    grains = names["grains"]["VGG19"]
    assert grains[4] > 2 * grains[0] and grains[3] > 1.5 * grains[1]


def test_depth_is_coarse_by_the_default_recipe_also_without_learning(taught, model):
    """What the chapter says of its curves, with fewer pictures."""
    keras.utils.set_random_seed(0)
    untrained = keras.models.clone_model(model)

    def grain_of(network, layer, recipe):
        pictures = helpers.visualize(network, layer, range(4), size=128, recipe=recipe)
        return np.median([taught["grain"](picture.image) for picture in pictures])

    shallow, deep = "block2_conv2", "block5_conv3"
    assert grain_of(model, deep, "plain") < grain_of(model, shallow, "plain")
    for network in (model, untrained):
        assert grain_of(network, deep, "clear") > 1.5 * grain_of(network, shallow, "clear")


def test_the_slider_draws_the_layer_that_is_chosen(taught, model):
    shown = []
    last = ["", "", "block2_conv1", "", ""]
    names = taught | {"last": last, "show_widget": lambda *given, **_: shown.append(given)}
    few = functools.partial(helpers.visualize, steps=4)
    taught["visualize"] = names["visualize"] = few
    titles = []
    taught["grid"] = lambda *given, **named: (
        titles.append(named["title"]) or helpers.grid(*given, **named)
    )
    exec(cell_with("SelectionSlider"), names)
    ((box, _),) = shown
    assert isinstance(box, ipywidgets.VBox)
    depth, recipe, picture = (names[name] for name in ("depth", "recipe", "picture"))
    assert depth.options == tuple(helpers.conv_layers(model)) and not depth.continuous_update
    seen = [picture.value]
    depth.value = "block3_conv2"
    seen.append(picture.value)
    recipe.value = "plain"
    seen.append(picture.value)
    assert len(set(seen)) == 3
    assert all(Image.open(io.BytesIO(data)).format == "JPEG" for data in seen)
    assert "block2_conv1, clear: receptive field 10," in titles[0]
    assert "block3_conv2, plain: receptive field 32," in titles[-1]
