"""The functions of chapter 6 against calculations of another kind, and its widget without a browser."""

import ast
import io
import re

import cv2
import ipywidgets
import keras
import numpy as np
import pytest
import tensorflow as tf
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.ascent import waves
from filtersight.trust import scores
from filtersight.world import patterns

CHAPTER = COURSE / "notebooks/06_clear_pictures.ipynb"
SIZE, LAYER = 32, "block3_conv2"
SEED = tf.constant([3, 1])


def chapter(**names):
    """The chapter's functions, and its recipes, which it writes in capitals."""
    names = functions(CHAPTER, SEED=0, **names)
    for cell in cells(CHAPTER, "code"):
        for node in ast.parse(cell.source).body:
            if re.match(r"(RGB|WAVES|NATURAL|RECIPES|CHANGES)\b", ast.unparse(node)):
                exec(ast.unparse(node), names)
    return names


@pytest.fixture(scope="module")
def taught(model):
    """The chapter for small images and few steps."""
    network = helpers.submodel(model, LAYER)
    return chapter(SIZE=SIZE, STEPS=3, model=model, layer=LAYER, number=5, network=network)


@pytest.fixture(scope="module")
def appendix():
    """The functions of docs/recipes.md."""
    text = (COURSE / "docs/recipes.md").read_text(encoding="utf-8")
    names = {"np": np, "tf": tf, "keras": keras, "COLOURS": waves.COLOURS}
    for source in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(source, names)
    return names


def images(count=2):
    return patterns.images(count, seed=4, size=SIZE)[0].astype("f4")


# ---------------------------------------------------------------- parametrisations


@pytest.mark.parametrize("steepness", [0.0, 1.0, 1.7])
def test_waves_are_a_fourier_transform(taught, steepness):
    numbers = np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE // 2 + 1, 2)).astype("f4")
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE))
    # Whatever the steepness, waves of ten pixels are as strong as in nature.
    strength = (
        SIZE
        / np.maximum(frequency, 1 / SIZE)
        * (0.1 / np.maximum(frequency, 1 / SIZE)) ** (steepness - 1)
    )
    spectrum = (numbers[..., 0] + 1j * numbers[..., 1]) * strength
    planes = np.fft.irfft2(spectrum).transpose(0, 2, 3, 1)
    assert np.allclose(taught["planes"](numbers, steepness), planes, atol=1e-3)


def test_natural_waves_are_those_of_the_engine(taught):
    numbers = waves.random_spectrum(SIZE, 3)[None]
    ours = np.round(taught["NATURAL"]["picture"](numbers))
    assert np.abs(ours - waves.to_images(numbers)).max() <= 1
    assert np.array_equal(taught["noise_waves"](3), numbers)
    assert np.array_equal(taught["noise_pixels"](3)[0], helpers.random_image(SIZE, 3))


