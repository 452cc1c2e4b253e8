"""What is climbed: a layer cut free of its network, for the wanted filters, in a fast precision."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from filtersight.networks.flat import ACTIVATIONS, renamed
from filtersight.networks.layers import Layer

# Operations whose gradient is finite where their values are; those of a root, a quotient, a logarithm may not be.
SMOOTH = set(
    "Add Cast Clip Concatenate GetItem Max Maximum Mean Minimum Multiply Negative Pad Relu Relu6 Reshape "
    "Sigmoid Stack Subtract Sum Tanh Transpose".split()
)
PRECISIONS = ("float32", "bfloat16", "float16")
CPUINFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    """What Linux says that the processor can do; nothing on other systems."""
    try:
        found = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


@functools.cache
def fast_precision() -> str:
    """The precision that suits this machine, by what its processor or graphics card has.

    bfloat16 is fast on processors with AMX or AVX-512 BF16, and on NVIDIA's cards from compute capability
    8.0; those from 7.0 have float16 only. No stop-watch decides, so that a seed gives the same picture in
    each process. The environment variable COURSE_PRECISION overrides it; ValueError if that names none.
    """
    given = os.environ.get("COURSE_PRECISION")
    if given:
        if given not in PRECISIONS:
            raise ValueError(
                f"COURSE_PRECISION must be one of {', '.join(PRECISIONS)}, not {given!r}"
            )
        return given
    cards = tf.config.list_physical_devices("GPU")
    if cards:
        details = tf.config.experimental.get_device_details(cards[0])
        able = details.get("compute_capability", (0, 0))
        return "bfloat16" if able >= (8, 0) else "float16" if able >= (7, 0) else "float32"
    fast = {"amx_bf16", "avx512_bf16"} & processor_flags()
    # The convolutions that use it are those of oneDNN.
    return "bfloat16" if fast and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0" else "float32"


def leaky(activation: Callable, slope: float = 0.1) -> Callable:
    """The activation function, unchanged forward, whose derivative is nowhere below `slope`.

    Where a ReLU is silent the gradient still gets through, so that an image can leave a place from
    which no gradient leads away.
    """

    @tf.custom_gradient
    def forward(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = activation(x)
        derivative = finite(tape.gradient(y, x, unconnected_gradients="zero"))
        return y, lambda dy: dy * tf.maximum(derivative, tf.cast(slope, dy.dtype))

    return forward


def is_quantised(layer: keras.Layer) -> bool:
    """Whether `keras.Model.quantize` has changed the layer."""
    return getattr(layer, "quantization_mode", None) is not None


def finite(values):
    """The values, 0 in the place of those that are infinite or not a number."""
    return tf.where(tf.math.is_finite(values), values, tf.zeros_like(values))


@tf.custom_gradient
def finite_gradient(x):
    """`x` as it is; of the gradient on the way back, what is finite."""
    return tf.identity(x), finite


class FiniteGradient(keras.Operation):
    """`finite_gradient` in a network."""

    def call(self, x):
        return finite_gradient(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def may_break(layer: keras.Operation) -> bool:
    """Whether the gradient may stop being a number in a layer, as it does in the root of 0."""
    activation, kind = getattr(layer, "activation", None), type(layer)
    home = str(getattr(activation, "__module__", ""))
    if activation is not None and not home.startswith(("keras.", __name__)):
        return True
    if isinstance(layer, keras.Layer) and kind.__module__.startswith("keras.src.layers."):
        return isinstance(layer, (keras.layers.Lambda, keras.layers.Wrapper))
    return not kind.__module__.startswith("keras.") or kind.__name__ not in SMOOTH


def guarded(network: keras.Model) -> keras.Model:
    """The network, from which a gradient comes back finite: what is not is dropped where it arises.

    The root of 0 has an infinite slope, and 0 times that is not a number, which would spread over all of
    the image, though it comes from places that have no part in the answer.
    """
    if not any(map(may_break, network.operations)):
        return network
    twins: dict[int, keras.Operation] = {}

    def call(layer: keras.Operation, *arguments, **keywords):
        if may_break(layer):
            activation = getattr(layer, "activation", None)
            if activation is not None and type(layer).__module__.startswith("keras."):
                # Here it arises within the layer, before the convolution would spread it.
                twin = twins.setdefault(id(layer), renamed(layer, layer.name))
                vars(twin)["activation"] = lambda x: activation(finite_gradient(x))
                return twin(*arguments, **keywords)
            arguments, keywords = keras.tree.map_structure(guard, (arguments, keywords))
        return layer(*arguments, **keywords)

    try:
        return keras.models.clone_model(
            network, clone_function=lambda layer: layer, call_function=call
        )
    except Exception:  # what cannot be called again works as it is
        return network


def guard(value):
    """A tensor with a finite gradient; anything else as it is."""
    if isinstance(value, keras.KerasTensor) and "float" in value.dtype:
        return FiniteGradient()(value)
    return value


def tamed(gradient):
    """A gradient (n, height, width, channels) without what is not finite, and small enough to be squared."""
    gradient = finite(gradient)
    largest = tf.reduce_max(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
    return tf.where(largest > 1e15, gradient / largest, gradient)


class Passes(NamedTuple):
    """A filter's answer to an image, forwards through the layers, and the gradient of it, back."""

    names: list[str]  # of the layers up to the filter's own, from the image on
    maps: list[tf.Tensor]  # what each of them gives out
    activation: tf.Tensor  # ()
    gradients: list[tf.Tensor]  # for the image, then for each of `maps`
    tape: tf.GradientTape
    pixels: tf.Tensor


