"""Checks of what a caller gives: a ValueError says what was given and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np

MAX_SIZE = (
    1024  # pixels; a larger image needs more memory than the machines this course is made for
)


def check_whole(what: str, value: int, low: int = 0, high: int | None = None) -> int:
    """`value` as an int, or a ValueError that says what was given and what is allowed."""
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):
        limits = f"of {low} or more" if high is None else f"from {low:,} to {high:,}"
        raise ValueError(f"{what} must be a whole number {limits}, not {value!r}")
    return int(value)


def nearest(given: object, allowed: Sequence[str]) -> str:
    """The end of an error message: the allowed name most like the given one, if any is like it."""
    close = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else "."


def check_number(what: str, value: float, low: float, high: float) -> None:
    """ValueError unless `value` is a number from `low` to `high`."""
    kinds = (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise ValueError(f"{what} must be a number from {low} to {high}, not {value!r}")


def check_choice(what: str, value: str, allowed: Iterable[str]) -> None:
    """ValueError unless `value` is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")


def two_digits(value: float) -> str:
    """A number rounded to two digits, as 170, 2.1, 0.00052: what holds on other processors too."""
    return f"{float(f'{value:.2g}'):g}"
