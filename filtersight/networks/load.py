"""Loads networks: by name, from a file, or with the preprocessing put before them."""

from __future__ import annotations

import math
import numbers
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras.src.utils import file_utils

from filtersight.basics.checks import nearest
from filtersight.networks.downloads import bounded_downloads, one_line
from filtersight.networks.flat import image_input
from filtersight.world.pocketvgg import FOLDER, NETWORKS, load

Preprocessing = tuple[float, float] | Callable[[Any], Any]
APPLICATIONS = {
    name.lower(): constructor
    for name, constructor in vars(keras.applications).items()
    if name[0].isupper() and callable(constructor)
}


def load_model(
    name: str | os.PathLike | keras.Model | None = None,
    *,
    preprocess: Preprocessing | None = None,
    include_top: bool = False,
) -> keras.Model:
    """The network by its name; images go in as RGB from 0 to 255, preprocessing is part of it.

    `name` is "pocketvgg" or one of its relatives in `pocketvgg.NETWORKS`; "vgg16" or any other
    constructor of `keras.applications` in lower case, with ImageNet weights, and with its classifier if
    `include_top`; the path of a model saved as .keras or .h5; or a model, which is given back. Without a
    name: the one in the environment variable COURSE_MODEL; else VGG16 if its weights are in Keras' cache
    or can be downloaded; else PocketVGG, with a line that says why. Ctrl-C during that download means
    PocketVGG too.

    `preprocess`, for a model or file whose images must be changed before they go in: the range that it
    was trained on, such as (0, 1) or (-1, 1), or a function of images from 0 to 255, such as
    keras.applications.resnet.preprocess_input. It becomes part of the model that is given back.

    ValueError for a name that does not exist, a file that is no model, or a wrong `preprocess`. OSError,
    with the way to put the file there by hand, where weights that were asked for cannot be had.
    """
    if not isinstance(include_top, bool):
        raise ValueError(f"include_top must be True or False, not {include_top!r}")
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
        raise ValueError(f"model is {name!r}; it must be a name, a path or a keras.Model")
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
    """The model in a file; ValueError, with the way out where there is one, if Keras cannot load it."""
    if os.path.isdir(path):
        raise ValueError(
            f"{path!r} is a folder; of TensorFlow's SavedModel only the results can be had, not the layers. "
            'Save the model again, as model.save("model.keras")'
        )
    only_weights = (
        f"{path!r} holds weights without a network: build the model, call model.load_weights({path!r}), "
        "and give the model"
    )
    if path.endswith(".weights.h5"):
        raise ValueError(only_weights)
    try:
        # Losses and metrics of somebody's own may be unknown here, and are not needed.
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds, some with pages of text
        text = str(error).rpartition("Exception encountered: ")[2] or type(error).__name__
    if "No model config" in text:
        raise ValueError(only_weights)
    message = f"{path!r} is no model that Keras can load: {one_line(ValueError(text))}"
    if "safe_mode" in text or "Lambda" in text:
        message += (
            f"; if you trust the file, give keras.models.load_model({path!r}, safe_mode=False, "
            "compile=False) in its place"
        )
    elif "custom" in text or "Unknown layer" in text or "register_keras" in text:
        message += (
            f"; if it has layers of your own, give keras.models.load_model({path!r}, compile=False, "
            'custom_objects={"YourLayer": YourLayer}) in its place'
        )
    raise ValueError(message)


def preprocessed(model: keras.Model, preprocess: Preprocessing | None) -> keras.Model:
    """The model behind its preprocessing; ValueError for one that is no range and no such function."""
    if preprocess is None:
        return model
    place = image_input(model)
    if len(model.inputs) > 1:
        raise ValueError(
            f"{model.name} has {len(model.inputs)} inputs; put the preprocessing into the model yourself"
        )
    image = keras.Input(model.inputs[place].shape[1:], name="image")
    if isinstance(preprocess, (tuple, list)):
        ends = [each for each in preprocess if isinstance(each, numbers.Real)]
        ends = [each for each in ends if not isinstance(each, bool) and math.isfinite(each)]
        if len(ends) != 2 or len(preprocess) != 2 or not ends[0] < ends[1]:
            raise ValueError(
                f"preprocess is {preprocess!r}; a range is two numbers, as (0, 1): what black and white become"
            )
        low, high = map(float, ends)
        ready = keras.layers.Rescaling((high - low) / 255, low)(image)
    else:
        try:
            ready = preprocess(image)
        except Exception as error:  # whatever the function may raise
            raise ValueError(
                f"preprocess must be a range, as (0, 1), or a function of images that TensorFlow can follow, "
                f"such as lambda x: x / 255; {preprocess!r} is not: {one_line(error)}"
            ) from None
        if not isinstance(ready, keras.KerasTensor):
            raise ValueError(f"preprocess must give images; {preprocess!r} gives {ready!r:.80}")
    try:
        if ready.shape[-1] == image.shape[-1]:  # a Sequential would not mind now, but later
            return keras.Model(image, model(ready), name=model.name)
    except ValueError:  # of another size, or nothing made of the images
        pass
    raise ValueError(
        f"preprocess must make images that {model.name} takes, {image.shape}, of such images; {preprocess!r} "
        f"makes {ready.shape}"
    )


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
