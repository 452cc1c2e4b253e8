"""An atlas as one web page: all filters to look at, to search, to sort and to compare.

`write` makes the page, which opens from a disk as from a server.
"""

from __future__ import annotations

import base64
import colorsys
import dataclasses
import hashlib
import html
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from filtersight.atlas.folder import MANIFEST, Atlas, Entry, read_manifest
from filtersight.atlas.signatures import descriptors, stored
from filtersight.basics.checks import pixels_text
from filtersight.basics.files import write_whole
from filtersight.trust.scores import Scores

TILE = 80  # pixels of a thumbnail; a multiple of 16, so that no JPEG block holds parts of two tiles
COLUMNS, ROWS = 16, 16  # thumbnails in a sheet
QUALITY = 82
GREY = 8  # levels between the strongest and the weakest of red, green and blue: less has no hue


def gallery(folder: str | os.PathLike) -> Path:
    """Writes the page of the atlas in `folder` into the same folder, and returns its path.

    The page is index.html with gallery.js and the thumbnails in sheets/; it needs the atlas's pictures
    beside it, and neither a server nor a network. An atlas may be unfinished: the page says so, and a
    second call replaces it. ValueError for a folder that is no atlas, and for an atlas without pictures.
    """
    folder = Path(folder)
    atlas, entries = opened(folder)
    sound = {entry.file for entry in atlas.entries}
    (folder / "sheets").mkdir(exist_ok=True)
    layers, problems, hues, rows = [], [], [], []
    for number, (layer, facts) in enumerate(
        tqdm(atlas.layers.items(), "gallery", delay=2, leave=False, unit="layer")
    ):
        files = [entry.file for entry in entries if entry.layer == layer]
        names = []
        for first in range(0, len(files), COLUMNS * ROWS):
            some = files[first : first + COLUMNS * ROWS]
            images = [read_picture(folder / file, file in sound) for file in some]
            data = sheet(images)
            # The name changes with what is in it, so no browser shows an old one from its cache.
            names.append(f"{number:03}-{first:05}-{hashlib.sha256(data).hexdigest()[:8]}.jpg")
            write_whole(folder / "sheets" / names[-1], data)
            problems += [image if isinstance(image, str) else "" for image in images]
            pixels = [None if isinstance(image, str) else image for image in images]
            hues += [None if image is None else hue(image) for image in pixels]
            rows += [None if image is None else descriptors(image[None])[0] for image in pixels]
        about: dict[str, Any] = {
            "name": layer,
            "filters": facts.filters,
            "count": len(files),
            "sheets": names,
        }
        layers.append(
            about | {"recipe": [[k, plain(v)] for k, v in facts.recipe.as_dict().items()]}
        )
    script = javascript(atlas.network, entries, layers, problems, hues, stored(rows))
    write_whole(folder / "gallery.js", script)
    total, count = sum(layer["filters"] for layer in layers), f"{len(entries):,}"
    count += "" if len(entries) == total else f" of {total:,}"
    page = Path(__file__).with_name("gallery.html").read_text(encoding="utf-8")
    page = page.replace("{script}", f"gallery.js?{hashlib.sha256(script).hexdigest()[:8]}")
    page = page.replace("{title}", html.escape(f"{atlas.network}: {count} filters"))
    write_whole(folder / "index.html", page.encode())
    clear_away(folder / "sheets", {name for layer in layers for name in layer["sheets"]})
    return folder / "index.html"


def clear_away(folder: Path, used: set[str]) -> None:
    """Deletes the sheets of an earlier page."""
    for path in folder.iterdir():
        if path.name not in used and re.fullmatch(r"\d{3,}-\d{5,}-[0-9a-f]{8}\.jpg", path.name):
            path.unlink()


def opened(folder: Path) -> tuple[Atlas, list[Entry]]:
    """The atlas in a folder, and its entries with those whose picture is gone or damaged, in order.

    ValueError says why there is none.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    # Before the pictures, so that one that is drawn in between does not look damaged.
    listed = read_manifest(folder / MANIFEST)[1].values()
    atlas = Atlas(folder)
    entries = {(entry.layer, entry.filter): entry for entry in [*listed, *atlas.entries]}
    if not entries:
        raise ValueError(f"the atlas in {str(folder)!r} has no pictures")
    order = list(atlas.layers)
    return atlas, sorted(entries.values(), key=lambda each: (order.index(each.layer), each.filter))


def read_picture(path: Path, sound: bool) -> np.ndarray | str:
    """The picture, (height, width, 3) uint8, or in one word what is wrong with it.

    One that is not `sound` is not looked at: it may be anything.
    """
    if not path.is_file():
        return "missing"
    if not sound:
        return "broken"
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # all Pillow's
        return "broken"


def sheet(images: Sequence[np.ndarray | str]) -> bytes:
    """Thumbnails of the pictures, row by row, as one JPEG file; what is no picture leaves its place empty."""
    rows = -(-len(images) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * TILE, rows * TILE), (128, 128, 128))
    for place, image in enumerate(images):
        if not isinstance(image, str):
            # One that is not square, of many channels side by side, keeps its shape.
            small = ImageOps.pad(Image.fromarray(image), (TILE, TILE), Image.Resampling.LANCZOS)
            canvas.paste(small, (place % COLUMNS * TILE, place // COLUMNS * TILE))
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def hue(image: np.ndarray) -> int | None:
    """The hue of the mean colour, 0 to 359 degrees from red; None if it is grey."""
    red, green, blue = (float(value) for value in image.mean(axis=(0, 1)))
    if max(red, green, blue) - min(red, green, blue) < GREY:
        return None
    return int(colorsys.rgb_to_hsv(red, green, blue)[0] * 360)


def plain(value: object) -> str:
    """A value of a recipe as text: true as yes, null as no."""
    if isinstance(value, tuple):
        return pixels_text(value)
    if value is None or isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)


def javascript(
    network: str,
    entries: Sequence[Entry],
    layers: list[dict],
    problems: list[str],
    hues: list[int | None],
    rows: np.ndarray,
) -> bytes:
    """The script that gives the page its data; a page from a disk may load scripts, but not fetch files."""
    numbers = ("activation", "rank", "robustness", "fine")
    words = ("verdict", "preferred")
    data = {
        "network": network,
        "tile": TILE,
        "columns": COLUMNS,
        "rows": ROWS,
        "layers": layers,
        "filter": [entry.filter for entry in entries],
        "file": [entry.file for entry in entries],
        "status": [entry.status for entry in entries],
        "reason": [entry.reason for entry in entries],
        "answer": [short(entry.activation) for entry in entries],
        "problem": problems,
        "hue": hues,
        "scores": {name: [short(score(entry, name)) for entry in entries] for name in numbers},
        **{name: [score(entry, name) for entry in entries] for name in words},
        "meanings": {
            each.name: each.metadata["meaning"]
            for each in dataclasses.fields(Scores)
            if each.metadata
        },
        "dimensions": rows.shape[1],
        "signatures": base64.b64encode(rows.tobytes()).decode(),
    }
    # All but ASCII is escaped, and with it the line ends that only JavaScript knows. No "<" ends a script.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"const ATLAS = {text};\n".encode()


def score(entry: Entry, name: str):
    """One of the scores of a picture, or None where it has none."""
    return None if entry.scores is None else getattr(entry.scores, name)


def short(value: float | None) -> float | None:
    """A number with five digits, more than are shown; None for what is no finite number."""
    return float(f"{value:.5g}") if value is not None and np.isfinite(value) else None
