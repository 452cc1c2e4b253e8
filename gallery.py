"""An atlas as one web page: all filters to look at, to search, to sort and to compare.

`write` makes the page, which opens from a disk as from a server. `signatures` are the numbers by which it
finds pictures that look alike.
"""

from __future__ import annotations

import ast
import base64
import colorsys
import functools
import hashlib
import html
import io
import itertools
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import patterns
from atlas import MANIFEST, Atlas, Entry, read_manifest

TILE = 80  # pixels of a thumbnail; a multiple of 16, so that no JPEG block holds parts of two tiles
COLUMNS, ROWS = 16, 16  # thumbnails in a sheet
QUALITY = 82
GREY = 8  # levels between the strongest and the weakest of red, green and blue: less has no hue
RINGS, DIRECTIONS = 5, 4  # of the spectrum
LENGTH = 6 + RINGS * DIRECTIONS  # of a signature
FAINT = 0.003  # a share of the power below which differences do not count
STEPS = 32  # of a stored signature to one standard deviation


# ---------------------------------------------------------------- signatures


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
    for first in range(0, len(images), 64):  # some at a time: they are large as floats
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


# ---------------------------------------------------------------- page


def write(folder: str | os.PathLike) -> Path:
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
    for number, (layer, facts) in enumerate(atlas.layers.items()):
        files = [entry.file for entry in entries if entry.layer == layer]
        names = []
        for first in range(0, len(files), COLUMNS * ROWS):
            some = files[first : first + COLUMNS * ROWS]
            images = [picture(folder / file, file in sound) for file in some]
            data = sheet(images)
            # The name changes with what is in it, so no browser shows an old one from its cache.
            names.append(f"{number:03}-{first:05}-{hashlib.sha256(data).hexdigest()[:8]}.jpg")
            patterns.write(folder / "sheets" / names[-1], data)
            problems += [image if isinstance(image, str) else "" for image in images]
            pixels = [None if isinstance(image, str) else image for image in images]
            hues += [None if image is None else hue(image) for image in pixels]
            rows += [None if image is None else descriptors(image[None])[0] for image in pixels]
        about = {"name": layer, "filters": facts["filters"], "count": len(files), "sheets": names}
        layers.append(about | {"recipe": [[k, plain(v)] for k, v in facts["recipe"].items()]})
    script = javascript(atlas.network, entries, layers, problems, hues, stored(rows))
    patterns.write(folder / "gallery.js", script)
    total, count = sum(layer["filters"] for layer in layers), f"{len(entries):,}"
    count += "" if len(entries) == total else f" of {total:,}"
    page = Path(__file__).with_name("gallery.html").read_text(encoding="utf-8")
    page = page.replace("{script}", f"gallery.js?{hashlib.sha256(script).hexdigest()[:8]}")
    page = page.replace("{title}", html.escape(f"{atlas.network}: {count} filters"))
    patterns.write(folder / "index.html", page.encode())
    used = {name for layer in layers for name in layer["sheets"]}
    for path in (folder / "sheets").iterdir():  # those of an earlier page
        if path.name not in used and re.fullmatch(r"\d{3,}-\d{5,}-[0-9a-f]{8}\.jpg", path.name):
            path.unlink()
    return folder / "index.html"


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


def picture(path: Path, sound: bool) -> np.ndarray | str:
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
        "meanings": meanings(),
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


def meanings() -> dict[str, str]:
    """What each score means: the first sentence that scores.py has about it.

    Read from its text, where they stand under the fields: Python itself does not keep them.
    """
    tree = ast.parse(Path(__file__).with_name("scores.py").read_text(encoding="utf-8"))
    body = next(
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Scores"
    )
    result = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            value = text.value if isinstance(text, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                sentence = re.split(r"(?<=\.)\s+(?=[A-Z])", value.value)[0]
                sentence = sentence.replace("; None without a judge", "")  # then it is not shown
                result[field.target.id] = " ".join(sentence.split())
    return result
