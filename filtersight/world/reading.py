"""Images that people bring, files or arrays, as they look: upright, 8 bits, RGB.

What cannot be read for sure, because it is damaged or does not tell what white is, is refused.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin, UnidentifiedImageError

from filtersight.basics.checks import nearest

# Their own remarks on what is broken are kept back: an error says it.
logging.getLogger("PIL").addHandler(logging.NullHandler())
set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4, 5

# Where the brightest values (99 %) must begin, and what is white then. So 12 bits in 16 do not pass as a
# dark image, nor light without a limit (HDR) as 0 to 255.
WHITES = {
    "float": ((0, 1), (64, 255)),
    "uint16": ((16384, 65535),),
    "int8": (),
    "integer": ((64, 255), (32768, 65535)),  # of any other width: what they most often hold
}
WAY_OUT = (
    "give np.clip(({} - BLACK) / (WHITE - BLACK), 0, 1), where BLACK and WHITE are 0 and 4095 for 12 bits, "
    "0 and 65535 for 16, -1 and 1 for what was scaled so"
)
# Of TIFF.
BITS, PHOTOMETRIC, BANDS, PLANES, SAMPLE_FORMAT = 258, 262, 277, 284, 339
LARGEST = 2**31  # bytes of a file: it is read whole

# What is in the first bytes, in lower case, of files that Pillow does not open, and the way out.
HEIC = "it is a HEIC; save it as JPEG, or pip install pillow-heif and call pillow_heif.register_heif_opener()"
HDR = (
    "it is an HDR image, which has no white; give np.clip(cv2.createTonemap(2.2).process(cv2.imread(path, "
    "cv2.IMREAD_UNCHANGED))[..., ::-1], 0, 1)"
)
TIFF = (
    "it is damaged, or a TIFF of a rare kind; save it as PNG, or pip install tifffile and give the array "
    "that tifffile.imread(path) makes of it"
)
UNKNOWN = "Pillow and OpenCV do not know its format, or it is damaged; save it as PNG or JPEG"
HINTS = {
    b"ii*\0": TIFF,
    b"mm\0*": TIFF,
    b"<html": "it is a web page; save the picture itself",
    b"<svg": "it is an SVG, a drawing; export it as PNG from a browser or Inkscape",
    b"%pdf": "it is a PDF; export the page as PNG",
    b"\x93numpy": "it is a NumPy file; give np.load(path)",
    b"\x89hdf": "it is a file of HDF5, such as a network; an image in it goes in as an array",
    b"#?r": HDR,
    b"ftyphei": HEIC,
    b"ftyphev": HEIC,
    b"ftypmif1": HEIC,
    b"ftypmsf1": HEIC,
}


def is_file(image: Any) -> bool:
    """Whether it is a file or holds one: a path, bytes, an open file, an image of Pillow."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    return isinstance(image, kinds) or hasattr(image, "read")


