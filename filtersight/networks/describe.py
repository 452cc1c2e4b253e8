"""What the course understood of a model, and what it could not tell."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import cv2
import keras
import numpy as np

from filtersight.basics.checks import check_whole
from filtersight.basics.images import in_channels
from filtersight.networks.fields import receptive_fields
from filtersight.networks.flat import ACTIVATIONS, CONVOLUTIONS, Network, image_input, unfold
from filtersight.networks.layers import (
    Layer,
    channels,
    conv_layers,
    squashing,
    values_to_picture,
)
from filtersight.world.patterns import images

RANGES = {  # what networks are trained on: name -> (how to say it, function of RGB images from 0 to 255)
    "0 to 255": ("(0, 255)", lambda x: x),
    "0 to 1": ("(0, 1)", lambda x: x / 255),
    "-1 to 1": ("(-1, 1)", lambda x: x / 127.5 - 1),
    "ImageNet's mean 0 and deviation 1": (
        "keras.applications.densenet.preprocess_input",
        lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    ),
    "BGR without ImageNet's means": (
        "keras.applications.vgg16.preprocess_input",
        lambda x: x[..., ::-1] - [103.939, 116.779, 123.68],
    ),
}
CLEAR = 10.0  # a range that fits so many times worse than the best is ruled out
POOR = 2.0  # a misfit above this is none: natural images and drawings differ by less


class Convolution(NamedTuple):
    """What `describe` says about a convolution layer."""

    name: str
    kind: str
    filters: int
    field: float  # pixels; infinite: the whole image
    map: tuple[int, int] | None  # height and width of its map for an image of the size described
    # Which layer holds its activation function: "itself", one behind it, or "none"; "unknown" for layers of
    # somebody's own, which may have one inside.
    activation: str


@dataclasses.dataclass(frozen=True)
class Description:
    """What the course understood of a model, and what it could not tell."""

    name: str
    shape: tuple[int | None, int | None, int]
    """Of the images that the model was made for: height, width (None: any), channels."""
    free: bool
    """Whether the convolution layers take images of any size."""
    size: int
    """Side of the images, in pixels, that the sizes of the maps are given for."""
    preprocessing: str
    """What happens to the images inside the model, before its first convolution."""
    convolutions: list[Convolution]
    answer: str
    """What the model gives out in the end."""
    doubts: list[str]
    """What could not be told, or looks wrong, and how to say it."""

    def __str__(self) -> str:
        height, width, depth = ("any" if each is None else each for each in self.shape)
        free = (
            ", the convolution layers of any size" if self.free and None not in self.shape else ""
        )
        lines = [
            f"{self.name}: images {height} × {width}, {depth} channel{'s' * (depth != 1)}{free}",
            f"preprocessing: {self.preprocessing}",
            f"answer: {self.answer}",
        ]
        table = [("layer", "kind", "filters", "sees", f"map at {self.size} px", "activation in")]
        for each in self.convolutions:
            sees = f"{each.field} px" if math.isfinite(each.field) else "all"
            maps = " × ".join(map(str, each.map)) if each.map else "too small"
            table.append((each.name, each.kind, f"{each.filters}", sees, maps, each.activation))
        widths = [max(len(row[column]) for row in table) for column in range(6)]
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*lines, *(f"? {doubt}" for doubt in self.doubts)])

    __repr__ = __str__


def describe(model: keras.Model, size: int | None = None) -> Description:
    """What the course understands of a model: its images, preprocessing, convolution layers and answer.

    `size`: side in pixels of the images to give the sizes of maps for; if not given, that which the
    model was made for, or 128. Whether images go in as they should is measured where the model has a
    batch normalisation, whose stored means and variances tell on what it was trained. ValueError for
    what the course cannot look into.
    """
    network = unfold(model)
    made_for = network.shape[0] if network.shape[0] == network.shape[1] else None
    size = check_whole("size", made_for or 128 if size is None else size, 1, 4096)
    names = conv_layers(model)
    fields = receptive_fields(network)
    found = [
        Convolution(
            name,
            type(network.parts[name].layer).__name__,
            network.parts[name].output.shape[-1],
            fields[name],
            map_size(model, name, size),
            activation_layer(network, name),
        )
        for name in names
    ]
    inside = preprocessing(model)
    no_filters = "it has no 2-D convolution layer: there are no filters to look at"
    doubts = [
        *([] if names else [no_filters + values_to_picture(model)]),
        *doubts_about_range(model, inside),
        *doubts_about_layers(model, network),
        *doubts_about_answer(network),
    ]
    answer = "not decided by the image alone"
    if network.last is not None:
        answer = answer_text(model, network.last)
    free = bool(names) and all(network.parts[name].image.shape[1] is None for name in names)
    text = inside or "none, images go in as they are"
    return Description(model.name, network.shape, free, size, text, found, answer, doubts)


def doubts_about_range(model: keras.Model, inside: str | None) -> list[str]:
    """Whether images of 0 to 255 are what the model was trained on; `inside` is its own preprocessing."""
    fitting = fitting_ranges(model)
    if fitting and "0 to 255" not in fitting:
        return [
            "its first batch normalisation was trained on images of another range than 0 to 255; it may be "
            f"{' or '.join(fitting)}. Say which, as load_model(model, preprocess={RANGES[fitting[0]][0]})"
        ]
    if inside is None and not fitting:
        return [
            "it does no preprocessing, and nothing in it tells what images it was trained on; taken: 0 to 255. "
            f"Otherwise say so, as load_model(model, preprocess=(0, 1)){known_preprocessing(model)}"
        ]
    return []


def doubts_about_layers(model: keras.Model, network: Network) -> list[str]:
    """Which layers cannot be looked into."""
    doubts = [
        f"the layers of {name!r} are hidden in its call(); to lay them open, build the model with "
        f"{name}.call(x) in the place of {name}(x)"
        for name, part in network.parts.items()
        if isinstance(part.layer, keras.Model)
    ]
    if network.left_out:
        doubts.append(
            f"only its input {model.inputs[image_input(model)].name!r} is looked at; left out, as they need "
            "another, too: " + ", ".join(network.left_out)
        )
    return doubts


def doubts_about_answer(network: Network) -> list[str]:
    """Whether the answer can tell anything apart."""
    part = network.parts[network.last] if network.last is not None else None
    if part and part.output.shape[1:] == (1,) and squashing(part) == "softmax":
        return [
            "a softmax over a single value gives 1 for every image; a network that says yes or no needs a sigmoid"
        ]
    return []


def map_size(model: keras.Model, layer: str, size: int) -> tuple[int, int] | None:
    """Height and width of the layer's map for images of `size` pixels; None if they are too small."""
    try:
        shape = (1, size, size, channels(model))
        height, width = Layer(model, layer).network.compute_output_shape(shape)[1:3]
    except ValueError:  # Keras refuses shapes that would become negative
        return None
    return (height, width) if min(height, width) >= 1 else None


