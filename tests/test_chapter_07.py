"""The functions of chapter 7 against calculations of another kind, and its widget without a browser."""

import io

import numpy as np
import pytest
import tensorflow as tf
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.ascent import waves
from filtersight.world import patterns

CHAPTER = COURSE / "notebooks/07_what_to_ask_for.ipynb"
SIZE, LAYER = 32, "block3_conv2"


@pytest.fixture(scope="module")
def taught(model):
    """The chapter's functions, for small images and few steps."""
    names = functions(CHAPTER, SIZE=SIZE, STEPS=30, TOP=3, model=model, layer=LAYER)
    names["network"] = names["before_relu"](model, LAYER)
    names["measured"] = {LAYER: names["answers_of"](names["network"], images(45))}
    return names


def images(count=2):
    return patterns.images(count, seed=4, size=SIZE)[0].astype("f4")


def some_maps(count=2):
    return np.random.default_rng(0).normal(size=(count, 6, 8, 5)).astype("f4")


# ---------------------------------------------------------------- objectives


def test_objectives_take_the_values_that_they_say(taught):
    maps = some_maps()
    ask = lambda name, *given: taught[name](*given)(tf.constant(maps)).numpy()  # noqa: E731
    means = maps.mean(axis=(1, 2))
    assert np.allclose(ask("channel", 4), means[:, 4], atol=1e-6)
    assert np.allclose(ask("least", 4), -means[:, 4], atol=1e-6)
    assert np.allclose(ask("neuron", 4), maps[:, 3, 4, 4])
    assert np.allclose(ask("direction", 1, 2, 0), means[:, 1], atol=1e-6)
    assert np.allclose(ask("direction", 1, 2, 90), means[:, 2], atol=1e-6)
    mixed = np.sqrt(0.5) * (means[:, 1] + means[:, 2])
    assert np.allclose(ask("direction", 1, 2, 45), mixed, atol=1e-6)
    both = taught["each"](taught["channel"](3), taught["least"](0))(tf.constant(maps))
    assert np.allclose(both, [means[0, 3], -means[1, 0]], atol=1e-6)


def test_the_maps_before_the_relu(taught, model):
    before = taught["network"](images())
    assert np.min(before) < 0
    after = helpers.submodel(model, LAYER)(images())
    assert np.allclose(np.maximum(before, 0), after, rtol=1e-3, atol=1e-2)


def test_answers_are_means_before_the_relu(taught):
    means = np.mean(taught["network"](images(45)), axis=(1, 2))
    assert np.allclose(taught["measured"][LAYER], means, atol=1e-4)