def passes(layer: Layer, number: int, image: np.ndarray) -> Passes:
    """Forwards and back for a filter and an image (height, width, channels)."""

    def build() -> tuple[list[str], keras.Model]:
        parts = layer.all_parts
        names = list(parts)[: list(parts).index(layer.name) + 1]
        return names, keras.Model(layer.part.image, [parts[name].output for name in names])

    names, every = layer.flat.once(("every", layer.name), build)
    pixels = tf.constant(image, tf.float32)[None]
    # Variables are not watched: quantised layers have no gradient for theirs.
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(pixels)
        maps = keras.tree.flatten(every(pixels, training=False))
        activation = tf.reduce_mean(tf.cast(maps[-1][..., number], tf.float32))
    gradients = tape.gradient(activation, [pixels, *maps], unconnected_gradients="zero")
    return Passes(names, maps, activation, gradients, tape, pixels)


def trouble(layer: Layer, number: int, image: np.ndarray) -> str | None:
    """Where the answer of a filter to an image (height, width, channels), or its gradient, stops being a number.

    In words, None if nowhere.
    """
    names, maps, activation, gradients, *_ = passes(layer, number, image)
    if not np.isfinite(activation):
        found = [pair for pair in zip(names, maps, strict=True) if not np.isfinite(pair[1]).all()]
        name, values = found[0] if found else (layer.name, maps[-1])
        what = "not a number" if np.isnan(values).any() else "infinite"
        return f"in layer {name} values are {what}"
    broken = [not np.isfinite(each).all() for each in gradients]
    # From the end: the first place where it is broken hangs on the layer after it.
    place = max((place for place, each in enumerate(broken) if each), default=None)
    if place is None:
        return None
    parts = layer.all_parts
    source = layer.part.image if place == 0 else parts[names[place - 1]].output
    takers = [name for name in names[place:] if any(each is source for each in parts[name].inputs)]
    taker = takers[0] if takers else layer.name
    return f"the gradient is not a number in layer {taker}"


def dead_end(layer: Layer, number: int, image: np.ndarray) -> str | None:
    """Which layer lets no gradient through, as tf.stop_gradient, a sign and rounding do, in words.

    None if the gradient for the image (height, width, channels) reaches it, or if it ends in a layer that
    has one elsewhere, as a silent ReLU has.
    """
    if not any(map(may_break, layer.network.operations)):
        return None
    names, maps, _, gradients, tape, pixels = passes(layer, number, image)
    if np.any(gradients[0]):
        return None
    parts, needed = layer.all_parts, {id(each) for each in layer.network.operations}
    behind = {id(layer.part.image)}  # tensors from which a gradient comes back to the image
    for name, values in zip(names, maps, strict=True):
        part = parts[name]
        if not values.dtype.is_floating or tape.gradient(values, pixels) is None:
            if id(part.layer) in needed and behind & {id(each) for each in part.inputs}:
                return f"the gradient ends in layer {name}"
        else:
            behind.add(id(part.output))
    arrived = [name for name, each in zip(names, gradients[1:], strict=True) if np.any(each)]
    name = arrived[0] if arrived else layer.name
    return f"the gradient ends in layer {name}" if may_break(parts[name].layer) else None


