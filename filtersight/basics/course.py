"""What has to be so before the course can run: its packages, Keras' settings, its own folder."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import tempfile
from pathlib import Path

COURSE = Path(__file__).resolve().parents[2]
MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "ipython": "IPython"}
LATER = {"jupyterlab", "distributed", "cloudpickle"}  # a reader can do without them, as in Colab
INSTALL = f"{sys.executable} -m pip install -r {COURSE / 'requirements.txt'}"


def check_surroundings() -> None:
    """ImportError, of one line, for what would stop the course later with pages of text.

    A package that is missing, too old, or hidden by a file of the same name; no folder for temporary
    files; Keras on another backend than TensorFlow.
    """
    if sys.version_info < (3, 10):  # noqa: UP036, somebody may try
        raise ImportError(f"the course needs Python 3.10 to 3.13, and this is {sys.version[:6]}")
    requirements = COURSE / "requirements.txt"
    if requirements.exists():  # somebody may have taken the package alone
        for line in requirements.read_text(encoding="utf-8").splitlines():
            found = re.match(r"([\w-]+)>=([\d.]+)", line)
            if found and found[1] not in LATER:
                check_package(found[1], found[2])
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ImportError(
            f"TensorFlow needs a folder for temporary files that is there and not full: {error.strerror}; "
            "make one, and set TMPDIR to it"
        ) from None
    check_backend()


def check_package(name: str, least: str) -> None:
    """ImportError unless the package is there, from the version `least` on."""
    module = MODULES.get(name, name)
    found = importlib.util.find_spec(module)
    if found is None:
        raise ImportError(f"the package {name} is missing: {INSTALL}")
    place = Path(found.origin or module).resolve()
    if place.stem == module:  # not its __init__.py
        raise ImportError(
            f"{place} hides the package {name} from Python: give that file another name"
        )
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:  # of another name, as tensorflow-cpu is
        return
    true = Path(str(installed.locate_file(module))).resolve()
    if place.parent != true and true.is_dir():
        raise ImportError(
            f"the folder {place.parent} hides the package {name} from Python: give it another name"
        )
    version = importlib.metadata.version(name)
    if numbers(version) < numbers(least):
        raise ImportError(
            f"{name} {version} is too old, the course needs {least} or later: {INSTALL}"
        )


def numbers(version: str) -> tuple[int, ...]:
    """A version to compare with others: (2, 1, 3) for "2.1.3"."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def check_backend() -> None:
    """ImportError unless Keras computes, or will compute, with TensorFlow."""
    backend, where, remedy = "tensorflow", "", ""
    home = os.path.expanduser("~")
    home = home if os.access(home, os.W_OK) else "/tmp"  # as Keras does it
    settings = Path(os.environ.get("KERAS_HOME", f"{home}/.keras")).expanduser() / "keras.json"
    try:
        backend = json.loads(settings.read_text(encoding="utf-8")).get("backend", backend)
        where, remedy = f"in {settings}", 'write "backend": "tensorflow" there'
    except (OSError, ValueError, AttributeError):  # without such a file Keras takes TensorFlow
        pass
    if os.environ.get("KERAS_BACKEND"):  # this counts more
        backend = os.environ["KERAS_BACKEND"]
        where, remedy = "by KERAS_BACKEND in the environment", "set KERAS_BACKEND=tensorflow"
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config") and keras.config.backend() != backend:
        backend, where = keras.config.backend(), "before the course"  # and changed since
        remedy = "import helpers first"
    if backend != "tensorflow":
        raise ImportError(
            f"Keras is set to the backend {backend!r} {where}; the course needs TensorFlow: {remedy}, "
            "then start Python (in Jupyter: the kernel) again"
        )


def begin(course: Path) -> None:
    """Makes sure that the folder holds the whole course, and that `import helpers` will mean its own.

    Keras is set as if nobody had set anything: the chapters build networks, too. ImportError that says
    what is in the way.
    """
    if not (course / "filtersight/world/weights/pocketvgg.npz").exists():
        raise ImportError(f"{course} is not the whole course: delete it, then run this cell again")
    found = importlib.util.find_spec("helpers")
    origin = found and found.origin
    if not origin or Path(origin).resolve() != (course / "helpers.py").resolve():
        raise ImportError(f"another helpers.py is in the way: {origin}")
    keras = importlib.import_module("keras")  # not before its settings were looked at
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
