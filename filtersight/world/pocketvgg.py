"""PocketVGG, a narrow VGG16 that comes with the course, and its relatives.

`load` gives the trained network; `python -m filtersight.training` makes the weights again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from filtersight.basics.checks import check_whole
from filtersight.basics.defaults import keras_defaults
from filtersight.world.painting import Array
from filtersight.world.patterns import NAMES

FOLDER = Path(__file__).resolve().parent / "weights"
WEIGHTS = FOLDER / "pocketvgg.npz"
WIDTHS = (16, 32, 48, 80, 128)


class Plan(NamedTuple):
    """How a network that comes with the course was trained."""

    widths: tuple[int, ...]
    seed: int  # of its start, its drawings and its noise
    noise: float = 0  # grey levels of adversarial noise that it learnt to withstand; more at the end, if specialised
    pictures: int = 50_000
    epochs: int = 4
    stages: bool = False  # whether its weights are kept on the way, too
    specialised: bool = False  # whether deep filters get patterns of their own in the end


NETWORKS = {
    "pocketvgg": Plan(WIDTHS, 3000, noise=8, specialised=True),
    # The same layers trained the usual way, for comparison.
    "pocketvgg_plain": Plan(WIDTHS, 5000, pictures=32_000, specialised=True),
    # Independent of the two: other pictures, other widths. It judges pictures that networks make, so
    # it must not fall for faint noise itself.
    "pocketvgg_judge": Plan((12, 24, 40, 72, 112), 7000, noise=8, pictures=44_000),
    "pocketvgg_stages": Plan((8, 12, 16, 24, 32), 9000, noise=4, pictures=30_000, stages=True),
}
CONVOLUTIONS = (2, 2, 3, 3, 3)  # layers in each block, as in VGG16 (Simonyan, Zisserman 2014)
REPAIR = (
    "`git checkout filtersight/world/weights` brings the published files back, "
    "`python -m filtersight.training` makes new ones"
)


def build(
    widths: tuple[int, ...] = WIDTHS, *, dtype: str | None = None, name: str = "pocketvgg"
) -> keras.Model:
    """PocketVGG with random weights.

    Input: (n, height, width, 3), RGB from 0 to 255, 32 pixels or more to a side. Output:
    (n, len(NAMES)) probabilities. `widths` are the filters of a layer in each of the five
    blocks; `dtype` is a Keras dtype policy, by default the global one. Raises ValueError for
    anything but five widths of 1 or more.
    """
    if len(widths) != 5:
        raise ValueError(f"widths must be five numbers of filters, not {widths!r}")
    x = inputs = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling", dtype=dtype)(x)
    for block, (width, count) in enumerate(zip(widths, CONVOLUTIONS, strict=True), start=1):
        width = check_whole("each of widths", width, 1)
        for i in range(1, count + 1):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                dtype=dtype,
                kernel_initializer="he_normal",
                name=f"block{block}_conv{i}",
            )(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool", dtype=dtype)(x)
    x = layers.GlobalAveragePooling2D(name="global_average_pooling2d", dtype=dtype)(x)
    x = layers.Dense(len(NAMES), activation="softmax", name="predictions", dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


@keras_defaults()
def load(path: str | os.PathLike = WEIGHTS) -> keras.Model:
    """PocketVGG with its published weights, checked against the .json file next to them.

    `path` may also be that of a relative, NAME.npz in FOLDER for a NAME in NETWORKS; of one that was stored
    in stages it is the last. Raises FileNotFoundError if one of the two files is missing, and ValueError
    if a file was cut off or altered or belongs to another network; the message says how to repair it.
    """
    widths, kept = stored(Path(path))
    return assembled(Path(path), widths, kept[max(kept)], Path(path).stem)


@keras_defaults()
def stages(path: str | os.PathLike = FOLDER / "pocketvgg_stages.npz") -> dict[int, keras.Model]:
    """A small network as it was after so many steps of its training, the first one untrained.

    Raises what `load` raises.
    """
    widths, kept = stored(Path(path))
    return {
        step: assembled(Path(path), widths, kept[step], f"{Path(path).stem}_{step}")
        for step in sorted(kept)
    }


def stored(path: Path) -> tuple[tuple[int, ...], dict[int, dict[str, Array]]]:
    """The widths of a published network, and its checked weights by the step of the training.

    What was not stored in stages has one step, 0. Raises what `load` raises.
    """
    json_path = path.with_suffix(".json")
    data, text = read_file(path), read_file(json_path)
    try:
        about = json.loads(text)
        size, sha256, names, widths = (about[key] for key in ("bytes", "sha256", "names", "widths"))
        cut_off = len(data) < size
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{json_path}: does not describe weights ({error!r}); {REPAIR}") from error
    if cut_off:
        raise ValueError(f"{path}: cut off after {len(data):,} of {size:,} bytes; {REPAIR}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path}: altered, its sha256 is not that in {json_path.name}; {REPAIR}")
    if names != list(NAMES):
        raise ValueError(f"{path}: trained on other patterns than patterns.NAMES; {REPAIR}")
    kept: dict[int, dict[str, Array]] = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            for key, array in arrays.items():
                step, _, name = key.rpartition("/")  # "100/block1_conv1.bias"
                kept.setdefault(int(step or 0), {})[name] = array
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"{path}: {error}; {REPAIR}") from error
    return widths, kept


def assembled(
    path: Path, widths: tuple[int, ...], arrays: dict[str, Array], name: str
) -> keras.Model:
    """A network of these widths with these weights, of the file `path`; ValueError if they do not fit."""
    try:
        return put_weights(build(widths, name=name), arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {REPAIR}") from error


def read_file(path: Path) -> bytes:
    """The file's bytes, or a FileNotFoundError that says what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {REPAIR}")
    return path.read_bytes()


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """{"block1_conv1.kernel": (3, 3, 3, 16), "block1_conv1.bias": (16,), ...}."""
    return {
        f"{layer.name}.{weight.name}": weight for layer in model.layers for weight in layer.weights
    }


def put_weights(model: keras.Model, arrays: dict[str, Array]) -> keras.Model:
    """Give the model these weights. ValueError if a name or shape differs, or for inf and nan."""
    weights = named_weights(model)
    for name in sorted(weights.keys() | arrays.keys()):
        expected = weights[name].shape if name in weights else "no such array"
        found = arrays[name].shape if name in arrays else "no such array"
        if found != expected:
            raise ValueError(f"{name}: found {found}, expected {expected}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: not all numbers are finite")
    for name, weight in weights.items():
        weight.assign(arrays[name].astype(np.float32))
    return model
