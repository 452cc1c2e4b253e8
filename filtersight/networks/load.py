"""Loads networks: by name, from a file, or with the preprocessing put before them."""

from __future__ import annotations

import contextlib
import math
import numbers
import os
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
from keras.src.utils import file_utils

from filtersight.basics.checks import nearest, shown
from filtersight.basics.defaults import check_tensorflow, keras_defaults
from filtersight.networks import keras2
from filtersight.networks.downloads import bounded_downloads, one_line
from filtersight.networks.flat import image_input, input_name, no_model
from filtersight.world.pocketvgg import FOLDER, NETWORKS, load

Preprocessing = tuple[float, float] | Callable[[Any], Any]
APPLICATIONS = {
    name.lower(): constructor
    for name, constructor in vars(keras.applications).items()
    if name[0].isupper() and callable(constructor)
}


@keras_defaults()
def load_model(
    name: str | os.PathLike | keras.Model | None = None,
    *,
    preprocess: Preprocessing | None = None,
    include_top: bool = False,
) -> keras.Model:
    """The network by its name; images go in as RGB from 0 to 255, preprocessing is part of it.

    `name` is "pocketvgg" or one of its relatives in `pocketvgg.NETWORKS`; "vgg16" or any other
    constructor of `keras.applications` in lower case, with ImageNet weights, and with its classifier if
    `include_top`; the path of a model saved as .keras or .h5, by Keras 3 or 2 (those of 2 are built anew,
    without what only training needs); or a model, which is given back. Without a name: the one in the
    environment variable COURSE_MODEL; else VGG16 if its weights are in Keras' cache or can be downloaded;
    else PocketVGG, with a line that says why. Ctrl-C during that download means PocketVGG too.

    `preprocess`, for a model or file whose images must be changed before they go in: the range that it
    was trained on, such as (0, 1) or (-1, 1), or a function of images from 0 to 255, such as
    keras.applications.resnet.preprocess_input. It becomes part of the model that is given back.

    ValueError for a name that does not exist, a file that is no model, or a wrong `preprocess`. OSError,
    with the way to put the file there by hand, where weights that were asked for cannot be had.
    """
    check_tensorflow()
    if not isinstance(include_top, bool):
        raise ValueError(f"include_top must be True or False, not {shown(include_top)}")
    if isinstance(name, keras.Model):
        return preprocessed(name, preprocess)
    if name is None and not os.environ.get("COURSE_MODEL"):
        try:
            return application("vgg16", include_top)
        except KeyboardInterrupt:
            reason = "The download of VGG16's weights was stopped."
        except OSError as error:
            reason = str(error).partition(" By hand:")[0]
        print(reason, "Taking PocketVGG, which comes with the course.")
        return load()
    name = os.environ["COURSE_MODEL"] if name is None else name
    if not isinstance(name, (str, os.PathLike)):
        raise ValueError(no_model(name, "a name, a path or a keras.Model"))
    known = str(name) in NETWORKS or str(name) in APPLICATIONS
    if known and preprocess is not None:
        raise ValueError(f"{name} has its preprocessing; preprocess is for models of your own")
    if str(name) in NETWORKS:
        return load(FOLDER / f"{name}.npz")
    if str(name) in APPLICATIONS:
        return application(str(name), include_top)
    if len(str(name)) < 4096 and os.path.exists(name):
        return preprocessed(model_from_file(str(name)), preprocess)
    if Path(str(name)).suffix in {".keras", ".h5", ".hdf5"}:
        raise ValueError(f"no file {str(name)!r}")
    allowed = [*NETWORKS, *APPLICATIONS]
    raise ValueError(
        f"no model {str(name)[:80]!r}{nearest(str(name).lower(), allowed)} Allowed are the path of a saved model and: "
        + ", ".join(allowed)
    )


