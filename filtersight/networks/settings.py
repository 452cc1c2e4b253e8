"""What a model is set to, so that a change is noticed of what was looked at before."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

PLAIN = frozenset({bool, bytes, complex, float, int, str, type(None)})
# What any layer notes about itself. Of it only a few things matter to what the layer computes.
BOOKKEEPING = frozenset(vars(keras.layers.Layer(name="any"))) - {
    *("name", "autocast", "_dtype_policy", "_layers", "_trainable"),
}
LIBRARIES = sys.stdlib_module_names | {"keras", "numpy", "tensorflow", "wrapt"}
DEEP = 20  # lists in lists


class Settings(NamedTuple):
    """What a model is set to: `values` are equal as long as nothing is changed."""

    values: dict[
        tuple, Any
    ]  # what stands for it, by the id of an object and the name of an attribute
    held: list[Any]  # the objects whose ids are in `values`, so that no other one gets theirs


def settings_of(model: keras.Model) -> Settings:
    """The layers of a model, those within, and all that they are set to.

    Read from their attributes, since `get_config` of somebody's own layer may lack one, fail, or be slow.
    Functions, weights and tensors count as what they are, not by the values of weights; arrays, lists and
    objects of somebody's own by what is in them. Not noticed: what a layer reads elsewhere (a global
    variable, the defaults of a function), objects with __slots__, and what a layer's call itself changes.
    """
    values: dict[tuple, Any] = {}
    held: list[Any] = []
    ahead: list[Any] = [model]
    seen = {id(model)}
    while ahead:
        thing, begun = ahead.pop(), len(held)
        if is_open(thing):
            layers = getattr(thing, "operations", None) or thing.layers
            values[id(thing),] = setting(layers, held)
        else:
            for name, value in attributes(thing):
                values[id(thing), name] = (
                    (type(value), value) if type(value) in PLAIN else setting(value, held)
                )
        for each in held[begun:]:
            if id(each) not in seen and (isinstance(each, keras.Operation) or is_own(type(each))):
                seen.add(id(each))
                ahead.append(each)
    return Settings(values, held)


def is_open(layer: object) -> bool:
    """Whether it is a model whose layers can be seen."""
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def attributes(thing: Any) -> list[tuple[str, Any]]:
    """What an object has, but for what any layer notes about itself, and what a class of somebody's own has."""
    kinds = reversed(type(thing).__mro__) if is_own(type(thing)) else ()  # the class itself last
    result = [pair for kind in kinds if is_own(kind) for pair in vars(kind).items()]
    for name, value in getattr(thing, "__dict__", {}).items():
        if name not in BOOKKEEPING and not name.startswith("_self_"):  # those are TensorFlow's
            result.append((name, value))
    return result


def is_own(kind: type) -> bool:
    """Whether a class is somebody's own, and none of a library whose objects are large or do not change."""
    return kind.__module__.partition(".")[0] not in LIBRARIES


def setting(value: Any, held: list[Any], depth: int = 0) -> Any:
    """What stands for a value; `held` gets the objects that stand for themselves."""
    kind = type(value)
    if kind in PLAIN:
        return kind, value
    if isinstance(value, np.ndarray):
        return kind, value.dtype.str, value.shape, hash(value.tobytes())
    if isinstance(value, (dict, list, tuple, set, frozenset)) and depth < DEEP:
        entries = value.items() if isinstance(value, dict) else value
        inner = [setting(each, held, depth + 1) for each in entries]
        return kind, frozenset(inner) if isinstance(value, (set, frozenset)) else tuple(inner)
    held.append(value)
    if isinstance(value, tf.Variable):  # no weight of the layer, for Keras does not know it
        return id(value), hash(value.numpy().tobytes())
    return id(value)
