"""The world that PocketVGG knows, and PocketVGG itself.

PocketVGG is a narrow VGG16 that comes with the course. It has seen nothing but the patterns
drawn here, so what a filter shows can be checked against everything the network ever saw.

    images, labels = patterns.images(1000, seed=1)      # pictures and what they show
    picture = patterns.image("spiral", seed=1)          # one picture of one pattern
    model = patterns.load()                             # the trained network

`python patterns.py train` makes the weights in models/ again.
"""
from __future__ import annotations

import difflib
import functools
import hashlib
import io
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tqdm.auto import tqdm

if TYPE_CHECKING:
    import keras

Rng = np.random.Generator
Array = np.ndarray
Colour = "int | tuple[int, int, int]"   # a place in the picture's palette, or RGB
Part = tuple                            # (points, colour) filled; (points, colour, width) a line

# ---------------------------------------------------------------- textures
# A texture is a function of the coordinates x and y, counted in periods, turned and shifted at
# random. It returns a field of values 0 to 1 (or of booleans), which paint() turns into colours.

PAINTERS: dict[str, Callable[[Rng, int], Array]] = {}     # name -> (rng, side) -> picture


def texture(fewest: float, most: float, colours: int = 2):
    """Register a texture that has `fewest` to `most` periods in a picture."""
    def register(field: Callable[[Rng, Array, Array], Array]):
        def paint_texture(rng: Rng, side: int) -> Array:
            x, y = coordinates(rng, side, periods=log_uniform(rng, fewest, most))
            return paint(field(rng, x, y), palette(rng, colours))
        PAINTERS[field.__name__] = paint_texture
        return field
    return register


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number in which each doubling is as likely as the next."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


