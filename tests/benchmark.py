"""The engine side by side with others, in one run on one machine.

    pip install -r tests/requirements-benchmark.txt; pip install --no-deps xplique==2.0.2
    python tests/benchmark.py          or, in a few minutes: python tests/benchmark.py --short

Contenders that are not installed are left out. Each is used as its own documentation does it, with the
same model, layer, filters, size and number of steps; the model is a new copy each time, so that the
time of building graphs counts for everybody. Prints tables and draws them to media/benchmark.png
(a short run only if told where to, by --picture).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
COURSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(COURSE))

# ruff: noqa: E402, the path comes first
import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import helpers
from filtersight.ascent import clear as clear_module
from filtersight.ascent import objective as objective_module
from filtersight.ascent import waves as waves_module
from filtersight.ascent.recipe import RECIPES
from filtersight.networks.layers import Layer
from filtersight.world import patterns
from filtersight.world import pocketvgg as pocketvgg_module

SIZE, STEPS = 128, 30
LAYERS = ("block1_conv2", "block3_conv1", "block5_conv3")
Contender = Callable[[keras.Model, str, list[int], int], np.ndarray]


def vgg16(size: int | None) -> keras.Model:
    """VGG16 with random weights: speed does not depend on their values."""
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(size, size, 3))


def pocketvgg(size: int | None) -> keras.Model:
    """PocketVGG, a new copy."""
    trained = pocketvgg_module.load()
    model = keras.models.clone_model(trained, input_tensors=keras.Input((size, size, 3)))
    model.set_weights(trained.get_weights())
    return model


# ---------------------------------------------------------------- contenders


def ours(model, layer, filters, steps, rescue=True):
    """The default recipe for so many steps, with all that it does for weak filters."""
    pictures = helpers.visualize(model, layer, filters, steps=steps, size=SIZE, rescue=rescue)
    return np.stack([picture.image for picture in pictures])


def no_rescue(model, layer, filters, steps):
    """The default recipe without what comes after the climb."""
    return ours(model, layer, filters, steps, rescue=False)


def keras_io(model, layer, filters, steps):
    """Chollet 2020, Visualizing what convnets learn, keras.io/examples/vision/visualizing_what_convnets_learn.

    Its image, which goes from -1 to 1, is here one of 0 to 255; its picture is not cut at the edges.
    """
    extractor = keras.Model(model.inputs, model.get_layer(layer).output)

    def compute_loss(image, number):
        return tf.reduce_mean(extractor(image)[:, 2:-2, 2:-2, number])

    @tf.function
    def ascent_step(image, number, rate):
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = compute_loss(image, number)
        gradient = tf.math.l2_normalize(tape.gradient(loss, image))
        return loss, image + rate * gradient

    pictures = []
    for number in filters:
        image = 127.5 + 127.5 * 0.25 * (tf.random.uniform((1, SIZE, SIZE, 3)) - 0.5)
        for _ in range(steps):
            _, image = ascent_step(image, number, 10 * 127.5)
        array = image[0].numpy()
        array = (array - array.mean()) / (array.std() + 1e-5) * 0.15 + 0.5
        pictures.append((np.clip(array, 0, 1) * 255).astype(np.uint8))
    return np.stack(pictures)


def tf_keras_vis(model, layer, filters, steps):
    """Kubota 2022, tf-keras-vis: its notebook on convolution filters."""
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer, ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    maximise = ActivationMaximization(
        model, model_modifier=[ExtractIntermediateLayer(layer), ReplaceToLinear()], clone=True
    )
    seeds = tf.random.uniform((len(filters), SIZE, SIZE, 3), 0, 255)
    images = maximise(CategoricalScore(filters), seed_input=seeds, steps=steps)
    return np.clip(np.asarray(images), 0, 255).astype(np.uint8)


def xplique(model, layer, filters, steps):
    """Fel et al. 2022, Xplique: its tutorial on feature visualization."""
    from xplique.features_visualizations import Objective, optimize

    objective = Objective.channel(model, layer, list(filters))
    images, _ = optimize(
        objective, nb_steps=steps, values_range=(0, 255), custom_shape=(SIZE, SIZE)
    )
    return np.clip(np.asarray(images[-1]), 0, 255).astype(np.uint8)


OURS = "ours"  # by default, to which the others are compared
CONTENDERS: dict[str, Contender] = {
    OURS: ours,
    "no rescue": no_rescue,
    "keras.io": keras_io,
    "Xplique": xplique,
    "tf-keras-vis": tf_keras_vis,
}


def timed(contender: Contender, build: Callable, *args) -> tuple[float, np.ndarray]:
    """Seconds on a new copy of the model, graphs and all, and the pictures."""
    model = build(SIZE if contender is xplique else None)  # Xplique wants the size in the model
    start = time.perf_counter()
    pictures = contender(model, *args)
    return time.perf_counter() - start, pictures


# How many steps each takes if it is not told, but for the loop of keras.io: those of its example.
OWN_STEPS = {OURS: RECIPES["clear"][0], "keras.io": 30, "Xplique": 256, "tf-keras-vis": 200}


def available() -> dict[str, Contender]:
    """The contenders that run here, each having done its first work, which loads its libraries."""
    found = {}
    for name, contender in CONTENDERS.items():
        try:
            timed(contender, pocketvgg, "block1_conv1", [0], 2)
        except ImportError:
            print(f"{name} is not installed")
            continue
        found[name] = contender
    return found


# ---------------------------------------------------------------- measurements

FILTERS = list(range(8))
Row = list[str]


def matmul_peak(precision: str) -> float:
    """FLOP/s of this machine's fastest large matrix product."""
    best = 0.0
    for side in (1024, 2048, 4096):
        matrix = tf.cast(tf.random.normal((side, side)), precision)
        multiply = tf.function(lambda matrix=matrix: tf.matmul(matrix, matrix))
        multiply()
        for _ in range(8):
            start = time.perf_counter()
            multiply().numpy()
            best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def step_cost(model: keras.Model, layer: str, images: int) -> float:
    """Floating-point operations of the convolutions of one step, there and back."""
    names = helpers.conv_layers(model)
    before = helpers.multiplications(model, names[names.index(layer) - 1], SIZE)
    own = helpers.multiplications(model, layer, SIZE) - before
    # Of the layer itself only the wanted filters are computed.
    return 4.0 * images * (before + own * images / helpers.filter_count(model, layer))


