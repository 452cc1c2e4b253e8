"""Checks of what a caller gives: a ValueError says what was given and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np

MAX_SIZE = (
    1024  # pixels; a larger image needs more memory than the machines this course is made for
)


def shown(value: object) -> str:
    """A value of any kind as a message names it: in one line of at most 80 characters."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def is_list(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether it can be gone through, and is no text."""
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        return False
    return not isinstance(value, (str, bytes))


def check_whole(what: str, value: int, low: int = 0, high: int | None = None) -> int:
    """`value` as an int, or a ValueError that says what was given and what is allowed."""
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):
        limits = f"of {low} or more" if high is None else f"from {low:,} to {high:,}"
        raise ValueError(f"{what} must be a whole number {limits}, not {shown(value)}")
    return int(value)


Size = (
    int | tuple[int, int]
)  # of an image in pixels: its side, or height and width where they differ


def check_sides(what: str, value: Size, low: int, high: int) -> Size:
    """A size whose sides are from `low` to `high`, that of a square as one number; ValueError for another."""
    pair = value if isinstance(value, tuple) and len(value) == 2 else (value, value)
    height, width = (check_whole(what, each, low, high) for each in pair)
    return height if height == width else (height, width)


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return size if isinstance(size, tuple) else (size, size)


def pixels_text(size: Size) -> str:
    """A size as one writes it: 128, or 48 × 96."""
    return " × ".join(map(str, size)) if isinstance(size, tuple) else str(size)


def nearest(given: object, allowed: Sequence[str]) -> str:
    """The end of an error message: the allowed name most like the given one, if any is like it."""
    close = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else "."


def check_number(what: str, value: float, low: float, high: float) -> None:
    """ValueError unless `value` is a number from `low` to `high`."""
    kinds = (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise ValueError(f"{what} must be a number from {low} to {high}, not {shown(value)}")


def check_choice(what: str, value: str, allowed: Iterable[str]) -> None:
    """ValueError unless `value` is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {shown(value)}")


def two_digits(value: float) -> str:
    """A number rounded to two digits, as 170, 2.1, 0.00052: what holds on other processors too.

    "no number" where it is not a finite one.
    """
    if not math.isfinite(value):
        return "no number"
    return f"{float(f'{value:.2g}'):g}"
