"""A picture and the facts that belong to it, sheets of many, and how a notebook shows them.

`helpers` gives all of this under its own name.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import math
import os
import textwrap
from collections.abc import Sequence

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from patterns import whole


def two_digits(value: float) -> str:
    """A number rounded to two digits, as 170, 2.1, 0.00052: what holds on other processors too."""
    return f"{float(f'{value:.2g}'):g}"


# ---------------------------------------------------------------- picture


@dataclasses.dataclass(frozen=True, eq=False)
class FilterPicture:
    """What one filter responds to, with the facts that belong to the picture."""

    image: np.ndarray
    """(size, size, channels) uint8, RGB where the network takes three channels."""
    layer: str
    filter: int
    activation: float
    """Mean over the filter's map, measured again on `image`, the 8-bit picture that you see."""
    history: np.ndarray
    """(steps,) float32: the activation before each step, of the image as it was looked at."""
    status: str
    """"alive"; "rescued", which took more than one climb; or "dead": the filter answers to `image` not at
    all, or no more than to noise."""
    reason: str
    """What `status` rests on, in words."""
    recipe: dict
    """What it takes to make the picture again: network, weights, filter, and what `visualize` was told."""

    def __str__(self) -> str:
        recipe = self.recipe
        steps = " of ".join(str(n) for n in (recipe["stop_after"], recipe["steps"]) if n)
        return (
            f"{recipe['network']} {self.layer} filter {self.filter}: {self.status}, {self.reason}; "
            f"{recipe['recipe']}, {steps} steps, {recipe['size']} px, seed {recipe['seed']}, "
            f"{recipe['precision']}"
        )

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        caption = f"{self.layer} filter {self.filter}\nactivation {two_digits(self.activation)}, {self.status}"
        return mimebundle(grid([self], labels=[caption], columns=1, tile=2.6), str(self))

    def save(self, path: str | os.PathLike) -> None:
        """Writes a PNG that carries its recipe and facts; `rerun` makes the picture again from it."""
        if not str(path).lower().endswith(".png"):
            raise ValueError(
                f"path is {str(path)!r}; a picture is saved as .png, which can carry its recipe"
            )
        with open(path, "wb") as file:
            file.write(self.png())

    def png(self, more: dict | None = None) -> bytes:
        """The file that `save` writes; `more`, of what JSON can hold, goes with the facts."""
        image, recipe = visible(self.image), json.dumps(self.recipe)
        facts = json.dumps(
            {
                "activation": self.activation,
                "status": self.status,
                "reason": self.reason,
                "history": [float(f"{value:.6g}") for value in self.history],
            }
            | (more or {})
        )
        information, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
        for key, text in (
            ("recipe", recipe),
            ("facts", facts),
            ("sha256", seal(recipe + facts, image)),
        ):
            information.add_text(key, text)
        Image.fromarray(image).save(buffer, "PNG", pnginfo=information)
        return buffer.getvalue()


