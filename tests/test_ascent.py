"""The engine: the same pictures however they are asked for, no filter given up too soon, no bad call let in."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_helpers import small_network
from tqdm import tqdm

import helpers
from filtersight.ascent import clear as clear_module
from filtersight.ascent import climb as climb_module
from filtersight.ascent import objective, waves
from filtersight.ascent import plain as plain_module
from filtersight.ascent import recipe as recipe_module
from filtersight.ascent import rescue as rescue_module
from filtersight.ascent import visualize as visualize_module
from filtersight.ascent.clear import random_transformations
from filtersight.basics import images as images_module
from filtersight.basics.recipe import Settings
from filtersight.networks import layers
from filtersight.networks.layers import Layer
from filtersight.world import patterns, pocketvgg

COURSE = Path(helpers.__file__).parent


def patch_climb(monkeypatch, function):
    """Puts a function in the place of `climb` wherever pictures are drawn."""
    for module in (visualize_module, rescue_module):
        monkeypatch.setattr(module, "climb", function)


# ---------------------------------------------------------------- network


def maps_of(model, layer, images):
    """All maps of a layer, in float32, by Keras."""
    return keras.Model(model.inputs[0], model.get_layer(layer).output)(images).numpy()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2, "padding": "valid"},
        {"dilation_rate": 2},
        {"groups": 2},
        {"use_bias": False},
        {"activation": "relu"},
        {"activation": "swish", "kernel_size": (1, 3)},
    ],
)
def test_a_truncated_layer_gives_what_the_whole_one_gives(options):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    options = {"kernel_size": 3, "bias_initializer": "random_normal", **options}
    network = keras.Model(inputs, keras.layers.Conv2D(6, name="cut", **options)(x))
    images = np.random.default_rng(0).normal(size=(3, 15, 15, 3)).astype(np.float32)
    filters = [5, 0, 5]
    expected = maps_of(network, "cut", images).mean(axis=(1, 2))[range(3), filters]
    for precision, tolerance in (("float32", 1e-5), ("bfloat16", 0.03)):
        cut = objective.FilterObjective(Layer(network, "cut"), precision, leak=False)
        objective.copy_weights(cut.original, cut.network)
        found = cut(tf.constant(images), tf.constant(filters)).numpy()
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_the_first_layer_can_be_cut():
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="only")(inputs))
    picture = helpers.visualize(network, "only", [2], steps=20, size=32, rescue=False)[0]
    again = maps_of(network, "only", picture.image[None].astype(np.float32))[..., 2].mean()
    assert picture.activation == pytest.approx(again, rel=1e-4) and picture.status == "alive"


def test_layers_that_serve_in_another_network_too_are_no_hindrance():
    network = small_network()
    shared = keras.layers.Activation("relu")
    keras.Sequential([keras.Input((None, None, 4)), shared])
    x = shared(network.get_layer("one").output)
    other = keras.Model(network.inputs, keras.layers.Conv2D(3, 3, name="end")(x), name="other")
    picture = helpers.visualize(other, "end", [1], steps=6, size=32, rescue=False)[0]
    again = maps_of(other, "end", picture.image[None].astype(np.float32))[..., 1].mean()
    assert picture.activation == pytest.approx(again, rel=1e-3)


def test_a_leaky_function_is_itself_forward_and_leaks_backward():
    x = tf.constant([-2.0, -0.5, 0.5, 2.0, 7.0])
    relu6 = objective.leaky(keras.activations.relu6)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = relu6(x)
    assert np.allclose(y, [0, 0, 0.5, 2, 6])
    assert np.allclose(tape.gradient(y, x), [0.1, 0.1, 1, 1, 0.1])


def test_no_graph_is_built_twice(model):
    climber = climb_module.climber_of(Layer(model, "block2_conv1"), "float32", False)
    for filters, size, seed, steps in (
        ([1], 64, 0, 3),
        ([2, 9, 4], 96, 5, 17),
        (range(9), 37, 1, 2),
    ):
        helpers.visualize(
            model, "block2_conv1", filters, size=size, seed=seed, steps=steps, precision="float32"
        )
    assert climb_module.climber_of(Layer(model, "block2_conv1"), "float32", False) is climber
    assert climber.climb.experimental_get_tracing_count() == 1


def test_new_weights_are_taken_over():
    network = small_network()
    call = {"steps": 4, "size": 32}
    for precision in objective.PRECISIONS:
        before = helpers.visualize(network, "two", [1], precision=precision, **call)[0]
        one = network.get_layer("one")
        one.set_weights([-weight for weight in one.get_weights()])
        after = helpers.visualize(network, "two", [1], precision=precision, **call)[0]
        fresh = keras.models.clone_model(network)
        fresh.set_weights(network.get_weights())
        expected = helpers.visualize(fresh, "two", [1], precision=precision, **call)[0]
        assert np.array_equal(after.image, expected.image)
        assert not np.array_equal(before.image, after.image)


@pytest.mark.parametrize("fast", [True, False])
def test_precision_is_the_faster_one_and_named(model, fast, monkeypatch):
    chosen = "bfloat16" if fast else "float32"
    monkeypatch.setattr(recipe_module, "fast_precision", lambda: chosen)
    call = {"layer": "block1_conv1", "filters": [3], "size": 32, "steps": 2}
    picture = helpers.visualize(model, **call)[0]
    assert picture.recipe.precision == chosen and chosen in str(picture)
    assert helpers.visualize(model, recipe="plain", **call)[0].recipe.precision == "float32"
    for precision in objective.PRECISIONS:
        forced = helpers.visualize(model, precision=precision, **call)[0]
        assert forced.recipe.precision == precision
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, not 'float1"):
        helpers.visualize(model, recipe="plain", precision="float16", **call)


@pytest.mark.parametrize(
    ("flags", "card", "expected"),
    [
        ("fpu sse avx2 fma avx512f amx_bf16 amx_tile", None, "bfloat16"),
        ("fpu sse avx2 fma avx512f avx512_bf16", None, "bfloat16"),
        ("fpu sse avx2 fma avx512f avx512_vnni", None, "float32"),
        ("fpu sse avx2", None, "float32"),
        (None, None, "float32"),  # no Linux
        ("fpu avx2", (8, 0), "bfloat16"),
        ("fpu amx_bf16", (7, 5), "float16"),  # Colab's T4
        ("fpu amx_bf16", (6, 1), "float32"),
        ("fpu amx_bf16", (), "float32"),  # a card that does not say
    ],
)
def test_precision_is_a_matter_of_the_hardware(flags, card, expected, tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        one = f"processor\t: 0\nmodel name\t: A Processor\nflags\t\t: {flags}\nbugs\t\t: none\n\n"
        cpuinfo.write_text(2 * one)
    monkeypatch.setattr(objective, "CPUINFO", cpuinfo)
    monkeypatch.delenv("COURSE_PRECISION", raising=False)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    cards = [] if card is None else ["GPU:0"]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: cards)
    details = {"compute_capability": card} if card else {}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda card: details)
    decide = objective.fast_precision.__wrapped__
    assert decide() == expected
    if card is None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
        assert decide() == "float32"
    for precision in objective.PRECISIONS:
        monkeypatch.setenv("COURSE_PRECISION", precision)
        assert decide() == precision
    monkeypatch.setenv("COURSE_PRECISION", "float8")
    with pytest.raises(ValueError, match="must be one of float32, bfloat16, float16, not 'float8'"):
        decide()


def test_bfloat16_really_computes_in_bfloat16(model):
    copy = objective.private_copy(helpers.submodel(model, "block3_conv1"), "bfloat16")
    kernels = [layer.kernel.dtype for layer in copy.layers if hasattr(layer, "kernel")]
    assert kernels == ["bfloat16"] * 5
    assert copy(tf.zeros((1, 32, 32, 3))).dtype == tf.bfloat16


def bright_network(scale):
    """One filter that answers to light, its maps `scale` times as large as the brightness, 0 to 1; and -1 times."""
    x = inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 4, name="wide")(keras.layers.Rescaling(1 / 255)(x))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1, activation="relu", name="end")(x))
    network.get_layer("wide").set_weights([np.full((4, 4, 3, 2), scale / 48), np.zeros(2)])
    network.get_layer("end").set_weights([np.array([[[[1.0, 1e-4], [0.0, 0.0]]]]), np.zeros(2)])
    return network


def test_float16_computes_in_float16_and_comes_to_the_same(model):
    copy = objective.private_copy(helpers.submodel(model, "block3_conv1"), "float16")
    assert {layer.kernel.dtype for layer in copy.layers if hasattr(layer, "kernel")} == {"float16"}
    images = tf.constant(patterns.images(4, seed=5, size=64)[0], tf.float32)
    for layer in ("block1_conv2", "block3_conv3", "block5_conv3"):
        results = []
        for precision in ("float16", "float32"):
            climber = climb_module.climber_of(Layer(model, layer), precision, False)
            objective.copy_weights(climber.objective.original, climber.objective.network)
            with tf.GradientTape() as tape:
                tape.watch(images)
                activation = climber.objective(images, tf.range(4))
                climbed = clear_module.LOSS_SCALE * activation
            gradient = tape.gradient(climbed, images).numpy().reshape(4, -1)
            results += [activation, gradient / np.linalg.norm(gradient, axis=1, keepdims=True)]
        assert np.allclose(results[0], results[2], rtol=0.01, atol=1e-3)
        assert (results[1] * results[3]).sum(axis=1).min() > 0.995  # cosine: a few ReLUs flip
    picture = helpers.visualize(model, layer, [1], size=48, steps=4, precision="float16")[0]
    assert "overflowed" not in picture.reason


@pytest.mark.parametrize("scale", [1e5, 1e9])
def test_what_overflows_in_float16_is_done_in_float32_and_says_so(scale):
    """The map itself (above 65,504 after some steps, or at once), or only what its gradient goes through."""
    call = {"size": 32, "steps": 8, "rescue": False}
    network = bright_network(scale)
    half = helpers.visualize(network, "end", [0, 1], precision="float16", **call)
    full = helpers.visualize(network, "end", [0, 1], precision="float32", **call)
    overflowed = half[0]
    assert overflowed.status == "alive" and "for float16 overflowed" in overflowed.reason
    assert np.array_equal(overflowed.image, full[0].image)
    assert len(overflowed.history) == 8 and not np.isfinite(overflowed.history).all()
    # An explorer or a sheet sees the same image last.
    recipe = dataclasses.replace(overflowed.recipe, filter=None)
    *_, (images, _) = climb_module.frames(Layer(network, "end"), [0, 1], recipe, seconds=0.1)
    assert np.array_equal(images[0], full[0].image)


def test_a_gradient_that_overflows_in_float16_is_noticed():
    network = bright_network(1e4)  # its values fit, 1,024 times its gradients do not
    network.get_layer("end").set_weights([np.array([[[[1.0, 0], [0, 0]]]]), np.zeros(2)])
    x = keras.layers.Rescaling(100.0)(network.output)
    steep = keras.Model(network.input, keras.layers.Conv2D(1, 1, name="last")(x))
    steep.get_layer("last").set_weights([np.full((1, 1, 2, 1), 100.0), np.full(1, -5e7)])
    call = {"size": 32, "steps": 4, "rescue": False}
    half = helpers.visualize(steep, "last", [0], precision="float16", **call)[0]
    full = helpers.visualize(steep, "last", [0], precision="float32", **call)[0]
    assert np.array_equal(half.image, full.image) and "for float16 overflowed" in half.reason


# ---------------------------------------------------------------- image


def test_contours_are_the_inverse_fourier_transform():
    spectrum = waves.random_spectrum(15, seed=3)[None]
    planes = np.fft.irfft2(
        (spectrum[..., 0] + 1j * spectrum[..., 1]) * waves.wave_sizes(15)[..., 0], s=(15, 15)
    )
    expected = np.einsum("nchw,dc->nhwd", planes, waves.COLOURS)
    found = waves.to_logits(tf.constant(spectrum), waves.wave_sizes(15)).numpy()
    assert np.allclose(found, expected, atol=1e-5)


def test_spectra_lead_back_to_the_image():
    images = np.stack([helpers.photo(48), patterns.images(1, seed=4, size=48)[0][0]])
    back = waves.to_images(waves.to_spectra(images)).astype(int)
    # What is nearly black or white is kept off the ends of the sigmoid.
    assert np.abs(back - np.clip(images, 5, 250)).max() <= 1


def test_the_quarters_of_a_tile_are_different_pieces_of_it(monkeypatch):
    small = waves.random_spectrum(32, seed=1)[None]
    monkeypatch.setattr(waves, "NOISE", 0)
    large = waves.to_logits(tf.constant(waves.four_tiles(small, 0)), waves.wave_sizes(64)).numpy()
    tile = waves.to_logits(tf.constant(small), waves.wave_sizes(32)).numpy()
    quarters = []
    for down, right in itertools.product((0, 32), (0, 32)):
        quarter = large[0, down + 8 : down + 24, right + 8 : right + 24]
        places = itertools.product(range(32), range(32))
        pieces = [np.roll(tile[0], place, axis=(0, 1))[8:24, 8:24] for place in places]
        assert min(np.abs(quarter - piece).max() for piece in pieces) < 1e-5
        quarters.append(quarter)
    alike = np.corrcoef([quarter.ravel() for quarter in quarters])
    assert np.abs(alike[~np.eye(4, dtype=bool)]).max() < 0.5
    # Where they meet there is as much contrast as elsewhere.
    assert large[0, 28:36].std() / large.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("size", [10, 15])
def test_the_way_back_from_logits_is_their_gradient(size):
    """Against differences in double precision, wave by wave."""
    rng = np.random.default_rng(0)
    spectrum = rng.normal(size=(1, 3, size, size // 2 + 1, 2))
    upward = rng.normal(size=(1, size, size, 3)).astype(np.float32)

    def value(spectrum):
        amplitudes = (spectrum[..., 0] + 1j * spectrum[..., 1]) * waves.wave_sizes(size)[..., 0]
        planes = np.fft.irfft2(amplitudes, s=(size, size))
        return (np.einsum("nchw,dc->nhwd", planes, waves.COLOURS.astype(float)) * upward).sum()

    expected = np.zeros_like(spectrum)
    for place in np.ndindex(spectrum.shape):
        nearby = spectrum.copy()
        nearby[place] += 1
        expected[place] = value(nearby) - value(spectrum)  # it is linear
    weights = waves.wave_sizes(size) * waves.wave_counts(size)
    found = waves.to_logits_back(tf.constant(upward), weights).numpy() / size**2
    assert np.allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def looked_at(image, look, step=0):
    """The image as a network sees it, by the engine."""
    rolled = tf.roll(tf.constant(image[None]), look.rolls[step], axis=(1, 2))
    return clear_module.transformed(rolled, look.transforms[step]).numpy()[0]


@pytest.mark.parametrize(
    ("chance", "expected"),
    [
        ([0, 0, 0, 0, 0, 0], lambda image: image),
        ([0, 0, 1, -0.4, 0, 0], lambda image: np.roll(image, (2, -5), axis=(0, 1))),
        ([1, 0, 0, 0, 0, 0], np.rot90),
        ([0, 0, 0, 0, 1, -0.5], lambda image: np.roll(image, (30, -15), axis=(0, 1))),
        # Half of the image, enlarged to all of it.
        ([0, -1, 0, 0, 0, 0], lambda image: cv2.resize(image[16:49, 16:49], (65, 65))),
    ],
)
def test_a_look_is_moved_by_chance_and_back(chance, expected, monkeypatch):
    monkeypatch.setattr(clear_module, "SHIFT", 5.0)
    monkeypatch.setattr(clear_module, "TURN", 90.0)
    monkeypatch.setattr(clear_module, "SCALE", 0.5)
    generator = type("Generator", (), {"uniform": lambda *_: np.array([chance], float)})
    monkeypatch.setattr(np.random, "default_rng", lambda _: generator())
    image = helpers.photo(65).astype(np.float32)
    look = random_transformations(1, 65, 0, 30.0)
    moved = looked_at(image, look)
    difference = np.abs(moved - expected(image))
    assert difference[1:-1, 1:-1].mean() < (5 if chance[1] else 0.1)
    assert difference.mean() < 5  # the border wraps around
    back = clear_module.transformed(tf.constant(moved[None]), look.inverses[0])
    back = tf.roll(back, -look.rolls[0], axis=(1, 2)).numpy()[0]
    middle = np.s_[20:45, 20:45] if chance[1] else np.s_[6:-6, 6:-6]
    assert np.abs(back - image)[middle].mean() < (8 if chance[1] else 0.1)


def test_looks_differ_from_step_to_step_and_by_seed():
    image = helpers.photo(128).astype(np.float32)
    moved = [
        looked_at(image, random_transformations(2, 128, k, 0.0), s) for k in (0, 1) for s in (0, 1)
    ]
    for one, other in itertools.combinations(moved, 2):
        assert np.abs(one - other).max() > 5
    alike = [np.corrcoef(look.ravel(), image.ravel())[0, 1] for look in moved]
    other = np.corrcoef(image[::-1].ravel(), image.ravel())[0, 1]
    assert min(alike) > 2 * other  # it is still the same photo


def test_the_first_looks_are_the_same_however_many_follow():
    few, many = random_transformations(3, 64, 5, 32.0), random_transformations(50, 64, 5, 32.0)
    assert all(np.array_equal(a, b[:3]) for a, b in zip(few, many, strict=True))
    assert len(np.unique(many.rolls, axis=0)) > 40 and np.abs(many.rolls).max() > 25


# ---------------------------------------------------------------- ascent


def test_alone_or_among_64_the_picture_is_the_same(model):
    for layer, recipe in (("block4_conv1", "clear"), ("block3_conv1", "plain")):
        count = helpers.filter_count(model, layer)
        # Convolutions of one image and of many may add up in another order. A climb makes more of such
        # a difference the longer it is, so it is a short one of which the pixels are compared.
        for precision, beside, steps, tolerance in (
            ("float32", count, 5, 0.01),
            ("bfloat16", 8, 10, 2),  # slow on processors without it
        ):
            options = {"precision": precision, "recipe": recipe, "steps": steps, "size": 64}
            options["rescue"] = False
            many = helpers.visualize(model, layer, range(beside), **options)
            for number in (0, 5, beside - 1):
                alone = helpers.visualize(model, layer, [number], **options)[0]
                other = many[number]
                assert alone.recipe == other.recipe and alone.status == other.status
                assert np.abs(alone.image - other.image.astype(float)).mean() <= tolerance
                if precision == "float32":
                    assert np.allclose(alone.history, other.history, rtol=1e-3)


def test_alone_or_among_many_a_long_climb_comes_as_far(model):
    call = {"precision": "float32", "size": 64}
    many = helpers.visualize(model, "block5_conv3", range(8), **call)
    for number in (1, 6):
        alone = helpers.visualize(model, "block5_conv3", [number], **call)[0]
        assert alone.activation == pytest.approx(many[number].activation, rel=0.05)


def test_batches_split_by_memory_change_nothing(model, monkeypatch):
    call = {"steps": 8, "size": 64, "precision": "float32"}
    whole = helpers.visualize(model, "block2_conv1", range(9), **call)
    sizes = []
    climb = climb_module.climb

    def spy(model, filters, *args, **kwargs):
        sizes.append(len(filters))
        return climb(model, filters, *args, **kwargs)

    patch_climb(monkeypatch, spy)
    values = (
        sum(
            np.prod(maps_of(model, each.name, np.zeros((1, 64, 64, 3))).shape)
            for each in helpers.submodel(model, "block2_conv1").layers[1:]
        )
        + 64 * 64 * 3
    )
    monkeypatch.setattr(layers, "WORKING_SET", 4 * 3 * 4 * values)  # room for four images
    parts = helpers.visualize(model, "block2_conv1", range(9), **call)
    assert sizes[:3] == [4, 4, 1]  # what comes after are rescues
    assert all(np.array_equal(a.image, b.image) for a, b in zip(whole, parts, strict=True))


def test_images_that_do_not_fit_into_memory_are_refused(model, monkeypatch):
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: type("Memory", (), {"available": 5_000_000})
    )
    with pytest.raises(
        ValueError, match=r"one image of 512 pixels needs .* GB .* 0\.0 GB are free"
    ):
        helpers.visualize(model, "block5_conv3", [0], size=512)


def test_the_best_image_is_kept_and_not_the_last(monkeypatch):
    for name in ("SHIFT", "TURN", "SCALE"):
        monkeypatch.setattr(clear_module, name, 0.0)
    climber = climb_module.climber_of(Layer(pocketvgg.load(), "block3_conv2"), "float32", False)
    start = np.stack([waves.random_spectrum(64, seed) for seed in range(3)]) * 4
    # Downhill: every step is worse than the start.
    seen = list(clear_module.ascend_waves([(climber, 24)], [1, 5, 5], start, rate=-0.05, seed=0))
    assert np.array_equal(seen[-1][0], waves.to_images(start))
    values = np.concatenate([some for _, some in seen])
    assert (values[-1] < 0.5 * values[0]).any()
    *_, (images, _) = clear_module.ascend_waves(
        [(climber, 12)], [1, 5, 5], start, rate=0.05, seed=0
    )
    assert not any(map(np.array_equal, images, waves.to_images(start)))


def test_what_sees_much_of_the_image_is_not_a_tile_four_times(model):
    for layer, repeats in (("block2_conv2", True), ("block5_conv3", False)):
        assert (helpers.receptive_field(model, layer) <= 32) == repeats
        order = recipe_module.recipe_for(
            Layer(model, layer), Settings(size=128, precision="float32")
        )
        images, _ = next(climb_module.frames(Layer(model, layer), [3, 9], order, seconds=1e-9))
        halves = np.array_equal(images[:, :64], images[:, 64:])
        assert halves == repeats, "the first steps are done on a tile, or they are not"
    for picture in helpers.visualize(model, "block5_conv3", [3, 9, 20], rescue=False):
        image = picture.image.astype(float)
        for one, other in ((image[:64], image[64:]), (image[:, :64], image[:, 64:])):
            assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.5


def test_steps_become_smaller_in_the_end():
    sizes = clear_module.rate_schedule(50)
    assert np.allclose(sizes[:26], 1) and (np.diff(sizes[25:]) < 0).all() and sizes[-1] > 0
    assert np.allclose(clear_module.rate_schedule(1), 1)


def test_fine_waves_are_weaker_on_a_steeper_slope():
    boost = waves.spectral_boost(100, waves.Slope(2.0, 4.0))[0, :, 0]  # 0 to 50 waves in 100 pixels
    assert boost[10] == pytest.approx(1) and boost[20] == pytest.approx(0.5)
    assert boost[5] == pytest.approx(2) and boost[1] == 4


def test_contrast_is_bounded(model):
    pictures = helpers.visualize(model, "block2_conv1", range(8), steps=200, size=64)
    deviations = [
        np.log(np.clip(p.image, 1, 254) / (255 - np.clip(p.image, 1, 254))).std() for p in pictures
    ]
    assert 1 < np.median(deviations) < 1.2 * clear_module.CONTRAST


def test_early_steps_on_a_tile_reach_more_in_the_same_time(model):
    """A step on the tile costs a quarter: 40 steps with it are 17.5 whole ones."""
    gains, call = [], {"precision": "float32", "rescue": False}
    for layer in ("block2_conv1", "block2_conv2"):
        tiled = helpers.visualize(model, layer, range(12), steps=40, **call)
        whole = helpers.visualize(model, layer, range(12), steps=18, coarse=False, **call)
        gains += [
            a.activation / b.activation
            for a, b in zip(tiled, whole, strict=True)
            if a.status == b.status == "alive"
        ]
    assert len(gains) > 18 and np.exp(np.mean(np.log(gains))) > 1.1  # 18 % with these weights


def test_pictures_excite_their_filters_more_than_the_world_does(model):
    images, _ = patterns.images(300, seed=77, size=128)
    # Some of block 2 want an even colour, or more contrast than any climb finds; filters that chose
    # their patterns answer strongly to some drawings of these.
    layers = (("block2_conv1", 3, 0.8), ("block4_conv2", 3, 0.9), ("block4_conv3", 3, 0.8))
    for layer, step, share in layers:
        best = helpers.activations(model, layer, images).max(axis=0)
        numbers = [int(number) for number in np.flatnonzero(best)][::step]
        pictures = helpers.visualize(model, layer, numbers)
        assert all(picture.status != "dead" and picture.activation > 0 for picture in pictures)
        assert np.mean([p.activation >= best[p.filter] for p in pictures]) >= share


FINGERPRINT = """
import hashlib, helpers
pictures = helpers.visualize(helpers.load_model(), "block3_conv1", range(1, 9), size=64, precision="float32")
print(hashlib.sha256(b"".join(p.image.tobytes() + p.history.tobytes() for p in pictures)).hexdigest())
"""


def test_another_process_draws_the_same_bytes():
    # Both import the course before TensorFlow, as users do; this process may not have.
    command, printed = [sys.executable, "-c", FINGERPRINT], []
    for _ in range(2):
        done = subprocess.run(command, cwd=COURSE, capture_output=True, text=True, check=True)
        printed.append(done.stdout)
    assert len(printed[0].strip()) == 64 and printed[0] == printed[1]


@pytest.mark.parametrize("recipe", recipe_module.RECIPES)
def test_ctrl_c_gives_the_pictures_so_far(model, recipe, monkeypatch, capsys):
    monkeypatch.setattr(Layer, "images_at_once", lambda *_: 4)
    updates = []

    class Bar(tqdm):
        def update(self, count):
            updates.append(count)
            if len(updates) == self.stop:
                raise KeyboardInterrupt

    call = {"recipe": recipe, "size": 32, "steps": 40}
    whole = helpers.visualize(model, "block1_conv2", range(6), rescue=False, **call)
    for module in (clear_module, plain_module):
        monkeypatch.setattr(module, "next_chunk", lambda *_: 10)
    Bar.stop = 8  # within the second batch: four chunks and one of one step make 40 steps
    monkeypatch.setattr(visualize_module, "tqdm", Bar)
    pictures = helpers.visualize(model, "block1_conv2", range(6), **call)
    assert [p.filter for p in pictures] == list(range(6))
    assert np.array_equal(pictures[0].image, whole[0].image)
    done = pictures[-1].recipe.stop_after
    assert 0 < done < 40 and len(pictures[-1].history) == done
    again = maps_of(model, "block1_conv2", pictures[-1].image[None].astype(np.float32))
    assert pictures[-1].activation == pytest.approx(again[..., 5].mean(), rel=1e-3)
    assert f"Stopped: 6 of 6 pictures, the last after {done} of 40" in capsys.readouterr().out


def test_ctrl_c_before_the_first_picture_is_passed_on(model, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(climb_module, "ascend_waves", stopped)
    with pytest.raises(KeyboardInterrupt):
        helpers.visualize(model, "block1_conv2", [0])


# ---------------------------------------------------------------- rescue


def picky_network(threshold):
    """Answers only where 8 × 8 pixels are brighter than `threshold`, 0 to 1: (that, nothing at all)."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(2, 8, activation="relu", name="first")(x)
    x = keras.layers.Conv2D(2, 1, activation="relu", name="second")(x)
    network = keras.Model(inputs, x, name="picky")
    mean = np.full((8, 8, 3, 2), 1 / (8 * 8 * 3))
    network.get_layer("first").set_weights([mean, np.full(2, -threshold)])
    network.get_layer("second").set_weights([np.eye(2)[None, None], np.array([0.0, -1e6])])
    return network


