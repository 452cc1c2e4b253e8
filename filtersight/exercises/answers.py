"""Tests of the exercises of chapters 10 and 11: any network, and why it said so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np

from filtersight.basics.checks import two_digits
from filtersight.basics.exercises import exercise, require, require_close
from filtersight.trust import why
from filtersight.world import patterns, pocketvgg

BRIGHTNESS = (0.5, 0.9, 1.4, 2.0)
"""Mean values of an image that the hidden network of exercise 10.2 tells apart."""


@exercise("10.1", hint="What do your numbers say for a black image, a white one, and one of 51?")
def into_range(answer: Callable) -> None:
    for low, high in ((0, 1), (-2, 6), (10, 30), (0.5, 0.75)):
        images = np.random.default_rng(3).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
        for grey, becomes in ((0, low), (255, high), (51, low + (high - low) / 5)):
            images[...] = grey
            given = np.asarray(answer(images, low, high))
            require(
                given.shape == images.shape,
                f"two images of the shape {images.shape} came back as {given.shape}.",
            )
            what = f"for the range {low} to {high}, the grey value {grey} becomes"
            found = float(given.ravel()[0])
            require(
                np.allclose(given, becomes, rtol=1e-3, atol=1e-5),
                f"{what} {found:.4g}; it should become {becomes:.4g}.",
            )


def by_brightness(means: tuple[float, ...]) -> keras.Model:
    """A network that says which of these means the image's own is nearest to, and is surer the larger it is."""
    images = keras.Input((None, None, 3))
    mean = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)(
        keras.layers.GlobalAveragePooling2D()(images)
    )
    values = keras.layers.Dense(len(means))
    model = keras.Model(images, values(mean))
    each = np.array(means) * 3  # -(x - m)² without the x² that all have
    values.set_weights([2 * each[None], -(each**2)])
    return model


@exercise("10.2", hint="For each range, compare what the network says with the labels.")
def best_range(answer: Callable) -> None:
    network = by_brightness(BRIGHTNESS)
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, 60)
    for right in ((0, 2.5), (-1, 3)):
        low, high = right
        bright = (np.array(BRIGHTNESS)[labels] - low) / (high - low) * 255
        noise = rng.uniform(-12, 12, (60, 8, 8, 3))
        images = np.clip(bright[:, None, None, None] + noise, 0, 255).astype(np.uint8)
        for ranges in ([(0, 255), right, (0, 1)], [right, (-1, 1), (0, 255)]):
            given = answer(network, images, labels, ranges)
            require(
                isinstance(given, (tuple, list)) and tuple(given) in ranges,
                f"of the ranges {ranges} the answer {given!r} is none.",
            )
            require(
                tuple(given) == right,
                f"a network whose images must be in one of {ranges} was given {given}, in which it is "
                f"right for {share(network, images, labels, given):.0%} of the images; another does better.",
            )


def share(network: keras.Model, images: np.ndarray, labels: np.ndarray, ends: tuple) -> float:
    """How many of the images the network gets right in this range."""
    low, high = ends
    values = np.asarray(network(low + images.astype(np.float32) / 255 * (high - low)))
    return float(np.mean(values.argmax(axis=1) == labels))


@exercise("10.3", hint="Differences of logarithms; and which values are the others?")
def lead(answer: Callable) -> None:
    for values, number in (
        ((1.0, 4.0, -2.0), 1),
        ((1.0, 4.0, -2.0), 2),
        ((0.5, 3.0, 2.5, 7.0, -1.0), 3),
        ((-3.0, -9.0, -3.5), 0),
    ):
        numbers = np.exp(values) / np.exp(values).sum()
        others = [value for place, value in enumerate(values) if place != number]
        require_close(
            answer(numbers, number),
            values[number] - max(others),
            f"the lead of class {number}, where the values before the softmax are {values},",
        )


@exercise("11.1", hint="The value before the softmax is the second thing that opened(...) gives.")
def left_over(answer: Callable) -> None:
    model = pocketvgg.load()
    biases = model.get_layer("predictions").get_weights()[1]
    for name, seed, number in (("rings", 8, 3), ("faces", 5, 40), ("plaid", 2, 17)):
        image = patterns.image(name, seed, size=64)
        require_close(
            answer(model, "block5_conv3", image, number),
            biases[number],
            f"what is left over for class {number} and a drawing of {name}",
            absolute=2e-4,
        )


def by_place(size: int, weights: Mapping[tuple[int, int], float]) -> keras.Model:
    """A network of two classes; class 1 adds up the brightness of some pixels, each times its weight."""
    images = keras.Input((size, size, 3))
    values = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(images, values(keras.layers.Flatten()(images)))
    kernel = np.zeros((size, size, 3, 2), np.float32)
    for (row, column), weight in weights.items():
        kernel[row, column, :, 1] = weight / 100
    kernel[2, 2, :, 0] = 5
    values.set_weights([kernel.reshape(-1, 2)])
    return model


@exercise("11.2", hint="Cover a copy, ask the network, and keep the place with the lowest value.")
def costliest(answer: Callable) -> None:
    # The heaviest pixel is as grey as the square, one speaks against the class: neither counts.
    for size, patch, weights, right in (
        (24, 6, {(7, 20): 3, (20, 3): 2, (14, 14): -9, (1, 9): 9}, (6, 18)),
        (20, 4, {(17, 1): 4, (5, 10): 3, (9, 14): -9, (1, 17): 9}, (16, 0)),
    ):
        model = by_place(size, weights)
        image = np.full((size, size, 3), 200, np.uint8)
        image[1] = 127
        before = image.copy()
        given = answer(model, image, 1, patch)
        require(
            np.array_equal(image, before), "the image itself has changed; squares belong on copies."
        )
        require(
            np.shape(given) == (2,),
            f"the answer should be the two numbers (top, left), not {given!r}.",
        )
        top, left = (int(each) for each in given)
        require(
            (top, left) == right,
            f"in a hidden image of {size} pixels, with squares of {patch}, the answer ({top}, {left}) "
            f"is not the square whose covering costs class 1 most.",
        )


@exercise(
    "11.3", hint="The maps are the same for both classes. What is the gradient of a difference?"
)
def rather(answer: Callable) -> None:
    model = pocketvgg.load()
    for layer, name, one, other in (
        ("block4_conv3", "hearts", 24, 30),
        ("block5_conv3", "rings", 12, 5),
    ):
        image = patterns.image(name, 6, size=64)
        maps, first = why.maps_and_gradient(model, layer, image, one)
        _, second = why.maps_and_gradient(model, layer, image, other)
        right = np.maximum((maps * (first - second).mean(axis=(0, 1))).sum(axis=-1), 0)
        given = np.asarray(answer(model, layer, image, one, other))
        require(
            given.shape == right.shape,
            f"for {layer} the map should have the shape {right.shape}, and yours has {given.shape}.",
        )
        off = np.abs(given - right).max()
        require(
            off <= 0.01 * right.max(),
            f"for {layer}, class {one} rather than {other}, the map is off by up to {two_digits(off)}; its "
            f"highest value should be {two_digits(right.max())}.",
        )