def saved(path: str | os.PathLike, side: int) -> tuple[dict, dict, np.ndarray]:
    """The recipe, the facts and the pixels (height, width, 3) uint8 of a file that `FilterPicture.save` wrote.

    ValueError if it is no such file, was changed since, or is longer than `side` pixels on one side.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("a pipe or a folder would be waited for")
        with Image.open(path, formats=["PNG"]) as file:
            texts = getattr(file, "text", {})
            recipe, facts, stored = texts["recipe"], texts.get("facts", ""), texts["sha256"]
            if max(file.size) > side:  # such a file may be small and its pixels fill the memory
                raise ValueError("larger than any picture of the course")
            pixels = np.asarray(file.convert("RGB"))
        parsed = json.loads(recipe), json.loads(facts or "{}")
        if not all(isinstance(each, dict) for each in parsed):
            raise ValueError("not a recipe")
    except FileNotFoundError:
        raise ValueError(f"no file {str(path)!r}") from None
    except (
        OSError,
        SyntaxError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        RecursionError,
        Image.DecompressionBombError,
    ):
        raise ValueError(
            f"{str(path)!r} is not a PNG with a recipe that FilterPicture.save has written"
        ) from None
    if seal(recipe + facts, pixels) != stored:
        raise ValueError(f"{str(path)!r} was changed after it was saved: its sha256 is another one")
    return *parsed, pixels


def visible(image: np.ndarray) -> np.ndarray:
    """An image (height, width, channels) uint8 as one can look at it: RGB.

    One channel as grey; two or more than three side by side, each as grey, in rows of about as many as
    there are rows.
    """
    height, width, channels = image.shape
    if channels == 3:
        return image
    columns = math.ceil(math.sqrt(channels))
    sheet = np.full((math.ceil(channels / columns) * height, columns * width), 255, np.uint8)
    for number in range(channels):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = image[..., number]
    return np.repeat(sheet[..., None], 3, axis=-1)


def channels_of(sheet: np.ndarray, size: int, channels: int) -> np.ndarray:
    """The image (size, size, channels) uint8 that `visible` has made `sheet` (height, width, 3) of."""
    if channels == 3:
        return sheet
    tiles = sheet[..., 0].reshape(-1, size, sheet.shape[1] // size, size).swapaxes(1, 2)
    return np.moveaxis(tiles.reshape(-1, size, size)[:channels], 0, -1)


def in_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """RGB images (…, 3) uint8 as grey for one channel, or with red, green and blue in turn: (…, channels)."""
    if channels == 1:
        return np.round(images @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None]
    return images[..., np.arange(channels) % 3]


def seal(text: str, image: np.ndarray) -> str:
    """The sha256 of texts and a picture: a saved picture is what it was."""
    return hashlib.sha256(text.encode() + image.tobytes()).hexdigest()


# ---------------------------------------------------------------- grid


def grid(
    pictures: Sequence[FilterPicture | np.ndarray],
    *,
    labels: Sequence[str] | None = None,
    columns: int = 8,
    title: str = "",
    tile: float = 1.2,
) -> Figure:
    """One figure of many pictures, row by row.

    `pictures` are FilterPictures, or arrays: (h, w, channels) uint8, or (h, w) of any range, drawn dark
    to bright from its own lowest to its highest value. FilterPictures are labelled by filter number,
    with the layer where they come from several; a dead one says that it is dead, and why, as far
    as it has room. `tile` is the side of a picture in inches.
    """
    pictures = list(pictures)
    if not pictures:
        raise ValueError("grid got no pictures")
    whole("columns", columns, 1, 100)
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"{len(labels)} labels for {len(pictures)} pictures")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    several = len({p.layer for p in pictures if isinstance(p, FilterPicture)}) > 1
    if labels is None:
        labels = [
            (f"{p.layer} / {p.filter}" if several else str(p.filter))
            if isinstance(p, FilterPicture)
            else ""
            for p in pictures
        ]
    text = 0.16 * max(
        label.count("\n") + 1 if label else 0 for label in labels
    )  # inches above each picture
    head = text + (0.36 if title else 0.05)
    width, height = columns * (tile + 0.06), rows * tile + (rows - 1) * (text + 0.06) + head
    figure = Figure(figsize=(width, height), dpi=100)
    figure.subplots_adjust(
        0.004, 0.004, 0.996, 1 - head / height, wspace=0.05, hspace=(text + 0.06) / tile
    )
    if title:
        figure.suptitle(title, x=0.01, y=1 - 0.06 / height, ha="left", va="top", fontsize=11)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, picture, label in zip(all_axes, pictures, labels, strict=False):
        image = picture.image if isinstance(picture, FilterPicture) else np.asarray(picture)
        image = visible(image) if image.ndim == 3 else image
        axes.imshow(
            image, cmap="magma", interpolation="nearest" if max(image.shape) < 64 else "antialiased"
        )
        axes.set_title(label, fontsize=8, pad=3)
        if isinstance(picture, FilterPicture) and picture.status == "dead":
            # As much of the reason as there is room for.
            lines = max(1, int((tile - 0.1) / 0.107))  # inches of the box, and of a line
            why = textwrap.fill(
                f"dead: {picture.reason}",
                max(12, int(14 * tile)),
                max_lines=lines,
                placeholder=" …",
            )
            box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none"}
            axes.text(
                0.5,
                0.5,
                why,
                transform=axes.transAxes,
                ha="center",
                va="center",
                fontsize=6,
                bbox=box,
            )
    return figure


def jpeg(figure: Figure, quality: int = 80) -> bytes:
    """The figure as a JPEG file, which for pictures of noise is several times smaller than a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", facecolor="white", pil_kwargs={"quality": quality})
    return buffer.getvalue()


def mimebundle(figure: Figure, alt: str) -> tuple[dict, dict]:
    """The figure as Jupyter wants it, with a text that stands for it where pictures cannot be seen."""
    data = base64.b64encode(jpeg(figure)).decode()
    return {"image/jpeg": data, "text/plain": alt}, {"image/jpeg": {"alt": alt}}


def show(figure: Figure, alt: str) -> None:
    """Displays a figure in a notebook, as JPEG. `alt` says in words what is to be seen."""
    data, metadata = mimebundle(figure, alt)
    display(data, metadata=metadata, raw=True)


def check(answer: object, right: object, hint: str = "") -> None:
    """Says whether the answer to an exercise is right.

    Numbers may be off by 1 %. None means that there is no answer yet.
    """
    if answer is None:
        print(f"Not answered yet. {hint}".strip())
        return
    try:
        given, expected = np.asarray(answer), np.asarray(right)
    except ValueError:  # lists of different lengths in a list
        given, expected = np.array("ragged"), np.array("not ragged")
    if all(np.issubdtype(each.dtype, np.number) for each in (given, expected)):
        same = given.shape == expected.shape and np.allclose(given, expected, rtol=0.01, atol=1e-6)
    else:
        same = bool(np.array_equal(given, expected))
    print("Right." if same else f"Not yet: {answer} is not it. {hint}".strip())
