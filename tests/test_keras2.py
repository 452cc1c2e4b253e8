"""Files of Keras 2, files that Keras 3 writes and does not read again, and files of other programs.

tests/keras2 holds models with random weights as tf.keras 2.3 and 2.15 and tf_keras wrote them (NAME.h5,
NAME.keras), with images `x` and the answers `y` that it gave to them (NAME.npz).
"""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications.convnext import ConvNeXt
from keras.src.backend.common import global_state

import helpers
from filtersight.networks import load

L = keras.layers
FOLDER = Path(__file__).parent / "keras2"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".h5", ".keras"})
APART = [FOLDER / "lam.h5", FOLDER / "mixed.h5"]


def answers(path):
    """Images and what Keras 2 said to them."""
    stored = np.load(path.with_suffix(".npz"))
    return stored["x"].astype("f4"), stored["y"]


@pytest.mark.parametrize(
    "path", [each for each in FILES if each not in APART], ids=lambda p: p.name
)
def test_a_network_of_keras_2_answers_as_it_did(path):
    images, expected = answers(path)
    model = load.load_model(path)
    found = np.asarray(model(images, training=False))
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    for layer in helpers.conv_layers(model)[-1:]:  # some have none that stands alone
        [picture] = helpers.visualize(model, layer, [0], steps=2, size=32, rescue=False)
        assert np.isfinite(picture.activation) and np.ptp(picture.image) > 0


