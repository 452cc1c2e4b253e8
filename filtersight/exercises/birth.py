"""Tests of the exercises of chapter 12: a filter is born."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from filtersight.basics.exercises import exercise, require, require_close
from filtersight.networks.layers import submodel


@exercise("12.1", hint="Which key is the last step? And the dictionary need not be sorted.")
def half_way(answer: Callable) -> None:
    for accuracies, right in (
        ({0: 0.1, 20: 0.3, 50: 0.6, 90: 0.8}, 50),
        ({0: 0.1, 40: 0.4, 90: 0.8}, 40),  # exactly half
        ({90: 0.5, 0: 0.02, 60: 0.45, 30: 0.3}, 30),  # not in order
        ({0: 0.1, 10: 0.35, 20: 0.2, 30: 0.9, 40: 0.6}, 10),  # the last is not the highest
    ):
        require_close(answer(dict(accuracies)), right, f"The step for {accuracies}")


@exercise("12.2", hint="Sum over three of the four axes, and divide before or after the root.")
def change(answer: Callable) -> None:
    random = np.random.default_rng(12)
    before = random.normal(size=(3, 5, 2, 4))
    for factor in (0.1, 3.0):
        move = factor * random.normal(size=before.shape)
        lengths = [np.linalg.norm(before[..., k].ravel()) for k in range(4)]
        moved = [np.linalg.norm(move[..., k].ravel()) for k in range(4)]
        require_close(
            answer(before, before + move),
            np.divide(moved, lengths),
            "The change of four kernels of 3 × 5 × 2 numbers",
        )


@exercise("12.3", hint="Which single value of all maps is the last to reach 0?")
def room(answer: Callable) -> None:
    network = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu", name="first"),
            keras.layers.Conv2D(5, 3, activation="relu", name="second"),
        ]
    )
    random = np.random.default_rng(123)
    for weight in network.trainable_weights:
        weight.assign(random.normal(scale=0.3, size=weight.shape))
    layer = network.get_layer("second")
    layer.bias.assign([0.1, 0.0, 0.2, 0.05, -100.0])  # the last is silent
    images = random.integers(0, 256, (6, 16, 12, 3)).astype(np.uint8)
    given = np.asarray(answer(network, "second", images), float)
    require(given.shape == (5,), f"For 5 filters there should be 5 numbers, not {given.shape}.")
    require(given[4] == 0, f"For a filter that is silent already you have {given[4]:.3g}.")
    require((given[:4] > 0).all(), "For a filter that fires somewhere you have no room at all.")
    bias = layer.bias.numpy()
    for share, fires in ((0.99, True), (1.01, False)):
        layer.bias.assign(np.append(bias[:4] - share * given[:4], bias[4]))
        after = np.max(submodel(network, "second")(images.astype(np.float32)), axis=(0, 1, 2))[:4]
        require(
            ((after > 0) == fires).all(),
            f"With each bias lowered by {share:.0%} of your number, "
            f"{(after > 0).sum()} of 4 filters fire; it should be {4 if fires else 'none'}.",
        )
