"""The world that PocketVGG knows, and PocketVGG itself.

PocketVGG is a narrow VGG16 that comes with the course. It has seen nothing but the patterns
drawn here, so what a filter shows can be checked against everything the network ever saw.

    images, labels = patterns.images(1000, seed=1)      # pictures and what they show
    picture = patterns.image("spiral", seed=1)          # one picture of one pattern
    model = patterns.load()                             # the trained network

training.py makes the weights in models/ again.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import io
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

if TYPE_CHECKING:
    import keras

Rng = np.random.Generator
Array = np.ndarray
Part = tuple  # (points, colour) is filled, (points, colour, width) is a line

# ---------------------------------------------------------------- textures
# A texture is a function of a random generator and of the coordinates x and y, counted in periods,
# turned and shifted at random, all (side, side) float32. It returns a field of values 0 to 1 (or of
# booleans), which paint() turns into colours.

PAINTERS: dict[str, Callable[[Rng, int], Array]] = {}  # name -> (rng, side) -> picture


def texture(fewest: float = 1, most: float = 1, colours: int = 2):
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
    x, y = np.meshgrid(line, line)
    return x, y


def coordinates(rng: Rng, side: int, periods: float) -> tuple[Array, Array]:
    """x and y in periods, turned by any angle about a point near the middle."""
    x, y = pixel_grid(side)
    x, y = x - np.float32(rng.uniform(-0.2, 0.2)), y - np.float32(rng.uniform(-0.2, 0.2))
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = np.float32(periods * math.cos(angle)), np.float32(periods * math.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def palette(rng: Rng, count: int) -> Array:
    """`count` random RGB colours, (count, 3) float64; each is far from the two before it."""
    colours: list[Array] = []
    while len(colours) < count:
        colour = rng.uniform(0, 255, 3)
        if all(math.dist(colour, other) > 120 for other in colours[-2:]):
            colours.append(colour)
    return np.array(colours)


def paint(field: Array, colours: Array) -> Array:
    """Turn a field of 0 to 1 into colours, blending from the first to the last."""
    stops = np.linspace(0, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), stops, channel) for channel in colours.T], axis=-1)
    index = (field * np.float32(255)).astype(np.uint8)
    return cv2.applyColorMap(index, table.astype(np.uint8)[:, None])


def fold(t: Array) -> Array:
    """A triangle wave of period 1: 0 at whole numbers, 1 half-way between."""
    return 2 * np.abs(t - np.round(t))


def per_cell(rng: Rng, column: Array, row: Array) -> Array:
    """A random number from 0 to 1 for each cell of a lattice."""
    return rng.random((64, 64), np.float32)[row.astype(int) % 64, column.astype(int) % 64]


def smooth_noise(rng: Rng, side: int, cells: int) -> Array:
    """Random hills, about `cells` across, values 0 to 1, (side, side) float32."""
    hills = cv2.resize(
        rng.random((cells + 1, cells + 1), np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    low, high = float(np.min(hills)), float(np.max(hills))
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
        draw(field, rim, 110)
        draw(field, rim, 255, width=0.025 * side)
    return field / np.float32(255)


@texture(colours=5)
def confetti(rng, x, y):
    field, side = np.zeros(x.shape, np.uint8), len(x)
    for _ in range(rng.integers(30, 50)):
        length, angle = rng.uniform(0.03, 0.05) * side, rng.uniform(0, math.pi)
        piece = turned(box(-1, -1.6, 1, 1.6) * length, angle) + rng.uniform(0, side, 2)
        draw(field, piece, rng.integers(60, 256))
    return field / np.float32(255)


# ---------------------------------------------------------------- things
# A thing is a list of parts inside the circle of radius 1, y downwards, drawn one over the other.
# Colours 1, 2 and 3 are random; 1 is far from the background, and each from the two before it.

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
                    draw(
                        canvas,
                        turned(points * scale, angle) + centre,
                        ink,
                        width=width[0] * radius * side if width else None,
                    )
            return canvas

        PAINTERS[parts.__name__] = paint_thing
        return parts

    return register


def places(rng: Rng) -> list[tuple[float, float, float]]:
    """Where to draw 1 to 4 things: x, y, radius in parts of the picture's side; none is cut off."""
    if rng.random() < 0.6:
        radius = rng.uniform(0.26, 0.46)
        return [(*rng.uniform(radius, 1 - radius, 2), radius)]
    corners = rng.permutation([(0, 0), (0, 1), (1, 0), (1, 1)])[: rng.integers(2, 5)]
    radius = rng.uniform(0.19, 0.24)
    return [(*(corner / 2 + rng.uniform(radius, 0.5 - radius, 2)), radius) for corner in corners]


