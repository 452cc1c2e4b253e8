"""helpers: networks, images, activations, ascent, pictures, grids."""

import base64
import dataclasses
import io
import itertools
import json
import math
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, PngImagePlugin
from tqdm import tqdm

import helpers
from filtersight.ascent import climb, objective, visualize
from filtersight.ascent import recipe as recipe_module
from filtersight.basics import files
from filtersight.basics.recipe import Settings
from filtersight.networks.layers import Layer
from filtersight.world import patterns, pocketvgg

COURSE = Path(__file__).resolve().parents[1]


def small_network(*, bias=0.0, weights=None):
    """Two convolution layers with a pooling between them, on RGB scaled to 0–1."""
    x = inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="one")(x)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="two")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    network = keras.Model(inputs, keras.layers.Dense(2, name="answer")(x), name="small")
    random = np.random.default_rng(0)
    for layer in ("one", "two"):
        kernel, _ = network.get_layer(layer).get_weights()
        new = np.full(kernel.shape, weights) if weights else random.normal(0, 0.3, kernel.shape)
        network.get_layer(layer).set_weights([new, np.full(kernel.shape[-1], bias)])
    return network


def convolve(maps, kernel, bias):
    """3 × 3 convolution with a border of zeros, then ReLU, written anew: (h, w, in) -> (h, w, out)."""
    height, width, _ = maps.shape
    padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((height, width, kernel.shape[-1])) + bias
    for row in range(3):
        for column in range(3):
            out += padded[row : row + height, column : column + width] @ kernel[row, column]
    return np.maximum(out, 0)


# ---------------------------------------------------------------- networks


def test_conv_layers_are_those_of_vgg16_in_order(model):
    vgg16 = keras.applications.VGG16(weights=None, include_top=False)
    expected = [layer.name for layer in vgg16.layers if "_conv" in layer.name]
    assert helpers.conv_layers(model) == expected
    assert helpers.conv_layers(vgg16) == expected


def test_activations_against_an_independent_calculation():
    network = small_network()
    images = np.random.default_rng(1).integers(0, 256, (3, 12, 10, 3), np.uint8)
    for row, image in enumerate(images):
        maps = convolve(image / 255, *network.get_layer("one").get_weights())
        first = helpers.activations(network, "one", images)
        assert np.allclose(first[row], maps.mean(axis=(0, 1)), rtol=1e-4, atol=1e-6)
        pooled = maps.reshape(6, 2, 5, 2, 4).max(axis=(1, 3))
        second = helpers.activations(network, "two", images)
        expected = convolve(pooled, *network.get_layer("two").get_weights()).mean(axis=(0, 1))
        assert np.allclose(second[row], expected, rtol=1e-4, atol=1e-6)
    assert second.dtype == np.float32 and second.shape == (3, 5)


def test_activations_of_many_images_do_not_depend_on_the_batch(model):
    images, _ = patterns.images(67, seed=5)
    together = helpers.activations(model, "block4_conv1", images)
    alone = np.concatenate(
        [helpers.activations(model, "block4_conv1", image[None]) for image in images]
    )
    assert np.allclose(together, alone, rtol=1e-3, atol=1e-4)
    assert helpers.activations(model, "block4_conv1", images[:0]).shape == (0, 80)


def test_activations_follow_the_weights():
    network = small_network()
    images = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), np.uint8)
    before = helpers.activations(network, "one", images)
    layer = network.get_layer("one")
    layer.set_weights([2 * weight for weight in layer.get_weights()])
    assert np.allclose(helpers.activations(network, "one", images), 2 * before, rtol=1e-5)