def test_a_filter_behind_silent_relus_is_rescued_and_the_way_is_told(monkeypatch):
    grey = np.full((9, 128, 128, 3), 127, np.uint8)
    monkeypatch.setattr(rescue_module, "sample", lambda channels: grey)
    monkeypatch.setattr(waves, "NOISE", 0.005)  # so little that more of it does not help
    plain = helpers.visualize(picky_network(0.75), "second", [0], size=64, recipe="plain")[0]
    assert plain.status == "dead" and plain.activation == 0
    clear = helpers.visualize(picky_network(0.75), "second", [0], size=64)[0]
    assert clear.status == "rescued" and clear.activation > 0.01
    assert "after a start with the gradient leaking through silent ReLUs" in clear.reason
    assert cv2.blur(clear.image, (8, 8)).max() > 0.75 * 255  # it found the light that it wants


def test_rescues_are_tried_in_their_order_and_no_further_than_needed(monkeypatch):
    monkeypatch.setattr(waves, "NOISE", 0.005)
    tried = []
    climb = climb_module.climb

    def spy(*args, leak=False, start=None):
        more_noise = 10 * waves.random_spectrum(64, 1)[None]
        noise = start is not None and np.array_equal(start(64), more_noise)
        kinds = {"first": start is None, "leak": leak, "noise": noise}
        tried.append(next((kind for kind, is_it in kinds.items() if is_it), "real image"))
        return climb(*args, leak=leak, start=start)

    patch_climb(monkeypatch, spy)
    helpers.visualize(picky_network(0.75), "second", [0], size=64)
    assert tried == ["first", "noise", "real image"]
    tried.clear()
    helpers.visualize(picky_network(0.75), "second", [1], size=64)  # never answers
    assert tried == ["first", "noise", "leak"]  # no real image makes it answer, to begin with
    tried.clear()
    grey = np.full((9, 128, 128, 3), 127, np.uint8)
    monkeypatch.setattr(rescue_module, "sample", lambda channels: grey)
    helpers.visualize(
        picky_network(-1), "second", [0], size=64
    )  # its picture is brighter than grey
    assert tried == ["first"]
    tried.clear()
    picture = helpers.visualize(picky_network(0.75), "second", [0], size=64, rescue=False)[0]
    assert tried == ["first"] and picture.status == "dead"


