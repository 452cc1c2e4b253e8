"""What textures and things are painted with: coordinates, colours, noise."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import ArrayLike

Rng = np.random.Generator
Array = np.ndarray


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


def smooth_noise(rng: Rng, side: int, cells: int) -> Array:
    """Random hills, about `cells` across, values 0 to 1, (side, side) float32."""
    hills = cv2.resize(
        rng.random((cells + 1, cells + 1), np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    low, high = float(np.min(hills)), float(np.max(hills))
    return (hills - low) / (high - low)


def draw_polygon(
    canvas: Array, points: Array, colour: ArrayLike, width: float | None = None
) -> None:
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
