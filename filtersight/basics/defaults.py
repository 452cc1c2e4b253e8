"""Keras' global settings while the course builds something, and TensorFlow's switches."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import keras
import tensorflow as tf
from tensorflow.python.eager import context


@contextlib.contextmanager
def keras_defaults() -> Iterator[None]:
    """Keras as if nobody had set anything: float32 and channels last. Afterwards it is as it was.

    What the course builds must not depend on settings that were made for other networks.
    """
    config = keras.config
    order, kind, policy = config.image_data_format(), config.floatx(), config.dtype_policy()
    try:
        config.set_image_data_format("channels_last")
        config.set_floatx("float32")
        config.set_dtype_policy("float32")
        yield
    finally:
        config.set_image_data_format(order)
        config.set_floatx(kind)
        config.set_dtype_policy(policy)


def check_tensorflow() -> None:
    """ValueError if TensorFlow was told to compute nothing at once, would wait for ever, or has no Keras any more."""
    if sys.modules.get("keras") is not keras:
        raise ValueError(
            "Keras was loaded anew, as keras.config.set_backend() does it, and no network made before works "
            "any more: leave that out, and start Python (in Jupyter: the kernel) again"
        )
    if not tf.compat.v1.executing_eagerly_outside_functions():
        raise ValueError(
            "TensorFlow's eager execution is off, by tf.compat.v1.disable_eager_execution(), "
            "disable_v2_behavior() or a tf.Graph(); the course needs it: leave that out, and start Python "
            "(in Jupyter: the kernel) again"
        )
    if _fork["too late"]:
        raise ValueError(
            "this process was forked from one in which TensorFlow had computed already, and would wait for "
            'ever; start processes by multiprocessing.get_context("spawn")'
        )


_fork = {"too late": False}


def _note_fork() -> None:
    """TensorFlow's threads, once they run, do not come along into a process that is forked."""
    _fork["too late"] = getattr(context.context(), "_initialized", False)


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_note_fork)
