"""The clear recipe: gradient ascent on waves, many images in one compiled call a step.

The recipe is Olah, Mordvintsev and Schubert 2017, Feature Visualization: an image is a sum of waves
with decorrelated colours, and the network looks at it a little shifted, turned and scaled at every
step. What is added here, and measured in tests/benchmark.py: a layer is cut free of its network and
computed for the wanted filters only, in bfloat16 where the machine has it; the gradient
leaks through the ReLU of the layer; contrast is bounded; slow waves are stronger than in nature; the
steps become smaller in the end; textures are begun on one small tile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from filtersight.ascent.objective import FilterObjective, copy_weights, may_break, tamed
from filtersight.ascent.plain import next_chunk
from filtersight.ascent.waves import (
    SHAPE,
    Slope,
    four_tiles,
    spectral_boost,
    to_images,
    to_logits,
    to_logits_back,
    wave_counts,
    wave_sizes,
)
from filtersight.basics.checks import Size, sides
from filtersight.networks.layers import Layer

SHIFT, TURN, SCALE = 4.0, 5.0, 0.05  # pixels, degrees, share: the most that an image is moved
# A class may stand anywhere, in any size: its transformations differ more.
CLASS_SHIFT, CLASS_TURN, CLASS_SCALE = 1 / 8, 15.0, 0.3  # share of the side, degrees, share
CONTRAST = 1.5  # highest standard deviation of an image before the sigmoid
EPSILON = (
    0.1  # waves whose gradient is a tenth of the usual move half as far; with 0 they make stars
)
SETTLE = 0.5  # the last share of the steps, in which they become smaller and smaller
COARSE_SHARE = 0.75  # of the steps are done on the tile
# Before the first image. Not minus infinity, which tf.debugging.enable_check_numerics() takes for a mistake.
LOWEST = np.finfo(np.float32).min
SMALLEST_TILE = 32  # pixels; less is all border
# Of gradients in float16, whose smallest numbers would be lost (Micikevicius et al. 2018).
LOSS_SCALE = 1024.0


class Transformations(NamedTuple):
    """How the image is moved before each step, and how to move a gradient back."""

    rolls: np.ndarray  # (steps, 2) int32: by whole pixels, what leaves comes in again
    transforms: np.ndarray  # (steps, 1, 8) float32: then shifted, turned and scaled
    inverses: np.ndarray  # (steps, 1, 8) float32


def random_transformations(
    steps: int, size: Size, seed: int, roll: float, is_class: bool = False
) -> Transformations:
    """Transformations for so many steps: all by chance, the first ones the same however many follow.

    Each turns, scales and shifts by at most TURN, SCALE and SHIFT (those of a class if it is one), after
    a roll by up to `roll` pixels: a sum of waves goes on where it began.
    """
    shift, turn, most = SHIFT, TURN, SCALE
    if is_class:
        shift, turn, most = CLASS_SHIFT * min(sides(size)), CLASS_TURN, CLASS_SCALE
    chance = np.random.default_rng(seed).uniform(-1, 1, (steps, 6))
    angle, scale = np.deg2rad(chance[:, 0] * turn), 1 + chance[:, 1] * most
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    y, x = ((side - 1) / 2 for side in sides(size))  # of the middle
    right = x - a * x + b * y + chance[:, 2] * shift
    down = y - b * x - a * y + chance[:, 3] * shift
    zero, one = np.zeros(steps), np.ones(steps)
    matrices = np.stack([a, -b, right, b, a, down, zero, zero, one], 1).reshape(-1, 3, 3)
    both = (matrices, np.linalg.inv(matrices))  # similarities: the last row stays 0, 0, 1
    flat = (each.reshape(-1, 1, 9)[..., :8].astype(np.float32) for each in both)
    return Transformations((chance[:, 4:] * roll).astype(np.int32), *flat)


def transformed(images, transform):
    """The images (n, height, width, channels), all shifted, turned and scaled by one transform (1, 8)."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transform,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="WRAP",  # though it does not interpolate across the border
    )


