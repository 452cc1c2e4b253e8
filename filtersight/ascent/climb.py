"""One climb by a recipe: the pictures as they grow, measured anew and judged in the end."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from filtersight.ascent.clear import COARSE_SHARE, SMALLEST_TILE, Climber, ascend_waves
from filtersight.ascent.objective import dead_end, may_break, trouble
from filtersight.ascent.plain import ascend_pixels, graph_key
from filtersight.ascent.recipe import start_image
from filtersight.ascent.waves import CLASS, SHAPE, TEXTURE, random_spectrum
from filtersight.basics.checks import Size, sides, two_digits
from filtersight.basics.figures import FilterPicture
from filtersight.basics.images import deprocess, random_image
from filtersight.basics.recipe import Recipe
from filtersight.networks.layers import Layer

# From a size to spectra (n, channels, height, width // 2 + 1, 2): one for each filter, or one for all.
Start = Callable[[Size], np.ndarray]


def climber_of(layer: Layer, precision: str, leak: bool) -> Climber:
    """The layer made ready for the recipe "clear", built once."""
    build = functools.partial(Climber, layer, precision, leak)
    return layer.flat.once(graph_key("clear", layer.name, precision, leak), build)


def frames(
    layer: Layer,
    filters: list[int],
    recipe: Recipe,
    *,
    seconds: float,
    leak: bool = False,
    start: Start | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Climbs by a recipe, and looks up about every `seconds`.

    Yields (pictures so far (n, height, width, channels) uint8, activations of the steps since the last (k, n)).
    `leak` lets the gradient through silent ReLUs in the first half of the steps; `start` is another
    start than the noise of the seed. Both are for "clear".
    What overflows in float16 is done again in float32 in the end; then no steps are added.
    """
    stop = recipe.stop_after or recipe.steps
    if recipe.recipe == "plain":
        yield from plain_frames(layer, filters, recipe, stop=stop, seconds=seconds)
        return
    start = start or (lambda size: random_spectrum(size, recipe.seed, recipe.channels)[None])
    overflowed = np.zeros(len(filters), bool)
    for images, values in clear_frames(layer, filters, recipe, stop, seconds, leak, start):
        overflowed |= ~np.isfinite(values).all(axis=0)
        yield images, values
    rows = np.flatnonzero(overflowed)
    if recipe.precision == "float16" and rows.size:
        recipe = dataclasses.replace(recipe, precision="float32")
        some = [filters[row] for row in rows]

        def begin(size: Size) -> np.ndarray:
            every = start(size)
            return every[rows] if len(every) > 1 else every

        images = images.copy()
        for again, _ in clear_frames(layer, some, recipe, stop, seconds, leak, begin):
            images[rows] = again
            yield images.copy(), np.empty((0, len(filters)), np.float32)


def sees_little(layer: Layer, size: Size) -> bool:
    """Whether a layer sees no more than a quarter of an image's side: to it, any place is alike."""
    return layer.gives_maps and layer.field <= min(sides(size)) // 4


