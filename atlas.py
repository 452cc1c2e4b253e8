"""Every filter of a network, drawn once and kept: `helpers.atlas` draws it, `Atlas` reads it.

An atlas is a folder: for each layer a folder of PNGs, each with its recipe, facts and scores inside,
and manifest.jsonl, which lists them all. The pictures are what counts; the manifest can be made of
them again. Every file appears under its name when it is whole, so a run may be stopped in any way and
goes on from the files that are there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

import helpers
import networks
import patterns
from pictures import FilterPicture, channels_of, saved
from scores import Scores

if TYPE_CHECKING:
    from distributed import Client

MANIFEST = "manifest.jsonl"
FORMAT = 1
BATCH = 32  # pictures at most between one writing and the next: what a stopped run loses
SIDE = 16 * helpers.MAX_SIZE  # pixels; a picture of many channels is a sheet


# ---------------------------------------------------------------- an atlas on disk


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


class Atlas:
    """The pictures in a folder that `helpers.atlas` has filled, finished or not.

    ValueError if it is not such a folder. What is wrong in it is said in a printed line.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        found = read(self.folder)
        if not found.layers:
            raise ValueError(f"{str(folder)!r} is not the folder of an atlas")
        self.layers = found.layers
        """{layer: {"place": in the network, "filters": how many, "folder": name, "recipe": all but the
        filter}}, from input to output."""
        self.entries = found.entries
        """Of all pictures that are there, by layer and filter."""
        found.complain()

    @property
    def network(self) -> str:
        """The name of the network."""
        return next(iter(self.layers.values()))["recipe"]["network"]

    def of(self, layer: str) -> list[Entry]:
        """The entries of one layer, by filter. ValueError for a layer that is not there."""
        if layer not in self.layers:
            raise ValueError(
                f"no layer {layer!r} in the atlas; there are: {', '.join(self.layers)}"
            )
        return [entry for entry in self.entries if entry.layer == layer]

    def picture(self, entry: Entry) -> FilterPicture:
        """The picture of an entry, from its file. ValueError if the file is not what it was."""
        recipe, facts, pixels = saved(self.folder / entry.file, SIDE)
        return FilterPicture(
            channels_of(pixels, recipe["size"], recipe["channels"]),
            entry.layer,
            entry.filter,
            entry.activation,
            np.asarray(facts["history"], np.float32),
            entry.status,
            entry.reason,
            recipe,
        )

    def __str__(self) -> str:
        whole = sum(layer["filters"] for layer in self.layers.values())
        count = str(whole) if len(self.entries) == whole else f"{len(self.entries)} of {whole}"
        kinds = [entry.status for entry in self.entries]
        statuses = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("alive", "rescued", "dead"))
        return f"{self.network}: {count} pictures of {len(self.layers)} layers; {statuses}"

    __repr__ = __str__


class Found(NamedTuple):
    """What `read` finds in the folder of an atlas."""

    layers: dict[str, dict]
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


def read(folder: Path) -> Found:
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
                recipe, facts, _ = saved(path, SIDE)
                entry = entry_of(recipe["layer"], recipe.pop("filter"), file, sha256, facts)
                about: dict = {"place": int(facts["place"]), "filters": int(facts["filters"])}
            except (ValueError, LookupError, TypeError):
                broken.append(file)
                continue
            if file != file_of(entry.layer, entry.filter):
                broken.append(file)
                continue
            about |= {"folder": path.parent.name, "recipe": recipe}
            if layers.setdefault(entry.layer, about)["recipe"] != recipe:
                foreign.append(file)
                continue
        entries[entry.layer, entry.filter] = entry
    layers = dict(sorted(layers.items(), key=lambda item: item[1]["place"]))
    order = list(layers)
    ranked = sorted(entries.values(), key=lambda each: (order.index(each.layer), each.filter))
    gone = sorted(listed.keys() - files)
    return Found(layers, ranked, whole or not (ranked or layers), broken, gone, foreign)


