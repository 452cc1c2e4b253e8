"""A doctor for filters whose pictures stay grey.

It makes the plain picture, follows the gradient back to where it ends, tries each remedy of
`visualize` by itself, asks real images, and says in words what came of it.
"""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from tqdm import tqdm

from filtersight.ascent.climb import climb, judge
from filtersight.ascent.objective import copy_weights, dead_end, leaky, private_copy, trouble
from filtersight.ascent.recipe import recipe_for
from filtersight.ascent.rescue import REMEDIES, best_pieces, real_answers, real_images
from filtersight.basics.checks import Size, two_digits
from filtersight.basics.figures import FilterPicture, grid, mimebundle
from filtersight.basics.images import random_image, tiled_to
from filtersight.basics.recipe import Recipe, Settings
from filtersight.networks.flat import ACTIVATIONS, input_name, unfold
from filtersight.networks.layers import Layer

LINE = 132  # characters of a line of text under the pictures


class Exhibit(NamedTuple):
    """An image and what the filter answers to it."""

    name: str
    image: np.ndarray  # (height, width, channels) uint8
    activation: float  # mean over the filter's map, measured on `image`


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is the matter with one filter, and on what evidence."""

    network: str
    layer: str
    filter: int
    verdict: str
    """"alive": the plain recipe makes a picture of it. "rescued": that fails, but another
    way or a real image makes it answer. "dead": nothing that was tried makes it answer."""
    findings: list[str]
    """Sentences, each with its number; the last says what to make of them."""
    pictures: list[Exhibit]
    """The start noise, the plain picture, the picture that helped if one did, the best real image."""

    def __str__(self) -> str:
        head = f"{self.network} {self.layer} filter {self.filter}: {self.verdict}"
        return "\n".join([head, *(f"- {finding}" for finding in self.findings)])

    __repr__ = __str__

    def figure(self) -> Figure:
        """The pictures in a row, each with its activation, and the findings under them."""
        labels = [
            f"{each.name}\nactivation {two_digits(each.activation)}" for each in self.pictures
        ]
        figure = grid(
            [each.image for each in self.pictures],
            labels=labels,
            columns=4,
            tile=8 / len(self.pictures) if len(self.pictures) > 3 else 2,
            title=f"{self.network} {self.layer} filter {self.filter}: {self.verdict}",
        )
        width, height = figure.get_size_inches()
        across = int(LINE * width / 8)
        text = "\n".join(
            textwrap.fill(finding, across, initial_indent="· ", subsequent_indent="  ")
            for finding in self.findings
        )
        room = 0.2 + 0.16 * (text.count("\n") + 1)  # inches under the pictures
        figure.set_size_inches(width, height + room)
        old = figure.subplotpars
        figure.subplots_adjust(
            bottom=(old.bottom * height + room) / (height + room),
            top=(old.top * height + room) / (height + room),
        )
        figure.text(0.01, (room - 0.1) / (height + room), text, va="top", fontsize=8)
        return figure

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        # Without numbers: they hold on this machine only, and stand in the figure and in print().
        alt = (
            f"{self.network} {self.layer} filter {self.filter}: {self.verdict}. Pictures: the start "
            "noise, the plain picture, what helped if anything did, the best real image, each with its "
            "activation; under them the findings in words, which print() gives as text."
        )
        return mimebundle(self.figure(), alt)


def way_back(
    layer: Layer, number: int, image: np.ndarray, *, leak: bool = False
) -> dict[str, float]:
    """How much gradient of a filter's activation arrives at each layer on the way back to the image.

    `image` is (height, width, channels). The keys go from `layer` to the image, the last, whose key is "image"
    unless a layer is called so; the values
    are root mean squares of the gradient for the output of a layer. `leak` lets the gradient through the
    activation function of `layer` itself, and of no other.
    """
    layer.check_maps()
    original = layer.network
    network = private_copy(original, "float32")
    copy_weights(original, network)
    name = layer.name
    last = unfold(network).last or name
    parts = Layer(network, last).all_parts
    parts = {name if each == last else each: part for each, part in parts.items()}
    own = parts[name].layer
    if leak and not any(own is each for each in original.layers):  # as those of somebody's own are
        if getattr(own, "activation", None) is not None:
            own.activation = leaky(own.activation)
        elif isinstance(own, ACTIVATIONS) and not own.weights:
            own.call = leaky(own.call)
    image_input = parts[name].image
    pixels = tf.constant(image, tf.float32)[None]
    # Variables are not watched: quantised layers have no gradient for theirs.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(pixels)
        every = keras.Model(image_input, [part.output for part in parts.values()])
        maps = dict(zip(parts, tf.nest.flatten(every(pixels, training=False)), strict=True))
        activation = tf.reduce_mean(maps[name][..., number])
    sources = {input_name(maps): pixels, **maps}
    gradients = tape.gradient(activation, sources, unconnected_gradients="zero")
    sizes = {  # whole numbers, as of tf.argmax, have no gradient
        name: float(tf.sqrt(tf.reduce_mean(tf.cast(each, tf.float32) ** 2)))
        for name, each in gradients.items()
    }
    return dict(reversed(sizes.items()))


def end_of(way: dict[str, float]) -> str | None:
    """The layer that the gradient of `way_back` enters and does not leave; None if it reaches the image."""
    if next(reversed(way.values())) > 0:
        return None
    return [name for name, size in way.items() if size > 0 or name == next(iter(way))][-1]


def diagnose(
    model: keras.Model, layer: str, filter: int, *, size: Size | None = None, seed: int = 0
) -> Diagnosis:
    """What is the matter with a filter: "alive", "rescued" or "dead", with the evidence in words and pictures.

    Makes the plain picture, follows the gradient back, tries each remedy of the default recipe by
    itself, and asks `sample()`. ValueError for what `visualize` refuses.
    """
    found = Layer(model, layer)
    found.check_maps()  # a class has no map to look into
    number = found.check_filters([filter])[0]
    settings = Settings(size=size, seed=seed, rescue=False)
    plain_recipe = recipe_for(found, dataclasses.replace(settings, recipe="plain"))
    recipe = recipe_for(found, settings)
    found.images_at_once(recipe.size, "float32")

    everyone = real_answers(found, recipe, every=True)
    answers = everyone[:, number]
    best = tiled_to(real_images(found, recipe, every=True)[[answers.argmax()]], recipe.size)
    total = plain_recipe.steps
    with tqdm(total=total, desc=layer, unit="step", delay=2, leave=False) as bar:
        plain = picture_of(found, number, plain_recipe, bar)
        tried = {} if plain.status == "alive" else each_remedy(found, number, best, recipe, bar)
    helped = {name: picture for name, picture in tried.items() if picture.status == "alive"}
    strongest = max(helped.values(), key=lambda picture: picture.activation, default=None)
    name = next((name for name, picture in helped.items() if picture is strongest), None)
    real = dataclasses.replace(plain, image=best[0], history=np.zeros(1, np.float32))
    wakes = judged_leniently(found, real, recipe).status == "alive"

    noise = random_image(recipe.size, seed, channels=recipe.channels)
    shown = {
        "start noise": np.round(noise).astype(np.uint8),
        f"plain picture: {plain.status}": plain.image,
        **({name: strongest.image} if name and strongest else {}),
        "best real image" if wakes else "a real image, no better": best[0],
    }
    verdict, conclusion = conclude(plain, name, wakes, len(tried), len(answers))
    findings = [
        *on_noise(found, number, noise),
        f"The plain recipe: {plain.status}, {plain.reason}.",
        *(f"Tried {name}: it reached {two_digits(p.activation)}." for name, p in tried.items()),
        on_real_images(everyone, number),
        conclusion,
    ]
    pictures = exhibits(found, number, shown)
    return Diagnosis(model.name, layer, number, verdict, findings, pictures)


def exhibits(layer: Layer, number: int, images: dict[str, np.ndarray]) -> list[Exhibit]:
    """Images by name, each with what the filter answers to it."""
    answers = layer.activations(np.stack(list(images.values())))[:, number]
    return [
        Exhibit(name, image, float(answer))
        for (name, image), answer in zip(images.items(), answers, strict=True)
    ]


def conclude(
    plain: FilterPicture, helped: str | None, wakes: bool, tried: int, real: int
) -> tuple[str, str]:
    """The verdict, and a sentence about it.

    `helped` is the remedy that helped most, `wakes` whether a real image excites the filter; so many
    remedies and `real` images were tried.
    """
    if plain.status == "alive":
        return "alive", "Nothing is the matter: the plain recipe is enough."
    if helped and wakes:
        return "rescued", f"It is not dead; another way works. What helped most: {helped}."
    if helped:
        return "rescued", f"No real image wakes it, yet it is not dead. What helped most: {helped}."
    if wakes:
        return (
            "rescued",
            "It is not dead: no ascent excites it enough, but a real image does.",
        )
    return "dead", (
        f"Not noise, not one of {tried} other attempts, not one of {real} real images "
        "wakes it: call it dead. This is evidence, not proof; nobody has tried all images."
    )


def on_noise(layer: Layer, number: int, noise: np.ndarray) -> list[str]:
    """What the filter says to the image that the plain recipe begins with, and how far its gradient comes."""
    maps = layer.network(noise[None], training=False)[0, ..., number].numpy()
    said = [
        f"To the start noise it answers {two_digits(maps.mean())}; "
        f"{(maps > 0).mean():.0%} of its map is positive."
    ]
    where = trouble(layer, number, noise)
    if where is not None:
        rest = "; the ascent follows the rest of it" if where.startswith("the gradient") else ""
        return [*said, f"With the start noise, {where}{rest}."]
    where = dead_end(layer, number, noise)
    if where is not None:
        return [*said, f"On the way back {where}, which lets none through to the image."]
    end = end_of(way_back(layer, number, noise))
    if end is None:
        return [*said, "On the way back the gradient reaches the image, so the ascent can begin."]
    text = f"On the way back the gradient becomes zero in {end}"
    if end != layer.name:
        return [*said, f"{text}, before it reaches the image."]
    beyond = end_of(way_back(layer, number, noise, leak=True))
    return [
        *said,
        f"{text}, the filter's own layer. Let through there, it "
        + ("reaches the image." if beyond is None else f"becomes zero in {beyond}."),
    ]


def on_real_images(everyone: np.ndarray, number: int) -> str:
    """What the filter says to real images, beside the others: `everyone` (images, filters) by `real_answers`."""
    answers = everyone[:, number]
    if not np.isfinite(answers).any():
        return f"Its answer to {len(answers)} real images is never a finite number."
    return (
        f"Of {len(answers)} real images {(answers > 0).sum()} make it answer; the best reaches "
        f"{two_digits(answers.max())}, that of a typical filter of the layer "
        f"{two_digits(np.median(everyone.max(axis=0)))}."
    )


def picture_of(layer: Layer, number: int, recipe: Recipe, bar: tqdm, **way: Any) -> FilterPicture:
    """The picture of one filter; `way` are the options of `climb`. Ctrl-C is passed on."""
    (picture,), _ = climb(layer, [number], recipe, bar, partly=False, **way)
    return picture


def judged_leniently(layer: Layer, picture: FilterPicture, recipe: Recipe) -> FilterPicture:
    """The picture, called alive if it excites its filter more than noise does, however little."""
    images, history = picture.image[None], picture.history[:, None]
    return judge(layer, [picture.filter], images, history, recipe, floor=0)[0]


def each_remedy(
    layer: Layer, number: int, real: np.ndarray, recipe: Recipe, bar: tqdm
) -> dict[str, FilterPicture]:
    """The picture that each remedy of `visualize` makes by itself, by its name.

    `real` (1, size, size, channels) uint8 is the image that the last one starts from. However little its
    answer is, a filter that answers is not dead.
    """
    bar.total += recipe.steps * (1 + len(REMEDIES))
    tried = {"the clear recipe": picture_of(layer, number, recipe, bar)}
    for remedy in REMEDIES:
        start = remedy.start(recipe, lambda size: best_pieces(layer, [number], real, size))
        tried[remedy.name] = picture_of(layer, number, recipe, bar, start=start, leak=remedy.leak)
    return {name: judged_leniently(layer, picture, recipe) for name, picture in tried.items()}
