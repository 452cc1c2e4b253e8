"""What the pictures are worth, where the truth is known: PocketVGG, all filters that fire, in one run.

    python tests/benchmark_truth.py            # in the environment of tests/benchmark.py, takes hours
    python tests/benchmark_truth.py --every 4  # for one filter in four

For each way of drawing: pictures with activation 0; their activation against the best of 3,000 real
images, and how many reach it; how often an independent network sees in them one of the filter's three
preferred patterns; and how often a machine player, shown the picture, tells which of two real images
excites the filter more. Every way takes the same number of steps, and of every eighth filter a second
picture with the number that it takes if it is not told one. Prints tables and draws them to
media/benchmark_truth.png.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import benchmark
import keras
import numpy as np
import tensorflow as tf

import helpers
from filtersight.trust import scores
from filtersight.world import patterns

LAYERS = ("block3_conv3", "block4_conv3", "block5_conv3")
STEPS, SIZE = 80, 128
Row = list[str]


def clear(model, layer, filters, steps):
    """The default recipe, rescue and all."""
    return np.stack([p.image for p in helpers.visualize(model, layer, filters, steps=steps)])


def plain(model, layer, filters, steps):
    """The loop of chapter 4."""
    pictures = helpers.visualize(model, layer, filters, steps=steps, recipe="plain")
    return np.stack([picture.image for picture in pictures])


def sized(model):
    """A copy of the model for images of one size: Xplique wants it in the model."""
    copy = keras.models.clone_model(model, input_tensors=keras.Input((SIZE, SIZE, 3)))
    copy.set_weights(model.get_weights())
    return copy


def louder(model, layer, factor):
    """A copy of the model in which all values of a convolution layer with a ReLU are so many times as large."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    one = copy.get_layer(layer)
    one.set_weights([factor * weight for weight in one.get_weights()])
    return copy


def maco(model, layer, filters, steps):
    """Fel et al. 2023, MaCo: phases only, by Xplique, with its spectrum of ImageNet; 8 crops, not 32."""
    from xplique.features_visualizations import Objective
    from xplique.features_visualizations import maco as draw

    model, images = sized(model), []
    for number in filters:
        picture, _ = draw(
            Objective.channel(model, layer, int(number)),
            nb_steps=steps,
            nb_crops=8,
            values_range=(0, 255),
            custom_shape=(SIZE, SIZE),
        )
        images.append(np.clip(np.asarray(picture), 0, 255).astype(np.uint8))
    return np.stack(images)


def by_benchmark(contender: Callable, small: bool = False) -> Callable:
    """A contender of the speed benchmark, eight filters at a time as there."""

    def draw(model, layer, filters, steps):
        use = sized(model) if small else model
        parts = [filters[start : start + 8] for start in range(0, len(filters), 8)]
        return np.concatenate([contender(use, layer, part, steps) for part in parts])

    return draw


class Way(NamedTuple):
    """How to draw, of how many filters one is drawn where all would take hours, and its own steps."""

    draw: Callable
    every: int
    steps: int | None  # that it takes if it is not told how many; None: as it decides
    ours: bool = False


WAYS = {
    "ours, clear": Way(clear, 1, None, ours=True),
    "ours, plain": Way(plain, 1, None, ours=True),
    "Xplique, Fourier": Way(by_benchmark(benchmark.xplique, small=True), 1, 256),
    "tf-keras-vis": Way(by_benchmark(benchmark.tf_keras_vis), 4, 200),
    "Xplique, MaCo": Way(maco, 16, 256),
}
USUAL = 100  # what a filter of a network for photographs answers to its best image, about
OWN = 8  # with its own number of steps each draws every eighth filter
HEAD = "filters|dead|median|≥ 1|worst|in top 3|machine".split("|")


def measured(model, judge, layer, real, filters, images) -> Row:
    """A row of the table for pictures (n, size, size, 3) uint8 of filters of one layer."""
    own = helpers.activations(model, layer, images)[range(len(filters)), filters]
    share = own / real.answers.max(axis=0)[filters]
    verdicts = np.argmax(judge.predict(images, verbose=0), axis=1)
    agree = np.mean(
        [
            patterns.NAMES[v] in scores.preferred(real, n)
            for v, n in zip(verdicts, filters, strict=True)
        ]
    )
    shown = dict(zip(filters, images, strict=True))
    asked = scores.questions(real, filters)
    right = np.mean(
        [scores.machine_choice(judge, q, shown[q.filter][None]) == q.right for q in asked]
    )
    return [
        str(len(filters)),
        str(int((own <= 0).sum())),
        f"{np.median(share):.2f}",
        f"{np.mean(share >= 1):.0%}",
        f"{share.min():.2f}",
        f"{agree:.0%}",
        f"{right:.0%}",
    ]


def table(name: str, ways: dict[str, Way], judge: keras.Model, every: int) -> list[Row]:
    """All ways of drawing for one network, layer by layer, for every so-manyth filter."""
    model, rows = helpers.load_model(name), [[f"{name}: {STEPS} steps, {SIZE} px", *HEAD]]
    for layer in LAYERS:
        real = scores.reality(model, layer, count=3000)
        best = real.answers.max(axis=0)
        firing = [int(each) for each in np.flatnonzero(best > 0)][::every]
        # PocketVGG's values are small. The others' penalties and Adam's epsilon, which are absolute
        # numbers, would outweigh them; what a filter likes does not change with the size of its values.
        loud = louder(model, layer, USUAL / np.median(best[firing]))
        for called, way in ways.items():
            for label, steps, filters in (
                (called, STEPS, firing[:: max(way.every // every, 1)]),
                (
                    f"{called}, its own steps",
                    way.steps,
                    firing[:: max(OWN // every, way.every // every, 1)],
                ),
            ):
                images = way.draw(model if way.ours else loud, layer, filters, steps)
                row = measured(model, judge, layer, real, filters, images)
                rows.append([f"{layer}, {label}", *row])
                print(rows[-1], flush=True)
        asked = scores.questions(real, firing)
        for shown, picks in (
            (
                "the nine best real images",
                [scores.machine_choice(judge, q, q.references) for q in asked],
            ),
            ("nothing", [scores.machine_choice(judge, q, None) for q in asked]),
        ):
            right = np.mean([pick == q.right for pick, q in zip(picks, asked, strict=True)])
            rows.append([f"{layer}, shown {shown}", str(len(firing)), *[""] * 5, f"{right:.0%}"])
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--picture", type=Path, default=benchmark.COURSE / "media/benchmark_truth.png"
    )
    parser.add_argument("--ours", action="store_true", help="leave the other libraries out")
    parser.add_argument(
        "--every", type=int, default=1, help="4: one filter in four, for a quick look"
    )
    options = parser.parse_args()
    ours = {name: way for name, way in WAYS.items() if way.ours}
    judge = helpers.load_model("pocketvgg_judge")
    tables = [
        table("pocketvgg", ours if options.ours else WAYS, judge, options.every),
        table("pocketvgg_plain", ours, judge, options.every),
    ]
    title = (
        f"{datetime.date.today()}, one filter in {options.every}, TensorFlow {tf.__version__}. Of the pictures: "
        "activation 0; activation ÷ best of 3,000 real images; judge's verdict; two-choice player"
    )
    benchmark.draw(tables, title, options.picture)


if __name__ == "__main__":
    main()
