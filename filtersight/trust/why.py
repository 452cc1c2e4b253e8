"""Why a network said so: the filters that drove an answer, and where in the image it came from.

Four views of one answer that can be held against each other. None of them is the reason itself; each
says what changes the answer, in its own sense, and chapter 11 shows where they part.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

import cv2
import keras
import matplotlib
import numpy as np
import tensorflow as tf
from keras.src.utils import file_utils
from matplotlib.figure import Figure
from PIL import Image

from filtersight.ascent.visualize import visualize
from filtersight.basics.checks import MAX_SIZE, check_number, check_whole, two_digits
from filtersight.basics.figures import FilterPicture, mimebundle
from filtersight.basics.images import in_channels, photo, visible
from filtersight.networks.describe import application_of
from filtersight.networks.flat import once_per_model, unfold
from filtersight.networks.layers import Layer, channels
from filtersight.trust.scores import knows_patterns
from filtersight.world.patterns import NAMES

POOLINGS = (
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.MaxPooling2D,
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """One class and what the network gives it."""

    number: int
    name: str
    value: float
    """What the network gives out: a probability where it ends with a softmax or sigmoid."""

    def __str__(self) -> str:
        if 0 <= self.value <= 1:
            return f"{self.name} {self.value:.0%}"
        return f"{self.name} {two_digits(self.value)}"

    __repr__ = __str__


def image_for(
    model: keras.Model, image: np.ndarray | str | os.PathLike | None = None, size: int | None = None
) -> np.ndarray:
    """An image as the model takes it, what is too wide or too high cut off: (height, width, channels) uint8.

    `image` is a file, or an array (height, width, 3) uint8 RGB or (height, width) uint8 grey; without
    one, the course's photograph. The size is that which the model is made for; if that is any, a square
    of `size` pixels, 224 if not given. ValueError for a file that is no image, and for other arrays.
    """
    fixed = unfold(model).shape[:2]
    side = 224 if size is None else check_whole("size", size, 1, MAX_SIZE)
    height, width = (each or side for each in fixed)
    if image is None:
        image = photo(max(height, width))
    elif isinstance(image, (str, os.PathLike)):
        try:
            with Image.open(image) as file:
                image = np.asarray(file.convert("RGB"))
        except (OSError, Image.DecompressionBombError):
            raise ValueError(f"{str(image)!r} is no image that can be opened") from None
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"image must be a file or uint8 (height, width, 3), not {image.dtype} {image.shape}"
        )
    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    part = image[top : top + rows, left : left + columns]
    if part.shape[:2] != (height, width):
        how = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        part = cv2.resize(part, (width, height), interpolation=how)
    return in_channels(part, channels(model))


def classifier(model: keras.Model) -> Layer:
    """The layer that gives the model's answer; ValueError if that is not one value a class."""
    last = unfold(model).last
    if last is None:
        raise ValueError(f"the answer of {model.name} is not decided by the image alone")
    layer = Layer(model, last)
    shape = layer.part.output.shape
    if len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            f"{model.name} gives {shape}, not one value for each class; "
            "a network of keras.applications comes with its classifier by load_model(name, include_top=True)"
        )
    return layer


