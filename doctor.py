"""A doctor for filters whose pictures stay grey. `helpers.diagnose` gives what it finds.

It makes the plain picture, follows the gradient back to where it ends, tries each remedy of
`helpers.visualize` by itself, asks real images, and says in words what came of it.
"""

from __future__ import annotations

import dataclasses
import textwrap
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from tqdm import tqdm

import engine
import helpers
import networks
from helpers import two_digits

LINE = 132  # characters of a line of text under the pictures


class Exhibit(NamedTuple):
    """An image and what the filter answers to it."""

    name: str
    image: np.ndarray  # (size, size, channels) uint8
    activation: float  # mean over the filter's map, measured on `image`


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is the matter with one filter, and on what evidence."""

    network: str
    layer: str
    filter: int
    verdict: str
    """"alive": the plain recipe makes a picture of it. "hard": that fails, but another way or a real image
    makes it answer. "dead": nothing that was tried makes it answer."""
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
        figure = helpers.grid(
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
        return helpers.mimebundle(self.figure(), alt)


def way_back(
    model: keras.Model, layer: str, number: int, image: np.ndarray, *, leak: bool = False
) -> dict[str, float]:
    """How much gradient of a filter's activation arrives at each layer on the way back to the image.

    `image` is (height, width, channels). The keys go from `layer` to the image, whose key is "image"; the values
    are root mean squares of the gradient for the output of a layer. `leak` lets the gradient through the
    activation function of `layer` itself, and of no other.
    """
    original = helpers.submodel(model, layer)
    network = engine.private_copy(original, "float32")
    engine.copy_weights(original, network)
    last = networks.unfold(network).last or layer
    parts = networks.beside(network, last)
    parts = {layer if name == last else name: part for name, part in parts.items()}
    own = parts[layer].layer
    if leak and not any(own is each for each in original.layers):  # as those of somebody's own are
        if getattr(own, "activation", None) is not None:
            own.activation = engine.leaky(own.activation)
        elif isinstance(own, networks.ACTIVATIONS) and not own.weights:
            own.call = engine.leaky(own.call)
    image_input = parts[layer].image
    pixels = tf.constant(image, tf.float32)[None]
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        every = keras.Model(image_input, [part.output for part in parts.values()])
        maps = dict(zip(parts, tf.nest.flatten(every(pixels, training=False)), strict=True))
        activation = tf.reduce_mean(maps[layer][..., number])
    sources = {"image": pixels, **maps}
    gradients = tape.gradient(activation, sources, unconnected_gradients="zero")
    sizes = {name: float(tf.sqrt(tf.reduce_mean(each**2))) for name, each in gradients.items()}
    return dict(reversed(sizes.items()))


def end_of(way: dict[str, float]) -> str | None:
    """The layer that the gradient of `way_back` enters and does not leave; None if it reaches the image."""
    if way["image"] > 0:
        return None
    return [name for name, size in way.items() if size > 0][-1]


def real_answers(model: keras.Model, layer: str, size: int) -> np.ndarray:
    """What the filters of a layer answer to each image of `helpers.sample`, measured once: (n, filters)."""
    images = helpers.sized(helpers.sample(networks.channels(model)), size)
    key = ("real answers", helpers.fingerprint(model, layer), layer, size)
    return helpers.prepared(model, key, lambda: helpers.activations(model, layer, images))


def diagnose(
    model: keras.Model, layer: str, filter: int, *, size: int | None = None, seed: int = 0
) -> Diagnosis:
    """What is the matter with a filter; see `helpers.diagnose`."""
    helpers.submodel(model, layer)  # a class has no map to look into
    number = helpers.check_filters(model, layer, [filter])[0]
    plain_order = helpers.order_of(model, layer, recipe="plain", size=size, seed=seed)
    order = helpers.order_of(model, layer, size=size, seed=seed, rescue=False)
    size = order["size"]
    helpers.images_at_once(model, layer, size, "float32")

    side = size
    if size > helpers.SAMPLE_SIZE and helpers.fits(model, layer, helpers.SAMPLE_SIZE):
        side = helpers.SAMPLE_SIZE  # as the rescues of visualize do
    everyone = real_answers(model, layer, side)
    answers = everyone[:, number]
    best = helpers.sized(helpers.sample(order["channels"])[[answers.argmax()]], size)
    with tqdm(total=plain_order["steps"], desc=layer, unit="step", delay=2, leave=False) as bar:
        plain = climbed(model, number, plain_order, bar)
        tried = {} if plain.status == "alive" else remedies(model, number, best, order, bar)
    # However little the answer is, a filter that answers is not dead.
    tried = {name: judged_again(model, picture, order) for name, picture in tried.items()}
    helped = [name for name, picture in tried.items() if picture.status == "alive"]
    strongest = max(helped, key=lambda name: tried[name].activation, default=None)
    real = dataclasses.replace(plain, image=best[0], history=np.zeros(1, np.float32))
    wakes = judged_again(model, real, order).status == "alive"

    noise = helpers.random_image(size, seed, channels=order["channels"])
    shown = {
        "start noise": np.round(noise).astype(np.uint8),
        f"plain picture: {plain.status}": plain.image,
        **({strongest: tried[strongest].image} if strongest else {}),
        "best real image" if wakes else "a real image, no better": best[0],
    }
    measured = helpers.activations(model, layer, np.stack(list(shown.values())))[:, number]
    pictures = [
        Exhibit(name, image, float(value))
        for (name, image), value in zip(shown.items(), measured, strict=True)
    ]

    if plain.status == "alive":
        verdict, conclusion = "alive", "Nothing is the matter: the plain recipe is enough."
    elif strongest and wakes:
        verdict, conclusion = "hard", f"It is hard, not dead. What helped most: {strongest}."
    elif strongest:
        verdict = "hard"
        conclusion = f"No real image wakes it, yet it is not dead. What helped most: {strongest}."
    elif wakes:
        verdict = "hard"
        conclusion = "It is hard, not dead: no climb finds what it wants, but a real image has it."
    else:
        verdict = "dead"
        conclusion = (
            f"Not noise, not one of {len(tried)} other climbs, not one of {len(answers)} real images "
            "wakes it: call it dead. This is evidence, not proof; nobody has tried all images."
        )
    findings = [
        *on_noise(model, layer, number, noise),
        f"The plain recipe: {plain.status}, {plain.reason}.",
        *(f"Tried {name}: it reached {two_digits(p.activation)}." for name, p in tried.items()),
        f"Of {len(answers)} real images {(answers > 0).sum()} make it answer; the best reaches "
        f"{two_digits(answers.max())}, that of a typical filter of the layer "
        f"{two_digits(np.median(everyone.max(axis=0)))}.",
        conclusion,
    ]
    return Diagnosis(model.name, layer, number, verdict, findings, pictures)


def on_noise(model: keras.Model, layer: str, number: int, noise: np.ndarray) -> list[str]:
    """What the filter says to the image that a plain climb begins with, and how far its gradient comes."""
    maps = helpers.submodel(model, layer)(noise[None], training=False)[0, ..., number].numpy()
    said = [
        f"To the start noise it answers {two_digits(maps.mean())}; "
        f"{(maps > 0).mean():.0%} of its map is positive."
    ]
    end = end_of(way_back(model, layer, number, noise))
    if end is None:
        return [*said, "On the way back the gradient reaches the image, so a climb can begin."]
    text = f"On the way back the gradient becomes zero in {end}"
    if end != layer:
        return [*said, f"{text}, before it reaches the image."]
    beyond = end_of(way_back(model, layer, number, noise, leak=True))
    return [
        *said,
        f"{text}, the filter's own layer. Let through there, it "
        + ("reaches the image." if beyond is None else f"becomes zero in {beyond}."),
    ]


def climbed(
    model: keras.Model, number: int, order: dict, bar: tqdm, **way
) -> helpers.FilterPicture:
    """The picture of one filter; `way` are the options of `helpers.climb`. Ctrl-C is passed on."""
    (picture,), complete = helpers.climb(model, [number], order, bar, **way)
    if not complete:
        raise KeyboardInterrupt
    return picture


def judged_again(
    model: keras.Model, picture: helpers.FilterPicture, order: dict
) -> helpers.FilterPicture:
    """The picture, called alive if it excites its filter more than noise does, however little."""
    images, history = picture.image[None], picture.history[:, None]
    return helpers.finish(model, [picture.filter], images, history, order, floor=0)[0]


def remedies(
    model: keras.Model, number: int, real: np.ndarray, order: dict, bar: tqdm
) -> dict[str, helpers.FilterPicture]:
    """The picture that each remedy of `helpers.visualize` makes by itself, by its name.

    `real` (1, size, size, channels) uint8 is the image that the last one starts from.
    """
    # Ten times as much noise as usual, as the rescues of visualize have it.
    loud = 10 * engine.random_spectrum(order["size"], order["seed"] + 1, order["channels"])[None]
    ways: dict[str, dict] = {
        "the clear recipe": {},
        "a start with more noise": {"start": loud},
        "a leaky way back": {"start": loud, "leak": True},
        "a start from the real image": {"start": engine.spectra(real)},
    }
    bar.total += order["steps"] * len(ways)
    return {name: climbed(model, number, order, bar, **way) for name, way in ways.items()}