def step_seconds(model: keras.Model, layer: str, precision: str, images: int) -> float:
    """The fastest of five chunks of four steps, at full size, graphs built before."""
    climber = clear_module.Climber(Layer(model, layer), precision)
    objective_module.copy_weights(climber.objective.original, climber.objective.network)
    start = np.repeat(waves_module.random_spectrum(SIZE, 0)[None], images, axis=0)
    numbers, waves = tf.range(images), waves_module.wave_sizes(SIZE)
    weights, moves = (
        waves * waves_module.wave_counts(SIZE),
        clear_module.random_transformations(4, SIZE, 0, 0.0),
    )
    seconds = []
    for _ in range(6):
        state, begun = clear_module.initial_state(start, waves), time.perf_counter()
        for move in zip(*moves, strict=True):
            state, activation = climber.climb(
                state, waves, weights, clear_module.Transformations(*move), numbers, 0.05
            )
        activation.numpy()
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:]) / 4


def speed(found: dict[str, Contender], short: bool, everything: bool) -> list[Row]:
    """Seconds for the same filters and steps, and how many times ours each takes.

    For 64 filters the others are measured on one layer, unless `everything` is wanted: it takes long.
    """
    rows = [["VGG16, 30 steps, 128 px: seconds (× ours)", *found]]
    for layer in LAYERS[short:]:
        for count in (8,) if short else (8, 64):
            filters = list(range(count))
            seconds = {
                name: timed(contender, vgg16, layer, filters, STEPS)[0]
                for name, contender in found.items()
                if name in (OURS, "no rescue") or count == 8 or layer == LAYERS[1] or everything
            }
            cells = [
                f"{seconds[name]:.1f} ({seconds[name] / seconds[OURS]:.1f})"
                if name in seconds
                else "not measured"
                for name in found
            ]
            rows.append([f"{layer}, {count} filters", *cells])
            print(rows[-1], flush=True)
    return rows


def reached(layer: str, pictures: np.ndarray) -> float:
    """The activation of PocketVGG's first filters, each on its picture: the mean."""
    answers = helpers.activations(pocketvgg_module.load(), layer, pictures)
    return float(answers[FILTERS, FILTERS].mean())


def own_defaults(found: dict[str, Contender], short: bool) -> list[Row]:
    """Each with as many steps as it takes if it is not told: seconds, and the activation reached.

    On VGG16, whose weights are random here, seconds alone, and how many times ours each takes.
    """
    names = [name for name in found if name in OWN_STEPS]
    heads = [f"{name}, {OWN_STEPS[name]}" for name in names]
    rows = [["8 filters, own steps: s → activation (× ours)", *heads]]
    for build in (pocketvgg,) if short else (pocketvgg, vgg16):
        for layer in LAYERS[1:]:
            results = {
                name: timed(found[name], build, layer, FILTERS, OWN_STEPS[name]) for name in names
            }
            cells = [
                f"{seconds:.1f} → {reached(layer, pictures):.2f}"
                if build is pocketvgg
                else f"{seconds:.1f} ({seconds / results[OURS][0]:.1f})"
                for seconds, pictures in results.values()
            ]
            rows.append([f"{build(None).name} {layer}", *cells])
            print(rows[-1], flush=True)
    return rows