def activation_layer(network: Network, layer: str) -> str:
    """The layer that holds the activation function of a convolution: itself, one behind it, or "none".

    "unknown" where there is none behind a layer of somebody's own.
    """
    none = "none" if isinstance(network.own[layer].layer, CONVOLUTIONS) else "unknown"
    own = getattr(network.own[layer].layer, "activation", None)
    if own not in (None, keras.activations.linear):
        return "itself"
    output = network.own[layer].output
    while True:
        takers = [
            (name, part)
            for name, part in network.own.items()
            if any(each is output for each in part.inputs)
        ]
        if len(takers) != 1:
            return none
        [(name, part)] = takers
        if isinstance(part.layer, ACTIVATIONS):
            return name
        if not isinstance(part.layer, (keras.layers.BatchNormalization, keras.layers.Dropout)):
            return none
        output = part.output


def answer_text(model: keras.Model, last: str) -> str:
    """What the model gives out in the end, in words."""
    layer = Layer(model, last)
    part = layer.part
    shape = (
        "("
        + ", ".join("any" if each is None else str(each) for each in part.output.shape[1:])
        + ")"
    )
    if len(part.output.shape) != 2:
        return f"maps {shape}, without a classifier"
    values = "value" if shape == "(1)" else "values"
    return f"{shape[1:-1]} {values}, {activation_name(layer)}, from layer {last!r}"


def activation_name(layer: Layer) -> str:
    """What a layer's values have gone through last: "softmax", "relu", "linear" …; or the kind of layer."""
    kind = layer.squashed.kind if layer.squashed is not None else squashing(layer.part)
    own = layer.part.layer
    if kind is not None:
        return kind
    if hasattr(own, "activation"):
        return getattr(own.activation, "__name__", "linear")
    return type(own).__name__