@pytest.mark.parametrize("layer", ["one", "pool", "two"])
def test_receptive_field_against_gradients(layer):
    # With positive weights every pixel that can matter does, so the gradient shows the true field.
    network = small_network(weights=0.1)
    cut = helpers.submodel(network, layer)
    image = tf.ones((1, 32, 32, 3)) * 100
    with tf.GradientTape() as tape:
        tape.watch(image)
        maps = cut(image)
        middle = maps[0, maps.shape[1] // 2, maps.shape[2] // 2, 0]
    touched = np.flatnonzero(np.abs(tape.gradient(middle, image)).sum(axis=(0, 1, 3)))
    # A largest value passes the gradient to one of its four inputs, so pooling is taken as a whole.
    seen = touched[-1] - touched[0] + 1
    expected = helpers.receptive_field(network, layer)
    assert seen <= expected <= seen + (0 if layer == "one" else 1)


def test_receptive_fields_of_vgg16_are_the_published_ones(model):
    fields = [helpers.receptive_field(model, layer) for layer in helpers.conv_layers(model)]
    assert fields == [3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196]  # Araujo et al. 2019


# ---------------------------------------------------------------- images


def test_random_image():
    image = helpers.random_image(50, seed=3, contrast=10)
    assert image.shape == (50, 50, 3) and image.dtype == np.float32
    assert 117.5 <= image.min() < 118 and 137 < image.max() <= 137.5
    assert np.array_equal(image, helpers.random_image(50, seed=3, contrast=10))
    assert not np.array_equal(image, helpers.random_image(50, seed=4, contrast=10))


def test_photo_is_grace_hopper_upright():
    photo = helpers.photo(64)
    assert photo.shape == (64, 64, 3) and photo.dtype == np.uint8
    red, _, blue = photo[25:38, 24:40].reshape(-1, 3).mean(axis=0)  # her face
    assert red > blue + 20
    assert (
        photo[56:, 24:40].mean() < photo[25:38, 24:40].mean() - 50
    )  # the uniform is below, and dark


def test_deprocess_centres_and_scales():
    image = np.random.default_rng(0).normal(900, 300, (40, 40, 3))
    picture = helpers.deprocess(image, contrast=30)
    assert picture.dtype == np.uint8
    assert abs(picture.mean() - 127.5) < 1 and abs(picture.std() - 30) < 1
    by_hand = np.round(127.5 + (image - np.mean(image)) / np.std(image) * 30).clip(0, 255)
    assert np.abs(picture - by_hand).max() <= 1
    for level in (7.0, 1234.567, -777.7):  # an image without contrast is even grey
        assert np.array_equal(np.unique(helpers.deprocess(np.full((99, 99, 3), level))), [128])


def test_deprocess_options_do_what_they_say():
    rng = np.random.default_rng(0)
    edge = np.zeros((40, 40, 3))
    edge[:, 20:] = 200
    noisy = edge + rng.normal(0, 10, edge.shape)
    plain, smooth = helpers.deprocess(noisy), helpers.deprocess(noisy, denoise=60)
    assert smooth[:, :15].std() < 0.6 * plain[:, :15].std()  # the noise goes
    step = smooth[:, 22:].mean() - smooth[:, :18].mean()
    assert step > 0.95 * (plain[:, 22:].mean() - plain[:, :18].mean())  # the edge stays
    soft = np.repeat(np.repeat(np.clip(np.linspace(-2, 2, 40), -1, 1)[None, :, None], 40, 0), 3, 2)
    slope = np.abs(np.diff(helpers.deprocess(soft).astype(int), axis=1)).max()
    assert np.abs(np.diff(helpers.deprocess(soft, sharpen=2).astype(int), axis=1)).max() > slope
    assert helpers.deprocess(edge, enlarge=3).shape == (120, 120, 3)


# ---------------------------------------------------------------- ascent


def test_gradient_step_goes_uphill_by_what_the_gradient_promises():
    network = helpers.submodel(small_network(), "two")
    image = tf.constant(helpers.random_image(16, seed=1))[None]
    for number in range(5):
        moved, before = helpers.gradient_step(network, image, [number], 0.5)
        step = (moved - image).numpy()
        value = lambda x, n=number: float(tf.reduce_mean(network(x)[..., n]))  # noqa: E731
        assert before.numpy() == pytest.approx([value(image)])
        if value(image) == 0:
            assert not step.any()
            continue
        assert math.sqrt(np.mean(step**2)) == pytest.approx(0.5, rel=1e-4)
        # The slope along the step, measured with small moves, is the steepest of a hundred tries.
        slope = (value(image + 0.01 * step) - value(image - 0.01 * step)) / 0.02
        others = np.random.default_rng(0).normal(size=(100, *step.shape)).astype(np.float32)
        others *= (
            np.linalg.norm(step)
            / np.linalg.norm(others.reshape(100, -1), axis=1)[:, None, None, None, None]
        )
        rivals = [(value(image + 0.01 * o) - value(image - 0.01 * o)) / 0.02 for o in others]
        assert slope > max(rivals)


def test_visualize_measures_the_picture_that_it_gives(model):
    pictures = helpers.visualize(
        model, "block3_conv1", [0, 7, 20], recipe="plain", steps=20, size=64, seed=2
    )
    cut = keras.Model(model.inputs, model.get_layer("block3_conv1").output)
    start = cut(helpers.random_image(64, seed=2)[None]).numpy().mean(axis=(0, 1, 2))
    for picture, number in zip(pictures, [0, 7, 20], strict=True):
        assert (picture.layer, picture.filter) == ("block3_conv1", number)
        assert picture.image.shape == (64, 64, 3) and picture.image.dtype == np.uint8
        again = cut(picture.image[None].astype(np.float32)).numpy()[..., number].mean()
        assert picture.activation == pytest.approx(again, rel=1e-3, abs=1e-6)
        assert picture.history.shape == (20,)
        assert picture.history[0] == pytest.approx(start[number], rel=1e-3, abs=1e-6)


def test_the_climb_is_worth_it(model):
    pictures = [
        picture
        for layer in ("block1_conv2", "block2_conv2", "block4_conv1")
        for picture in helpers.visualize(model, layer, range(12), recipe="plain", size=64)
    ]
    climbed = [p for p in pictures if p.history[0] > 0]
    assert len(climbed) > 18
    better = [p.activation > 3 * p.history[0] for p in climbed]
    assert np.mean(better) > 0.9
    rises = [np.mean(np.diff(p.history) > 0) for p in climbed]
    assert np.median(rises) > 0.9


def test_visualize_is_the_written_out_loop():
    network = small_network()
    cut = helpers.submodel(network, "two")
    images = tf.constant(helpers.random_image(32, seed=4))[None]
    for _ in range(7):
        images, _ = helpers.gradient_step(cut, images, [3], 2.0)
    picture = helpers.visualize(
        network, "two", [3], recipe="plain", steps=7, size=32, seed=4, step_size=2.0
    )[0]
    by_hand = helpers.deprocess(images[0].numpy()).astype(int)
    assert np.abs(picture.image - by_hand).max() <= 1


def test_a_silent_filter_is_called_dead_with_the_reason():
    network = small_network(bias=-1e6)
    picture = helpers.visualize(network, "two", [2], recipe="plain", steps=3, size=16)[0]
    assert picture.status == "dead" and picture.activation == 0
    assert "silent on the start image" in picture.reason and picture.reason in str(picture)
    words = " ".join(helpers.grid([picture]).axes[0].texts[0].get_text().split())
    assert words == f"dead: {picture.reason}"


def test_a_filter_that_falls_silent_in_8_bits_is_called_dead():
    # Answers only to pixels above 255, which no finished picture has.
    network = small_network(weights=0.1)
    one = network.get_layer("one")
    one.set_weights([np.full((3, 3, 3, 4), 1 / 27), np.full(4, -1.01)])
    start = np.full((16, 16, 3), 300.0, np.float32)
    past = np.array([[0.2]], np.float32)
    order = recipe_module.recipe_for(
        Layer(network, "one"), Settings(recipe="plain", steps=1, size=16)
    )
    picture = climb.judge(Layer(network, "one"), [0], helpers.deprocess(start)[None], past, order)[
        0
    ]
    assert picture.status == "dead" and "on the way" in picture.reason


@pytest.mark.parametrize(("picture", "noise", "status"), [(-50, -50, "dead"), (-10, -50, "alive")])
def test_dead_and_alive_where_activations_are_negative(picture, noise, status, monkeypatch):
    network = small_network()
    answers = iter([noise, picture])  # in the order in which they are measured
    monkeypatch.setattr(Layer, "activations", lambda *_: np.array([[next(answers)]], "f4"))
    start = helpers.random_image(16)
    past = np.full((1, 1), -50, np.float32)
    order = recipe_module.recipe_for(
        Layer(network, "one"), Settings(recipe="plain", steps=1, size=16)
    )
    made = climb.judge(Layer(network, "one"), [0], helpers.deprocess(start)[None], past, order)[0]
    assert made.status == status


def test_numpy_numbers_are_numbers(model):
    plain = helpers.visualize(model, "block1_conv2", [3], steps=2, size=64, seed=1)[0]
    call = {"steps": np.int32(2), "size": np.int64(64), "seed": np.uint8(1)}
    assert np.array_equal(
        helpers.visualize(model, "block1_conv2", [np.int64(3)], **call)[0].image, plain.image
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, "model is None; it must be a keras.Model"),
        (
            lambda: keras.Sequential([keras.Input((9,)), keras.layers.Dense(2, name="one")]),
            "takes (None, 9); the course needs an image (n, height, width, channels)",
        ),
    ],
)
def test_models_that_cannot_be_used_are_refused_in_one_line(make, words):
    with pytest.raises(ValueError) as caught:
        helpers.visualize(make(), "one", [0], size=64)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_picture_that_is_still_noise_is_called_dead():
    network = small_network()
    start = helpers.random_image(16)
    answers = helpers.activations(network, "one", helpers.deprocess(start)[None])[0]
    number = int(np.argmax(answers))
    past = np.full((1, 1), 0.1, np.float32)
    order = recipe_module.recipe_for(
        Layer(network, "one"), Settings(recipe="plain", steps=1, size=16)
    )
    picture = climb.judge(
        Layer(network, "one"), [number], helpers.deprocess(start)[None], past, order
    )[0]
    assert picture.activation == pytest.approx(answers[number], rel=1e-4) and answers[number] > 0
    assert picture.status == "dead" and "hardly more than on noise" in picture.reason
    climbed = helpers.visualize(network, "one", [number], recipe="plain", size=16)[0]
    assert climbed.status == "alive" and climbed.activation > 1.01 * answers[number]


