"""What CNN filters see: everything that the notebooks import.

The file reads from top to bottom as the data flows:
model, submodel, image, activation, ascent, picture, scores, explorer.

Images are RGB with values from 0 to 255 everywhere; each model does its own preprocessing.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# TensorFlow writes lines about the processor and missing GPUs to the terminal unless told before import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Its fast convolutions are the default only on processors with AVX-512; with AVX2 they are fast, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import cv2
import keras
import matplotlib.cbook
import numpy as np
import psutil
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

import engine
import networks
import patterns
from engine import PRECISIONS, copy_weights, fast_precision, next_chunk, private_copy
from loader import APPLICATIONS, load_model
from networks import _prepared as _prepared
from networks import channels, prepared
from networks import conv_layers as conv_layers
from networks import describe as describe
from networks import receptive_field as receptive_field
from networks import submodel as submodel
from patterns import whole
from pictures import FilterPicture, in_channels, saved, two_digits, visible
from pictures import check as check  # the notebooks import these from here
from pictures import grid as grid
from pictures import jpeg as jpeg
from pictures import mimebundle as mimebundle
from pictures import seal as seal
from pictures import show as show

if TYPE_CHECKING:
    from distributed import Client

    from atlas import Atlas
    from doctor import Diagnosis
    from explorer import Explorer
    from quiz import Quiz
    from scores import Reality, Scores

# TensorFlow warns that functions are traced anew when many layers are looked at; each layer is traced once.
tf.get_logger().setLevel("ERROR")

# ---------------------------------------------------------------- image


def random_image(
    size: int = 128, seed: int = 0, *, contrast: float = 32.0, channels: int = 3
) -> np.ndarray:
    """A start image: mid grey plus even noise of at most `contrast` grey levels up or down.

    Returns (size, size, channels) float32, within 127.5 ± contrast. The same seed gives the same image.
    """
    whole("size", size, 1, MAX_SIZE)
    whole("seed", seed, 0, 2**32 - 1)
    whole("channels", channels, 1, 1024)
    check_number("contrast", contrast, 0, 127.5)
    noise = np.random.default_rng(seed).uniform(-contrast, contrast, (size, size, channels))
    return (127.5 + noise).astype(np.float32)


def photo(size: int = 224) -> np.ndarray:
    """The photograph that ships with matplotlib, cut square: (size, size, 3) uint8 RGB.

    Rear Admiral Grace Hopper, 1984, by James S. Davis, United States Navy; public domain.
    """
    whole("size", size, 1, MAX_SIZE)
    path = str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    portrait = np.asarray(Image.open(path).convert("RGB"))
    return cv2.resize(portrait[: portrait.shape[1]], (size, size), interpolation=cv2.INTER_AREA)


def deprocess(
    image: np.ndarray,
    *,
    contrast: float = 64.0,
    denoise: float = 0.0,
    sharpen: float = 0.0,
    enlarge: int = 1,
) -> np.ndarray:
    """The picture of an image that gradient ascent has pulled out of the range of a screen.

    Centre and scale: mean 127.5 and standard deviation `contrast`, in grey levels; then clip to 0–255
    and round. After that, for the eye only, in this order:
    `denoise` grey levels: neighbours that differ by less are evened out, edges stay (bilateral filter,
    Tomasi and Manduchi 1998); `sharpen`: that share of the difference from a blurred copy is added
    (unsharp mask); `enlarge`: each side becomes that many times longer (Lanczos interpolation).

    Takes (height, width, channels), any finite range; returns uint8. An image without contrast becomes
    even grey. The last three are for RGB.
    """
    image = np.asarray(image, np.float64)  # in float32 the mean of an even image is not exact
    plain = denoise == sharpen == 0 and enlarge == 1
    if image.ndim != 3 or not (plain or image.shape[-1] == 3) or not np.isfinite(image).all():
        raise ValueError(
            f"deprocess takes one finite image (height, width, 3), not shape {image.shape}"
        )
    check_number("contrast", contrast, 0, 127.5)
    check_number("denoise", denoise, 0, 255)
    check_number("sharpen", sharpen, 0, 10)
    whole("enlarge", enlarge, 1, 16)
    centred = image - image.mean()
    picture = 127.5 + centred * (contrast / max(float(centred.std()), 1e-6))
    picture = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    if denoise:
        picture = cv2.bilateralFilter(picture, d=5, sigmaColor=denoise, sigmaSpace=2)
    if sharpen:
        picture = cv2.addWeighted(
            picture, 1 + sharpen, cv2.GaussianBlur(picture, (0, 0), 1.5), -sharpen, 0
        )
    if enlarge > 1:
        picture = cv2.resize(
            picture, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_LANCZOS4
        )
    return picture


# ---------------------------------------------------------------- activation

MAX_SIZE = (
    1024  # pixels; a larger image needs more memory than the machines this course is made for
)
WORKING_SET = 2**28  # bytes that the maps of one batch may take: more is not faster, only larger


def check_number(what: str, value: float, low: float, high: float) -> None:
    """ValueError unless `value` is a number from `low` to `high`."""
    kinds = (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise ValueError(f"{what} must be a number from {low} to {high}, not {value!r}")


def activations(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    """How strongly each filter of `layer` answers to each image: (n, filters) float32.

    The mean over the filter's map, after the layer's activation function; for a classifier, its values.
    `images` are uint8, (n, height, width, channels), RGB for networks with three channels. ValueError for
    another shape or type, or images too small for the layer.
    """
    images, depth = np.asarray(images), channels(model)
    if images.ndim != 4 or images.shape[-1] != depth or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 (n, height, width, {depth}), not {images.dtype} {images.shape}; "
            "image[None] makes a list of one image"
        )
    network = networks.cut(model, layer)
    check_size(model, layer, *images.shape[1:3])
    count = images_at_once(model, layer, max(images.shape[1:3]), "float32")
    batches = [images[start : start + count] for start in range(0, len(images), count)]
    # Without a graph: building one takes longer than most lists of images.
    answers = [
        means(network(tf.cast(b, tf.float32), training=False))
        for b in tqdm(batches, layer, delay=2, leave=False)
    ]
    return (
        np.concatenate(answers)
        if answers
        else np.empty((0, filter_count(model, layer)), np.float32)
    )


def means(values) -> np.ndarray:
    """The means over the maps (n, h, w, filters), or values (n, filters) as they are."""
    places = tuple(range(1, len(values.shape) - 1))
    return np.asarray(np.mean(values, axis=places, dtype=np.float32))


def filter_count(model: keras.Model, layer: str) -> int:
    """How many filters `layer` has."""
    return networks.cut(model, layer).output.shape[-1]


def fits(model: keras.Model, layer: str, height: int, width: int | None = None) -> bool:
    """Whether images of that many pixels leave at least one value in the layer's maps."""
    network, width = networks.cut(model, layer), width or height
    own = network.inputs[0].shape[1:3]
    if any(side not in (None, given) for side, given in zip(own, (height, width), strict=True)):
        return False
    measured, joins = prepared(model, ("joins", layer), lambda: networks.joins(model, layer))
    try:
        shape, *parts = measured.compute_output_shape((1, height, width, channels(model)))
    except ValueError:  # Keras refuses shapes that would become negative
        return False
    joined = [[parts[place] for place in places] for places, _ in joins]
    return min(shape[1:]) >= 1 and all(
        len({tuple(np.delete(each, axis)) for each in some}) == 1
        for some, (_, axis) in zip(joined, joins, strict=True)
    )


