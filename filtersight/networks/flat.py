"""Any Keras network as one flat list of layers.

People's networks come nested, with or without preprocessing, with one channel or twelve, with a fixed
size and a classifier at the end. `unfold` opens all that, so that the rest of the course need not know.
"""

from __future__ import annotations

import hashlib
import math
import re
import weakref
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from filtersight.basics.checks import shown
from filtersight.basics.defaults import check_tensorflow, keras_defaults
from filtersight.networks.settings import Settings, is_open, settings_of

# TensorFlow warns that functions are traced anew when many layers are looked at; each layer is traced once.
tf.get_logger().setLevel("ERROR")

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
# What a policy may let a network compute in, and the course does not: float16 overflows above 65,504, sums of
# its numbers and of bfloat16's are wrong by some per cent, and float64 does not go with the rest.
OTHER_FLOATS = ("bfloat16", "float16", "float64")


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
    kept: dict[tuple, Any]  # what was built of it

    def once(self, key: tuple, build: Callable[[], Any]) -> Any:
        """What `build` gives, kept for the next time that `key` is asked."""
        if key not in self.kept:
            with keras_defaults():
                self.kept[key] = build()
        return self.kept[key]


class Known(NamedTuple):
    """A model that was laid out, and the settings that it had."""

    settings: Settings
    volatile: set[tuple]  # keys of those change whenever the model is used
    network: Network


# Gone with the model.
_known: weakref.WeakKeyDictionary[keras.Model, Known] = weakref.WeakKeyDictionary()


def unfold(model: keras.Model) -> Network:
    """The model's layers in order, with models inside the model opened; weights are shared, not copied.

    All layers compute in float32, whatever the model's policy; the model itself keeps it. Sizes that the
    model fixes are set free where its layers allow it. A layer that is used again is named "relu:2";
    layers of different inner models with one name are named "inner.layer".
    The same `Network` each time, with all that is kept of it, until a layer is added, taken away or set
    otherwise (`settings_of` says what is noticed); then another, of which nothing is kept yet. The values of
    weights may change: what depends on them is kept with a fingerprint of them.
    ValueError, with the way out, for what the course cannot look into, and if TensorFlow cannot compute.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(no_model(model, "a keras.Model, as load_model gives one"))
    check_tensorflow()
    known, now = _known.get(model), settings_of(model)
    if known and not changed(known.settings, now) - known.volatile:
        return known.network
    with keras_defaults():
        network, after, volatile = _unfold(model), settings_of(model), set[tuple]()
        if changed(now, after):  # layers were built just now, or note something at each call
            network, again = _unfold(model), settings_of(model)
            after, volatile = again, changed(after, again)
    _known[model] = Known(after, volatile, network)
    return network


def changed(before: Settings, after: Settings) -> set[tuple]:
    """The keys of what differs."""
    old, new = before.values, after.values
    if old == new:
        return set()
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def no_model(model: object, wanted: str) -> str:
    """That this is no model, and what to do with one of Keras 2."""
    text = f"model is {shown(model)}; it must be {wanted}"
    if type(model).__module__.startswith(("tf_keras.", "keras.src.engine.", "keras.engine.")):
        text += '. This one is of Keras 2: save it, model.save("model.h5"), and take load_model("model.h5")'
    return text


def _unfold(model: keras.Model) -> Network:
    check_channels_last(model)
    place = image_input(model)
    shape = tuple(model.inputs[place].shape[1:])
    network = flat(model, place, shape)
    if shape[:2] == (None, None):
        return network
    # As far as the first layer that minds; what comes after it keeps the size that the model was made for.
    free = flat(model, place, (None, None, shape[-1])).parts
    parts = {name: free.get(name, part) for name, part in network.parts.items()}
    return network._replace(parts=parts)


def check_channels_last(model: keras.Model) -> None:
    """ValueError, with the way out, if a layer keeps the channels of its maps first."""
    for name, layers in layers_by_name(model).items():
        if any(getattr(each, "data_format", None) == "channels_first" for each in layers):
            raise ValueError(
                f"{model.name} keeps channels first, (n, channels, height, width), in layer {name!r}; the "
                "course, like TensorFlow without a GPU, cannot compute that. Build the network again, for images "
                '(height, width, channels), with data_format="channels_last", and axis=-1 in batch '
                "normalisations; then new.set_weights(old.get_weights()): weights are the same in both"
            )


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
    raise ValueError(
        f"{model.name} takes {' and '.join(str(shape) for shape in shapes)}; the course needs "
        f"an image (n, height, width, channels) among them{made_an_image(model, shapes)}"
    )


def made_an_image(model: keras.Model, shapes: list[tuple]) -> str:
    """The end of an error message: how a model that takes pixels in another shape is made to take images."""
    sides = shapes[0][1:]
    reads_words = any(isinstance(layer, keras.layers.Embedding) for layer in model.layers)
    if len(shapes) > 1 or reads_words or sides[-1] is None:
        return ""
    if len(sides) == 2:  # rows of pixels, without channels
        size = (*sides, 1)
        called = f"keras.layers.Reshape({sides})(image)"
        if None in sides:  # which Reshape does not take
            called = "keras.ops.squeeze(image, -1)"
    elif len(sides) == 1 and (square := square_of(sides[0])):
        size, called = square, "keras.layers.Flatten()(image)"
    elif len(sides) == 4 and None not in sides:
        depth, *plane, channels = sides
        size = (*plane, depth * channels)
        called = (
            "keras.layers.Permute((3, 1, 2, 4))"
            f"(keras.layers.Reshape(({plane[0]}, {plane[1]}, {depth}, {channels}))(image))"
        )
    else:
        return ""
    kind = "slices or frames" if len(sides) == 4 else "the pixels of an image"
    return f". If these are {kind}: image = keras.Input({size}); model = keras.Model(image, model({called}))"


def square_of(count: int) -> tuple[int, int, int] | None:
    """Height, width and channels of a square image, grey or RGB, of so many values; None if there is none."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side >= 8 and side * side * channels == count:
            return side, side, channels
    return None


