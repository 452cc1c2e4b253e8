"""The functions of chapter 6 against calculations of another kind, and its widget without a browser."""

import ast
import io

import cv2
import ipywidgets
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_notebooks import COURSE, cells, functions

import helpers
from filtersight.ascent import waves
from filtersight.world import patterns, pocketvgg

CHAPTER = COURSE / "notebooks/06_clear_pictures.ipynb"
SIZE, LAYER = 32, "block3_conv2"
SEED = tf.constant([3, 1])


@pytest.fixture(scope="module")
def model():
    return pocketvgg.load()


@pytest.fixture(scope="module")
def taught(model):
    """The chapter's functions and recipes, for small images and few steps."""
    names = functions(
        CHAPTER,
        SIZE=SIZE,
        STEPS=3,
        SEED=0,
        model=model,
        layer=LAYER,
        number=5,
        network=helpers.submodel(model, LAYER),
    )
    # Then what is written in capitals: recipes, and what they are made of.
    names["large"], names["corners"] = helpers.photo(64), (0, 32)
    names["open_network"] = names["before_relu"](model, LAYER)
    names["unit"] = SIZE // 16
    for cell in cells(CHAPTER, "code"):
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name.isupper() and name not in ("SIZE", "STEPS", "SEED"):
                    exec(compile(ast.Module([node], []), CHAPTER.name, "exec"), names)
    return names


def images(count=2):
    return patterns.images(count, seed=4, size=SIZE)[0].astype("f4")


# ---------------------------------------------------------------- objectives


def test_the_mean_objective_is_the_activation(taught, model):
    maps = taught["network"](images())
    real = helpers.activations(model, LAYER, images().astype(np.uint8))
    assert np.allclose(taught["mean_of"]([7, 2])(maps), real[[0, 1], [7, 2]], rtol=1e-3, atol=1e-5)
    assert np.allclose(taught["sum_of"](7, 2)(maps), real[:, 7] + real[:, 2], rtol=1e-3, atol=1e-5)


def test_objectives_take_the_values_that_they_say(taught):
    maps = np.random.default_rng(0).random((2, 6, 8, 5)).astype("f4")
    assert np.allclose(
        taught["neuron_of"]([4, 1])(tf.constant(maps)), [maps[0, 3, 4, 4], maps[1, 3, 4, 1]]
    )
    inner = [maps[0, 2:4, 2:6, 4].mean(), maps[1, 2:4, 2:6, 1].mean()]
    assert np.allclose(taught["inner_mean_of"]([4, 1])(tf.constant(maps)), inner)


def test_the_logits_are_those_of_the_classifier(taught, model):
    assert np.allclose(tf.nn.softmax(taught["logits"](model)(images())), model(images()), atol=1e-4)


def test_the_maps_before_the_relu(taught, model):
    before = taught["before_relu"](model, LAYER)(images())
    assert np.min(before) < 0
    after = helpers.submodel(model, LAYER)(images())
    assert np.allclose(np.maximum(before, 0), after, rtol=1e-3, atol=1e-2)


def test_likeness_falls_where_pictures_differ(taught):
    rng = np.random.default_rng(0)
    one, other, third = rng.random((3, 4, 4, 6)).astype("f4")
    third *= np.array([9, 0, 0, 0, 0, 0], "f4")
    assert np.allclose(taught["likeness"](tf.stack([one, one])), 1, atol=1e-5)
    maps = np.stack([one, other, third])
    grams = [m.reshape(-1, 6).T @ m.reshape(-1, 6) for m in maps]
    cosine = lambda a, b: (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    by_hand = [np.mean([cosine(grams[i], grams[j]) for j in range(3) if j != i]) for i in range(3)]
    assert np.allclose(taught["likeness"](tf.constant(maps)), by_hand, rtol=1e-4)
    # The same activation, and twins: the objective of diversity is lower for the twins.
    twins, strangers = np.stack([one, one]), np.stack([one, third * one.mean() / third.mean()])
    for weight, lower in ((0.9, True), (0.0, False)):
        objective = taught["different"]([0, 0], weight)
        apart = objective(tf.constant(strangers))[0] - objective(tf.constant(twins))[0]
        assert (apart > 0.01) == lower


# ---------------------------------------------------------------- parametrisations


def test_waves_are_a_fourier_transform(taught):
    numbers = np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE // 2 + 1, 2)).astype("f4")
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE))
    for decay in (1.0, 0.85):
        sizes = SIZE / np.maximum(frequency, 1 / SIZE) ** decay
        spectrum = (numbers[..., 0] + 1j * numbers[..., 1]) * sizes
        planes = np.fft.irfft2(spectrum).transpose(0, 2, 3, 1)
        assert np.allclose(taught["planes"](numbers, decay), planes, atol=1e-3)


def test_natural_waves_are_those_of_the_engine(taught):
    numbers = waves.random_spectrum(SIZE, 3)[None]
    ours = np.round(taught["natural_waves"](numbers))
    assert np.abs(ours - waves.to_images(numbers)).max() <= 1
    assert np.array_equal(taught["start_waves"](3), numbers[0])
    assert np.array_equal(taught["start_pixels"](3), helpers.random_image(SIZE, 3))