def test_dead_is_said_only_with_evidence():
    picture = helpers.visualize(picky_network(0.75), "second", [1], size=64)[0]
    assert picture.status == "dead" and picture.activation == 0
    evidence = (
        f"no help from other starts, a leaky gradient and {len(helpers.sample())} real images"
    )
    assert evidence in picture.reason and len(helpers.sample()) > 500
    # And it is true: nothing in the sample makes it answer.
    assert helpers.activations(picky_network(0.75), "second", helpers.sample())[:, 1].max() == 0


def test_a_picture_below_the_real_images_is_made_better(model):
    layer, some = "block5_conv3", range(0, 64, 2)
    before = helpers.visualize(model, layer, some, size=64, steps=16, rescue=False)
    after = helpers.visualize(model, layer, some, size=64, steps=16)
    images = helpers.sample()[:, :64, :64]
    best = helpers.activations(model, layer, images).max(axis=0)
    weak = 0
    for old, new in zip(before, after, strict=True):
        if old.activation >= best[old.filter]:
            assert np.array_equal(new.image, old.image) and new.status == "alive"
        else:
            weak += 1
            assert new.activation >= old.activation
            assert new.status == "rescued"
            assert "after a start" in new.reason or "which is a real image" in new.reason
            assert new.activation > 0.9 * best[new.filter]
    assert weak >= 3


