"""The engine behind `helpers.visualize`: gradient ascent on many images in one compiled call.

The recipe is Olah, Mordvintsev and Schubert 2017, Feature Visualization: an image is a sum of waves
with decorrelated colours, and the network looks at it a little shifted, turned and scaled at every
step. What is added here, and measured in tests/benchmark.py: a layer is cut free of its network and
computed for the wanted filters only, in bfloat16 where the machine has it; the gradient
leaks through the ReLU of the layer; contrast is bounded; slow waves are stronger than in nature; the
steps become smaller in the end; textures are begun on one small tile.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import networks

PRECISIONS = ("float32", "bfloat16")
CPUINFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    """What Linux says that the processor can do; nothing on other systems."""
    try:
        found = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


@functools.cache
def fast_precision() -> str:
    """The precision that suits this machine, by what its processor or graphics card has.

    bfloat16 is fast on processors with AMX or AVX-512 BF16, and on NVIDIA's cards from compute capability
    8.0. No stop-watch decides, so that a seed gives the same picture in each process. The environment
    variable COURSE_PRECISION overrides it; ValueError if that names none.
    """
    given = os.environ.get("COURSE_PRECISION")
    if given:
        if given not in PRECISIONS:
            raise ValueError(
                f"COURSE_PRECISION must be one of {', '.join(PRECISIONS)}, not {given!r}"
            )
        return given
    cards = tf.config.list_physical_devices("GPU")
    if cards:
        details = tf.config.experimental.get_device_details(cards[0])
        return "bfloat16" if details.get("compute_capability", (0, 0)) >= (8, 0) else "float32"
    fast = {"amx_bf16", "avx512_bf16"} & processor_flags()
    # The convolutions that use it are those of oneDNN.
    return "bfloat16" if fast and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0" else "float32"


# ---------------------------------------------------------------- network


def leaky(activation: Callable, slope: float = 0.1) -> Callable:
    """The activation function, unchanged forward, whose derivative is nowhere below `slope`.

    Where a ReLU is silent the gradient still gets through, so that an image can leave a place from
    which no gradient leads away.
    """

    @tf.custom_gradient
    def forward(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = activation(x)
        derivative = tape.gradient(y, x)
        return y, lambda dy: dy * tf.maximum(derivative, tf.cast(slope, dy.dtype))

    return forward


def private_copy(network: keras.Model, precision: str, *, leak: bool = False) -> keras.Model:
    """The network again with weights of its own, all zero, computing in `precision`."""

    def again(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.InputLayer) or not isinstance(layer, keras.Layer):
            return layer  # operations, such as those of the preprocessing, have no weights
        if not type(layer).__module__.startswith("keras.") or hasattr(layer, "finalize_state"):
            # Not all that a layer of somebody's own, or a Normalization, computes with is in its config and
            # weights.
            return layer
        config = layer.get_config()
        if precision != "float32":
            # Kernels are kept in the precision they are used in, so that no step converts them.
            kernels = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
            config["dtype"] = precision if isinstance(layer, kernels) else f"mixed_{precision}"
        for key in config:
            if key.endswith("_initializer"):  # random weights would be drawn only to be replaced
                config[key] = "zeros"
        if leak and isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation(
                leaky(layer.call), name=layer.name, dtype=config["dtype"]
            )
        own = getattr(layer, "activation", None) if "activation" in config else None
        if own is not None:
            config["activation"] = None  # not every function can be written down
        try:
            copy = type(layer).from_config(config)
            if own is not None:
                copy.activation = leaky(own) if leak else own
        except Exception:  # what cannot be made again works as it is
            return layer
        return copy

    return keras.models.clone_model(network, clone_function=again)


def copy_weights(original: keras.Model, network: keras.Model) -> None:
    """Gives a private copy of `original` the weights that it has now."""
    if network is not original:
        for mine, theirs in zip(network.weights, original.weights, strict=True):
            mine.assign(tf.cast(theirs, mine.dtype))


class Truncated:
    """A layer of a model, for some of its filters only.

    `leak` lets the gradient through the ReLUs of the layers before; it always gets through that of
    the layer itself.
    """

    def __init__(self, model: keras.Model, layer: str, precision: str, leak: bool):
        part = networks.objective(model, layer)
        self.layer, self.precision, self.maps = part.layer, precision, len(part.output.shape) == 4
        self.rivals = networks.has_softmax(model, layer)
        # Of these two kinds of layers only the wanted filters are computed.
        some = (keras.layers.Conv2D, keras.layers.Dense)
        self.some = type(part.layer) in some and not self.rivals
        end, activation = part.output, keras.activations.linear
        if self.some:
            end, activation = part.inputs[0], part.layer.activation
        elif isinstance(part.layer, networks.ACTIVATIONS) and not part.layer.weights:
            end, activation = part.inputs[0], part.layer.call
        self.activation = leaky(activation)
        if end is part.image:  # a model that ends where it begins cannot be copied
            end = keras.layers.Identity()(end)
        self.original = keras.Model(part.image, end)
        shared = precision == "float32" and not leak
        self.network = (
            self.original if shared else private_copy(self.original, precision, leak=leak)
        )

    def __call__(self, images, filters):
        """The mean over the map of each image's own filter: (n,) float32.

        `images` (n, height, width, channels), 0 to 255; `filters` (n,).
        """
        images = tf.ensure_shape(images, self.original.inputs[0].shape)  # some layers ask for it
        values, own = self.network(images, training=False), filters
        if self.some:
            values, own = self.weighted(tf.cast(values, self.precision), filters)
        values = tf.cast(values, tf.float32)  # (n, h, w, k) or (n, k); each image wants its own
        mine = tf.one_hot(own, tf.shape(values)[-1])
        mine = mine[:, None, None] if self.maps else mine
        everybody, values = values, tf.reduce_sum(values * mine, axis=-1)  # (n, h, w) or (n,)
        if self.rivals:
            # Where another class is ahead, it is pushed back, too: a value may grow and others grow more.
            values += values - tf.reduce_logsumexp(everybody, axis=-1)
        if self.some and self.layer.use_bias:
            bias = tf.gather(tf.cast(self.layer.bias, tf.float32), filters)
            values += bias[:, None, None] if self.maps else bias
        values = self.activation(values)
        return tf.reduce_mean(values, axis=(1, 2)) if self.maps else values

    def weighted(self, before, filters):
        """What the wanted filters make of the layer's input, and which place in it is whose."""
        layer, own = self.layer, filters
        kernel = tf.cast(layer.kernel, self.precision)
        if getattr(layer, "groups", 1) == 1:
            kernel, own = tf.gather(kernel, filters, axis=-1), tf.range(tf.size(filters))
        if isinstance(layer, keras.layers.Dense):
            return tf.tensordot(before, kernel, 1), own
        maps = keras.ops.conv(
            before,
            kernel,
            strides=list(layer.strides),
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
        )
        return maps, own


