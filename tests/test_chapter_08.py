"""The functions of chapter 8 against calculations of another kind, its claims, and its widget."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.ascent import objective
from filtersight.ascent import plain as plain_module
from filtersight.networks.layers import Layer
from filtersight.trust import doctor

CHAPTER = COURSE / "notebooks/08_dead_filters.ipynb"
LAYER, OURS = "block5_conv1", 14


@pytest.fixture(scope="module")
def taught(model):
    """The chapter's functions, and what they need of its other cells, at the chapter's size."""
    names = {
        "model": model,
        "layer": LAYER,
        "first": OURS,
        "size": 96,
        "start": helpers.random_image(96),
        "world": helpers.tiled_to(helpers.sample()[::8], 96),
        "silent": {LAYER: [OURS, 1]},
    }
    names = functions(CHAPTER, **names)
    (source,) = (c.source for c in cells(CHAPTER, "code") if "def leaky_relu" in c.source)
    copying = source[source.index("leaking = ") : source.index("same = ")]
    exec(copying, names)
    return names


# ---------------------------------------------------------------- the functions


def test_the_ascent_is_that_of_helpers(model, taught):
    image = helpers.random_image(48)
    *_, (expected, values) = plain_module.ascend_pixels(
        Layer(model, "block2_conv2"), [3], image, steps=6, step_size=4.0, seconds=1e9
    )
    images, history = taught["ascend"](taught["after_relu"]("block2_conv2", [3]), image[None], 6)
    assert np.abs(images - expected).mean() < 0.01
    assert history.shape == (6, 1) and history[-1, 0] == pytest.approx(values[-1, 0], rel=1e-3)


def test_before_the_relu_is_the_layer_without_it(model, taught):
    image = helpers.random_image(48)[None]
    layer = model.get_layer("block4_conv1")
    incoming = taught["into"]("block4_conv1")(image).numpy()[0]
    padded = np.pad(incoming, ((1, 1), (1, 1), (0, 0)))
    kernel, bias = layer.get_weights()
    expected = bias + sum(
        padded[r : r + len(incoming), c : c + len(incoming)] @ kernel[r, c]
        for r in range(3)
        for c in range(3)
    )
    own = taught["before_relu"]("block4_conv1", incoming[None])[0]
    assert np.allclose(own, expected, atol=1e-3)
    whole = helpers.submodel(model, "block4_conv1")(image)[0]
    assert np.allclose(np.maximum(own, 0), whole, atol=1e-4)
    means = taught["before"]("block4_conv1", [5, 2])(np.repeat(image, 2, axis=0))
    assert np.allclose(means, expected.mean(axis=(0, 1))[[5, 2]], atol=1e-3)


def test_the_way_back_agrees_with_the_doctor(model, taught):
    image, layer = helpers.random_image(48), "block4_conv3"
    maps = helpers.submodel(model, layer)(image[None])[0].numpy()
    silent = int(np.flatnonzero(maps.max(axis=(0, 1)) == 0)[0])
    loud = int(maps.mean(axis=(0, 1)).argmax())
    for number, relu in ((silent, True), (silent, False), (loud, True)):
        shares = taught["way_back"](layer, number, image, relu=relu)
        way = doctor.way_back(Layer(model, layer), number, image, leak=not relu)
        assert (shares["image"] > 0) == (doctor.end_of(way) is None)
        assert list(shares)[:2] == [layer, "block4_conv2"] and len(shares) == 11
    assert set(taught["way_back"](layer, silent, image).values()) == {0.0}
    assert taught["way_back"](layer, loud, image)[layer] == pytest.approx(
        (maps[..., loud] > 0).mean()
    )


def test_the_leak_is_that_of_the_engine(taught):
    x = tf.constant([-2.0, -0.5, 0.5, 7.0])
    for function in (taught["leaky_relu"], objective.leaky(tf.nn.relu)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        assert np.allclose(y, [0, 0, 0.5, 7]) and np.allclose(tape.gradient(y, x), [0.1, 0.1, 1, 1])


def test_the_leaking_copy_is_the_same_forwards_and_leaves_the_model_alone(model, taught):
    image = helpers.random_image(48)[None]
    assert np.allclose(taught["leaking"](image), model(image), atol=1e-5)
    assert model.get_layer(LAYER).activation is keras.activations.relu


# ---------------------------------------------------------------- the claims


def test_our_filter_is_the_last_of_16_at_zero_and_its_own_relu_stops_the_gradient(model, taught):
    start = taught["start"]
    maps = helpers.submodel(model, LAYER)(start[None]).numpy()
    assert np.flatnonzero(maps[..., :16].max(axis=(0, 1, 2)) == 0)[-1] == OURS
    images, history = taught["ascend"](taught["after_relu"](LAYER, [OURS]), start[None], 3, 100.0)
    assert not history.any() and np.array_equal(images[0], start)
    assert set(taught["way_back"](LAYER, OURS, start).values()) == {0.0}
    assert taught["way_back"](LAYER, OURS, start, relu=False)["image"] > 0.99


def test_every_remedy_wakes_our_filter_and_the_plain_recipe_does_not(model, taught):
    filters = taught["silent"][LAYER]
    made = taught["pictures_by"](LAYER, filters, helpers.activations(model, LAYER, taught["world"]))
    awake = {name: taught["awake"](LAYER, pictures) for name, pictures in made.items()}
    assert [name for name, each in awake.items() if not each[0]] == ["plain"]
    assert len(awake) == 5 and all(len(each) == 2 for each in awake.values())


def test_what_noise_does_as_well_is_not_awake(model, taught):
    names = taught | {"silent": {"block2_conv1": [3, 6]}}
    awake = functions(CHAPTER, **names)["awake"]
    noise = helpers.deprocess(taught["start"])
    assert helpers.activations(model, "block2_conv1", noise[None])[0, [3, 6]].all()
    assert not awake("block2_conv1", [noise, noise]).any()
    made = helpers.visualize(model, "block2_conv1", [3, 6], recipe="plain", size=96)
    assert awake("block2_conv1", [picture.image for picture in made]).all()


def test_no_filter_of_the_first_layer_is_dead(model):
    """What the solution of exercise 8.3 says, by the image itself that reaches the highest value."""
    first = model.get_layer("block1_conv1")
    ends = np.float32([[[[0, 0, 0], [255, 255, 255]]]])
    low, high = keras.Model(model.inputs[0], first.input)(ends).numpy()[0, 0]
    kernel, bias = first.get_weights()
    for number, own in enumerate(bias):
        weights = kernel[..., number]
        assert (weights * np.where(weights > 0, high, low)).sum() + own > 0


# ---------------------------------------------------------------- the widget


def activation_shown(figure):
    """The numbers that stand above the lower row of pictures."""
    titles = [axes.get_title() for axes in figure.axes]
    return [float(each.split()[-1]) for each in titles if each.startswith("after")]


def test_the_slider_wakes_our_filter(taught):
    (source,) = (c.source for c in cells(CHAPTER, "code") if "widgets.IntSlider" in c.source)
    shown = []
    drawn = []
    awakening = taught["awakening"]

    def watched(*contrasts):
        drawn.append(awakening(*contrasts))
        return drawn[-1]

    names = taught | {
        "awakening": watched,
        "show_widget": lambda widget, still, alt: shown.append((widget, still)),
    }
    exec(source, names)
    ((box, still),) = shown
    contrast, picture = box.children
    assert activation_shown(drawn[0]) == [0]
    old = picture.value
    assert Image.open(io.BytesIO(old)).format == "JPEG"
    contrast.value = 64
    assert picture.value != old and activation_shown(drawn[-1])[0] > 0.05
    contrast.value = 32
    assert picture.value == old
    # The still picture has the threshold in the middle.
    values = activation_shown(still)
    assert values[:2] == [0, 0] and min(values[2:]) > 0.05