def input_name(taken: Collection[str]) -> str:
    """What the image that goes in is called: "image", or what is like it and not taken."""
    name = "image"
    while name in taken:
        name += "_"
    return name


def flat(model: keras.Model, place: int, shape: tuple) -> Network:
    """Runs the model on a new image of `shape`, in the place of its inputs, and notes every layer.

    Where the image is not of the size that the model was made for, it ends at the first layer that minds.
    """
    own = shape == tuple(model.inputs[place].shape[1:])
    layers = layers_by_name(model)
    image = keras.Input(shape, name=input_name(layers), dtype="float32")
    inputs = [
        image if number == place else keras.Input(each.shape[1:], dtype=each.dtype)
        for number, each in enumerate(model.inputs)
    ]
    walk = Walk(image, own, layers)
    walk.foreign.update((id(each), each) for each in inputs if each is not image)
    answer = None
    try:
        answer = keras.tree.flatten(walk.through(model, "", inputs))[0]
    except Exception:  # a layer that minds the size may raise anything
        if own:
            raise
    last = next((name for name, part in walk.parts.items() if part.output is answer), None)
    return Network(walk.parts, walk.parts, shape, last, walk.left_out, {})


class Walk:
    """A way through a model, layer by layer, that notes each."""

    def __init__(
        self, image: keras.KerasTensor, own: bool, layers: dict[str, list[keras.Operation]]
    ):
        self.image, self.own = image, own  # own: the image has the size that the model was made for
        self.double = {name for name, those in layers.items() if len(those) > 1}
        self.taken = set(layers)
        self.twins: dict[int, tuple[keras.Operation, str]] = {}
        self.parts: dict[str, Part] = {}
        self.foreign: dict[int, Any] = {}  # tensors that another input has a part in
        self.left_out: list[str] = []

    def through(self, inner: keras.Model, path: str, inputs: Any) -> Any:
        """Calls the layers of a model one by one."""
        if isinstance(inner, keras.Sequential):
            [inputs] = keras.tree.flatten(inputs)
            for layer in inner.layers:
                inputs = self.use(layer, path, inputs)
            return inputs
        # What keras.models.clone_model does, which would also compile the copy and rename its ends.
        inputs = keras.tree.pack_sequence_as(inner.input, keras.tree.flatten(inputs))
        return inner._run_through_graph(
            inputs,
            operation_fn=lambda layer: layer,
            call_fn=lambda layer, *given, **more: self.use(layer, path, *given, **more),
        )

    def use(self, layer: keras.Operation, path: str, *arguments: Any, **keywords: Any) -> Any:
        """Calls a layer, or the layers inside it, and notes what goes in and comes out."""
        if is_open(layer) and not arguments and "inputs" in keywords:
            arguments = (keywords.pop("inputs"),)
        if is_open(layer) and len(arguments) == 1:
            return self.through(layer, f"{path}{layer.name}.", arguments[0])
        layer, called = self.twins.setdefault(id(layer), self.twin(layer, path))
        given = [each for each in keras.tree.flatten((arguments, keywords)) if is_tensor(each)]
        unknown = any(None in each.shape[1:] for each in given)
        if not self.own and unknown and minds_size(layer, given):
            raise ValueError("it must have the size that it was made for")
        output = layer(*arguments, **keywords)
        if any(id(each) in self.foreign for each in given):
            self.foreign.update((id(each), each) for each in keras.tree.flatten(output))
            self.left_out.append(called)
        elif given:
            self.note(layer, called, given, output)
        return output

    def note(self, layer: keras.Operation, called: str, given: list, output: Any) -> None:
        """Notes what a layer gives."""
        for each in filter(is_tensor, keras.tree.flatten(output)):
            if not self.own and len(each.shape) == 2 and each.shape[-1] is None:
                raise ValueError("how many values there are depends on the size of the image")
            times = 1 + sum(part.layer is layer for part in self.parts.values())
            name = called if times == 1 else f"{called}:{times}"
            while name in self.parts:  # a layer may bear the name of another one's second use
                name, times = f"{called}:{times + 1}", times + 1
            self.parts[name] = Part(layer, self.image, given, each)

    def twin(self, layer: keras.Operation, path: str) -> tuple[keras.Operation, str]:
        """The layer in float32, under another name where it must be, and what the course calls it."""
        called = path + layer.name if layer.name in self.double else layer.name
        name = re.sub(r"[^A-Za-z0-9_.>-]", "_", called)  # TensorFlow allows less than Keras does
        name += "" if name == called else f"_{len(self.twins)}"
        layer = in_float32(layer)
        while name != layer.name and name in self.taken:
            name += "_"
        self.taken.add(name)
        if not self.own and isinstance(layer, keras.layers.Lambda):
            # The shape that it was told holds for one size of images only.
            layer = renamed(layer, name)
            vars(layer)["_output_shape"] = None
        return (layer if name == layer.name else renamed(layer, name)), called


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


