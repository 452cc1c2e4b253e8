"""How much of the image a layer sees: receptive fields."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np

from filtersight.networks.flat import CONVOLUTIONS, Network, Part, digest_of

POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
# Layers and operations by which a value depends on its own place only.
POINTWISE = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Cropping2D,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LayerNormalization,
    keras.layers.LeakyReLU,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Normalization,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.SpatialDropout2D,
    keras.layers.Subtract,
    keras.layers.ZeroPadding2D,
)
ARITHMETIC = set(
    "Add Subtract Multiply Divide TrueDivide Negative Maximum Minimum Clip Cast".split()
)
ARITHMETIC |= set(
    "LayerScale Relu Relu6 Sigmoid HardSigmoid Silu HardSilu Gelu Tanh Exp Sqrt Square".split()
)
ARITHMETIC |= {  # these do nothing but in training
    f"Random{what}"
    for what in "Brightness ColorDegeneration ColorJitter Contrast ElasticTransform Erasing Flip "
    "GaussianBlur Grayscale Hue Invert Perspective Posterization Rotation Saturation Sharpness Shear "
    "Translation Zoom".split()
}

PLACES = 36  # side of the maps that a layer is tried on: a number that many others divide


class Sight(NamedTuple):
    """What one value of a map depends on, in pixels, each (vertical, horizontal)."""

    field: np.ndarray  # but for what `span` adds
    span: np.ndarray  # what it reaches over beside that, of which whole steps of `grid` count
    grid: np.ndarray  # distance of neighbours before the map was enlarged; 1 where it was not
    distance: np.ndarray  # of neighbours
    middle: np.ndarray  # of what the map's first value depends on, as if there were no border

    def side(self) -> np.ndarray:
        return self.field + self.grid * np.floor(self.span / self.grid + 1e-6)


class Step(NamedTuple):
    """What a layer does to what is seen, in places of its input, each (vertical, horizontal)."""

    reach: np.ndarray  # how much further than one place its window reaches
    stride: np.ndarray  # from one output to the next; 1/2 where it makes maps twice as large
    shift: np.ndarray  # of the window's middle, for the first output


PIXEL = Sight(np.ones(2), np.zeros(2), np.ones(2), np.ones(2), np.zeros(2))
EVERYWHERE = Step(np.full(2, math.inf), np.ones(2), np.zeros(2))


def receptive_fields(network: Network) -> dict[str, float]:
    """Side in pixels of the square of the image that one value of a layer's maps depends on, by layer.

    Each layer adds (kernel - 1) times the distance, in pixels, between its neighbouring inputs; a
    stride multiplies that distance; where paths meet, all of them count (Araujo, Norris and Sim 2019).
    What a layer that the course does not know does is measured. Infinite where a value depends on the
    whole image, as behind a global pooling, or might, as behind a layer that cannot be measured.
    """
    key = ("fields", digest_of(measured_weights(network)))
    return network.once(key, lambda: _receptive_fields(network))


def measured_weights(network: Network) -> list[keras.Variable]:
    """The weights of the layers that are measured: with others, as when a gate opens, they may see more."""

    def found() -> list[keras.Variable]:
        unknown = [part.layer for part in network.own.values() if known_step(part) is None]
        return [weight for layer in unknown for weight in getattr(layer, "weights", [])]

    return network.once(("measured weights",), found)


def _receptive_fields(network: Network) -> dict[str, float]:
    known: dict[int, Sight] = {}  # by tensor
    result = {}
    for name, part in network.own.items():  # one graph throughout
        seen, step = [], known_step(part)
        for number, each in enumerate(distinct(part)):
            sight = known.get(id(each), PIXEL)
            if np.isfinite(sight.side()).all():  # else nothing can make it worse
                sight = stepped(sight, step or measured_step([network.parts[name], part], number))
            seen.append(sight)
        known[id(part.output)] = joined(seen)
        side = float(known[id(part.output)].side().max())
        result[name] = int(side) if math.isfinite(side) else side
    return result


def stepped(sight: Sight, step: Step) -> Sight:
    """What a value depends on after one layer more."""
    field, span, grid, distance, middle = sight
    first = (step.stride < 1) & (grid <= distance)  # it is enlarged, and was not before
    return Sight(
        np.where(first, sight.side(), field),
        np.where(first, 0, span) + step.reach * distance,
        np.where(first, distance, grid),
        distance * step.stride,
        middle + step.shift * distance,
    )


def joined(sights: list[Sight]) -> Sight:
    """What a value depends on that is made of several: the longest, and what others see beside it."""
    sides = np.array([each.side() for each in sights])
    longest = np.argmax(sides, axis=0)
    result = Sight(*(np.choose(longest, each) for each in zip(*sights, strict=True)))
    if not np.isfinite(sides).all():
        return result._replace(field=np.full(2, math.inf))
    middles = np.array([each.middle for each in sights])
    low, high = (middles - sides / 2).min(axis=0), (middles + sides / 2).max(axis=0)
    beside = np.floor(high - low - result.side() + 1e-6)
    return result._replace(field=result.field + beside, middle=(low + high) / 2)


def known_step(part: Part) -> Step | None:
    """What the layer does by its kind and settings; None if the course does not know it."""
    layer = part.layer
    if isinstance(layer, keras.layers.UpSampling2D):
        stride = 1 / np.array(layer.size)
        window = {"nearest": 1, "bilinear": 2}.get(layer.interpolation, 10)
        return Step(window - stride, stride, (stride - 1) / 2)
    if isinstance(layer, (*CONVOLUTIONS, *POOLINGS)):
        return window_step(part)
    if not is_pointwise(part):
        return None
    shift = np.zeros(2)
    if isinstance(layer, keras.layers.ZeroPadding2D):
        shift = -np.array(layer.padding)[:, 0]
    if isinstance(layer, keras.layers.Cropping2D):
        shift = np.array(layer.cropping)[:, 0]
    return Step(np.zeros(2), np.ones(2), shift)


def is_pointwise(part: Part) -> bool:
    """Whether the layer is known to look at each place of its maps alone."""
    layer = part.layer
    own = type(layer).__module__.startswith("keras.") and type(layer).__name__ in ARITHMETIC
    within = {1, 2, -2, -3}.isdisjoint(keras.tree.flatten(getattr(layer, "axis", -1)))
    maps = all(len(each.shape) == 4 for each in (*part.inputs, part.output))
    return (type(layer) in POINTWISE or own) and within and maps


def window_step(part: Part) -> Step:
    """What a convolution or pooling does."""
    layer = part.layer
    kernel = getattr(layer, "pool_size", None) or layer.kernel_size
    reach = (np.array(kernel) - 1) * getattr(layer, "dilation_rate", 1)
    strides = np.broadcast_to(layer.strides, 2)
    larger = isinstance(layer, keras.layers.Conv2DTranspose)
    # Where strides do not fit the map, TensorFlow makes it larger; an unknown size is taken to fit.
    size = np.array([0 if larger else side or 0 for side in part.inputs[0].shape[1:3]])
    both_ends = np.maximum(reach + 1 - strides + np.mod(-size, strides), 0)
    padding = both_ends // 2 * (layer.padding == "same")
    if larger:
        return Step(reach / strides, 1 / strides, (padding - reach / 2) / strides)
    return Step(reach, strides, reach / 2 - padding)


def measured_step(parts: list[Part], number: int) -> Step:
    """What a layer does with its input of that number, found by trying, on maps of any size if it allows.

    `parts`: the layer as it is used for images of any size, and of the model's own.
    """
    for part in parts:
        try:
            seen = [dependence(part, number, axis) for axis in (1, 2)]
        except Exception:  # a layer may raise anything on maps of another size
            continue
        found = [step for each in seen if (step := regular(*each))]
        if len(found) == 2:
            return Step(*np.transpose(found))
    return EVERYWHERE


def distinct(part: Part) -> list[keras.KerasTensor]:
    """What goes into the layer, once each."""
    return list({id(each): each for each in part.inputs}.values())


def dependence(part: Part, number: int, axis: int) -> tuple[np.ndarray, int]:
    """Which rows (axis 1) or columns (2) of an input change which of the output, as (inputs, outputs).

    And how many the input has; of many, those in the middle are tried. Each in turn is given other
    values, as gradients miss what is rounded, compared, or not the largest. Maps are (n, height, width)
    with any axes behind; ValueError if there are none, or if their sizes have nothing to do with each other.
    """
    inputs = distinct(part)
    sides = [each.shape[1:3][axis - 1] for each in (inputs[number], part.output)]
    if min(len(part.output.shape), len(inputs[number].shape)) < 3 or sides.count(None) == 1:
        raise ValueError(f"there are no such maps: {inputs[number].shape}, {part.output.shape}")
    alone, random = keras.Model(inputs, part.output), np.random.default_rng(0)
    given = [trials(random, each.shape[1:]) for each in inputs]
    before = computed(alone, given)
    lines = np.moveaxis(given[number], axis, 1)  # a view
    some = tried(lines.shape[1])
    result = np.zeros((len(some), before.shape[axis]), bool)
    for row in np.roll(range(len(some)), -len(some) // 2):  # from the middle, which tells most
        kept = lines[:, some[row]].copy()
        lines[:, some[row]] = trials(random, kept.shape[1:], further=3)
        result[row] = differ(before, computed(alone, given), axis)
        lines[:, some[row]] = kept
        if result[row].all():
            return np.ones_like(result), lines.shape[1]
    return result, lines.shape[1]


def trials(random: np.random.Generator, shape: tuple, further: float = 0) -> np.ndarray:
    """Four arrays of values, two about 0 and two as in images; `further` ranges above that, or below."""
    parts = random.random((*(side or PLACES for side in shape), 4), np.float32)
    values = (parts + further * np.array([1, -1, 1, -1])) * [2, 2, 255, 255] + [-1, -1, 0, 0]
    return np.ascontiguousarray(np.moveaxis(values, -1, 0), np.float32)


def computed(model: keras.Model, given: list[np.ndarray]) -> np.ndarray:
    """What the model gives; 0 where that is no number."""
    values = np.asarray(model(given, training=False)).astype(np.float32)
    return np.nan_to_num(values, nan=0, posinf=0, neginf=0)


def differ(before: np.ndarray, after: np.ndarray, axis: int) -> np.ndarray:
    """Where along an axis there are values that differ by more than rounding, in any of the arrays."""
    within = tuple(range(1, before.ndim))
    largest = np.maximum(np.abs(before), np.abs(after)).max(axis=within, keepdims=True)
    others = tuple(each for each in range(before.ndim) if each != axis)
    return (np.abs(after - before) > 1e-6 * largest).any(axis=others)


def tried(size: int) -> np.ndarray:
    """The places along a side of a map that are tried."""
    count = min(size, PLACES)
    return np.arange(count) + (size - count) // 2


def regular(seen: np.ndarray, size: int) -> tuple[float, float, float] | None:
    """Reach, stride and shift of the window along a side of `size` places; None if there is none."""
    outputs = seen.shape[1]
    place = np.flatnonzero(seen.any(axis=0))
    if not {outputs // 2, (outputs - 1) // 2} <= set(place):  # the middle is made of something else
        return None
    low = seen.argmax(axis=0)[place]
    high = len(seen) - 1 - seen[::-1].argmax(axis=0)[place]
    # Near the ends a window may be cut off, or see what a border is made of.
    inside = (low > 0) & (high < len(seen) - 1) & (abs(2 * place + 1 - outputs) <= outputs / 2)
    strides = [size / outputs] if outputs % size == 0 else []
    for chosen in (np.full(len(place), True), inside):
        if chosen.sum() < 2:
            continue
        at, first, last = place[chosen], tried(size)[low[chosen]], tried(size)[high[chosen]]
        for stride in (round((first[-1] - first[0]) / (at[-1] - at[0])), *strides):
            begins, ends = first - stride * at, last - stride * at
            if stride > 0 and max(np.ptp(begins), np.ptp(ends)) < 1:
                reach = (last - first).max() + 1 - min(stride, 1)
                return reach, stride, (begins + ends).mean() / 2
    return None
