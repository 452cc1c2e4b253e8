"""Signatures: numbers by which pictures that look alike are found."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

RINGS, DIRECTIONS = 5, 4  # of the spectrum
LENGTH = 6 + RINGS * DIRECTIONS  # of a signature
FAINT = 0.003  # a share of the power below which differences do not count
STEPS = 32  # of a stored signature to one standard deviation


def signatures(images: np.ndarray) -> np.ndarray:
    """What tells textures and colours apart, of images (n, size, size, 3) uint8: (n, 26) float32.

    The distance of two rows says how different two pictures look, wherever in them things lie: a picture
    rolled around has the same signature. It is of texture and colour and knows nothing of meaning. The 26
    numbers: mean and standard deviation of brightness, red against green, and yellow against blue; then
    the logarithm of the share of the brightness's power in 5 ranges of wavelength (from 64 to 2 pixels,
    each a factor of two) times 4 directions. Each number is counted from its mean over `images` in its
    standard deviations over them, so signatures can be compared only within one call.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"images must be (n, size, size, 3) uint8, not {images.shape} {images.dtype}"
        )
    return standardized(descriptors(images))


def standardized(numbers: np.ndarray) -> np.ndarray:
    """Each column (n,) minus its mean, divided by its standard deviation; one that is constant becomes 0."""
    if not len(numbers):
        return numbers.astype(np.float32)
    deviation = numbers.std(axis=0)
    # What differs by rounding only must not be blown up.
    return (
        (numbers - numbers.mean(axis=0)) / np.where(deviation > 1e-5, deviation, np.inf)
    ).astype(np.float32)


def descriptors(images: np.ndarray) -> np.ndarray:
    """The numbers of `signatures` as measured, images (n, height, width, 3) uint8: (n, 26) float32."""
    result = np.empty((len(images), LENGTH), np.float32)
    bins = spectrum_bins(*images.shape[1:3])
    # Some at a time: they are large as floats.
    for first in tqdm(range(0, len(images), 64), "signatures", delay=2, leave=False):
        some = images[first : first + 64].astype(np.float32) / 255
        red, green, blue = np.moveaxis(some, -1, 0)
        axes = [(red + green + blue) / 3, (red - green) / 2, (red + green) / 4 - blue / 2]
        means = [axis.mean(axis=(1, 2)) for axis in axes]
        spreads = [axis.std(axis=(1, 2)) for axis in axes]
        power = np.abs(np.fft.fft2(axes[0] - means[0][:, None, None])) ** 2
        power = power.reshape(len(some), -1) @ bins
        # A picture without any wave has equal shares of nothing.
        shares = power / np.maximum(power.sum(axis=1, keepdims=True), 1e-6)
        result[first : first + 64] = np.column_stack([*means, *spreads, np.log(shares + FAINT)])
    return result


@functools.lru_cache(maxsize=4)
def spectrum_bins(height: int, width: int) -> np.ndarray:
    """How much each wave of an image counts in each range and direction: (height × width, 20) float32.

    A wave between two ranges or two directions counts in both, in the nearer one more.
    """
    down, right = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    frequency, angle = np.hypot(down, right), np.arctan2(down, right)
    # In octaves from the middle of the first range; longer waves count there, the finest with the last.
    octave = np.clip(np.log2(np.maximum(frequency, 1e-9) * 64) - 0.5, 0, RINGS - 1)
    result = []
    for number in range(RINGS):
        for direction in range(DIRECTIONS):
            away = angle * DIRECTIONS / np.pi - direction  # in steps between directions
            away = np.abs((away + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2)
            result.append(
                np.clip(1 - np.abs(octave - number), 0, None) * np.clip(1 - away, 0, None)
            )
    return np.stack(result, axis=-1).reshape(-1, RINGS * DIRECTIONS).astype(np.float32)


def stored(rows: Sequence[np.ndarray | None]) -> np.ndarray:
    """The signatures of pictures by their `descriptors`, as the page has them: (n, 26) int8.

    In steps of a thirty-second of a standard deviation; zeros for None, where there is no picture.
    """
    there = np.array([row is not None for row in rows])
    result = np.zeros((len(rows), LENGTH), np.int8)
    if there.any():
        numbers = standardized(np.stack([row for row in rows if row is not None]))
        result[there] = np.clip(np.round(numbers * STEPS), -127, 127)
    return result