class State(NamedTuple):
    """What a climb carries from step to step."""

    spectrum: tf.Tensor  # (n, channels, height, width // 2 + 1, 2)
    mean: tf.Tensor  # Adam's running mean of the gradient, like spectrum
    square: tf.Tensor  # and of its square
    best: tf.Tensor  # (n,) highest activation so far
    best_spectrum: tf.Tensor  # where that was
    most_contrast: tf.Tensor  # (n,) of the image
    step: tf.Tensor  # () float32: how many were done
    width: tf.Tensor  # () int32: of the image


class Climber:
    """A layer made ready to be climbed: any filters, number and size of images, one graph."""

    def __init__(self, layer: Layer, precision: str, leak: bool = False):
        self.objective = FilterObjective(layer, precision, leak)
        self.may_overflow = precision == "float16"
        self.may_break = any(map(may_break, layer.network.operations))
        spectrum = tf.TensorSpec([None, layer.channels, None, None, 2], tf.float32)
        numbers = tf.TensorSpec([None], tf.float32)
        number, transform = tf.TensorSpec([], tf.float32), tf.TensorSpec([1, 8], tf.float32)
        whole = tf.TensorSpec([], tf.int32)
        wave = tf.TensorSpec([None, None, 1], tf.float32)
        # One step, and not many in a loop: TensorFlow takes twice as long to make a loop ready.
        self.climb = tf.function(
            self.step,
            autograph=False,
            input_signature=[
                State(spectrum, spectrum, spectrum, numbers, spectrum, numbers, number, whole),
                wave,
                wave,
                Transformations(tf.TensorSpec([2], tf.int32), transform, transform),
                tf.TensorSpec([None], tf.int32),
                number,
            ],
        )

    def step(self, state, waves, weights, move, filters, rate):
        """One step of Adam (Kingma and Ba 2014), and the activations (n,) before it."""
        # What the network sees: the image, moved.
        logits = to_logits(state.spectrum, waves, state.width)
        brightness = tf.sigmoid(logits)
        seen = transformed(tf.roll(255 * brightness, move.rolls, axis=(1, 2)), move.transforms)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(seen)
            activation = self.objective(seen, filters)
            climbed = LOSS_SCALE * activation if self.may_overflow else activation
        gradient = tape.gradient(climbed, seen, unconnected_gradients="zero")
        if self.may_overflow:  # the history tells of a gradient that does, too
            fine = tf.reduce_all(tf.math.is_finite(gradient), axis=(1, 2, 3))
            activation = tf.where(fine, activation, np.nan)
        # The gradient goes the same way back, to the waves.
        gradient = transformed(tamed(gradient), move.inverses)
        gradient = tf.roll(gradient, -move.rolls, axis=(1, 2)) * brightness * (1 - brightness)
        gradient = to_logits_back(gradient, weights)
        fine = tf.math.is_finite(activation)
        if self.may_break:  # what is shown in the end is the image as it is
            fine &= tf.math.is_finite(self.objective(255 * brightness, filters))
        # Equal too: from silence to silence is progress.
        better = fine & (activation >= state.best)
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
        contrast = tf.math.reduce_std(logits, axis=(1, 2, 3))
        scale = tf.minimum(1.0, tf.math.divide_no_nan(state.most_contrast, contrast))
        spectrum = state.spectrum * scale[:, None, None, None, None] + rate * direction
        best = tf.where(better, activation, state.best)
        # Where the answer is no number, back to the best image, and on without momentum.
        back = (~fine & (state.best > LOWEST))[:, None, None, None, None]
        spectrum = tf.where(back, state.best_spectrum, spectrum)
        mean = tf.where(back, 0.0, mean)
        state = State(
            spectrum, mean, square, best, best_spectrum, state.most_contrast, step, state.width
        )
        return state, activation


def initial_state(spectrum: np.ndarray, waves: np.ndarray, width: int | None = None) -> State:
    """The state before the first step from `spectrum` (n, channels, height, width // 2 + 1, 2).

    `waves` are how strong each of its waves is, as `wave_sizes`; images are square without `width`.
    """
    start = tf.constant(spectrum)
    rest, lowest = tf.zeros_like(start), tf.fill([len(spectrum)], LOWEST)
    # A real image to start from may keep the contrast that it has.
    width = spectrum.shape[2] if width is None else width
    own = tf.math.reduce_std(to_logits(start, waves, width), axis=(1, 2, 3))
    most = tf.maximum(own, CONTRAST)
    return State(start, rest, rest, lowest, start, most, tf.constant(0.0), tf.constant(width))