def test_weights_that_find_no_place_are_not_left_as_they_were(tmp_path):
    """Without this the network would answer with random weights, and nobody would know."""
    path = tmp_path / "lost.keras"
    with zipfile.ZipFile(FOLDER / "pieces.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != "model.weights.h5":
                new.writestr(name, old.read(name))
        weights = tmp_path / "weights.h5"
        weights.write_bytes(old.read("model.weights.h5"))
        with h5py.File(weights, "r+") as file:
            layers = file["layers" if "layers" in file else "_layer_checkpoint_dependencies"]
            layers["rnn/cell"].move("cells", "elsewhere")
        new.write(weights, "model.weights.h5")
    with pytest.raises(ValueError, match=r"written by Keras 2\.15.*weights of its layer 'rnn'"):
        load.load_model(path)


def test_a_network_of_keras_2_in_float16_stays_so():
    images, expected = answers(FOLDER / "mixed.h5")
    model = load.load_model(FOLDER / "mixed.h5")
    [layer] = helpers.conv_layers(model)
    assert model.get_layer(layer).dtype_policy.name == "mixed_float16"
    # Sums of float16 depend on their order: ten bits are right, and no more can be asked.
    assert np.allclose(model(images, training=False), expected, atol=2**-10)
    assert helpers.activations(model, layer, images.astype("uint8")).shape == (2, 4)


def test_a_lambda_runs_only_when_the_user_says_so():
    path = FOLDER / "lam.h5"
    with pytest.raises(
        ValueError, match=r"written by Keras 2.*enable_unsafe_deserialization"
    ) as caught:
        load.load_model(path)
    assert "\n" not in str(caught.value)
    if sys.version_info[:2] != (3, 11):  # the byte code is of that version
        return
    before = global_state.get_global_attribute("safe_mode_saving")
    keras.config.enable_unsafe_deserialization()
    try:
        model = load.load_model(path)
    finally:
        global_state.set_global_attribute("safe_mode_saving", before)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("f4")
    inside = keras.Model(model.inputs, model.get_layer("lambda").output)
    assert np.allclose(inside(images), images / 255, atol=1e-6)


def changed(path, to, change):
    """A copy of an .h5 file whose configuration `change` has seen."""
    shutil.copy(path, to)
    to.chmod(0o644)
    with h5py.File(to, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)
    return to


@pytest.mark.parametrize(
    "function",
    [
        "io.write_file",
        "py_function",
        "math.os",
        "keras.utils.get_file",
        "nn.__class__",
        "raw_ops.PyFunc",
    ],
)
def test_no_other_function_than_one_that_computes_is_taken_from_a_file(function, tmp_path):
    def change(layers):
        [layer] = [each for each in layers if each["config"].get("function") == "nn.relu"]
        layer["config"]["function"] = function

    path = changed(FOLDER / "tfop.h5", tmp_path / "evil.h5", change)
    with pytest.raises(ValueError, match="which the course does not know"):
        load.load_model(path)


class Halved(L.Layer):
    def call(self, images):
        return images / 2


def test_a_layer_of_ones_own_in_a_file_of_keras_2_has_ways_out_and_they_lead_out(tmp_path):
    def change(layers):
        [layer] = [each for each in layers if each["config"].get("function") == "nn.relu"]
        layer |= {"class_name": "Halved", "config": {"name": layer["name"], "trainable": True}}

    path = changed(FOLDER / "tfop.h5", tmp_path / "own.h5", change)
    with pytest.raises(
        ValueError, match=r"written by Keras 2.*'Halved'.*custom_object_scope.*load_weights"
    ) as caught:
        load.load_model(path)
    assert "\n" not in str(caught.value)
    with keras.saving.custom_object_scope({"Halved": Halved}):
        model = load.load_model(path)
    image = keras.Input((64, 64, 3))
    x = keras.ops.image.resize(image, (32, 32)) / 255
    x = L.GlobalAveragePooling2D()(Halved()(L.Conv2D(4, 3, activation="relu")(x)))
    anew = keras.Model(image, L.Dense(2, activation="softmax")(x))
    anew.load_weights(path)
    images, _ = answers(FOLDER / "tfop.h5")
    assert np.allclose(model(images), anew(images), atol=1e-6)


@pytest.mark.parametrize("kind", ["h5", "keras"])
def test_keras_itself_takes_the_weights_from_a_file_of_keras_2(kind):
    path = FOLDER / f"unet.{kind}"
    whole = load.load_model(path)
    model = keras.models.clone_model(whole)
    model.load_weights(path)
    images, _ = answers(path)
    assert np.allclose(model(images), whole(images), atol=1e-6)


def mobile():
    return keras.applications.MobileNetV3Small((32, 32, 3), weights=None, classes=3)


def convnext():
    return ConvNeXt([1, 1, 1, 1], [4, 6, 8, 10], weights=None, classes=3, input_shape=(32, 32, 3))


@pytest.mark.parametrize("make", [mobile, convnext])
def test_an_h5_that_keras_3_writes_and_does_not_read_is_loaded(make, tmp_path):
    keras.utils.set_random_seed(0)
    model = make()
    for weight in model.weights:
        weight.assign(np.abs(np.random.default_rng(0).normal(0.1, 0.3, weight.shape)))
    model.save(tmp_path / "own.h5")
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype("f4")
    again = load.load_model(tmp_path / "own.h5")
    assert np.allclose(again(images, training=False), model(images, training=False), atol=1e-5)


OTHERS = {
    "saved/saved_model.pb": (b"\x08\x01", "is a folder; of TensorFlow's SavedModel"),
    "check/model.index": (b"\x00", "is a folder with a checkpoint"),
    "model.ckpt": (b"\x00", "is part of a checkpoint"),
    "frozen.pb": (b"\x0a\x10", "is a file of TensorFlow's graph"),
    "lite.tflite": (b"\x1c\x00\x00\x00TFL3", "is a file of TensorFlow Lite"),
    "lite.bin": (b"\x1c\x00\x00\x00TFL3", "is a file of TensorFlow Lite"),
    "net.onnx": (b"\x08\x07", "is a file of ONNX"),
    "old.pth": (b"\x80\x02\x8a", "is a file of PyTorch"),
    "net.safetensors": (b"\x10", "is a file of PyTorch"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_other_programs_write_is_known_for_what_it_is(name, tmp_path):
    content, said = OTHERS[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content + bytes(16))
    given = path if path.parent == tmp_path else path.parent
    with pytest.raises(ValueError) as caught:
        load.load_model(given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_of_pytorch_is_known_by_what_is_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.bin", "w") as archive:
        archive.writestr("net/data.pkl", "")
    with pytest.raises(ValueError, match="is a file of PyTorch"):
        load.load_model(tmp_path / "net.bin")


def test_weights_that_keras_2_saved_alone_are_known_and_go_into_a_model(tmp_path):
    path = tmp_path / "only.h5"
    with h5py.File(FOLDER / "unet.h5") as whole, h5py.File(path, "w") as file:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", file)
        for name, value in whole["model_weights"].attrs.items():
            file.attrs[name] = value
    with pytest.raises(ValueError, match=r"holds weights without a network.*load_weights"):
        load.load_model(path)
    whole = load.load_model(FOLDER / "unet.h5")
    model = keras.models.clone_model(whole)
    model.load_weights(path)
    images, _ = answers(FOLDER / "unet.h5")
    assert np.allclose(model(images), whole(images), atol=1e-6)


def test_a_model_object_of_keras_2_is_told_how_to_come_in():
    stranger = type("Functional", (), {"__module__": "tf_keras.src.engine.functional"})()
    for function in (load.load_model, helpers.conv_layers, helpers.describe):
        with pytest.raises(
            ValueError, match=r'of Keras 2: save it, model\.save\("model\.h5"\), and take'
        ):
            function(stranger)