def read_image(image: Any, channels: int = 3) -> np.ndarray:
    """An image as it looks, for a network of `channels`: (height, width, channels or 3) uint8.

    `image` is a file (`is_file`) or an array (height, width) or (height, width, 1, 3, 4 or `channels`) of
    uint8, uint16, bool, integers from 0 to 255 or 65535, or floats from 0 to 1 or 255. A photograph is
    turned upright, of several pages the first is taken, colours become sRGB. What has as many channels as
    the network stays as it is; for four channels, what is opaque gets an alpha of 255; all else becomes RGB,
    what is transparent on white. ValueError if there is no image in it, or if its white is not known.
    """
    values, source = read_file(image) if is_file(image) else (np.asarray(image), "image")
    bands = values.shape[2] if values.ndim == 3 else 1
    allowed = {1, 3, 4, channels, *([2] if is_file(image) else [])}
    if values.ndim not in (2, 3) or not values.size or bands not in allowed or not numeric(values):
        raise ValueError(
            f"image must be a file or an array (height, width, {channels}) of uint8, or of floats from 0 to 1, "
            f"not {values.dtype} {values.shape}{way_out(values.shape, channels)}"
        )
    pixels = eight_bits(values.reshape(*values.shape[:2], bands), source)
    if bands == channels:
        return pixels
    clear = bands in (2, 4)
    colours = pixels[..., :-1] if clear else pixels
    colours = np.repeat(colours, 3 // colours.shape[-1], axis=-1)
    alpha = pixels[..., -1:] if clear else np.full_like(colours[..., :1], 255)
    if channels == 4:
        return np.concatenate([colours, alpha], axis=-1)
    return on_white(colours, alpha) if clear else colours


def numeric(values: np.ndarray) -> bool:
    """Whether these are numbers, not complex ones, or true and false."""
    return values.dtype.kind in "buif"


def way_out(shape: tuple[int, ...], channels: int) -> str:
    """The end of an error message, for arrays of another shape that is common."""
    if len(shape) == 4 and shape[0] == 1:
        return "; image[0] is one image"
    if len(shape) == 3 and shape[0] in (1, 3, 4, channels):
        return "; image.transpose(1, 2, 0) puts the channels last"
    return ""


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (h, w, 3) laid on white by their alpha (h, w, 1), both uint8."""
    weight = alpha.astype(np.uint16)
    return ((colours * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def eight_bits(values: np.ndarray, source: str) -> np.ndarray:
    """Values (h, w, bands) from black to white as uint8; ValueError if it is not known what white is.

    `source` is the Python that gives the values, for the way out.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values * np.uint8(255)
    kind = "float" if values.dtype.kind == "f" else values.dtype.name
    colours = values[..., :3] if values.shape[-1] == 4 else values
    low, high, bright = float(colours.min()), float(colours.max()), np.percentile(colours, 99)
    if not np.isfinite(low + high):
        raise ValueError(
            "some values of the image are not finite; "
            f"give np.nan_to_num({source}, nan=0, posinf=1, neginf=0) if they go from 0 to 1"
        )
    for least, white in WHITES.get(kind, WHITES["integer"]):
        if low >= 0 and high <= white and (bright >= least or high == 0):
            return np.round(np.clip(values * (255 / white), 0, 255)).astype(np.uint8)
    raise ValueError(
        f"the {values.dtype} values of the image go from {low:g} to {high:g}, 99 % of them up to {bright:g}, "
        f"which does not tell what is white; {WAY_OUT.format(source)}"
    )


# ---------------------------------------------------------------- files


def read_file(image: Any) -> tuple[np.ndarray, str]:
    """The values (h, w) or (h, w, 2, 3 or 4) of a file, upright, and the Python that gives them as they are.

    RGB uint8, or for a grey image what it has. ValueError, in one line, for what is no image or damaged.
    """
    named = isinstance(image, (str, os.PathLike))
    name = f"{os.fsdecode(image)!r:.300}" if named else "the given file"
    data, values, deep = contents(image, name), None, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata and of many pixels
        try:
            opened = data if isinstance(data, Image.Image) else Image.open(io.BytesIO(data))
            if opened.format == "JPEG2000" and isinstance(data, bytes) and deep_jpeg2000(data):
                raise UnidentifiedImageError  # Pillow would make black of white
            deep = any(";16" in str(tile) for tile in getattr(opened, "tile", ()))
            values = pixels_of(opened)
        except UnidentifiedImageError:
            if isinstance(data, Image.Image):
                why = TIFF
            else:
                values, why = by_opencv(data), kind_of(data)
        except (Image.DecompressionBombError, MemoryError):
            why = "it has too many pixels; if you trust it, set PIL.Image.MAX_IMAGE_PIXELS = None"
        except Exception as error:  # a broken file may raise anything
            said = f"{' '.join(str(error).split()):.100}"
            why = f"it is cut off, damaged or rare ({said}); fetch it once more, or save it as PNG"
            why = kind_of(data, why) if isinstance(data, bytes) else why
    if values is None:
        raise ValueError(f"{name} is no image that can be opened: {why}")
    source = "image"
    if named:
        order = "" if values.ndim == 2 else "[..., 2::-1]"
        source = f"cv2.imread({name}, cv2.IMREAD_UNCHANGED){order}"
    elif isinstance(image, Image.Image):
        source = "np.asarray(image)"
    # Pillow keeps the upper 8 of 16 bits of a colour: of dark ones too little is left.
    colours = values[..., :-1] if values.ndim == 3 and values.shape[-1] != 3 else values
    if deep and values.dtype == np.uint8 and colours.max() and np.percentile(colours, 99) < 64:
        raise ValueError(
            f"hardly any of the 16-bit values of {name} reach a quarter of 65,535, which does not tell what "
            f"is white; {WAY_OUT.format(source)}"
        )
    return values, source


def contents(image: Any, name: str) -> bytes | Image.Image:
    """The bytes of a file, or the image of Pillow as it is; ValueError if there is nothing to read."""
    if isinstance(image, Image.Image):
        return image
    why = ""
    try:
        if isinstance(image, (str, os.PathLike)):
            path = os.path.expanduser(os.fsdecode(image))
            if why := wrong_path(path):
                raise OSError(0, why)
            with open(path, "rb") as file:
                data = file.read()
        elif hasattr(image, "read"):
            if hasattr(image, "seekable") and image.seekable():
                image.seek(0)
            data = image.read()
        else:
            data = bytes(image)
        if not isinstance(data, bytes):
            raise UnicodeError
        why = "" if data else "it is empty"
    except UnicodeError:
        why = "open it with mode 'rb'"
    except OSError as error:
        why = str(error.strerror)
    if why:
        raise ValueError(f"{name} is no image that can be opened: {why}")
    return data


def wrong_path(path: str) -> str:
    """Why there is no file to read, and the way out; empty if there is one."""
    place = os.path.abspath(path)
    if path.partition(":")[0].lower() in ("http", "https", "ftp", "file"):
        return f"it is an address; keras.utils.get_file(origin={path!r}) downloads it and gives its path"
    if os.path.isdir(place):
        return "it is a folder; name a file in it"
    if not os.path.exists(place):
        while not os.path.isdir(folder := os.path.dirname(place)) and folder != place:
            place = folder
        missing = os.path.basename(place)
        return f"there is no {missing!r:.300} in {folder!r}{nearest(missing, os.listdir(folder))}"
    if not os.path.isfile(place) or os.path.getsize(place) > LARGEST:
        return "it is no ordinary file of at most 2 GB"
    return ""


def pixels_of(file: Image.Image) -> np.ndarray:
    """The values (h, w) or (h, w, 2, 3 or 4), upright; colours as uint8 sRGB, grey of more bits as it is."""
    tags = dict(getattr(file, "tag_v2", {}))
    bits, signed = tags.get(BITS, (8,)), 2 in tags.get(SAMPLE_FORMAT, ())
    if (signed and bits[0] == 8) or (tags.get(PLANES) == 2 and len(bits) > 1 and bits[0] > 8):
        raise UnidentifiedImageError  # Pillow would make something else of it
    file.load()
    try:
        upright = ImageOps.exif_transpose(file)
    except Exception:  # broken metadata may raise anything; viewers then show the image as it lies
        upright = file
    if upright.mode == "F" or upright.mode.startswith("I"):
        values = np.asarray(upright)
        if bits == (12,):  # they come as the lower ones of 16
            values = values << 4
        if tags.get(PHOTOMETRIC) == 0:  # which is white
            values = (1 if upright.mode == "F" else 65535) - values
        return values
    if upright.mode == "LA" or (upright.mode in ("1", "L") and not upright.has_transparency_data):
        return np.asarray(upright.convert("LA" if upright.mode == "LA" else "L"))
    return np.asarray(in_srgb(upright, "RGBA" if upright.has_transparency_data else "RGB"))


def in_srgb(file: Image.Image, mode: str) -> Image.Image:
    """A colour image as RGB or RGBA, what `mode` says, as its own profile wants its colours to look."""
    own = file.info.get("icc_profile")
    plain = file if file.mode in ("LAB", "CMYK") else file.convert(mode)
    try:
        if file.mode == "LAB":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif own:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(own))
        else:
            return plain.convert(mode)
        screen = ImageCms.createProfile("sRGB")
        # Else LAB is interpolated in a coarse table, and comes out up to 36 levels off.
        how = ImageCms.Flags.NOOPTIMIZE if file.mode == "LAB" else ImageCms.Flags.NONE
        seen = ImageCms.profileToProfile(plain, profile, screen, outputMode=mode, flags=how)
        return cast(Image.Image, seen)
    except (ImageCms.PyCMSError, OSError):  # a profile that is none, or of other colours
        return plain.convert(mode)


