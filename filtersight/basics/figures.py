"""A picture and the facts that belong to it, sheets of many, and how a notebook shows them."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from filtersight.basics.checks import check_whole, pixels_text, two_digits
from filtersight.basics.files import seal, write_whole
from filtersight.basics.images import visible
from filtersight.basics.recipe import Recipe


@dataclasses.dataclass(frozen=True, eq=False)
class FilterPicture:
    """What one filter responds to, with the facts that belong to the picture."""

    image: np.ndarray
    """(height, width, channels) uint8, RGB where the network takes three channels."""
    layer: str
    filter: int
    activation: float
    """Mean over the filter's map, measured again on `image`, the 8-bit picture that you see."""
    history: np.ndarray
    """(steps,) float32: the activation before each step, of the image as it was looked at."""
    status: str
    """"alive"; "rescued", which took more than one climb, or is a real image; or "dead": the filter
    answers to `image` not at all, or no more than to noise."""
    reason: str
    """What `status` rests on, in words."""
    recipe: Recipe
    """What it takes to make the picture again: network, weights, filter, and what `visualize` was told."""

    def __str__(self) -> str:
        recipe = self.recipe
        steps = " of ".join(str(n) for n in (recipe.stop_after, recipe.steps) if n)
        return (
            f"{recipe.network} {self.layer} filter {self.filter}: {self.status}, {self.reason}; "
            f"{recipe.recipe}, {steps} steps, {pixels_text(recipe.size)} px, seed {recipe.seed}, {recipe.precision}"
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
        write_whole(Path(path), self.png())

    def png(self, more: dict | None = None) -> bytes:
        """The file that `save` writes; `more`, of what JSON can hold, goes with the facts."""
        image, recipe = visible(self.image), json.dumps(self.recipe.as_dict())
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
    check_whole("columns", columns, 1, 100)
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"{len(labels)} labels for {len(pictures)} pictures")
    columns = min(columns, len(pictures))
    labels = usual_labels(pictures) if labels is None else labels
    rows = math.ceil(len(pictures) / columns)
    figure, all_axes = empty_sheet(rows, columns, labels, title, tile)
    for axes, picture, label in zip(all_axes, pictures, labels, strict=False):
        image = picture.image if isinstance(picture, FilterPicture) else np.asarray(picture)
        image = visible(image) if image.ndim == 3 else image
        axes.imshow(
            image, cmap="magma", interpolation="nearest" if max(image.shape) < 64 else "antialiased"
        )
        axes.set_title(label, fontsize=8, pad=3)
        if isinstance(picture, FilterPicture) and picture.status == "dead":
            write_reason(axes, picture.reason, tile)
    return figure


def usual_labels(pictures: Sequence[FilterPicture | np.ndarray]) -> list[str]:
    """Filter numbers, with the layer where they come from several; nothing for arrays."""
    layers = {picture.layer for picture in pictures if isinstance(picture, FilterPicture)}
    return [
        ""
        if not isinstance(picture, FilterPicture)
        else f"{picture.layer} / {picture.filter}"
        if len(layers) > 1
        else str(picture.filter)
        for picture in pictures
    ]


def empty_sheet(
    rows: int, columns: int, labels: Sequence[str], title: str, tile: float
) -> tuple[Figure, np.ndarray]:
    """A figure with room for pictures of `tile` inches under their labels, and its axes, row by row."""
    # Inches above each picture, and above all of them.
    text = 0.16 * max(label.count("\n") + 1 if label else 0 for label in labels)
    width = columns * (tile + 0.06)
    title = textwrap.fill(title, max(12, int(13 * width)))
    head = text + (0.18 + 0.18 * (title.count("\n") + 1) if title else 0.05)
    height = rows * tile + (rows - 1) * (text + 0.06) + head
    figure = Figure(figsize=(width, height), dpi=100)
    figure.subplots_adjust(
        0.004, 0.004, 0.996, 1 - head / height, wspace=0.05, hspace=(text + 0.06) / tile
    )
    if title:
        figure.suptitle(title, x=0.01, y=1 - 0.06 / height, ha="left", va="top", fontsize=11)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    return figure, all_axes


def write_reason(axes: Axes, reason: str, tile: float) -> None:
    """Says over a picture of `tile` inches that it is dead, and why, as far as there is room."""
    lines = max(1, int((tile - 0.1) / 0.107))  # inches of the box, and of a line
    why = textwrap.fill(
        f"dead: {reason}", max(12, int(14 * tile)), max_lines=lines, placeholder=" …"
    )
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none"}
    axes.text(
        0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", fontsize=6, bbox=box
    )


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


def show_widget(widget: widgets.Widget, still: Figure, alt: str) -> None:
    """Displays a widget, and where there are none, as on GitHub, a still figure that `alt` describes."""
    data, metadata = mimebundle(still, alt)
    data["application/vnd.jupyter.widget-view+json"] = {
        "version_major": 2,
        "version_minor": 0,
        "model_id": widget.model_id,
    }
    display(data, metadata=metadata, raw=True)