def read_manifest(path: Path) -> tuple[dict[str, dict], dict[str, Entry], bool]:
    """The layers, the entries by file, and whether all of it could be read.

    Without its first line nothing is believed.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return {}, {}, False
    try:
        header = json.loads(first)
        layers = {str(name): dict(about) for name, about in header["layers"].items()}
        for about in layers.values():
            about["place"], about["filters"] = int(about["place"]), int(about["filters"])
            about["folder"], about["recipe"] = str(about["folder"]), dict(about["recipe"])
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
    """The name of a layer's folder: the layer's, with what a file system may refuse as %XX."""
    return urllib.parse.quote(layer, safe="").replace(".", "%2E")


def file_of(layer: str, number: int) -> str:
    """The file of a filter's picture, relative to the folder of the atlas."""
    return f"{folder_of(layer)}/{number:03}.png"


# ---------------------------------------------------------------- drawing


class Batch(NamedTuple):
    """Filters that are drawn together, always the same ones, so that their pictures come out the same."""

    layer: str
    filters: list[int]
    missing: set[int]  # those whose pictures are not there
    cost: float  # multiplications: its share of the work


def draw(
    model: keras.Model,
    folder: str | os.PathLike,
    layers: Iterable[str] | None,
    client: Client | None,
    options: dict,
) -> Atlas:
    """As `helpers.atlas`; `options` are those of `helpers.order_of`."""
    folder = Path(folder)
    names = chosen(model, layers)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which is a file")
    if client is not None:
        import cluster  # Dask is loaded only where it is used

        cluster.check(client)
    found = read(folder)
    if options["precision"] is None and options["recipe"] == "clear":
        # What was begun goes on as it began, whatever this machine is faster with.
        begun = {about["recipe"]["precision"] for about in found.layers.values()}
        chosen_here = helpers.fast_precision() if client is None else "float32"
        options = options | {"precision": begun.pop() if len(begun) == 1 else chosen_here}
    orders = {name: helpers.order_of(model, name, **options) for name in names}
    check_same(model, folder, found, orders)
    found.complain()
    places = list(networks.unfold(model).parts)
    about = found.layers | {
        name: {
            "place": places.index(name),
            "filters": helpers.filter_count(model, name),
            "folder": folder_of(name),
            "recipe": order,
        }
        for name, order in orders.items()
    }
    about = dict(sorted(about.items(), key=lambda item: item[1]["place"]))
    batches = plan(model, orders, {(each.layer, each.filter) for each in found.entries})
    if not batches and found.manifest and about == found.layers:
        return Atlas(folder)
    total, done = sum(each["filters"] for each in about.values()), len(found.entries)
    with tqdm(
        total=sum(batch.cost for batch in batches) or 1,
        desc=f"{done} of {total} pictures",
        bar_format="{desc} |{bar:30}| {percentage:3.0f} %, {elapsed} so far, {remaining} left",
        delay=2,
        leave=False,
    ) as bar:
        try:
            begin(folder, about, found.entries)
            work = here if client is None else functools.partial(cluster.work, client)
            for batch, files in work(model, batches, about, bar):
                for number in sorted(batch.missing):
                    keep(folder, batch.layer, number, files[number])
                    done += 1
                bar.set_description_str(f"{done} of {total} pictures")
        except KeyboardInterrupt:
            print(f"Paused: {done} of {total} pictures are there; the same call goes on.")
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error} ({str(folder)!r}); {done} of {total} pictures are there, "
                "and the same call goes on with the others",
            ) from None
    return Atlas(folder)


def chosen(model: keras.Model, layers: Iterable[str] | None) -> list[str]:
    """The names of the layers to draw; ValueError if one is wrong, given twice, or if there is none."""
    if isinstance(layers, str) or (layers is not None and not isinstance(layers, Iterable)):
        raise ValueError(f"layers is {layers!r}; it must be a list of names, such as [{layers!r}]")
    names = helpers.conv_layers(model) if layers is None else list(layers)
    if not names:
        raise ValueError(
            f"no layers to draw; {model.name} has: {', '.join(helpers.conv_layers(model))}"
        )
    for name in names:
        helpers.check_filters(model, name, [0])
    for what, keys in (
        ("layers names a layer twice", names),
        # as it does on a file system that tells no A from a
        ("layers differ in nothing but large and small letters", [n.casefold() for n in names]),
    ):
        if len(set(keys)) < len(keys):
            raise ValueError(f"{what}: {names}")
    return names