def test_a_filter_that_sees_little_starts_from_the_piece_that_excites_it(model):
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, 16:48, 32:] = 255
    layer = Layer(picky_network(0.1), "second")
    assert rescue_module.best_pieces(layer, [0], image, 32).min() == 255
    assert np.array_equal(rescue_module.best_pieces(layer, [0], image, 64), image)
    assert rescue_module.best_pieces(layer, [0], image, 80).shape == (1, 80, 80, 3)


def test_an_expensive_network_is_shown_fewer_real_images(model, monkeypatch):
    layer = Layer(model, "block2_conv1")
    recipe = recipe_module.recipe_for(layer, Settings(size=32))
    everything = helpers.sample()[:, :32, :32]
    assert np.array_equal(rescue_module.real_images(layer, recipe), everything)
    monkeypatch.setattr(rescue_module, "ENOUGH", 100 * layer.multiplications(32))
    some = rescue_module.real_images(layer, recipe)
    assert len(some) == 100 and np.array_equal(some[[0, -1]], everything[[0, -1]])
    monkeypatch.setattr(rescue_module, "ENOUGH", 1.0)
    assert len(rescue_module.real_images(layer, recipe)) == rescue_module.FEWEST
    assert np.array_equal(rescue_module.real_images(layer, recipe, every=True), everything)