def check_size(model: keras.Model, layer: str, height: int, width: int | None = None) -> None:
    """ValueError unless images of that many pixels leave at least one value in the layer's maps."""
    width = height if width is None else width
    for side in (height, width):
        whole("size", side, 1, MAX_SIZE)
    if fits(model, layer, height, width):
        return
    own = networks.unfold(model).parts[layer].image.shape[1:3]
    if None not in own:
        raise ValueError(
            f"{layer} of {model.name} takes images of {own[0]} × {own[1]} pixels only, not {height} × {width}"
        )
    size = min(height, width)
    for larger in range(size + 1, MAX_SIZE + 1):
        if fits(model, layer, larger):
            raise ValueError(
                f"size is {size}; {layer} of {model.name} needs images of at least {larger} pixels"
            )
    raise ValueError(f"{layer} of {model.name} takes no images of {height} × {width} pixels")


def usual_size(model: keras.Model, layer: str) -> int:
    """128 pixels, or the size that the layer is made for if it takes no images of 128."""
    own = networks.cut(model, layer).inputs[0].shape[1:3]
    made_for = networks.unfold(model).shape[0] if None in own else own[0]
    return made_for if made_for and not fits(model, layer, 128) else 128


def images_at_once(model: keras.Model, layer: str, size: int, precision: str) -> int:
    """How many images of `size` pixels are worked on together, 1 to 64, by the memory that they take.

    ValueError if one alone takes more memory than is free.
    """

    def count() -> int:
        parts = networks.beside(model, layer)
        names = list(parts)[: list(parts).index(layer) + 1]
        every = keras.Model(parts[layer].image, [parts[name].output for name in names])
        shapes = every.compute_output_shape((1, size, size, channels(model)))
        return sum(math.prod(shape) for shape in shapes)

    # Each value is kept for the way back, where it has a gradient and a product of both.
    values = prepared(model, ("values", layer, size), count)
    need = 3 * values * (2 if precision == "bfloat16" else 4)
    free = psutil.virtual_memory().available
    if need > free:
        raise ValueError(
            f"one image of {size} pixels needs {need / 1e9:.1f} GB up to {layer}; {free / 1e9:.1f} GB are free"
        )
    return max(1, min(64, WORKING_SET // need))


# ---------------------------------------------------------------- ascent


def gradient_step(network, images, filters, step_size):
    """One step uphill, for a batch of images, each with its own filter.

    `network` gives feature maps; `images` (n, height, width, 3) float; `filters` (n,) whole numbers;
    `step_size` in grey levels. Each image moves along the gradient of its filter's mean activation,
    scaled to a root mean square of 1, so that a step changes pixels by `step_size` grey levels on
    average however steep the hill is (Erhan et al. 2009; the scaling: Chollet 2016). A filter that
    is silent everywhere has no gradient, and its image stays.

    Returns the new images and the activations (n,) of the old ones.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        means = tf.reduce_mean(
            network(images, training=False), axis=(1, 2)
        )  # (n, filters of the layer)
        activation = tf.gather(means, filters, batch_dims=1)  # (n,)
    gradient = tape.gradient(activation, images)
    size = tf.sqrt(tf.reduce_mean(gradient**2, axis=(1, 2, 3), keepdims=True))
    return images + step_size * tf.math.divide_no_nan(gradient, size), activation


def plain_climb(network: keras.Model) -> Callable:
    """A graph that takes some gradient steps; not traced again for other filters, numbers or sizes."""

    def in_float32(images, training):
        images = tf.ensure_shape(images, network.inputs[0].shape)  # some layers ask for it
        return tf.cast(network(images, training=training), tf.float32)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, network.inputs[0].shape[-1]], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.int32),
        ],
        autograph=False,  # it would take as long as all the rest of the trace
    )
    def climb(images, filters, step_size, steps):
        def one_more(number, images, history):
            images, activation = gradient_step(in_float32, images, filters, step_size)
            return number + 1, images, history.write(number, activation)

        history = tf.TensorArray(tf.float32, size=steps, element_shape=[None])
        _, images, history = tf.while_loop(
            lambda number, images, history: number < steps,
            one_more,
            (tf.constant(0), images, history),
            parallel_iterations=1,
        )
        return images, history.stack()

    return climb


def as_maps(model: keras.Model, layer: str) -> keras.Model:
    """The model up to the layer's objective; the values of a classifier as maps of one place."""
    part = networks.objective(model, layer)
    output = part.output
    if len(output.shape) == 2:
        output = keras.layers.Reshape((1, 1, -1))(output)
    return keras.Model(part.image, output)


def ascend(
    model: keras.Model,
    layer: str,
    filters: Sequence[int],
    image: np.ndarray,
    *,
    steps: int,
    step_size: float,
    precision: str = "float32",
    seconds: float = 0.1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Climbs from `image` for each of `filters` at once, and looks up about every `seconds`.

    Yields (images so far (n, size, size, channels) float32, activations of the steps since the last yield (k, n)).
    """

    def build() -> tuple[keras.Model, keras.Model, Callable]:
        original = as_maps(model, layer)
        network = original if precision == "float32" else private_copy(original, precision)
        return original, network, plain_climb(network)

    original, network, climb = prepared(model, ("plain", layer, precision, False), build)
    copy_weights(original, network)
    images = tf.repeat(tf.cast(image, tf.float32)[None], len(filters), axis=0)
    done, chunk = 0, 1
    while done < steps:
        chunk = min(chunk, steps - done)
        start = time.perf_counter()
        images, history = climb(
            images,
            tf.constant(filters, tf.int32),
            tf.constant(step_size, tf.float32),
            tf.constant(chunk, tf.int32),
        )
        yield images.numpy(), history.numpy()
        done += chunk
        chunk = next_chunk(chunk, time.perf_counter() - start, seconds)


RECIPES = {"clear": (50, 0.08), "plain": (40, 4.0)}  # steps and step size, if they are not given


def visualize(
    model: keras.Model,
    layer: str,
    filters: Iterable[int],
    *,
    recipe: str = "clear",
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    step_size: float | None = None,
    precision: str | None = None,
    coarse: bool = True,
    rescue: bool = True,
    stop_after: int | None = None,
) -> list[FilterPicture]:
    """A picture of what each of `filters` responds to, by gradient ascent on the input image.

    All pictures are made together, each from the same start, that of `seed`; progress with the time left
    is shown when it takes longer than 2 seconds. Ctrl-C gives the pictures as far as they have come.

    `recipe`: "plain" moves the pixels of `random_image(size, seed)` along the gradient, in 40 `steps` of
    4 grey levels (`step_size`, root mean square), and deprocesses the result (Erhan et al. 2009). "clear"
    moves the waves that the image is a sum of, in 50 steps of Adam at the rate 0.08, and keeps the best
    image (Olah, Mordvintsev and Schubert 2017); a filter that stays silent is tried from other
    starts, which takes long, unless `rescue` is False.
    The values of a classifier are pictured as filters are, a class by its number: what is climbed is the
    value before the softmax or sigmoid, from looks that differ more, in twice as many steps; `activation`
    then is the probability. `size`, if not given: 128, or that which the layer is made for.
    `precision`: "float32" or "bfloat16"; if not given, "plain" takes float32 and "clear" what suits this
    machine (`engine.fast_precision`; the environment variable COURSE_PRECISION overrides it). `coarse`:
    "clear" does three quarters of the steps on a tile of half the side where the layer sees no more than
    a quarter of it.
    `stop_after`: ends the climb early, as Ctrl-C does, after that many of its `steps`.

    ValueError, before any work, for a wrong layer, filter or number, for weights that are not finite,
    and for images that do not fit into memory.
    """
    numbers = check_filters(model, layer, filters)
    order = order_of(
        model,
        layer,
        recipe=recipe,
        steps=steps,
        size=size,
        seed=seed,
        step_size=step_size,
        precision=precision,
        coarse=coarse,
        rescue=rescue,
        stop_after=stop_after,
    )
    steps = order["steps"]
    pictures: list[FilterPicture] = []
    with tqdm(total=len(numbers) * steps, desc=layer, unit="step", delay=2, leave=False) as bar:
        try:
            draw(model, numbers, order, bar, pictures)
        except KeyboardInterrupt:
            if not pictures:
                raise
            done = len(pictures[-1].history)
            print(
                f"Stopped: {len(pictures)} of {len(numbers)} pictures, the last after {done} of {steps} steps."
            )
    return pictures


def draw(
    model: keras.Model,
    filters: list[int],
    order: dict,
    bar: tqdm,
    pictures: list[FilterPicture],
) -> None:
    """Appends the picture of each filter to `pictures`, by the recipe `order`.

    KeyboardInterrupt is passed on with the pictures as far as they have come.
    """
    layer = order["layer"]
    batch = images_at_once(model, layer, order["size"], order["precision"])
    for first in range(0, len(filters), batch):
        made, complete = climb(model, filters[first : first + batch], order, bar)
        pictures += made
        if not complete:
            raise KeyboardInterrupt
    if order["recipe"] == "clear" and order["rescue"] and order["stop_after"] is None:
        rescue_dead(model, pictures, order, batch, bar)


def order_of(
    model: keras.Model,
    layer: str,
    *,
    recipe: str = "clear",
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    step_size: float | None = None,
    precision: str | None = None,
    coarse: bool = True,
    rescue: bool = True,
    stop_after: int | None = None,
) -> dict:
    """The recipe of a picture, all but the filter: what `visualize` was told, checked, and what it chose."""
    check_choice("recipe", recipe, RECIPES)
    if (
        steps is None
    ):  # a class, which may stand anywhere in the image, takes longer to find its place
        steps = RECIPES[recipe][0] * (1 if networks.gives_maps(model, layer) else 2)
    whole("steps", steps, 1, 10_000)
    size = usual_size(model, layer) if size is None else whole("size", size, 16, MAX_SIZE)
    check_size(model, layer, size)
    whole("seed", seed, 0, 2**32 - 1)
    step_size = RECIPES[recipe][1] if step_size is None else step_size
    check_number("step_size", step_size, 1e-4, 255)
    if precision is None:
        precision = "float32" if recipe == "plain" else fast_precision()
    check_choice("precision", precision, PRECISIONS)
    for what, value in (("coarse", coarse), ("rescue", rescue)):
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{what} must be True or False, not {value!r}")
    if stop_after is not None:
        stop_after = int(whole("stop_after", stop_after, 1, steps))
    return {
        "network": model.name,
        "weights": fingerprint(model, layer),
        "layer": layer,
        "recipe": recipe,
        "steps": int(steps),
        "size": int(size),
        "channels": channels(model),
        "seed": int(seed),
        "step_size": float(step_size),
        "precision": precision,
        "coarse": bool(coarse),
        "rescue": bool(rescue),
        "stop_after": stop_after,
    }


def climber_of(model: keras.Model, layer: str, precision: str, leak: bool) -> engine.Climber:
    """The layer made ready for the recipe "clear", built once."""
    build = functools.partial(engine.Climber, model, layer, precision, leak)
    return prepared(model, ("clear", layer, precision, leak), build)


def start_image(order: dict) -> np.ndarray:
    """The picture of the noise that a climb of this recipe begins with, (size, size, channels) uint8."""
    size, seed, depth = order["size"], order["seed"], order["channels"]
    if order["recipe"] == "plain":
        return deprocess(random_image(size, seed, channels=depth))
    return engine.pictures(engine.random_spectrum(size, seed, depth)[None])[0]


def frames(
    model: keras.Model,
    filters: list[int],
    order: dict,
    *,
    seconds: float,
    leak: bool = False,
    start: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Climbs by a recipe, and looks up about every `seconds`.

    Yields (pictures so far (n, size, size, channels) uint8, activations of the steps since the last (k, n)).
    `leak` lets the gradient through silent ReLUs in the first half of the steps; `start` are other
    start spectra (n, channels, size, size // 2 + 1, 2) than that of the seed. Both are for "clear".
    """
    layer, steps, size, seed = (order[key] for key in ("layer", "steps", "size", "seed"))
    depth = channels(model)
    stop = order["stop_after"] or steps
    if order["recipe"] == "plain":
        for images, values in ascend(
            model,
            layer,
            filters,
            random_image(size, seed, channels=depth),
            steps=stop,
            step_size=order["step_size"],
            precision=order["precision"],
            seconds=seconds,
        ):
            yield np.stack([deprocess(image) for image in images]), values
        return
    climber = functools.partial(climber_of, model, layer, order["precision"])
    half, thing = size // 2, not networks.gives_maps(model, layer)
    # What sees more than a quarter of the image's side would show the tile four times.
    texture = not thing and receptive_field(model, layer) <= size // 4
    slope = engine.THING if thing else engine.TEXTURE if texture else engine.SHAPE
    coarse = order["coarse"] and texture and size == 2 * half >= 2 * engine.SMALLEST_TILE
    first = steps // 2 if leak else 0
    yield from engine.ascend(
        [*([(climber(True), first)] if leak else []), (climber(False), steps - first)],
        filters,
        np.repeat(engine.random_spectrum(size, seed, depth)[None], len(filters), axis=0)
        if start is None
        else start,
        rate=order["step_size"],
        seed=seed,
        coarse=coarse and start is None and not leak and fits(model, layer, half),
        thing=thing,
        slope=slope,
        stop=stop,
        seconds=seconds,
    )


def climb(
    model: keras.Model,
    filters: list[int],
    order: dict,
    bar: tqdm,
    *,
    leak: bool = False,
    start: np.ndarray | None = None,
) -> tuple[list[FilterPicture], bool]:
    """The pictures of one batch, and whether they were finished: Ctrl-C ends them early.

    `leak` and `start` as for `frames`.
    """
    history: list[np.ndarray] = []
    complete = True
    try:
        for images, values in frames(  # noqa: B007, the last images are finished below
            model, filters, order, seconds=0.5, leak=leak, start=start
        ):
            history.append(values)
            bar.update(values.size)
    except KeyboardInterrupt:
        if not history:
            raise
        complete = False
    return finish(model, filters, images, np.concatenate(history), order), complete


SAMPLE_SIZE = 128  # pixels; larger images would say the same and take minutes


@functools.lru_cache(maxsize=1)
def sample(channels: int = 3) -> np.ndarray:
    """Images to judge silent filters by, (551, 128, 128, channels) uint8: 512 patterns, 39 cuts of the photo.

    RGB; grey for one channel; for any other number red, green and blue in turn.
    """
    drawn, _ = patterns.images(512, seed=0, size=SAMPLE_SIZE)
    whole_photo, cuts = photo(224), []
    for side in (224, 160, 112, 80, 56):
        for top in range(0, 225 - side, 56):
            for left in range(0, 225 - side, 56):
                cut = whole_photo[top : top + side, left : left + side]
                cuts.append(cv2.resize(cut, (SAMPLE_SIZE, SAMPLE_SIZE), None, 0, 0, cv2.INTER_AREA))
    return in_channels(np.concatenate([drawn, cuts]), channels)


def sized(images: np.ndarray, size: int) -> np.ndarray:
    """Images (n, h, h, channels) as they are, but of `size` pixels: laid side by side or cut off."""
    times = math.ceil(size / images.shape[1])
    return np.tile(images, (1, times, times, 1))[:, :size, :size]


def rescue_dead(
    model: keras.Model, pictures: list[FilterPicture], order: dict, batch: int, bar: tqdm
) -> None:
    """Tries dead pictures again, in place: another start, a leaky way back, a real image to start from.

    What then excites its filter less than the best of a sample of real images is shown by that image.
    A filter stays dead only if none of these does; its reason says what was tried.
    """
    size, layer, steps = order["size"], order["layer"], order["steps"]

    def again(rows: list[int], how: str, starts: Callable[[list[int]], np.ndarray], leak: bool):
        bar.total += len(rows) * steps
        for first in range(0, len(rows), batch):
            some = rows[first : first + batch]
            numbers = [pictures[row].filter for row in some]
            made, complete = climb(model, numbers, order, bar, leak=leak, start=starts(numbers))
            for row, picture in zip(some, made, strict=True):
                put(row, picture, f"after {how}")
            if not complete:
                raise KeyboardInterrupt

    def put(row: int, picture: FilterPicture, how: str) -> None:
        """Takes a picture that lives in place of one that does not, or less."""
        old = pictures[row]
        if picture.status == "alive" and (
            old.status == "dead" or picture.activation > old.activation
        ):
            reason = f"{picture.reason}, {how}"
            pictures[row] = dataclasses.replace(picture, status="rescued", reason=reason)

    def dead() -> list[int]:
        return [row for row, picture in enumerate(pictures) if picture.status == "dead"]

    def other(numbers: list[int]) -> np.ndarray:
        # Ten times as much noise as usual, so that it is another place and not another corner.
        spectrum = 10 * engine.random_spectrum(size, order["seed"] + 1, channels(model))
        return np.repeat(spectrum[None], len(numbers), axis=0)

    troubled = dead()
    if not troubled:
        return
    again(dead(), "a start with more noise", other, leak=False)
    again(dead(), "a start with the gradient leaking through silent ReLUs", other, leak=True)
    side = SAMPLE_SIZE if size > SAMPLE_SIZE and fits(model, layer, SAMPLE_SIZE) else size
    real_images = sample(channels(model))
    answers = activations(model, layer, sized(real_images, side))
    best = answers.argmax(axis=0)

    def best_images(numbers: list[int]) -> np.ndarray:
        return sized(real_images[best[numbers]], size)

    weak = [r for r in troubled if pictures[r].activation <= answers[:, pictures[r].filter].max()]
    again(
        weak,
        "a start from a real image",
        lambda numbers: engine.spectra(best_images(numbers)),
        leak=False,
    )
    for row in weak:
        old, number = pictures[row], pictures[row].filter
        # However little the answer to a real image is, the filter is not dead.
        climbed, real = (
            finish(model, [number], image, old.history[:, None], order, floor=0)[0]
            for image in (old.image[None], best_images([number]))
        )
        if real.activation >= climbed.activation:
            put(row, real, "which is a real image; no climb does better")
        elif old.status == "dead":
            put(row, climbed, "which is little, but no real image of a sample does more")
    for row in dead():
        reason = f"no help from other starts, a leaky gradient and {len(answers)} real images"
        pictures[row] = dataclasses.replace(
            pictures[row], reason=f"{pictures[row].reason}; {reason}"
        )


def check_choice(what: str, value: str, allowed: Iterable[str]) -> None:
    """ValueError unless `value` is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")


def check_filters(model: keras.Model, layer: str, filters: Iterable[int]) -> list[int]:
    """The filter numbers as a list; ValueError if one is wrong, repeated, or if there is none.

    ValueError too for a layer that gives neither feature maps nor the values of classes.
    """
    output = networks.cut(model, layer).output
    if len(output.shape) not in (2, 4) or output.shape[-1] is None:
        raise ValueError(
            f"layer {layer!r} gives {output.shape}, neither maps nor classes; the convolution layers of "
            f"{model.name} are: " + ", ".join(conv_layers(model))
        )
    count = filter_count(model, layer)
    if isinstance(filters, (str, bytes)) or not isinstance(filters, Iterable):
        raise ValueError(
            f"filters is {filters!r}; it must be a list of filter numbers, such as [3]"
        )
    numbers = list(itertools.islice(filters, count + 1))  # more cannot all be different
    if not numbers:
        raise ValueError(f"filters is empty; give some of 0 to {count - 1}")
    for number in numbers:
        whole(f"filter of {layer}", number, 0, count - 1)
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"filters names a filter twice: {numbers}")
    return [int(number) for number in numbers]


# ---------------------------------------------------------------- picture


def finish(
    model: keras.Model,
    filters: Sequence[int],
    images: np.ndarray,
    history: np.ndarray,
    order: dict,
    floor: float = 0.01,
) -> list[FilterPicture]:
    """Images (n, size, size, channels) uint8, one for each of `filters`, measured anew and judged.

    `history` is (steps, n). `order` is the recipe, all but the filter. A picture that excites its filter
    no more than the noise that the climb began with, made a picture in the same way, is called dead; so is
    one that does so by less than `floor` times what noise does to the average filter of the layer. Of a
    class that is dead which the network does not put first.
    """
    layer = order["layer"]
    noise = prepared(
        model,
        ("noise", *(order[key] for key in ("weights", "layer", "recipe", "size", "seed"))),
        lambda: activations(model, layer, start_image(order)[None])[0],
    )
    usual = float(np.abs(noise).mean())
    answers = activations(model, layer, images)
    rivals = networks.has_softmax(model, layer)
    result = []
    for row, number in enumerate(filters):
        activation, silence = float(answers[row, number]), float(noise[number])
        past = history[:, row]
        status = "dead"
        if not np.isfinite(activation):
            reason = "its answer is not a finite number: the weights are too large"
        elif activation == 0 and not past.any():
            reason = "silent on the start image, so there is no gradient to climb"
        elif activation == 0:
            reason = f"silent on the 8-bit picture, though it reached {two_digits(past.max())} on the way"
        elif not rivals and activation - silence <= max(0.01 * abs(silence), floor * usual):
            reason = f"activation {two_digits(activation)}, hardly more than on noise"
        elif rivals and answers[row].argmax() != number:
            reason = (
                f"class {answers[row].argmax()} stays ahead, with {two_digits(answers[row].max())}"
            )
        else:
            status = "alive"
            reason = f"activation {two_digits(activation)}, on noise {two_digits(silence)}"
        stopped = len(past) if len(past) < order["steps"] else None
        made = order | {"filter": number, "stop_after": stopped}
        result.append(
            FilterPicture(
                images[row], order["layer"], number, activation, past, status, reason, made
            )
        )
    return result


def fingerprint(model: keras.Model, layer: str) -> str:
    """Twelve characters that change when any weight up to `layer` does.

    ValueError for a weight that is not finite: no gradient leads past it.
    """
    digest = hashlib.sha256()
    for weight in networks.cut(model, layer).weights:
        values = np.ascontiguousarray(weight.numpy())
        if not np.isfinite(values).all():
            raise ValueError(f"{model.name} has weights that are not finite, in {weight.path}")
        digest.update(values.tobytes())
    return digest.hexdigest()[:12]


def rerun(path: str | os.PathLike, model: keras.Model | None = None) -> FilterPicture:
    """Makes the picture of a saved PNG again, from the recipe that the file carries, and compares.

    A printed line says whether it is the same; on other machines it may not be, to the last bit.
    The network is loaded by its name unless `model` is given. ValueError if the file is not such a
    picture, was changed since, or the network's weights are not those that made it.
    """
    depth = 3 if model is None else channels(model)
    side = MAX_SIZE * visible(np.zeros((1, 1, depth), np.uint8)).shape[1]
    recipe, _, old = saved(path, side)
    names = "recipe steps size seed step_size precision coarse rescue stop_after".split()
    try:
        order = {name: recipe[name] for name in names}
        network, layer, number = str(recipe["network"]), str(recipe["layer"]), recipe["filter"]
    except KeyError:
        raise ValueError(
            f"{str(path)!r} is not a PNG with a recipe that FilterPicture.save has written"
        ) from None
    if model is None:
        # A picture from elsewhere may name a network, but not a file of this machine to be loaded.
        if network not in (*patterns.NETWORKS, *APPLICATIONS):
            raise ValueError(
                f"{str(path)!r} was made with {network[:80]!r}; give that model to rerun"
            )
        model = load_model(network)
    if fingerprint(model, layer) != recipe.get("weights"):
        raise ValueError(
            f"{str(path)!r} was made with other weights of {network[:80]} than those loaded now"
        )
    size = whole("size", order["size"], 16, MAX_SIZE)
    if old.shape != visible(np.zeros((size, size, channels(model)), np.uint8)).shape:
        raise ValueError(f"{str(path)!r} is {old.shape}, its recipe makes {size} pixels")
    picture = visualize(model, layer, [number], **order)[0]
    off = float(np.abs(old.astype(np.float32) - visible(picture.image)).mean())
    print(
        "The same picture, every pixel of it."
        if off == 0
        else f"Not the same: {two_digits(off)} grey levels from the file on average."
    )
    return picture


# ---------------------------------------------------------------- scores


def scores(
    model: keras.Model,
    pictures: Sequence[FilterPicture],
    *,
    real: Reality | None = None,
    judge: keras.Model | None = None,
) -> list[Scores]:
    """How far pictures of one layer can be trusted: numbers, each defined in `scores.Scores`.

    `real` are real images to compare with, as `scores.reality` gives them; `judge` an independently
    trained network. For networks that know the course's patterns both are there if not given. ValueError
    for anything but pictures of one layer.
    """
    from scores import scores as measure  # it imports this module

    return measure(model, pictures, real=real, judge=judge)


def quiz(
    model: keras.Model, layer: str, filters: Iterable[int] | None = None, *, seed: int = 0
) -> Quiz:
    """A widget that asks which of two real images excites a filter more, with and without a picture.

    After Borowski et al. (2021). Without `filters`, about the first eight. ValueError for what
    `visualize` refuses, and where the filters answer to too few real images to ask about.
    """
    from quiz import Quiz  # it imports this module

    whole("seed", seed, 0, 2**32 - 1)
    filters = range(min(8, filter_count(model, layer))) if filters is None else filters
    return Quiz(model, layer, filters=check_filters(model, layer, filters), seed=seed)


# ---------------------------------------------------------------- atlas


def atlas(
    model: keras.Model,
    folder: str | os.PathLike,
    layers: Iterable[str] | None = None,
    *,
    recipe: str = "clear",
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    step_size: float | None = None,
    precision: str | None = None,
    coarse: bool = True,
    rescue: bool = True,
    client: Client | None = None,
) -> Atlas:
    """Draws every filter of `layers`, or of all convolution layers, into a folder, and gives the `Atlas`.

    Each picture is a PNG with its recipe, facts and `scores` inside; manifest.jsonl lists them. What is
    in the folder already, whole and by the same recipe, is not drawn again: a run that was stopped,
    with Ctrl-C or by force, goes on where it was. Progress is shown with the time left. The other
    parameters are those of `visualize`; without `precision`, an atlas goes on with that which it began
    with.

    `client`, a `dask.distributed.Client`, has the work done by its workers, and they need nothing but
    the packages of requirements.txt: the course and the model are sent to them, the pictures come back
    and are written here. In float32 and on equal processors they are the same bytes.

    ValueError, before any work, for what `visualize` refuses, for a folder with pictures of another
    recipe, and for a client that is none. OSError if the folder cannot be written; what is there stays.
    """
    from atlas import draw as draw_atlas  # it imports this module

    options = {
        "recipe": recipe,
        "steps": steps,
        "size": size,
        "seed": seed,
        "step_size": step_size,
        "precision": precision,
        "coarse": coarse,
        "rescue": rescue,
    }
    return draw_atlas(model, folder, layers, client, options)


def gallery(folder: str | os.PathLike) -> Path:
    """Writes a web page of all pictures of an atlas into its folder, and gives the path of index.html.

    It needs no server. ValueError if the folder is not that of an atlas.
    """
    from gallery import write  # it imports this module

    return write(folder)


# ---------------------------------------------------------------- explorer


def explorer(
    model: keras.Model, *, recipe: str = "clear", size: int | None = None, seed: int = 0
) -> Explorer:
    """Sliders for layer, filter and iterations beside a picture that grows: a widget for a notebook.

    `recipe`, `size` and `seed` are what it begins with; they are controls too. Where widgets cannot be
    shown, a still picture stands in its place. ValueError for what `visualize` refuses.
    """
    from explorer import Explorer  # it imports this module

    return Explorer(model, recipe=recipe, size=size, seed=seed)


# ---------------------------------------------------------------- doctor


def diagnose(
    model: keras.Model, layer: str, filter: int, *, size: int | None = None, seed: int = 0
) -> Diagnosis:
    """What is the matter with a filter: "alive", "hard" or "dead", with the evidence in words and pictures.

    Makes the plain picture, follows the gradient back, tries each remedy of the default recipe by
    itself, and asks `sample()`. ValueError for what `visualize` refuses.
    """
    from doctor import diagnose as examine  # it imports this module

    return examine(model, layer, filter, size=size, seed=seed)
