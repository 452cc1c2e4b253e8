"""Tests of the exercises of chapter 9: trust."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import keras
import numpy as np

from filtersight.basics.exercises import exercise, require, require_close
from filtersight.networks.layers import submodel
from filtersight.trust.scores import reality

LAYER = "block4_conv3"


@exercise(
    "9.1",
    hint="One of the chapter's functions gives this number for all filters of the layer; look for the "
    "highest of them.",
)
def highest_of_noise(answer: float, model: keras.Model) -> None:
    """The highest quotient that plain noise reaches."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)
    maps = submodel(model, LAYER)(noise.astype(np.float32)).numpy()
    answers, best = maps.mean(axis=(0, 1, 2)), reality(model, LAYER).answers.max(axis=0)
    fires = best > 0
    require_close(answer, float((answers[fires] / best[fires]).max()), "The highest quotient")


@exercise(
    "9.2",
    hint="After shuffling, any verdict may stand beside any picture. How often does each verdict meet a "
    "filter that likes it?",
)
def by_chance(answer: Callable) -> None:
    """The agreement to be expected from shuffled verdicts, by trying all orders."""
    liked = [
        ("noise", "maze", "grid"),
        ("fish", "noise", "cats"),
        ("plaid", "weave", "grid"),
        ("noise", "grid", "stars"),
        ("boats", "waves", "dots"),
    ]
    for verdicts in (
        ["noise", "fish", "plaid", "noise", "waves"],
        ["noise"] * 5,
        ["grid", "cats", "faces", "noise", "eyes"],
    ):
        shares = [
            np.mean([one in three for one, three in zip(order, liked, strict=True)])
            for order in itertools.permutations(verdicts)
        ]
        require_close(
            answer(list(verdicts), list(liked)),
            float(np.mean(shares)),
            f"For the verdicts {', '.join(verdicts)}, with the filters liking {liked}, the share",
            tolerance=0.001,
        )


def spectrum(image: np.ndarray) -> np.ndarray:
    """The amplitude of each frequency in each channel."""
    return np.abs(np.fft.fft2(image, axes=(0, 1)))


def likeness(one: np.ndarray, two: np.ndarray) -> float:
    """The highest correlation of two images, over all shifts of one of them around the edges: 0 to 1."""
    waves = [np.fft.fft2(each - each.mean(axis=(0, 1)), axes=(0, 1)) for each in (one, two)]
    across = np.fft.ifft2(waves[0] * np.conj(waves[1]), axes=(0, 1)).real.sum(axis=-1)
    power = [np.abs(each) ** 2 for each in waves]
    return float(across.max() * across.size / np.sqrt(power[0].sum() * power[1].sum()))


@exercise(
    "9.3",
    hint="np.fft.fft2(image, axes=(0, 1)) is amplitude times exp(1j * phase). Random phases that belong "
    "together come from the transform of a real image.",
)
def scrambled(answer: Callable) -> None:
    """An image of the same amplitudes and of random phases."""
    rng = np.random.default_rng(5)
    for height, width in ((40, 40), (32, 48)):
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        one, two = (np.asarray(answer(image.copy(), seed)) for seed in (1, 2))
        what = f"For an image of {height} × {width} pixels"
        require(np.isrealobj(one), f"{what} the result is complex; it should be real.")
        require(one.shape == image.shape, f"{what} the result has the shape {one.shape}.")
        means, right = one.mean(axis=(0, 1)), image.mean(axis=(0, 1))
        require_close(means, right, f"{what}, the mean of each channel,", tolerance=0.001)
        ratio = spectrum(one) / np.maximum(spectrum(image), 1e-9)
        require(
            np.allclose(ratio, 1, atol=0.01),
            f"{what} the amplitudes are from {ratio.min():.2f} to {ratio.max():.2f} times those of the "
            "image.",
        )
        images = image.astype(np.float64)
        for other in (images, images[::-1], images[:, ::-1], images[::-1, ::-1]):
            same = likeness(one, other)
            require(
                same < 0.5,
                f"{what}, the result is the image shifted or mirrored: correlation {same:.2f}.",
            )
        require(likeness(one, two) < 0.5, f"{what}, seeds 1 and 2 give nearly the same image.")