def background(rng: Rng, side: int, colour: Array) -> Array:
    """A plain colour, a slow gradient or faint clouds, (side, side, 3) uint8."""
    kind = rng.integers(3)
    if kind == 0:
        return np.full((side, side, 3), colour, np.float32).astype(np.uint8)
    x, _ = coordinates(rng, side, periods=1)
    gradient = np.clip(x + 0.5, 0, 1)
    field = gradient if kind == 1 else smooth_noise(rng, side, int(rng.integers(3, 9)))
    shade = rng.uniform(-40, 40)
    return paint(field, np.clip([colour - shade, colour + shade], 0, 255))


def draw(canvas: Array, points: Array, colour: ArrayLike, width: float | None = None) -> None:
    """Fill the polygon of `points` (n, 2), in pixels, or draw the line through them."""
    fixed = np.round(points * 16).astype(np.int32)  # 4 bits behind the point
    ink = np.atleast_1d(colour).astype(float).tolist()
    if width is None:
        cv2.fillPoly(canvas, [fixed], ink, cv2.LINE_AA, shift=4)
    else:
        cv2.polylines(canvas, [fixed], False, ink, max(1, round(width)), cv2.LINE_AA, shift=4)


def turned(points: Array, angle: float) -> Array:
    """Points (n, 2) turned by `angle` radians about the origin."""
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def oval(
    x: float, y: float, wide: float, high: float, start: float = 0, stop: float = 360
) -> Array:
    """Points on an ellipse about (x, y), or on its arc from `start` to `stop` degrees."""
    angle = np.radians(np.linspace(start, stop, 37))
    return np.stack([x + wide * np.cos(angle), y + high * np.sin(angle)], axis=-1)


def circle(x: float, y: float, radius: float) -> Array:
    """Points on a circle about (x, y)."""
    return oval(x, y, radius, radius)


def shape(*points: float) -> Array:
    """x0, y0, x1, y1, ... as an array of points (n, 2)."""
    return np.array(points, float).reshape(-1, 2)


def box(left: float, top: float, right: float, bottom: float) -> Array:
    """A rectangle's corners, (4, 2)."""
    return shape(left, top, right, top, right, bottom, left, bottom)


def wheel(points: Array, count: int) -> list[Array]:
    """The shape, `count` times round the origin."""
    return [turned(points, 2 * math.pi * k / count) for k in range(count)]


def both_sides(points: Array) -> Array:
    """A shape that is its own mirror image, from its right half."""
    return np.concatenate([points, points[::-1] * (-1, 1)])


def mirrored(parts: list[Part]) -> list[Part]:
    """The same parts on the other side."""
    return [(points * (-1, 1), *style) for points, *style in parts]


@thing()
def triangles(rng):
    return [(shape(0, -1, 0.87, 0.5, -0.87, 0.5), 1)]


@thing()
def squares(rng):
    return [(box(-0.7, -0.7, 0.7, 0.7), 1)]


@thing()
def stars(rng):
    angle, radius = np.arange(10) * math.pi / 5, np.tile([1, rng.uniform(0.38, 0.5)], 5)
    return [(np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=-1), 1)]


@thing()
def crosses(rng):
    w = rng.uniform(0.2, 0.33)
    return [(box(-w, -1, w, 1), 1), (box(-1, -w, 1, w), 1)]


@thing()
def discs(rng):
    return [(circle(0, 0, 0.95), 1)]