def test_visualize_leaves_the_model_as_it_was(model):
    before = [weight.numpy().copy() for weight in model.weights]
    trainable = [layer.trainable for layer in model.layers]
    policies = [layer.dtype_policy.name for layer in model.layers]
    answer = model(patterns.images(2, seed=1, size=64)[0].astype(np.float32)).numpy()
    ways = [*itertools.product(recipe_module.RECIPES, objective.PRECISIONS[:2])]
    for recipe, precision in [*ways, ("clear", "float16")]:
        helpers.visualize(
            model, "block5_conv3", [0], steps=2, size=32, recipe=recipe, precision=precision
        )
    again = model(patterns.images(2, seed=1, size=64)[0].astype(np.float32)).numpy()
    assert np.array_equal(answer, again)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))
    assert trainable == [layer.trainable for layer in model.layers]
    assert policies == [layer.dtype_policy.name for layer in model.layers]


def test_progress_counts_every_step(model, monkeypatch):
    bars = []

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            assert kwargs["delay"] == 2  # nothing is shown for what takes less than 2 seconds
            super().__init__(*args, **{**kwargs, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(visualize, "tqdm", Bar)
    helpers.visualize(model, "block1_conv1", range(16), steps=6, size=16, rescue=False)
    assert bars[0].total == bars[0].n == 16 * 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer": "block3conv1"}, "did you mean 'block3_conv1'?"),
        ({"layer": "zzz"}, "no layer 'zzz'. The convolution layers of pocketvgg are: block1_conv1"),
        ({"layer": 3}, "no layer 3"),
        ({"layer": "predictions", "filters": [45]}, "from 0 to 44, not 45"),
        ({"layer": "block1_pool", "filters": [16]}, "from 0 to 15, not 16"),
        ({"layer": None}, "no layer None"),
        ({"layer": ["block1_conv1"]}, "no layer ['block1_conv1']"),
        ({"recipe": "best"}, "recipe must be one of clear, plain, not 'best'"),
        ({"recipe": None}, "recipe must be one of clear, plain, not None"),
        ({"precision": "float64"}, "must be one of float32, bfloat16, float16, not 'float64'"),
        ({"coarse": 1}, "coarse must be True or False, not 1"),
        ({"filters": [48]}, "filter of block3_conv1 must be a whole number from 0 to 47, not 48"),
        ({"filters": [-1]}, "from 0 to 47"),
        ({"filters": [1.5]}, "from 0 to 47, not 1.5"),
        ({"filters": [True]}, "not True"),
        ({"filters": ["3"]}, "not '3'"),
        ({"filters": []}, "empty"),
        ({"filters": 3}, "filters is 3; it must be a list"),
        ({"filters": "3"}, "must be a list"),
        ({"filters": [3, 3]}, "twice"),
        ({"steps": 0}, "steps must be a whole number from 1 to 10,000, not 0"),
        ({"steps": 2.0}, "not 2.0"),
        ({"steps": 10_001}, "not 10001"),
        ({"size": 15}, "size must be a whole number from 16 to 1,024, not 15"),
        ({"size": 1025}, "not 1025"),
        (
            {"layer": "block5_conv1", "size": 15, "filters": [0]},
            "size must be a whole number from 16",
        ),
        ({"seed": -1}, "seed must be"),
        ({"seed": "a"}, "not 'a'"),
        ({"step_size": float("nan")}, "step_size must be a number from 0.0001 to 255, not nan"),
        ({"step_size": 0}, "step_size must be"),
    ],
)
def test_bad_calls_say_what_was_given_and_what_is_allowed(model, change, words):
    call = {"layer": "block3_conv1", "filters": [1], "steps": 2, "size": 32, **change}
    with pytest.raises(ValueError) as caught:
        helpers.visualize(model, **call)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        5,
    ],
)
def test_activations_refuse_other_images(model, images):
    with pytest.raises(ValueError, match=r"images must be uint8 \(n, height, width, 3\), not"):
        helpers.activations(model, "block1_conv1", images)