def equal_activation(found: dict[str, Contender], short: bool) -> list[Row]:
    """Seconds of ours until it reaches what the others reach in 30 steps, mean of 8 filters; and theirs."""
    rows = [["PocketVGG: seconds to their activation (×)", *found]]
    for layer in LAYERS[short:]:
        tries = []
        for steps in (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96):
            seconds, pictures = timed(no_rescue, pocketvgg, layer, FILTERS, steps)
            tries.append((reached(layer, pictures), seconds))
        cells = ["" for _ in found]
        for column, contender in enumerate(found.values()):
            if contender in (ours, no_rescue):
                continue
            seconds, pictures = timed(contender, pocketvgg, layer, FILTERS, STEPS)
            goal = reached(layer, pictures)
            own = next((took for value, took in tries if value >= goal), None)
            cells[column] = (
                "not reached" if own is None else f"{own:.2f} : {seconds:.2f} ({seconds / own:.1f})"
            )
        rows.append([layer, *cells])
        print(rows[-1], flush=True)
    return rows


def dead_pictures(found: dict[str, Contender]) -> list[Row]:
    """How many of 32 pictures leave their filter silent; ours with all that it does for silent ones."""
    rows = [["PocketVGG: pictures with activation 0, of 32", *found]]
    model = pocketvgg_module.load()
    for layer in ("block2_conv2", "block4_conv3", "block5_conv3"):
        cells = []
        for contender in found.values():
            _, pictures = timed(contender, pocketvgg, layer, list(range(32)), STEPS)
            own = helpers.activations(model, layer, pictures)[range(32), range(32)]
            cells.append(str(int((own <= 0).sum())))
        rows.append([layer, *cells])
        print(rows[-1], flush=True)
    return rows


