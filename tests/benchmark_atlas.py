"""What an atlas costs: PocketVGG's, a filter more in a layer, and the largest networks.

    python tests/benchmark_atlas.py pocketvgg   # its whole atlas and gallery
    python tests/benchmark_atlas.py flat        # is a filter as cheap among 700 as among 10?
    python tests/benchmark_atlas.py cost        # hours for whole networks, on 1, 10 and 100 workers

`cost` measures three layers of each network for a few steps, computes the rest, prints a table and
draws it to media/atlas_cost.png. Weights are random but for PocketVGG: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import heapq
import os
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ["TQDM_DISABLE"] = "1"  # bars of a few steps each

import benchmark
import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import helpers
from filtersight.ascent import objective, recipe
from filtersight.atlas import drawing as drawing_module
from filtersight.atlas import folder as folder_module
from filtersight.basics.checks import two_digits
from filtersight.networks import flat as flat_module
from filtersight.networks import layers as layers_module
from filtersight.networks import load
from filtersight.networks.layers import Layer
from filtersight.trust import scores as scores_module
from filtersight.world import pocketvgg as pocketvgg_module

Row = list[str]


def seconds_of(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ---------------------------------------------------------------- pocketvgg


def pocketvgg() -> None:
    """Draws PocketVGG's whole atlas and its gallery."""
    model = pocketvgg_module.load()
    with tempfile.TemporaryDirectory() as folder:
        drawing = seconds_of(lambda: helpers.atlas(model, folder))
        files = list(Path(folder).glob("*/*.png"))
        size = sum(path.stat().st_size for path in files)
        page = seconds_of(lambda: helpers.gallery(folder))
        print(folder_module.Atlas(folder))
    print(f"{two_digits(drawing / 60)} minutes, {two_digits(drawing / len(files))} s a picture")
    print(f"{len(files)} pictures, {two_digits(size / 1e6)} MB; gallery: {two_digits(page)} s")


# ---------------------------------------------------------------- flat

LAYER = "many"
REPEATS = {10: 9, 100: 3, 700: 1}  # short runs are noisy


def network(count: int) -> keras.Model:
    """PocketVGG to block2_conv2, and one convolution of `count` random filters, hardly any of them silent."""
    base = pocketvgg_module.load()
    keras.utils.set_random_seed(0)
    many = keras.layers.Conv2D(
        count, 3, padding="same", activation="relu", bias_initializer="ones", name=LAYER
    )
    return keras.Model(base.inputs, many(base.get_layer("block2_conv2").output), name="flat")


def start_seconds(model: keras.Model) -> float:
    """What is done once for a layer: its graph, and its answers to real images."""

    def begin() -> None:
        helpers.visualize(model, LAYER, [0], steps=4, seed=1)
        scores_module.reality(model, LAYER)

    return seconds_of(begin)


def ends_of_batches(folder: str) -> np.ndarray:
    """When the last picture of each whole batch of an atlas of one layer was written."""
    times = [path.stat().st_mtime for path in sorted(Path(folder).glob("*/*.png"))]
    return np.array(times[drawing_module.BATCH - 1 :: drawing_module.BATCH])


def flat() -> None:
    """Seconds a filter in layers of 10, 100 and 700 filters that are otherwise the same."""
    helpers.sample()  # once for all layers of all networks
    helpers.visualize(pocketvgg_module.load(), "block1_conv1", [0], steps=1)
    medians = {}
    for count, times in REPEATS.items():
        model, runs = network(count), []
        begin = start_seconds(model)
        for _ in range(times):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(seconds_of(lambda f=folder, m=model: helpers.atlas(m, f, [LAYER])))
                result, ends = folder_module.Atlas(folder), ends_of_batches(folder)
        medians[count] = float(np.median(runs)) / count
        scoring = score_seconds(model, range(min(count, drawing_module.BATCH)))
        print(result)
        print(
            f"{count} filters, median of {times}: {two_digits(medians[count])} s a filter, "
            f"{two_digits(medians[count] + begin / count)} s with the start of {two_digits(begin)} s; "
            f"of it scores: {two_digits(scoring)} s",
            flush=True,
        )
    first, last = (ends[3] - ends[0]) / 96, (ends[-1] - ends[-4]) / 96
    print(
        f"Of 700, filters 32 to 127: {two_digits(first)} s each; the last 96: {two_digits(last)} s"
    )
    for count in (100, 700):
        print(f"{count} to 10: {medians[count] / medians[10] - 1:+.0%} a filter")


def score_seconds(model: keras.Model, filters: range) -> float:
    """Seconds a picture for its scores alone."""
    pictures = helpers.visualize(model, LAYER, filters, steps=4, rescue=False)
    return seconds_of(lambda: helpers.scores(model, pictures)) / len(filters)


# ---------------------------------------------------------------- cost

