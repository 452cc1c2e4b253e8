"""What is tried where a climb has ended with a dead picture, or with one below a real image."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from filtersight.ascent.climb import Start, climb, judge, sees_little
from filtersight.ascent.objective import dead_end
from filtersight.ascent.waves import random_spectrum, to_spectra
from filtersight.basics.checks import Size, sides
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

    def start(self, recipe: Recipe, real_images: Callable[[Size], np.ndarray]) -> Start:
        """What to start from.

        `real_images` gives, in a size, those that excite the filters most, (n, height, width, channels) uint8.
        """
        if self.real:
            return lambda size: to_spectra(real_images(size))
        # Ten times as much noise as usual, so that it is another place and not another corner.
        return lambda size: 10 * random_spectrum(size, recipe.seed + 1, recipe.channels)[None]


MORE_NOISE = Remedy("a start with more noise")
REAL_IMAGE = Remedy("a start from a real image", real=True)
LEAK = Remedy("a start with the gradient leaking through silent ReLUs", leak=True)
REMEDIES = (MORE_NOISE, REAL_IMAGE, LEAK)
# Multiplications that may be spent on the real images of a layer; FEWEST are looked at whatever they cost.
ENOUGH, FEWEST = 40_000_000_000, 32


def cost(layer: Layer, size: Size) -> int:
    """Multiplications of an image of `size` up to the layer, counted once."""
    return layer.flat.once(("cost", layer.name, size), lambda: layer.multiplications(size))


def real_images(layer: Layer, recipe: Recipe, every: bool = False) -> np.ndarray:
    """Images of `sample()` to compare a layer's pictures with, (n, height, width, channels) uint8.

    They are of the recipe's size, or of SAMPLE_SIZE where that is less and the layer takes it. As many as
    cost the network ENOUGH multiplications, spread over the sample; with `every` all of them.
    """
    smaller = max(sides(recipe.size)) > SAMPLE_SIZE and layer.fits(SAMPLE_SIZE)
    images, size = sample(layer.channels), SAMPLE_SIZE if smaller else recipe.size
    if not every:
        count = min(len(images), max(FEWEST, ENOUGH // max(1, cost(layer, size))))
        images = images[np.linspace(0, len(images) - 1, count).round().astype(int)]
    return tiled_to(images, size)


def real_answers(layer: Layer, recipe: Recipe, every: bool = False) -> np.ndarray:
    """What the filters of a layer answer to each of its `real_images`, measured once: (n, filters).

    Where FEWEST cost more than ENOUGH, a layer that sees a small part of them is shown their middles,
    half as high and wide: what it answers on average hardly depends on the size.
    -inf where the answer is no finite number.
    """

    def answers() -> np.ndarray:
        images = real_images(layer, recipe, every)
        height, width = images.shape[1:3]
        middle = height // 2, width // 2
        dear = not every and FEWEST * cost(layer, (height, width)) > ENOUGH
        if dear and sees_little(layer, (height, width)) and layer.fits(*middle):
            down, right = height // 4, width // 4
            images = images[:, down : down + middle[0], right : right + middle[1]]
        found = layer.activations(images)
        return np.where(np.isfinite(found), found, -np.inf)

    key = ("real answers", recipe.weights, layer.name, recipe.size, every)
    return layer.flat.once(key, answers)


def best_pieces(layer: Layer, filters: list[int], images: np.ndarray, size: Size) -> np.ndarray:
    """Of each image, one for each of `filters`, the piece of `size` pixels that excites the filter most.

    Of nine, (n, height, width, channels) uint8. What a filter that sees little does not mind would stay
    in its picture.
    """
    both = zip(images.shape[1:3], sides(size), strict=True)
    spare = [max(0, have - want) for have, want in both]
    if not any(spare):
        return tiled_to(images, size)
    pieces = np.stack(
        [
            tiled_to(images[:, down * spare[0] // 2 :, right * spare[1] // 2 :], size)
            for down in range(3)
            for right in range(3)
        ]
    )
    count = range(len(filters))
    answers = layer.activations(np.concatenate(pieces)).reshape(9, len(filters), -1)
    return pieces[answers[:, count, filters].argmax(axis=0), count]


def better(old: FilterPicture, new: FilterPicture, how: str) -> FilterPicture:
    """The new picture if it lives in place of one that does not, or less; `how` it came is added."""
    if new.status == "dead" or (old.status != "dead" and new.activation <= old.activation):
        return old
    return dataclasses.replace(new, status="rescued", reason=f"{new.reason}, {how}")


class Rescue:
    """The pictures of one layer, and what is tried with the weak ones."""

    def __init__(
        self, layer: Layer, pictures: list[FilterPicture], recipe: Recipe, batch: int, bar: tqdm
    ):
        self.layer, self.recipe, self.batch, self.bar = layer, recipe, batch, bar
        self.pictures = list(pictures)

    def dead(self) -> list[int]:
        """The places of the dead pictures."""
        return [row for row, picture in enumerate(self.pictures) if picture.status == "dead"]

    def weak(self) -> list[int]:
        """The places of the pictures that excite their filter less than a real image does, or are dead.

        Of classes the dead ones alone: of two probabilities near 1 neither is the better picture.
        """
        if not self.layer.gives_maps:
            return self.dead()
        best = self.answers.max(axis=0)
        return [
            row
            for row, picture in enumerate(self.pictures)
            if picture.status == "dead" or not picture.activation >= best[row]
        ]

    @functools.cached_property
    def answers(self) -> np.ndarray:
        """What the filter of each picture answers to each real image: (images, pictures)."""
        return real_answers(self.layer, self.recipe)[:, [each.filter for each in self.pictures]]

    def best_images(self, rows: list[int], size: Size) -> np.ndarray:
        """The real images, or pieces of them, that excite the filters of some pictures most."""
        images = real_images(self.layer, self.recipe)[self.answers[:, rows].argmax(axis=0)]
        return best_pieces(self.layer, [self.pictures[row].filter for row in rows], images, size)

    def run(self) -> bool:
        """Tries everything; False if Ctrl-C ended it."""
        dead = self.dead()
        if not self.try_again(MORE_NOISE, self.weak()):
            return False
        # An image that leaves the filter silent is no better a start than noise.
        answering = [row for row in self.weak() if self.answers[:, row].max() != 0]
        if not self.try_again(REAL_IMAGE, answering):
            return False
        if not self.try_again(LEAK, self.dead()):
            return False
        # Where there was no picture, a real image is better than a climb that stays below it.
        for row in sorted({*dead} & {*self.weak()}):
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
            start = remedy.start(self.recipe, functools.partial(self.best_images, some))
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
            for image in (old.image[None], self.best_images([row], self.recipe.size))
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
    """The pictures of a layer with the weak ones tried again, and whether all was tried: Ctrl-C ends it.

    Weak are those that are dead, or excite their filter less than a real image of a sample does. `batch`
    climb together: first from more noise, then from the real image that excites the filter most, and what
    is still dead with a leaky gradient. A dead one that no climb brings above that image is shown by it.
    A filter stays dead only if none of these excites it; its reason says what was tried.
    """
    rescue = Rescue(layer, pictures, recipe, batch, bar)
    try:
        complete = rescue.run()
    except KeyboardInterrupt:
        complete = False
    return rescue.pictures, complete
