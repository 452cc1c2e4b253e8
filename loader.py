"""Loads networks. `helpers.load_model` is what the course uses; the rest serves it.

Keras downloads weights into its cache and checks them, but waits for ever for a server that does
not answer. `bounded_downloads` puts limits on the wait and lets no half file appear.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import keras
from keras.src.utils import file_utils

import patterns
from patterns import nearest

STALL_SECONDS = 8  # until the server begins to answer, and later without a byte
WINDOW_SECONDS, WINDOW_BYTES = 10, 200_000  # less than this in that time is no download

APPLICATIONS = {
    name.lower(): constructor
    for name, constructor in vars(keras.applications).items()
    if name[0].isupper() and callable(constructor)
}


def load_model(name: str | os.PathLike | keras.Model | None = None) -> keras.Model:
    """The network by its name; images go in as RGB from 0 to 255, preprocessing is part of it.

    `name` is "pocketvgg" or one of its relatives in `patterns.NETWORKS`; "vgg16" or any other
    constructor of `keras.applications` in lower case, with ImageNet weights and without its classifier;
    the path of a saved Keras model; or a model, which is given back. Without a name: the one in the
    environment variable COURSE_MODEL; else VGG16 if its weights are in Keras' cache or can be
    downloaded; else PocketVGG, with a line that says why. Ctrl-C during that download means PocketVGG
    too.

    ValueError for a name that does not exist or a file that is no model. OSError, with the way to put
    the file there by hand, where weights that were asked for cannot be had.
    """
    if isinstance(name, keras.Model):
        return name
    if name is None and not os.environ.get("COURSE_MODEL"):
        try:
            return application("vgg16")
        except KeyboardInterrupt:
            reason = "The download of VGG16's weights was stopped."
        except OSError as error:
            reason = str(error).partition(" By hand:")[0]
        print(reason, "Taking PocketVGG, which comes with the course.")
        return patterns.load()
    name = os.environ["COURSE_MODEL"] if name is None else name
    if not isinstance(name, (str, os.PathLike)):
        raise ValueError(f"model is {name!r}; it must be a name, a path or a keras.Model")
    if str(name) in patterns.NETWORKS:
        return patterns.load(patterns.MODELS / f"{name}.npz")
    if str(name) in APPLICATIONS:
        return application(str(name))
    if len(str(name)) < 4096 and os.path.isfile(name):
        try:
            return keras.models.load_model(name)
        except Exception as error:  # Keras raises many kinds, some with pages of text
            raise ValueError(
                f"{str(name)!r} is no model that Keras can load: {one_line(error)}"
            ) from None
    if Path(name).suffix in {".keras", ".h5", ".hdf5"}:
        raise ValueError(f"no file {str(name)!r}")
    allowed = [*patterns.NETWORKS, *APPLICATIONS]
    raise ValueError(
        f"no model {str(name)[:80]!r}{nearest(str(name).lower(), allowed)} Allowed are the path of a saved model and: "
        + ", ".join(allowed)
    )


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks and the address that failed, at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^URL fetch failure on \S+: (None -- )?", "", text)
    return text if len(text) <= 200 else text[:197] + "..."


def with_preprocessing(constructor: Callable[..., keras.Model], weights: str | None) -> keras.Model:
    """A network of `keras.applications` without its classifier, its preprocessing put before it."""
    preprocess = sys.modules[constructor.__module__].preprocess_input
    inputs = keras.Input((None, None, 3), name="image")
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`input_shape` is undefined"
        )  # MobileNets take that of 224 pixels
        network = constructor(weights=weights, include_top=False, input_tensor=preprocess(inputs))
    return keras.Model(inputs, network.output, name=constructor.__name__.lower())


def application(name: str) -> keras.Model:
    """A network of `keras.applications` with ImageNet weights; OSError if they cannot be had."""
    with bounded_downloads() as begun:
        try:
            return with_preprocessing(APPLICATIONS[name], "imagenet")
        except Exception as error:  # Keras raises plain Exception for a failed download
            cause = one_line(error)
            for _, target in begun:
                target.unlink(missing_ok=True)  # it arrived whole, but is not the file it should be
    cache = Path(file_utils.config.keras_home())
    message = f"The weights of {name} cannot be had: {cause.rstrip('.')}."
    if begun:
        url, target = begun[-1]
        raise OSError(f"{message} By hand: put the file {url} into the folder {target.parent}.")
    raise OSError(
        f"{message} By hand: see to it that files in {cache / 'models'} can be written and are whole."
    )


@contextlib.contextmanager
def bounded_downloads() -> Iterator[list[tuple[str, Path]]]:
    """Lets Keras' own downloads end within bounds; gives the list of those begun, as (URL, file)."""
    begun: list[tuple[str, Path]] = []

    def retrieve(url: str, filename: str, report: Callable[[int, int, int], None]) -> None:
        """As urllib.request.urlretrieve; the file appears under its name when it is whole."""
        begun.append((url, Path(filename)))
        part = Path(f"{filename}.part")
        try:
            with open(part, "wb") as file:
                download(url, file.write, report)
            part.replace(filename)
        finally:
            part.unlink(missing_ok=True)
            print()  # ends the line of Keras' progress bar

    # Keras has no setting for this; get_file takes the function from its module.
    with mock.patch.object(file_utils, "urlretrieve", retrieve):
        yield begun


def download(
    url: str, write: Callable[[bytes], object], report: Callable[[int, int, int], None]
) -> None:
    """Gives the bytes at `url` to `write`, and progress to `report` as urlretrieve does.

    OSError if the server cannot be found, does not answer, stalls, drips, or ends too early.
    """
    with answer(url) as response:
        total = int(response.headers.get("Content-Length", -1))
        done = mark = 0
        since = time.monotonic()
        while data := response.read1(1 << 16):
            write(data)
            done += len(data)
            report(done, 1, total)
            if time.monotonic() - since > WINDOW_SECONDS:
                if done - mark < WINDOW_BYTES:
                    raise OSError(f"the server sent {done - mark} bytes in {WINDOW_SECONDS} s")
                mark, since = done, time.monotonic()
    if done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def answer(url: str) -> http.client.HTTPResponse:
    """The server's answer, headers read; OSError if there is none in time.

    Looking up an address can hang, each of several addresses takes the time limit anew, and headers
    can drip; so all of it happens in a thread that is left behind when the time is up.
    """
    results: list[http.client.HTTPResponse | BaseException] = []

    def ask() -> None:
        try:
            results.append(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=ask, daemon=True)  # it must not keep Python alive
    thread.start()
    thread.join(STALL_SECONDS)
    if not results:
        raise OSError(f"no answer from {urllib.parse.urlsplit(url).hostname} in {STALL_SECONDS} s")
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]
