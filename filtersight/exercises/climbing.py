"""Tests of the exercises of chapters 3 to 5: noise, ascent, grids."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from filtersight.ascent.plain import gradient_step
from filtersight.basics.exercises import exercise, require, require_close
from filtersight.basics.images import deprocess, random_image
from filtersight.networks.layers import submodel
from filtersight.world import pocketvgg


def cut(layer: str) -> keras.Model:
    """PocketVGG up to a layer."""
    return submodel(pocketvgg.load(), layer)


def noise(size: int, seeds: list[int], contrast: float = 32) -> np.ndarray:
    """Start images (n, size, size, 3), one for each seed."""
    return np.stack([random_image(size, seed, contrast=contrast) for seed in seeds])


# ---------------------------------------------------------------- 3, begin with noise


@exercise("3.1", hint="Draw one number for each pixel, then use it three times.")
def grey_noise(answer: Callable) -> None:
    for size, seed, contrast in ((40, 3, 20.0), (33, 8, 100.0)):
        found = np.asarray(answer(size, seed, contrast), float)
        call = f"grey_noise({size}, {seed}, {contrast:g})"
        require(
            found.shape == (size, size, 3),
            f"{call} has the shape {found.shape}; random_image would give {(size, size, 3)}.",
        )
        apart = np.ptp(found, axis=2).max()
        require(apart < 1e-3, f"The three channels of {call} differ by up to {apart:.3g}.")
        away = np.abs(found - 127.5).max()
        require(away <= contrast + 0.01, f"{call} has values that are {away:.3g} away from 127.5.")
        middle = found.mean()
        require(
            abs(middle - 127.5) < 0.1 * contrast, f"The mean of {call} is {middle:.4g}, not 127.5."
        )
        require_close(
            found.std(), contrast / 3**0.5, f"The standard deviation of {call}", tolerance=0.05
        )
        different = len(np.unique(found[..., 0]))
        require(different > 0.9 * size**2, f"{call} has only {different} different values.")
        again = np.abs(answer(size, seed, contrast) - found).max()
        require(again == 0, f"{call}, called twice, gives images that differ by up to {again:.3g}.")
        other = np.abs(answer(size, seed + 1, contrast) - found).max()
        require(other > 1, f"Seed {seed + 1} gives the same image as seed {seed}.")


@exercise(
    "3.2",
    hint="On one image a filter is silent if its map's largest value is 0. Count such images.",
)
def silent_share(answer: Callable) -> None:
    strong = noise(64, [4], contrast=127)
    for layer, images in (
        ("block4_conv2", noise(48, [11, 12, 13])),
        ("block5_conv1", np.concatenate([noise(64, [6, 7]), strong, noise(64, [9])])),
    ):
        network = cut(layer)
        right = np.mean(np.mean(network(images), axis=(1, 2)) == 0, axis=0)  # (filters,)
        found = np.asarray(answer(network, images), float)
        case = f"For {layer} and {len(images)} images of {images.shape[1]} pixels"
        require(
            found.shape == right.shape,
            f"{case} the answer should have the shape {right.shape}; yours has {found.shape}.",
        )
        low, high = found.min(), found.max()
        require(
            low >= 0 and high <= 1,
            f"{case} your shares lie between {low:.3g} and {high:.3g}, not between 0 and 1.",
        )
        off = np.abs(found - right)
        require(
            off.max() < 0.01,
            f"{case}, the share of filter {off.argmax()} is not {found[off.argmax()]:.3g}; "
            f"{np.sum(off >= 0.01)} of the {len(off)} shares are not right.",
        )


@exercise("3.3", hint="Which axes belong to one image? Centre, scale, round, clip: in this order.")
def deprocess_all(answer: Callable) -> None:
    rng = np.random.default_rng(17)
    levels, spreads = np.array([[-300.0], [90.0], [400.0]]), np.array([[700.0], [5.0], [60.0]])
    tint = np.array([80.0, 0.0, -40.0])
    images = (levels + spreads * rng.normal(size=(3, 20 * 28 * 3))).reshape(3, 20, 28, 3) + tint
    images = np.concatenate([images, np.full((1, 20, 28, 3), 64.0)])
    for contrast in (40.0, 90.0):
        right = np.stack([deprocess(image, contrast=contrast) for image in images])
        found = np.asarray(answer(images.copy(), contrast))
        require(
            found.shape == right.shape and found.dtype == np.uint8,
            f"For images of the shape {images.shape} yours has the shape {found.shape} and the type "
            f"{found.dtype}.",
        )
        off = np.abs(found.astype(float) - right).reshape(len(images), -1)
        for number, each in enumerate(off):
            require(
                each.max() <= 1 and (each.mean() < 0.02 or number == 3),
                f"With contrast {contrast:g}, image {number} of {len(images)} (mean "
                f"{images[number].mean():.0f}, standard deviation {images[number].std():.0f}) differs "
                f"from deprocess by {each.mean():.2g} on average, and by up to {each.max():.0f}.",
            )


# ---------------------------------------------------------------- 4, gradient ascent


@exercise("4.1", hint="What does a negative step size do?")
def step_down(answer: Callable) -> None:
    for layer, size, count, step_size in (
        ("block2_conv2", 40, 2, 3.0),
        ("block3_conv1", 48, 3, 1.5),
    ):
        network, images = cut(layer), tf.constant(noise(size, list(range(40, 40 + count))))
        means = np.mean(network(images), axis=(1, 2))
        # Of the first image the loudest filter, of the second the second loudest, and so on.
        filters = [int(each.argsort()[-1 - place]) for place, each in enumerate(means)]
        old = means[range(count), filters]
        result = answer(network, images, filters, step_size)
        require(
            isinstance(result, (tuple, list)) and len(result) == 2,
            "step_down should return two things, as gradient_step does: the new images and the old "
            "activations.",
        )
        moved, activation = (np.asarray(each) for each in result)
        require(
            moved.shape == images.shape,
            f"For images of the shape {tuple(images.shape)} the new ones have {moved.shape}.",
        )
        new = np.mean(network(moved), axis=(1, 2))[range(count), filters]
        for number, before, after in zip(filters, old, new, strict=True):
            require(
                after < before,
                f"With {layer}, filter {number} and a step of {step_size:g}, the activation went from "
                f"{before:.3g} to {after:.3g}; it should fall.",
            )
        change = np.sqrt(np.mean((moved - images) ** 2, axis=(1, 2, 3)))
        require_close(
            change, [step_size] * count, "The root mean square of the change of each image"
        )
        require_close(activation, old, "The second thing returned, the old activations,")


@exercise("4.2", hint="Go through the history from its beginning, and compare with its last value.")
def half_way(answer: Callable) -> None:
    for history in (
        [0.5, 1.0, 2.5, 3.0, 4.0, 5.5, 6.0],
        [0.0, 4.0, 1.0, 2.0, 3.0, 5.0, 7.0],
        [0.0, 1.5, 2.0, 3.0, 8.0, 5.0, 4.2],
        [2.5, 3.0, 3.5, 4.0],
    ):
        right = next(step for step, each in enumerate(history) if each >= history[-1] / 2)
        found = answer(np.array(history))
        require_close(found, right, f"For the history {history} the step")


@exercise("4.3", hint="Divide each image's gradient by its own largest absolute value.")
def largest_step(answer: Callable) -> None:
    deep = cut("block4_conv1")
    start = noise(48, [5, 6])
    means = np.mean(deep(start), axis=(1, 2))
    silent, awake = int(np.flatnonzero(means[1] == 0)[0]), int(means[0].argmax())
    for layer, images, filters, step_size in (
        ("block3_conv1", noise(32, [1, 2, 3]), [30, 2, 9], 6.0),
        ("block4_conv1", start, [awake, silent], 2.5),
    ):
        network, images = cut(layer), tf.constant(images)
        found = np.asarray(answer(network, images, filters, step_size))
        case = f"With {layer}, filters {filters} and a largest step of {step_size:g}"
        require(
            found.shape == images.shape,
            f"{case}, the new images should have the shape {tuple(images.shape)}, not {found.shape}.",
        )
        require(np.isfinite(found).all(), f"{case}, some values are not finite.")
        way = np.asarray(gradient_step(network, images, filters, 1.0)[0] - images)
        largest = np.abs(way).max(axis=(1, 2, 3), keepdims=True)
        right = step_size * way / np.maximum(largest, 1e-9)
        change = found - images
        for number, each, expected in zip(filters, change, right, strict=True):
            require(
                abs(np.abs(each).max() - np.abs(expected).max()) < 0.01 * step_size,
                f"{case}, a value of the image of filter {number} changes by up to "
                f"{np.abs(each).max():.3g}.",
            )
            require(
                np.abs(each - expected).max() < 0.01 * step_size,
                f"{case}, the image of filter {number} does not move along its gradient.",
            )


# ---------------------------------------------------------------- 5, grids


@exercise(
    "5.1", hint="How many MB does one image of this size need? And may a part of an image count?"
)
def images_that_fit(answer):
    model = pocketvgg.load()
    for layer, size, limit in (
        ("block3_conv1", 96, 700),
        ("block5_conv2", 112, 1500),
        ("block1_conv2", 64, 33),
    ):
        blank = np.zeros((1, size, size, 3), np.float32)
        names = [each.name for each in submodel(model, layer).layers[1:]]
        values = sum(np.size(submodel(model, name)(blank)) for name in names)
        right = limit * 10**6 // (4 * values)
        given = answer(model, layer, size, limit)
        require_close(
            given, right, f"The number for {layer}, images of {size} pixels and {limit} MB"
        )


@exercise(
    "5.2", hint="For each pattern take a mean over its own images only; then compare the patterns."
)
def favourites(answer):
    # Pattern 4 has one strong image, pattern 9 has many weak ones, and there is no pattern 0 to 3.
    labels = np.array([9, 4, 6, 9, 9, 6, 4, 9, 9, 4])
    answers = np.random.default_rng(5).uniform(0.0, 1.0, (10, 4))
    answers[labels == 6, 0] += 1.0
    answers[1, 0], answers[labels == 9, 1] = 2.0, 0.9
    answers[1, 2], answers[[6, 9], 2], answers[labels == 6, 2] = 3.0, 0.0, 1.5
    answers[labels == 4, 3] = [1.2, 1.1, 1.2]
    table = {k: [np.mean(answers[labels == k, f]) for f in range(4)] for k in (4, 6, 9)}
    right = np.array([max(table, key=lambda k: table[k][f]) for f in range(4)])
    require_close(
        answer(answers, labels),
        right,
        f"For 10 images of the patterns {labels.tolist()} the favourites",
    )


@exercise(
    "5.3",
    hint="Test it on one wave whose length you know. And what is the mean of an image, as a wave?",
)
def coarse_share(answer):
    across = np.arange(60)[None, :, None] * np.ones((60, 1, 3))
    long, short = (np.cos(2 * np.pi * across / length) for length in (20, 5))
    image = 120 + 30 * long + 40 * short
    for wavelength, right in ((10, 900 / 2500), (4, 1.0), (25, 0.0)):
        what = "of waves of 20 and 5 pixels, with amplitudes of 30 and 40 around a mean of 120,"
        require_close(
            answer(image, wavelength),
            right,
            f"The share in waves longer than {wavelength} pixels, for an image {what}",
            absolute=1e-6,
        )
    slanted = 200 + 25 * np.cos(2 * np.pi * (across + across.transpose(1, 0, 2)) / 12)
    require_close(
        answer(slanted, 10),
        0.0,
        "The share in waves longer than 10 pixels, for slanted stripes that repeat every 8.5 pixels,",
        absolute=1e-6,
    )