@thing()
def hearts(rng):
    t = np.linspace(0, 2 * math.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [(np.stack([x, y - 2], -1) / 17, 1)]


@thing()
def moons(rng):
    bite = rng.uniform(0.35, 0.6)
    outside, inside = oval(0, 0, 1, 1, -90, 90), oval(0, 0, bite, 1, 90, -90)
    return [(np.concatenate([outside, inside]), 1)]


@thing()
def arrows(rng):
    w, neck = rng.uniform(0.12, 0.2), rng.uniform(-0.1, 0.1)
    return [(both_sides(shape(0, -1, 0.65, neck, w, neck, w, 1)), 1)]


# The pen strokes of each letter, x,y x,y ...; letters that look like another pattern (O, X, I, ...)
# are left out.
LETTERS = {
    "A": "-.6,.8 0,-.8 .6,.8 | -.35,.25 .35,.25",
    "B": "-.5,-.8 -.5,.8 .3,.8 .55,.4 .3,0 -.5,0 .3,0 .5,-.4 .3,-.8 -.5,-.8",
    "E": ".5,-.8 -.5,-.8 -.5,.8 .5,.8 | -.5,0 .35,0",
    "F": ".5,-.8 -.5,-.8 -.5,.8 | -.5,0 .35,0",
    "G": ".55,-.5 .3,-.8 -.3,-.8 -.6,-.4 -.6,.4 -.3,.8 .3,.8 .6,.5 .6,.1 .1,.1",
    "H": "-.5,-.8 -.5,.8 | .5,-.8 .5,.8 | -.5,0 .5,0",
    "K": "-.5,-.8 -.5,.8 | .5,-.8 -.5,.1 | -.15,-.15 .55,.8",
    "M": "-.65,.8 -.65,-.8 0,.2 .65,-.8 .65,.8",
    "P": "-.5,.8 -.5,-.8 .3,-.8 .55,-.35 .3,.1 -.5,.1",
    "R": "-.5,.8 -.5,-.8 .3,-.8 .55,-.4 .3,0 -.5,0 | 0,0 .55,.8",
    "S": ".55,-.5 .3,-.8 -.3,-.8 -.55,-.45 -.3,-.05 .3,.05 .55,.45 .3,.8 -.3,.8 -.55,.5",
}


@thing(turn=35)
def letters(rng):
    strokes, width = LETTERS[rng.choice(list(LETTERS))].split("|"), rng.uniform(0.2, 0.32)
    numbers = [map(float, re.split("[ ,]", stroke.strip())) for stroke in strokes]
    return [(shape(*stroke), 1, width) for stroke in numbers]


@thing()
def eyes(rng):
    lid = oval(0, 0.75, 1.25, 1.25, -143, -37)
    almond = np.concatenate([lid, lid[::-1] * (1, -1)])
    iris = rng.uniform(0.38, 0.48)
    return [
        (almond, WHITE),
        (circle(0, 0, iris), 1),
        (circle(0, 0, 0.2), INK),
        (circle(0.1, -0.1, 0.07), WHITE),
        (np.append(almond, almond[:1], 0), INK, 0.09),
    ]


@thing(turn=30)
def faces(rng):
    smile = rng.choice([-1, 1])
    mouth = oval(0, 0.4 - 0.15 * smile, 0.5, 0.35 * smile, 20, 160)
    eye = oval(0.36, -0.25, 0.13, 0.2)
    head = circle(0, 0, 0.95)
    return [(head, 1), (eye, INK), (eye * (-1, 1), INK), (mouth, INK, 0.13)]


@thing(turn=30)
def cats(rng):
    ear, eye = shape(0.15, -0.45, 0.75, -1, 0.8, 0), oval(0.33, -0.05, 0.17, 0.13)
    head, nose = oval(0, 0.15, 0.8, 0.7), shape(-0.14, 0.25, 0.14, 0.25, 0, 0.42)
    right = [(ear, 1), (eye, WHITE), (shape(0.33, -0.2, 0.33, 0.1), INK, 0.12)]
    right += [(shape(0.25, 0.35, 1, end), INK, 0.05) for end in (0.2, 0.5)]
    left = mirrored(right)
    return [right[0], left[0], (head, 1), *right[1:], *left[1:], (nose, INK)]


@thing()
def fish(rng):
    fat = rng.uniform(0.4, 0.55)
    tail, fin = shape(0.3, 0, 1, -0.55, 0.85, 0, 1, 0.55), shape(-0.35, 0, 0.25, 0, 0.3, -0.75)
    body, gill = oval(-0.2, 0, 0.75, fat), oval(-0.45, 0, 0.3, fat, -50, 50)
    eye, pupil = circle(-0.55, -0.1, 0.14), circle(-0.55, -0.1, 0.07)
    return [(tail, 2), (fin, 2), (body, 1), (eye, WHITE), (pupil, INK), (gill, 2, 0.08)]


@thing()
def flowers(rng):
    petals = rng.integers(5, 8)
    petal, middle = oval(0.6, 0, 0.4, 1.5 / petals), circle(0, 0, 0.3)
    return [*((points, 1) for points in wheel(petal, petals)), (middle, 2)]


@thing()
def leaves(rng):
    wide = rng.uniform(0.45, 0.6)
    half = oval(wide - 1.25, -0.1, 1.25, 1.25, -40, 40)
    veins = [shape(-0.3, y - 0.25, 0, y, 0.3, y - 0.25) for y in (-0.25, 0.1, 0.45)]
    stem = (shape(0, -0.7, 0, 1), 2, 0.09)
    return [(both_sides(half), 1), stem, *((vein, 2, 0.06) for vein in veins)]


@thing(turn=20)
def houses(rng):
    wall, roof = box(-0.65, -0.15, 0.65, 0.8), shape(-0.85, -0.15, 0, -0.95, 0.85, -0.15)
    left, right = box(-0.53, 0.05, -0.27, 0.31), box(0.27, 0.05, 0.53, 0.31)
    return [(wall, 1), (roof, 2), (box(-0.15, 0.3, 0.15, 0.8), 2), (left, 3), (right, 3)]


@thing(turn=20)
def trees(rng):
    tiers = [
        shape(0, top, wide, top + 0.7, -wide, top + 0.7)
        for top, wide in ((-0.05, 0.75), (-0.5, 0.6), (-1, 0.45))
    ]
    return [(box(-0.12, 0.6, 0.12, 1), 2), *((tier, 1) for tier in tiers)]


@thing()
def gears(rng):
    teeth = int(rng.integers(8, 12))
    tooth = shape(0.6, -0.2, 1, -0.13, 1, 0.13, 0.6, 0.2) * (1, 9 / teeth)
    body, hole = circle(0, 0, 0.76), circle(0, 0, 0.3)
    return [*((points, 1) for points in wheel(tooth, teeth)), (body, 1), (hole, 0)]


@thing(turn=25)
def mushrooms(rng):
    stem = shape(-0.2, -0.1, 0.2, -0.1, 0.3, 0.9, -0.3, 0.9)
    cap = oval(0, 0.05, 0.95, 0.95, 180)
    spots = [circle(x, y, 0.14) for x, y in ((-0.5, -0.3), (0, -0.6), (0.5, -0.3), (0.02, -0.18))]
    return [(stem, 2), (cap, 1), *((spot, 3) for spot in spots)]


@thing(turn=60)
def butterflies(rng):
    upper = turned(oval(0.52, 0, 0.5, 0.38), -0.7)
    lower = turned(oval(0.45, 0, 0.4, 0.27), 0.7)
    spot, feeler = upper * 0.55 + (0.18, -0.15), shape(0, -0.4, 0.25, -0.85)
    right = [(upper, 1), (lower, 1), (spot, 2), (feeler, INK, 0.06)]
    return [*mirrored(right), *right, (oval(0, 0.05, 0.1, 0.55), INK)]


@thing(turn=30)
def clocks(rng):
    rim, face = circle(0, 0, 1), circle(0, 0, 0.86)
    ticks = [(tick, INK, 0.07) for tick in wheel(shape(0.62, 0, 0.8, 0), 12)]
    hands = [
        (turned(shape(0, 0, length, 0), rng.uniform(0, 2 * math.pi)), INK, 0.11)
        for length in (0.4, 0.62)
    ]
    return [(rim, 1), (face, WHITE), *ticks, *hands]


@thing()
def snowflakes(rng):
    arm, barbs = shape(0, 0, 0.95, 0), shape(0.85, -0.3, 0.5, 0, 0.85, 0.3)
    return [(line, 1, 0.12) for line in wheel(arm, 6) + wheel(barbs, 6)]


@thing(turn=20)
def boats(rng):
    hull, mast = shape(-0.9, 0.35, 0.9, 0.35, 0.55, 0.85, -0.55, 0.85), shape(0, 0.35, 0, -1)
    main, jib = shape(0.1, -0.9, 0.1, 0.2, 0.75, 0.2), shape(-0.1, -0.7, -0.1, 0.2, -0.6, 0.2)
    return [(hull, 1), (mast, INK, 0.08), (main, 2), (jib, 3)]


NAMES: tuple[str, ...] = tuple(PAINTERS)


# ---------------------------------------------------------------- pictures

SIZES = (32, 1024)  # below 32 pixels the last pooling layer of PocketVGG has nothing to pool


def images(n: int, seed: int, size: int = 64, *, progress: bool = False) -> tuple[Array, Array]:
    """Draw `n` pictures of random patterns.

    Returns the pictures, (n, size, size, 3) uint8 RGB, and their labels, (n,) int64, places in
    NAMES. The same seed gives the same bytes (another version of OpenCV may round a few pixels
    differently); picture i depends on seed, i and size only, so a smaller `n` gives the first
    pictures of a larger one. In each run of len(NAMES) pictures, each pattern stands once.
    Raises ValueError if a number is out of range.
    """
    n, seed, size = whole("n", n, 0, 10**7), whole("seed", seed), whole("size", size, *SIZES)
    orders = [
        np.random.default_rng([seed, 0, run]).permutation(len(NAMES))
        for run in range(math.ceil(n / len(NAMES)))
    ]
    labels = np.array(orders, np.int64).reshape(-1)[:n]
    pictures = np.empty((n, size, size, 3), np.uint8)

    def fill(i: int) -> None:
        pictures[i] = picture(NAMES[labels[i]], np.random.default_rng([seed, 1, i]), size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(fill, range(n)), "drawing", n, disable=not progress):
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
    seed, size = whole("seed", seed), whole("size", size, *SIZES)
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


def whole(what: str, value: int, low: int = 0, high: int | None = None) -> int:
    """`value` as an int, or a ValueError that says what was given and what is allowed."""
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):
        limits = f"of {low} or more" if high is None else f"from {low:,} to {high:,}"
        raise ValueError(f"{what} must be a whole number {limits}, not {value!r}")
    return int(value)