def private_copy(network: keras.Model, precision: str, *, leak: bool = False) -> keras.Model:
    """The network again with weights of its own, all zero, computing in `precision`."""

    def again(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.InputLayer) or not isinstance(layer, keras.Layer):
            return layer  # operations, such as those of the preprocessing, have no weights
        if not type(layer).__module__.startswith("keras.") or hasattr(layer, "finalize_state"):
            # Not all that a layer of somebody's own, or a Normalization, computes with is in its config and
            # weights.
            return layer
        if is_quantised(layer):  # its kernel is whole numbers and a scale, in no other precision
            return layer
        config = layer.get_config()
        if precision != "float32":
            # Kernels are kept in the precision they are used in, so that no step converts them.
            kernels = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
            config["dtype"] = precision if isinstance(layer, kernels) else f"mixed_{precision}"
        for key in config:
            if key.endswith("_initializer"):  # random weights would be drawn only to be replaced
                config[key] = "zeros"
        if leak and isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation(
                leaky(layer.call), name=layer.name, dtype=config["dtype"]
            )
        own = getattr(layer, "activation", None) if "activation" in config else None
        if own is not None:
            config["activation"] = None  # not every function can be written down
        try:
            copy = type(layer).from_config(config)
            if own is not None:
                copy.activation = leaky(own) if leak else own
        except Exception:  # what cannot be made again works as it is
            return layer
        return copy

    try:
        return keras.models.clone_model(network, clone_function=again)
    except Exception:  # a layer of somebody's own may compute in float32 only
        return network


def copy_weights(original: keras.Model, network: keras.Model) -> None:
    """Gives a private copy of `original` the weights that it has now."""
    if network is not original:
        for mine, theirs in zip(network.weights, original.weights, strict=True):
            mine.assign(tf.cast(theirs, mine.dtype))


class FilterObjective:
    """A layer of a model, for some of its filters only.

    `leak` lets the gradient through the ReLUs of the layers before; it always gets through that of
    the layer itself.
    """

    def __init__(self, layer: Layer, precision: str, leak: bool):
        part = layer.objective
        self.keras_layer, self.precision, self.maps = (
            part.layer,
            precision,
            len(part.output.shape) == 4,
        )
        self.rivals = layer.has_softmax
        # Of these two kinds of layers only the wanted filters are computed.
        some = (keras.layers.Conv2D, keras.layers.Dense)
        self.some = type(part.layer) in some and not (self.rivals or is_quantised(part.layer))
        end, activation = part.output, keras.activations.linear
        if self.some:
            end, activation = part.inputs[0], part.layer.activation
        elif isinstance(part.layer, ACTIVATIONS) and not part.layer.weights:
            end, activation = part.inputs[0], part.layer.call
        self.activation = leaky(activation)
        if end is part.image:  # a model that ends where it begins cannot be copied
            end = keras.layers.Identity(dtype="float32")(end)
        self.original = keras.Model(part.image, end)
        shared = precision == "float32" and not leak
        self.network = (
            self.original if shared else private_copy(self.original, precision, leak=leak)
        )
        self.guarded = guarded(self.network)

    def __call__(self, images, filters):
        """The mean over the map of each image's own filter: (n,) float32.

        `images` (n, height, width, channels), 0 to 255; `filters` (n,).
        """
        images = tf.ensure_shape(images, self.original.inputs[0].shape)  # some layers ask for it
        values, own = self.guarded(images, training=False), filters
        if self.some:
            values, own = self.weighted(tf.cast(values, self.precision), filters)
        values = tf.cast(values, tf.float32)  # (n, h, w, k) or (n, k); each image wants its own
        mine = tf.one_hot(own, tf.shape(values)[-1], True, False, dtype=tf.bool)
        mine = mine[:, None, None] if self.maps else mine
        # Not a product: what is not a number in another filter would come through.
        everybody, values = values, tf.reduce_sum(tf.where(mine, values, 0.0), axis=-1)
        if self.rivals:
            # Where another class is ahead, it is pushed back, too: a value may grow and others grow more.
            values += values - tf.reduce_logsumexp(everybody, axis=-1)
        if self.some and self.keras_layer.use_bias:
            bias = tf.gather(tf.cast(self.keras_layer.bias, tf.float32), filters)
            values += bias[:, None, None] if self.maps else bias
        values = self.activation(values)
        return tf.reduce_mean(values, axis=(1, 2)) if self.maps else values

    def weighted(self, before, filters):
        """What the wanted filters make of the layer's input, and which place in it is whose."""
        layer, own = self.keras_layer, filters
        kernel = tf.cast(layer.kernel, self.precision)
        if getattr(layer, "groups", 1) == 1:
            kernel, own = tf.gather(kernel, filters, axis=-1), tf.range(tf.size(filters))
        if isinstance(layer, keras.layers.Dense):
            return tf.tensordot(before, kernel, 1), own
        maps = keras.ops.conv(
            before,
            kernel,
            strides=list(layer.strides),
            padding=layer.padding,
            data_format="channels_last",
            dilation_rate=layer.dilation_rate,
        )
        return maps, own
