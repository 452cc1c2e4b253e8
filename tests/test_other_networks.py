"""Networks of images that are no usual convolutional ones: without convolution, not square, quantised, oddly named.

Networks are small and random. Advice in a message is followed as it stands.
"""

import dataclasses
import os
import re
import traceback

import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras.src.dtype_policies.dtype_policy import QUANTIZATION_MODES
from test_ascent import ANYTHING
from test_networks import noise
from test_odd_networks import after, chain

import helpers
from filtersight.ascent import waves
from filtersight.ascent.recipe import start_image
from filtersight.atlas import atlas as atlas_module
from filtersight.atlas import folder as folder_module
from filtersight.networks.layers import Layer
from filtersight.trust import doctor, why
from filtersight.trust import quiz as quiz_module

L, ops = keras.layers, keras.ops
pytestmark = pytest.mark.usefixtures("few_real_images")
CALL = {"steps": 2, "rescue": False, "precision": "float32"}


def dense_end(*layers, shape=(32, 32, 3)):
    """The layers, and a classifier of four classes."""
    keras.utils.set_random_seed(1)
    return chain(*layers, L.Dense(4, activation="softmax", name="answer"), shape=shape)


# ---------------------------------------------------------------- no convolution


def flattened():
    return dense_end(L.Rescaling(1 / 255), L.Flatten(), L.Dense(6, "relu", name="hidden"))


def rows():
    return dense_end(L.Reshape((4, 768)), L.Rescaling(1 / 255), L.LSTM(6, name="hidden"))


def filters_over_rows():
    return dense_end(L.Reshape((32, 96)), L.Conv1D(6, 3), L.GlobalMaxPooling1D())


def patches():
    """As a vision transformer and an MLP-Mixer begin: patches cut out by Reshape, then Dense."""
    keras.utils.set_random_seed(1)
    image = keras.Input((32, 32, 3))
    x = L.Reshape((4, 8, 4, 24))(L.Rescaling(1 / 127.5, -1)(image))
    x = L.Dense(8)(L.Reshape((16, 192))(L.Permute((1, 3, 2, 4))(x)))
    x = L.Add()([x, L.MultiHeadAttention(2, 4)(x, x)])
    x = L.Permute((2, 1))(L.Dense(16, "gelu")(L.Permute((2, 1))(x)))
    return keras.Model(
        image, L.Dense(4, activation="softmax", name="answer")(L.GlobalAveragePooling1D()(x))
    )


def slices():
    return dense_end(L.Reshape((32, 32, 3, 1)), L.Conv3D(2, 3), L.GlobalAveragePooling3D())


def spectrogram():
    return dense_end(L.Flatten(), L.Dense(6, name="hidden"), shape=(40, 28, 1))


@pytest.mark.parametrize(
    ("build", "black", "layers"),
    [
        (flattened, "black becomes 0, white 1", ["hidden", "answer"]),
        (rows, "black becomes 0, white 1", ["hidden", "answer"]),
        (filters_over_rows, "none, images go in as they are", ["answer"]),
        (patches, "black becomes -1, white 1", ["answer"]),
        (slices, "none, images go in as they are", ["answer"]),
        (spectrogram, "none, images go in as they are", ["hidden", "answer"]),
    ],
)
def test_images_but_no_convolution(build, black, layers, tmp_path):
    # Layers draw their seeds when they are made. With this one no network says the same of all images.
    keras.utils.set_random_seed(3)
    model = build()
    size, names = model.input_shape[1:3], ", ".join(layers)
    described = helpers.describe(model)
    assert black in described.preprocessing and not described.free
    assert described.doubts[0] == (
        "it has no 2-D convolution layer: there are no filters to look at; "
        f"visualize(model, 'answer', [0]) pictures a value of a layer, of one of these: {names}"
    )
    assert helpers.conv_layers(model) == []
    (picture,) = eval("visualize(model, 'answer', [0])", {"model": model, **vars(helpers)})
    assert picture.image.shape == model.input_shape[1:]
    values = np.asarray(model(picture.image[None].astype("f4")))[0]
    assert picture.activation == pytest.approx(values[0], rel=1e-3, abs=1e-6)
    assert list(helpers.atlas(model, tmp_path, **CALL).layers) == layers
    assert [value for _, value in helpers.explorer(model).layer.options] == layers
    for refused in (
        lambda: helpers.visualize(model, "conv1", [0]),
        lambda: helpers.diagnose(model, "answer", 0),
        lambda: helpers.submodel(model, "answer"),
    ):
        with pytest.raises(ValueError, match=rf"none of 2-D convolution; .*: {names}$"):
            refused()
    image = helpers.image_for(model)
    with pytest.raises(ValueError, match=r"no layer with feature maps.*occlusion\(model, image\)"):
        helpers.explain(model, image)
    covered = image.astype("f4")[None].copy()
    covered[:, :8, :8] = 127.5
    loss = why.occlusion(model, image, 0, patch=8, stride=8)
    expected = np.asarray(model(image[None].astype("f4")) - model(covered))[0, 0]
    if "softmax" not in described.answer:
        assert loss[0, 0] == pytest.approx(expected, abs=1e-4)
    assert loss.shape == size
    assert helpers.scores(model, [picture])[0].filter == 0
    assert "answer" in repr(helpers.quiz(model, "answer", [0, 1, 2, 3]))


