"""The picture of a chapter made small for the first page: tiles of it, without the words between them."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

SIDES = (360, 240)  # pixels of a thumbnail, width and height
GAP = 4  # pixels between its tiles
SMALLEST = 40  # pixels; what is narrower in a figure is writing or a line


def thumbnail(figure: Image.Image) -> Image.Image:
    """Six tiles of a figure in two rows, two side by side where it has fewer, or its middle if it has none."""
    rows = tiles(figure.convert("RGB"))
    if not rows:
        return ImageOps.fit(figure.convert("RGB"), SIDES)
    if len(rows) > 1 and min(map(len, rows)) >= 3:
        chosen = spread(rows[0], 3) + spread(rows[-1], 3)
    else:
        every = [tile for row in rows for tile in row]
        chosen = spread(every, 6 if len(every) >= 6 else 2)
    columns = 3 if len(chosen) == 6 else 2
    width = (SIDES[0] + GAP) // columns - GAP
    height = (SIDES[1] + GAP) // (len(chosen) // columns) - GAP
    canvas = Image.new("RGB", SIDES, "white")
    for place, tile in enumerate(chosen):
        corner = place % columns * (width + GAP), place // columns * (height + GAP)
        canvas.paste(ImageOps.fit(tile, (width, height)), corner)
    return canvas


def tiles(figure: Image.Image) -> list[list[Image.Image]]:
    """The pictures in a figure on white, row by row."""
    ink = np.any(np.asarray(figure) < 245, axis=2)
    found = []
    for top, bottom in bands(ink.mean(axis=1) > 0.4):
        across = bands(ink[top:bottom].mean(axis=0) > 0.4)
        found.append([figure.crop((left, top, right, bottom)) for left, right in across])
    return [row for row in found if row]


def bands(full: np.ndarray) -> list[tuple[int, int]]:
    """From where to where `full` (n,) is True for SMALLEST places or more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], full, [0]])))
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(int(start), int(end)) for start, end in pairs if end - start >= SMALLEST]


def spread(tiles: list[Image.Image], count: int) -> list[Image.Image]:
    """So many of the tiles, from the first to the last."""
    return [tiles[round(place)] for place in np.linspace(0, len(tiles) - 1, count)]
