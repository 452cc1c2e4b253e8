"""The textures that PocketVGG knows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import cv2
import numpy as np

from filtersight.world.painting import (
    Array,
    Rng,
    box,
    circle,
    coordinates,
    draw_polygon,
    log_uniform,
    paint,
    palette,
    smooth_noise,
    turned,
)

# A texture is a function of a random generator and of the coordinates x and y, counted in periods,
# turned and shifted at random, all (side, side) float32. It returns a field of values 0 to 1 (or of
# booleans), which paint() turns into colours.
TEXTURES: dict[str, Callable[[Rng, int], Array]] = {}  # name -> (rng, side) -> picture


def texture(fewest: float = 1, most: float = 1, colours: int = 2):
    """Register a texture that has `fewest` to `most` periods in a picture."""

    def register(field: Callable[[Rng, Array, Array], Array]):
        def paint_texture(rng: Rng, side: int) -> Array:
            x, y = coordinates(rng, side, periods=log_uniform(rng, fewest, most))
            return paint(field(rng, x, y), palette(rng, colours))

        TEXTURES[field.__name__] = paint_texture
        return field

    return register


def fold(t: Array) -> Array:
    """A triangle wave of period 1: 0 at whole numbers, 1 half-way between."""
    return 2 * np.abs(t - np.round(t))


def per_cell(rng: Rng, column: Array, row: Array) -> Array:
    """A random number from 0 to 1 for each cell of a lattice."""
    return rng.random((64, 64), np.float32)[row.astype(int) % 64, column.astype(int) % 64]


@texture(3, 11)
def stripes(rng, x, y):
    return fold(x) < rng.uniform(0.3, 0.7)


@texture(2, 6)
def checkerboard(rng, x, y):
    return (np.floor(x) + np.floor(y)) % 2


@texture(4, 8)
def dots(rng, x, y):
    return np.hypot(fold(x), fold(y)) < rng.uniform(0.45, 0.75)


@texture(4, 9)
def rings(rng, x, y):
    return fold(np.hypot(x, y) + np.float32(rng.random())) < rng.uniform(0.35, 0.65)


@texture(3, 6)
def spiral(rng, x, y):
    arms = rng.integers(1, 4) * rng.choice([-1, 1])
    turns = np.arctan2(y, x) / (2 * math.pi)
    return fold(np.hypot(x, y) + arms * turns) < rng.uniform(0.35, 0.65)


@texture()
def rays(rng, x, y):
    return fold(rng.integers(5, 13) * np.arctan2(y, x) / (2 * math.pi)) < rng.uniform(0.35, 0.65)


@texture(2.5, 5)
def waves(rng, x, y):
    height, length = rng.uniform(0.35, 0.6), rng.uniform(1.5, 2.5)
    return fold(x + height * np.sin(2 * math.pi / length * y)) < rng.uniform(0.35, 0.65)


@texture(2.5, 5)
def zigzag(rng, x, y):
    return fold(x + rng.uniform(0.8, 1.2) * fold(y / 2)) < rng.uniform(0.35, 0.65)


@texture(2.5, 5)
def bricks(rng, x, y):
    row = np.floor(2 * y)
    across, joint = x + (row % 2) / 2, rng.uniform(0.06, 0.1)
    column = np.floor(across)
    mortar = (across - column < joint) | (2 * y - row < 2 * joint)
    return np.where(mortar, 1, 0.3 * per_cell(rng, column, row))


@texture(3.5, 6.5)
def grid(rng, x, y):
    return np.minimum(fold(x), fold(y)) < rng.uniform(0.15, 0.3)


@texture(3, 6)
def honeycomb(rng, x, y):
    tall = np.float32(math.sqrt(3))
    cells = []
    for shift in (0, 0.5):  # hexagons lie on two rectangular lattices
        u, v = x - shift, y / tall - shift
        u, v = np.abs(u - np.round(u)), tall * np.abs(v - np.round(v))
        cells.append(np.maximum(u, u / 2 + v * tall / 2))
    return np.minimum(*cells) > rng.uniform(0.38, 0.43)


@texture(3, 5, colours=4)
def mosaic(rng, x, y):
    tones = rng.permutation(np.linspace(0, 1, 36, dtype=np.float32))
    nearest, field = np.full_like(x, np.inf), np.zeros_like(x)
    for tone, (u, v) in zip(tones, itertools.product(np.arange(-2.5, 3), repeat=2), strict=True):
        u, v = u + rng.uniform(-0.45, 0.45), v + rng.uniform(-0.45, 0.45)
        distance = (x - u) ** 2 + (y - v) ** 2
        np.copyto(field, tone, where=distance < nearest)
        np.minimum(nearest, distance, out=nearest)
    return field


@texture()
def blobs(rng, x, y):
    return smooth_noise(rng, len(x), int(rng.integers(5, 11))) > 0.5


@texture()
def contours(rng, x, y):
    hills = smooth_noise(rng, len(x), int(rng.integers(2, 5)))
    return fold(rng.uniform(3, 5) * hills) < rng.uniform(0.25, 0.4)


@texture()
def clouds(rng, x, y):
    field = np.sum([smooth_noise(rng, len(x), cells) / cells for cells in (3, 6, 12)], axis=0)
    return (field - field.min()) / np.ptp(field)


@texture(colours=3)
def noise(rng, x, y):
    grains = int(rng.integers(28, 65))
    return cv2.resize(rng.random((grains, grains), np.float32), x.shape)


@texture(2.5, 4)
def scales(rng, x, y):
    row, reach, field = np.floor(2 * y), 0.6, np.zeros_like(x)
    for above in (1, 0, -1):  # a scale lies over the ones in the row below it
        centre = row + above
        u = x - (centre % 2) / 2
        distance = np.hypot(u - np.round(u), y - centre / 2) / reach
        field = np.where(distance < 1, distance**3, field)
    return field


@texture(2.5, 5, colours=3)
def plaid(rng, x, y):
    bands = 0.35 * (fold(x) < 0.5) + 0.35 * (fold(y) < 0.5)
    threads = (fold(x) > 0.85) | (fold(y) > 0.85)
    return bands + 0.3 * threads


@texture(3.5, 6)
def maze(rng, x, y):
    column, row = np.floor(x), np.floor(y)  # Truchet's tiles: quarter circles, flipped or not
    u, v = x - column, y - row
    u = np.where(per_cell(rng, column, row) < 0.5, 1 - u, u)
    near = np.minimum(np.abs(np.hypot(u, v) - 0.5), np.abs(np.hypot(1 - u, 1 - v) - 0.5))
    return near < rng.uniform(0.12, 0.2)


@texture(2, 3.5)
def weave(rng, x, y):
    upright = (np.floor(x) + np.floor(y)) % 2 == 0
    return fold(3 * np.where(upright, x, y)) > rng.uniform(0.35, 0.55)


@texture(colours=3)
def bubbles(rng, x, y):
    field, side = np.zeros(x.shape, np.uint8), len(x)
    for _ in range(rng.integers(14, 24)):
        centre, radius = rng.uniform(0, side, 2), rng.uniform(0.05, 0.14) * side
        rim = circle(*centre, radius)
        draw_polygon(field, rim, 110)
        draw_polygon(field, rim, 255, width=0.025 * side)
    return field / np.float32(255)


@texture(colours=5)
def confetti(rng, x, y):
    field, side = np.zeros(x.shape, np.uint8), len(x)
    for _ in range(rng.integers(30, 50)):
        length, angle = rng.uniform(0.03, 0.05) * side, rng.uniform(0, math.pi)
        piece = turned(box(-1, -1.6, 1, 1.6) * length, angle) + rng.uniform(0, side, 2)
        draw_polygon(field, piece, rng.integers(60, 256))
    return field / np.float32(255)
