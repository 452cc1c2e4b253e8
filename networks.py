"""Any Keras network as one flat list of layers, and what can be said about it.

People's networks come nested, with or without preprocessing, with one channel or twelve, with a fixed
size and a classifier at the end. `unfold` opens all that, so that the rest of the course need not know.
"""

from __future__ import annotations

import dataclasses
import math
import re
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import keras
import numpy as np

import patterns
from patterns import nearest, whole
from pictures import in_channels

CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)

ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)

# What is built once for a model; gone with the model.
_prepared: weakref.WeakKeyDictionary[keras.Model, dict] = weakref.WeakKeyDictionary()


def prepared(model: keras.Model, key: tuple, build: Callable[[], Any]) -> Any:
    """What `build` gives, kept for the next time that `key` is asked of the model."""
    kept = _prepared.setdefault(model, {})
    layers = tuple(map(id, model.layers))
    if kept.setdefault("layers", layers) != layers:  # one was added or taken away
        kept.clear()
    if key not in kept:
        kept[key] = build()
    return kept[key]


# ---------------------------------------------------------------- unfold


class Part(NamedTuple):
    """One use of a layer in a network."""

    layer: keras.Operation
    image: keras.KerasTensor  # the input that it hangs on, (None, height, width, channels)
    inputs: list[keras.KerasTensor]
    output: keras.KerasTensor


class Network(NamedTuple):
    """A model laid out flat: the layers that the image alone decides about."""

    own: dict[str, Part]  # by name, from input to output, for images of the model's own size
    parts: dict[str, Part]  # the same, for images of any size as far as the layers allow
    shape: tuple[int | None, int | None, int]  # of the images that the model was made for
    last: str | None  # what gives the model's (first) answer, if the image alone decides it
    left_out: list[str]  # layers that need another input than the image, too


def unfold(model: keras.Model) -> Network:
    """The model's layers in order, with models inside the model opened; layers are shared, not copied.

    Sizes that the model fixes are set free where its layers allow it. A layer that is used again is
    named "relu:2"; layers of different inner models with one name are named "inner.layer".
    ValueError, with the way out, for what the course cannot look into.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"model is {model!r}; it must be a keras.Model, as load_model gives one")
    return prepared(model, ("unfolded",), lambda: _unfold(model))


def _unfold(model: keras.Model) -> Network:
    place = image_input(model)
    shape = tuple(model.inputs[place].shape[1:])
    network = flat(model, place, shape)
    for name, part in network.parts.items():
        if getattr(part.layer, "data_format", None) == "channels_first":
            raise ValueError(
                f"{model.name} keeps channels first, (n, channels, height, width), in layer {name!r}; the "
                "course, like TensorFlow without a GPU, needs them last. Build the model with "
                'data_format="channels_last" and set_weights(): kernels are the same in both'
            )
    if None in shape:
        return network
    # As far as the first layer that minds; what comes after it keeps the size that the model was made for.
    free = flat(model, place, (None, None, shape[-1])).parts
    parts = {name: free.get(name, part) for name, part in network.parts.items()}
    return network._replace(parts=parts)


def image_input(model: keras.Model) -> int:
    """Which of the model's inputs is the image, the first one; ValueError, with the way out, if none can be."""
    try:
        shapes = [each.shape for each in model.inputs]
    except (AttributeError, TypeError, ValueError):  # not built, or never will be
        if isinstance(model, keras.Sequential):
            raise ValueError(
                f"{model.name} does not know the shape of its images yet: "
                "call model.build((None, height, width, channels)) first"
            ) from None
        raise ValueError(
            f"{model.name} is a {type(model).__name__}, whose layers are hidden in its call(). Lay them open: "
            "image = keras.Input((height, width, channels)); model = keras.Model(image, model.call(image))"
        ) from None
    places = [place for place, shape in enumerate(shapes) if len(shape) == 4 and shape[-1]]
    if places:
        return places[0]
    if len(shapes) == 1 and len(shapes[0]) == 3:
        height, width = shapes[0][1:]
        raise ValueError(
            f"{model.name} takes images without channels, {shapes[0]}; give them one: "
            f"image = keras.Input(({height}, {width}, 1)); "
            f"model = keras.Model(image, model(keras.layers.Reshape(({height}, {width}))(image)))"
        )
    raise ValueError(
        f"{model.name} takes {' and '.join(str(shape) for shape in shapes)}; the course needs "
        "an image (n, height, width, channels) among them"
    )


