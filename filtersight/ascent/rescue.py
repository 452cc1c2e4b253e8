"""What is tried where a climb has ended with a dead picture."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from filtersight.ascent.climb import climb, judge
from filtersight.ascent.objective import dead_end
from filtersight.ascent.waves import random_spectrum, to_spectra
from filtersight.basics.checks import sides
from filtersight.basics.figures import FilterPicture
from filtersight.basics.images import tiled_to
from filtersight.basics.recipe import Recipe
from filtersight.networks.layers import Layer
from filtersight.world.sample import SAMPLE_SIZE, sample


class Remedy(NamedTuple):
    """Another way to climb: from much noise, or from a real image."""

    name: str
    leak: bool = False
    """Whether the gradient leaks through silent ReLUs in the first half of the steps."""
    real: bool = False
    """Whether it starts from the real image that excites the filter most."""

    def start(
        self, recipe: Recipe, count: int, real_images: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """The spectra to start from, for `count` filters.

        `real_images` gives those that excite the filters most, (count, height, width, channels) uint8; it
        is called only where they are needed.
        """
        if self.real:
            return to_spectra(real_images())
        # Ten times as much noise as usual, so that it is another place and not another corner.
        spectrum = 10 * random_spectrum(recipe.size, recipe.seed + 1, recipe.channels)
        return np.repeat(spectrum[None], count, axis=0)


MORE_NOISE = Remedy("a start with more noise")
LEAK = Remedy("a start with the gradient leaking through silent ReLUs", leak=True)
REAL_IMAGE = Remedy("a start from a real image", real=True)
REMEDIES = (MORE_NOISE, LEAK, REAL_IMAGE)


def real_answers(layer: Layer, recipe: Recipe) -> np.ndarray:
    """What the filters of a layer answer to each image of `sample()`, measured once: (n, filters).

    -inf where the answer is no finite number. The images are of the recipe's size, or of SAMPLE_SIZE
    where that is less and the layer takes it.
    """
    smaller = max(sides(recipe.size)) > SAMPLE_SIZE and layer.fits(SAMPLE_SIZE)
    side = SAMPLE_SIZE if smaller else recipe.size
    key = ("real answers", recipe.weights, layer.name, side)

    def answers() -> np.ndarray:
        found = layer.activations(tiled_to(sample(layer.channels), side))
        return np.where(np.isfinite(found), found, -np.inf)

    return layer.flat.once(key, answers)


def better(old: FilterPicture, new: FilterPicture, how: str) -> FilterPicture:
    """The new picture if it lives in place of one that does not, or less; `how` it came is added."""
    if new.status == "dead" or (old.status != "dead" and new.activation <= old.activation):
        return old
    return dataclasses.replace(new, status="rescued", reason=f"{new.reason}, {how}")


class Rescue:
    """The pictures of one layer, and what is tried with the dead ones."""

    def __init__(
        self, layer: Layer, pictures: list[FilterPicture], recipe: Recipe, batch: int, bar: tqdm
    ):
        self.layer, self.recipe, self.batch, self.bar = layer, recipe, batch, bar
        self.pictures = list(pictures)

    def dead(self) -> list[int]:
        """The places of the dead pictures."""
        return [row for row, picture in enumerate(self.pictures) if picture.status == "dead"]

    @functools.cached_property
    def answers(self) -> np.ndarray:
        """What the filter of each picture answers to each real image: (images, pictures)."""
        return real_answers(self.layer, self.recipe)[:, [each.filter for each in self.pictures]]

    def real_images(self, rows: list[int]) -> np.ndarray:
        """The real images that excite the filters of some pictures most."""
        best = self.answers[:, rows].argmax(axis=0)
        return tiled_to(sample(self.recipe.channels)[best], self.recipe.size)

    def run(self) -> bool:
        """Tries everything; False if Ctrl-C ended it."""
        troubled = self.dead()
        if not troubled:
            return True
        if not all(self.try_again(remedy, self.dead()) for remedy in (MORE_NOISE, LEAK)):
            return False
        best = self.answers.max(axis=0)
        weak = [row for row in troubled if not self.pictures[row].activation > best[row]]
        if not self.try_again(REAL_IMAGE, weak):
            return False
        for row in weak:
            self.compare(row)
        for row in self.dead():
            old, count = self.pictures[row], len(self.answers)
            told = f"no help from other starts, a leaky gradient and {count} real images"
            self.pictures[row] = dataclasses.replace(old, reason=f"{old.reason}; {told}")
        return True

    def try_again(self, remedy: Remedy, rows: list[int]) -> bool:
        """Climbs for the pictures in some places; False if Ctrl-C ended it."""
        self.bar.total += len(rows) * self.recipe.steps
        for first in range(0, len(rows), self.batch):
            some = rows[first : first + self.batch]
            numbers = [self.pictures[row].filter for row in some]
            start = remedy.start(self.recipe, len(some), functools.partial(self.real_images, some))
            made, complete = climb(
                self.layer, numbers, self.recipe, self.bar, leak=remedy.leak, start=start
            )
            for row, picture in zip(some, made, strict=True):
                where = dead_end(self.layer, picture.filter, picture.image) if remedy.real else None
                how = f"which is a real image: {where}" if where else f"after {remedy.name}"
                self.pictures[row] = better(self.pictures[row], picture, how)
            if not complete:
                return False
        return True

    def compare(self, row: int) -> None:
        """Shows the best real image where no climb excites the filter more; judges what answers a little alive."""
        old = self.pictures[row]
        # However little the answer to a real image is, the filter is not dead.
        climbed, real = (
            judge(self.layer, [old.filter], image, old.history[:, None], self.recipe, floor=0)[0]
            for image in (old.image[None], self.real_images([row]))
        )
        if not climbed.activation > real.activation:  # less, or not a number
            how = "which is a real image; no ascent does better"
            self.pictures[row] = better(old, real, how)
        elif old.status == "dead":
            how = "which is little, but no real image of a sample does more"
            self.pictures[row] = better(old, climbed, how)


def rescued(
    layer: Layer, pictures: list[FilterPicture], recipe: Recipe, batch: int, bar: tqdm
) -> tuple[list[FilterPicture], bool]:
    """The pictures of a layer with the dead ones tried again, and whether all was tried: Ctrl-C ends it.

    `batch` climb together. First from more noise, then with a leaky gradient, then from the real image
    of a sample that excites the filter most. What then excites its filter less than that image is shown
    by that image. A filter stays dead only if none of these does; its reason says what was tried.
    """
    rescue = Rescue(layer, pictures, recipe, batch, bar)
    try:
        complete = rescue.run()
    except KeyboardInterrupt:
        complete = False
    return rescue.pictures, complete