# ---------------------------------------------------------------- pictures


def test_save_and_rerun_give_the_same_picture(model, tmp_path):
    picture = helpers.visualize(model, "block2_conv2", [5], steps=8, size=48, seed=9, step_size=3)[
        0
    ]
    picture.save(tmp_path / "p.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "p.png")), picture.image)
    again = helpers.rerun(tmp_path / "p.png")
    assert np.array_equal(again.image, picture.image) and again.recipe == picture.recipe
    with pytest.raises(ValueError, match=r"saved as \.png"):
        picture.save(tmp_path / "p.jpg")


@pytest.mark.parametrize("recipe", recipe_module.RECIPES)
def test_a_picture_that_was_stopped_is_stopped_there_again(model, recipe, tmp_path, capsys):
    call = {"recipe": recipe, "steps": 40, "size": 64, "rescue": False}
    whole = helpers.visualize(model, "block2_conv1", [3], **call)[0]
    for stop in (1, 13, 30, 31):  # "clear" lays its tile out after 30
        picture = helpers.visualize(model, "block2_conv1", [3], **call, stop_after=stop)[0]
        assert len(picture.history) == stop and f"{stop} of 40 steps" in str(picture)
        # The schedule is that of 40 steps, not of fewer.
        assert np.array_equal(picture.history, whole.history[:stop])
        picture.save(tmp_path / "p.png")
        assert np.array_equal(helpers.rerun(tmp_path / "p.png").image, picture.image)
        assert "The same picture" in capsys.readouterr().out
    ended = helpers.visualize(model, "block2_conv1", [3], **call, stop_after=40)[0]
    assert np.array_equal(ended.image, whole.image) and ended.recipe == whole.recipe


def test_rerun_says_how_far_off_it_is(model, tmp_path, capsys):
    picture = helpers.visualize(model, "block1_conv1", [5], steps=2, size=16)[0]
    brighter = np.where(picture.image < 200, picture.image + 3, picture.image - 3).astype(np.uint8)
    dataclasses.replace(picture, image=brighter).save(tmp_path / "p.png")
    helpers.rerun(tmp_path / "p.png")
    assert capsys.readouterr().out == "Not the same: 3 grey levels from the file on average.\n"
    dataclasses.replace(picture, image=brighter[:8]).save(tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"is \(8, 16, 3\), its recipe makes 16 pixels"):
        helpers.rerun(tmp_path / "p.png")


def test_rerun_notices_other_weights(model, tmp_path):
    picture = helpers.visualize(model, "block1_conv1", [5], steps=2, size=16)[0]
    picture.save(tmp_path / "p.png")
    other = pocketvgg.build()
    with pytest.raises(ValueError, match="other weights"):
        helpers.rerun(tmp_path / "p.png", other)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "5",
        '{"steps": 3}',
        "[" * 5000,
        json.dumps(
            {
                "network": "pocketvgg",
                "layer": "block1_conv1",
                "filter": 1,
                "steps": 2,
                "size": 16,
                "seed": 0,
            }
        ),
    ],
)
def test_rerun_refuses_foreign_files(text, tmp_path):
    information = PngImagePlugin.PngInfo()
    if text is not None:
        information.add_text("recipe", text)
    Image.new("RGB", (4, 4)).save(tmp_path / "f.png", pnginfo=information)
    with pytest.raises(ValueError, match="is not a PNG with a recipe"):
        helpers.rerun(tmp_path / "f.png")


