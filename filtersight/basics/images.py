"""Images as arrays: a random start, the photograph, and from floating point to what a screen shows.

RGB with values from 0 to 255 everywhere; each model does its own preprocessing.
"""

from __future__ import annotations

import math

import cv2
import matplotlib.cbook
import numpy as np
from PIL import Image

from filtersight.basics.checks import MAX_SIZE, Size, check_number, check_sides, check_whole, sides


def random_image(
    size: Size = 128, seed: int = 0, *, contrast: float = 32.0, channels: int = 3
) -> np.ndarray:
    """A start image: mid grey plus uniform noise of at most `contrast` grey levels up or down.

    Returns (size, size, channels) float32, within 127.5 ± contrast; `size` may be (height, width), too.
    The same seed gives the same image.
    """
    size = check_sides("size", size, 1, MAX_SIZE)
    check_whole("seed", seed, 0, 2**32 - 1)
    check_whole("channels", channels, 1, 1024)
    check_number("contrast", contrast, 0, 127.5)
    noise = np.random.default_rng(seed).uniform(-contrast, contrast, (*sides(size), channels))
    return (127.5 + noise).astype(np.float32)


def photo(size: int = 224) -> np.ndarray:
    """The photograph that ships with matplotlib, cut square: (size, size, 3) uint8 RGB.

    Rear Admiral Grace Hopper, 1984, by James S. Davis, United States Navy; public domain.
    """
    check_whole("size", size, 1, MAX_SIZE)
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
    check_whole("enlarge", enlarge, 1, 16)
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


def tiled_to(images: np.ndarray, size: Size) -> np.ndarray:
    """Images (n, h, h, channels) as they are, but of `size` pixels: laid side by side or cut off."""
    height, width = sides(size)
    down, right = (math.ceil(side / images.shape[1]) for side in (height, width))
    return np.tile(images, (1, down, right, 1))[:, :height, :width]


def visible(image: np.ndarray) -> np.ndarray:
    """An image (height, width, channels) uint8 as one can look at it: RGB.

    One channel as grey; two or more than three side by side, each as grey, in rows of about as many as
    there are rows.
    """
    height, width, channels = image.shape
    if channels == 3:
        return image
    columns = math.ceil(math.sqrt(channels))
    sheet = np.full((math.ceil(channels / columns) * height, columns * width), 255, np.uint8)
    for number in range(channels):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = image[..., number]
    return np.repeat(sheet[..., None], 3, axis=-1)


def channels_of(sheet: np.ndarray, size: Size, channels: int) -> np.ndarray:
    """The image (height, width, channels) uint8 of `size` that `visible` has made `sheet` (height, width, 3) of."""
    if channels == 3:
        return sheet
    height, width = sides(size)
    tiles = sheet[..., 0].reshape(-1, height, sheet.shape[1] // width, width).swapaxes(1, 2)
    return np.moveaxis(tiles.reshape(-1, height, width)[:channels], 0, -1)


def in_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """RGB images (…, 3) uint8 as grey for one channel, or with red, green and blue in turn: (…, channels)."""
    if channels == 1:
        return np.round(images @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None]
    return images[..., np.arange(channels) % 3]


def squared(rgb: np.ndarray) -> np.ndarray:
    """The image (h, w, 3) uint8 in the middle of a white square, if it is not square itself."""
    rows, columns = rgb.shape[:2]
    side = max(rows, columns)
    top, left = (side - rows) // 2, (side - columns) // 2
    square = np.full((side, side, 3), 255, np.uint8)
    square[top : top + rows, left : left + columns] = rgb
    return square


def encode_jpeg(image: np.ndarray, height: int, width: int | None = None) -> bytes:
    """The picture (h, w, channels) uint8 as a JPEG file of `height` by `width` pixels.

    Without `width` it is square; what is not keeps its shape, on white.
    """
    rgb = visible(image) if width else squared(visible(image))
    large = cv2.resize(rgb, (width or height, height), interpolation=cv2.INTER_CUBIC)
    coded = cv2.imencode(".jpg", large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return coded.tobytes()