def test_the_factor_moves_long_waves_more(taught):
    """Preconditioning: by how much a step changes a wave of the image, twice by the factor."""
    wish = np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 3)).astype("f4")
    for steepness in (0, 1):
        picture = taught["waves"](steepness, taught["RGB"])
        start = tf.zeros((1, 3, SIZE, SIZE // 2 + 1, 2))
        with tf.GradientTape() as tape:
            tape.watch(start)
            total = tf.reduce_sum(picture(start) * wish)
        gradient = tape.gradient(total, start)
        step = 0.001 * gradient / tf.sqrt(tf.reduce_mean(gradient**2))
        change = np.fft.rfft2(picture(step) - picture(start), axes=(1, 2))
        ratio = np.abs(change / np.fft.rfft2(wish, axes=(1, 2)))[0, :, 0, 0]
        assert ratio[2] / ratio[8] == pytest.approx(16**steepness, rel=0.05)


# ---------------------------------------------------------------- transformations


@pytest.mark.parametrize(
    "shift, degrees, scale", [((0, 0), 10.0, 1.0), ((3, -2), 0.0, 1.2), ((1, 4), -25.0, 0.9)]
)
def test_moved_is_opencvs(taught, shift, degrees, scale):
    smooth = cv2.GaussianBlur(images(1)[0], (0, 0), 2)
    middle = ((SIZE - 1) / 2, (SIZE - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, degrees, scale)
    moved = taught["moved"](tf.constant(smooth[None]), (0.0, 0.0), degrees, scale)
    right = cv2.warpAffine(smooth, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    assert np.abs(np.asarray(moved)[0] - right)[4:-4, 4:-4].max() < 2.5
    assert np.abs(np.asarray(moved)[0] - smooth).max() > 5
    shifted = np.asarray(
        taught["moved"](tf.constant(smooth[None]), tf.constant(shift, tf.float32), 0.0, 1.0)
    )[0]
    assert np.allclose(
        np.roll(smooth, (shift[1], shift[0]), (0, 1))[5:-5, 5:-5], shifted[5:-5, 5:-5], atol=0.01
    )


def test_transformations_are_by_chance_and_bounded(taught):
    ramp = np.tile(np.linspace(0, 255, SIZE, dtype="f4")[None, None, :, None], (1, SIZE, 1, 3))
    slope = 255 / (SIZE - 1)
    angles, scales, shifts = [], [], []
    for number in range(40):
        seed = tf.constant([number, 0])
        turned = np.asarray(taught["transformation"](degrees=10)(ramp, seed))[0, 8:-8, 8:-8, 0]
        down, right = np.gradient(turned)
        angles.append(np.degrees(np.arctan2(down.mean(), right.mean())))
        sized = np.asarray(taught["transformation"](share=0.1)(ramp, seed))[0, 8:-8, 8:-8, 0]
        scales.append(slope / np.gradient(sized, axis=1).mean())
        moved = np.asarray(taught["transformation"](pixels=3)(ramp, seed))[0, 8:-8, 8:-8, 0]
        shifts.append((ramp[0, 8:-8, 8:-8, 0] - moved).mean() / slope)
    assert 7 < max(angles) < 10.1 and -10.1 < min(angles) < -7
    assert 1.07 < max(scales) < 1.101 and 0.899 < min(scales) < 0.93
    assert 2 < max(shifts) < 3.01 and -3.01 < min(shifts) < -2
    assert len(set(shifts)) == 40


# ---------------------------------------------------------------- the ascent


def test_the_plain_recipe_is_chapter_4(taught, model):
    """`ascent` with pixels is the recipe "plain" of helpers."""
    numbers = taught["ascent"](**taught["RECIPES"]["pixels"], number=5, seed=0)
    theirs = helpers.visualize(model, LAYER, [5], recipe="plain", steps=3, size=SIZE)[0]
    ours = helpers.deprocess(numbers[0])
    assert np.abs(ours - theirs.image.astype("f4")).mean() < 1
    assert np.array_equal(taught["draw"]("pixels", 5, 0), ours)


def test_what_is_transformed_is_seen(taught):
    black = lambda images, seed: 0 * images  # noqa: E731
    gradient = taught["slope"](
        tf.constant(images(1)), taught["pixels"], black, tf.constant(5), SEED
    )
    assert not np.any(gradient)
    gradient = taught["slope"](
        tf.constant(images(1)), taught["pixels"], taught["unchanged"], tf.constant(5), SEED
    )
    assert np.sqrt(np.mean(gradient**2)) == pytest.approx(1, rel=1e-3)


def test_each_change_is_one_change(taught):
    for names in taught["CHANGES"]:
        one, other = (taught["RECIPES"][name] for name in names)
        changed = {part for part in one if one[part] is not other[part]}
        # The pixels' start and step mean nothing to waves.
        assert len(changed) == 1 or changed == {"start", "picture", "step_size"}, names


def test_high_frequencies_are_those_of_chapter_9(taught):
    pictures = [helpers.photo(64), helpers.deprocess(helpers.random_image(64, 1))]
    ours = [taught["high_frequencies"](picture) for picture in pictures]
    assert np.allclose(ours, scores.fine_share(np.stack(pictures)))
    for length, high in ((3.2, 1), (8, 0)):
        stripes = np.cos(np.arange(64) * 2 * np.pi / length)[:, None, None] * np.ones((1, 64, 3))
        assert taught["high_frequencies"](stripes) == pytest.approx(high, abs=1e-6)


def test_what_the_chapter_claims_of_pocketvgg(model):
    """With the chapter's own sizes: activations and shares of high frequencies."""
    layer = "block4_conv2"
    network = helpers.submodel(model, layer)
    names = chapter(SIZE=96, STEPS=64, model=model, layer=layer, number=11, network=network)
    drawn = {name: names["draw"](name, 11, 0) for name in names["RECIPES"]}
    values = helpers.activations(model, layer, np.stack(list(drawn.values())))[:, 11]
    value = dict(zip(drawn, values, strict=True))
    share = {name: names["high_frequencies"](picture) for name, picture in drawn.items()}
    assert min(share["pixels"], share["even waves"]) > 0.2
    assert all(share[name] < 0.03 for name in drawn if name not in ("pixels", "even waves"))
    assert value["waves"] == pytest.approx(value["pixels"], rel=0.1)
    assert value["all three"] < value["natural colours"]
    assert share["all three"] < share["natural colours"]


# ---------------------------------------------------------------- the widget


def test_the_pair_widget_draws_what_is_chosen(taught):
    sources = [c.source for c in cells(CHAPTER, "code") if "widgets.Dropdown" in c.source]
    sources += [c.source for c in cells(CHAPTER, "code") if "show_widget(" in c.source]
    shown = []
    names = taught | {"show_widget": lambda widget, still, alt: shown.append(widget)}
    for source in sources:
        exec(source, names)
    (box,) = shown
    assert isinstance(box, ipywidgets.VBox)
    change, chosen, seed, picture = (names[n] for n in ("change", "chosen", "seed", "picture"))
    seen = [picture.value]
    assert Image.open(io.BytesIO(picture.value)).format == "JPEG"
    change.value = ("pixels", "even waves")
    seen.append(picture.value)
    chosen.value = 7
    seen.append(picture.value)
    seed.value = 1
    seen.append(picture.value)
    assert len(set(seen)) == 4 and min(map(len, seen)) > 8_000
    assert chosen.max == taught["network"].output.shape[-1] - 1
    # What was there before comes back.
    seed.value = 0
    assert picture.value == seen[2]


# ---------------------------------------------------------------- docs/recipes.md


def test_total_variation_is_that_of_a_loop(appendix):
    picture = images(1)[0, :6, :6].astype("f8")
    down = [abs(picture[y + 1, x] - picture[y, x]).mean() for y in range(5) for x in range(6)]
    right = [abs(picture[y, x + 1] - picture[y, x]).mean() for y in range(6) for x in range(5)]
    by_hand = np.mean(down) + np.mean(right)
    assert float(appendix["total_variation"](picture[None])[0]) == pytest.approx(by_hand, rel=1e-4)


def test_blur_is_opencvs(appendix):
    right = cv2.GaussianBlur(images(1)[0], (11, 11), 1.5)
    ours = np.asarray(appendix["blur"](1.5)(images(1), None))[0]
    assert np.abs(ours - right)[6:-6, 6:-6].max() < 0.5


def test_crops_are_parts_of_the_image(appendix):
    padded = appendix["pad"](4, 9.0)(images(1), None)
    assert padded.shape == (1, SIZE + 8, SIZE + 8, 3) and np.all(padded[0, :4] == 9)
    assert np.array_equal(padded[:, 4:-4, 4:-4], images(1))
    part = np.asarray(appendix["crop"](3, 2)(tf.constant(images(1)), SEED))
    found = [
        np.array_equal(part, images(1)[:, y : y + SIZE - 5, x : x + SIZE - 5])
        for y in range(6)
        for x in range(6)
    ]
    assert sum(found) == 1


def test_the_maps_before_the_relu(appendix, model):
    before = appendix["before_relu"](model, LAYER)(images())
    assert np.min(before) < 0
    after = helpers.submodel(model, LAYER)(images())
    assert np.allclose(np.maximum(before, 0), after, rtol=1e-3, atol=1e-2)


def test_phases_keep_the_strengths(appendix):
    pieces = np.stack(
        [helpers.photo(64)[y : y + SIZE, x : x + SIZE] for y in (0, 32) for x in (0, 32)]
    )
    strengths = appendix["magnitudes"](pieces)
    assert strengths.shape == (3, SIZE, SIZE // 2 + 1)
    numbers = np.random.default_rng(0).uniform(-3, 3, (1, *strengths.shape)).astype("f4")
    made = np.asarray(appendix["phases"](numbers, strengths), "f8")[0]
    planes = np.log(made / (255 - made)) @ np.linalg.inv(waves.COLOURS.T)
    # The waves in the first and last column meet their mirror images there.
    kept = np.abs(np.fft.rfft2(planes.transpose(2, 0, 1)))[..., 1:-1] / strengths[..., 1:-1]
    assert np.allclose(kept, np.median(kept), rtol=0.02)