@pytest.mark.parametrize("name, sees_little", [("block1_conv2", True), ("block4_conv3", False)])
def test_an_expensive_layer_that_sees_little_is_shown_the_middles(
    model, monkeypatch, name, sees_little
):
    layer = Layer(model, name)
    recipe = recipe_module.recipe_for(layer, Settings(size=64))
    monkeypatch.setattr(rescue_module, "ENOUGH", rescue_module.FEWEST * layer.multiplications(64))
    whole = rescue_module.real_answers(layer, recipe)
    images = rescue_module.real_images(layer, recipe)
    assert np.allclose(whole, helpers.activations(model, name, images), atol=1e-5)
    monkeypatch.setattr(rescue_module, "ENOUGH", 1)
    fresh = Layer(keras.models.clone_model(model), name)
    fresh.model.set_weights(model.get_weights())
    shown = images[:, 16:48, 16:48] if sees_little else images
    few = rescue_module.real_answers(fresh, recipe)
    assert np.allclose(few, helpers.activations(model, name, shown), atol=1e-5)


def test_where_no_climb_helps_a_real_image_is_shown_and_said_to_be_one(model, monkeypatch):
    patch_climb(
        monkeypatch,
        lambda m, filters, order, bar, **_: (
            climb_module.judge(
                m,
                filters,
                np.full((len(filters), 64, 64, 3), 127, np.uint8),
                np.zeros((1, len(filters)), np.float32),
                order,
            ),
            True,
        ),
    )
    picture = helpers.visualize(picky_network(0.75), "second", [0], size=64)[0]
    assert picture.status == "rescued" and "which is a real image" in picture.reason
    sample = helpers.sample()[:, :64, :64]
    answers = helpers.activations(picky_network(0.75), "second", sample)[:, 0]
    assert np.array_equal(picture.image, sample[answers.argmax()])