def preprocessing(model: keras.Model) -> str | None:
    """What happens to black, white and red before the first convolution, measured; None if nothing does."""
    parts = unfold(model).parts
    first = next(
        (
            part
            for part in parts.values()
            if getattr(part.layer, "weights", None)
            and not isinstance(part.layer, keras.layers.Normalization)
        ),
        None,
    )
    if first is None or first.inputs[0] is first.image:
        return None
    before = keras.Model(first.image, first.inputs[0])
    side = [each or 64 for each in first.image.shape[1:3]]
    depth = first.image.shape[-1]
    colours = np.array([[0.0] * depth, [255.0] * depth, [255.0] + [0.0] * (depth - 1)], np.float32)
    images = np.broadcast_to(colours[:, None, None], (3, *side, depth))
    results = np.asarray(before(images, training=False), np.float32)
    if results.ndim != 4:  # laid out flat, or in rows or patches: one pixel after the other
        pixels = results.reshape(3, -1, depth if results[0].size % depth == 0 else 1)
        results = pixels[:, :, None]
    black, white, red = results[:, results.shape[1] // 2, results.shape[2] // 2]
    if np.allclose([black, white, red], colours, atol=1e-3):
        return None
    text = f"inside; black becomes {tuple_text(black)}, white {tuple_text(white)}"
    if depth == 3 and np.argmax(np.abs(red - black)) == 2:
        text += ", channels as BGR"
    return text


def tuple_text(values: np.ndarray) -> str:
    """Some numbers, or one if they are all the same, to three digits."""
    texts = [f"{value + 0.0:.3g}" for value in np.round(values.astype(float), 4)]
    return texts[0] if len(set(texts)) == 1 else "(" + ", ".join(texts) + ")"


def fitting_ranges(model: keras.Model) -> list[str]:
    """Which of RANGES the first batch normalisation may have been trained on.

    Its stored means and variances are compared with those of drawings, as they go into the model. Ranges
    of one order, as 0 to 1 and -1 to 1, cannot be told apart, as nobody knows the images of the training.
    Empty if there is no batch normalisation, if it was never trained, or if nothing fits.
    """
    parts = unfold(model).parts.values()
    norms = [part for part in parts if isinstance(part.layer, keras.layers.BatchNormalization)]
    if not norms:
        return []
    norm = norms[0]
    mean, variance = (
        np.asarray(each, np.float64)
        for each in (norm.layer.moving_mean, norm.layer.moving_variance)
    )
    if np.ptp(mean) == 0 and np.ptp(variance) == 0:  # as they are before training
        return []
    height, width, depth = norm.image.shape[1:]
    drawings, _ = images(96, seed=5, size=64)
    drawings = np.stack([cv2.resize(each, (width or 64, height or 64)) for each in drawings])
    drawings = in_channels(drawings, depth).astype(np.float32)
    before = keras.Model(norm.image, norm.inputs[0])
    misfit = {}
    for name, (_, function) in RANGES.items():
        if depth != 3 and "ImageNet" in name:
            continue
        values = np.asarray(before(function(drawings), training=False), np.float64)
        values = values.reshape(-1, values.shape[-1])
        # As far from each other as two bell curves are, by Kullback and Leibler; the median channel.
        theirs, spread = np.maximum(variance, 1e-6), values.var(axis=0) + 1e-6
        distance = (spread + (values.mean(axis=0) - mean) ** 2) / theirs - 1
        misfit[name] = float(np.median(distance + np.log(theirs / spread)))
    best = min(misfit.values())
    return [name for name in misfit if best <= POOR and misfit[name] <= CLEAR * best]


def application_of(model: keras.Model) -> Callable | None:
    """The constructor of keras.applications whose name the model bears."""
    name = re.sub("[^a-z0-9]", "", model.name.lower())
    alike = [
        each
        for each in vars(keras.applications).values()
        if callable(each) and name.startswith(each.__name__.lower())
    ]
    return max(alike, key=lambda each: len(each.__name__), default=None)


def known_preprocessing(model: keras.Model) -> str:
    """Where a model bears the name of one of keras.applications, whose preprocessing that would be."""
    closest = application_of(model)
    if closest is None:
        return ""
    module = closest.__module__.rpartition(".")[2]
    return (
        f", or, as for {closest.__name__}, preprocess=keras.applications.{module}.preprocess_input"
    )