@functools.lru_cache(maxsize=4)
def pixel_grid(side: int) -> tuple[Array, Array]:
    """x and y of each pixel's centre, -0.5 to 0.5, both (side, side) float32."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    return np.meshgrid(line, line)


def coordinates(rng: Rng, side: int, periods: float) -> tuple[Array, Array]:
    """x and y in periods, turned by any angle about a point near the middle."""
    x, y = pixel_grid(side)
    x, y = x - np.float32(rng.uniform(-0.2, 0.2)), y - np.float32(rng.uniform(-0.2, 0.2))
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = np.float32(periods * math.cos(angle)), np.float32(periods * math.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def palette(rng: Rng, count: int, distance: float = 120) -> Array:
    """`count` random RGB colours, (count, 3) float64; each is far from the two before it."""
    colours: list[Array] = []
    while len(colours) < count:
        colour = rng.uniform(0, 255, 3)
        if all(math.dist(colour, other) > distance for other in colours[-2:]):
            colours.append(colour)
    return np.array(colours)


def paint(field: Array, colours: Array) -> Array:
    """Turn a field of 0 to 1 into colours, blending from the first to the last."""
    stops = np.linspace(0, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), stops, c) for c in colours.T], axis=-1)
    return table.astype(np.uint8)[(field * np.float32(255)).astype(np.uint8)]


def fold(t: Array) -> Array:
    """A triangle wave of period 1: 0 at whole numbers, 1 half-way between."""
    return 2 * np.abs(t - np.round(t))


def smooth_noise(rng: Rng, side: int, cells: int) -> Array:
    """Random hills, about `cells` across, values 0 to 1, (side, side) float32."""
    hills = cv2.resize(rng.random((cells + 1, cells + 1), np.float32), (side, side),
                       interpolation=cv2.INTER_CUBIC)
    low, high = float(hills.min()), float(hills.max())
    return (hills - low) / (high - low)


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
    return fold(np.hypot(x, y) + arms * np.arctan2(y, x) / (2 * math.pi)) < rng.uniform(0.35, 0.65)


@texture(1, 1)
def rays(rng, x, y):
    return fold(rng.integers(5, 13) * np.arctan2(y, x) / (2 * math.pi)) < rng.uniform(0.35, 0.65)


@texture(3, 6)
def waves(rng, x, y):
    height, length = rng.uniform(0.35, 0.6), rng.uniform(1.5, 2.5)
    return fold(x + height * np.sin(2 * math.pi / length * y)) < rng.uniform(0.35, 0.65)


@texture(3, 6)
def zigzag(rng, x, y):
    return fold(x + rng.uniform(0.8, 1.2) * fold(y / 2)) < rng.uniform(0.35, 0.65)


@texture(2.5, 5)
def bricks(rng, x, y):
    row = np.floor(2 * y)
    across, down, joint = x + (row % 2) / 2, 2 * y - row, rng.uniform(0.06, 0.1)
    tone = rng.random((64, 64), np.float32)[row.astype(int) % 64, np.floor(across).astype(int) % 64]
    across -= np.floor(across)
    mortar = (across < joint) | (down < 2 * joint)
    return np.where(mortar, 1, 0.3 * tone)


@texture(3.5, 8)
def grid(rng, x, y):
    return np.minimum(fold(x), fold(y)) < rng.uniform(0.15, 0.3)


@texture(3, 6)
def honeycomb(rng, x, y):
    tall = np.float32(math.sqrt(3))
    cells = []
    for shift in (0, 0.5):      # hexagons lie on two rectangular lattices
        u, v = x - shift, y / tall - shift
        u, v = np.abs(u - np.round(u)), tall * np.abs(v - np.round(v))
        cells.append(np.maximum(u, u / 2 + v * tall / 2))
    return np.minimum(*cells) > rng.uniform(0.38, 0.43)


@texture(3, 5, colours=4)
def mosaic(rng, x, y):
    tones = rng.permutation(np.linspace(0, 1, 36, dtype=np.float32))
    nearest, field = np.full_like(x, np.inf), np.zeros_like(x)
    for tone, (u, v) in zip(tones, np.stack([*np.mgrid[-2.5:3, -2.5:3]], -1).reshape(-1, 2)):
        u, v = u + rng.uniform(-0.45, 0.45), v + rng.uniform(-0.45, 0.45)
        distance = (x - u) ** 2 + (y - v) ** 2
        np.copyto(field, tone, where=distance < nearest)
        np.minimum(nearest, distance, out=nearest)
    return field


@texture(1, 1)
def blobs(rng, x, y):
    return smooth_noise(rng, len(x), int(rng.integers(5, 11))) > 0.5


@texture(1, 1)
def contours(rng, x, y):
    hills = smooth_noise(rng, len(x), int(rng.integers(2, 5)))
    return fold(rng.uniform(3, 5) * hills) < rng.uniform(0.25, 0.4)


@texture(1, 1, colours=2)
def clouds(rng, x, y):
    octaves = [smooth_noise(rng, len(x), cells) / cells for cells in (3, 6, 12)]
    field = sum(octaves)
    return (field - field.min()) / np.ptp(field)


@texture(1, 1, colours=3)
def noise(rng, x, y):
    grains = int(rng.integers(28, 65))
    return cv2.resize(rng.random((grains, grains), np.float32), x.shape)


@texture(3, 5)
def scales(rng, x, y):
    row, reach, field = np.floor(2 * y), 0.6, np.zeros_like(x)
    for above in (1, 0, -1):            # a scale lies over the ones in the row below it
        centre = row + above
        u = x - (centre % 2) / 2
        distance = np.hypot(u - np.round(u), y - centre / 2) / reach
        field = np.where(distance < 1, distance ** 3, field)
    return field


@texture(2.5, 5, colours=3)
def plaid(rng, x, y):
    bands = 0.35 * (fold(x) < 0.5) + 0.35 * (fold(y) < 0.5)
    threads = (fold(x) > 0.85) | (fold(y) > 0.85)
    return bands + 0.3 * threads


@texture(3.5, 6)
def maze(rng, x, y):
    flip = rng.random((64, 64)) < 0.5               # each tile has two quarter circles, turned or not
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    u = np.where(flip[row.astype(int) % 64, column.astype(int) % 64], 1 - u, u)
    near = np.minimum(np.abs(np.hypot(u, v) - 0.5), np.abs(np.hypot(1 - u, 1 - v) - 0.5))
    return near < rng.uniform(0.12, 0.2)


@texture(2, 3.5)
def weave(rng, x, y):
    upright = (np.floor(x) + np.floor(y)) % 2 == 0
    return fold(3 * np.where(upright, x, y)) > rng.uniform(0.35, 0.55)


@texture(1, 1, colours=3)
def bubbles(rng, x, y):
    field, side = np.zeros(x.shape, np.uint8), len(x)
    for _ in range(rng.integers(14, 24)):
        centre, radius = rng.uniform(0, side, 2), rng.uniform(0.05, 0.14) * side
        rim = round_shape(0, 0, 1, 1) * radius + centre
        draw(field, rim, 110)
        draw(field, rim, 255, width=0.025 * side)
    return field / np.float32(255)


@texture(1, 1, colours=5)
def confetti(rng, x, y):
    field, side = np.zeros(x.shape, np.uint8), len(x)
    for _ in range(rng.integers(30, 50)):
        length, angle = rng.uniform(0.03, 0.05) * side, rng.uniform(0, math.pi)
        box = np.array([(-1, -1.6), (1, -1.6), (1, 1.6), (-1, 1.6)]) * length
        draw(field, turned(box, angle) + rng.uniform(0, side, 2), int(rng.integers(60, 256)))
    return field / np.float32(255)


# ---------------------------------------------------------------- things
# A thing is a list of parts inside the circle of radius 1, y downwards, drawn one over the other.
# Colours 1, 2 and 3 are random but far from each other, and 1 is far from the background.

INK, WHITE = (25, 25, 25), (235, 235, 235)


def thing(turn: float = 180):
    """Register a thing that is drawn turned by up to `turn` degrees to either side."""
    def register(parts: Callable[[Rng], list[Part]]):
        def paint_thing(rng: Rng, side: int) -> Array:
            colours = palette(rng, 4)
            canvas = background(rng, side, colours[0])
            for x, y, radius in places(rng):
                scale = radius * side * np.array([rng.uniform(0.85, 1), 1])
                angle, centre = math.radians(rng.uniform(-turn, turn)), np.array([x, y]) * side
                for points, colour, *width in parts(rng):
                    ink = colour if isinstance(colour, tuple) else colours[colour]
                    draw(canvas, turned(points * scale, angle) + centre, ink,
                         width=width[0] * radius * side if width else None)
            return canvas
        PAINTERS[parts.__name__] = paint_thing
        return parts
    return register


def places(rng: Rng) -> list[tuple[float, float, float]]:
    """Where to draw 1 to 4 things: x, y, radius in parts of the picture's side; none is cut off."""
    if rng.random() < 0.6:
        radius = rng.uniform(0.26, 0.46)
        return [(*rng.uniform(radius, 1 - radius, 2), radius)]
    corners = rng.permutation([(0, 0), (0, 1), (1, 0), (1, 1)])[:rng.integers(2, 5)]
    radius = rng.uniform(0.19, 0.24)
    return [(*(corner / 2 + rng.uniform(radius, 0.5 - radius, 2)), radius) for corner in corners]


