"""Why a network said so: the filters that drove an answer, and where in the image it came from.

Four views of one answer that can be held against each other. None of them is the reason itself; each
says what changes the answer, in its own sense, and chapter 11 shows where they part.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from typing import IO, Any

import cv2
import keras
import matplotlib
import numpy as np
import tensorflow as tf
from keras.src.utils import file_utils
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from filtersight.ascent.objective import dead_end, guarded, trouble
from filtersight.ascent.visualize import visualize
from filtersight.basics.checks import MAX_SIZE, check_number, check_whole, shown, two_digits
from filtersight.basics.figures import FilterPicture, mimebundle
from filtersight.basics.images import in_channels, photo, visible
from filtersight.networks.describe import application_of
from filtersight.networks.fields import receptive_fields
from filtersight.networks.flat import unfold
from filtersight.networks.layers import Layer, channels
from filtersight.trust.scores import knows_patterns
from filtersight.world.patterns import NAMES
from filtersight.world.reading import is_file, read_image

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
    """What the network gives out."""
    probability: float | None = None
    """What it says that the class has, behind a softmax or sigmoid; None where nobody can know what a value means."""

    def __str__(self) -> str:
        if self.probability is None:
            return f"{self.name} (value {two_digits(self.value)})"
        return f"{self.name} {self.probability:.0%}"

    __repr__ = __str__


def image_for(
    model: keras.Model,
    image: np.ndarray | str | os.PathLike | bytes | IO[bytes] | Image.Image | None = None,
    size: int | None = None,
) -> np.ndarray:
    """An image as the model takes it, what is too wide or too high cut off: (height, width, channels) uint8.

    `image` is a file (its path, its bytes, opened, or as an image of Pillow) or an array, (height, width)
    grey, (height, width, 3) RGB, with alpha as a fourth channel, or with as many channels as the model takes;
    of uint8, uint16, or floats from 0 to 1 or 255. Without one, it is the course's photograph. A photograph
    is turned upright, and what is transparent is laid on white; a model of one channel gets it in grey, one
    of four with its alpha, one of any other number red, green and blue in turn. The size is that which the
    model is made for; if that is any, a square of `size` pixels, 224 if not given. ValueError for a file that
    is no image, for other arrays, and if nothing says what is white (12 bits in 16).
    """
    depth, fixed = channels(model), unfold(model).shape[:2]
    side = 224 if size is None else check_whole("size", size, 1, MAX_SIZE)
    height, width = (each or side for each in fixed)
    image = read_image(photo(max(height, width)) if image is None else image, depth)
    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    part = image[top : top + rows, left : left + columns]
    if part.shape[:2] != (height, width):
        how = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        part = cv2.resize(part, (width, height), interpolation=how).reshape(height, width, -1)
    return part.copy() if part.shape[-1] == depth else in_channels(part, depth)


def classifier(model: keras.Model) -> Layer:
    """The layer that gives the model's answer; ValueError if that is not one value a class."""
    last = unfold(model).last
    if last is None:
        raise ValueError(f"the answer of {model.name} is not decided by the image alone")
    layer = Layer(model, last)
    shape = layer.part.output.shape
    if len(shape) == 2 and shape[-1] is not None:
        return layer
    others = [place for place, each in enumerate(model.outputs) if len(each.shape) == 2]
    if others:
        out = f"its output {others[0]} may be meant: keras.Model(model.inputs, model.outputs[{others[0]}])"
    else:
        out = (
            "a network of keras.applications comes with its classifier by load_model(name, include_top=True); "
            "maps of classes become one value for each by "
            "keras.Model(model.inputs, keras.layers.GlobalAveragePooling2D()(model.outputs[0]))"
        )
    raise ValueError(f"{model.name} gives {shape}, not one value for each class; {out}")


def is_yes_or_no(model: keras.Model) -> bool:
    """Whether a single sigmoid tells two classes apart: 0 by a value below 1/2, 1 by one above it."""
    last = classifier(model)
    return last.filters == 1 and last.squashed is not None