def nearest(given: object, allowed: Sequence[str]) -> str:
    """The end of an error message: the allowed name most like the given one, if any is like it."""
    close = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else "."


# ---------------------------------------------------------------- PocketVGG

MODELS = Path(__file__).resolve().parent / "models"
WEIGHTS = MODELS / "pocketvgg.npz"
WIDTHS = (16, 32, 48, 80, 128)


class Plan(NamedTuple):
    """How a network that comes with the course was trained."""

    widths: tuple[int, ...]
    seed: int  # of its start, its drawings and its noise
    noise: float = 0  # grey levels of adversarial noise that it learnt to withstand
    pictures: int = 50_000
    epochs: int = 4
    stages: bool = False  # whether its weights are kept on the way, too


NETWORKS = {
    "pocketvgg": Plan(WIDTHS, 3000, noise=8),
    # The same layers trained the usual way, for comparison.
    "pocketvgg_plain": Plan(WIDTHS, 5000, pictures=20_000),
    # Independent of the two: other pictures, other widths. It judges pictures that networks make, so
    # it must not fall for faint noise itself.
    "pocketvgg_judge": Plan((12, 24, 40, 72, 112), 7000, noise=8, pictures=44_000),
    "pocketvgg_stages": Plan((8, 12, 16, 24, 32), 9000, noise=4, pictures=30_000, stages=True),
}
CONVOLUTIONS = (2, 2, 3, 3, 3)  # layers in each block, as in VGG16 (Simonyan, Zisserman 2014)
REPAIR = (
    "`git checkout models` brings the published files back, `python training.py` makes new ones"
)