def check_same(model: keras.Model, folder: Path, found: Found, orders: dict[str, dict]) -> None:
    """ValueError if the folder has pictures of another network or recipe than `orders`."""
    problems = [f"{file} is of another recipe than its layer" for file in found.foreign]
    for layer, about in found.layers.items():
        old = about["recipe"]
        try:
            # The settings of one atlas are one; steps and size may differ, as for classes.
            new = orders.get(layer) or next(iter(orders.values())) | {
                "layer": layer,
                "weights": helpers.fingerprint(model, layer),
                **{key: old[key] for key in ("steps", "size")},
            }
        except ValueError:  # the model has no such layer
            new = {"network": model.name}
        problems += [
            f"{layer} with {key} {old.get(key)!r}, not {new[key]!r}"
            for key in new
            if old.get(key) != new[key]
        ]
    if problems:
        raise ValueError(
            f"{str(folder)!r} holds an atlas of another recipe: {problems[0]}; take another folder"
        )


def plan(model: keras.Model, orders: dict[str, dict], there: set[tuple[str, int]]) -> list[Batch]:
    """The batches in which something is missing."""
    batches = []
    for layer, order in orders.items():
        size, steps = order["size"], order["steps"]
        count = min(BATCH, helpers.images_at_once(model, layer, size, order["precision"]))
        numbers = range(helpers.filter_count(model, layer))
        if all((layer, number) in there for number in numbers):
            continue
        each = steps * networks.multiplications(model, layer, size)
        for first in numbers[::count]:
            filters = list(numbers[first : first + count])
            missing = {number for number in filters if (layer, number) not in there}
            if missing:
                batches.append(Batch(layer, filters, missing, each * len(filters)))
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
    model: keras.Model, batches: list[Batch], layers: dict[str, dict], bar: tqdm
) -> Iterator[tuple[Batch, dict[int, bytes]]]:
    """Draws the batches in this process: each with its files by filter."""
    for batch in batches:
        about = layers[batch.layer]
        yield batch, files(model, batch.filters, about, Share(bar, batch, about["recipe"]["steps"]))


def files(
    model: keras.Model, filters: list[int], about: dict, bar: tqdm | None = None
) -> dict[int, bytes]:
    """The PNGs of some filters of a layer, by filter, with recipe, facts and scores."""
    order = about["recipe"]
    pictures: list[FilterPicture] = []
    helpers.draw(model, filters, order, bar or tqdm(total=0, disable=True), pictures)
    table: Sequence[Scores | None] = [None] * len(pictures)
    if helpers.fits(model, order["layer"], helpers.SAMPLE_SIZE):
        table = helpers.scores(model, pictures)
    place = {key: about[key] for key in ("place", "filters")}
    return {
        picture.filter: picture.png({"scores": without_name(scores), **place})
        for picture, scores in zip(pictures, table, strict=True)
    }


def begin(folder: Path, layers: dict[str, dict], entries: list[Entry]) -> None:
    """Makes the folders, clears away half files, and writes the manifest of what is there."""
    for about in layers.values():
        (folder / about["folder"]).mkdir(parents=True, exist_ok=True)
    for half in [*folder.glob(f"{MANIFEST}.*.tmp"), *folder.glob("*/*.png.*.tmp")]:
        half.unlink(missing_ok=True)
    header = json.dumps({"atlas": FORMAT, "layers": layers}) + "\n"
    patterns.write(
        folder / MANIFEST, (header + "".join(entry.line() for entry in entries)).encode()
    )


def keep(folder: Path, layer: str, number: int, data: bytes) -> None:
    """Writes a picture, and its line after it: what has a line is there."""
    file = file_of(layer, number)
    patterns.write(folder / file, data)
    _, facts, _ = saved(folder / file, SIDE)
    entry = entry_of(layer, number, file, hashlib.sha256(data).hexdigest(), facts)
    with open(folder / MANIFEST, "ab") as manifest:
        manifest.write(entry.line().encode())
