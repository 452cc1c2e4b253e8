"""Weather for drawings: snow, night, fog and blur, none of which is in what PocketVGG learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from filtersight.world.painting import Array


def snow(
    images: Array, seed: int = 1, *, flakes: int | Sequence[int] = 40, level: int = 245
) -> Array:
    """The images (n, size, size, 3) uint8 behind snowflakes of the grey `level`.

    A flake is round, a sixteenth of the side wide and anywhere by chance. `flakes`: how many, in each
    image or in each of them its own number.
    """
    rng, size, result = np.random.default_rng(seed), images.shape[1], images.copy()
    for image, count in zip(result, np.broadcast_to(flakes, len(result)), strict=True):
        for x, y in rng.uniform(0, 16 * size, (count, 2)).astype(int):  # in sixteenths of a pixel
            cv2.circle(image, (int(x), int(y)), size // 2, (level,) * 3, -1, cv2.LINE_AA, 4)
    return result


def night(images: Array) -> Array:
    """The images at a quarter of their brightness."""
    return (images * 0.25).astype(np.uint8)


def fog(images: Array) -> Array:
    """The images at a quarter of their contrast, and bright."""
    return (images * 0.25 + 160).astype(np.uint8)


def blur(images: Array) -> Array:
    """The images out of focus, by a thirty-second of the side."""
    width = images.shape[1] / 32
    return np.stack([cv2.GaussianBlur(image, (0, 0), width) for image in images])


WEATHER: dict[str, Callable[[Array], Array]] = {
    "clear": np.copy,
    "night": night,
    "fog": fog,
    "blur": blur,
    "snow": snow,
}
"""What each weather makes of images (n, size, size, 3) uint8."""