def build(
    widths: tuple[int, ...] = WIDTHS, *, dtype: str | None = None, name: str = "pocketvgg"
) -> keras.Model:
    """PocketVGG with random weights.

    Input: (n, height, width, 3), RGB from 0 to 255, 32 pixels or more to a side. Output:
    (n, len(NAMES)) probabilities. `widths` are the filters of a layer in each of the five
    blocks; `dtype` is a Keras dtype policy, by default the global one. Raises ValueError for
    anything but five widths of 1 or more.
    """
    from keras import Input, Model, layers

    if len(widths) != 5:
        raise ValueError(f"widths must be five numbers of filters, not {widths!r}")
    x = inputs = Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling", dtype=dtype)(x)
    for block, (width, count) in enumerate(zip(widths, CONVOLUTIONS, strict=True), start=1):
        width = whole("each of widths", width, 1)
        for i in range(1, count + 1):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                dtype=dtype,
                kernel_initializer="he_normal",
                name=f"block{block}_conv{i}",
            )(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool", dtype=dtype)(x)
    x = layers.GlobalAveragePooling2D(name="global_average_pooling2d", dtype=dtype)(x)
    x = layers.Dense(len(NAMES), activation="softmax", name="predictions", dtype="float32")(x)
    return Model(inputs, x, name=name)


def load(path: str | os.PathLike = WEIGHTS) -> keras.Model:
    """PocketVGG with its published weights, checked against the .json file next to them.

    `path` may also be that of a relative, models/NAME.npz for a NAME in NETWORKS; of one that was stored
    in stages it is the last. Raises FileNotFoundError if one of the two files is missing, and ValueError
    if a file was cut off or altered or belongs to another network; the message says how to repair it.
    """
    widths, kept = stored(Path(path))
    return assembled(Path(path), widths, kept[max(kept)], Path(path).stem)


def stages(path: str | os.PathLike = MODELS / "pocketvgg_stages.npz") -> dict[int, keras.Model]:
    """A small network as it was after so many steps of its training, the first one untrained.

    Raises what `load` raises.
    """
    widths, kept = stored(Path(path))
    return {
        step: assembled(Path(path), widths, kept[step], f"{Path(path).stem}_{step}")
        for step in sorted(kept)
    }


def stored(path: Path) -> tuple[tuple[int, ...], dict[int, dict[str, Array]]]:
    """The widths of a published network, and its checked weights by the step of the training.

    What was not stored in stages has one step, 0. Raises what `load` raises.
    """
    json_path = path.with_suffix(".json")
    data, text = read(path), read(json_path)
    try:
        about = json.loads(text)
        size, sha256, names, widths = (about[key] for key in ("bytes", "sha256", "names", "widths"))
        cut_off = len(data) < size
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{json_path}: does not describe weights ({error!r}); {REPAIR}") from error
    if cut_off:
        raise ValueError(f"{path}: cut off after {len(data):,} of {size:,} bytes; {REPAIR}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path}: altered, its sha256 is not that in {json_path.name}; {REPAIR}")
    if names != list(NAMES):
        raise ValueError(f"{path}: trained on other patterns than patterns.NAMES; {REPAIR}")
    kept: dict[int, dict[str, Array]] = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            for key, array in arrays.items():
                step, _, name = key.rpartition("/")  # "100/block1_conv1.bias"
                kept.setdefault(int(step or 0), {})[name] = array
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"{path}: {error}; {REPAIR}") from error
    return widths, kept


def assembled(
    path: Path, widths: tuple[int, ...], arrays: dict[str, Array], name: str
) -> keras.Model:
    """A network of these widths with these weights, of the file `path`; ValueError if they do not fit."""
    try:
        return put_weights(build(widths, name=name), arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {REPAIR}") from error


def read(path: Path) -> bytes:
    """The file's bytes, or a FileNotFoundError that says what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {REPAIR}")
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """{"block1_conv1.kernel": (3, 3, 3, 16), "block1_conv1.bias": (16,), ...}."""
    return {
        f"{layer.name}.{weight.name}": weight for layer in model.layers for weight in layer.weights
    }


def put_weights(model: keras.Model, arrays: dict[str, Array]) -> keras.Model:
    """Give the model these weights. ValueError if a name or shape differs, or for inf and nan."""
    weights = named_weights(model)
    for name in sorted(weights.keys() | arrays.keys()):
        expected = weights[name].shape if name in weights else "no such array"
        found = arrays[name].shape if name in arrays else "no such array"
        if found != expected:
            raise ValueError(f"{name}: found {found}, expected {expected}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: not all numbers are finite")
    for name, weight in weights.items():
        weight.assign(arrays[name].astype(np.float32))
    return model
