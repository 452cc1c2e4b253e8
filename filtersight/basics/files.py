"""Files that are whole or not there, and pictures that carry their recipe."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def seal(text: str, image: np.ndarray) -> str:
    """The sha256 of texts and a picture: a saved picture is what it was."""
    return hashlib.sha256(text.encode() + image.tobytes()).hexdigest()


def read_sealed_png(path: str | os.PathLike, side: int) -> tuple[dict, dict, np.ndarray]:
    """The recipe, the facts and the pixels (height, width, 3) uint8 of a file that `FilterPicture.save` wrote.

    ValueError if it is no such file, was changed since, or is longer than `side` pixels on one side.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("a pipe or a folder would be waited for")
        with Image.open(path, formats=["PNG"]) as file:
            texts = getattr(file, "text", {})
            recipe, facts, stored = texts["recipe"], texts.get("facts", ""), texts["sha256"]
            if max(file.size) > side:  # such a file may be small and its pixels fill the memory
                raise ValueError("larger than any picture of the course")
            pixels = np.asarray(file.convert("RGB"))
        parsed = json.loads(recipe), json.loads(facts or "{}")
        if not all(isinstance(each, dict) for each in parsed):
            raise ValueError("not a recipe")
    except FileNotFoundError:
        raise ValueError(f"no file {str(path)!r}") from None
    except (
        OSError,
        SyntaxError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        RecursionError,
        Image.DecompressionBombError,
    ):
        raise ValueError(
            f"{str(path)!r} is not a PNG with a recipe that FilterPicture.save has written"
        ) from None
    if seal(recipe + facts, pixels) != stored:
        raise ValueError(f"{str(path)!r} was changed after it was saved: its sha256 is another one")
    return *parsed, pixels