def test_a_rescued_picture_can_be_made_again(tmp_path):
    network = picky_network(0.75)
    picture = helpers.visualize(network, "second", [0], size=64)[0]
    picture.save(tmp_path / "p.png")
    again = helpers.rerun(tmp_path / "p.png", network)
    assert np.array_equal(again.image, picture.image) and again.status == "rescued"


def test_images_of_the_sample_keep_their_scale():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    assert np.array_equal(images_module.tiled_to(image, 6)[0, :4, :4], image[0])
    assert np.array_equal(images_module.tiled_to(image, 6)[0, 4:, 4:], image[0, :2, :2])
    assert np.array_equal(images_module.tiled_to(image, 3), image[:, :3, :3])


@pytest.mark.parametrize("size", [16, 160])
def test_rescues_work_at_every_size(size):
    for number, status in ((0, "rescued"), (1, "dead")):
        picture = helpers.visualize(picky_network(0.75), "second", [number], size=size)[0]
        assert picture.status == status and picture.image.shape == (size, size, 3)


# ---------------------------------------------------------------- limits


def test_an_endless_list_of_filters_is_refused():
    with pytest.raises(ValueError, match="filter of two must be a whole number from 0 to 4, not 5"):
        helpers.visualize(small_network(), "two", itertools.count())


