"""The folder of an atlas: every filter of a network, drawn once and kept; `Atlas` reads it.

For each layer a folder of PNGs, each with its recipe, facts and scores inside, and manifest.jsonl, which
lists them all. The pictures are what counts; the manifest can be made of them again. Every file appears
under its name when it is whole, so a run may be stopped in any way and goes on from the files that are
there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from filtersight.basics.checks import MAX_SIZE
from filtersight.basics.figures import FilterPicture
from filtersight.basics.files import read_sealed_png
from filtersight.basics.images import channels_of
from filtersight.basics.recipe import Recipe
from filtersight.trust.scores import Scores

MANIFEST = "manifest.jsonl"
FORMAT = 1
SIDE = 16 * MAX_SIZE  # pixels; a picture of many channels is a sheet
RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d", re.IGNORECASE)  # no folders for Windows
LONGEST = (
    120  # characters of a folder's name; most file systems take 255, Windows 260 for a whole path
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A picture of an atlas: all but its pixels."""

    layer: str
    filter: int
    file: str
    """The PNG, relative to the folder of the atlas, with / on all systems."""
    sha256: str
    """Of the file."""
    status: str
    activation: float
    reason: str
    scores: Scores | None
    """None where the layer takes no images of the size of the real ones."""

    def line(self) -> str:
        """The entry as it stands in the manifest."""
        values = dataclasses.asdict(self) | {"scores": without_name(self.scores)}
        return json.dumps(values) + "\n"


def without_name(scores: Scores | None) -> dict | None:
    """Scores as a dict, without layer and filter, which stand beside them."""
    if scores is None:
        return None
    values = dataclasses.asdict(scores)
    del values["layer"], values["filter"]
    return values