def background(rng: Rng, side: int, colour: Array) -> Array:
    """A plain colour, a slow gradient or faint clouds, (side, side, 3) uint8."""
    kind = rng.integers(3)
    if kind == 0:
        return np.full((side, side, 3), colour, np.float32).astype(np.uint8)
    x, _ = coordinates(rng, side, periods=1)
    field = np.clip(x + 0.5, 0, 1) if kind == 1 else smooth_noise(rng, side, int(rng.integers(3, 9)))
    shade = rng.uniform(-40, 40)
    return paint(field, np.clip([colour - shade, colour + shade], 0, 255))


def draw(canvas: Array, points: Array, colour, width: float | None = None) -> None:
    """Fill the polygon of `points` (n, 2), in pixels, or draw the line through them."""
    fixed = np.round(points * 16).astype(np.int32)      # 4 bits behind the point
    ink = tuple(float(c) for c in np.atleast_1d(colour))
    if width is None:
        cv2.fillPoly(canvas, [fixed], ink, cv2.LINE_AA, shift=4)
    else:
        cv2.polylines(canvas, [fixed], False, ink, max(1, round(width)), cv2.LINE_AA, shift=4)


def turned(points: Array, angle: float) -> Array:
    """Points (n, 2) turned by `angle` radians about the origin."""
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def round_shape(x: float, y: float, wide: float, high: float, start: float = 0, stop: float = 360) -> Array:
    """Points on an ellipse about (x, y), or on its arc from `start` to `stop` degrees."""
    angle = np.radians(np.linspace(start, stop, 37))
    return np.stack([x + wide * np.cos(angle), y + high * np.sin(angle)], axis=-1)


def star_shape(corners: int, inner: float, start: float = -90) -> Array:
    """A star whose inner corners lie at radius `inner`; a regular polygon has inner = cos(pi / n)."""
    angle = np.radians(start + np.arange(2 * corners) * 180 / corners)
    radius = np.where(np.arange(2 * corners) % 2, inner, 1)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def shape(*points: float) -> Array:
    """x0, y0, x1, y1, ... as an array of points (n, 2)."""
    return np.array(points, float).reshape(-1, 2)


def both_sides(points: Array) -> Array:
    """A shape that is its own mirror image, from its right half."""
    return np.concatenate([points, points[::-1] * (-1, 1)])


@thing()
def triangles(rng):
    return [(shape(0, -1, 0.87, 0.5, -0.87, 0.5), 1)]


@thing()
def squares(rng):
    return [(shape(-1, -1, 1, -1, 1, 1, -1, 1) * 0.7, 1)]


@thing()
def stars(rng):
    return [(star_shape(5, rng.uniform(0.38, 0.5)), 1)]