# ---------------------------------------------------------------- image

# Colours as natural images have them: columns are brightness, blue to yellow, green to purple, each as
# strong as it varies there. The numbers are those of Lucid (Olah, Mordvintsev and Schubert 2017).
COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32)
COLOURS /= np.linalg.norm(COLOURS, axis=0).max()
LEVEL = float(np.linalg.norm(COLOURS[:, 0]) / 3**0.5)  # of brightness, in each of the three colours

NOISE = 0.05  # standard deviation of the start spectrum
CONTRAST = 1.5  # highest standard deviation of an image before the sigmoid
EPSILON = (
    0.1  # waves whose gradient is a tenth of the usual move half as far; with 0 they make stars
)
SHIFT, TURN, SCALE = 4.0, 5.0, 0.05  # pixels, degrees, share: the most that a look is moved
# A class is a thing that may stand anywhere, in any size: its looks differ more.
THING_SHIFT, THING_TURN, THING_SCALE = 1 / 8, 15.0, 0.3  # share of the side, degrees, share


class Slope(NamedTuple):
    """How strong waves are: as 1 / frequency ** power, those of ten pixels as in nature.

    In nature the power is about 1 (Field 1987), and so it is in Lucid. A higher one leaves less of the fine
    waves that excite a filter without showing what it is for. Slow waves are at most `most` times as strong
    as in nature, for they become clouds of colour where a filter does not mind them.
    """

    power: float
    most: float


