"""What a notebook does once it has found the course's folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def begin(course: Path) -> None:
    """Makes sure that the folder holds the whole course, and that `import helpers` will mean its own.

    AssertionError that says what is in the way.
    """
    assert (course / "filtersight/world/weights/pocketvgg.npz").exists(), (
        f"{course} is not the whole course: delete it, then run this cell again"
    )
    found = importlib.util.find_spec("helpers")
    assert (
        found and found.origin and Path(found.origin).resolve() == (course / "helpers.py").resolve()
    ), f"another helpers.py is in the way: {found and found.origin}"
