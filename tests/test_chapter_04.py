"""Chapter 4: its step against that of the package, its run, its claims, and its widget without a browser."""

import io

import numpy as np
import pytest
import tensorflow as tf
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.world import pocketvgg

CHAPTER = COURSE / "notebooks/04_training_loop.ipynb"
LAYER, NUMBER = "block3_conv2", 16


def chapter(size):
    """The chapter's functions, with an image of so many pixels."""
    model = pocketvgg.load()
    return functions(
        CHAPTER,
        model=model,
        layer=LAYER,
        number=NUMBER,
        network=helpers.submodel(model, LAYER),
        image=tf.constant(helpers.random_image(size)),
    )


@pytest.fixture(scope="module")
def taught():
    return chapter(48)


def test_the_step_is_that_of_the_package(taught):
    images = tf.constant(np.stack([helpers.random_image(32, seed) for seed in (0, 1)]))
    for ours, theirs in zip(
        taught["gradient_step"](taught["network"], images, [7, 9], 4.0),
        helpers.gradient_step(taught["network"], images, [7, 9], 4.0),
        strict=True,
    ):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_run_is_the_recipe_plain(taught):
    ours = helpers.deprocess(taught["ascend"](6, 4.0))
    model = taught["model"]
    theirs = helpers.visualize(model, LAYER, [NUMBER], recipe="plain", steps=6, size=48)[0].image
    assert np.abs(ours.astype("f4") - theirs).mean() < 1


def test_the_objective_is_the_activation(taught):
    image = np.uint8(taught["image"])
    right = helpers.activations(taught["model"], LAYER, image[None])[0, NUMBER]
    assert float(taught["objective"](image.astype("f4"))) == pytest.approx(float(right), rel=1e-3)


def test_slopes_are_those_of_differences(taught):
    sizes, places = taught["slopes"](LAYER, [NUMBER, 3])
    assert places == (48 // 4) ** 2
    for number, size in zip([NUMBER, 3], sizes, strict=True):
        image = taught["image"][None]
        step, old = helpers.gradient_step(taught["network"], image, [number], 0.02)
        new = tf.reduce_mean(taught["network"](step)[..., number])
        # Along its own direction the activation grows by the gradient's length times the move's.
        assert float(new - old[0]) == pytest.approx(size * 0.02 * 48 * 48 * 3, rel=0.1)


def test_what_the_chapter_says_of_pocketvgg():
    names = chapter(128)
    sizes = [names["slopes"](name, range(16))[0] for name in ("block3_conv2", "block5_conv3")]
    assert all(each.max() > 4 * each[each > 0].min() for each in sizes)
    on_picture = {}
    for steps, size in ((0, 4.0), (16, 0.25), (16, 4.0), (16, 16.0), (16, 64.0), (1, 64.0)):
        picture = helpers.deprocess(names["ascend"](steps, size))
        on_picture[steps, size] = helpers.activations(names["model"], LAYER, picture[None])[
            0, NUMBER
        ]
    good = [on_picture[16, size] for size in (4.0, 16.0, 64.0)]
    assert max(good) < 1.3 * min(good) and min(good) > 8 * on_picture[0, 4.0]
    assert on_picture[1, 64.0] < min(good) / 3 and on_picture[16, 0.25] < min(good) / 3


def test_the_sheet_is_labelled_with_what_was_measured(taught):
    (axes,) = taught["sheet"]([(3, 8.0)]).axes
    picture = helpers.deprocess(taught["ascend"](3, 8.0))
    assert np.array_equal(axes.images[0].get_array(), picture)
    activation = helpers.activations(taught["model"], LAYER, picture[None])[0, NUMBER]
    assert axes.get_title() == f"3 × 8\nactivation {helpers.two_digits(activation)}"


def test_the_widget_runs_what_is_set(taught):
    (source,) = (c.source for c in cells(CHAPTER, "code") if "widgets.IntSlider" in c.source)
    asked = []

    def sheet(pairs):
        asked.append(pairs)
        return taught["sheet"](pairs)

    names = taught | {"sheet": sheet}
    exec(source, names)
    shown = [names["picture"].value]
    for control, value in (("steps", 3), ("step_size", 32.0)):
        names[control].value = value
        assert not names[control].continuous_update
        shown.append(names["picture"].value)
    assert asked == [[(16, 4.0)], [(3, 4.0)], [(3, 32.0)]]
    assert len(set(shown)) == 3
    assert all(Image.open(io.BytesIO(each)).format == "JPEG" for each in shown)