def peak_memory(found: dict[str, Contender]) -> list[Row]:
    """Gigabytes of a process that draws 64 filters, and of one that only loads what it needs."""
    rows = [["VGG16 block5_conv3, 64 filters: peak memory in GB", *found]]
    for label, count in (("64 filters, 3 steps", 64), ("1 filter, 1 step of it", 1)):
        cells = []
        for name in found:
            command = [sys.executable, __file__, "--memory", name, str(count)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            cells.append(f"{int(printed.split()[-1]) / 1e6:.2f}")
        rows.append([label, *cells])
        print(rows[-1], flush=True)
    return rows


def machine_use(peaks: dict[str, float]) -> list[Row]:
    """Share of the matrix product's speed that a whole step reaches, by what its convolutions cost."""
    rows = [["VGG16, 8 filters: TFLOP/s (share of the matmul peak)", *peaks]]
    rows.append(["matrix product", *(f"{peak / 1e12:.2f}" for peak in peaks.values())])
    model = vgg16(None)
    for layer in ("block3_conv1", "block4_conv1", "block5_conv3"):
        cells = []
        for precision, peak in peaks.items():
            rate = step_cost(model, layer, 8) / step_seconds(model, layer, precision, 8)
            cells.append(f"{rate / 1e12:.2f} ({rate / peak:.2f})")
        rows.append([layer, *cells])
        print(rows[-1], flush=True)
    return rows


def best_of_sample(model: keras.Model, count: int = 3000) -> dict[str, np.ndarray]:
    """The highest mean activation of every filter over `count` images of the world, by layer."""
    layers = helpers.conv_layers(model)
    every = keras.Model(model.inputs[0], [model.get_layer(each).output for each in layers])
    images, _ = patterns.images(count, seed=123, size=SIZE)
    best = [np.zeros(each.shape[-1]) for each in every.outputs]
    for first in range(0, count, 50):
        maps = every(images[first : first + 50].astype(np.float32), training=False)
        best = [
            np.maximum(old, np.mean(new, axis=(1, 2)).max(axis=0))
            for old, new in zip(best, maps, strict=True)
        ]
    return dict(zip(layers, best, strict=True))


def quality() -> list[Row]:
    """Every fourth of PocketVGG's filters that fire on some of 3,000 images: is its picture better than those?"""
    model = pocketvgg_module.load()
    rows = [
        [
            "PocketVGG, every fourth filter",
            "filters",
            "rescued",
            "dead",
            "≥ best of 3,000",
            "plain: dead",
        ]
    ]
    total = np.zeros(5)
    for layer, best in best_of_sample(model).items():
        numbers = [int(each) for each in np.flatnonzero(best > 0)[::4]]
        clear = helpers.visualize(model, layer, numbers)
        plain = helpers.visualize(model, layer, numbers, recipe="plain")
        better = [picture.activation >= best[picture.filter] for picture in clear]
        counts = np.array(
            [
                len(numbers),
                sum(picture.status == "rescued" for picture in clear),
                sum(picture.status == "dead" or picture.activation <= 0 for picture in clear),
                sum(better),
                sum(picture.status == "dead" for picture in plain),
            ]
        )
        total += counts
        for name, row in ((layer, counts), ("all", total)):
            shares = [f"{share:.1%}" for share in row[3:] / row[0]]
            cells = [name, *(f"{number:.0f}" for number in row[:3]), *shares]
            if name == layer:
                rows.append(cells)
                print(cells, flush=True)
    return [*rows, cells]


def whole_network() -> list[Row]:
    """Minutes for every filter of VGG16, from every twentieth one: the climbs alone, and with rescue and scores."""
    model = vgg16(None)
    layers = helpers.conv_layers(model)
    everything = sum(helpers.filter_count(model, layer) for layer in layers)
    rows = [["VGG16, all filters, 30 steps, 128 px", "filters", "minutes", "for all"]]
    for name, all_of_it in (("climbs", False), ("with rescue and scores", True)):
        seconds, drawn = 0.0, 0
        for layer in layers:
            filters = list(range(0, helpers.filter_count(model, layer), 20))
            start = time.perf_counter()
            pictures = helpers.visualize(model, layer, filters, steps=STEPS, rescue=all_of_it)
            if all_of_it:
                helpers.scores(model, pictures)
            seconds, drawn = seconds + time.perf_counter() - start, drawn + len(filters)
        minutes = seconds / 60
        rows.append([name, str(drawn), f"{minutes:.1f}", f"{minutes / drawn * everything:.0f}"])
    return rows


# ---------------------------------------------------------------- report


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def draw(tables: list[list[Row]], title: str, path: Path) -> None:
    """All tables as one picture."""
    lines = sum(len(table) + 1.2 for table in tables)
    figure = Figure(figsize=(11, 0.27 * lines + 0.6), dpi=110)
    top = 1 - 0.5 / figure.get_figheight()
    line = top / lines
    figure.suptitle(title, fontsize=10, x=0.02, ha="left", y=1 - 0.15 / figure.get_figheight())
    for table in tables:
        height = len(table) * line
        axes = figure.add_axes((0.02, top - height, 0.96, height))
        axes.set_axis_off()
        columns = len(table[0])
        widths = [0.4] + [0.6 / (columns - 1)] * (columns - 1)
        cells = axes.table(
            cellText=table, colWidths=widths, bbox=(0, 0, 1, 1), edges="horizontal", cellLoc="left"
        )
        cells.auto_set_font_size(False)
        cells.set_fontsize(9)
        for (row, _), cell in cells.get_celld().items():
            cell.set_linewidth(0.4)
            if row == 0:
                cell.set_text_props(weight="bold")
                cell.set_facecolor("#eeeeee")
        top -= height + 1.2 * line
    figure.savefig(path, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument(
        "--everything", action="store_true", help="the others draw 64 filters of every layer too"
    )
    parser.add_argument("--short", action="store_true", help="two layers and the main figures only")
    parser.add_argument("--picture", type=Path, help="where the tables are drawn to")
    options = parser.parse_args()
    if options.memory:
        name, count = options.memory
        contender = CONTENDERS[name]
        timed(contender, vgg16, "block5_conv3", list(range(int(count))), 3)
        # Not getrusage, whose highest value begins with that of the parent process.
        status = Path("/proc/self/status").read_text()
        print(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])
        return
    found = available()
    peaks = {
        precision: matmul_peak(precision)
        for precision in ("float32", objective_module.fast_precision())
    }
    tables = [
        speed(found, options.short, options.everything),
        equal_activation(found, options.short),
        own_defaults(found, options.short),
        machine_use(peaks),
    ]
    if not options.short:
        tables += [dead_pictures(found), peak_memory(found), whole_network(), quality()]
    title = (
        f"{datetime.date.today()}, {processor()}, {os.cpu_count()} cores, "
        f"GPUs: {len(tf.config.list_physical_devices('GPU'))}, TensorFlow {tf.__version__}, "
        f"Keras {keras.__version__}"
    )
    print(title)
    for table in tables:
        print()
        for row in table:
            print(row[0].ljust(60), *(cell.rjust(24) for cell in row[1:]))
    picture = options.picture or (None if options.short else COURSE / "media" / "benchmark.png")
    if picture:
        draw(tables, title, picture)


if __name__ == "__main__":
    main()
