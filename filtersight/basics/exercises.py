"""Says whether the answer to an exercise is right."""

from __future__ import annotations

import numpy as np


def check(answer: object, right: object, hint: str = "") -> None:
    """Says whether the answer to an exercise is right.

    Numbers may be off by 1 %. None means that there is no answer yet.
    """
    if answer is None:
        print(f"Not answered yet. {hint}".strip())
        return
    try:
        given, expected = np.asarray(answer), np.asarray(right)
    except ValueError:  # lists of different lengths in a list
        given, expected = np.array("ragged"), np.array("not ragged")
    if all(np.issubdtype(each.dtype, np.number) for each in (given, expected)):
        same = given.shape == expected.shape and np.allclose(given, expected, rtol=0.01, atol=1e-6)
    else:
        same = bool(np.array_equal(given, expected))
    print("Right." if same else f"Not yet: {answer} is not it. {hint}".strip())