def flat(model: keras.Model, place: int, shape: tuple) -> Network:
    """Runs the model on a new image of `shape`, in the place of its inputs, and notes every layer.

    Where the image is not of the size that the model was made for, it ends at the first layer that minds.
    """
    own = shape == tuple(model.inputs[place].shape[1:])
    image = keras.Input(shape, name="image")
    double = {name for name, layers in layers_by_name(model).items() if len(layers) > 1}
    twins: dict[int, tuple[keras.Operation, str]] = {}
    parts: dict[str, Part] = {}
    foreign: dict[int, Any] = {}  # tensors that another input has a part in
    left_out: list[str] = []

    def use(layer: keras.Operation, path: str, *arguments: Any, **keywords: Any) -> Any:
        """Calls a layer, or the layers inside it, and notes what goes in and comes out."""
        if is_open(layer) and not arguments and "inputs" in keywords:
            arguments = (keywords.pop("inputs"),)
        if is_open(layer) and len(arguments) == 1:
            return run(layer, f"{path}{layer.name}.", arguments[0])
        layer, called = twins.setdefault(id(layer), twin(layer, path))
        given = [each for each in keras.tree.flatten((arguments, keywords)) if is_tensor(each)]
        if not own and minds_size(layer) and any(None in each.shape[1:] for each in given):
            raise ValueError("it must have the size that it was made for")
        output = layer(*arguments, **keywords)
        if any(id(each) in foreign for each in given):
            foreign.update((id(each), each) for each in keras.tree.flatten(output))
            left_out.append(called)
            return output
        for each in keras.tree.flatten(output) if given else []:
            if not is_tensor(each):
                continue
            if not own and len(each.shape) == 2 and each.shape[-1] is None:
                raise ValueError("how many values there are depends on the size of the image")
            times = 1 + sum(part.layer is layer for part in parts.values())
            parts[called if times == 1 else f"{called}:{times}"] = Part(layer, image, given, each)
        return output

    def twin(layer: keras.Operation, path: str) -> tuple[keras.Operation, str]:
        """The layer, under another name where it must be, and what the course calls it."""
        called = path + layer.name if layer.name in double else layer.name
        name = re.sub(r"[^A-Za-z0-9_.>-]", "_", called)  # TensorFlow allows less than Keras does
        name += "" if name == called else f"_{len(twins)}"
        if not own and isinstance(layer, keras.layers.Lambda):
            # The shape that it was told holds for one size of images only.
            layer = renamed(layer, name)
            vars(layer)["_output_shape"] = None
        return (layer if name == layer.name else renamed(layer, name)), called

    def run(inner: keras.Model, path: str, inputs: Any) -> Any:
        """Calls the layers of a model one by one."""
        if isinstance(inner, keras.Sequential):
            [inputs] = keras.tree.flatten(inputs)
            for layer in inner.layers:
                inputs = use(layer, path, inputs)
            return inputs
        # What keras.models.clone_model does, which would also compile the copy and rename its ends.
        inputs = keras.tree.pack_sequence_as(inner.input, keras.tree.flatten(inputs))
        return inner._run_through_graph(
            inputs,
            operation_fn=lambda layer: layer,
            call_fn=lambda layer, *given, **more: use(layer, path, *given, **more),
        )

    inputs = [
        image if number == place else keras.Input(each.shape[1:], dtype=each.dtype)
        for number, each in enumerate(model.inputs)
    ]
    foreign.update((id(each), each) for each in inputs if each is not image)
    answer = None
    try:
        answer = keras.tree.flatten(run(model, "", inputs))[0]
    except Exception:  # a layer that minds the size may raise anything
        if own:
            raise
    last = next((name for name, part in parts.items() if part.output is answer), None)
    return Network(parts, parts, shape, last, left_out)


