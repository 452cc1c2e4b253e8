"""What is climbed: a layer cut free of its network, for the wanted filters, in a fast precision."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from filtersight.networks.flat import ACTIVATIONS
from filtersight.networks.layers import Layer

PRECISIONS = ("float32", "bfloat16")
CPUINFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    """What Linux says that the processor can do; nothing on other systems."""
    try:
        found = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


@functools.cache
def fast_precision() -> str:
    """The precision that suits this machine, by what its processor or graphics card has.

    bfloat16 is fast on processors with AMX or AVX-512 BF16, and on NVIDIA's cards from compute capability
    8.0. No stop-watch decides, so that a seed gives the same picture in each process. The environment
    variable COURSE_PRECISION overrides it; ValueError if that names none.
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
        return "bfloat16" if details.get("compute_capability", (0, 0)) >= (8, 0) else "float32"
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
        derivative = tape.gradient(y, x)
        return y, lambda dy: dy * tf.maximum(derivative, tf.cast(slope, dy.dtype))

    return forward


def private_copy(network: keras.Model, precision: str, *, leak: bool = False) -> keras.Model:
    """The network again with weights of its own, all zero, computing in `precision`."""

    def again(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.InputLayer) or not isinstance(layer, keras.Layer):
            return layer  # operations, such as those of the preprocessing, have no weights
        if not type(layer).__module__.startswith("keras.") or hasattr(layer, "finalize_state"):
            # Not all that a layer of somebody's own, or a Normalization, computes with is in its config and
            # weights.
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

    return keras.models.clone_model(network, clone_function=again)


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
        self.some = type(part.layer) in some and not self.rivals
        end, activation = part.output, keras.activations.linear
        if self.some:
            end, activation = part.inputs[0], part.layer.activation
        elif isinstance(part.layer, ACTIVATIONS) and not part.layer.weights:
            end, activation = part.inputs[0], part.layer.call
        self.activation = leaky(activation)
        if end is part.image:  # a model that ends where it begins cannot be copied
            end = keras.layers.Identity()(end)
        self.original = keras.Model(part.image, end)
        shared = precision == "float32" and not leak
        self.network = (
            self.original if shared else private_copy(self.original, precision, leak=leak)
        )

    def __call__(self, images, filters):
        """The mean over the map of each image's own filter: (n,) float32.

        `images` (n, height, width, channels), 0 to 255; `filters` (n,).
        """
        images = tf.ensure_shape(images, self.original.inputs[0].shape)  # some layers ask for it
        values, own = self.network(images, training=False), filters
        if self.some:
            values, own = self.weighted(tf.cast(values, self.precision), filters)
        values = tf.cast(values, tf.float32)  # (n, h, w, k) or (n, k); each image wants its own
        mine = tf.one_hot(own, tf.shape(values)[-1])
        mine = mine[:, None, None] if self.maps else mine
        everybody, values = values, tf.reduce_sum(values * mine, axis=-1)  # (n, h, w) or (n,)
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
            dilation_rate=layer.dilation_rate,
        )
        return maps, own
