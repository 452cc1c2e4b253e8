"""A picture of what each filter responds to; the others of this folder serve it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from filtersight.ascent.climb import climb
from filtersight.ascent.recipe import recipe_for
from filtersight.ascent.rescue import rescued
from filtersight.basics.checks import MAX_SIZE, check_sides, pixels_text, sides, two_digits
from filtersight.basics.figures import FilterPicture
from filtersight.basics.files import read_sealed_png
from filtersight.basics.images import visible
from filtersight.basics.recipe import Recipe, settings_of, with_settings
from filtersight.networks.layers import Layer, channels
from filtersight.networks.load import APPLICATIONS, load_model
from filtersight.world.pocketvgg import NETWORKS


@with_settings
def visualize(
    model: keras.Model, layer: str, filters: Iterable[int], **settings: Any
) -> list[FilterPicture]:
    """A picture of what each of `filters` responds to, by gradient ascent on the input image.

    All pictures are made together, each from the same start, that of `seed`; progress with the time left
    is shown when it takes longer than 2 seconds. Ctrl-C gives the pictures as far as they have come.

    `recipe`: "plain" moves the pixels of `random_image(size, seed)` along the gradient, in 40 `steps` of
    4 grey levels (`step_size`, root mean square), and deprocesses the result (Erhan et al. 2009). "clear"
    moves the waves that the image is a sum of, in 50 steps of Adam at the rate 0.08, and keeps the best
    image (Olah, Mordvintsev and Schubert 2017); a filter that stays silent, or below what a real image
    does to it, is tried from other starts, unless `rescue` is False.
    The values of a classifier are pictured as filters are, a class by its number: what is climbed is the
    value before the softmax or sigmoid, with larger transformations, in twice as many steps; `activation`
    then is the probability. `size` is the side in pixels, or a pair
    (height, width); if not given: 128, or that which the layer is made for.
    `precision`: "float32", "bfloat16" or, for "clear", "float16", which is done again in
    float32 where it overflows; if not given, "plain" takes float32 and "clear" what suits this machine
    (`ascent.objective.fast_precision`; the environment variable COURSE_PRECISION overrides it).
    `coarse`: "clear" does three quarters of the steps on a tile of half the side where the layer sees no
    more than a quarter of it.
    `stop_after`: ends the climb early, as Ctrl-C does, after that many of its `steps`.

    ValueError, before any work, for a wrong layer, filter or number, for weights that are not finite,
    and for images that do not fit into memory. TypeError for a setting that there is not.
    """
    found = Layer(model, layer)
    numbers = found.check_filters(filters)
    recipe = recipe_for(found, settings_of(settings))
    total = len(numbers) * recipe.steps
    with tqdm(total=total, desc=layer, unit="step", delay=2, leave=False) as bar:
        pictures, complete = draw_pictures(found, numbers, recipe, bar)
    if not complete:
        done = len(pictures[-1].history)
        print(
            f"Stopped: {len(pictures)} of {len(numbers)} pictures, "
            f"the last after {done} of {recipe.steps} steps."
        )
    return pictures


def draw_pictures(
    layer: Layer, filters: list[int], recipe: Recipe, bar: tqdm
) -> tuple[list[FilterPicture], bool]:
    """The picture of each filter, and whether all were finished: Ctrl-C gives them as far as they have come.

    Before the first step of the first picture Ctrl-C is passed on.
    """
    batch = layer.images_at_once(recipe.size, recipe.precision)
    pictures: list[FilterPicture] = []
    try:
        for first in range(0, len(filters), batch):
            made, complete = climb(layer, filters[first : first + batch], recipe, bar)
            pictures += made
            if not complete:
                return pictures, False
        if recipe.recipe == "clear" and recipe.rescue and recipe.stop_after is None:
            return rescued(layer, pictures, recipe, batch, bar)
    except KeyboardInterrupt:
        if not pictures:
            raise
        return pictures, False
    return pictures, True


def rerun(path: str | os.PathLike, model: keras.Model | None = None) -> FilterPicture:
    """Makes the picture of a saved PNG again, from the recipe that the file carries, and compares.

    A printed line says whether it is the same; on other machines it may not be, to the last bit.
    The network is loaded by its name unless `model` is given. ValueError if the file is not such a
    picture, was changed since, or the network's weights are not those that made it.
    """
    depth = 3 if model is None else channels(model)
    side = MAX_SIZE * visible(np.zeros((1, 1, depth), np.uint8)).shape[1]
    values, _, old = read_sealed_png(path, side)
    try:
        recipe = Recipe.from_dict(values)
        network, layer = str(recipe.network), str(recipe.layer)
    except TypeError:
        raise ValueError(
            f"{str(path)!r} is not a PNG with a recipe that FilterPicture.save has written"
        ) from None
    if model is None:
        # A picture from elsewhere may name a network, but not a file of this machine to be loaded.
        if network not in (*NETWORKS, *APPLICATIONS):
            raise ValueError(
                f"{str(path)!r} was made with {network[:80]!r}; give that model to rerun"
            )
        model = load_model(network)
    if Layer(model, layer).fingerprint() != recipe.weights:
        raise ValueError(
            f"{str(path)!r} was made with other weights of {network[:80]} than those loaded now"
        )
    size = check_sides("size", recipe.size, 1, MAX_SIZE)
    if old.shape != visible(np.zeros((*sides(size), channels(model)), np.uint8)).shape:
        raise ValueError(
            f"{str(path)!r} is {old.shape}, its recipe makes {pixels_text(size)} pixels"
        )
    picture = visualize(model, layer, [recipe.filter], **vars(recipe.settings()))[0]
    off = float(np.abs(old.astype(np.float32) - visible(picture.image)).mean())
    print(
        "The same picture, every pixel of it."
        if off == 0
        else f"Not the same: {two_digits(off)} grey levels from the file on average."
    )
    return picture
