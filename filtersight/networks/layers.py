"""A layer of a model: where it is cut, what it answers, which images fit, which filters it has."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import psutil
import tensorflow as tf
from tqdm import tqdm

from filtersight.basics.checks import (
    MAX_SIZE,
    Size,
    check_sides,
    check_whole,
    is_list,
    nearest,
    pixels_text,
    shown,
    sides,
)
from filtersight.networks.fields import receptive_fields
from filtersight.networks.flat import CONVOLUTIONS, Network, Part, digest_of, renamed, unfold

WORKING_SET = 2**28  # bytes that the maps of one batch may take: more is not faster, only larger


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a model, by name; ValueError if the model has none of that name.

    As the model is set when it is made: make another one where a setting may have been changed since.
    """

    model: keras.Model
    name: str
    flat: Network = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        network = unfold(self.model)
        vars(self)["flat"] = network
        if isinstance(self.name, str) and self.name in network.parts:
            return
        if isinstance(self.name, str) and self.name in network.left_out:
            raise ValueError(
                f"layer {self.name!r} of {self.model.name} needs another input than the image"
            )
        there = what_there_is(self.model, "It")
        raise ValueError(
            f"no layer {shown(self.name)}{nearest(self.name, list(network.parts))} "
            f"{there[0].upper()}{there[1:]}"
        )

    def __str__(self) -> str:
        return f"{self.name} of {self.model.name}"

    # ------------------------------------------------------------ the network up to it

    @property
    def part(self) -> Part:
        """The layer and its place, for images of any size as far as the layers before it allow."""
        return self.flat.parts[self.name]

    @property
    def all_parts(self) -> dict[str, Part]:
        """The model's layers, for the image that this one takes: of any size, or of its own."""
        network = self.flat
        free = next(iter(network.parts.values())).image is self.part.image
        return network.parts if free else network.own

    @functools.cached_property
    def network(self) -> keras.Model:
        """The model up to the layer: images (n, height, width, channels) in, what the layer gives out."""
        name = f"{self.model.name}_to_{self.name}"
        name = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_")  # TensorFlow allows less than Keras
        return keras.Model(self.part.image, self.part.output, name=name)

    @property
    def objective(self) -> Part:
        """The layer as ascent and explanations look at it: of a classifier the values before the softmax or sigmoid.

        A probability can also grow because those of the others fall (Simonyan, Vedaldi and Zisserman
        2013); and a certain answer, or a sigmoid's, has no gradient left.
        """

        def build() -> Part:
            return without_squashing(self.part, self.all_parts, self.squashed)

        return self.flat.once(("objective", self.name), build)

    @property
    def squashed(self) -> Squashed | None:
        """How the layer gives probabilities, if it does."""
        return self.flat.once(("squashed", self.name), lambda: squashed(self.part, self.all_parts))

    @property
    def channels(self) -> int:
        """How many channels the images have that the model takes."""
        return self.flat.shape[-1]

    @property
    def gives_maps(self) -> bool:
        """Whether it gives feature maps, (n, height, width, filters)."""
        return len(self.part.output.shape) == 4

    @property
    def has_softmax(self) -> bool:
        """Whether it gives the probabilities of classes that exclude each other."""
        return self.squashed is not None and self.squashed.kind == "softmax"

    @property
    def field(self) -> float:
        """Side in pixels of what one value of its maps sees of the image; infinite: all of it."""
        return receptive_fields(self.flat)[self.name]

    def fingerprint(self) -> str:
        """Twelve characters that change when any weight up to the layer does.

        ValueError for a weight that is not finite: no gradient leads past it.
        """
        weights = self.network.weights
        for weight in weights:
            if not np.isfinite(weight.numpy()).all():
                raise ValueError(
                    f"{self.model.name} has weights that are not finite, in {weight.path}"
                )
        return digest_of(weights)

    def check_maps(self) -> None:
        """ValueError unless it gives feature maps."""
        if not self.gives_maps:
            raise ValueError(
                f"layer {self.name!r} gives {self.part.output.shape}, not feature maps "
                f"(n, height, width, filters); {what_there_is(self.model)}"
            )

    # ------------------------------------------------------------ filters

    @property
    def filters(self) -> int:
        """How many filters it has."""
        return self.part.output.shape[-1]

    def check_filters(self, filters: Iterable[int]) -> list[int]:
        """The filter numbers as a list; ValueError if one is wrong, repeated, or if there is none.

        ValueError too for a layer that gives neither feature maps nor the values of classes.
        """
        shape = self.part.output.shape
        if len(shape) not in (2, 4) or shape[-1] is None:
            raise ValueError(
                f"layer {self.name!r} gives {shape}, neither maps nor classes; "
                + what_there_is(self.model)
            )
        if not is_list(filters):
            raise ValueError(
                f"filters is {shown(filters)}; it must be a list of filter numbers, such as [3]"
            )
        last = self.filters - 1
        numbers = list(itertools.islice(filters, last + 2))  # more cannot all be different
        if not numbers:
            raise ValueError(f"filters is empty; give some of 0 to {last}")
        for number in numbers:
            check_whole(f"filter of {self.name}", number, 0, last)
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"filters names a filter twice: {numbers}")
        return [int(number) for number in numbers]

    def activations(self, images: np.ndarray) -> np.ndarray:
        """The mean of each filter's map for each image, (n, filters) float32.

        After the layer's activation function; for a classifier, its values. `images` are uint8,
        (n, height, width, channels). ValueError for others, or images too small for the layer.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[-1] != self.channels or images.dtype != np.uint8:
            raise ValueError(
                f"images must be uint8 (n, height, width, {self.channels}), not {images.dtype} "
                f"{images.shape}; image_for(model, image)[None] is a list of one image"
            )
        self.check_size(*images.shape[1:3])
        count = self.images_at_once(tuple(images.shape[1:3]), "float32")
        batches = [images[start : start + count] for start in range(0, len(images), count)]
        # Without a graph: building one takes longer than most lists of images.
        answers = [
            means(self.network(tf.cast(batch, tf.float32), training=False))
            for batch in tqdm(batches, self.name, delay=2, leave=False)
        ]
        return np.concatenate(answers) if answers else np.empty((0, self.filters), np.float32)

    # ------------------------------------------------------------ sizes

    def fits(self, height: int, width: int | None = None) -> bool:
        """Whether images of that many pixels leave at least one value in its maps."""
        width = width or height
        own = self.part.image.shape[1:3]
        if any(side not in (None, given) for side, given in zip(own, (height, width), strict=True)):
            return False
        measured, found = self.flat.once(
            ("concatenations", self.name), lambda: concatenations(self)
        )
        try:
            shape, *parts = measured.compute_output_shape((1, height, width, self.channels))
        except ValueError:  # Keras refuses shapes that would become negative
            return False
        joined = [[parts[place] for place in places] for places, _ in found]
        return min(shape[1:]) >= 1 and all(
            len({tuple(np.delete(each, axis)) for each in some}) == 1
            for some, (_, axis) in zip(joined, found, strict=True)
        )

    def check_size(self, height: int, width: int | None = None) -> None:
        """ValueError unless images of that many pixels leave at least one value in its maps."""
        width = height if width is None else width
        for side in (height, width):
            check_whole("size", side, 1, MAX_SIZE)
        if self.fits(height, width):
            return
        own = self.part.image.shape[1:3]
        if None not in own:
            raise ValueError(
                f"{self} takes images of {own[0]} × {own[1]} pixels only, not {height} × {width}"
            )
        size = min(height, width)
        for larger in range(size + 1, MAX_SIZE + 1):
            if self.fits(larger):
                raise ValueError(f"size is {size}; {self} needs images of at least {larger} pixels")
        raise ValueError(f"{self} takes no images of {height} × {width} pixels")

    def usual_size(self) -> Size:
        """128 pixels, or the size that the layer is made for if it takes no images of 128.

        Where only one side is fixed, the other is as long, or 128 if such images are too small.
        """
        own, model = self.part.image.shape[1:3], self.flat.shape[:2]
        height, width = (mine or its for mine, its in zip(own, model, strict=True))
        square, long = (height or width, width or height), (height or 128, width or 128)
        tried: list[Any] = [(128, 128), *([square, long] if height or width else [])]
        best = next((each for each in tried if self.fits(*each)), tried[-1])
        return check_sides("size", best, 1, MAX_SIZE)

    def images_at_once(self, size: Size, precision: str) -> int:
        """How many images of `size` pixels are worked on together, 1 to 64, by the memory that they take.

        ValueError if one alone takes more memory than is free.
        """

        def count() -> int:
            parts = self.all_parts
            names = list(parts)[: list(parts).index(self.name) + 1]
            every = keras.Model(self.part.image, [parts[name].output for name in names])
            shapes = every.compute_output_shape((1, *sides(size), self.channels))
            return sum(math.prod(shape) for shape in shapes)

        # Each value is kept for the way back, where it has a gradient and a product of both.
        values = self.flat.once(("values", self.name, size), count)
        need = 3 * values * (4 if precision == "float32" else 2)
        free = psutil.virtual_memory().available
        if need > free:
            raise ValueError(
                f"one image of {pixels_text(size)} pixels needs {need / 1e9:.1f} GB up to {self.name}; "
                f"{free / 1e9:.1f} GB are free"
            )
        return max(1, min(64, WORKING_SET // need))

    def multiplications(self, size: Size) -> int:
        """How many multiplications it takes to compute it for one image of `size` pixels.

        Of convolutions and dense layers; the rest is little beside them.
        """
        needed, some = {id(self.all_parts[self.name].output)}, []
        for part in reversed(self.all_parts.values()):
            if id(part.output) in needed:
                needed.update(map(id, part.inputs))
                some.append(part)
        every = keras.Model(self.part.image, [part.output for part in some])
        shapes = every.compute_output_shape((1, *sides(size), self.channels))
        result = 0
        for part, shape in zip(some, shapes, strict=True):
            weights = getattr(part.layer, "weights", [])  # an operation has none
            kernels = [weight for weight in weights if len(weight.shape) > 1]
            result += sum(math.prod(each.shape) for each in kernels) * math.prod(shape[1:-1])
        return result


# ---------------------------------------------------------------- by model and name, for the notebooks


def conv_layers(model: keras.Model) -> list[str]:
    """Names of the model's 2-D convolution layers, from input to output.

    With them those of somebody's own, or wrapped, that give feature maps and have such a layer inside.
    """
    return [name for name, part in unfold(model).parts.items() if has_filters(part)]


def has_filters(part: Part) -> bool:
    """Whether it is a 2-D convolution layer, or gives feature maps and has one inside."""
    inside: Iterable = getattr(
        part.layer, "_flatten_layers", tuple
    )()  # itself, too; an operation has none
    return len(part.output.shape) == 4 and any(isinstance(each, CONVOLUTIONS) for each in inside)


def to_picture(model: keras.Model) -> list[str]:
    """Names of what is pictured unless told otherwise: the convolution layers.

    Where there is none: the layers with weights that give values (n, values) or maps, such as Dense.
    """
    return conv_layers(model) or [
        name
        for name, part in unfold(model).parts.items()
        if getattr(part.layer, "weights", None)
        and len(part.output.shape) in (2, 4)
        and part.output.shape[-1] is not None
    ]


def what_there_is(model: keras.Model, it: str | None = None) -> str:
    """For a message: which layers there are to picture. `it` is how the model is called, if not by its name."""
    names = to_picture(model)
    if conv_layers(model):
        return f"the convolution layers of {model.name} are: {', '.join(names)}"
    return f"{it or model.name} has none of 2-D convolution{values_to_picture(model)}"


def values_to_picture(model: keras.Model) -> str:
    """For the end of a message: what can be pictured of a model without convolution layers."""
    names = to_picture(model)
    if not names:
        return ", nor any other with weights that could be pictured"
    return (
        f"; visualize(model, {names[-1]!r}, [0]) pictures a value of a layer, of one of these: "
        + ", ".join(names)
    )


def channels(model: keras.Model) -> int:
    """How many channels the images have that the model takes."""
    return unfold(model).shape[-1]


def submodel(model: keras.Model, layer: str) -> keras.Model:
    """The model cut after `layer`: images (n, height, width, channels) in, feature maps (n, h, w, filters) out.

    The layers are shared with `model`, not copied. ValueError if there is no such layer or if its
    output is not a set of feature maps.
    """
    found = Layer(model, layer)
    found.check_maps()
    return found.network


def activations(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    """How strongly each filter of `layer` answers to each image: (n, filters) float32.

    The mean over the filter's map, after the layer's activation function; for a classifier, its values.
    `images` are uint8, (n, height, width, channels), RGB for networks with three channels. ValueError for
    another shape or type, or images too small for the layer.
    """
    return Layer(model, layer).activations(images)


def filter_count(model: keras.Model, layer: str) -> int:
    """How many filters `layer` has. ValueError if there is no such layer."""
    return Layer(model, layer).filters


def receptive_field(model: keras.Model, layer: str) -> float:
    """Side in pixels of the square of the image that one value of the layer's maps depends on.

    Infinite where that is all of the image; `fields.receptive_fields` says how it is found. ValueError if
    there is no such layer.
    """
    return Layer(model, layer).field


def multiplications(model: keras.Model, layer: str, size: int) -> int:
    """How many multiplications it takes to compute `layer` for one image of `size` pixels."""
    return Layer(model, layer).multiplications(size)


# ---------------------------------------------------------------- what Layer is made of


def means(values) -> np.ndarray:
    """The means over the maps (n, h, w, filters), or values (n, filters) as they are."""
    places = tuple(range(1, len(values.shape) - 1))
    return np.asarray(np.mean(values, axis=places, dtype=np.float32))


class Squashed(NamedTuple):
    """Probabilities: what a layer gives is `scale` × that of a softmax or sigmoid + `offset`."""

    kind: str  # "softmax" or "sigmoid"
    part: Part  # the layer that ends with it
    scale: float
    offset: float


def squashed(part: Part, parts: dict[str, Part]) -> Squashed | None:
    """The softmax or sigmoid that a layer's values come from, if they are only scaled and reshaped since.

    None for the softmax of a single value, which is always 1, and for one among other values than these.
    """
    end, kind = part, squashing(part)
    while kind is None:
        before = [each for each in parts.values() if each.output is part.inputs[0]]
        alone = len(part.inputs) == 1 and not getattr(part.layer, "weights", [])
        if len(end.output.shape) != 2 or not (alone and before):
            return None
        part = before[0]
        kind = squashing(part)
    axes, count = (-1, len(part.output.shape) - 1), part.output.shape[-1]
    among_these = count == end.output.shape[-1] != 1 and getattr(part.layer, "axis", -1) in axes
    line = (1.0, 0.0) if part is end else straight_line(part.output, end.output)
    if line is None or (kind == "softmax" and not among_these):
        return None
    return Squashed(kind, part, *line)


def squashing(part: Part) -> str | None:
    """Which of "softmax" and "sigmoid" a layer ends with; None if it does with neither."""
    layer, kind = part.layer, type(part.layer)
    function = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.RNN):  # uses it inside
        return None
    known = kind.__module__.startswith("keras.") and kind is not keras.layers.Lambda
    if function is None and known:
        name = kind.__name__.lower()
    elif getattr(function, "__module__", "").startswith("keras."):
        name = getattr(function, "__name__", type(function).__name__).lower()
    elif function is not None or not (getattr(layer, "weights", []) or len(part.inputs) > 1):
        return squashing_of(function or layer, part.output.shape)
    else:
        return None
    return name if name in ("softmax", "sigmoid") else None


def squashing_of(function: Callable, shape: tuple) -> str | None:
    """The same for a function of somebody's own, by what it does; any temperature will do."""
    places = (min(side or 1, 4) for side in shape[1:-1])
    values = np.random.default_rng(0).normal(size=(8, *places, shape[-1] or 1))
    try:
        given = np.asarray(function(tf.constant(values, tf.float32)), np.float64)
    except Exception:  # it may raise anything
        return None
    if given.shape != values.shape or given.min() <= 0 or given.max() >= 1:
        return None
    if proportional(np.log(given / (1 - given)), values):
        return "sigmoid"
    logs = np.log(given)
    logs, values = (each - each.mean(axis=-1, keepdims=True) for each in (logs, values))
    return "softmax" if proportional(logs, values) and np.allclose(given.sum(-1), 1) else None