NETWORKS = (
    "PocketVGG VGG16 MobileNetV2 ResNet50 InceptionResNetV2 NASNetLarge EfficientNetV2L "
    "ConvNeXtXLarge"
).split()
SAMPLED = (0.1, 0.5, 0.9)  # of the way through the layers
STEPS, SIZE, WORKERS = recipe.RECIPES["clear"][0], 128, (1, 10, 100)
SOME = 16  # real images that are measured, of all that count


def built(name: str) -> keras.Model:
    """The network, with random weights and without its classifier."""
    if name == "PocketVGG":
        return pocketvgg_module.load()
    constructor = getattr(keras.applications, name)
    if not name.startswith("NASNet"):
        return load.with_preprocessing(constructor, None)
    # Keras builds NASNets right only for images of a given size.
    image = keras.Input((SIZE, SIZE, 3))
    inner = constructor(weights=None, include_top=False, input_shape=image.shape[1:])
    ready = keras.applications.nasnet.preprocess_input(image)
    return keras.Model(image, inner(ready), name=name.lower())


def multiplications(model: keras.Model, size: int) -> dict[str, int]:
    """`networks.multiplications` of all convolution layers that images of `size` fit, in one pass."""
    parts, names = flat_module.unfold(model).parts, helpers.conv_layers(model)
    maker = {id(part.output): name for name, part in parts.items()}
    needs: dict[str, set[str]] = {}  # the layer and all those before it
    for name, part in parts.items():
        before = [needs[maker[id(each)]] for each in part.inputs if id(each) in maker]
        needs[name] = {name}.union(*before)
    fitting: set[str] = set()
    for name in reversed(names):
        if name not in fitting and Layer(model, name).fits(size):
            fitting |= needs[name]
    some = {name: part for name, part in parts.items() if name in fitting}
    ends = [part.output for part in some.values()]
    every = keras.Model(next(iter(some.values())).image, ends)
    shapes = every.compute_output_shape((1, size, size, layers_module.channels(model)))
    own = {}
    for (name, part), shape in zip(some.items(), shapes, strict=True):
        kernels = [w.shape for w in getattr(part.layer, "weights", []) if len(w.shape) > 1]
        own[name] = sum(map(np.prod, kernels)) * int(np.prod(shape[1:-1]))
    return {name: int(sum(own[n] for n in needs[name])) for name in names if name in fitting}


class Cost(NamedTuple):
    """What was measured of one layer, in seconds."""

    filter: float  # all steps of one filter in a batch, and its scores
    scores: float  # those alone
    start: float  # graph, and answers to all real images


def measured(model: keras.Model, layer: str, count: int) -> Cost:
    """Draws a batch of `count` filters three times in few steps; a step more costs what it costs there."""
    known = scores_module.knows_patterns(model)
    images = scores_module.drawings(1000, 123)[0] if known else helpers.sample()
    begun = time.perf_counter()
    answers = helpers.activations(model, layer, images[:SOME])
    reality = (time.perf_counter() - begun) * len(images) / SOME
    answers = np.resize(
        answers, (len(images), answers.shape[1])
    )  # repeated, for time does not mind
    real = scores_module.Reality(images, answers, None)
    pictures = []

    def draw(steps: int) -> None:
        pictures[:] = helpers.visualize(model, layer, range(count), steps=steps, rescue=False)

    first, few, more = (seconds_of(lambda s=steps: draw(s)) for steps in (4, 4, 12))
    score = seconds_of(lambda: helpers.scores(model, pictures, real=real))
    step = max(0.0, more - few) / 8
    batch = few + (STEPS - 4) * step + score
    return Cost(batch / count, score / count, max(0.0, first - few) + reality)


def duration(batches: list[tuple[str, float, float]], workers: int) -> float:
    """Hours until all are done: each goes to the worker that is free first, which may have to start a layer.

    `batches` are (layer, seconds, seconds of the layer's start).
    """
    free = [(0.0, number) for number in range(workers)]
    started: list[set[str]] = [set() for _ in range(workers)]
    for layer, seconds, start in batches:
        clock, number = heapq.heappop(free)
        if layer not in started[number]:
            started[number].add(layer)
            seconds += start
        heapq.heappush(free, (clock + seconds, number))
    return max(free)[0] / 3600


