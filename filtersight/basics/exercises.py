"""Exercises of the chapters: a test for each, and how it is told whether an answer passes."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from filtersight.basics.defaults import keras_defaults


class Wrong(Exception):
    """Raised by the test of an exercise; its text says what was found and what was to be found."""


class _Unanswered(Exception):
    pass


EXERCISES: dict[str, tuple[Callable, str]] = {}
"""The test and the hint of each exercise, by its number, such as "4.1"."""


def exercise(number: str, hint: str) -> Callable[[Callable], Callable]:
    """Registers a function as the test of exercise `number`, such as "4.1".

    The test gets the answer, a value or a function, and what else was given to `check`. It raises
    Wrong if the answer is not right. The hint is shown after a wrong try only.
    """

    def register(test: Callable) -> Callable:
        assert number not in EXERCISES, f"there are two exercises {number}"
        EXERCISES[number] = (test, hint)
        return test

    return register


def require(condition: object, text: str) -> None:
    """Wrong with this text unless the condition holds."""
    if not condition:
        raise Wrong(text)


def require_close(
    given: object, right: object, what: str, tolerance: float = 0.01, absolute: float = 0.0
) -> None:
    """Wrong unless numbers `given` have the shape and, within a relative and an absolute tolerance, the
    values of `right`; the text says `what` was asked for, and what came. Whole numbers must be exact.
    """
    expected = np.asarray(right)
    try:
        found = np.asarray(given)
    except ValueError:  # lists of different lengths in a list
        found = np.asarray("lists of different lengths")
    require(
        np.issubdtype(found.dtype, np.number) or np.issubdtype(found.dtype, np.bool_),
        f"{what} should be {_kind(expected)}, not {given!r}.",
    )
    require(
        found.shape == expected.shape,
        f"{what} should have the shape {expected.shape}, and yours has {found.shape}.",
    )
    if np.issubdtype(expected.dtype, np.integer):
        tolerance = absolute = 0.0
    close = np.allclose(found, expected, rtol=tolerance, atol=absolute, equal_nan=True)
    if not close and found.size <= 8:
        raise Wrong(f"{what} is not {np.array2string(found, precision=4, separator=', ')}.")
    off = np.abs(found.astype(float) - expected.astype(float)).max() if not close else 0
    require(close, f"{what} differs from what it should be, by up to {off:.3g}.")


def _kind(right: np.ndarray) -> str:
    kind = "a whole number" if np.issubdtype(right.dtype, np.integer) else "a number"
    return kind if right.ndim == 0 else f"numbers in an array of shape {right.shape}"


def _asked(answer: Callable) -> Callable:
    """The reader's function; None in place of a result means that it is not written yet."""

    @functools.wraps(answer)
    def ask(*arguments, **named):
        result = answer(*arguments, **named)
        if result is None:
            raise _Unanswered
        return result

    return ask


def check(number: str, answer: object, *given: object) -> None:
    """Says whether the answer to exercise `number`, such as "4.1", is right.

    An answer is what the exercise asks for: a value, or a function, which is tried on inputs that the
    chapter does not show. `given` is what else the exercise names, mostly the model. None, or a
    function that returns None, is no answer yet. ValueError for a number that no exercise has.
    """
    if number not in EXERCISES:
        raise ValueError(
            f"number is {number!r}; exercises are {', '.join(sorted(EXERCISES, key=_place))}"
        )
    test, hint = EXERCISES[number]
    try:
        if answer is None:
            raise _Unanswered
        with keras_defaults():
            test(_asked(answer) if callable(answer) else answer, *given)
    except _Unanswered:
        print("Not answered yet.")
    except Wrong as wrong:
        print(f"Not yet: {wrong}\nHint: {hint}")
    except Exception as error:
        if not callable(answer):
            raise
        print(f"Not yet: your function stops with {type(error).__name__}: {error}\nHint: {hint}")
    else:
        print("Right.")


def _place(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))