@thing()
def crosses(rng):
    w = rng.uniform(0.2, 0.33)
    return [(shape(-w, -1, w, -1, w, 1, -w, 1), 1), (shape(-1, -w, 1, -w, 1, w, -1, w), 1)]


@thing()
def discs(rng):
    return [(round_shape(0, 0, 0.95, 0.95), 1)]


@thing()
def hearts(rng):
    t = np.linspace(0, 2 * math.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [(np.stack([x, y - 2], -1) / 17, 1)]


@thing()
def moons(rng):
    bite = rng.uniform(0.35, 0.6)
    return [(np.concatenate([round_shape(0, 0, 1, 1, -90, 90), round_shape(0, 0, bite, 1, 90, -90)]), 1)]


@thing()
def arrows(rng):
    w, neck = rng.uniform(0.12, 0.2), rng.uniform(-0.1, 0.1)
    return [(both_sides(shape(0, -1, 0.65, neck, w, neck, w, 1)), 1)]


LETTERS = {     # pen strokes; letters that look like another pattern (O, X, I ...) are left out
    "A": [(-.6, .8, 0, -.8, .6, .8), (-.35, .25, .35, .25)],
    "B": [(-.5, -.8, -.5, .8, .3, .8, .55, .4, .3, 0, -.5, 0, .3, 0, .5, -.4, .3, -.8, -.5, -.8)],
    "E": [(.5, -.8, -.5, -.8, -.5, .8, .5, .8), (-.5, 0, .35, 0)],
    "F": [(.5, -.8, -.5, -.8, -.5, .8), (-.5, 0, .35, 0)],
    "G": [(.55, -.5, .3, -.8, -.3, -.8, -.6, -.4, -.6, .4, -.3, .8, .3, .8, .6, .5, .6, .1, .1, .1)],
    "H": [(-.5, -.8, -.5, .8), (.5, -.8, .5, .8), (-.5, 0, .5, 0)],
    "K": [(-.5, -.8, -.5, .8), (.5, -.8, -.5, .1), (-.15, -.15, .55, .8)],
    "M": [(-.65, .8, -.65, -.8, 0, .2, .65, -.8, .65, .8)],
    "P": [(-.5, .8, -.5, -.8, .3, -.8, .55, -.35, .3, .1, -.5, .1)],
    "R": [(-.5, .8, -.5, -.8, .3, -.8, .55, -.4, .3, 0, -.5, 0), (0, 0, .55, .8)],
    "S": [(.55, -.5, .3, -.8, -.3, -.8, -.55, -.45, -.3, -.05, .3, .05, .55, .45, .3, .8, -.3, .8, -.55, .5)],
}


@thing(turn=35)
def letters(rng):
    strokes, width = LETTERS[rng.choice(list(LETTERS))], rng.uniform(0.2, 0.32)
    return [(shape(*stroke), 1, width) for stroke in strokes]


@thing()
def eyes(rng):
    lid = round_shape(0, 0.75, 1.25, 1.25, -143, -37)
    almond = np.concatenate([lid, lid[::-1] * (1, -1)])
    iris = rng.uniform(0.38, 0.48)
    return [(almond, WHITE), (round_shape(0, 0, iris, iris), 1), (round_shape(0, 0, 0.2, 0.2), INK),
            (round_shape(0.1, -0.1, 0.07, 0.07), WHITE), (almond[[*range(len(almond)), 0]], INK, 0.09)]


@thing(turn=30)
def faces(rng):
    smile = rng.choice([-1, 1])
    mouth = round_shape(0, 0.4 - 0.15 * smile, 0.5, 0.35 * smile, 20, 160)
    eye = round_shape(0.36, -0.25, 0.13, 0.2)
    return [(round_shape(0, 0, 0.95, 0.95), 1), (eye, INK), (eye * (-1, 1), INK), (mouth, INK, 0.13)]


@thing(turn=30)
def cats(rng):
    ear, eye = shape(0.15, -0.45, 0.75, -1, 0.8, 0), round_shape(0.33, -0.05, 0.17, 0.13)
    whiskers = [(shape(s * 0.25, 0.35, s, 0.35 + tilt), INK, 0.05) for s in (-1, 1) for tilt in (-0.15, 0.15)]
    parts = [(ear, 1), (ear * (-1, 1), 1), (round_shape(0, 0.15, 0.8, 0.7), 1)]
    parts += [(side, WHITE) for side in (eye, eye * (-1, 1))]
    parts += [(shape(s * 0.33, -0.2, s * 0.33, 0.1), INK, 0.12) for s in (-1, 1)]
    return parts + whiskers + [(shape(-0.14, 0.25, 0.14, 0.25, 0, 0.42), INK)]


@thing()
def fish(rng):
    fat = rng.uniform(0.4, 0.55)
    return [(shape(0.3, 0, 1, -0.55, 0.85, 0, 1, 0.55), 2), (shape(-0.35, 0, 0.25, 0, 0.3, -0.75), 2),
            (round_shape(-0.2, 0, 0.75, fat), 1), (round_shape(-0.55, -0.1, 0.14, 0.14), WHITE),
            (round_shape(-0.55, -0.1, 0.07, 0.07), INK), (round_shape(-0.45, 0, 0.3, fat, -50, 50), 2, 0.08)]


@thing()
def flowers(rng):
    petals = rng.integers(5, 8)
    petal = round_shape(0.6, 0, 0.4, 1.5 / petals)
    return [(turned(petal, 2 * math.pi * k / petals), 1) for k in range(petals)] + [(round_shape(0, 0, 0.3, 0.3), 2)]


@thing()
def leaves(rng):
    wide = rng.uniform(0.45, 0.6)
    half = round_shape(wide - 1.25, -0.1, 1.25, 1.25, -40, 40)
    veins = [(shape(s * 0.3, y - 0.25, 0, y), 2, 0.06) for y in (-0.25, 0.1, 0.45) for s in (-1, 1)]
    return [(both_sides(half), 1), (shape(0, -0.7, 0, 1), 2, 0.09), *veins]


@thing(turn=20)
def houses(rng):
    window = shape(0, 0, 0.26, 0, 0.26, 0.26, 0, 0.26)
    return [(shape(-0.65, -0.15, 0.65, -0.15, 0.65, 0.8, -0.65, 0.8), 1), (shape(-0.85, -0.15, 0, -0.95, 0.85, -0.15), 2),
            (shape(-0.15, 0.8, -0.15, 0.3, 0.15, 0.3, 0.15, 0.8), 2), (window + (0.27, 0.05), 3), (window + (-0.53, 0.05), 3)]


@thing(turn=20)
def trees(rng):
    tiers = [(shape(0, top, wide, top + 0.7, -wide, top + 0.7), 1) for top, wide in ((-0.05, 0.75), (-0.5, 0.6), (-1, 0.45))]
    return [(shape(-0.12, 0.6, 0.12, 0.6, 0.12, 1, -0.12, 1), 2), *tiers]


@thing()
def gears(rng):
    teeth = int(rng.integers(8, 12))
    tooth = shape(0.6, -0.2, 1, -0.13, 1, 0.13, 0.6, 0.2) * (1, 9 / teeth)
    rim = [(turned(tooth, 2 * math.pi * k / teeth), 1) for k in range(teeth)]
    return rim + [(round_shape(0, 0, 0.76, 0.76), 1), (round_shape(0, 0, 0.3, 0.3), 0)]


@thing(turn=25)
def mushrooms(rng):
    spots = [(round_shape(x, y, 0.14, 0.14), 3) for x, y in ((-0.5, -0.3), (0, -0.6), (0.5, -0.3), (0.02, -0.18))]
    return [(shape(-0.2, -0.1, 0.2, -0.1, 0.3, 0.9, -0.3, 0.9), 2), (round_shape(0, 0.05, 0.95, 0.95, 180, 360), 1), *spots]


@thing(turn=60)
def butterflies(rng):
    upper, lower = turned(round_shape(0.52, 0, 0.5, 0.38), -0.7), turned(round_shape(0.45, 0, 0.4, 0.27), 0.7)
    wings = [(wing * (s, 1), c) for s in (-1, 1) for wing, c in ((upper, 1), (lower, 1), (upper * 0.55 + (0.18, -0.15), 2))]
    feelers = [(shape(0, -0.4, s * 0.25, -0.85), INK, 0.06) for s in (-1, 1)]
    return wings + feelers + [(round_shape(0, 0.05, 0.1, 0.55), INK)]


@thing(turn=30)
def clocks(rng):
    ticks = [(turned(shape(0.62, 0, 0.8, 0), math.pi * k / 6), INK, 0.07) for k in range(12)]
    hands = [(turned(shape(0, 0, length, 0), rng.uniform(0, 2 * math.pi)), INK, 0.11) for length in (0.4, 0.62)]
    return [(round_shape(0, 0, 1, 1), 1), (round_shape(0, 0, 0.86, 0.86), WHITE), *ticks, *hands]


@thing()
def snowflakes(rng):
    arm = [shape(0, 0, 0.95, 0), shape(0.85, -0.3, 0.5, 0, 0.85, 0.3)]
    return [(turned(line, math.pi * k / 3), 1, 0.12) for k in range(6) for line in arm]


@thing(turn=20)
def boats(rng):
    return [(shape(-0.9, 0.35, 0.9, 0.35, 0.55, 0.85, -0.55, 0.85), 1), (shape(0, 0.35, 0, -1), INK, 0.08),
            (shape(0.1, -0.9, 0.1, 0.2, 0.75, 0.2), 2), (shape(-0.1, -0.7, -0.1, 0.2, -0.6, 0.2), 3)]


NAMES: tuple[str, ...] = tuple(PAINTERS)


# ---------------------------------------------------------------- pictures

SIZES = (32, 1024)      # below 32 pixels the last pooling layer of PocketVGG has nothing to pool


def images(n: int, seed: int, size: int = 64, *, progress: bool = False) -> tuple[Array, Array]:
    """Draw `n` pictures of random patterns.

    Returns the pictures, (n, size, size, 3) uint8 RGB, and their labels, (n,) int64, places in
    NAMES. The same seed gives the same bytes; picture i depends on seed, i and size only, so a
    smaller `n` gives the first pictures of a larger one. In each run of len(NAMES) pictures,
    each pattern stands once. Raises ValueError if a number is out of range.
    """
    n, seed, size = whole("n", n, 0, 10**7), whole("seed", seed), whole("size", size, *SIZES)
    runs = math.ceil(n / len(NAMES))
    labels = np.array([np.random.default_rng([seed, 0, run]).permutation(len(NAMES)) for run in range(runs)],
                      dtype=np.int64).reshape(-1)[:n]
    pictures = np.empty((n, size, size, 3), np.uint8)

    def fill(i: int) -> None:
        pictures[i] = picture(NAMES[labels[i]], np.random.default_rng([seed, 1, i]), size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(tqdm(pool.map(fill, range(n)), total=n, desc="drawing", disable=not progress))
    return pictures, labels


def image(name: str, seed: int, size: int = 64) -> Array:
    """Draw one picture of the pattern `name`: (size, size, 3) uint8 RGB.

    Raises ValueError if there is no such pattern, or if a number is out of range.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(str(name), NAMES, n=1, cutoff=0)[0]
        raise ValueError(f"no pattern {name!r}; did you mean {near!r}? patterns.NAMES lists all {len(NAMES)}")
    seed, size = whole("seed", seed), whole("size", size, *SIZES)
    return picture(name, np.random.default_rng([seed, 2, NAMES.index(name)]), size)


def picture(name: str, rng: Rng, size: int) -> Array:
    """Draw a pattern at twice the size, shrink it, and add a little blur and noise to some."""
    pixels = cv2.resize(PAINTERS[name](rng, 2 * size), (size, size), interpolation=cv2.INTER_AREA)
    blur, grain = rng.uniform(-1, 1) * size / 64, rng.uniform(-10, 10)
    if blur > 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    if grain > 0:
        pixels = np.clip(pixels + grain * rng.standard_normal(pixels.shape, np.float32), 0, 255).astype(np.uint8)
    return pixels


def whole(what: str, value: int, low: int = 0, high: int | None = None) -> int:
    """`value` as an int, or a ValueError that says what was given and what is allowed."""
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):
        limits = f"from {low:,} to {high:,}" if high is not None else f"of {low} or more"
        raise ValueError(f"{what} must be a whole number {limits}, not {value!r}")
    return int(value)


# ---------------------------------------------------------------- PocketVGG

MODELS = Path(__file__).resolve().parent / "models"
WEIGHTS = MODELS / "pocketvgg.npz"
WIDTHS = (16, 32, 48, 64, 96)
CONVOLUTIONS = (2, 2, 3, 3, 3)      # VGG16's: so many in each block (Simonyan and Zisserman, 2014)
REPAIR = "`git checkout models` brings the published weights back, `python patterns.py train` makes new ones"


def build(widths: tuple[int, ...] = WIDTHS, *, dtype: str | None = None) -> keras.Model:
    """PocketVGG with random weights.

    Input: (n, height, width, 3), RGB from 0 to 255, 32 pixels or more to a side. Output:
    (n, len(NAMES)) probabilities. `widths` are the filters of a layer in each of the five
    blocks; `dtype` is a Keras dtype policy, by default the global one.
    """
    import keras
    if len(widths) != 5:
        raise ValueError(f"widths must be five numbers of filters, not {widths!r}")
    widths = [whole("each of widths", width, 1) for width in widths]
    x = inputs = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling", dtype=dtype)(x)
    for block, (width, count) in enumerate(zip(widths, CONVOLUTIONS), start=1):
        for convolution in range(1, count + 1):
            x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="he_normal",
                                    name=f"block{block}_conv{convolution}", dtype=dtype)(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool", dtype=dtype)(x)
    x = keras.layers.GlobalAveragePooling2D(name="global_average_pooling2d", dtype=dtype)(x)
    outputs = keras.layers.Dense(len(NAMES), activation="softmax", name="predictions", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="pocketvgg")


def load(path: str | os.PathLike = WEIGHTS) -> keras.Model:
    """PocketVGG with its published weights, checked against the .json file next to them.

    Raises FileNotFoundError if one of the two files is missing, and ValueError if a file was
    cut off or altered or belongs to another network; the message says how to repair it.
    """
    path = Path(path)
    data, about = read(path), read(path.with_suffix(".json"))
    try:
        about = json.loads(about)
        expected_bytes, expected_sha256, widths = about["bytes"], about["sha256"], tuple(about["widths"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.with_suffix('.json')}: not the description of the weights ({error!r}); {REPAIR}") from error
    if len(data) < expected_bytes:
        raise ValueError(f"{path}: cut off after {len(data):,} of {expected_bytes:,} bytes; {REPAIR}")
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise ValueError(f"{path}: altered, its sha256 is not the one in the .json file; {REPAIR}")
    if about.get("names") != list(NAMES):
        raise ValueError(f"{path}: trained on other patterns than patterns.NAMES; {REPAIR}")
    model = build(widths)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        put_weights(model, arrays)
    except Exception as error:      # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"{path}: {error}; {REPAIR}") from error
    return model


def read(path: Path) -> bytes:
    """The file's bytes, or a FileNotFoundError that says what to do."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; {REPAIR}") from None


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def get_weights(model: keras.Model) -> dict[str, Array]:
    """The weights as float16: {"block1_conv1.kernel": (3, 3, 3, 16), "block1_conv1.bias": (16,), ...}."""
    return {f"{layer.name}.{weight.name}": np.asarray(weight, np.float16)
            for layer in model.layers for weight in layer.weights}


def put_weights(model: keras.Model, arrays: dict[str, Array]) -> None:
    """Give the model the weights that get_weights() took. Raises ValueError if names or shapes differ."""
    weights = {f"{layer.name}.{weight.name}": weight for layer in model.layers for weight in layer.weights}
    expected = {name: tuple(weight.shape) for name, weight in weights.items()}
    for name in sorted(expected.keys() | arrays.keys()):
        found = arrays[name].shape if name in arrays else "nothing"
        if found != expected.get(name, "nothing"):
            raise ValueError(f"{name}: found {found}, expected {expected.get(name, 'nothing')}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: not all numbers are finite")
    for name, weight in weights.items():
        weight.assign(arrays[name].astype(np.float32))


def fast_dtype() -> str:
    """The dtype policy this machine trains faster with, by timing one convolution in both."""
    import tensorflow as tf

    def seconds(dtype: str) -> float:
        convolve = tf.function(lambda a, b: tf.nn.conv2d(a, b, 1, "SAME"))
        a, b = tf.ones((64, 32, 32, 32), dtype), tf.ones((3, 3, 32, 32), dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            convolve(a, b).numpy()
            times.append(time.perf_counter() - start)
        return min(times)

    return "mixed_bfloat16" if seconds("bfloat16") < 0.8 * seconds("float32") else "float32"


def train(folder: str | os.PathLike = MODELS, *, count: int = 60_000, epochs: int = 6, seed: int = 0,
          test_count: int = 6_000, size: int = 64, widths: tuple[int, ...] = WIDTHS) -> dict:
    """Train PocketVGG and write pocketvgg.npz, pocketvgg.json and README.md into `folder`.

    It learns from `count` pictures drawn with `seed` and is judged by `test_count` pictures
    drawn with seed + 1. Returns what the .json file says. Takes about ten minutes on two cores.
    """
    import keras
    count, epochs, test_count = whole("count", count, 1), whole("epochs", epochs, 1), whole("test_count", test_count, 1)
    folder, start = Path(folder), time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    pictures, labels = images(count, seed, size, progress=True)
    test_pictures, test_labels = images(test_count, seed + 1, size, progress=True)
    drawn = time.perf_counter()

    dtype = fast_dtype()
    model, batch = build(widths, dtype=dtype), 64
    steps = epochs * math.ceil(count / batch)
    # Thirteen layers without normalisation start to learn only if the first steps are small.
    rate = keras.optimizers.schedules.CosineDecay(1e-5, steps, warmup_target=1.5e-3, warmup_steps=steps // 20)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0),
                  "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(pictures, labels, batch_size=batch, epochs=epochs)
    minutes = (time.perf_counter() - start) / 60

    stored = get_weights(model)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **stored)
    published = build(widths, dtype="float32")
    put_weights(published, stored)          # judge what is stored, not what was trained
    guesses = published.predict(test_pictures, batch_size=256, verbose=0).argmax(axis=1)
    confusion = np.zeros((len(NAMES), len(NAMES)), int)
    np.add.at(confusion, (test_labels, guesses), 1)
    about = {
        "bytes": len(buffer.getvalue()), "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "accuracy": round(float((guesses == test_labels).mean()), 4), "parameters": published.count_params(),
        "widths": list(widths), "images": count, "size": size, "epochs": epochs, "seed": seed,
        "test_images": test_count, "test_seed": seed + 1, "date": time.strftime("%Y-%m-%d"),
        "minutes": round(minutes, 1), "drawing_minutes": round((drawn - start) / 60, 1), "dtype": dtype,
        "processors": os.cpu_count(), "versions": versions(), "names": list(NAMES), "confusion": confusion.tolist(),
    }
    write(folder / "pocketvgg.npz", buffer.getvalue())
    write(folder / "pocketvgg.json", (json.dumps(about) + "\n").encode())
    write(folder / "README.md", card(about).encode())
    return about


def versions() -> dict[str, str]:
    """The versions of everything that has a say in the weights."""
    import keras
    import tensorflow
    return {"python": platform.python_version(), "numpy": np.__version__, "opencv": cv2.__version__,
            "tensorflow": tensorflow.__version__, "keras": keras.__version__}


def card(about: dict) -> str:
    """The model card, models/README.md, from what train() measured."""
    rows = []
    for name, counts in zip(about["names"], np.array(about["confusion"])):
        right, total = counts[about["names"].index(name)], counts.sum()
        wrong = np.where(np.array(about["names"]) == name, 0, counts)
        worst = f"{about['names'][wrong.argmax()]} ({wrong.max()})" if wrong.any() else ""
        rows.append(f"| {name} | {right / max(total, 1):.1%} | {total} | {worst} |")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return CARD.format(**about, rows="\n".join(rows), version_line=versions, patterns=len(about["names"]))


CARD = """# PocketVGG

A narrow VGG16 that tells {patterns} drawn patterns apart. It comes with the course so that every
chapter runs without a download, and so that a picture of a filter can be checked against everything
the network has ever seen. `python patterns.py train` wrote this page; its figures are measured.

| | |
|---|---|
| Architecture | VGG16's 13 convolution layers with their names, {widths} filters in the five blocks, global average pooling, softmax; no batch normalisation |
| Input | RGB, 0 to 255; the model scales it itself; 32 pixels or more to a side |
| Parameters | {parameters:,} |
| Accuracy on unseen pictures | **{accuracy:.2%}** ({test_images:,} pictures, seed {test_seed}, measured with the stored float16 weights) |
| Training data | {images:,} pictures of {size} × {size} pixels, drawn by `patterns.images` with seed {seed} |
| Training | {epochs} epochs of AdamW, cosine schedule with warm-up, {dtype}; {minutes} minutes on {processors} processor cores, {drawing_minutes} of them to draw; {date} |
| Versions | {version_line} |
| File | `pocketvgg.npz`, {bytes:,} bytes, NumPy arrays in float16 |
| sha256 | `{sha256}` |
| Licence | MIT, code and weights |

```python
import patterns

model = patterns.load()
pictures, labels = patterns.images(8, seed=1)
print([patterns.NAMES[guess] for guess in model.predict(pictures).argmax(axis=1)])
```

## What it gets right and wrong

How often each pattern is recognised (recall), on how many unseen pictures, and what it is most often
mistaken for (how many times).

| Pattern | Recall | Pictures | Mistaken for |
|---|---|---|---|
{rows}

## Limits

It knows nothing but these patterns, in pictures like these: a photograph also gets one of the
{patterns} names, often with high confidence. It was trained on {size} × {size} pixels; at other sizes
the same pattern has other proportions to its filters. It is made to be looked into, not to be used.

## Making it again

`python patterns.py train` draws the pictures, trains, and writes `pocketvgg.npz`, `pocketvgg.json` and
this page. Sums in parallel are not added up in the same order each time, so the new weights differ
slightly from the published ones, and the pictures in the notebooks would differ from those shown.
`git checkout models` brings the published weights back.
"""


def main(arguments: list[str]) -> int:
    if arguments != ["train"]:
        print("usage: python patterns.py train", file=sys.stderr)
        return 2
    about = train()
    print(f"accuracy {about['accuracy']:.2%} on {about['test_images']:,} unseen pictures, "
          f"{about['minutes']} minutes, {about['bytes']:,} bytes: {WEIGHTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