def model_from_file(path: str) -> keras.Model:
    """The model in a file; ValueError, with the way out where there is one, if it cannot be loaded."""
    if foreign := what_else(path):
        raise ValueError(f"{path!r} {foreign}")
    version = keras2.written_by(path)
    try:
        if version and not version.startswith("3"):
            return keras2.model_of(path)
        # Losses and metrics of somebody's own may be unknown here, and are not needed.
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds, some with pages of text
        text = str(error).rpartition("Exception encountered: ")[2] or type(error).__name__
    if version.startswith("3") and h5py.is_hdf5(path):
        with contextlib.suppress(Exception):  # Keras does not load each .h5 that it saves
            return keras2.model_of(path)
    raise ValueError(not_loaded(path, version, text))


def not_loaded(path: str, version: str, text: str) -> str:
    """Why a file could not be loaded, from what Keras or `keras2` said, and the way out."""
    old = version and not version.startswith("3")
    said = one_line(ValueError(text)).rstrip(".")
    message = f"{path!r} is no model that Keras can load: {said}"
    if old:
        message = f"{path!r} was written by Keras {version} and cannot be loaded: {said}"
    if "'KerasLayer'" in text:
        return (
            f"{message}. That is a network of TensorFlow Hub, whose layers are not in the file; take the like of "
            "it from keras.applications, as load_model('mobilenetv2')"
        )
    if "safe_mode" in text or "Python lambda" in text:
        if old:
            return (
                f"{path!r} was written by Keras {version} and has a Lambda, which is Python code: if you trust "
                "the file, call keras.config.enable_unsafe_deserialization() first. That works in the version "
                f"of Python that wrote it; in any, build the model anew and model.load_weights({path!r})"
            )
        return (
            f"{message}; if you trust the file, give keras.models.load_model({path!r}, safe_mode=False, "
            "compile=False) in its place"
        )
    if "custom" in text or "Unknown layer" in text or "register_keras" in text:
        if old:
            return (
                f'{message}. If it is of your own, call with keras.saving.custom_object_scope({{"YourLayer": '
                f"YourLayer}}): load_model({path!r}); else build the model anew and model.load_weights({path!r})"
            )
        return (
            f"{message}; if it has layers of your own, give keras.models.load_model({path!r}, compile=False, "
            'custom_objects={"YourLayer": YourLayer}) in its place'
        )
    if old:
        return f"{message}; build the model anew in Keras 3, and model.load_weights({path!r})"
    return message


# What other programs write, by the ending.
ENDINGS = {
    ".pb": "TensorFlow's graph",
    ".tflite": "TensorFlow Lite",
    ".onnx": "ONNX",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".safetensors": "PyTorch",
    ".pkl": "Python's pickle",
    ".json": "TensorFlow.js, or a network without its weights",
}
CHECKPOINTS = (".ckpt", ".index", ".meta", ".data-00000-of-00001")
SAVE_AGAIN = 'Where the model was made, load it and save it again, as model.save("model.keras")'


def what_else(path: str) -> str:
    """What a file or folder is, and the way out, if it is no model of Keras that can be loaded; else empty."""
    if os.path.isdir(path):
        return what_folder(path)
    with open(path, "rb") as file:
        start = file.read(16)
    only_weights = path.endswith(".weights.h5")
    if h5py.is_hdf5(path) and not only_weights:
        with h5py.File(path, "r") as file:
            only_weights = "model_config" not in file.attrs
        if not only_weights:
            return ""
    if only_weights:
        return (
            f"holds weights without a network: build the model, call model.load_weights({path!r}), "
            "and give the model"
        )
    if path.endswith(CHECKPOINTS):
        return f"is part of a checkpoint, weights without a network. {SAVE_AGAIN}"
    kind = ENDINGS.get(Path(path).suffix.lower())
    if start[4:8] == b"TFL3":
        kind = ENDINGS[".tflite"]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if "config.json" in names:
            return ""
        kind = "PyTorch" if any(name.endswith("data.pkl") for name in names) else "another program"
    if kind is None:
        return ""
    return (
        f"is a file of {kind}; the course looks into networks of Keras. {SAVE_AGAIN}; without Keras there, "
        "build the same network in Keras, set its weights, and give the model"
    )