def checked(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """The image as a batch of one, float32; ValueError unless the model can take it."""
    image, depth = np.asarray(image), channels(model)
    if image.ndim != 3 or image.shape[-1] != depth or image.dtype != np.uint8:
        raise ValueError(
            f"image must be uint8 (height, width, {depth}), not {image.dtype} {image.shape}; "
            "image_for(model, image) makes it so"
        )
    classifier(model).check_size(*image.shape[:2])
    return image[None].astype(np.float32)


def class_names(model: keras.Model) -> list[str] | None:
    """What the model's classes are called, if the course can know: patterns, or ImageNet's."""
    if knows_patterns(model):
        return list(NAMES)
    count = classifier(model).filters
    if count == 1000 and application_of(model) is not None:
        return imagenet_names()
    return None


def imagenet_names() -> list[str] | None:
    """The names of ImageNet's classes, from the file that Keras keeps; None where it is not at hand."""
    path = os.path.join(file_utils.config.keras_home(), "models", "imagenet_class_index.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        index = json.load(file)
    return [index[str(number)][1].replace("_", " ") for number in range(1000)]


def check_names(model: keras.Model, names: Sequence[str] | None) -> list[str]:
    """A name for each class: those given, those known, or numbers."""
    count = classifier(model).filters
    if names is None:
        return class_names(model) or [f"class {number}" for number in range(count)]
    if isinstance(names, str) or len(names) != count:
        raise ValueError(
            f"names must be a list of {count} names, one for each class, not {names!r:.80}"
        )
    return [str(name) for name in names]


def predictions(
    model: keras.Model, image: np.ndarray, *, top: int = 5, names: Sequence[str] | None = None
) -> list[Answer]:
    """The network's answer to an image: the `top` classes with the highest values, best first.

    `image` is (height, width, channels) uint8. `names` of the classes, where they are neither the
    course's patterns nor ImageNet's. ValueError for an image that the model cannot take, and for a model
    that does not give one value for each class.
    """
    pixels = checked(model, image)
    names = check_names(model, names)
    values = np.asarray(classifier(model).network(pixels, training=False))[0]
    top = check_whole("top", top, 1)
    return [Answer(int(n), names[n], float(values[n])) for n in np.argsort(values)[::-1][:top]]


def last_maps(model: keras.Model) -> str:
    """The last layer that gives feature maps, before any pooling: where things are seen, and still where."""
    parts = classifier(model).all_parts
    names = [
        name
        for name, part in parts.items()
        if len(part.output.shape) == 4
        and not isinstance(part.layer, POOLINGS)
        and part.output.shape[1:3] != (1, 1)
        and Layer(model, name).field > 1
    ]
    if not names:
        raise ValueError(f"{model.name} has no layer with feature maps before its answer")
    return names[-1]


def opened(model: keras.Model, layer: str) -> keras.Model:
    """Images in; the layer's feature maps and the classes' values before the softmax out."""
    Layer(model, layer).check_maps()
    last = classifier(model)
    parts = last.all_parts

    def build() -> keras.Model:
        answer = last.objective
        return keras.Model(answer.image, [parts[layer].output, answer.output])

    return once_per_model(model, ("opened", layer), build)


def check_target(model: keras.Model, image: np.ndarray, target: int | None) -> int:
    """The number of a class; that of the highest value if none is given."""
    if target is None:
        return predictions(model, image, top=1)[0].number
    count = classifier(model).filters
    return int(check_whole("target", target, 0, count - 1))


def maps_and_gradient(
    model: keras.Model, layer: str, image: np.ndarray, target: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The layer's feature maps, and the gradient of the class's value for them, both (h, w, filters)."""
    pixels = tf.constant(checked(model, image))
    number = check_target(model, image, target)
    network = opened(model, layer)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        maps, values = network(pixels, training=False)
        value = values[0, number]
    gradient = tape.gradient(value, maps)
    if gradient is None:
        raise ValueError(f"the answer of {model.name} does not depend on layer {layer!r}")
    return maps.numpy()[0], gradient.numpy()[0]


def attributions(
    model: keras.Model, layer: str, image: np.ndarray, target: int | None = None
) -> np.ndarray:
    """How much each filter of a layer drove the answer to an image: (filters,) float32.

    Its map times the gradient of the class's value before the softmax for it, summed over the map
    (activation times gradient: Shrikumar et al. 2016; for whole filters: Olah et al. 2018). Positive
    speaks for the class, negative against it. `image` (height, width, channels) uint8; `target` the
    number of the class, the network's answer if not given.
    """
    maps, gradient = maps_and_gradient(model, layer, image, target)
    return (maps * gradient).sum(axis=(0, 1))


def grad_cam(
    model: keras.Model, image: np.ndarray, target: int | None = None, *, layer: str | None = None
) -> np.ndarray:
    """Where the layer's maps speak for the class: (h, w) float32, 0 or more, of the size of its maps.

    The sum of the maps, each times the mean gradient of the class's value for it, negative places set to
    0 (Selvaraju et al. 2017). `layer`, if not given, is the last one with feature maps.
    """
    layer = last_maps(model) if layer is None else layer
    maps, gradient = maps_and_gradient(model, layer, image, target)
    return np.maximum((maps * gradient.mean(axis=(0, 1))).sum(axis=-1), 0)


def occlusion(
    model: keras.Model,
    image: np.ndarray,
    target: int | None = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    level: float = 127.5,
) -> np.ndarray:
    """What the class's value loses where the image is covered: (height, width) float32.

    A square of `patch` pixels (an eighth of the side if not given), of the grey `level`, is laid on the
    image every `stride` pixels (half a patch); each pixel gets the mean loss of the squares that covered
    it (Zeiler and Fergus 2014). Positive: the class needs this place. No gradient is involved, so it
    checks those who use one.
    """
    pixels = checked(model, image)
    height, width = pixels.shape[1:3]
    number = check_target(model, image, target)
    side = min(height, width)
    patch = max(1, side // 8) if patch is None else check_whole("patch", patch, 1, side)
    stride = max(1, patch // 2) if stride is None else check_whole("stride", stride, 1, patch)
    check_number("level", level, 0, 255)
    places = [
        (top, left)
        for top in sorted({*range(0, height - patch, stride), height - patch})
        for left in sorted({*range(0, width - patch, stride), width - patch})
    ]
    covered = np.repeat(pixels, len(places) + 1, axis=0)  # the last one stays as it is
    for copy, (top, left) in zip(covered, places, strict=False):
        copy[top : top + patch, left : left + patch] = level
    network = opened(model, last_maps(model))
    values = np.concatenate(
        [
            network(some, training=False)[1][:, number]
            for some in np.array_split(covered, -(-len(covered) // 64))
        ]
    )
    loss, count = np.zeros((height, width)), np.zeros((height, width))
    for value, (top, left) in zip(values, places, strict=False):
        loss[top : top + patch, left : left + patch] += values[-1] - value
        count[top : top + patch, left : left + patch] += 1
    return (loss / count).astype(np.float32)


def agreement(cam: np.ndarray, loss: np.ndarray) -> float:
    """The correlation of Grad-CAM (h, w) with occlusion (height, width), at the places of the former.

    Where covering helps, the loss counts as 0. -1 to 1; 0 where one of the two is the same everywhere.
    """
    loss = cv2.resize(np.maximum(loss, 0), cam.shape[::-1], interpolation=cv2.INTER_AREA)
    both = np.stack([cam.ravel(), loss.ravel()])
    return float(np.corrcoef(both)[0, 1]) if (both.std(axis=1) > 0).all() else 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """An answer and what drove it; shows itself in Jupyter."""

    network: str
    image: np.ndarray
    """(height, width, channels) uint8."""
    answers: list[Answer]
    """The five highest."""
    target: Answer
    """The class that is explained."""
    layer: str
    filters: list[int]
    """Those that drove the answer most, the first most."""
    shares: list[float]
    """Of all that speaks for the class in this layer, by activation times gradient."""
    pictures: list[FilterPicture]
    """Of these filters."""
    maps: np.ndarray
    """(filters, h, w) float32: where in the image each of them fires."""
    grad_cam: np.ndarray
    """(h, w) float32."""
    occlusion: np.ndarray
    """(height, width) float32."""

    def __str__(self) -> str:
        drove = ", ".join(
            f"{number} ({share:.0%})"
            for number, share in zip(self.filters, self.shares, strict=True)
        )
        alike = agreement(self.grad_cam, self.occlusion)
        return (
            f"{self.network} says {', '.join(map(str, self.answers))}. For {self.target.name} speak "
            f"filters {drove} of {self.layer}. Grad-CAM and occlusion agree by {alike:.2f}."
        )

    __repr__ = __str__

    def figure(self) -> Figure:
        """The image, the answers, both heat maps; below, the filters' pictures and where they fire."""
        columns = max(4, len(self.filters))
        figure = Figure(figsize=(2.1 * columns, 7.0), dpi=100)
        axes = figure.subplots(3, columns, squeeze=False)
        figure.subplots_adjust(0.01, 0.01, 0.99, 0.94, wspace=0.06, hspace=0.16)
        for each in axes.ravel():
            each.set_axis_off()
        shown = visible(self.image)
        top = [
            (shown, "the image"),
            None,
            (heated(shown, self.grad_cam), f"Grad-CAM for {self.target.name}"),
            (heated(shown, self.occlusion), "occlusion: covering this hurts"),
        ]
        for place, entry in zip(axes[0], top, strict=False):
            if entry is not None:
                place.imshow(entry[0])
                place.set_title(entry[1], fontsize=9)
        self.bars(axes[0, 1])
        for column, (number, share) in enumerate(zip(self.filters, self.shares, strict=True)):
            picture, fires = axes[1:, column]
            picture.imshow(visible(self.pictures[column].image))
            picture.set_title(f"filter {number}: {share:.0%}", fontsize=9)
            fires.imshow(lit(shown, self.maps[column]))
            fires.set_title("fires here", fontsize=9)
        return figure

    def bars(self, axes) -> None:
        """Draws the answers as bars."""
        values = [answer.value for answer in self.answers][::-1]
        names = [answer.name for answer in self.answers][::-1]
        axes.set_axis_on()
        axes.barh(range(len(values)), values, color="#e8b98a")
        for place, answer in enumerate(self.answers[::-1]):
            axes.text(
                0.02,
                place,
                str(answer),
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=8,
            )
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_title(f"it says {names[-1]}", fontsize=9)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        return mimebundle(self.figure(), str(self))


def heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image (h, w, 3) uint8 in grey under a heat map of any size; only what is above 0 glows."""
    height, width = image.shape[:2]
    heat = cv2.resize(
        np.maximum(heat, 0).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    heat = heat / max(float(heat.max()), 1e-9)
    grey = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)
    glow = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    return np.clip(0.45 * grey + 0.75 * glow, 0, 255).astype(np.uint8)


def lit(image: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """The image (h, w, 3) uint8 as it is where the map is above half of its highest value, pale elsewhere."""
    height, width = image.shape[:2]
    light = cv2.resize(
        np.maximum(fires, 0).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    share = np.clip(4 * light / max(float(light.max()), 1e-9) - 1.5, 0.12, 1)[..., None]
    return np.round(image * share + 235 * (1 - share)).astype(np.uint8)


def explain(
    model: keras.Model,
    image: np.ndarray,
    target: int | None = None,
    *,
    layer: str | None = None,
    filters: int = 4,
    names: Sequence[str] | None = None,
) -> Explanation:
    """Why the network said so: its answer to an image, the filters that drove it, and where it came from.

    `image` (height, width, channels) uint8, as `image_for` makes one; `target` the number of the class to
    explain, the network's answer if not given; `layer` the one whose `filters` are asked, the last with
    feature maps if not given; `names` of the classes, where they are neither patterns nor ImageNet's.
    ValueError for a model without a classifier and for an image that it cannot take.
    """
    names = check_names(model, names)
    everyone = predictions(model, image, top=len(names), names=names)
    number = check_target(model, image, target)
    layer = last_maps(model) if layer is None else layer
    maps, gradient = maps_and_gradient(model, layer, image, number)
    given = (maps * gradient).sum(axis=(0, 1))
    count = check_whole("filters", filters, 1, min(16, len(given)))
    first = [int(each) for each in np.argsort(given)[::-1][:count]]
    total = max(float(np.maximum(given, 0).sum()), 1e-9)
    return Explanation(
        model.name,
        np.asarray(image),
        everyone[:5],
        next(each for each in everyone if each.number == number),
        layer,
        first,
        [float(given[each] / total) for each in first],
        visualize(model, layer, first),
        np.moveaxis(maps[..., first], -1, 0),
        grad_cam(model, image, number, layer=layer),
        occlusion(model, image, number),
    )