def test_occlusion_without_maps_by_hand():
    keras.utils.set_random_seed(1)
    model = chain(L.Flatten(), L.Dense(3, name="answer"), shape=(8, 8, 1))
    image = noise(8, 8, 1)
    loss = why.occlusion(model, image, 2, patch=4, stride=4, level=100)
    kernel = model.layers[-1].kernel.numpy()[:, 2].reshape(8, 8)
    lost = (image[..., 0] - 100.0) * kernel
    expected = lost.reshape(2, 4, 2, 4).sum(axis=(1, 3))
    assert np.allclose(loss[::4, ::4], expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("layers", "shape", "images"),
    [
        ([L.Flatten()], (28, 28), (28, 28, 1)),
        ([L.LSTM(4)], (28, 20), (28, 20, 1)),
        ([L.LSTM(4)], (None, 20), (None, 20, 1)),
        ([L.Conv1D(4, 3), L.GlobalMaxPooling1D()], (28, 28), (28, 28, 1)),
        ([], (784,), (28, 28, 1)),
        ([], (3072,), (32, 32, 3)),
        ([L.Conv3D(2, 3), L.GlobalMaxPooling3D()], (6, 20, 24, 1), (20, 24, 6)),
        ([L.TimeDistributed(L.Conv2D(2, 3)), L.GlobalMaxPooling3D()], (4, 20, 24, 3), (20, 24, 12)),
    ],
)
def test_pixels_in_another_shape_are_refused_and_the_way_out_works(layers, shape, images):
    layers = [type(layer).from_config(layer.get_config()) for layer in layers]
    theirs = dense_end(*layers, shape=shape)
    with pytest.raises(ValueError, match="the course needs an image") as caught:
        helpers.describe(theirs)
    assert "\n" not in str(caught.value)
    names = {"model": theirs, "keras": keras}
    exec(str(caught.value).partition(": image = ")[2].join(["image = ", ""]), names)
    model = names["model"]
    assert helpers.describe(model).shape == images
    assert "visualize(model, 'answer', [0])" in helpers.describe(model).doubts[0]
    (picture,) = helpers.visualize(model, "answer", [0], **CALL)
    assert picture.image.shape[-1] == images[-1]
    pixels = picture.image[None].astype("f4")
    if len(shape) == 4:
        pixels = pixels.reshape(1, *images[:2], shape[0], shape[3]).transpose(0, 3, 1, 2, 4)
    expected = theirs(pixels.reshape(1, *(side or -1 for side in shape)))
    assert picture.activation == pytest.approx(float(expected[0, 0]), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    "layers, shape", [([L.Embedding(50, 4), L.Flatten()], (16,)), ([], (9,)), ([], (65,))]
)
def test_what_takes_no_pixels_is_told_so(layers, shape):
    with pytest.raises(ValueError, match=r"takes \(None, \d+\); .* channels\) among them$"):
        helpers.visualize(dense_end(*layers, shape=shape), "answer", [0])