def what_folder(path: str) -> str:
    """The same for a folder."""
    inside = os.listdir(path)
    if {"config.json", "model.weights.h5"} <= {*inside}:
        return ""  # what a .keras file holds, unpacked
    if "saved_model.pb" not in inside and any(
        name == "checkpoint" or name.endswith(CHECKPOINTS) for name in inside
    ):
        return f"is a folder with a checkpoint, weights without a network. {SAVE_AGAIN}"
    return (
        "is a folder; of TensorFlow's SavedModel only the results can be had, not the layers. "
        f"{SAVE_AGAIN}; one of Keras 2 in an environment with tf_keras (pip install tf_keras): "
        f'tf_keras.models.load_model({path!r}, compile=False).save("model.h5")'
    )


def preprocessed(model: keras.Model, preprocess: Preprocessing | None) -> keras.Model:
    """The model behind its preprocessing; ValueError for one that is no range and no such function."""
    if preprocess is None:
        return model
    place = image_input(model)
    if len(model.inputs) > 1:
        raise ValueError(
            f"{model.name} has {len(model.inputs)} inputs; put the preprocessing into the model yourself"
        )
    image = keras.Input(model.inputs[place].shape[1:], name=input_name([model.name]))
    if isinstance(preprocess, (tuple, list)):
        ends = [each for each in preprocess if isinstance(each, numbers.Real)]
        ends = [each for each in ends if not isinstance(each, bool) and math.isfinite(each)]
        if len(ends) != 2 or len(preprocess) != 2 or not ends[0] < ends[1]:
            raise ValueError(
                f"preprocess is {shown(preprocess)}; a range is two numbers, as (0, 1): what black and white become"
            )
        low, high = map(float, ends)
        ready = keras.layers.Rescaling((high - low) / 255, low)(image)
    else:
        try:
            ready = preprocess(image)
        except Exception as error:  # whatever the function may raise
            raise ValueError(
                f"preprocess must be a range, as (0, 1), or a function of images that TensorFlow can follow, "
                f"such as lambda x: x / 255; {shown(preprocess)} is not: {one_line(error)}"
            ) from None
        if not isinstance(ready, keras.KerasTensor):
            raise ValueError(
                f"preprocess must give images; {shown(preprocess)} gives {shown(ready)}"
            )
    try:
        if ready.shape[-1] == image.shape[-1]:  # a Sequential would not mind now, but later
            return keras.Model(image, model(ready), name=model.name)
    except ValueError:  # of another size, or nothing made of the images
        pass
    raise ValueError(
        f"preprocess must make images that {model.name} takes, {image.shape}, of such images; {shown(preprocess)} "
        f"makes {ready.shape}"
    )


@keras_defaults()
def with_preprocessing(
    constructor: Callable[..., keras.Model], weights: str | None, include_top: bool = False
) -> keras.Model:
    """A network of `keras.applications`, its preprocessing put before it."""
    preprocess = sys.modules[constructor.__module__].preprocess_input
    name = constructor.__name__.lower()
    if include_top:
        network = constructor(weights=weights)
        image = keras.Input(network.input_shape[1:], name="image")
        return keras.Model(image, network(preprocess(image)), name=name)
    inputs = keras.Input((None, None, 3), name="image")
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`input_shape` is undefined"
        )  # MobileNets take that of 224 pixels
        network = constructor(weights=weights, include_top=False, input_tensor=preprocess(inputs))
    return keras.Model(inputs, network.output, name=name)


def application(name: str, include_top: bool = False) -> keras.Model:
    """A network of `keras.applications` with ImageNet weights; OSError if they cannot be had."""
    with bounded_downloads() as begun:
        try:
            return with_preprocessing(APPLICATIONS[name], "imagenet", include_top)
        except Exception as error:  # Keras raises plain Exception for a failed download
            cause = one_line(error)
            for _, target in begun:
                target.unlink(missing_ok=True)  # it arrived whole, but is not the file it should be
    cache = Path(file_utils.config.keras_home())
    message = f"The weights of {name} cannot be had: {cause.rstrip('.')}."
    if begun:
        url, target = begun[-1]
        raise OSError(f"{message} By hand: put the file {url} into the folder {target.parent}.")
    raise OSError(
        f"{message} By hand: see to it that files in {cache / 'models'} can be written and are whole."
    )