def test_the_bound_holds(taught):
    faint = taught["start_waves"](0)[None]
    heights = lambda images: np.log(images / (255 - images))  # noqa: E731, the sigmoid undone
    assert np.allclose(taught["bounded_waves"](faint), taught["natural_waves"](faint), atol=0.01)
    assert np.std(heights(np.asarray(taught["natural_waves"](10 * faint), "f8"))) > 1.6
    assert np.std(heights(np.asarray(taught["bounded_waves"](10 * faint), "f8"))) == pytest.approx(
        1.5, abs=0.01
    )


def test_colour_directions_are_found_again(taught):
    chance = np.random.default_rng(0).normal(size=(300_000, 3))
    colours = 128 + 255 * chance @ waves.COLOURS.T.astype("f8")
    # The engine's three are not at right angles to each other; what they span is compared.
    found = taught["colour_directions"](colours)
    assert np.allclose(found @ found.T, waves.COLOURS @ waves.COLOURS.T, atol=0.01)
    lengths = np.linalg.norm(found, axis=0)
    assert (np.diff(lengths) < 0).all()
    right_angles = (found / lengths).T @ (found / lengths)
    assert np.allclose(right_angles, np.eye(3), atol=1e-6)


def test_phases_keep_the_strengths(taught):
    strengths = taught["MAGNITUDES"]
    assert strengths.shape == (3, SIZE, SIZE // 2 + 1)
    for numbers in (taught["start_phases"](0), np.zeros_like(strengths)):
        planes = np.asarray(taught["phase_planes"](numbers[None]))[0]
        # The waves in the first and last column meet their mirror images there.
        kept = np.abs(np.fft.rfft2(planes.transpose(2, 0, 1)))[..., 1:-1]
        assert np.allclose(kept, strengths[..., 1:-1], rtol=0.01, atol=1e-3)
    # A climb moves the phases, and leaves the strengths as they are.
    slope = taught["slope_of"](taught["network"], taught["mean_of"]([5]), taught["phases"])
    start = taught["start_phases"](0)[None]
    end, _ = taught["climb"](slope, start, keras.optimizers.Adam(0.3), 3, 0)
    assert np.abs(end - start).max() > 0.1
    planes = np.asarray(taught["phase_planes"](end))[0].transpose(2, 0, 1)
    assert np.allclose(
        np.abs(np.fft.rfft2(planes))[..., 1:-1], strengths[..., 1:-1], rtol=0.01, atol=1e-3
    )


# ---------------------------------------------------------------- looks and penalties


def test_jitter_rolls(taught):
    seen = np.asarray(taught["jitter"](3)(images(), SEED))
    places = [(down, right) for down in range(-3, 4) for right in range(-3, 4)]
    assert sum(np.array_equal(seen, np.roll(images(), place, (1, 2))) for place in places) == 1
    several = {
        taught["jitter"](3)(images(1), tf.constant([0, k]))[0].numpy().tobytes() for k in range(30)
    }
    assert len(several) > 10


@pytest.mark.parametrize("degrees, scale", [(10.0, 1.0), (0.0, 1.2), (-25.0, 0.9)])
def test_moved_is_opencvs_rotation(taught, degrees, scale):
    smooth = cv2.GaussianBlur(images(1)[0], (0, 0), 2)
    middle = ((SIZE - 1) / 2, (SIZE - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, degrees, scale)
    right = cv2.warpAffine(smooth, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    ours = np.asarray(taught["moved"](tf.constant(smooth[None]), degrees, scale))[0]
    assert np.abs(ours - right)[4:-4, 4:-4].max() < 2.5
    assert np.abs(ours - smooth).max() > 5


def test_rotation_and_scale_are_by_chance_and_bounded(taught):
    ramp = np.tile(np.linspace(0, 255, SIZE, dtype="f4")[None, None, :, None], (1, SIZE, 1, 3))
    slope = 255 / (SIZE - 1)
    angles, scales = [], []
    for number in range(40):
        seed = tf.constant([number, 0])
        down, right = np.gradient(np.asarray(taught["rotation"](10)(ramp, seed))[0, 8:-8, 8:-8, 0])
        angles.append(np.degrees(np.arctan2(down.mean(), right.mean())))
        sized = np.asarray(taught["scale"](0.1)(ramp, seed))[0, 8:-8, 8:-8, 0]
        scales.append(slope / np.gradient(sized, axis=1).mean())
    assert 7 < max(angles) < 10.1 and -10.1 < min(angles) < -7
    assert 1.07 < max(scales) < 1.101 and 0.899 < min(scales) < 0.93


def test_total_variation_is_that_of_a_loop(taught):
    picture = images(1)[0, :6, :6]
    down = [
        abs(picture[y + 1, x, c] - picture[y, x, c])
        for y in range(5)
        for x in range(6)
        for c in range(3)
    ]
    right = [
        abs(picture[y, x + 1, c] - picture[y, x, c])
        for y in range(6)
        for x in range(5)
        for c in range(3)
    ]
    by_hand = np.mean(down) + np.mean(right)
    assert float(taught["total_variation"](picture[None])[0]) == pytest.approx(by_hand, rel=1e-4)
    assert float(taught["varied"](0.3)(picture[None])[0]) == pytest.approx(0.3 * by_hand, rel=1e-4)


def test_blur_is_opencvs(taught):
    right = cv2.GaussianBlur(images(1)[0], (11, 11), 1.5)
    ours = np.asarray(taught["blur"](1.5)(images(1), None))[0]
    assert np.abs(ours - right)[6:-6, 6:-6].max() < 0.5


def test_crops_are_parts_of_the_image(taught):
    padded = taught["pad"](4, 9.0)(images(1), None)
    assert padded.shape == (1, SIZE + 8, SIZE + 8, 3) and np.all(padded[0, :4] == 9)
    assert np.array_equal(padded[:, 4:-4, 4:-4], images(1))
    part = np.asarray(taught["crop"](3, 2)(tf.constant(images(1)), SEED))
    found = [
        np.array_equal(part, images(1)[:, y : y + SIZE - 5, x : x + SIZE - 5])
        for y in range(6)
        for x in range(6)
    ]
    assert sum(found) == 1


# ---------------------------------------------------------------- the climb


def test_the_plain_recipe_is_chapter_4(taught, model):
    """`draw` with pixels and SGD is the recipe "plain" of helpers."""
    ours, _ = taught["draw"](taught["PIXELS"], taught["mean_of"]([5]), [0], steps=6)
    theirs = helpers.visualize(model, LAYER, [5], recipe="plain", steps=6, size=SIZE)[0]
    assert np.abs(ours[0] - theirs.image.astype("f4")).mean() < 1


def test_penalties_are_subtracted_and_looks_are_seen(taught):
    start = tf.constant(images(1))
    silent = lambda maps: 0 * taught["mean_of"]([5])(maps)  # noqa: E731
    slope = taught["slope_of"](
        taught["network"], silent, taught["pixels"], penalties=[taught["varied"](1.0)]
    )
    gradient, _ = slope(start, SEED)
    better, worse = start + 0.1 * gradient, start - 0.1 * gradient
    assert taught["total_variation"](better)[0] < taught["total_variation"](worse)[0]
    black = lambda images, seed: 0 * images  # noqa: E731
    slope = taught["slope_of"](taught["network"], taught["mean_of"]([5]), taught["pixels"], [black])
    gradient, value = slope(start, SEED)
    assert not np.any(gradient)
    assert float(value[0]) == pytest.approx(
        float(taught["mean_of"]([5])(taught["network"](0 * start))[0]), abs=1e-5
    )


def test_every_recipe_climbs_and_no_name_is_left_out(taught):
    for name, recipe in taught["PEERS"].items():
        assert set(taught["PIXELS"]) <= set(recipe), name
    names = {name for pair in taught["CHANGES"] for name in pair}
    assert names <= set(taught["RECIPES"])
    # Each pair differs: one thing is changed. (Waves need their own start; a bound is a picture.)
    for one, other in taught["CHANGES"]:
        one, other = taught["RECIPES"][one], taught["RECIPES"][other]
        assert any(one[part] is not other[part] for part in one)


def test_spectrum_and_fineness_of_stripes(taught):
    for length, is_fine in ((4, 1), (8, 0)):
        stripes = np.cos(np.arange(64) * 2 * np.pi / length)[:, None, None] * np.ones((1, 64, 3))
        assert taught["spectrum"](stripes).argmax() + 1 == 64 // length
        assert taught["fine"](stripes) == pytest.approx(is_fine, abs=1e-6)


# ---------------------------------------------------------------- the widget


def test_the_pair_widget_draws_what_is_chosen(taught):
    (source,) = (c.source for c in cells(CHAPTER, "code") if "widgets.Dropdown" in c.source)
    shown = []
    names = taught | {
        "display": shown.append,
        "last": taught["network"].output.shape[-1] - 1,
        "choices": [(" → ".join(pair), pair) for pair in taught["CHANGES"]],
    }
    exec(source, names)
    (box,) = shown
    assert isinstance(box, ipywidgets.VBox)
    change, chosen, seed, picture = (names[n] for n in ("change", "chosen", "seed", "picture"))
    looks = [picture.value]
    assert Image.open(io.BytesIO(picture.value)).format == "JPEG"
    change.value = ("pixels", "pixels, variation penalised")
    looks.append(picture.value)
    chosen.value = 7
    looks.append(picture.value)
    seed.value = 1
    looks.append(picture.value)
    assert len(set(looks)) == 4 and min(map(len, looks)) > 10_000
    assert chosen.max == taught["network"].output.shape[-1] - 1
    # What was there before comes back.
    seed.value = 0
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(picture.value))),
        np.asarray(Image.open(io.BytesIO(looks[2]))),
    )