def write_png(path, recipe, image):
    """A PNG as FilterPicture.save writes it, with any recipe, sealed as if it were true."""
    information, text = PngImagePlugin.PngInfo(), json.dumps(recipe)
    information.add_text("recipe", text)
    information.add_text("sha256", files.seal(text, image))
    Image.fromarray(image).save(path, pnginfo=information)


def test_rerun_refuses_a_picture_that_was_changed(model, tmp_path):
    picture = helpers.visualize(model, "block1_conv1", [5], steps=2, size=16)[0]
    path = tmp_path / "p.png"
    picture.save(path)
    data = path.read_bytes()
    refused = 0
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        try:
            again = helpers.rerun(path)
        except ValueError as error:
            assert re.search("is not a PNG|was changed", str(error)) and "\n" not in str(error)
            refused += 1
        else:  # a checksum was hit that nobody reads; the picture and its recipe were not
            assert again.recipe == picture.recipe and np.array_equal(again.image, picture.image)
    assert refused > 0.9 * len(range(0, len(data), 7))
    # Checksums of the file that fit do not help.
    seal = Image.open(io.BytesIO(data)).text["sha256"]
    information = PngImagePlugin.PngInfo()
    information.add_text("recipe", json.dumps(picture.recipe.as_dict() | {"seed": 1}))
    information.add_text("sha256", seal)
    Image.fromarray(picture.image).save(path, pnginfo=information)
    with pytest.raises(ValueError, match="was changed after it was saved"):
        helpers.rerun(path)