# The more of the image a layer sees, the steeper it may be: a texture, a shape, a class.
TEXTURE, SHAPE, THING = Slope(1.25, 1.5), Slope(1.5, 1.5), Slope(1.7, 6.0)
SETTLE = 0.5  # the last share of the steps, in which they become smaller and smaller


def colours(channels: int) -> np.ndarray:
    """(channels, channels) float32: `COLOURS` for RGB; other channels are not taken for mixtures."""
    return COLOURS if channels == 3 else LEVEL * np.eye(channels, dtype=np.float32)


def random_spectrum(size: int, seed: int, channels: int = 3) -> np.ndarray:
    """A start: (channels, size, size // 2 + 1, 2) float32, faint noise in every wave of every colour."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, NOISE, (channels, size, size // 2 + 1, 2)).astype(np.float32)


def wave_sizes(size: int) -> np.ndarray:
    """How strong each wave of a spectrum is, (size, size // 2 + 1, 1): as 1 / frequency, as in nature."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    return (size / np.maximum(frequency, 1 / size)).astype(np.float32)[..., None]


def steeper(size: int, slope: Slope) -> np.ndarray:
    """How many times as strong as in nature each wave is, (size, size // 2 + 1, 1)."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    boost = (0.1 / np.maximum(frequency, 1 / size)) ** (slope.power - 1)
    return np.minimum(boost, slope.most).astype(np.float32)[..., None]


def wave_counts(size: int) -> np.ndarray:
    """How often each wave stands in the whole Fourier transform, (size, size // 2 + 1, 1): once or twice."""
    column = np.arange(size // 2 + 1)
    counts = np.where((column == 0) | (2 * column == size), 1, 2)
    return np.tile(counts[None, :, None], (size, 1, 1)).astype(np.float32)


def contours(spectrum, waves):
    """Images before the sigmoid, (n, size, size, channels), of spectra (n, channels, size, size // 2 + 1, 2)."""
    size = tf.shape(spectrum)[2]
    amplitudes = tf.bitcast(spectrum * waves, tf.complex64)  # the last axis is real and imaginary
    planes = tf.raw_ops.IRFFT2D(input=amplitudes, fft_length=[size, size])
    return tf.einsum("nchw,dc->nhwd", planes, colours(spectrum.shape[1]))


def contours_back(gradient, weights):
    """The gradient for spectra from that for `contours` (n, size, size, channels), but for a constant factor.

    `weights` are the product of `wave_sizes` and `wave_counts`. Written out, because TensorFlow's own
    gradient of a Fourier transform takes as long to trace as half a network.
    """
    planes = tf.einsum("nhwd,dc->nchw", gradient, colours(gradient.shape[-1]))
    size = tf.shape(planes)[2]
    amplitudes = tf.raw_ops.RFFT2D(input=planes, fft_length=[size, size])
    return tf.bitcast(amplitudes, tf.float32) * weights


def pictures(spectrum: np.ndarray) -> np.ndarray:
    """The images (n, size, size, channels) uint8 of spectra (n, channels, size, size // 2 + 1, 2)."""
    height = contours(tf.constant(spectrum), wave_sizes(spectrum.shape[2]))
    return np.round(255 * tf.sigmoid(height)).astype(np.uint8)


def spectra(images: np.ndarray) -> np.ndarray:
    """The spectra whose images are `images` (n, size, size, channels) uint8, nearly."""
    share = np.clip(images / 255.0, 0.02, 0.98)
    planes = np.einsum(
        "nhwd,cd->nchw", np.log(share / (1 - share)), np.linalg.inv(colours(images.shape[-1]))
    )
    amplitudes = np.fft.rfft2(planes) / wave_sizes(images.shape[1])[..., 0]
    return np.stack([amplitudes.real, amplitudes.imag], -1).astype(np.float32)


def tiled(spectrum: np.ndarray, seed: int) -> np.ndarray:
    """The spectra of images twice as large: the small one four times, and new faint noise.

    Each quarter of the large image is another piece of the tile, which is rolled for it, and fades into
    its neighbours without losing contrast, so that the eye finds no repetition and no seam.
    """
    half = spectrum.shape[2]
    amplitudes = spectrum[..., 0] + 1j * spectrum[..., 1]
    tile = np.fft.irfft2(amplitudes * wave_sizes(half)[..., 0], s=(half, half))
    even = tile.mean(axis=(2, 3), keepdims=True)
    # 1 in one half of the side, 0 in the other, over an eighth of the side from one to the other.
    angle = np.pi * (np.arange(2 * half) + 0.5) / half
    fade = np.clip(0.5 + 1.25 * np.sin(angle), 0, 1)
    fades = np.stack([fade, 1 - fade]) / np.hypot(fade, 1 - fade)  # their squares add up to 1
    planes = even + np.zeros((1, 1, 2 * half, 2 * half))
    for quarter in range(4):
        rows, columns = fades[quarter // 2], fades[quarter % 2]
        roll = [int(quarter * share * half) for share in ROLLS]
        rolled = np.roll(tile - even, roll, axis=(2, 3))
        planes += rows[:, None] * columns * np.tile(rolled, (1, 1, 2, 2))
    amplitudes = np.fft.rfft2(planes) / wave_sizes(2 * half)[..., 0]
    large = np.stack([amplitudes.real, amplitudes.imag], -1).astype(np.float32)
    return large + random_spectrum(2 * half, seed, tile.shape[1])


class Looks(NamedTuple):
    """How the image is moved before each step is looked at, and how to move a gradient back."""

    rolls: np.ndarray  # (steps, 2) int32: by whole pixels, what leaves comes in again
    transforms: np.ndarray  # (steps, 1, 8) float32: then shifted, turned and scaled
    inverses: np.ndarray  # (steps, 1, 8) float32


def looks(steps: int, size: int, seed: int, roll: float, thing: bool = False) -> Looks:
    """Looks for so many steps: all by chance, the first steps the same however many follow.

    A look is turned, scaled and shifted by at most TURN, SCALE and SHIFT (those of a THING if it is one),
    after it is rolled by up to `roll` pixels: a sum of waves goes on where it began.
    """
    shift, turn, most = SHIFT, TURN, SCALE
    if thing:
        shift, turn, most = THING_SHIFT * size, THING_TURN, THING_SCALE
    chance = np.random.default_rng(seed).uniform(-1, 1, (steps, 6))
    angle, scale = np.deg2rad(chance[:, 0] * turn), 1 + chance[:, 1] * most
    a, b, centre = scale * np.cos(angle), scale * np.sin(angle), (size - 1) / 2
    right = centre - a * centre + b * centre + chance[:, 2] * shift
    down = centre - b * centre - a * centre + chance[:, 3] * shift
    zero, one = np.zeros(steps), np.ones(steps)
    matrices = np.stack([a, -b, right, b, a, down, zero, zero, one], 1).reshape(-1, 3, 3)
    both = (matrices, np.linalg.inv(matrices))  # similarities: the last row stays 0, 0, 1
    flat = (each.reshape(-1, 1, 9)[..., :8].astype(np.float32) for each in both)
    return Looks((chance[:, 4:] * roll).astype(np.int32), *flat)


def transformed(images, transform):
    """The images (n, size, size, channels), all shifted, turned and scaled by one transform (1, 8)."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transform,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="WRAP",  # though it does not interpolate across the border
    )


# ---------------------------------------------------------------- ascent


class State(NamedTuple):
    """What a climb carries from step to step."""

    spectrum: tf.Tensor  # (n, channels, size, size // 2 + 1, 2)
    mean: tf.Tensor  # Adam's running mean of the gradient, like spectrum
    square: tf.Tensor  # and of its square
    best: tf.Tensor  # (n,) highest activation so far
    best_spectrum: tf.Tensor  # where that was
    contrast: tf.Tensor  # (n,) the most that the image may have
    step: tf.Tensor  # () float32: how many were done


class Climber:
    """A layer made ready to be climbed: any filters, number and size of images, one graph."""

    def __init__(self, model: keras.Model, layer: str, precision: str, leak: bool = False):
        self.network = Truncated(model, layer, precision, leak)
        spectrum = tf.TensorSpec([None, networks.channels(model), None, None, 2], tf.float32)
        numbers = tf.TensorSpec([None], tf.float32)
        number, transform = tf.TensorSpec([], tf.float32), tf.TensorSpec([None, 1, 8], tf.float32)
        wave = tf.TensorSpec([None, None, 1], tf.float32)
        self.climb = tf.function(
            self._climb,
            autograph=False,
            input_signature=[
                State(spectrum, spectrum, spectrum, numbers, spectrum, numbers, number),
                wave,
                wave,
                Looks(tf.TensorSpec([None, 2], tf.int32), transform, transform),
                tf.TensorSpec([None], tf.int32),
                numbers,
            ],
        )

    def _climb(self, state, waves, weights, moves, filters, rates):
        """A step for each of `moves` and `rates`: the new state, and the activations (steps, n)."""
        # A loop written out and not converted: AutoGraph would take as long as all the rest of the trace.
        steps = tf.shape(moves.rolls)[0]
        history = tf.TensorArray(tf.float32, size=steps, element_shape=[None])

        def one_more(number, state, history):
            look = Looks(*(each[number] for each in moves))
            state, activation = self.step(state, waves, weights, look, filters, rates[number])
            return number + 1, state, history.write(number, activation)

        _, state, history = tf.while_loop(
            lambda number, state, history: number < steps,
            one_more,
            (tf.constant(0), state, history),
            parallel_iterations=1,
        )
        return state, history.stack()

    def step(self, state, waves, weights, look, filters, rate):
        """One step of Adam (Kingma and Ba 2014), and the activations (n,) before it."""
        height = contours(state.spectrum, waves)
        share = tf.sigmoid(height)
        seen = transformed(tf.roll(255 * share, look.rolls, axis=(1, 2)), look.transforms)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(seen)
            activation = self.network(seen, filters)
        gradient = transformed(tape.gradient(activation, seen), look.inverses)
        gradient = tf.roll(gradient, -look.rolls, axis=(1, 2)) * share * (1 - share)
        gradient = contours_back(gradient, weights)
        better = activation >= state.best  # equal too: from silence to silence is progress
        best_spectrum = tf.where(
            better[:, None, None, None, None], state.spectrum, state.best_spectrum
        )
        # Adam counts on gradients of one size; those of filters differ by orders of magnitude.
        size = tf.sqrt(tf.reduce_mean(gradient**2, axis=(1, 2, 3, 4), keepdims=True))
        gradient = tf.math.divide_no_nan(gradient, size)
        step = state.step + 1
        mean = 0.9 * state.mean + 0.1 * gradient
        square = 0.999 * state.square + 0.001 * gradient**2
        direction = (mean / (1 - 0.9**step)) / (tf.sqrt(square / (1 - 0.999**step)) + EPSILON)
        # What has more contrast than it may have is scaled back.
        contrast = tf.math.reduce_std(height, axis=(1, 2, 3))
        scale = tf.minimum(1.0, tf.math.divide_no_nan(state.contrast, contrast))
        spectrum = state.spectrum * scale[:, None, None, None, None] + rate * direction
        best = tf.maximum(activation, state.best)
        state = State(spectrum, mean, square, best, best_spectrum, state.contrast, step)
        return state, activation


def begin(spectrum: np.ndarray, waves: np.ndarray) -> State:
    """The state before the first step from `spectrum` (n, channels, size, size // 2 + 1, 2).

    `waves` are how strong each of its waves is, as `wave_sizes`.
    """
    start = tf.constant(spectrum)
    rest, lowest = tf.zeros_like(start), tf.fill([len(spectrum)], -np.inf)
    # A real image to start from may keep the contrast that it has.
    own = tf.math.reduce_std(contours(start, waves), axis=(1, 2, 3))
    return State(start, rest, rest, lowest, start, tf.maximum(own, CONTRAST), tf.constant(0.0))


def settling(steps: int) -> np.ndarray:
    """How large each of so many steps is, (steps,) float32: 1, and less and less in the end."""
    left = (steps - np.arange(steps)) / max(1.0, SETTLE * steps)
    return np.minimum(1, left).astype(np.float32)


def next_chunk(chunk: int, took: float, seconds: float) -> int:
    """How many steps to take next so that they take about `seconds`, `chunk` having taken `took`."""
    return max(1, int(chunk * seconds / took))


COARSE_SHARE = 0.75  # of the steps are done on the tile
ROLLS = 0.38, 0.62  # shares of the tile's side by which its copies differ, down and right
SMALLEST_TILE = 32  # pixels; less is all border


def ascend(
    climbers: Sequence[tuple[Climber, int]],
    filters: Sequence[int],
    start: np.ndarray,
    *,
    rate: float,
    seed: int,
    coarse: bool = False,
    thing: bool = False,
    slope: Slope = SHAPE,
    stop: int | None = None,
    seconds: float = 0.1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Climbs from the spectra `start` (n, channels, size, size // 2 + 1, 2), looks up about every `seconds`.

    `climbers` come in turn, each for so many steps; after `stop` of all steps it ends early. With
    `coarse` the first three quarters of all steps are done on an image of half the side, which then is
    laid out as four tiles. It is for layers that see parts much smaller than the tile: they make a
    texture, to which any place is alike, and a step costs a quarter. The tile is rolled any way at every
    step, so that what happens at the border of an image does not become a cross in the middle of the
    larger one. (Enlarging it instead would not help: the network sees a pattern of twice the size as
    another pattern.) A `thing` is looked at from further ways. `slope` says how strong
    waves are.

    Yields (best images so far (n, size, size, channels) uint8, activations (k, n) since the last).
    """
    total = sum(count for _, count in climbers)
    small = int(total * COARSE_SHARE) if coarse else 0
    if small:
        tile = random_spectrum(start.shape[2] // 2, seed, start.shape[1])
        start = np.repeat(tile[None], len(filters), axis=0)
    side = start.shape[2]
    boost = steeper(side, slope)
    state, first, done, chunk = begin(start / boost, wave_sizes(side) * boost), 0, 0, 1
    numbers, rates = tf.constant(filters, tf.int32), rate * settling(total)
    moves = looks(small or total, side, seed, side / 2 if small else 0.0, thing)
    for climber, count in climbers:
        copy_weights(climber.network.original, climber.network.network)
        end = min(done + count, stop or done + count)
        while done < end:
            begun = time.perf_counter()
            chunk = min(chunk, (min(small, end) if done < small else end) - done)
            waves = wave_sizes(side) * boost
            some = Looks(*(each[done - first : done - first + chunk] for each in moves))
            state, history = climber.climb(
                state,
                waves,
                waves * wave_counts(side),
                some,
                numbers,
                rates[done : done + chunk],
            )
            done += chunk
            best = pictures(state.best_spectrum.numpy() * boost)
            yield np.tile(best, (1, 2, 2, 1)) if done <= small else best, history.numpy()
            chunk = next_chunk(chunk, time.perf_counter() - begun, seconds)
            if done == small:
                large = tiled(state.best_spectrum.numpy() * boost, seed)
                side, first = 2 * side, small
                boost = steeper(side, slope)
                state = begin(large / boost, wave_sizes(side) * boost)
                moves = looks(total - small, side, seed, 0.0)