def rate_schedule(steps: int) -> np.ndarray:
    """How large each of so many steps is, (steps,) float32: 1, and less and less in the end."""
    left = (steps - np.arange(steps)) / max(1.0, SETTLE * steps)
    return np.minimum(1, left).astype(np.float32)


def ascend_waves(
    climbers: Sequence[tuple[Climber, int]],
    filters: Sequence[int],
    start: np.ndarray,
    *,
    rate: float,
    seed: int,
    tile_steps: int = 0,
    is_class: bool = False,
    slope: Slope = SHAPE,
    width: int | None = None,
    stop: int | None = None,
    seconds: float = 0.1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Climbs from the spectra `start` (n, channels, height, width // 2 + 1, 2), looks up about every `seconds`.

    `climbers` come in turn, each for so many steps; after `stop` of all steps it ends early. With
    `tile_steps` so many are done on `start`, an image of half the side, which then is laid out as four
    tiles. It is for layers that see parts much smaller than the tile: they make a
    texture, to which any place is alike, and a step costs a quarter. The tile is rolled any way at every
    step, so that what happens at the border of an image does not become a cross in the middle of the
    larger one. (Enlarging it instead would not help: the network sees a pattern of twice the size as
    another pattern.) A class is transformed more (`is_class`). `slope` says how strong
    waves are. Images are square without `width`.

    Yields (best images so far (n, height, width, channels) uint8, activations (k, n) since the last); in
    float16 the activation is not a number at a step that overflows.
    """
    total = sum(count for _, count in climbers)
    most_roll = start.shape[2] / 2 if tile_steps else 0.0
    ascent = Ascent(start, slope, tile_steps or total, seed, most_roll, is_class, width)
    numbers, rates = tf.constant(filters, tf.int32), rate * rate_schedule(total)
    done, chunk = 0, 1
    for climber, count in climbers:
        copy_weights(climber.objective.original, climber.objective.network)
        end = min(done + count, stop or done + count)
        while done < end:
            begun = time.perf_counter()
            chunk = min(chunk, (min(tile_steps, end) if done < tile_steps else end) - done)
            history = ascent.advance(climber, numbers, rates[done : done + chunk])
            done += chunk
            best = ascent.best()
            shown = to_images(best, width)
            yield np.tile(shown, (1, 2, 2, 1)) if done <= tile_steps else shown, history
            chunk = next_chunk(chunk, time.perf_counter() - begun, seconds)
            if done == tile_steps:
                ascent = Ascent(four_tiles(best, seed), slope, total - done, seed)


class Ascent:
    """Where a climb on images of one size has come to.

    Its spectra are divided by `boost`: a step of one length then moves the slow waves more.
    """

    def __init__(
        self,
        start: np.ndarray,
        slope: Slope,
        steps: int,
        seed: int,
        roll: float = 0.0,
        is_class: bool = False,
        width: int | None = None,
    ):
        size = (start.shape[2], width or start.shape[2])
        self.boost = spectral_boost(size, slope)
        self.waves = wave_sizes(size) * self.boost
        self.weights = self.waves * wave_counts(size)
        self.state = initial_state(start / self.boost, self.waves, width)
        self.transformations = random_transformations(steps, size, seed, roll, is_class)
        self.done = 0

    def advance(self, climber: Climber, filters: tf.Tensor, rates: np.ndarray) -> np.ndarray:
        """A step for each of `rates`: the activations (steps, n) before them."""
        history = []
        for rate in rates:
            move = Transformations(*(each[self.done] for each in self.transformations))
            self.state, activation = climber.climb(
                self.state, self.waves, self.weights, move, filters, rate
            )
            history.append(activation)
            self.done += 1
        return np.stack(history)

    def best(self) -> np.ndarray:
        """The spectra of the best images so far."""
        return self.state.best_spectrum.numpy() * self.boost