def test_an_answer_that_is_not_finite_is_not_called_alive():
    network = small_network(weights=3e38)
    picture = helpers.visualize(network, "two", [0], size=32, steps=2, rescue=False)[0]
    assert picture.status == "dead" and "not a finite number" in picture.reason


def test_an_activation_that_cannot_be_written_down_is_kept():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation=lambda x: tf.nn.elu(x) - 1)(inputs)
    network = keras.Model(inputs, keras.layers.Conv2D(3, 3, name="end")(x))
    picture = helpers.visualize(network, "end", [1], size=32, steps=9, precision="bfloat16")[0]
    again = maps_of(network, "end", picture.image[None].astype(np.float32))[..., 1].mean()
    assert picture.activation == pytest.approx(again, rel=1e-3)
    assert picture.history[-1] > picture.history[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    network = small_network()
    kernel, bias = network.get_layer("one").get_weights()
    kernel[1, 1, 0, 2] = value
    network.get_layer("one").set_weights([kernel, bias])
    with pytest.raises(ValueError, match=r"small has weights that are not finite, in .*one/kernel"):
        helpers.visualize(network, "two", [0])


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(-9, 99), max_size=3),
    st.just(np.array([1, 2])),
    st.just(np.float32(2)),
    st.just(object()),
)


