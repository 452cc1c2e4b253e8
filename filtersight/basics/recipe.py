"""How a picture is made: what the caller wished, and what was decided."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from filtersight.basics.checks import Size, nearest


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a picture may be told, with the defaults; `visualize` says what each is. None: it is chosen."""

    recipe: str = "clear"
    steps: int | None = None
    size: Size | None = None
    seed: int = 0
    step_size: float | None = None
    precision: str | None = None
    coarse: bool = True
    rescue: bool = True
    stop_after: int | None = None


SETTINGS = dataclasses.fields(Settings)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that it takes to make a picture again, as it stands in a saved file."""

    network: str
    weights: str
    """A fingerprint of the weights up to the layer."""
    layer: str
    recipe: str
    steps: int
    size: Size
    """Pixels to a side, or (height, width) if it is no square."""
    channels: int
    seed: int
    step_size: float
    precision: str
    coarse: bool
    rescue: bool
    stop_after: int | None
    """How many of the steps were done, if not all."""
    filter: int | None = None
    """None in the recipe of a whole layer."""

    def settings(self) -> Settings:
        """What to ask for to get this recipe again."""
        return Settings(**{each.name: getattr(self, each.name) for each in SETTINGS})

    def as_dict(self) -> dict[str, Any]:
        """What JSON can hold; without a filter if there is none."""
        values = dataclasses.asdict(self)
        if self.filter is None:
            del values["filter"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `as_dict` has made the values of; TypeError if a value is missing or unknown."""
        recipe = cls(**values)
        if isinstance(recipe.size, list):  # JSON has no tuples
            recipe = dataclasses.replace(recipe, size=tuple(recipe.size))
        return recipe


def settings_of(wished: dict[str, Any]) -> Settings:
    """The settings that a caller wished for; TypeError for one that there is not."""
    names = [each.name for each in SETTINGS]
    for name in wished:
        if name not in names:
            raise TypeError(
                f"there is no setting {name!r}{nearest(name, names)} All are: {', '.join(names)}"
            )
    return Settings(**wished)


def with_settings(function: Callable) -> Callable:
    """Lets help() and Jupyter show the fields of `Settings` in the place of `**settings`."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind != each.VAR_KEYWORD]
    fields = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type
        )
        for each in SETTINGS
    ]
    function.__signature__ = signature.replace(parameters=[*own, *fields])  # type: ignore[attr-defined]
    return function
