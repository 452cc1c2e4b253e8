"""Every filter of a network, drawn into a folder, here or by the workers of a Dask cluster."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from tqdm import tqdm

from filtersight.ascent.objective import fast_precision
from filtersight.ascent.recipe import recipe_for
from filtersight.atlas.drawing import Batch, begin, here, keep, plan
from filtersight.atlas.folder import Atlas, Entry, Found, LayerFacts, folder_of, read_folder
from filtersight.basics.recipe import Recipe, settings_of, with_settings
from filtersight.networks.flat import unfold
from filtersight.networks.layers import Layer, conv_layers, filter_count

if TYPE_CHECKING:
    from distributed import Client


@with_settings
def atlas(
    model: keras.Model,
    folder: str | os.PathLike,
    layers: Iterable[str] | None = None,
    *,
    client: Client | None = None,
    **settings: Any,
) -> Atlas:
    """Draws every filter of `layers`, or of all convolution layers, into a folder, and gives the `Atlas`.

    Each picture is a PNG with its recipe, facts and `scores` inside; manifest.jsonl lists them. What is
    in the folder already, whole and by the same recipe, is not drawn again: a run that was stopped,
    with Ctrl-C or by force, goes on where it was. Progress is shown with the time left. The other
    parameters are those of `visualize`; without `precision`, an atlas goes on with that which it began
    with.

    `client`, a `dask.distributed.Client`, has the work done by its workers, and they need nothing but
    the packages of requirements.txt: the course and the model are sent to them, the pictures come back
    and are written here. In float32 and on equal processors they are the same bytes.

    ValueError, before any work, for what `visualize` refuses, for a folder with pictures of another
    recipe, and for a client that is none. OSError if the folder cannot be written; what is there stays.
    """
    folder, wished = Path(folder), settings_of(settings)
    if wished.stop_after is not None:
        raise ValueError("stop_after is for single pictures; an atlas is paused with Ctrl-C")
    names = chosen(model, layers)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which is a file")
    work: Callable = here
    if client is not None:
        from filtersight.atlas import cluster  # Dask is loaded only where it is used

        cluster.check_client(client)
        work = functools.partial(cluster.work, client)
    found = read_folder(folder)
    if wished.precision is None and wished.recipe == "clear":
        # What was begun goes on as it began, whatever this machine is faster with.
        begun = {about.recipe.precision for about in found.layers.values()}
        chosen_here = fast_precision() if client is None else "float32"
        precision = begun.pop() if len(begun) == 1 else chosen_here
        wished = dataclasses.replace(wished, precision=precision)
    recipes = {name: recipe_for(Layer(model, name), wished) for name in names}
    check_same(model, folder, found, recipes)
    found.complain()
    everything = found.layers | facts_of(model, recipes)
    everything = dict(sorted(everything.items(), key=lambda item: item[1].place))
    batches = plan(model, recipes, {(each.layer, each.filter) for each in found.entries})
    if batches or not found.manifest or everything != found.layers:
        draw_batches(model, folder, batches, everything, found.entries, work)
    return Atlas(folder)


def draw_batches(
    model: keras.Model,
    folder: Path,
    batches: list[Batch],
    layers: dict[str, LayerFacts],
    entries: list[Entry],
    work: Callable[..., Iterator[tuple[Batch, dict[int, bytes]]]],
) -> None:
    """Has `work` draw the batches, and keeps what is drawn beside `entries`; Ctrl-C pauses it.

    OSError, with how far it has come, if the folder cannot be written.
    """
    total, done, complete = sum(each.filters for each in layers.values()), len(entries), 0
    with tqdm(
        total=sum(batch.cost for batch in batches) or 1,
        desc=f"{done} of {total} pictures",
        bar_format="{desc} |{bar:30}| {percentage:3.0f} %, {elapsed} so far, {remaining} left",
        delay=2,
        leave=False,
    ) as bar:
        try:
            begin(folder, layers, entries)
            for batch, files in work(model, batches, layers, bar):
                for number in sorted(batch.missing):
                    keep(folder, batch.layer, number, files[number])
                    done += 1
                complete += 1
                bar.set_description_str(f"{done} of {total} pictures")
        except KeyboardInterrupt:
            pass  # as if the work had ended early
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error} ({str(folder)!r}); {done} of {total} pictures are there, "
                "and the same call goes on with the others",
            ) from None
    if complete < len(batches):
        print(f"Paused: {done} of {total} pictures are there; the same call goes on.")


def facts_of(model: keras.Model, recipes: dict[str, Recipe]) -> dict[str, LayerFacts]:
    """What the atlas says about the layers that it draws."""
    places = list(unfold(model).parts)
    return {
        name: LayerFacts(places.index(name), filter_count(model, name), folder_of(name), recipe)
        for name, recipe in recipes.items()
    }


def chosen(model: keras.Model, layers: Iterable[str] | None) -> list[str]:
    """The names of the layers to draw; ValueError if one is wrong, given twice, or if there is none."""
    if isinstance(layers, str) or (layers is not None and not isinstance(layers, Iterable)):
        raise ValueError(f"layers is {layers!r}; it must be a list of names, such as [{layers!r}]")
    names = conv_layers(model) if layers is None else list(layers)
    if not names:
        raise ValueError(f"no layers to draw; {model.name} has: {', '.join(conv_layers(model))}")
    for name in names:
        Layer(model, name).check_filters([0])
    for what, keys in (
        ("layers names a layer twice", names),
        # as it does on a file system that tells no A from a
        ("layers differ in nothing but large and small letters", [n.casefold() for n in names]),
    ):
        if len(set(keys)) < len(keys):
            raise ValueError(f"{what}: {names}")
    return names


def check_same(model: keras.Model, folder: Path, found: Found, recipes: dict[str, Recipe]) -> None:
    """ValueError if the folder has pictures of another network or recipe than `recipes`."""
    problems = [f"{file} is of another recipe than its layer" for file in found.foreign]
    for layer, about in found.layers.items():
        old = about.recipe
        try:
            # The settings of one atlas are one; steps and size may differ, as for classes.
            new = recipes.get(layer) or dataclasses.replace(
                next(iter(recipes.values())),
                layer=layer,
                weights=Layer(model, layer).fingerprint(),
                steps=old.steps,
                size=old.size,
            )
            wanted = vars(new)
        except ValueError:  # the model has no such layer
            wanted = {"network": model.name}
        problems += [
            f"{layer} with {key} {getattr(old, key)!r}, not {value!r}"
            for key, value in wanted.items()
            if getattr(old, key) != value
        ]
    if problems:
        raise ValueError(
            f"{str(folder)!r} holds an atlas of another recipe: {problems[0]}; take another folder"
        )