def entry_of(layer: str, number: int, file: str, sha256: str, facts: dict) -> Entry:
    """An entry from the facts of a PNG or of a line; LookupError, TypeError or ValueError if it is none."""
    scores = facts["scores"]
    if scores is not None:
        scores = Scores(
            layer, number, **scores | {"preferred": tuple(map(str, scores["preferred"]))}
        )
    if not isinstance(layer, str) or type(number) is not int or not isinstance(file, str):
        raise TypeError("not an entry")
    text = [str(facts[key]) for key in ("status", "reason")]
    return Entry(
        layer, number, file, str(sha256), text[0], float(facts["activation"]), text[1], scores
    )


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """What an atlas says about a layer, beside its pictures."""

    place: int
    """In the network, from the input."""
    filters: int
    """How many the layer has."""
    folder: str
    recipe: Recipe
    """Of all its pictures."""

    def as_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return vars(self) | {"recipe": self.recipe.as_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LayerFacts:
        """From what `as_dict` has made; LookupError, TypeError or ValueError if it is none."""
        return cls(
            int(values["place"]),
            int(values["filters"]),
            str(values["folder"]),
            Recipe.from_dict(values["recipe"]),
        )


class Atlas:
    """The pictures in a folder that `atlas` has filled, finished or not.

    ValueError if it is not such a folder. What is wrong in it is said in a printed line.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        found = read_folder(self.folder)
        if not found.layers:
            raise ValueError(f"{str(folder)!r} is not the folder of an atlas")
        self.layers = found.layers
        """LayerFacts by name, from input to output."""
        self.entries = found.entries
        """Of all pictures that are there, by layer and filter."""
        found.complain()

    @property
    def network(self) -> str:
        """The name of the network."""
        return next(iter(self.layers.values())).recipe.network

    def of(self, layer: str) -> list[Entry]:
        """The entries of one layer, by filter. ValueError for a layer that is not there."""
        if layer not in self.layers:
            raise ValueError(
                f"no layer {layer!r} in the atlas; there are: {', '.join(self.layers)}"
            )
        return [entry for entry in self.entries if entry.layer == layer]

    def picture(self, entry: Entry) -> FilterPicture:
        """The picture of an entry, from its file. ValueError if the file is not what it was."""
        values, facts, pixels = read_sealed_png(self.folder / entry.file, SIDE)
        recipe = Recipe.from_dict(values)
        return FilterPicture(
            channels_of(pixels, recipe.size, recipe.channels),
            entry.layer,
            entry.filter,
            entry.activation,
            np.asarray(facts["history"], np.float32),
            entry.status,
            entry.reason,
            recipe,
        )

    def __str__(self) -> str:
        whole = sum(layer.filters for layer in self.layers.values())
        count = str(whole) if len(self.entries) == whole else f"{len(self.entries)} of {whole}"
        kinds = [entry.status for entry in self.entries]
        statuses = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("alive", "rescued", "dead"))
        return f"{self.network}: {count} pictures of {len(self.layers)} layers; {statuses}"

    __repr__ = __str__


class Found(NamedTuple):
    """What `read` finds in the folder of an atlas."""

    layers: dict[str, LayerFacts]
    entries: list[Entry]
    manifest: bool  # whether it is as it was written, but for the end that a stopped run left away
    broken: list[str]  # files that cannot be read, or are not what their names say
    gone: list[str]  # files of the manifest that are not there
    foreign: list[str]  # files of another recipe than their layer's

    def complain(self) -> None:
        """Prints a line for each thing that is wrong."""
        if not self.manifest:
            print(f"{MANIFEST} is damaged: what it does not tell was read from the pictures.")
        for files, what in (
            (self.broken, "damaged"),
            (self.gone, "gone"),
            (self.foreign, "of another recipe"),
        ):
            if files:
                names = ", ".join(files[:3]) + (", …" if len(files) > 3 else "")
                print(f"{len(files)} picture{'s' * (len(files) > 1)} {what}: {names}")


def read_folder(folder: Path) -> Found:
    """What is in the folder of an atlas; every file is compared with its line. Nothing is changed."""
    layers, listed, whole = read_manifest(folder / MANIFEST)
    entries: dict[tuple[str, int], Entry] = {}
    broken, foreign, files = [], [], set()
    for path in sorted(folder.glob("*/*.png")) if folder.is_dir() else []:
        if not re.fullmatch(r"\d{3,}\.png", path.name):
            continue
        file = f"{path.parent.name}/{path.name}"
        files.add(file)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = listed.get(file)
        if entry is None or entry.sha256 != sha256:
            try:
                values, facts, _ = read_sealed_png(path, SIDE)
                recipe = Recipe.from_dict(values)
                entry = entry_of(values["layer"], values["filter"], file, sha256, facts)
                about = LayerFacts(
                    int(facts["place"]),
                    int(facts["filters"]),
                    path.parent.name,
                    dataclasses.replace(recipe, filter=None),
                )
            except (ValueError, LookupError, TypeError):
                broken.append(file)
                continue
            if file != file_of(entry.layer, entry.filter):
                broken.append(file)
                continue
            if layers.setdefault(entry.layer, about).recipe != about.recipe:
                foreign.append(file)
                continue
        entries[entry.layer, entry.filter] = entry
    layers = dict(sorted(layers.items(), key=lambda item: item[1].place))
    order = list(layers)
    ranked = sorted(entries.values(), key=lambda each: (order.index(each.layer), each.filter))
    gone = sorted(listed.keys() - files)
    return Found(layers, ranked, whole or not (ranked or layers), broken, gone, foreign)


def read_manifest(path: Path) -> tuple[dict[str, LayerFacts], dict[str, Entry], bool]:
    """The layers, the entries by file, and whether all of it could be read.

    Without its first line nothing is believed.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return {}, {}, False
    try:
        header = json.loads(first)
        layers = {
            str(name): LayerFacts.from_dict(about) for name, about in header["layers"].items()
        }
        if header["atlas"] != FORMAT:
            raise ValueError("written by another version")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}, {}, False
    entries, whole = {}, True
    for line in lines[:-1]:  # what follows the last end of a line is the half line of a stopped run
        try:
            values = json.loads(line)
            entry = entry_of(
                values["layer"], values["filter"], values["file"], values["sha256"], values
            )
            if entry.file != file_of(entry.layer, entry.filter) or entry.layer not in layers:
                raise ValueError("not an entry of this atlas")
            entries[entry.file] = entry
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            whole = False
    return layers, entries, whole


def folder_of(layer: str) -> str:
    """The name of a layer's folder: the layer's, with what a file system may refuse as %XX.

    What is too long is cut off, and has the beginning of its sha256 in its place.
    """
    name = urllib.parse.quote(layer, safe="").replace(".", "%2E")
    if RESERVED.fullmatch(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 13]}~{hashlib.sha256(layer.encode()).hexdigest()[:12]}"
    return name


def file_of(layer: str, number: int) -> str:
    """The file of a filter's picture, relative to the folder of the atlas."""
    return f"{folder_of(layer)}/{number:03}.png"
