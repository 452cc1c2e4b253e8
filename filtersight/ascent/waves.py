"""An image as a sum of waves with decorrelated colours (Olah, Mordvintsev and Schubert 2017)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from filtersight.basics.checks import Size, sides

# Colours as natural images have them: columns are brightness, blue to yellow, green to purple, each as
# strong as it varies there. The numbers are those of Lucid (Olah, Mordvintsev and Schubert 2017).
COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32)
COLOURS /= np.linalg.norm(COLOURS, axis=0).max()
LEVEL = float(np.linalg.norm(COLOURS[:, 0]) / 3**0.5)  # of brightness, in each of the three colours
NOISE = 0.05  # standard deviation of the start spectrum


class Slope(NamedTuple):
    """How strong waves are: as 1 / frequency ** power, those of ten pixels as in nature.

    In nature the power is about 1 (Field 1987), and so it is in Lucid. A higher one leaves less of the fine
    waves that excite a filter without showing what it is for. Slow waves are at most `most` times as strong
    as in nature, for they become clouds of colour where a filter does not mind them.
    """

    power: float
    most: float


# The more of the image a layer sees, the steeper it may be: a texture, a shape, a class.
TEXTURE, SHAPE, CLASS = Slope(1.25, 1.5), Slope(1.5, 1.5), Slope(1.7, 6.0)


def colours(channels: int) -> np.ndarray:
    """(channels, channels) float32: `COLOURS` for RGB; other channels are not taken for mixtures."""
    return COLOURS if channels == 3 else LEVEL * np.eye(channels, dtype=np.float32)


def random_spectrum(size: Size, seed: int, channels: int = 3) -> np.ndarray:
    """A start: (channels, height, width // 2 + 1, 2) float32, faint noise in every wave of every colour."""
    rng, (height, width) = np.random.default_rng(seed), sides(size)
    return rng.normal(0, NOISE, (channels, height, width // 2 + 1, 2)).astype(np.float32)


def frequencies(size: Size) -> np.ndarray:
    """Waves a pixel of each wave of a spectrum, (height, width // 2 + 1); of the even one, those of one wave."""
    height, width = sides(size)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    return np.maximum(frequency, 1 / max(height, width))


def wave_sizes(size: Size) -> np.ndarray:
    """How strong each wave of a spectrum is, (height, width // 2 + 1, 1): as 1 / frequency, as in nature."""
    height, width = sides(size)
    return ((height * width) ** 0.5 / frequencies(size)).astype(np.float32)[..., None]


def spectral_boost(size: Size, slope: Slope) -> np.ndarray:
    """How many times as strong as in nature each wave is, (height, width // 2 + 1, 1)."""
    boost = (0.1 / frequencies(size)) ** (slope.power - 1)
    return np.minimum(boost, slope.most).astype(np.float32)[..., None]


def wave_counts(size: Size) -> np.ndarray:
    """How often each wave stands in the whole Fourier transform, (height, width // 2 + 1, 1): once or twice."""
    height, width = sides(size)
    column = np.arange(width // 2 + 1)
    counts = np.where((column == 0) | (2 * column == width), 1, 2)
    return np.tile(counts[None, :, None], (height, 1, 1)).astype(np.float32)


def to_logits(spectrum, waves, width=None):
    """Images before the sigmoid, (n, height, width, channels).

    Of spectra (n, channels, height, width // 2 + 1, 2), which do not tell an odd `width` from an even one; if
    it is not given, the images are square.
    """
    height = tf.shape(spectrum)[2]
    amplitudes = tf.bitcast(spectrum * waves, tf.complex64)  # the last axis is real and imaginary
    lengths = [height, height if width is None else width]
    planes = tf.raw_ops.IRFFT2D(input=amplitudes, fft_length=lengths)
    return tf.einsum("nchw,dc->nhwd", planes, colours(spectrum.shape[1]))


def to_logits_back(gradient, weights):
    """The gradient for spectra from that for `to_logits` (n, height, width, channels), but for a constant factor.

    `weights` are the product of `wave_sizes` and `wave_counts`. Written out, because TensorFlow's own
    gradient of a Fourier transform takes as long to trace as half a network.
    """
    planes = tf.einsum("nhwd,dc->nchw", gradient, colours(gradient.shape[-1]))
    amplitudes = tf.raw_ops.RFFT2D(input=planes, fft_length=tf.shape(planes)[2:])
    return tf.bitcast(amplitudes, tf.float32) * weights


def to_images(spectrum: np.ndarray, width: int | None = None) -> np.ndarray:
    """The images (n, height, width, channels) uint8 of spectra, as for `to_logits`."""
    height = spectrum.shape[2]
    logits = to_logits(tf.constant(spectrum), wave_sizes((height, width or height)), width)
    return np.round(255 * tf.sigmoid(logits)).astype(np.uint8)


def to_spectra(images: np.ndarray) -> np.ndarray:
    """The spectra whose images are `images` (n, height, width, channels) uint8, nearly."""
    brightness = np.clip(images / 255.0, 0.02, 0.98)
    planes = np.einsum(
        "nhwd,cd->nchw",
        np.log(brightness / (1 - brightness)),
        np.linalg.inv(colours(images.shape[-1])),
    )
    amplitudes = np.fft.rfft2(planes) / wave_sizes(images.shape[1:3])[..., 0]
    return np.stack([amplitudes.real, amplitudes.imag], -1).astype(np.float32)


ROLLS = 0.38, 0.62  # shares of the tile's side by which its copies differ, down and right


def four_tiles(spectrum: np.ndarray, seed: int) -> np.ndarray:
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
