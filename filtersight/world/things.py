"""The things that PocketVGG knows: drawings of polygons and lines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from filtersight.world.painting import (
    Array,
    Rng,
    box,
    circle,
    coordinates,
    draw_polygon,
    oval,
    paint,
    palette,
    shape,
    smooth_noise,
    turned,
)

# A thing is a list of parts inside the circle of radius 1, y downwards, drawn one over the other.
# Colours 1, 2 and 3 are random; 1 is far from the background, and each from the two before it.
THINGS: dict[str, Callable[[Rng, int], Array]] = {}  # name -> (rng, side) -> picture
Part = tuple  # (points, colour) is filled, (points, colour, width) is a line
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
                    draw_polygon(
                        canvas,
                        turned(points * scale, angle) + centre,
                        ink,
                        width=width[0] * radius * side if width else None,
                    )
            return canvas

        THINGS[parts.__name__] = paint_thing
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