@pytest.mark.parametrize(
    "key", "network layer filter recipe steps size seed step_size precision coarse rescue".split()
)
def test_rerun_refuses_wrong_types(model, tmp_path, key, monkeypatch):
    picture = helpers.visualize(model, "block1_conv1", [5], steps=2, size=16)[0]
    monkeypatch.setattr(visualize, "climb", lambda *_, **__: pytest.fail("work was begun"))
    for value in ([], {}, [[1]], -1, 1e99, "x" * 10_000, {"a": {"b": 1}}):
        write_png(tmp_path / "p.png", picture.recipe.as_dict() | {key: value}, picture.image)
        with pytest.raises(ValueError) as caught:
            helpers.rerun(tmp_path / "p.png")
        assert "\n" not in str(caught.value) and "tensorflow" not in str(caught.value)


def test_rerun_refuses_a_picture_that_would_fill_the_memory(tmp_path):
    information = PngImagePlugin.PngInfo()
    information.add_text("recipe", "{}")
    information.add_text("sha256", "0")
    Image.new("1", (12_000, 12_000)).save(tmp_path / "p.png", pnginfo=information)
    assert (tmp_path / "p.png").stat().st_size < 100_000
    with pytest.raises(ValueError, match="is not a PNG with a recipe"):
        helpers.rerun(tmp_path / "p.png")
    information.add_text("recipe", "x" * 100_000_000, zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "p.png", pnginfo=information)
    with pytest.raises(ValueError, match="is not a PNG with a recipe"):
        helpers.rerun(tmp_path / "p.png")


def test_rerun_loads_no_file_that_a_picture_names(model, tmp_path):
    picture = helpers.visualize(model, "block1_conv1", [5], steps=2, size=16)[0]
    recipe = dataclasses.replace(picture.recipe, network=str(tmp_path / "evil.h5"))
    picture = dataclasses.replace(picture, recipe=recipe)
    model.save(tmp_path / "evil.h5")
    picture.save(tmp_path / "p.png")
    with pytest.raises(ValueError, match="give that model to rerun"):
        helpers.rerun(tmp_path / "p.png")
    assert np.array_equal(helpers.rerun(tmp_path / "p.png", model).image, picture.image)