def minds_size(layer: keras.Operation, given: list[keras.KerasTensor]) -> bool:
    """Whether a layer takes what is of one size only, though Keras does not complain of unknown sizes."""
    channels = given[0].shape[-1]
    if channels is None and getattr(layer, "weights", None):
        return True  # as one that takes rows of pixels
    if isinstance(layer, keras.layers.Reshape):
        # It may lay out the values of one place, but not those of so many places.
        fixed = math.prod(side for side in layer.target_shape if side != -1)
        return -1 not in layer.target_shape or not channels or channels % fixed > 0
    with_places = isinstance(layer, (keras.layers.LayerNormalization, keras.layers.PReLU))
    return with_places and any(sum(side > 1 for side in w.shape) > 1 for w in layer.weights)


def digest_of(weights: list[keras.Variable]) -> str:
    """Twelve characters that change when any of the weights does."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()[:12]


def renamed(layer: keras.Operation, name: str) -> keras.Operation:
    """The layer under another name, with the same weights: in one model no two may have the same."""
    twin = object.__new__(type(layer))  # past Keras, which would make weights of its own
    vars(twin).update(vars(layer) | {"name": name, "_inbound_nodes": [], "_outbound_nodes": []})
    return twin


def in_float32(layer: keras.Operation) -> keras.Operation:
    """The layer, with the same weights, computing in float32; itself if it does so already."""
    if isinstance(layer, keras.Layer):
        every = layer._flatten_layers()
        found = any(each.compute_dtype in OTHER_FLOATS for each in every)
        return recast(layer, {}) if found else layer
    if getattr(layer, "dtype", None) in OTHER_FLOATS:  # an operation, such as Cast
        layer = renamed(layer, layer.name)
        vars(layer)["dtype"] = "float32"
    return layer


def recast(value: Any, done: dict[int, Any]) -> Any:
    """A layer, with all layers that it holds, computing in float32; anything else as it is."""
    if isinstance(value, dict):
        return {key: recast(each, done) for key, each in value.items()}
    if isinstance(value, list):
        return [recast(each, done) for each in value]
    if type(value) is tuple:
        return tuple(recast(each, done) for each in value)
    if not isinstance(value, keras.Layer) or id(value) in done:
        return done.get(id(value), value)
    if is_open(value) and value.built:  # its graph holds layers, too
        return done.setdefault(id(value), cloned(value, done))
    twin = done[id(value)] = renamed(value, value.name)
    vars(twin).update({key: recast(each, done) for key, each in vars(twin).items()})
    if value.compute_dtype in OTHER_FLOATS and value.quantization_mode is None:
        policy = keras.DTypePolicy("float32")
        # So Keras knows that the weights have to be converted where they are used.
        vars(policy)["_variable_dtype"] = value.variable_dtype
        vars(twin)["_dtype_policy"] = policy
    if isinstance(value, keras.layers.Normalization):  # keeps its numbers as it computes with them
        if value.input_mean is None:
            twin.finalize_state()
        else:
            type(twin).build(twin, value._build_input_shape)
    return twin


def cloned(model: keras.Model, done: dict[int, Any]) -> keras.Model:
    """A model that is hidden in the call() of a layer, with the same weights, computing in float32."""
    inputs = keras.tree.map_structure(
        lambda each: keras.Input(
            batch_shape=each.shape,
            dtype="float32" if each.dtype in OTHER_FLOATS else each.dtype,
            name=each.name,
        ),
        model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
    )
    again = keras.models.clone_model(model, inputs, lambda each: recast(each, done))
    again.dtype_policy = "float32"  # a Sequential converts what it is given
    return again