def not_whole(low, high):
    return ANYTHING.filter(lambda v: not (type(v) is int and low <= v <= high))


def none_of(*good):
    """Anything else: Hypothesis also tries the words that it finds in the code."""
    return ANYTHING.filter(lambda v: not isinstance(v, str) or v not in good)


BAD = {
    "layer": none_of("one", "pool", "two", "mean"),
    "filters": st.one_of(
        st.just([]),
        ANYTHING.filter(lambda v: not isinstance(v, (list, np.ndarray))),
        st.lists(ANYTHING, max_size=2).filter(
            lambda v: not all(type(each) is int and 0 <= each < 5 for each in v)
        ),
        st.lists(st.integers(0, 4), min_size=1, max_size=3).map(lambda v: v + v[:1]),
    ),
    "recipe": none_of(*recipe_module.RECIPES),
    "steps": not_whole(1, 10_000).filter(lambda v: v is not None),
    "size": not_whole(16, 1024).filter(lambda v: v is not None),
    "seed": not_whole(0, 2**32 - 1),
    "step_size": st.one_of(
        st.floats(max_value=0), st.floats(min_value=256), st.text(), st.booleans(), st.just(np.nan)
    ),
    "precision": ANYTHING.filter(lambda v: v is not None),
    "coarse": ANYTHING.filter(lambda v: not isinstance(v, bool)),
    "rescue": ANYTHING.filter(lambda v: not isinstance(v, bool)),
}


@pytest.mark.parametrize("call", [helpers.visualize, helpers.atlas])
def test_a_setting_that_there_is_not_is_named_with_the_nearest(call, tmp_path):
    where = tmp_path if call is helpers.atlas else "one"
    with pytest.raises(
        TypeError, match=r"no setting 'stepsize'; did you mean 'step_size'\? All are: "
    ):
        call(small_network(), where, [0], stepsize=3)


def test_an_atlas_has_no_stop_after(tmp_path):
    with pytest.raises(ValueError, match="stop_after is for single pictures"):
        helpers.atlas(small_network(), tmp_path, stop_after=3)
    assert not list(tmp_path.iterdir())


def test_a_thousand_bad_calls_are_refused_before_any_work(monkeypatch):
    network, calls = small_network(), []
    patch_climb(monkeypatch, lambda *_, **__: pytest.fail("work was begun"))

    @settings(
        max_examples=1_000,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sets(st.sampled_from(sorted(BAD)), min_size=1, max_size=3).flatmap(
            lambda names: st.fixed_dictionaries({name: BAD[name] for name in names})
        )
    )
    def attack(bad):
        call = {"layer": "two", "filters": [1], "steps": 2, "size": 32, **bad}
        calls.append(bad)
        with pytest.raises(ValueError) as caught:
            helpers.visualize(network, **call)
        assert "\n" not in str(caught.value) and len(str(caught.value)) > 10
        assert "tensorflow" not in str(caught.value).lower()

    attack()
    assert len(calls) >= 1_000