def test_rerun_refuses_what_is_no_png(tmp_path):
    (tmp_path / "f.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="is not a PNG with a recipe"):
        helpers.rerun(tmp_path / "f.png")
    with pytest.raises(ValueError, match="no file"):
        helpers.rerun(tmp_path / "none.png")


def test_a_picture_shows_itself_with_its_facts(model):
    picture = helpers.visualize(model, "block1_conv2", [3], steps=5, size=64, rescue=False)[0]
    data, metadata = picture._repr_mimebundle_()
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"]))).convert("RGB"))
    assert data["text/plain"] == metadata["image/jpeg"]["alt"] == str(picture)
    for fact in (
        "pocketvgg",
        "block1_conv2",
        "filter 3",
        "alive",
        "5 steps",
        "64 px",
        helpers.two_digits(picture.activation),
    ):
        assert fact in str(picture)
    assert shown.std() > 20  # not an empty figure


@pytest.mark.parametrize(
    ("value", "text"), [(173.2, "170"), (0.000524, "0.00052"), (2.05, "2"), (0, "0"), (9.99, "10")]
)
def test_two_digits(value, text):
    assert helpers.two_digits(value) == text


def test_grid_draws_each_picture_in_its_place():
    colours = [np.full((8, 8, 3), level, np.uint8) for level in (0, 60, 120, 180, 240)]
    figure = helpers.grid(colours, columns=3, labels=list("abcde"), title="t")
    axes = [a for a in figure.axes if a.images]
    assert [a.get_title() for a in axes] == list("abcde") and figure.get_suptitle() == "t"
    sheet = np.asarray(Image.open(io.BytesIO(helpers.jpeg(figure))).convert("L"))
    height, width = sheet.shape
    for number, level in enumerate((0, 60, 120, 180, 240)):
        box = axes[number].get_position()
        value = sheet[int(height * (1 - (box.y0 + box.y1) / 2)), int(width * (box.x0 + box.x1) / 2)]
        assert abs(int(value) - level) < 12
        assert box.min.min() >= 0 and box.max.max() <= 1  # nothing is cut off


def test_grid_keeps_all_text_inside(model):
    pictures = helpers.visualize(model, "block1_conv1", range(5), steps=2, size=16)
    long = "a title of more words than three tiles have room for beside each other " * 2
    for labels, title in (
        (None, ""),
        (["two\nlines"] * 5, ""),
        (["x"] * 5, "a title"),
        (None, long),
    ):
        figure = helpers.grid(pictures, labels=labels, title=title, columns=3)
        helpers.jpeg(figure)  # draws it
        for axes in figure.axes:
            box = axes.title.get_window_extent()
            assert box.y1 <= figure.bbox.y1 + 1 and box.y0 >= 0
        if title:
            (head,) = figure.texts
            above = head.get_window_extent()
            assert above.x0 >= 0 and above.x1 <= figure.bbox.x1
            assert figure.axes[0].title.get_window_extent().y1 <= above.y0
            assert above.y1 <= figure.bbox.y1


@pytest.mark.parametrize("tile", [0.8, 1.2, 2.0])
def test_the_reason_of_a_dead_picture_stays_in_its_tile(model, tile):
    alive = helpers.visualize(model, "block1_conv1", [0], steps=2, size=16)[0]
    reason = "silent on the start image, so its gradient is zero; " * 12
    dead = dataclasses.replace(alive, status="dead", reason=reason)
    figure = helpers.grid([dead, alive], tile=tile)
    helpers.jpeg(figure)  # draws it
    (text,) = figure.axes[0].texts
    inner, outer = text.get_window_extent(), figure.axes[0].get_window_extent()
    assert text.get_text().startswith("dead: ") and text.get_text().endswith("…")
    assert outer.x0 <= inner.x0 and inner.x1 <= outer.x1
    assert outer.y0 <= inner.y0 and inner.y1 <= outer.y1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: helpers.grid([]), "no pictures"),
        (lambda: helpers.grid([np.zeros((4, 4))], labels=["a", "b"]), "2 labels for 1 pictures"),
        (
            lambda: helpers.grid([np.zeros((4, 4))], columns=0),
            "columns must be a whole number from 1 to 100, not 0",
        ),
        (lambda: helpers.deprocess(np.full((4, 4, 3), np.nan)), "finite"),
        (lambda: helpers.deprocess(np.zeros((4, 4))), "(4, 4)"),
        (
            lambda: helpers.deprocess(np.zeros((4, 4, 3)), contrast=200),
            "contrast must be a number from 0 to 127.5, not 200",
        ),
        (lambda: helpers.random_image(0), "size must be"),
        (lambda: helpers.random_image(8, contrast=128), "contrast must be"),
        (
            lambda: helpers.explorer(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])),
            "the course needs an image",
        ),
    ],
)
def test_other_bad_calls(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
