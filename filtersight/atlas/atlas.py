"""Every filter of a network, drawn into a folder, here or by the workers of a Dask cluster."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from tqdm import tqdm

from filtersight.ascent.objective import fast_precision
from filtersight.ascent.recipe import recipe_for
from filtersight.atlas.drawing import Batch, begin, here, keep, plan
from filtersight.atlas.folder import SIDE, Atlas, Entry, Found, LayerFacts, folder_of, read_folder
from filtersight.basics.checks import is_list, shown, two_digits
from filtersight.basics.files import read_sealed_png
from filtersight.basics.images import channels_of
from filtersight.basics.recipe import Recipe, settings_of, with_settings
from filtersight.networks.flat import unfold
from filtersight.networks.layers import Layer, filter_count, to_picture

if TYPE_CHECKING:
    from distributed import Client

CHECKED = 2  # pictures of a layer whose answers are measured again before an atlas goes on


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

    A network without convolution has the values of its layers drawn, as those of Dense.

    Each picture is a PNG with its recipe, facts and `scores` inside; manifest.jsonl lists them. What is
    in the folder already, whole and by the same recipe, is not drawn again: a run that was stopped,
    with Ctrl-C or by force, goes on where it was. Progress is shown with the time left. The other
    parameters are those of `visualize`; without `precision`, an atlas goes on with that which it began
    with.

    `client`, a `dask.distributed.Client`, has the work done by its workers, and they need nothing but
    the packages of requirements.txt: the course and the model, with layers of your own, are sent to
    them, the pictures come back and are written here. In float32 and on equal processors they are the
    same bytes.

    ValueError, before any work, for what `visualize` refuses, for a folder with pictures of another
    recipe, for a client that is none, for workers with another Python, and for a model that cannot be
    sent; and, before anything is drawn, for a worker that cannot run the course or read the model.
    OSError if the folder cannot be written; what is there stays.
    """
    wished = settings_of(settings)
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"folder is {shown(folder)}; it must be a path, such as 'atlas'")
    folder = Path(folder)
    if wished.stop_after is not None:
        raise ValueError("stop_after is for single pictures; an atlas is paused with Ctrl-C")
    names = chosen(model, layers)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which is a file")
    work: Callable = here
    if client is not None:
        from filtersight.atlas import cluster  # Dask is loaded only where it is used

        cluster.check_client(client)
        work = functools.partial(cluster.work, client, cluster.course_for(model))
    found = read_folder(folder)
    check_letters([*found.layers, *names])
    if wished.precision is None and wished.recipe == "clear":
        # What was begun goes on as it began, whatever this machine is faster with.
        begun = {about.recipe.precision for about in found.layers.values()}
        chosen_here = fast_precision() if client is None else "float32"
        precision = begun.pop() if len(begun) == 1 else chosen_here
        wished = dataclasses.replace(wished, precision=precision)
    recipes = {name: recipe_for(Layer(model, name), wished) for name in names}
    check_same(model, folder, found, recipes)
    for name in recipes:
        check_answers(Layer(model, name), folder, found)
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
    if layers is not None and not is_list(layers):
        raise ValueError(
            f"layers is {shown(layers)}; it must be a list of names, such as [{shown(layers)}]"
        )
    names = to_picture(model) if layers is None else list(layers)
    if not names:
        there = ", ".join(to_picture(model)) or "none with weights"
        raise ValueError(f"no layers to draw; {model.name} has: {there}")
    for name in names:
        Layer(model, name).check_filters([0])
    if len(set(names)) < len(names):
        raise ValueError(f"layers names a layer twice: {names}")
    return names


def check_letters(names: Iterable[str]) -> None:
    """ValueError if the folders of two layers are one on a disk that tells no A from a."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(folder_of(name).casefold(), name)
        if other != name:
            raise ValueError(
                f"layers differ in nothing but large and small letters: {[other, name]}; draw them into two "
                f"folders, as atlas(model, folder, [{name!r}])"
            )


def check_answers(layer: Layer, folder: Path, found: Found) -> None:
    """ValueError if the layer does not answer to pictures in the folder as it did when they were drawn.

    The recipe tells other weights, but not another activation function or stride.
    """
    entries = [each for each in found.entries if each.layer == layer.name]
    some = sorted(entries, key=lambda each: each.status == "dead")[:CHECKED]
    for entry in some:
        recipe = found.layers[layer.name].recipe
        _, _, pixels = read_sealed_png(folder / entry.file, SIDE)
        image = channels_of(pixels, recipe.size, recipe.channels)
        answers = layer.activations(image[None])[0]
        now, scale = float(answers[entry.filter]), float(np.abs(answers).max())
        if not np.isclose(now, entry.activation, rtol=0.02, atol=1e-3 * scale, equal_nan=True):
            raise ValueError(
                f"{str(folder)!r} holds pictures of {recipe.network} as it was set before: filter "
                f"{entry.filter} of {layer.name} answered {two_digits(entry.activation)} to its picture, and "
                f"now {two_digits(now)}; take another folder"
            )


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