def says_no(model: keras.Model, best: Answer) -> bool:
    """Whether the model says yes or no to each class by a sigmoid, and no even to the best."""
    found = classifier(model).squashed
    return found is not None and found.kind == "sigmoid" and (best.probability or 0) < 0.5


def count_classes(model: keras.Model) -> int:
    """How many classes the model tells apart."""
    return 2 if is_yes_or_no(model) else classifier(model).filters


def taken(model: keras.Model, image: Any) -> Any:
    """A file as `image_for` makes it; anything else as it is."""
    return image_for(model, image) if is_file(image) else image


def checked(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """The image as a batch of one, float32; ValueError unless the model can take it."""
    image, depth = np.asarray(taken(model, image)), channels(model)
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
    """A name for each class: those given, those known, or numbers.

    For a single sigmoid two names, that for values below 1/2 first, as image_dataset_from_directory orders
    them; or that of what it says yes to.
    """
    count, yes_or_no = count_classes(model), is_yes_or_no(model)
    if names is None:
        numbered = ["output"] if count == 1 else [f"class {number}" for number in range(count)]
        return class_names(model) or numbered
    if isinstance(names, np.ndarray):
        names = names.tolist()
    many = isinstance(names, Sequence) and not isinstance(names, (str, bytes))
    if many and len(names) == count:
        return [str(name) for name in names]
    if many and len(names) == 1 and yes_or_no:
        return [f"not {names[0]}", str(names[0])]
    allowed = f"{count} names, one for each class"
    if yes_or_no:
        allowed = "2 names, the first for values below 1/2, or of 1, for those above"
    elif count == 1:
        allowed = (
            "1 name; a single value stands for 2 classes behind a sigmoid only: "
            "keras.Model(model.inputs, keras.layers.Activation('sigmoid')(model.outputs[0]))"
        )
    raise ValueError(f"names must be a list of {allowed}; not {shown(names)}")


def all_answers(
    model: keras.Model, image: np.ndarray, names: Sequence[str] | None = None
) -> list[Answer]:
    """The network's answer to an image, all classes, best first; of a single sigmoid both."""
    pixels = checked(model, image)
    names = check_names(model, names)
    last = classifier(model)
    values = np.asarray(last.network(pixels, training=False), np.float64)[0]
    if not np.isfinite(values).all():
        last.fingerprint()  # says so if it is the weights
        raise ValueError(
            f"the answer of {model.name} to this image is not a finite number: "
            f"{trouble(last, int(np.argmin(np.isfinite(values))), image)}"
        )
    shares: list[float | None] = [None] * len(values)
    if last.squashed is not None:
        given = (values - last.squashed.offset) / last.squashed.scale
        if is_yes_or_no(model):
            given = np.append(1 - given, given)
            values = given * last.squashed.scale + last.squashed.offset
        shares = given.tolist()
    return [Answer(int(n), names[n], float(values[n]), shares[n]) for n in np.argsort(values)[::-1]]


def predictions(
    model: keras.Model, image: np.ndarray, *, top: int = 5, names: Sequence[str] | None = None
) -> list[Answer]:
    """The network's answer to an image: the `top` classes with the highest values, best first.

    `image` is (height, width, channels) uint8. `names` of the classes, where they are neither the
    course's patterns nor ImageNet's. A single sigmoid tells two classes apart, 0 by a value below 1/2 and 1
    by one above it; with one name only, that of class 1, class 0 is not listed. ValueError for an image
    that the model cannot take, and for a model that does not give one value for each class.
    """
    answers = all_answers(model, image, names)
    if names is not None and len(names) == 1:
        answers = [each for each in answers if each.name == str(names[0])]
    return answers[: check_whole("top", top, 1)]


def last_maps(model: keras.Model) -> str:
    """The last layer that gives feature maps, before any pooling: where things are seen, and still where."""
    last = classifier(model)
    parts, fields = last.all_parts, receptive_fields(last.flat)
    names = [
        name
        for name, part in parts.items()
        if len(part.output.shape) == 4
        and not isinstance(part.layer, POOLINGS)
        and part.output.shape[1:3] != (1, 1)
        and fields[name] > 1
    ]
    if not names:
        raise ValueError(
            f"{model.name} has no layer with feature maps before its answer; "
            "occlusion(model, image) and predictions(model, image) need none"
        )
    return names[-1]


def opened(model: keras.Model, layer: str) -> keras.Model:
    """Images in; the layer's feature maps and the classes' values before the softmax or sigmoid out.

    A single sigmoid's value is that of class 1, and its negative that of class 0.
    """
    Layer(model, layer).check_maps()
    answer = classifier(model)

    def build() -> keras.Model:
        maps = answer.all_parts[layer].output
        return guarded(keras.Model(answer.objective.image, [maps, class_values(model)]))

    return answer.flat.once(("opened", layer), build)


def beyond(model: keras.Model, layer: str) -> keras.Model:
    """Images and the layer's feature maps in, the classes' values of `opened` out."""
    answer = classifier(model)
    inputs = [answer.objective.image, answer.all_parts[layer].output]
    build = functools.partial(keras.Model, inputs, class_values(model))
    return answer.flat.once(("beyond", layer), build)


def class_values(model: keras.Model) -> keras.KerasTensor:
    """A value for each class before the softmax or sigmoid, (n, classes), in the graph of `classifier`."""
    values = classifier(model).objective.output
    return keras.ops.concatenate([-values, values], axis=-1) if is_yes_or_no(model) else values


def check_target(model: keras.Model, image: np.ndarray, target: int | None) -> int:
    """The number of a class; if none is given, that of the highest value, and 1 of a single sigmoid."""
    if target is None and is_yes_or_no(model):
        return 1
    if target is None:
        return predictions(model, image, top=1)[0].number
    return int(check_whole("target", target, 0, count_classes(model) - 1))


def maps_and_gradient(
    model: keras.Model, layer: str, image: np.ndarray, target: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The layer's feature maps, and the gradient of the class's value for them, both (h, w, filters)."""
    pixels = tf.constant(checked(model, image))
    number = check_target(model, image, target)
    network = opened(model, layer)
    # Variables are not watched: quantised layers have no gradient for theirs.
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(pixels)
        maps, values = network(pixels, training=False)
        value = values[0, number]
    try:
        gradient = tape.gradient(value, maps)
    except ValueError:  # from inside TensorFlow, for what quantize("float8") has made
        raise ValueError(
            f"{model.name} has layers whose gradient cannot be computed, as those of quantize('float8') are; "
            "explain the network as it was before"
        ) from None
    if gradient is None and tape.gradient(maps, pixels) is None:
        # What lies behind tf.stop_gradient is not seen from the image; from the maps on it is.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(maps)
            value = beyond(model, layer)([pixels, maps], training=False)[0, number]
        gradient = tape.gradient(value, maps)
    if gradient is None or not np.any(gradient):
        where = dead_end(classifier(model), max(0, number - is_yes_or_no(model)), image)
        if where:
            raise ValueError(
                f"nothing says how much layer {layer!r} drove the answer of {model.name}: {where}; "
                "a layer behind that can be explained, and occlusion(model, image) needs no gradient"
            )
    if gradient is None:
        raise ValueError(f"the answer of {model.name} does not depend on layer {layer!r}")
    if not (np.isfinite(maps).all() and np.isfinite(gradient).all()):
        where = trouble(classifier(model), number, image) or "infinite on the way back"
        raise ValueError(f"the gradient for {layer!r} is not a finite number: {where}")
    return maps.numpy()[0], gradient.numpy()[0]


def attributions(
    model: keras.Model, layer: str, image: np.ndarray, target: int | None = None
) -> np.ndarray:
    """How much each filter of a layer drove the answer to an image: (filters,) float32.

    Its map times the gradient of the class's value before the softmax or sigmoid for it, summed over the map
    (activation times gradient: Shrikumar et al. 2016; for whole filters: Olah et al. 2018). Positive
    speaks for the class, negative against it. `image` (height, width, channels) uint8; `target` the
    number of the class; if not given, the network's answer, or of a single sigmoid class 1, its yes.
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
    return weighed(*maps_and_gradient(model, layer, image, target))


def weighed(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Grad-CAM of maps and gradient (h, w, filters): (h, w)."""
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
    answer = classifier(model)
    network = answer.flat.once(
        ("class values",), lambda: keras.Model(answer.objective.image, class_values(model))
    )
    together = answer.images_at_once((height, width), "float32")
    values = np.concatenate(
        [
            network(covered[first : first + together], training=False)[:, number]
            for first in tqdm(range(0, len(covered), together), "occlusion", delay=2, leave=False)
        ]
    )
    loss, count = np.zeros((height, width)), np.zeros((height, width))
    for value, (top, left) in zip(values, places, strict=False):
        if not np.isfinite(value):  # nothing is known of this place
            continue
        loss[top : top + patch, left : left + patch] += values[-1] - value
        count[top : top + patch, left : left + patch] += 1
    return (loss / np.maximum(count, 1)).astype(np.float32)


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
    """Those that drove the answer most, the first most; fewer, or none, if no more speak for it."""
    shares: list[float]
    """Of all that speaks for the class (or against it) in this layer, by activation times gradient."""
    pictures: list[FilterPicture]
    """Of these filters."""
    maps: np.ndarray
    """(filters, h, w) float32: where in the image each of them fires."""
    grad_cam: np.ndarray
    """(h, w) float32."""
    occlusion: np.ndarray
    """(height, width) float32."""
    against: bool = False
    """Whether it is explained why not: no sigmoid says yes, not even that of `target`."""

    @property
    def side(self) -> str:
        """Whether the filters and places speak "for" or "against" the class."""
        return "against" if self.against else "for"

    @property
    def verdict(self) -> str:
        """What the network says, in short."""
        if self.against:
            return "no" if len(self.answers) == 1 else "yes to none"
        return self.answers[0].name

    def __str__(self) -> str:
        drove = ", ".join(
            f"{number} ({share:.0%})"
            for number, share in zip(self.filters, self.shares, strict=True)
        )
        alike = agreement(self.grad_cam, self.occlusion)
        no = f"{self.verdict}: " if self.against else ""
        why = f"No filter of {self.layer} speaks {self.side} {self.target.name}"
        if self.filters:
            why = (
                f"{self.side.capitalize()} {self.target.name} speak filters {drove} of {self.layer}"
            )
        return (
            f"{self.network} says {no}{', '.join(map(str, self.answers))}. {why}. "
            f"Grad-CAM and occlusion agree by {alike:.2f}."
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
            (heated(shown, self.grad_cam), f"Grad-CAM {self.side} {self.target.name}"),
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
        axes.set_title(f"it says {self.verdict}", fontsize=9)

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

    `image` (height, width, channels) uint8, or a file, as `image_for` takes it; `target` the number of the
    class to explain, the network's answer if not given; `layer` the one of which up to `filters` are shown, 1 to 16,
    the last with feature maps if not given; `names` of the classes, where they are neither patterns nor
    ImageNet's.
    A single sigmoid tells class 0 (values below 1/2, the first of two `names`) from class 1. Where no
    sigmoid says yes, of many or of one with one name, it is explained what speaks against the highest.
    ValueError for a model without a classifier and for an image that it cannot take.
    """
    image = taken(model, image)
    answers = predictions(model, image, names=names)
    number = answers[0].number if target is None else check_target(model, image, target)
    layer = last_maps(model) if layer is None else layer
    maps, gradient = maps_and_gradient(model, layer, image, number)
    against = target is None and says_no(model, answers[0])
    sign = -1 if against else 1
    given = sign * (maps * gradient).sum(axis=(0, 1))
    count = check_whole("filters", filters, 1, 16)
    first = [int(each) for each in np.argsort(given)[::-1][:count] if given[each] > 0]
    total = float(np.maximum(given, 0).sum())
    pictures = visualize(model, layer, first) if first else []
    first = first[: len(pictures)]  # Ctrl-C gives fewer
    return Explanation(
        model.name,
        np.asarray(image),
        answers,
        next(each for each in all_answers(model, image, names) if each.number == number),
        layer,
        first,
        [float(given[each] / total) for each in first],
        pictures,
        np.moveaxis(maps[..., first], -1, 0),
        weighed(maps, sign * gradient),
        sign * occlusion(model, image, number),
        against,
    )
