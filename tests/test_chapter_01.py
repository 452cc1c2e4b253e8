"""The functions of chapter 1 against calculations of another kind, and its widget without a browser."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from chapters import COURSE, cells, functions
from matplotlib.figure import Figure
from PIL import Image

import helpers
from filtersight.world import patterns, pocketvgg

CHAPTER = COURSE / "notebooks/01_model_download.ipynb"


@pytest.fixture(scope="module")
def taught():
    return functions(CHAPTER)


def test_a_filter_is_a_convolution_layer(taught):
    image = np.random.default_rng(0).random((12, 9))
    kernel = np.random.default_rng(1).normal(size=(3, 3))
    layer = tf.nn.conv2d(image[None, ..., None], kernel[..., None, None], 1, "VALID")[0, ..., 0]
    assert np.allclose(taught["convolve"](image, kernel), layer)


def test_a_kernel_is_stretched_to_a_picture(taught):
    assert np.array_equal(taught["kernel_picture"](np.array([[[-1.0, 0, 1]]])), [[[0, 128, 255]]])


def test_a_box_is_as_tall_as_the_maps_and_as_wide_as_the_filters(taught):
    axes, model = Figure().subplots(), pocketvgg.load()
    taught["draw_network"](axes, model, side=96)
    boxes = [(box.get_height(), box.get_width()) for box in axes.patches]
    images = np.zeros((1, 96, 96, 3), "f4")
    maps = [helpers.submodel(model, name)(images).numpy() for name in helpers.conv_layers(model)]
    assert np.allclose(boxes, [each.shape[2:] for each in maps])
    ends = [box.get_x() + box.get_width() for box in axes.patches]
    assert all(end < box.get_x() for end, box in zip(ends, axes.patches[1:], strict=False))


def test_what_is_said_of_the_first_filters_holds():
    """The five that the chapter calls nearly of one colour are those whose mean colour counts most."""
    kernels = pocketvgg.load().get_layer("block1_conv1").get_weights()[0]
    even = 9 * (kernels.mean(axis=(0, 1)) ** 2).sum(axis=0) / (kernels**2).sum(axis=(0, 1, 2))
    one_colour = [4, 5, 9, 10, 13]
    assert sorted(np.argsort(-even)[:5]) == one_colour
    assert even[one_colour].min() > 2 * np.delete(even, one_colour).max()


def test_the_numbers_in_the_text_are_right():
    vgg16 = keras.applications.VGG16(weights=None, include_top=False)
    filters = [
        sum(helpers.filter_count(network, name) for name in helpers.conv_layers(network))
        for network in (vgg16, pocketvgg.load())
    ]
    text = "\n".join(cell.source for cell in cells(CHAPTER, "markdown"))
    for number, what in zip(
        [*filters, len(patterns.NAMES)], ("filters", "filters", "patterns"), strict=True
    ):
        assert f"{number:,} {what}" in text


# ---------------------------------------------------------------- the widget


@pytest.fixture
def lab(taught):
    """What the widget's cells define, and what they display."""
    shown = []
    names = taught | {"show_widget": lambda *parts, alt: shown.append((*parts, alt))}
    for start in ("KERNELS = ", "place = ", "def take_choice"):
        (source,) = (c.source for c in cells(CHAPTER, "code") if c.source.startswith(start))
        exec(source, names)
    return names | {"shown": shown}


def picture(lab):
    return np.asarray(Image.open(io.BytesIO(lab["picture"].value)).convert("RGB")).astype(float)


def set_all(lab, numbers):
    for slider, number in zip(lab["sliders"], numbers, strict=True):
        slider.value = number


def test_the_sliders_show_the_map_of_their_filter(lab, monkeypatch):
    ((box, still, alt),) = lab["shown"]
    assert box.children == (lab["choice"], box.children[1], lab["picture"])
    assert box.children[1].children == tuple(lab["sliders"])
    assert len(still.axes) == 5 and len(alt) > 40
    drawn = []
    monkeypatch.setitem(
        lab["redraw"].__globals__, "grid", lambda maps, **kw: drawn.append(maps) or still
    )
    numbers = [0, 0, 0, 0, 2, 0, 0, 0, -3]
    set_all(lab, numbers)
    grey = lab["grey"]
    right = 2 * grey[1:-1, 1:-1] - 3 * grey[2:, 2:]
    assert np.allclose(drawn[-1][1], right)
    assert np.allclose(drawn[-1][2], np.maximum(right, 0))


def test_the_picture_follows_the_sliders_and_the_choice(lab):
    assert [slider.value for slider in lab["sliders"]] == lab["KERNELS"]["left edges"]
    looks = [picture(lab)]
    lab["sliders"][2].value = 5
    looks.append(picture(lab))
    lab["choice"].label = "brightness"
    assert [slider.value for slider in lab["sliders"]] == [1] * 9
    looks.append(picture(lab))
    set_all(lab, [-1] * 9)
    looks.append(picture(lab))
    for place, one in enumerate(looks):
        for other in looks[place + 1 :]:
            assert np.abs(one - other).mean() > 1
    # Nine equal negative numbers: nothing is left after ReLU.
    assert looks[-1][40:-10, -200:-10].max() < 10
    lab["choice"].label = "left edges"
    assert np.array_equal(picture(lab), looks[0])


def test_a_choice_is_drawn_once(lab, monkeypatch):
    drawn = []
    monkeypatch.setitem(lab["redraw"].__globals__, "jpeg", lambda figure: drawn.append(1) or b"")
    lab["choice"].label = "bright spots"
    assert len(drawn) == 1
