"""Draws the filters of an atlas in batches, and keeps what is drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
from tqdm import tqdm

from filtersight.ascent.visualize import draw_pictures
from filtersight.atlas.folder import (
    FORMAT,
    MANIFEST,
    SIDE,
    Entry,
    LayerFacts,
    entry_of,
    file_of,
    without_name,
)
from filtersight.basics.files import read_sealed_png, write_whole
from filtersight.basics.recipe import Recipe
from filtersight.networks.layers import Layer
from filtersight.trust.scores import Scores, scores
from filtersight.world.sample import SAMPLE_SIZE

BATCH = 32  # pictures at most between one writing and the next: what a stopped run loses


class Batch(NamedTuple):
    """Filters that are drawn together, always the same ones, so that their pictures come out the same."""

    layer: str
    filters: list[int]
    missing: set[int]  # those whose pictures are not there
    cost: float  # multiplications: its share of the work


def plan(
    model: keras.Model, recipes: dict[str, Recipe], there: set[tuple[str, int]]
) -> list[Batch]:
    """The batches in which something is missing."""
    batches = []
    for name, recipe in recipes.items():
        layer = Layer(model, name)
        size = recipe.size
        count = min(BATCH, layer.images_at_once(size, recipe.precision))
        numbers = range(layer.filters)
        if all((name, number) in there for number in numbers):
            continue
        each = recipe.steps * layer.multiplications(size)
        for first in numbers[::count]:
            filters = list(numbers[first : first + count])
            missing = {number for number in filters if (name, number) not in there}
            if missing:
                batches.append(Batch(name, filters, missing, each * len(filters)))
    return batches


class Share(tqdm):
    """Moves the bar of the whole atlas while one batch is drawn, as far as its share of the work goes."""

    def __init__(self, bar: tqdm, batch: Batch, steps: int):
        super().__init__(total=len(batch.filters) * steps, disable=True)
        self.bar, self.begun, self.cost, self.done = bar, bar.n, batch.cost, 0

    def update(self, n=1):
        """So many steps more; those on top that rescue dead filters add to `total`."""
        self.done += n
        self.bar.n = max(self.bar.n, self.begun + self.cost * min(1, self.done / self.total))
        self.bar.update(0)


def here(
    model: keras.Model, batches: list[Batch], layers: dict[str, LayerFacts], bar: tqdm
) -> Iterator[tuple[Batch, dict[int, bytes]]]:
    """Draws the batches in this process: each with its files by filter, until Ctrl-C."""
    for batch in batches:
        about = layers[batch.layer]
        files = draw_batch(model, batch.filters, about, Share(bar, batch, about.recipe.steps))
        if files is None:
            return
        yield batch, files


def draw_batch(
    model: keras.Model, filters: list[int], about: LayerFacts, bar: tqdm | None = None
) -> dict[int, bytes] | None:
    """The PNGs of some filters of a layer, by filter, with recipe, facts and scores; None after Ctrl-C."""
    bar = bar or tqdm(total=0, disable=True)
    layer = Layer(model, about.recipe.layer)
    pictures, complete = draw_pictures(layer, filters, about.recipe, bar)
    if not complete:
        return None
    table: Sequence[Scores | None] = [None] * len(pictures)
    if layer.fits(SAMPLE_SIZE):
        table = scores(model, pictures)
    place = {"place": about.place, "filters": about.filters}
    return {
        picture.filter: picture.png({"scores": without_name(each), **place})
        for picture, each in zip(pictures, table, strict=True)
    }


def begin(folder: Path, layers: dict[str, LayerFacts], entries: list[Entry]) -> None:
    """Makes the folders, clears away half files, and writes the manifest of what is there."""
    for about in layers.values():
        (folder / about.folder).mkdir(parents=True, exist_ok=True)
    for half in [*folder.glob(f"{MANIFEST}.*.tmp"), *folder.glob("*/*.png.*.tmp")]:
        half.unlink(missing_ok=True)
    about_layers = {name: about.as_dict() for name, about in layers.items()}
    header = json.dumps({"atlas": FORMAT, "layers": about_layers}) + "\n"
    write_whole(folder / MANIFEST, (header + "".join(entry.line() for entry in entries)).encode())


def keep(folder: Path, layer: str, number: int, data: bytes) -> None:
    """Writes a picture, and its line after it: what has a line is there."""
    file = file_of(layer, number)
    write_whole(folder / file, data)
    _, facts, _ = read_sealed_png(folder / file, SIDE)
    entry = entry_of(layer, number, file, hashlib.sha256(data).hexdigest(), facts)
    with open(folder / MANIFEST, "ab") as manifest:
        manifest.write(entry.line().encode())
