"""What is decided before a climb: how many steps, of what size, from which start."""

from __future__ import annotations

import numpy as np

from filtersight.ascent.objective import PRECISIONS, fast_precision
from filtersight.ascent.waves import random_spectrum, to_images
from filtersight.basics.checks import (
    MAX_SIZE,
    check_choice,
    check_number,
    check_sides,
    check_whole,
    shown,
    sides,
)
from filtersight.basics.images import deprocess, random_image
from filtersight.basics.recipe import Recipe, Settings
from filtersight.networks.layers import Layer

RECIPES = {"clear": (50, 0.08), "plain": (40, 4.0)}  # steps and step size, if they are not given


def recipe_for(layer: Layer, settings: Settings) -> Recipe:
    """The recipe of a layer's pictures: what was wished, checked, and what is chosen for the rest.

    ValueError for a wish that cannot be met.
    """
    check_choice("recipe", settings.recipe, RECIPES)
    steps, step_size = RECIPES[settings.recipe]
    if settings.steps is not None:
        steps = settings.steps
    elif not layer.gives_maps:
        steps *= 2  # a class, which may stand anywhere in the image, takes longer to find its place
    check_whole("steps", steps, 1, 10_000)
    size = layer.usual_size() if settings.size is None else settings.size
    # A layer may be made for smaller images than can be asked for.
    size = check_sides("size", size, 1 if settings.size is None else 16, MAX_SIZE)
    layer.check_size(*sides(size))
    check_whole("seed", settings.seed, 0, 2**32 - 1)
    step_size = step_size if settings.step_size is None else settings.step_size
    check_number("step_size", step_size, 1e-4, 255)
    precision = settings.precision
    if precision is None:
        precision = "float32" if settings.recipe == "plain" else fast_precision()
    # What overflows in float16 goes on in float32 in the recipe "clear" alone.
    check_choice("precision", precision, PRECISIONS[: 2 if settings.recipe == "plain" else 3])
    for what, value in (("coarse", settings.coarse), ("rescue", settings.rescue)):
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{what} must be True or False, not {shown(value)}")
    stop_after = settings.stop_after
    if stop_after is not None:
        stop_after = check_whole("stop_after", stop_after, 1, steps)
    return Recipe(
        network=layer.model.name,
        weights=layer.fingerprint(),
        layer=layer.name,
        recipe=settings.recipe,
        steps=int(steps),
        size=size,
        channels=layer.channels,
        seed=int(settings.seed),
        step_size=float(step_size),
        precision=precision,
        coarse=bool(settings.coarse),
        rescue=bool(settings.rescue),
        stop_after=stop_after,
    )


def start_image(recipe: Recipe) -> np.ndarray:
    """The noise of the recipe's seed as a picture, (height, width, channels) uint8: what others are held against."""
    if recipe.recipe == "plain":
        return deprocess(random_image(recipe.size, recipe.seed, channels=recipe.channels))
    start = random_spectrum(recipe.size, recipe.seed, recipe.channels)[None]
    return to_images(start, sides(recipe.size)[1])[0]