def is_open(layer: object) -> bool:
    """Whether it is a model whose layers can be seen."""
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def is_tensor(value: object) -> bool:
    return isinstance(value, keras.KerasTensor)


def layers_by_name(model: keras.Model) -> dict[str, list[keras.Operation]]:
    """All layers of the model and of the models in it, by their own names."""
    found: dict[str, list[keras.Operation]] = {}
    for layer in getattr(model, "operations", None) or model.layers:
        if is_open(layer):
            for name, inner in layers_by_name(layer).items():
                found.setdefault(name, []).extend(inner)
        elif not isinstance(layer, keras.layers.InputLayer):
            found.setdefault(layer.name, []).append(layer)
    return {
        name: list({id(each): each for each in layers}.values()) for name, layers in found.items()
    }


def minds_size(layer: keras.Operation) -> bool:
    """Whether a layer takes what is of one size only, though Keras does not complain of unknown sizes."""
    if isinstance(layer, keras.layers.Reshape):
        return -1 not in layer.target_shape
    with_places = isinstance(layer, (keras.layers.LayerNormalization, keras.layers.PReLU))
    return with_places and any(sum(side > 1 for side in w.shape) > 1 for w in layer.weights)


def renamed(layer: keras.Operation, name: str) -> keras.Operation:
    """The layer under another name, with the same weights: in one model no two may have the same."""
    twin = object.__new__(type(layer))  # past Keras, which would make weights of its own
    vars(twin).update(vars(layer) | {"name": name, "_inbound_nodes": [], "_outbound_nodes": []})
    return twin


# ---------------------------------------------------------------- cut


def cut(model: keras.Model, layer: str) -> keras.Model:
    """The model up to `layer`: images (n, height, width, channels) in, what the layer gives out.

    ValueError if there is no such layer.
    """
    parts = unfold(model).parts
    if not isinstance(layer, str) or layer not in parts:
        others = unfold(model).left_out
        if layer in others:
            raise ValueError(f"layer {layer!r} of {model.name} needs another input than the image")
        names = ", ".join(conv_layers(model))
        raise ValueError(
            f"no layer {layer!r:.80}{nearest(layer, list(parts))} "
            + (
                f"The convolution layers of {model.name} are: {names}"
                if names
                else "It has none of 2-D convolution"
            )
        )
    name = f"{model.name}_to_{layer}"
    name = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_")  # TensorFlow allows less than Keras does
    return keras.Model(parts[layer].image, parts[layer].output, name=name)


def beside(model: keras.Model, layer: str) -> dict[str, Part]:
    """The model's layers, for the image that `layer` takes: of any size, or of that which it is made for."""
    network = unfold(model)
    free = next(iter(network.parts.values())).image is network.parts[layer].image
    return network.parts if free else network.own


def joins(model: keras.Model, layer: str) -> tuple[keras.Model, list[tuple[range, int]]]:
    """The model up to `layer` and to all that is concatenated on the way, for Keras does not compare sizes.

    With the places in the list of outputs, the first one left out, of what is joined, and along which axis.
    """
    parts = beside(model, layer)
    needed, found = {id(parts[layer].output)}, []
    ends: list[keras.KerasTensor] = []
    for part in reversed(parts.values()):
        if id(part.output) in needed:
            needed.update(map(id, part.inputs))
            if isinstance(part.layer, keras.layers.Concatenate):
                found.append((range(len(ends), len(ends) + len(part.inputs)), part.layer.axis))
                ends += part.inputs
    return keras.Model(parts[layer].image, [parts[layer].output, *ends]), found