def proportional(these: np.ndarray, those: np.ndarray) -> bool:
    """Whether these values are those, times one positive number."""
    factor = (these * those).sum() / (those**2).sum()
    return bool(factor > 0 and np.allclose(these, factor * those, atol=0.01))


def straight_line(begin: keras.KerasTensor, end: keras.KerasTensor) -> tuple[float, float] | None:
    """Factor and offset, if all that happens to values from 0 to 1 is that they are scaled and reshaped."""
    shape, other = begin.shape[1:], end.shape[1:]
    if None in shape + other or math.prod(shape) != math.prod(other):
        return None
    given = np.random.default_rng(0).random((8, *shape), np.float32)
    result = np.asarray(keras.Model(begin, end)(given), np.float64)
    factor, offset = np.polyfit(given.ravel(), result.ravel(), 1)
    fits = np.allclose(factor * given.ravel() + offset, result.ravel(), atol=1e-4 * abs(factor))
    return (float(factor), float(offset)) if fits and factor > 0 else None


def without_squashing(part: Part, parts: dict[str, Part], found: Squashed | None) -> Part:
    """The part, or if it gives probabilities, what goes into the softmax or sigmoid, in the same shape."""
    if found is None:
        return part
    last = found.part
    if isinstance(last.layer, keras.layers.Activation) or not hasattr(last.layer, "activation"):
        before = next(each for each in parts.values() if each.output is last.inputs[0])
    else:
        linear = renamed(last.layer, last.layer.name)
        vars(linear)["activation"] = keras.activations.linear
        before = last._replace(layer=linear, output=linear(last.inputs[0]))
    if before.output.shape == part.output.shape:
        return before
    again = keras.layers.Reshape(part.output.shape[1:], dtype="float32")
    return Part(again, part.image, [before.output], again(before.output))


def concatenations(layer: Layer) -> tuple[keras.Model, list[tuple[range, int]]]:
    """The model up to `layer` and to all that is concatenated on the way, for Keras does not compare sizes.

    With the places in the list of outputs, the first one left out, of what is joined, and along which axis.
    """
    parts = layer.all_parts
    needed, found = {id(parts[layer.name].output)}, []
    ends: list[keras.KerasTensor] = []
    for part in reversed(parts.values()):
        if id(part.output) in needed:
            needed.update(map(id, part.inputs))
            if isinstance(part.layer, keras.layers.Concatenate):
                found.append((range(len(ends), len(ends) + len(part.inputs)), part.layer.axis))
                ends += part.inputs
    return keras.Model(layer.part.image, [parts[layer.name].output, *ends]), found