def row(name: str) -> Row:
    """The row of the table for one network."""
    model, precision = built(name), objective.fast_precision()
    layers = helpers.conv_layers(model)
    large, small = (multiplications(model, size) for size in (SIZE, SIZE // 2))
    # As climb.frames: only what sees little of the image is begun on a tile.
    fields = {layer: helpers.receptive_field(model, layer) for layer in layers}
    tiles = {layer: small.get(layer) if fields[layer] <= SIZE // 4 else None for layer in layers}
    work = {
        layer: 3 * STEPS * (0.75 * (tiles[layer] or large[layer]) + 0.25 * large[layer])
        for layer in layers
    }
    filters = {layer: helpers.filter_count(model, layer) for layer in layers}
    at_once = {
        layer: min(drawing_module.BATCH, Layer(model, layer).images_at_once(SIZE, precision))
        for layer in layers
    }
    places, costs = [int(share * len(layers)) for share in SAMPLED], []
    for place in places:
        layer = layers[place]
        assert large[layer] == Layer(model, layer).multiplications(SIZE)
        cost = measured(model, layer, min(at_once[layer], filters[layer]))
        costs.append(cost)
        print(f"{name} {layer}, {at_once[layer]} at once: {cost}", flush=True)
    rates = [work[layers[p]] / cost.filter for p, cost in zip(places, costs, strict=True)]
    batches = []
    for place, layer in enumerate(layers):
        rate = np.interp(place, places, rates)
        start = np.interp(place, places, [cost.start for cost in costs])
        for first in range(0, filters[layer], at_once[layer]):
            count = min(at_once[layer], filters[layer] - first)
            batches.append((layer, count * work[layer] / rate, start))
    bare = [(layer, seconds, 0.0) for layer, seconds, _ in batches]
    print(f"{name}, without starts:", *(two_digits(duration(bare, n)) for n in WORKERS), "hours")
    return [
        name,
        str(len(layers)),
        f"{sum(filters.values()):,}",
        f"{sum(filters[layer] * work[layer] for layer in layers):.1e}",
        " · ".join(two_digits(rate / 1e9) for rate in rates),
        " · ".join(two_digits(cost.filter) for cost in costs),
        " · ".join(two_digits(cost.start) for cost in costs),
        *(two_digits(duration(batches, workers)) for workers in WORKERS),
    ]


HEAD = [
    "network",
    "layers",
    "filters",
    "multipli-\ncations",
    "10⁹ of them a second:\nearly · middle · late",
    "seconds\na filter",
    "seconds to start\na layer",
    "hours on\n1 worker",
    "on\n10",
    "on\n100",
]
WIDTHS = [0.15, 0.06, 0.07, 0.08, 0.17, 0.15, 0.12, 0.08, 0.06, 0.06]


def assumptions() -> str:
    """What the table says without words."""
    return (
        f"{datetime.date.today()}, {benchmark.processor()}, {os.cpu_count()} cores, TensorFlow "
        f"{tf.__version__}, {objective.fast_precision()}. All filters of all convolution layers, depthwise ones "
        f"included, by the default recipe: {STEPS} steps, {SIZE} pixels, without the rescue of silent filters. "
        "Measured, at layers a tenth, half and nine tenths of the way through: rate and seconds a filter, in "
        "batches of the size that an atlas takes, from 4 and 12 steps, scores included; start, which is the "
        f"layer's graph and, from {SOME} of them, the answers to the real images. Computed: multiplications; "
        "hours, with rate and start of the other layers interpolated. Workers are such machines; each takes a "
        "batch when it is free, and starts each layer that it touches anew. Sending is not counted. "
        "NASNetLarge is built for images of this size."
    )


def draw(table: list[Row], note: str, path: Path) -> None:
    """The table as a picture, with a note below."""
    lines = textwrap.wrap(note, 195)
    heights = [0.46] + [0.27] * (len(table) - 1)
    below = 0.19 * len(lines) + 0.2
    height = sum(heights) + below + 0.2
    figure = Figure(figsize=(12, height), dpi=110)
    figure.text(0.02, (below - 0.12) / height, "\n".join(lines), fontsize=8.5, va="top")
    axes = figure.add_axes((0.02, below / height, 0.96, sum(heights) / height))
    axes.set_axis_off()
    cells = axes.table(
        cellText=table, colWidths=WIDTHS, bbox=(0, 0, 1, 1), edges="horizontal", cellLoc="right"
    )
    cells.auto_set_font_size(False)
    cells.set_fontsize(9)
    for (line, column), cell in cells.get_celld().items():
        cell.set_linewidth(0.4)
        cell.set_height(heights[line])
        cell.PAD = 0.05
        if column == 0:
            cell.set_text_props(ha="left")
        if line == 0:
            cell.set_text_props(weight="bold")
    figure.savefig(path, facecolor="white")


def cost(names: list[str], path: Path) -> None:
    """Prints and draws the table."""
    helpers.visualize(
        pocketvgg_module.load(), "block1_conv1", [0], steps=1
    )  # what is done once for all
    helpers.load_model("pocketvgg_judge")
    helpers.sample()
    table = [HEAD]
    for name in names:
        table.append(row(name))
        print(table[-1], flush=True)
        gc.collect()  # models refer to themselves
    draw(table, assumptions(), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", nargs="+", choices=("pocketvgg", "flat", "cost"))
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--picture", type=Path, default=benchmark.COURSE / "media/atlas_cost.png")
    options = parser.parse_args()
    if "pocketvgg" in options.what:
        pocketvgg()
    if "flat" in options.what:
        flat()
    if "cost" in options.what:
        cost(options.networks, options.picture)


if __name__ == "__main__":
    main()
