"""Gradient ascent on the pixels, as chapter 4 has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from filtersight.ascent.objective import copy_weights, guarded, may_break, private_copy, tamed
from filtersight.networks.layers import Layer


def gradient_step(network, images, filters, step_size):
    """One step uphill, for a batch of images, each with its own filter.

    `network` gives feature maps; `images` (n, height, width, 3) float; `filters` (n,) whole numbers;
    `step_size` in grey levels. Each image moves along the gradient of its filter's mean activation,
    scaled to a root mean square of 1, so that a step changes pixels by `step_size` grey levels on
    average however steep the hill is (Erhan et al. 2009; the scaling: Chollet 2016). A filter that
    is silent everywhere has no gradient, and its image stays; so does one behind a layer that lets none
    through. Of a gradient that is not a number somewhere, the rest counts.

    Returns the new images and the activations (n,) of the old ones.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        means = tf.reduce_mean(
            network(images, training=False), axis=(1, 2)
        )  # (n, filters of the layer)
        activation = tf.gather(means, filters, batch_dims=1)  # (n,)
    gradient = tamed(tape.gradient(activation, images, unconnected_gradients="zero"))
    size = tf.sqrt(tf.reduce_mean(gradient**2, axis=(1, 2, 3), keepdims=True))
    return images + step_size * tf.math.divide_no_nan(gradient, size), activation


class Walk(NamedTuple):
    """Where the images of an ascent have come to."""

    images: tf.Tensor  # (n, height, width, channels)
    good: tf.Tensor  # the last ones with an answer that is a number
    share: tf.Tensor  # (n,) of the whole length of a step: less after an answer that is none
    seen: tf.Tensor  # (n,) bool: whether there was an answer that is a number


def plain_climb(network: keras.Model) -> Callable:
    """A graph that takes a gradient step; not traced again for other filters, numbers or sizes."""

    def in_float32(images, training):
        images = tf.ensure_shape(images, network.inputs[0].shape)  # some layers ask for it
        return tf.cast(network(images, training=training), tf.float32)

    images = tf.TensorSpec([None, None, None, network.inputs[0].shape[-1]])

    @tf.function(
        input_signature=[
            Walk(images, images, tf.TensorSpec([None]), tf.TensorSpec([None], tf.bool)),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([], tf.float32),
        ],
        autograph=False,  # it would take as long as all the rest of the trace
    )
    def climb(walk, filters, step_size):
        size = step_size * walk.share[:, None, None, None]
        moved, activation = gradient_step(in_float32, walk.images, filters, size)
        fine = tf.math.is_finite(activation)
        good = tf.where(fine[:, None, None, None], walk.images, walk.good)
        # Where the answer is no number, back to where it was one, and on in steps half as long.
        back = walk.seen & ~fine
        images = tf.where(back[:, None, None, None], good, moved)
        share = tf.where(back, walk.share / 2, walk.share)
        return Walk(images, good, share, walk.seen | fine), activation

    return climb


def graph_key(recipe: str, layer: str, precision: str, leak: bool = False) -> tuple:
    """By what the graph of a climb is kept for the next time."""
    return (recipe, layer, precision, leak)


def next_chunk(chunk: int, took: float, seconds: float) -> int:
    """How many steps to take next so that they take about `seconds`, `chunk` having taken `took`."""
    return max(1, int(chunk * seconds / took))


def as_maps(layer: Layer) -> keras.Model:
    """The model up to the layer's objective; the values of a classifier as maps of one place."""
    part = layer.objective
    output = part.output
    if len(output.shape) == 2:
        output = keras.layers.Reshape((1, 1, -1), dtype="float32")(output)
    return keras.Model(part.image, output)


def ascend_pixels(
    layer: Layer,
    filters: Sequence[int],
    image: np.ndarray,
    *,
    steps: int,
    step_size: float,
    precision: str = "float32",
    seconds: float = 0.1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Climbs from `image` for each of `filters` at once, and looks up about every `seconds`.

    Yields (images so far (n, size, size, channels) float32, activations of the steps since the last yield (k, n)).
    """

    def build() -> tuple[keras.Model, keras.Model, Callable]:
        original = as_maps(layer)
        network = original if precision == "float32" else private_copy(original, precision)
        return original, network, plain_climb(guarded(network))

    key = graph_key("plain", layer.name, precision)
    original, network, climb = layer.flat.once(key, build)
    copy_weights(original, network)
    images = tf.repeat(tf.cast(image, tf.float32)[None], len(filters), axis=0)
    walk = Walk(images, images, tf.ones(len(filters)), tf.zeros(len(filters), tf.bool))
    numbers, done, chunk = tf.constant(filters, tf.int32), 0, 1
    while done < steps:
        chunk = min(chunk, steps - done)
        start = time.perf_counter()
        history = []
        for _ in range(chunk):
            walk, activation = climb(walk, numbers, tf.constant(step_size, tf.float32))
            history.append(activation)
        done += chunk
        if done == steps and any(map(may_break, network.operations)):
            # The last images were not looked at; a step of no length goes back where they must.
            walk, _ = climb(walk, numbers, tf.constant(0.0))
        yield walk.images.numpy(), np.stack(history)
        chunk = next_chunk(chunk, time.perf_counter() - start, seconds)