def conv_layers(model: keras.Model) -> list[str]:
    """Names of the model's 2-D convolution layers, from input to output."""
    parts = unfold(model).parts
    return [name for name, part in parts.items() if isinstance(part.layer, CONVOLUTIONS)]


def submodel(model: keras.Model, layer: str) -> keras.Model:
    """The model cut after `layer`: images (n, height, width, channels) in, feature maps (n, h, w, filters) out.

    The layers are shared with `model`, not copied. ValueError if there is no such layer or if its
    output is not a set of feature maps.
    """
    result = cut(model, layer)
    if not gives_maps(model, layer):
        raise ValueError(
            f"layer {layer!r} gives {result.output.shape}, not feature maps (n, height, width, filters); "
            f"the convolution layers of {model.name} are: " + ", ".join(conv_layers(model))
        )
    return result


def gives_maps(model: keras.Model, layer: str) -> bool:
    """Whether a layer gives feature maps, (n, height, width, filters)."""
    return len(unfold(model).parts[layer].output.shape) == 4


def squashing(part: Part) -> Callable | None:
    """The softmax or sigmoid that a layer ends with, if it does."""
    kind = type(part.layer)
    if kind.__module__.startswith("keras.") and kind.__name__ in ("Softmax", "Sigmoid"):
        return getattr(keras.activations, kind.__name__.lower())
    own = getattr(part.layer, "activation", None)
    return own if own in (keras.activations.softmax, keras.activations.sigmoid) else None


def has_softmax(model: keras.Model, layer: str) -> bool:
    """Whether a layer gives the probabilities of classes that exclude each other."""
    part = unfold(model).parts[layer]
    return squashing(part) is keras.activations.softmax


def objective(model: keras.Model, layer: str) -> Part:
    """The layer as ascent and explanations look at it: of a classifier the values before the softmax.

    A probability can also grow because those of the others fall (Simonyan, Vedaldi and Zisserman 2013);
    and a certain answer, or a sigmoid's, has no gradient left. ValueError if there is no such layer.
    """
    cut(model, layer)  # complains

    def build() -> Part:
        return without_squashing(beside(model, layer), layer)

    return prepared(model, ("objective", layer), build)


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


def multiplications(model: keras.Model, layer: str, size: int) -> int:
    """How many multiplications it takes to compute `layer` for one image of `size` pixels.

    Of convolutions and dense layers; the rest is little beside them.
    """
    parts = beside(model, layer)
    needed, some = {id(parts[layer].output)}, []
    for part in reversed(parts.values()):
        if id(part.output) in needed:
            needed.update(map(id, part.inputs))
            some.append(part)
    every = keras.Model(parts[layer].image, [part.output for part in some])
    shapes = every.compute_output_shape((1, size, size, channels(model)))
    result = 0
    for part, shape in zip(some, shapes, strict=True):
        weights = getattr(part.layer, "weights", [])  # an operation has none
        kernels = [weight for weight in weights if len(weight.shape) > 1]
        result += sum(math.prod(each.shape) for each in kernels) * math.prod(shape[1:-1])
    return result


def channels(model: keras.Model) -> int:
    """How many channels the images have that the model takes."""
    return unfold(model).shape[-1]


# ---------------------------------------------------------------- receptive field

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


def receptive_field(model: keras.Model, layer: str) -> float:
    """Side in pixels of the square of the image that one value of the layer's maps depends on.

    Each layer adds (kernel - 1) times the distance, in pixels, between its neighbouring inputs; a
    stride multiplies that distance; where paths meet, all of them count (Araujo, Norris and Sim 2019).
    What a layer that the course does not know does is measured. Infinite where a value depends on the
    whole image, as behind a global pooling, or might, as behind a layer that cannot be measured.
    ValueError if there is no such layer.
    """
    cut(model, layer)  # complains
    return prepared(model, ("fields",), lambda: receptive_fields(model))[layer]


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