def test_a_network_of_poolings_has_nothing_to_picture(tmp_path):
    model = chain(L.MaxPooling2D(name="p"), L.GlobalAveragePooling2D(name="mean"))
    said = "nor any other with weights that could be pictured"
    assert said in helpers.describe(model).doubts[0]
    with pytest.raises(ValueError, match=f"It has none of 2-D convolution, {said}"):
        helpers.visualize(model, "c", [0])
    with pytest.raises(ValueError, match="no convolution layer to explore, nor any with weights"):
        helpers.explorer(model)
    with pytest.raises(ValueError, match=r"no layers to draw; .* has: none with weights"):
        helpers.atlas(model, tmp_path)


class Block(L.Layer):
    """A convolution inside somebody's own layer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inside = L.Conv2D(3, 3, activation="relu")

    def build(self, shape):
        self.inside.build(shape)

    def call(self, images):
        return self.inside(images)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: Block(name="c"),
        lambda: L.SpectralNormalization(L.Conv2D(3, 3, activation="relu"), name="c"),
        lambda: L.DepthwiseConv2D(3, activation="relu", name="c"),
        lambda: L.Conv2DTranspose(3, 3, activation="relu", name="c"),
    ],
)
def test_a_convolution_that_is_hidden_or_of_another_kind_is_found(layer, tmp_path):
    model = dense_end(layer(), L.GlobalAveragePooling2D())
    images = noise(2, 32, 32, 3)
    assert helpers.conv_layers(model) == ["c"] and helpers.receptive_field(model, "c") == 3
    (found,) = helpers.describe(model).convolutions
    own = isinstance(model.layers[0], (Block, L.SpectralNormalization))
    assert found.filters == 3 and found.activation == ("unknown" if own else "itself")
    expected = np.asarray(after(model, "c")(images)).mean(axis=(1, 2))
    assert np.allclose(helpers.activations(model, "c", images), expected, rtol=1e-4)
    assert len(helpers.atlas(model, tmp_path, size=32, **CALL).entries) == 3
    assert helpers.diagnose(model, "c", 1, size=32).layer == "c"
    assert len(helpers.explain(model, images[0]).filters) == 3  # it has fewer than the usual four


# ---------------------------------------------------------------- not square


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (6, 9), (7, 7)])
def test_waves_of_images_that_are_not_square(size):
    spectrum = waves.random_spectrum(size, 3)[None]
    sized = (spectrum[..., 0] + 1j * spectrum[..., 1]) * waves.wave_sizes(size)[..., 0]
    planes = np.moveaxis(np.fft.irfft2(sized, s=size), 1, -1)
    found = waves.to_images(spectrum, size[1])
    assert found.shape == (1, *size, 3)
    expected = 255 / (1 + np.exp(-planes @ waves.COLOURS.T))
    assert np.abs(found - expected).max() <= 0.51
    again = waves.to_images(waves.to_spectra(found), size[1])
    assert np.abs(again.astype(int) - found).max() <= 1
    assert waves.wave_counts(size).sum() == size[0] * size[1]


@pytest.mark.parametrize(
    "shape", [(48, 96, 3), (64, 32, 1), (33, 47, 3), (40, None, 3), (None, 40, 1)]
)
@pytest.mark.parametrize("recipe", ["clear", "plain"])
def test_classes_are_drawn_in_the_size_of_the_network(shape, recipe, tmp_path, capsys):
    keras.utils.set_random_seed(1)
    free = None in shape
    model = chain(
        L.Rescaling(1 / 255),
        L.Conv2D(4, 3, padding="same", activation="relu", name="c"),
        *([L.Permute((2, 1, 3))] if shape[1] is None else []),
        L.Reshape((-1, 160)) if free else L.Flatten(),
        *([L.GlobalMaxPooling1D()] if free else []),
        L.Dense(3, activation="softmax", name="answer"),
        shape=shape,
    )
    size = (40, 40) if free else shape[:2]
    call = {"steps": 12, "recipe": recipe, "precision": "float32"}
    pictures = helpers.visualize(model, "answer", [0, 1, 2], **call)
    start = start_image(pictures[0].recipe)[None]
    for picture in pictures:
        assert picture.image.shape == (*size, shape[2])
        assert picture.recipe.size == (40 if free else size)
        assert ("40 px" if free else f"{size[0]} × {size[1]} px") in str(picture)
        before = helpers.activations(model, "answer", start)[0, picture.filter]
        assert picture.activation > before
        values = np.asarray(model(picture.image[None].astype("f4")))[0]
        assert picture.activation == pytest.approx(values[picture.filter], rel=1e-3)
    assert helpers.visualize(model, "c", [0], **CALL)[0].image.shape[0] == 128
    helpers.visualize(model, "answer", [2], **call)[0].save(tmp_path / "a.png")
    assert helpers.rerun(tmp_path / "a.png", model).image.shape == (*size, shape[2])
    assert "The same picture" in capsys.readouterr().out
    made = helpers.atlas(model, tmp_path / "atlas", ["answer"], **call)
    assert np.array_equal(made.picture(made.of("answer")[0]).image, pictures[0].image)
    helpers.atlas(model, tmp_path / "atlas", ["answer"], **call)  # which finds all as it was
    assert helpers.gallery(tmp_path / "atlas").exists()
    scores = helpers.scores(model, pictures)
    assert [each.filter for each in scores] == [0, 1, 2] and scores[0].robustness > 0
    with pytest.raises(ValueError, match="size must be a whole number"):
        helpers.visualize(model, "c", [0], size=(48, 8))


def test_a_layer_that_keeps_its_size_is_explored_and_diagnosed_in_it():
    keras.utils.set_random_seed(1)
    model = chain(
        L.Rescaling(1 / 255),
        L.PReLU(alpha_initializer="uniform"),
        L.Conv2D(4, 3, name="c", activation="relu"),
        shape=(24, 40, 3),
    )
    (picture,) = helpers.visualize(model, "c", [0], steps=2)
    assert picture.image.shape == (24, 40, 3)
    assert helpers.explorer(model).size.value == (24, 40)
    assert {each.image.shape for each in helpers.diagnose(model, "c", 1).pictures} == {(24, 40, 3)}
    assert helpers.visualize(model, "c", [0], size=(24, 40), **CALL)[0].recipe.size == (24, 40)
    with pytest.raises(ValueError, match="24 × 40 pixels only, not 40 × 24"):
        helpers.visualize(model, "c", [0], size=(40, 24))


# ---------------------------------------------------------------- names


def test_a_layer_may_be_called_image(tmp_path):
    model = dense_end(L.Conv2D(3, 3, activation="relu", name="image"), L.GlobalAveragePooling2D())
    images = noise(2, 32, 32, 3)
    expected = np.asarray(after(model, "image")(images)).mean(axis=(1, 2))
    assert np.allclose(helpers.activations(model, "image", images), expected, rtol=1e-4)
    assert helpers.describe(model).convolutions[0].map == (30, 30)
    way = doctor.way_back(Layer(model, "image"), 1, images[0].astype("f4"))
    assert list(way) == ["image", "image_"] and doctor.end_of(way) is None
    assert helpers.explain(model, images[0], filters=1).layer == "image"
    called = keras.Model(model.inputs, model.outputs, name="image")
    scaled = helpers.load_model(called, preprocess=(0, 1))
    assert np.allclose(
        helpers.activations(scaled, "image", images),
        np.asarray(after(model, "image")(images / 255)).mean(axis=(1, 2)),
        rtol=1e-4,
    )


def test_a_layer_may_bear_the_name_that_the_course_would_give_another():
    keras.utils.set_random_seed(1)
    image, relu = keras.Input((16, 16, 3)), L.ReLU(name="relu")
    x = relu(L.Conv2D(3, 3, name="a b")(image))
    x = L.Conv2D(3, 3, name="relu:2")(x)
    x = L.Conv2D(3, 3, name="a_b_0")(relu(x))
    model = keras.Model(image, x)
    assert helpers.conv_layers(model) == ["a b", "relu:2", "a_b_0"]
    images = noise(2, 16, 16, 3)
    maps = model.get_layer("relu:2")(relu(model.get_layer("a b")(images.astype("f4"))))
    assert np.allclose(Layer(model, "relu:2").network(images.astype("f4")), maps, atol=1e-3)
    assert np.allclose(
        Layer(model, "relu:3").network(images.astype("f4")), np.maximum(maps, 0), atol=1e-3
    )
    assert np.allclose(Layer(model, "a_b_0").network(images.astype("f4")), model(images), atol=1e-2)


def test_folders_of_an_atlas_that_any_disk_takes(tmp_path):
    names = ["con", "AUX", "com1", "x" * 300, "é" * 200, "x" * 299 + "y", "..", "c o n."]
    layers = [L.Conv2D(1, 1, name=name) for name in names]
    model = chain(*layers, shape=(16, 16, 1))
    inside = tmp_path / "a" / "b"
    made = helpers.atlas(model, inside, size=16, **CALL)
    assert list(made.layers) == names and len(made.entries) == len(names)
    assert os.listdir(tmp_path) == ["a"] and os.listdir(tmp_path / "a") == ["b"]
    folders = [path.name for path in inside.iterdir() if path.is_dir()]
    assert len({name.lower() for name in folders}) == len(names)
    for name in folders:
        assert len(name) <= 120 and re.fullmatch(r"[\w%~-]+", name)
        assert not re.fullmatch(r"(?i)con|prn|aux|nul|com\d|lpt\d", name)
    assert folder_module.Atlas(inside).entries == made.entries
    helpers.atlas(model, inside, size=16, **CALL)  # goes on where it was: nothing is damaged


def test_layers_that_differ_in_letters_only_are_refused_in_one_folder(tmp_path):
    model = chain(L.Conv2D(1, 1, name="Conv"), L.Conv2D(1, 1, name="conv"), shape=(16, 16, 1))
    call = CALL | {"size": 16}
    for folder, layers in ((tmp_path / "all", None), (tmp_path / "two", ["conv"])):
        if layers:
            helpers.atlas(model, folder, ["Conv"], **call)
        with pytest.raises(ValueError, match=r"letters: \['Conv', 'conv'\]; .*\['conv'\]\)$"):
            helpers.atlas(model, folder, layers, **call)
    assert len(helpers.atlas(model, tmp_path / "way out", ["conv"], **call).entries) == 1


# ---------------------------------------------------------------- quantised


def scale_and_dense(kind):
    keras.utils.set_random_seed(1)
    first = [L.Conv2D(4, 3, activation="relu", name="c"), L.GlobalAveragePooling2D()]
    return chain(
        L.Rescaling(1 / 255),
        *(first if kind == "conv" else [L.Flatten()]),
        L.Dense(8, activation="relu", name="hidden"),
        L.Dense(4, activation="softmax", name="answer"),
        shape=(16, 16, 3),
    )


def dense_by_hand(mode, was, now, values):
    """What a Dense layer gives if it computes as `mode` says, before its activation, and how exactly.

    `was` is the layer before, `now` as it is. int8: each row and each column in 255 steps, of which one may
    be missed by a hair; float8: numbers of four bits. What weights int4 and gptq leave, the layer itself
    says of single inputs; some versions take inputs in 255 steps, too.
    """
    kernel, bias = map(np.asarray, was.get_weights())
    row = np.abs(values).max(axis=-1, keepdims=True) / 127
    if mode == "float8":
        short = [each.astype(ml_dtypes.float8_e4m3fn).astype("f4") for each in (values, kernel)]
        return short[0] @ short[1] + bias.astype(ml_dtypes.bfloat16).astype("f4"), 1e-5
    if mode == "int8":
        column = np.abs(kernel).max(axis=0, keepdims=True) / 127
        exact = np.round(values / row) @ np.round(kernel / column)
        return exact * row * column + bias, 1e-5 + row * np.abs(kernel).max(axis=0)
    activation, now.activation = now.activation, keras.activations.linear
    kernel = np.asarray(now(np.eye(len(kernel), dtype="f4"))) - bias
    now.activation = activation
    return values @ kernel + bias, 1e-5 + row / 2 * np.abs(kernel).sum(axis=0)


def quantise(model, mode):
    """`model.quantize(mode)`; "gptq" layer by layer, as Keras does it for networks of text only."""
    if mode != "gptq":
        model.quantize(mode)
        return
    from keras.src.quantizers.gptq import GPTQ

    config = keras.quantizers.GPTQConfig(dataset=[0], tokenizer=lambda text: text, group_size=32)
    for name in ("hidden", "answer"):
        layer = model.get_layer(name)
        values = keras.Model(model.inputs, layer.input)(noise(8, 16, 16, 3, seed=3).astype("f4"))
        layer.quantize("gptq", config=config)
        helper = GPTQ(layer, config)
        helper.update_hessian_with_batch(values)
        helper.quantize_and_correct_layer()


@pytest.mark.parametrize("kind", ["conv", "flat"])
@pytest.mark.parametrize("mode", ["int8", "int4", "float8", "gptq"])
def test_quantised_networks_give_what_they_say_and_no_more(kind, mode):
    model, quantised = scale_and_dense(kind), scale_and_dense(kind)
    if mode not in QUANTIZATION_MODES:
        pytest.skip(f"this Keras has no {mode}")
    quantise(quantised, mode)
    images = noise(4, 16, 16, 3)
    before = keras.Model(model.inputs, model.get_layer("hidden").input)

    def both(name):
        return model.get_layer(name), quantised.get_layer(name)

    hidden, off = dense_by_hand(mode, *both("hidden"), np.asarray(before(images.astype("f4"))))
    found = helpers.activations(quantised, "hidden", images)
    assert (np.abs(found - np.maximum(hidden, 0)) <= off).all()
    values, off = dense_by_hand(mode, *both("answer"), found)
    last = Layer(quantised, "answer").objective
    given = np.asarray(keras.Model(last.image, last.output)(images.astype("f4")))
    assert (np.abs(given - values) <= off).all()
    probabilities = np.exp(given) / np.exp(given).sum(axis=-1, keepdims=True)
    assert np.allclose(helpers.activations(quantised, "answer", images), probabilities, atol=1e-6)

    start = np.asarray(before(helpers.random_image(16)[None]))
    at_start, off = dense_by_hand(mode, *both("hidden"), start)
    for precision, more in (("float32", 1e-5), ("bfloat16", 0.02)):
        call = CALL | {"precision": precision, "size": 16}
        (picture,) = helpers.visualize(quantised, "hidden", [1], recipe="plain", **call)
        room = np.broadcast_to(off, at_start.shape)[0, 1] + more * np.abs(at_start).max()
        assert abs(picture.history[0] - max(at_start[0, 1], 0)) <= room
        (picture,) = helpers.visualize(quantised, "answer", [1], recipe="clear", **call)
        again = quantised(picture.image[None].astype("f4"))[0, 1]
        assert np.isfinite(picture.history).all()
        assert picture.activation == pytest.approx(float(again), rel=1e-4)
    if kind == "conv" and mode == "float8":
        with pytest.raises(ValueError, match="explain the network as it was before"):
            why.attributions(quantised, "c", images[0], 0)
    elif kind == "conv":
        shares, was = (why.attributions(each, "c", images[0], 0) for each in (quantised, model))
        assert np.corrcoef(shares, was)[0, 1] > 0.95
        assert helpers.diagnose(quantised, "c", 0, size=16).layer == "c"


# ---------------------------------------------------------------- bad calls


class Begun(Exception):
    """Work was begun: the call was not so bad."""


@pytest.fixture(scope="module")
def small():
    """A network with a classifier, an image, and a picture."""
    model = dense_end(
        L.Conv2D(3, 3, activation="relu", name="c"),
        L.GlobalAveragePooling2D(),
        shape=(None, None, 3),
    )
    return model, noise(32, 32, 3), helpers.visualize(model, "c", [0], size=32, **CALL)[0]


NO_IMAGES = [
    *(
        np.zeros(shape, np.uint8)
        for shape in ((0, 5, 3), (8, 8, 4), (8,), (1, 8, 8, 3), (2, 3), ())
    ),
    *(np.zeros((8, 8, 3), kind) for kind in ("f4", "f8", "i4", "bool", "complex64", "O", "U3")),
    *(np.full((8, 8, 3), value) for value in (np.nan, np.inf, -1e30)),
    *("nowhere.png", "\0", "x" * 5000, ".", b"\xff", [[1, 2], [3]], [[[0, 1, 2]]], {"a": 1}),
]
WILD = st.one_of(
    ANYTHING, st.sampled_from(NO_IMAGES), st.dictionaries(st.text(max_size=2), st.none())
)
ARGUMENTS = {  # what a call takes; where None stands, the right thing is put in
    "explain": ("model", "image", "target", "layer", "filters", "names"),
    "image_for": ("model", "image", "size"),
    "describe": ("model", "size"),
    "atlas": ("model", "folder", "layers", "steps", "size", "seed", "client"),
    "scores": (
        "model",
        "pictures",
        "real",
        "judge",
        "picture.image",
        "picture.layer",
        "picture.filter",
    ),
    "quiz": ("model", "layer", "filters", "seed"),
    "occlusion": ("model", "image", "target", "patch", "stride", "level"),
    "predictions": ("model", "image", "top", "names"),
    "diagnose": ("model", "layer", "filter", "size", "seed"),
    "reality": ("model", "layer", "count", "seed"),
    "activations": ("model", "layer", "images"),
    "submodel": ("model", "layer"),
    "receptive_field": ("model", "layer"),
    "load_model": ("name", "preprocess", "include_top"),
}
CALLS = st.sampled_from(sorted(ARGUMENTS)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.sets(st.sampled_from(ARGUMENTS[name]), min_size=1, max_size=2).flatmap(
            lambda some: st.fixed_dictionaries({each: WILD for each in some})
        ),
    )
)


def test_bad_calls_are_refused_in_one_line_by_the_course_itself(small, tmp_path, monkeypatch):
    model, image, picture = small

    def begun(*_, **__):
        raise Begun

    for place in (why, quiz_module, doctor):
        monkeypatch.setattr(place, "visualize" if place is not doctor else "climb", begun)
    monkeypatch.setattr(atlas_module, "draw_batches", begun)
    good = {
        "explain": {"image": image},
        "atlas": {"folder": tmp_path / "new", "size": 32},
        "quiz": {"layer": "c"},
        "occlusion": {"image": image},
        "predictions": {"image": image},
        "diagnose": {"layer": "c", "filter": 0, "size": 32},
        "reality": {"layer": "c", "count": 4},
        "activations": {"layer": "c", "images": image[None]},
        "submodel": {"layer": "c"},
        "receptive_field": {"layer": "c"},
        "load_model": {"name": model},
    }
    refused = []

    @settings(
        max_examples=int(os.environ.get("BAD_CALLS", 400)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(CALLS)
    def attack(call):
        name, bad = call
        first = {} if name == "load_model" else {"model": model}
        given_ones = {**first, **good.get(name, {}), **bad}
        if name == "scores":
            changed = {
                key.partition(".")[2]: given_ones.pop(key) for key in [*bad] if "picture." in key
            }
            given_ones = {"pictures": [dataclasses.replace(picture, **changed)]} | given_ones
        try:
            getattr(helpers, name)(**given_ones)
        except Begun:
            return
        except (ValueError, OSError) as error:
            last = traceback.extract_tb(error.__traceback__)[-1].filename
            assert "filtersight" in last, (name, bad, last)
            assert "\n" not in str(error) and 10 < len(str(error)) < 1000, (name, bad, str(error))
            refused.append(call)

    attack()
    assert len(refused) > 200
