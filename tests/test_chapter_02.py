"""The functions of chapter 2 against the library, and its widgets without a browser."""

import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.world import patterns

CHAPTER = COURSE / "notebooks/02_submodels.ipynb"


@pytest.fixture(scope="module")
def taught(model):
    return functions(CHAPTER, model=model, hopper=helpers.photo())


@pytest.mark.parametrize("layer", ["block1_conv1", "block3_pool", "block4_conv2"])
def test_the_functions_are_those_of_helpers(taught, model, layer):
    images, _ = patterns.images(3, seed=1)
    theirs = helpers.submodel(model, layer)(images.astype("f4")).numpy()
    assert np.array_equal(taught["submodel"](model, layer)(images.astype("f4")), theirs)
    assert np.allclose(taught["maps_of"](model, layer, images[1]), theirs[1], rtol=1e-3, atol=1e-3)
    ours = taught["activations"](model, layer, images)
    assert np.allclose(ours, helpers.activations(model, layer, images), rtol=1e-3, atol=1e-5)


def test_pooling_is_that_of_tensorflow(taught):
    maps = np.random.default_rng(0).random((6, 4, 2)).astype("f4")
    assert np.array_equal(taught["max_pool"](maps), tf.nn.max_pool2d(maps[None], 2, 2, "VALID")[0])


@pytest.mark.parametrize("layer", ["block1_conv2", "block2_conv2", "block3_conv1"])
def test_what_changes_a_value_is_its_receptive_field(taught, model, layer):
    columns, change = taught["influence"](model, layer, 64)
    seen = columns[change > 1e-5 * change.max()]
    half = helpers.receptive_field(model, layer) / 2
    assert seen.min() == pytest.approx(0.5 - half) and seen.max() == pytest.approx(half - 0.5)


def test_most_of_the_influence_comes_from_the_inner_half(taught, model):
    """Half of it would, if it were even."""
    for layer in ("block3_conv1", "block3_conv3", "block4_conv3"):
        columns, change = taught["influence"](model, layer, 128)
        side = helpers.receptive_field(model, layer)
        assert (np.abs(columns) < side / 4).sum() == side / 2
        assert change[np.abs(columns) < side / 4].sum() / change.sum() > 0.65
        assert change[np.abs(columns) > 0.4 * side].sum() / change.sum() < 0.1


# ---------------------------------------------------------------- the widgets


def look(image):
    return np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB")).astype(float)


def built(taught, *starts):
    """What the cells that begin so define and display."""
    shown = []
    names = taught | {"show_widget": lambda *parts, **alt: shown.append((*parts, *alt.values()))}
    for start in starts:
        (source,) = (c.source for c in cells(CHAPTER, "code") if c.source.startswith(start))
        exec(source, names)
    ((box, still, alt),) = shown
    assert len(still.axes) >= 3 and len(alt) > 40
    return names, box


def test_the_layer_slider_shows_the_strongest_maps_of_its_layer(taught, model):
    names, box = built(taught, "layer_slider = ")
    assert box.children == (names["layer_slider"], names["maps_picture"])
    assert names["layer_slider"].options == tuple(helpers.conv_layers(model))
    before = look(names["maps_picture"])
    names["layer_slider"].value = "block1_conv1"
    after = look(names["maps_picture"])
    assert after.shape == before.shape and np.abs(after - before).mean() > 5
    figure = taught["strongest_maps"]("block4_conv2")
    means = helpers.activations(model, "block4_conv2", taught["hopper"][None])[0]
    numbers = [int(axes.get_title().split()[1]) for axes in figure.axes]
    assert len(numbers) == 8
    assert np.allclose(means[numbers], np.sort(means)[::-1][:8], rtol=1e-3)


def test_the_place_sliders_show_what_a_value_sees(taught, model):
    names, box = built(taught, "place = ", "look()")
    sliders = [names[name] for name in ("at_layer", "down", "across")]
    assert box.children == (*sliders, names["seen_picture"])
    looks = [look(names["seen_picture"])]
    for slider, value in zip(sliders, ("block2_conv2", 0.8, 0.1), strict=True):
        slider.value = value
        looks.append(look(names["seen_picture"]))
    for one, other in itertools.pairwise(looks):
        assert np.abs(one - other).mean() > 0.5


@pytest.mark.parametrize(
    ("layer", "down", "across"),
    [("block2_conv2", 0.4, 0.6), ("block3_conv1", 0.0, 1.0), ("block4_conv3", 0.5, 0.3)],
)
def test_outside_of_the_square_nothing_matters(taught, model, layer, down, across):
    figure = taught["look_through"](layer, down, across)
    maps, dimmed, crop = (axes.images[0].get_array() for axes in figure.axes)
    (mark,) = figure.axes[0].lines
    column, row = int(mark.get_xdata()[0]), int(mark.get_ydata()[0])
    assert (row, column) == (round(down * (len(maps) - 1)), round(across * (len(maps) - 1)))
    hopper = taught["hopper"]
    network = helpers.submodel(model, layer)
    inside = np.all(np.asarray(dimmed) == hopper, axis=-1)
    square = np.zeros((224, 224), bool)
    height, width = np.shape(crop)[:2]
    side = int(helpers.receptive_field(model, layer))
    assert max(height, width) <= side and (height == width == side or 0 in (down, across))
    place = [
        (top, left)
        for top in range(225 - height)
        for left in range(225 - width)
        if np.array_equal(hopper[top : top + height, left : left + width], crop)
        and inside[top : top + height, left : left + width].all()
    ]
    assert len(place) == 1
    ((top, left),) = place
    square[top : top + height, left : left + width] = True
    other = np.where(square[..., None], hopper, 255 - hopper)
    before, after = (network(image[None].astype("f4"))[0, row, column] for image in (hopper, other))
    scale = np.abs(before).max()
    assert np.abs(before - after).max() < 1e-6 * scale
    # One pixel less on each side that is not the image's own, and it does.
    inner = np.zeros_like(square)
    inner[top + 1 : top + height - 1, left + 1 : left + width - 1] = True
    other = np.where(inner[..., None], hopper, 255 - hopper)
    changed = network(other[None].astype("f4"))[0, row, column]
    assert np.abs(changed - before).max() > 1e-5 * scale