def receptive_fields(model: keras.Model) -> dict[str, float]:
    """The receptive field of every layer, by name."""
    known: dict[int, Sight] = {}  # by tensor
    result = {}
    network = unfold(model)
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


# ---------------------------------------------------------------- describe

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
    activation: str  # which layer holds its activation function: "itself", one behind it, or "none"


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
    size = size or made_for or 128
    size = whole("size", size, 1, 4096)
    names = conv_layers(model)
    doubts = []
    if not names:
        doubts.append("it has no 2-D convolution layer: there are no filters to look at")
    fields = prepared(model, ("fields",), lambda: receptive_fields(model))
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
    fitting = fitting_ranges(model)
    if fitting and "0 to 255" not in fitting:
        doubts.append(
            "its first batch normalisation was trained on images of another range than 0 to 255; it may be "
            f"{' or '.join(fitting)}. Say which, as load_model(model, preprocess={RANGES[fitting[0]][0]})"
        )
    elif inside is None and not fitting:
        doubts.append(
            "it does no preprocessing, and nothing in it tells what images it was trained on; taken: 0 to 255. "
            f"Otherwise say so, as load_model(model, preprocess=(0, 1)){known_preprocessing(model)}"
        )
    closed = [name for name, part in network.parts.items() if isinstance(part.layer, keras.Model)]
    for name in closed:
        doubts.append(
            f"the layers of {name!r} are hidden in its call(); to lay them open, build the model with "
            f"{name}.call(x) in the place of {name}(x)"
        )
    if network.left_out:
        doubts.append(
            f"only its input {model.inputs[image_input(model)].name!r} is looked at; left out, as they need "
            "another, too: " + ", ".join(network.left_out)
        )
    answer = "not decided by the image alone"
    if network.last is not None:
        answer = answer_text(network, network.last)
    free = all(network.parts[name].image.shape[1] is None for name in names)
    text = inside or "none, images go in as they are"
    return Description(model.name, network.shape, free, size, text, found, answer, doubts)


def map_size(model: keras.Model, layer: str, size: int) -> tuple[int, int] | None:
    """Height and width of the layer's map for images of `size` pixels; None if they are too small."""
    try:
        height, width = cut(model, layer).compute_output_shape((1, size, size, channels(model)))[
            1:3
        ]
    except ValueError:  # Keras refuses shapes that would become negative
        return None
    return (height, width) if min(height, width) >= 1 else None


def activation_layer(network: Network, layer: str) -> str:
    """The layer that holds the activation function of a convolution: itself, one behind it, or "none"."""
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
            return "none"
        [(name, part)] = takers
        if isinstance(part.layer, ACTIVATIONS):
            return name
        if not isinstance(part.layer, (keras.layers.BatchNormalization, keras.layers.Dropout)):
            return "none"
        output = part.output


def answer_text(network: Network, last: str) -> str:
    """What the model gives out in the end, in words."""
    part = network.parts[last]
    shape = (
        "("
        + ", ".join("any" if each is None else str(each) for each in part.output.shape[1:])
        + ")"
    )
    own = squashing(part) or getattr(part.layer, "activation", None)
    activation = getattr(own, "__name__", "linear")
    if len(part.output.shape) != 2:
        return f"maps {shape}, without a classifier"
    values = "value" if shape == "(1)" else "values"
    return f"{shape[1:-1]} {values}, {activation}, from layer {last!r}"


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
    side = first.image.shape[1:3] if first.image.shape[1] else (64, 64)
    depth = first.image.shape[-1]
    colours = np.array([[0.0] * depth, [255.0] * depth, [255.0] + [0.0] * (depth - 1)], np.float32)
    images = np.broadcast_to(colours[:, None, None], (3, *side, depth))
    results = np.asarray(before(images, training=False), np.float32)
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
    drawings, _ = patterns.images(96, seed=5, size=64)
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
