"""A layer of a model: where it is cut, what it answers, which images fit, which filters it has."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterable

import keras
import numpy as np
import psutil
import tensorflow as tf
from tqdm import tqdm

from filtersight.basics.checks import MAX_SIZE, check_whole, nearest
from filtersight.networks.fields import receptive_fields
from filtersight.networks.flat import CONVOLUTIONS, Part, once_per_model, renamed, unfold

WORKING_SET = 2**28  # bytes that the maps of one batch may take: more is not faster, only larger


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a model, by name; ValueError if the model has none of that name."""

    model: keras.Model
    name: str

    def __post_init__(self) -> None:
        network = unfold(self.model)
        if isinstance(self.name, str) and self.name in network.parts:
            return
        if self.name in network.left_out:
            raise ValueError(
                f"layer {self.name!r} of {self.model.name} needs another input than the image"
            )
        names = ", ".join(conv_layers(self.model))
        raise ValueError(
            f"no layer {self.name!r:.80}{nearest(self.name, list(network.parts))} "
            + (
                f"The convolution layers of {self.model.name} are: {names}"
                if names
                else "It has none of 2-D convolution"
            )
        )

    def __str__(self) -> str:
        return f"{self.name} of {self.model.name}"

    # ------------------------------------------------------------ the network up to it

    @property
    def part(self) -> Part:
        """The layer and its place, for images of any size as far as the layers before it allow."""
        return unfold(self.model).parts[self.name]

    @property
    def all_parts(self) -> dict[str, Part]:
        """The model's layers, for the image that this one takes: of any size, or of its own."""
        network = unfold(self.model)
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
        """The layer as ascent and explanations look at it: of a classifier the values before the softmax.

        A probability can also grow because those of the others fall (Simonyan, Vedaldi and Zisserman
        2013); and a certain answer, or a sigmoid's, has no gradient left.
        """

        def build() -> Part:
            return without_squashing(self.all_parts, self.name)

        return once_per_model(self.model, ("objective", self.name), build)

    @property
    def channels(self) -> int:
        """How many channels the images have that the model takes."""
        return channels(self.model)

    @property
    def gives_maps(self) -> bool:
        """Whether it gives feature maps, (n, height, width, filters)."""
        return len(self.part.output.shape) == 4

    @property
    def has_softmax(self) -> bool:
        """Whether it gives the probabilities of classes that exclude each other."""
        return squashing(self.part) is keras.activations.softmax

    @property
    def field(self) -> float:
        """Side in pixels of what one value of its maps sees of the image; infinite: all of it."""
        return receptive_fields(self.model)[self.name]

    def fingerprint(self) -> str:
        """Twelve characters that change when any weight up to the layer does.

        ValueError for a weight that is not finite: no gradient leads past it.
        """
        digest = hashlib.sha256()
        for weight in self.network.weights:
            values = np.ascontiguousarray(weight.numpy())
            if not np.isfinite(values).all():
                raise ValueError(
                    f"{self.model.name} has weights that are not finite, in {weight.path}"
                )
            digest.update(values.tobytes())
        return digest.hexdigest()[:12]

    def check_maps(self) -> None:
        """ValueError unless it gives feature maps."""
        if not self.gives_maps:
            raise ValueError(
                f"layer {self.name!r} gives {self.part.output.shape}, not feature maps "
                f"(n, height, width, filters); the convolution layers of {self.model.name} are: "
                + ", ".join(conv_layers(self.model))
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
                f"layer {self.name!r} gives {shape}, neither maps nor classes; the convolution layers of "
                f"{self.model.name} are: " + ", ".join(conv_layers(self.model))
            )
        if isinstance(filters, (str, bytes)) or not isinstance(filters, Iterable):
            raise ValueError(
                f"filters is {filters!r}; it must be a list of filter numbers, such as [3]"
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
                f"{images.shape}; image[None] makes a list of one image"
            )
        self.check_size(*images.shape[1:3])
        count = self.images_at_once(max(images.shape[1:3]), "float32")
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
        measured, found = once_per_model(
            self.model, ("concatenations", self.name), lambda: concatenations(self)
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

    def usual_size(self) -> int:
        """128 pixels, or the size that the layer is made for if it takes no images of 128."""
        own = self.part.image.shape[1:3]
        made_for = unfold(self.model).shape[0] if None in own else own[0]
        return made_for if made_for and not self.fits(128) else 128

    def images_at_once(self, size: int, precision: str) -> int:
        """How many images of `size` pixels are worked on together, 1 to 64, by the memory that they take.

        ValueError if one alone takes more memory than is free.
        """

        def count() -> int:
            parts = self.all_parts
            names = list(parts)[: list(parts).index(self.name) + 1]
            every = keras.Model(self.part.image, [parts[name].output for name in names])
            shapes = every.compute_output_shape((1, size, size, self.channels))
            return sum(math.prod(shape) for shape in shapes)

        # Each value is kept for the way back, where it has a gradient and a product of both.
        values = once_per_model(self.model, ("values", self.name, size), count)
        need = 3 * values * (2 if precision == "bfloat16" else 4)
        free = psutil.virtual_memory().available
        if need > free:
            raise ValueError(
                f"one image of {size} pixels needs {need / 1e9:.1f} GB up to {self.name}; "
                f"{free / 1e9:.1f} GB are free"
            )
        return max(1, min(64, WORKING_SET // need))

    def multiplications(self, size: int) -> int:
        """How many multiplications it takes to compute it for one image of `size` pixels.

        Of convolutions and dense layers; the rest is little beside them.
        """
        needed, some = {id(self.all_parts[self.name].output)}, []
        for part in reversed(self.all_parts.values()):
            if id(part.output) in needed:
                needed.update(map(id, part.inputs))
                some.append(part)
        every = keras.Model(self.part.image, [part.output for part in some])
        shapes = every.compute_output_shape((1, size, size, self.channels))
        result = 0
        for part, shape in zip(some, shapes, strict=True):
            weights = getattr(part.layer, "weights", [])  # an operation has none
            kernels = [weight for weight in weights if len(weight.shape) > 1]
            result += sum(math.prod(each.shape) for each in kernels) * math.prod(shape[1:-1])
        return result


# ---------------------------------------------------------------- by model and name, for the notebooks


def conv_layers(model: keras.Model) -> list[str]:
    """Names of the model's 2-D convolution layers, from input to output."""
    parts = unfold(model).parts
    return [name for name, part in parts.items() if isinstance(part.layer, CONVOLUTIONS)]


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


def squashing(part: Part) -> Callable | None:
    """The softmax or sigmoid that a layer ends with, if it does."""
    kind = type(part.layer)
    if kind.__module__.startswith("keras.") and kind.__name__ in ("Softmax", "Sigmoid"):
        return getattr(keras.activations, kind.__name__.lower())
    own = getattr(part.layer, "activation", None)
    return own if own in (keras.activations.softmax, keras.activations.sigmoid) else None


def without_squashing(parts: dict[str, Part], layer: str) -> Part:
    """The part, or if it ends with a softmax or sigmoid, what goes into that."""
    part = parts[layer]
    if squashing(part) is None:
        return part
    if isinstance(part.layer, keras.layers.Activation) or not hasattr(part.layer, "activation"):
        return next(each for each in parts.values() if each.output is part.inputs[0])
    linear = renamed(part.layer, part.layer.name)
    vars(linear)["activation"] = keras.activations.linear
    return part._replace(layer=linear, output=linear(part.inputs[0]))


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