def clear_frames(
    layer: Layer,
    filters: list[int],
    recipe: Recipe,
    stop: int,
    seconds: float,
    leak: bool,
    start: Start,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`frames` of the recipe "clear", which ends after `stop` steps, in the precision of the recipe."""
    (height, width), is_class = sides(recipe.size), not layer.gives_maps
    half = height // 2
    texture = sees_little(layer, recipe.size)  # anything else would show the tile four times
    coarse = recipe.coarse and texture and height == width == 2 * half >= 2 * SMALLEST_TILE
    coarse = coarse and layer.fits(half)
    climber = functools.partial(climber_of, layer, recipe.precision)
    leaking = recipe.steps // 2 if leak else 0
    tile_steps = int(recipe.steps * COARSE_SHARE) if coarse else 0
    spectra = start(half if tile_steps else recipe.size)
    spectra = np.repeat(spectra, len(filters) // len(spectra), axis=0)
    yield from ascend_waves(
        [*([(climber(True), leaking)] if leak else []), (climber(False), recipe.steps - leaking)],
        filters,
        spectra,
        rate=recipe.step_size,
        seed=recipe.seed,
        tile_steps=tile_steps,
        is_class=is_class,
        slope=CLASS if is_class else TEXTURE if texture else SHAPE,
        width=None if height == width else width,
        stop=stop,
        seconds=seconds,
    )


def plain_frames(
    layer: Layer, filters: list[int], recipe: Recipe, *, stop: int, seconds: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`frames` of the recipe "plain", which ends after `stop` steps."""
    for images_so_far, values in ascend_pixels(
        layer,
        filters,
        random_image(recipe.size, recipe.seed, channels=recipe.channels),
        steps=stop,
        step_size=recipe.step_size,
        precision=recipe.precision,
        seconds=seconds,
    ):
        yield np.stack([deprocess(image) for image in images_so_far]), values


def climb(
    layer: Layer,
    filters: list[int],
    recipe: Recipe,
    bar: tqdm,
    *,
    leak: bool = False,
    start: Start | None = None,
    partly: bool = True,
) -> tuple[list[FilterPicture], bool]:
    """The pictures of one batch, and whether they were finished.

    Ctrl-C ends them early, or, without `partly`, is passed on, as it is before the first step.
    `leak` and `start` as for `frames`.
    """
    history: list[np.ndarray] = []
    complete = True
    try:
        for images_so_far, values in frames(  # noqa: B007, the last ones are judged below
            layer, filters, recipe, seconds=0.5, leak=leak, start=start
        ):
            history.append(values)
            bar.update(values.size)
    except KeyboardInterrupt:
        if not (history and partly):
            raise
        complete = False
    return judge(layer, filters, images_so_far, np.concatenate(history), recipe), complete


def judge(
    layer: Layer,
    filters: Sequence[int],
    pixels: np.ndarray,
    history: np.ndarray,
    recipe: Recipe,
    floor: float = 0.01,
) -> list[FilterPicture]:
    """Images (n, height, width, channels) uint8, one for each of `filters`, measured anew and judged.

    `history` is (steps, n). A picture that excites its filter no more than the noise that the climb began
    with, made a picture in the same way, is called dead; so is one that does so by less than 1 % of that,
    or less than `floor` times what noise does to the average filter of the layer. A picture of a class is
    dead if the network does not put that class first. Where `history` is not a number in float16, it
    overflowed, and the image is that of float32.
    """
    noise = layer.flat.once(
        ("noise", recipe.weights, recipe.layer, recipe.recipe, recipe.size, recipe.seed),
        lambda: layer.activations(start_image(recipe)[None])[0],
    )
    least = floor * float(np.abs(np.where(np.isfinite(noise), noise, 0)).mean())
    answers = layer.activations(pixels)
    rivals = layer.has_softmax
    result = []
    for row, number in enumerate(filters):
        past = history[:, row]
        status, reason = verdict(answers[row], number, float(noise[number]), past, least, rivals)
        if status == "dead" and (
            not np.isfinite(answers[row, number]) or any(map(may_break, layer.network.operations))
        ):
            where = trouble(layer, number, pixels[row]) or dead_end(layer, number, pixels[row])
            reason += f": {where}" if where else ""
        if recipe.precision == "float16" and not np.isfinite(past).all():
            reason += "; done in float32, for float16 overflowed"
        made = dataclasses.replace(
            recipe, filter=number, stop_after=len(past) if len(past) < recipe.steps else None
        )
        activation = float(answers[row, number])
        result.append(
            FilterPicture(pixels[row], layer.name, number, activation, past, status, reason, made)
        )
    return result


def verdict(
    answers: np.ndarray, number: int, noise: float, past: np.ndarray, least: float, rivals: bool
) -> tuple[str, str]:
    """Whether a picture is "alive" or "dead", and why.

    `answers` (filters,) are those of the layer to the picture, `noise` that of the filter to the start,
    `past` (steps,) those of the filter on the way, and `least` how far it must be above the noise.
    `rivals`: the answers are the probabilities of classes.
    """
    activation = float(answers[number])
    if not np.isfinite(activation):
        return "dead", "its answer is not a finite number"
    past = past[np.isfinite(past)]
    # The probability of a class may be too small for float32, and is not silent.
    silent = activation == 0 and not rivals
    if silent and not past.any():
        return "dead", "silent on the start image, so its gradient is zero"
    if silent:
        return (
            "dead",
            f"silent on the 8-bit picture, though it reached {two_digits(past.max())} on the way",
        )
    if not rivals and np.isfinite(noise) and activation - noise <= max(0.01 * abs(noise), least):
        return "dead", f"activation {two_digits(activation)}, hardly more than on noise"
    if rivals and answers.argmax() != number:
        return "dead", f"class {answers.argmax()} stays ahead, with {two_digits(answers.max())}"
    return "alive", f"activation {two_digits(activation)}, on noise {two_digits(noise)}"
