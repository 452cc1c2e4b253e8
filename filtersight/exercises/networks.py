"""Tests of the exercises of chapters 1 and 2: networks and their parts."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import keras
import numpy as np

from filtersight.basics.exercises import exercise, require, require_close

# ---------------------------------------------------------------- 1, model download


@exercise("1.1", hint="What do the nine numbers have to add up to, so that an even area gives 0?")
def diagonal(answer: object) -> None:
    """A kernel that answers to thin lines from the upper left to the lower right."""
    require_close(answer, np.zeros((3, 3)), "Your filter", absolute=1e12)
    kernel = np.asarray(answer, float)

    def largest(image: np.ndarray) -> float:
        return float(cv2.filter2D(image, cv2.CV_64F, kernel)[1:-1, 1:-1].max())

    line = np.eye(9)
    level, half = np.zeros((9, 9)), np.zeros((9, 9))
    level[4] = 1
    half[4:] = 1
    found = largest(line)
    require(found > 0, f"On the line its largest answer is {found:.3g}; it should be above 0.")
    for brightness in (1.0, 3.0):
        even = largest(np.full((9, 9), brightness))
        require(
            abs(even) < 0.01 * found,
            f"In an even area of brightness {brightness:g} it gives {even:.3g}, and on the line "
            f"{found:.3g}. In the area it should be 0.",
        )
    others = {
        "a level line": level,
        "an upright line": level.T,
        "the line from the upper right to the lower left": line[:, ::-1].copy(),
        "the upper edge of a bright area": half,
        "the lower edge of a bright area": half[::-1].copy(),
        "the left edge of a bright area": half.T.copy(),
        "the right edge of a bright area": half.T[:, ::-1].copy(),
    }
    for name, image in others.items():
        other = largest(np.ascontiguousarray(image))
        require(
            other <= found / 2,
            f"On {name} its largest answer is {other:.3g}, and on the line that it should find "
            f"{found:.3g}: more than half as much.",
        )


@exercise("1.2", hint="Take the first row of the table: how many numbers has one of its filters?")
def count_weights(answer: Callable) -> None:
    """How many weights a convolution layer has."""
    for height, width, channels, filters in ((3, 3, 3, 16), (5, 5, 4, 7), (1, 7, 12, 9)):
        layer = keras.layers.Conv2D(filters, (height, width))
        layer.build((None, 16, 16, channels))
        require_close(
            answer(height, width, channels, filters),
            layer.count_params(),
            f"The count for kernels of {height} × {width}, {channels} channels in and "
            f"{filters} filters",
        )


@exercise("1.3", hint="Each place of the patch adds one product to the sum. When is it largest?")
def best_patch(answer: Callable) -> None:
    """The patch with values from 0 to 255 to which a kernel answers most."""
    for seed, shape in enumerate([(3, 3), (3, 3, 3), (3, 3, 3)]):
        kernel = np.random.default_rng(seed).normal(0.3 * (seed - 1), 1, shape)
        patch = answer(kernel.copy())
        require_close(patch, np.zeros(shape), f"The patch for a kernel {shape}", absolute=1e12)
        low, high = np.min(patch), np.max(patch)
        require(
            low >= 0 and high <= 255,
            f"For a kernel {shape} your patch has values from {low:.4g} to {high:.4g}; "
            "they should lie between 0 and 255.",
        )
        found = float(np.sum(kernel * np.asarray(patch, float)))
        most = float(np.abs(kernel).sum() + kernel.sum()) * 255 / 2
        require(
            found > most * 0.999,
            f"For a kernel {shape} the sum on your patch is {found:,.0f}; {most:,.0f} is possible.",
        )


# ---------------------------------------------------------------- 2, submodels


@exercise("2.1", hint="How many pixels of the image lie behind one value, down and across?")
def where(answer: Callable) -> None:
    """The place in the image behind the largest value of a map."""
    for shape, image_shape, row, column in (
        ((8, 8), (64, 64, 3), 1, 6),
        ((12, 20), (96, 160, 3), 7, 2),
        ((14, 14), (224, 112, 3), 13, 0),
    ):
        feature_map = np.random.default_rng(row).random(shape).astype("f4")
        feature_map[row, column] = 2
        given = answer(feature_map, image_shape)
        require_close(given, [0.0, 0.0], "The place, (row, column),", absolute=1e12)
        cell = np.array(image_shape[:2]) / shape
        off = np.abs(np.asarray(given, float) - (np.array([row, column]) + 0.5) * cell)
        require(
            np.all(off <= 0.5),
            f"A map {shape} over an image {image_shape} is largest at ({row}, {column}). "
            f"({', '.join(f'{each:.4g}' for each in given)}) is not the middle of what lies behind it.",
        )


@exercise("2.2", hint="The activations of a filter for several images: when are all of them 0?")
def silent(answer: Callable) -> None:
    """The filters that give 0 everywhere on all images."""
    layer = keras.layers.Conv2D(5, 1, activation="relu", name="tiny")
    model = keras.Sequential([keras.Input((None, None, 3)), layer])
    # Filter 0 wants red, 1 wants green, 3 anything at all; 2 and 4 are always 0.
    weights = np.array([[1, -1, 0, 0, -1], [-1, 1, 0, 0, -1], [-1, -1, 0, 0, -1]], "f4")
    layer.set_weights([weights[None, None], np.array([0, 0, -1, 0.01, -0.5], "f4")])
    black, red, green = (np.zeros((16, 16, 3), np.uint8) for _ in range(3))
    red[5, 5, 0] = green[..., 1] = 200  # one red pixel
    for name, images, right in (
        ("a black one, one with a red pixel, a green one", [black, red, green], [2, 4]),
        ("a black one and one with a red pixel", [black, red], [1, 2, 4]),
        ("a black one", [black], [0, 1, 2, 4]),
    ):
        given = answer(model, "tiny", np.stack(images))
        require_close(given, right, f"For a layer of five filters and {name}, your list of filters")


@exercise("2.3", hint="After each layer: how many pixels apart are two neighbours in its map?")
def field(answer: Callable) -> None:
    """The receptive field of a list of (kernel, stride)."""
    for layers in (
        [(5, 1)],
        [(3, 1), (3, 1), (2, 2), (3, 1)],
        [(7, 2), (3, 2), (3, 1), (3, 2), (1, 1), (5, 1)],
        [(3, 1), (2, 2), (3, 1), (2, 2), (3, 1), (2, 2), (3, 1)],
    ):
        right = 1  # from the last layer back: the values that it takes to compute so many
        for kernel, stride in reversed(layers):
            right = (right - 1) * stride + kernel
        require_close(answer(list(layers)), right, f"The receptive field of {layers}")
