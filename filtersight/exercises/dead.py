"""Tests of the exercises of chapter 8: dead filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from filtersight.basics.exercises import exercise, require, require_close
from filtersight.basics.images import random_image
from filtersight.networks.layers import Layer


@exercise(
    "8.1",
    hint="A filter is silent on an image if the largest value of its map on it is 0: one map each.",
)
def silent_on_noise(answer: Sequence[int], model: keras.Model) -> None:
    """The counts, by means that are 0 only where a map has nothing above 0."""
    network = Layer(model, "block5_conv1").network
    noise = [random_image(128, seed=0, contrast=each)[None] for each in (8, 32, 127)]
    means = [tf.reduce_mean(network(each, training=False), axis=(0, 1, 2)) for each in noise]
    right = [int(tf.math.count_nonzero(each == 0)) for each in means]
    require_close(answer, right, "The count of silent filters for contrast 8, 32 and 127")


@exercise(
    "8.2",
    hint="Two conditions, and one of them suffices: x is positive, or what arrives is. tf.where chooses.",
)
def redirected(answer: Callable) -> None:
    """Values and gradients by NumPy, of both signs and several sizes."""
    rng = np.random.default_rng(82)
    x, arriving = rng.normal(0, 3, (2, 5, 7)).astype(np.float32)
    values = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(values)
        forwards = answer(values)
    require_close(forwards, np.maximum(x, 0), "Forwards, what it makes of 35 values")
    back = tape.gradient(forwards, values, output_gradients=tf.constant(arriving))
    require(back is not None, "Backwards, no gradient came through at all for 35 values.")
    back = np.asarray(back)
    require(
        back.shape == x.shape, f"The gradient should have the shape {x.shape}, not {back.shape}."
    )
    cases = {
        "x is positive": (x > 0, arriving),
        "x is negative and a larger value is asked for": ((x < 0) & (arriving > 0), arriving),
        "x is negative and a smaller value is asked for": ((x < 0) & (arriving < 0), 0 * arriving),
    }
    for case, (where, right) in cases.items():
        place = tuple(np.argwhere(where)[0])
        require(
            np.allclose(back[where], right[where], rtol=0.01),
            f"Where {case}, a gradient of {arriving[place]:.2f} arrived and {back[place]:.2f} left.",
        )


@exercise(
    "8.3",
    hint="np.maximum(a, b) takes the larger of two, value by value. For which weights is low the better end?",
)
def highest_values(answer: Callable) -> None:
    """Against the best image itself, made weight by weight, in layers of several shapes."""
    rng = np.random.default_rng(83)
    for height, width, channels, filters in ((3, 3, 3, 4), (1, 5, 1, 3), (2, 3, 4, 2)):
        kernel = rng.normal(size=(height, width, channels, filters))
        bias, low = rng.normal(size=filters), rng.uniform(-1.5, -0.1, channels)
        high = low + rng.uniform(0.05, 2.5, channels)
        right = []
        for number in range(filters):
            weights = kernel[..., number]
            best = np.where(weights > 0, high, low)  # the image that the filter likes best
            right.append(float((weights * best).sum() + bias[number]))
        require_close(
            answer(kernel, bias, low, high),
            np.array(right),
            f"The highest values for a kernel of shape {kernel.shape}",
            tolerance=1e-4,
        )
