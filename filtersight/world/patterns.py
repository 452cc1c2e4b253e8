"""The world that PocketVGG knows: pictures of patterns, drawn by chance.

PocketVGG has seen nothing but these, so what a filter shows can be checked against everything the
network ever saw.

    images, labels = patterns.images(1000, seed=1)      # pictures and what they show
    picture = patterns.image("spiral", seed=1)          # one picture of one pattern
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from tqdm import tqdm

from filtersight.basics.checks import check_whole, nearest
from filtersight.world.painting import Array, Rng
from filtersight.world.textures import TEXTURES
from filtersight.world.things import THINGS

# The order of the labels is that of the two files, whatever is imported first.
PAINTERS = TEXTURES | THINGS
NAMES: tuple[str, ...] = tuple(PAINTERS)
SIZES = (32, 1024)  # below 32 pixels the last pooling layer of PocketVGG has nothing to pool


def images(n: int, seed: int, size: int = 64) -> tuple[Array, Array]:
    """Draw `n` pictures of random patterns.

    Returns the pictures, (n, size, size, 3) uint8 RGB, and their labels, (n,) int64, places in
    NAMES. The same seed gives the same bytes (another version of OpenCV may round a few pixels
    differently); picture i depends on seed, i and size only, so a smaller `n` gives the first
    pictures of a larger one. In each run of len(NAMES) pictures, each pattern stands once.
    Raises ValueError if a number is out of range.
    """
    n, seed, size = (
        check_whole("n", n, 0, 10**7),
        check_whole("seed", seed),
        check_whole("size", size, *SIZES),
    )
    orders = [
        np.random.default_rng([seed, 0, run]).permutation(len(NAMES))
        for run in range(math.ceil(n / len(NAMES)))
    ]
    labels = np.array(orders, np.int64).reshape(-1)[:n]
    pictures = np.empty((n, size, size, 3), np.uint8)

    def fill(i: int) -> None:
        pictures[i] = picture(NAMES[labels[i]], np.random.default_rng([seed, 1, i]), size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(fill, range(n)), "drawing", n, delay=2, leave=False):
            pass
    return pictures, labels


def image(name: str, seed: int, size: int = 64) -> Array:
    """Draw one picture of the pattern `name`: (size, size, 3) uint8 RGB.

    Raises ValueError if there is no such pattern, or if a number is out of range.
    """
    if name not in NAMES:
        raise ValueError(
            f"no pattern {name!r}{nearest(name, NAMES)} All {len(NAMES)} are in patterns.NAMES"
        )
    seed, size = check_whole("seed", seed), check_whole("size", size, *SIZES)
    return picture(name, np.random.default_rng([seed, 2, NAMES.index(name)]), size)


def picture(name: str, rng: Rng, size: int) -> Array:
    """Draw a pattern at twice the size, shrink it, and add a little blur and noise to some."""
    large = PAINTERS[name](rng, 2 * size)
    pixels = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)
    blur, grain = rng.uniform(-1, 1) * size / 64, rng.uniform(-10, 10)
    if blur > 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    if grain > 0:
        noisy = pixels + grain * rng.standard_normal(pixels.shape, np.float32)
        pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    return pixels