def test_likeness_falls_where_pictures_differ(taught):
    rng = np.random.default_rng(0)
    one, other, third = rng.random((3, 4, 4, 6)).astype("f4")
    third *= np.array([9, 0, 0, 0, 0, 0], "f4")
    assert np.allclose(taught["likeness"](tf.stack([one, one])), 1, atol=1e-5)
    grams = [m.reshape(-1, 6).T @ m.reshape(-1, 6) for m in (one, other, third)]
    cosine = lambda a, b: (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    by_hand = np.array([[cosine(a, b) for b in grams] for a in grams])
    maps = tf.constant(np.stack([one, other, third]))
    assert np.allclose(taught["gram_cosines"](maps), by_hand, rtol=1e-4)
    assert np.allclose(taught["likeness"](maps), (by_hand.sum(axis=1) - 1) / 2, rtol=1e-4)


def test_twins_are_worth_less_where_pictures_must_differ(taught):
    images_ = images(2)
    maps = taught["network"](images_)
    twins = tf.stack([maps[0], maps[0]])
    best = abs(taught["measured"][LAYER][:, 5].max())
    for weight in (0.0, 2.0):
        objective = taught["different"](LAYER, 5, weight)
        own = np.mean(maps[0, ..., 5]) / best
        assert float(objective(twins)[0]) == pytest.approx(own - weight, abs=1e-3)
        assert float(objective(maps)[0]) >= own - weight


# ---------------------------------------------------------------- the ascent


def test_the_image_is_the_engines_with_a_bound(taught):
    numbers = waves.random_spectrum(SIZE, 3)[None]
    ours = np.round(taught["to_images"](numbers))
    assert np.abs(ours - waves.to_images(numbers)).max() <= 1
    loud = taught["to_images"](100 * numbers)
    heights = np.log(loud / (255 - loud))
    assert np.std(heights) == pytest.approx(1.5, rel=0.05)


def test_the_ascent_raises_what_is_asked_for(taught, model):
    start = np.stack([np.asarray(taught["to_images"](waves.random_spectrum(SIZE, 0)[None])[0])] * 2)
    made = taught["ascend"](
        taught["network"], taught["each"](taught["channel"](5), taught["least"](5)), [0, 0]
    )
    assert made.dtype == np.uint8 and made.shape == (2, SIZE, SIZE, 3)
    before = np.mean(taught["network"](start)[..., 5], axis=(1, 2))
    after = np.mean(taught["network"](made.astype("f4"))[..., 5], axis=(1, 2))
    assert after[0] > before[0] + 0.1 * abs(before[0]) and after[1] < before[1]
    again = taught["ascend"](taught["network"], taught["channel"](5), [0])
    assert np.abs(again[0].astype("f4") - made[0]).mean() < 2  # alone as in a batch


# ---------------------------------------------------------------- several meanings


def test_kinds_counts_the_patterns_at_the_top(taught):
    taught["labels"] = np.array([7, 7, 7, 2, 2, 5])
    answers = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [9, 0, 0, 8, 0, 7]]).T
    assert taught["kinds"](answers).tolist() == [1, 2, 3]


# ---------------------------------------------------------------- the widget


def test_the_slider_turns_from_one_filter_to_the_other(taught):
    (source,) = (c.source for c in cells(CHAPTER, "code") if "IntSlider(" in c.source)
    rng, shown = np.random.default_rng(0), []
    turned = rng.integers(0, 255, (7, SIZE, SIZE, 3)).astype(np.uint8)
    names = taught | {
        "show_widget": lambda widget, still, alt: shown.append(widget),
        "turns": range(0, 91, 15),
        "turned": turned,
        "captions": [f"caption {k}" for k in range(7)],
        "strip": None,
    }
    exec(source, names)
    assert len(shown) == 1
    seen = []
    for degrees in (0, 45, 90):
        names["slider"].value = degrees
        picture = Image.open(io.BytesIO(names["picture"].value))
        assert picture.format == "JPEG"
        small = np.asarray(picture.resize((8, 8))).astype("f4")
        right = helpers.jpeg(helpers.grid([turned[degrees // 15]], columns=1, tile=3.0))
        assert (
            names["picture"].value == right and f"caption {degrees // 15}" in names["words"].value
        )
        seen.append(small.tobytes())
    assert len(set(seen)) == 3


# ---------------------------------------------------------------- what the text says of PocketVGG


def test_the_pictures_go_beyond_the_images_at_both_ends(taught, model):
    names = taught | {"network": taught["before_relu"](model, "block4_conv2")}
    real = names["answers_of"](names["network"], images(180))[:, 30]
    asked = names["each"](names["channel"](30), names["least"](30))
    made = names["ascend"](names["network"], asked, [0, 0])
    most, low = names["answers_of"](names["network"], made)[:, 30]
    assert most > real.max() and low < real.min()


def test_filters_that_were_trained_to_choose_are_choosier_than_random_directions(taught, model):
    drawn, labels = patterns.images(450, seed=1, size=64)
    names = functions(CHAPTER, SIZE=64, STEPS=8, TOP=10, labels=labels)
    answers = names["answers_of"](names["before_relu"](model, "block5_conv3"), drawn)
    rng = np.random.default_rng(0)
    mixes = (answers - answers.mean(axis=0)) / answers.std(axis=0) @ rng.normal(size=(128, 200))
    filters, random, chance = (
        names["kinds"](each).mean() for each in (answers, mixes, rng.random((450, 200)))
    )
    assert chance > 8 and random < 4 and filters < random - 0.7
