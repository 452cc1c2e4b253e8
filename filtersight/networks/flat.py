"""Any Keras network as one flat list of layers.

People's networks come nested, with or without preprocessing, with one channel or twelve, with a fixed
size and a classifier at the end. `unfold` opens all that, so that the rest of the course need not know.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

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
# What is built once for a model; gone with the model.
_kept: weakref.WeakKeyDictionary[keras.Model, dict] = weakref.WeakKeyDictionary()


def once_per_model(model: keras.Model, key: tuple, build: Callable[[], Any]) -> Any:
    """What `build` gives, kept for the next time that `key` is asked of the model."""
    kept = _kept.setdefault(model, {})
    layers = tuple(map(id, model.layers))
    if kept.setdefault("layers", layers) != layers:  # one was added or taken away
        kept.clear()
    if key not in kept:
        kept[key] = build()
    return kept[key]


def is_built(model: keras.Model, key: tuple) -> bool:
    """Whether `once_per_model` has it already."""
    return key in _kept.get(model, {})


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
    return once_per_model(model, ("unfolded",), lambda: _unfold(model))


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
    inputs = [
        image if number == place else keras.Input(each.shape[1:], dtype=each.dtype)
        for number, each in enumerate(model.inputs)
    ]
    walk = Walk(image, own, layers_by_name(model))
    walk.foreign.update((id(each), each) for each in inputs if each is not image)
    answer = None
    try:
        answer = keras.tree.flatten(walk.through(model, "", inputs))[0]
    except Exception:  # a layer that minds the size may raise anything
        if own:
            raise
    last = next((name for name, part in walk.parts.items() if part.output is answer), None)
    return Network(walk.parts, walk.parts, shape, last, walk.left_out)


class Walk:
    """A way through a model, layer by layer, that notes each."""

    def __init__(
        self, image: keras.KerasTensor, own: bool, layers: dict[str, list[keras.Operation]]
    ):
        self.image, self.own = image, own  # own: the image has the size that the model was made for
        self.double = {name for name, those in layers.items() if len(those) > 1}
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
        if not self.own and minds_size(layer) and any(None in each.shape[1:] for each in given):
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
            self.parts[name] = Part(layer, self.image, given, each)

    def twin(self, layer: keras.Operation, path: str) -> tuple[keras.Operation, str]:
        """The layer, under another name where it must be, and what the course calls it."""
        called = path + layer.name if layer.name in self.double else layer.name
        name = re.sub(r"[^A-Za-z0-9_.>-]", "_", called)  # TensorFlow allows less than Keras does
        name += "" if name == called else f"_{len(self.twins)}"
        if not self.own and isinstance(layer, keras.layers.Lambda):
            # The shape that it was told holds for one size of images only.
            layer = renamed(layer, name)
            vars(layer)["_output_shape"] = None
        return (layer if name == layer.name else renamed(layer, name)), called


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