def by_opencv(data: bytes) -> np.ndarray | None:
    """The values of a file that only OpenCV opens, RGB; None if it does not, or not all of it."""
    if data.startswith(b"#?"):  # HDR
        return None
    header, bands = data[: 16 if b"+" in data[2:4] else 8], None
    level = set_log_level(0)  # else it writes lines about what is broken
    try:
        if data.startswith((b"II", b"MM")):
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file = io.BytesIO(data)
            file.seek(tags.next)
            tags.load(file)
            bands = tags.get(BANDS, 1)
            too_many = tags[256] * tags[257] > (Image.MAX_IMAGE_PIXELS or np.inf)
            if bands not in (1, 3, 4) or tags.get(PLANES, 1) != 1 or too_many:
                return None
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except Exception:  # a broken file may raise anything
        return None
    finally:
        set_log_level(level)
    if values is None or (bands or values[0, 0].size) != values[0, 0].size:
        return None
    return values if values.ndim == 2 else values[..., [2, 1, 0, 3][: values.shape[-1]]]


def deep_jpeg2000(data: bytes) -> bool:
    """Whether a JPEG 2000 file has colours of more than 8 bits."""
    start = data.find(b"\xff\x4f\xff\x51")  # of the codestream; its header is of fixed length
    bands, bits = int.from_bytes(data[start + 40 : start + 42], "big"), data[start + 42] % 128 + 1
    return bands > 1 and bits > 8


def kind_of(data: bytes, other: str = UNKNOWN) -> str:
    """What a file is that cannot be opened, and the way out; `other` where nothing tells."""
    head = data[:1024].lower()
    return next((why for mark, why in HINTS.items() if mark in head), other)
