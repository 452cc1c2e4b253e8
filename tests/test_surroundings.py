"""What surrounds the course: Keras' settings, packages, TensorFlow's switches, and files in the way."""

import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

import helpers
from filtersight.basics import course
from filtersight.basics.defaults import keras_defaults
from filtersight.trust import why

COURSE = Path(__file__).resolve().parents[1]
L = keras.layers


def imported(folder, code="import helpers", **environment):
    """Runs code in a folder where the course is found, and gives what it wrote."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(COURSE), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# ---------------------------------------------------------------- at the import


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy", "openvino", "nonsense"])
def test_another_backend_in_the_environment(tmp_path, backend):
    done = imported(tmp_path, KERAS_BACKEND=backend, KERAS_HOME=str(tmp_path))
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: Keras is set to the backend '{backend}' by KERAS_BACKEND in the environment; the "
        "course needs TensorFlow: set KERAS_BACKEND=tensorflow, then start Python (in Jupyter: the "
        "kernel) again"
    )


def test_another_backend_in_keras_own_file(tmp_path, monkeypatch):
    file = tmp_path / "keras.json"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras")
    file.write_text('{"backend": "torch"}')
    with pytest.raises(ImportError) as caught:
        course.check_backend()
    assert f"'torch' in {file}; the course needs TensorFlow: write" in str(caught.value)
    assert "\n" not in str(caught.value)
    for text in ('{"backend": "tensorflow"}', "{}", '{"backend":', "[]"):  # as Keras takes them
        file.write_text(text)
        course.check_backend()
    file.write_text('{"backend": "torch"}')
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # this counts more
    course.check_backend()


def test_keras_that_was_imported_before_on_another_backend(monkeypatch):
    config = types.SimpleNamespace(backend=lambda: "jax")
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(config=config))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # too late
    with pytest.raises(
        ImportError, match=r"backend 'jax' before the course; .* import helpers first"
    ):
        course.check_backend()


def test_packages_that_are_missing_or_too_old(monkeypatch):
    with pytest.raises(ImportError, match=r"^the package no-such is missing: .*requirements\.txt$"):
        course.check_package("no-such", "1.0")
    with pytest.raises(ImportError, match=r"^keras 2\.15\.0 is too old, the course needs 3\.8 or"):
        monkeypatch.setattr(course.importlib.metadata, "version", lambda name: "2.15.0")
        course.check_package("keras", "3.8")
    for version in ("3.8", "3.8.0rc1", "3.10", "4"):
        monkeypatch.setattr(course.importlib.metadata, "version", lambda name, v=version: v)
        course.check_package("keras", "3.8")


def test_every_package_that_the_import_needs_is_looked_at(monkeypatch):
    seen = []
    monkeypatch.setattr(course, "check_package", lambda name, least: seen.append((name, least)))
    course.check_surroundings()
    lines = (COURSE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line.partition(",")[0].split(">=") for line in lines if line[0] != "#"]
    assert seen == [(name, least) for name, least in needed if name not in course.LATER]


def test_no_folder_for_temporary_files(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(course.tempfile, "gettempdir", none)
    with pytest.raises(ImportError, match=r"found in \['/tmp'\]; make one, and set TMPDIR to it$"):
        course.check_surroundings()


def test_a_readers_file_that_hides_a_package(tmp_path):
    (tmp_path / "numpy.py").write_text("mine = 1\n")
    last = imported(tmp_path).stderr.splitlines()[-1]
    assert last.startswith("ImportError: ") and "numpy.py hides the package numpy" in last


def test_keras_that_was_loaded_anew(monkeypatch):
    """As keras.config.set_backend() leaves it."""
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(2, 3, name="c")])
    monkeypatch.setitem(sys.modules, "keras", types.ModuleType("keras"))
    for call in (lambda: helpers.load_model(model), lambda: helpers.describe(model)):
        with pytest.raises(ValueError, match=r"^Keras was loaded anew, as .*set_backend\(\)"):
            call()


@pytest.mark.parametrize(("package", "module"), [("numpy", "numpy"), ("pillow", "PIL")])
def test_a_readers_folder_that_hides_a_package(tmp_path, package, module, monkeypatch):
    folder = tmp_path / module
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module)
    course.check_package(package, "1.0")  # without __init__.py it hides nothing
    (folder / "__init__.py").write_text("mine = 1\n")
    importlib.invalidate_caches()
    with pytest.raises(ImportError, match=rf"^the folder .*{module} hides the package {package} "):
        course.check_package(package, "1.0")


def test_a_chapter_is_what_it_is_whatever_keras_own_file_says(tmp_path):
    text = '{"image_data_format": "channels_first", "floatx": "float64"}'
    (tmp_path / "keras.json").write_text(text)
    code = (
        "import pathlib, filtersight.basics.course as course\n"
        f"course.begin(pathlib.Path({str(COURSE)!r}))\n"
        "import keras; print(keras.layers.Conv2D(2, 3).data_format, keras.Input((8, 8, 3)).dtype)"
    )
    done = imported(tmp_path, code, KERAS_HOME=str(tmp_path))
    assert done.stdout == "channels_last float32\n", done.stderr


# ---------------------------------------------------------------- Keras' settings


@pytest.fixture
def settings():
    """Changes Keras' settings, and puts them back after the test."""
    config = keras.config
    before = config.image_data_format(), config.floatx(), config.dtype_policy()

    def change(order="channels_last", kind="float32", policy="float32"):
        config.set_image_data_format(order)
        config.set_floatx(kind)
        config.set_dtype_policy(policy)

    yield change
    change(*before)


CHANGES = [
    {"order": "channels_first"},
    {"policy": "mixed_float16"},
    {"kind": "float16", "policy": "float16"},
    {"kind": "float64", "policy": "float64"},
]


def small(**options):
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            L.Rescaling(1 / 255, dtype="float32"),
            L.Conv2D(4, 3, activation="relu", name="one", data_format="channels_last", **options),
            L.Conv2D(5, 3, activation="relu", name="two", data_format="channels_last", **options),
            L.GlobalAveragePooling2D(data_format="channels_last"),
            L.Dense(3, activation="softmax", name="answer"),
        ],
        name="small",
    )


def made():
    """Pictures and answers of networks that are loaded and built anew."""
    model = helpers.load_model("pocketvgg")
    ranged = helpers.load_model(small(dtype="float32"), preprocess=(0, 1))
    called = helpers.load_model(
        small(dtype="float32"), preprocess=keras.applications.resnet.preprocess_input
    )
    photo = helpers.photo(32)[None]
    return [
        helpers.visualize(model, "block1_conv2", [3], size=32, steps=2, rescue=False)[0].image,
        helpers.visualize(ranged, "one", [1], size=32, steps=2, recipe="plain")[0].image,
        helpers.activations(model, "block1_conv2", photo),
        helpers.activations(ranged, "one", photo),
        helpers.activations(called, "one", photo),
    ]


@pytest.fixture(scope="module")
def expected():
    return made()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(change.values()))
def test_settings_for_other_networks_change_nothing(expected, settings, change):
    settings(**change)
    before = keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy()
    found = made()
    after = keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy()
    assert before == after
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", ["mixed_float16", "float16", "float64"])
@pytest.mark.parametrize("recipe", ["clear", "plain"])
def test_a_network_in_another_type_is_climbed_in_float32(dtype, recipe):
    """In float16 the gradient of a mean over a map becomes 0, and living filters looked dead."""
    usual, other = small(dtype="float32"), small(dtype=dtype)
    kept = [weight.numpy() for weight in other.weights]
    for weight, value in zip(usual.weights, kept, strict=True):
        weight.assign(value.astype(np.float32))
    call = {"size": 64, "steps": 4, "recipe": recipe, "precision": "float32", "rescue": False}
    mine, theirs = (helpers.visualize(each, "two", [1, 3], **call) for each in (usual, other))
    if dtype != "float64":  # whose weights are rounded
        for one, another in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one.image, another.image)
    assert [each.status for each in theirs] == [each.status for each in mine]
    image = helpers.image_for(usual)
    one, another = (why.grad_cam(each, image, 0) for each in (usual, other))
    assert another.dtype == np.float32
    np.testing.assert_allclose(another, one, rtol=0.02, atol=0.01 * one.max())


def test_the_settings_come_back_after_an_error(settings):
    settings(order="channels_first", kind="float16", policy="mixed_float16")
    with pytest.raises(RuntimeError), keras_defaults():
        assert keras.config.dtype_policy().name == keras.config.floatx() == "float32"
        raise RuntimeError
    assert keras.config.image_data_format() == "channels_first"
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float16", "mixed_float16")


@pytest.mark.parametrize("sides", [(16, 16), (None, None)])
def test_a_network_with_channels_first_and_the_way_out(sides):
    def network(order):
        first = order == "channels_first"
        return keras.Sequential(
            [
                keras.Input((3, *sides) if first else (*sides, 3)),
                L.Conv2D(4, 3, data_format=order, name="one"),
                L.BatchNormalization(axis=1 if first else -1),
                L.MaxPooling2D(data_format=order),
                *([L.Flatten(data_format=order), L.Dense(2)] if None not in sides else []),
            ]
        )

    old = network("channels_first")
    for call in (helpers.conv_layers, helpers.describe, lambda m: helpers.visualize(m, "one", [0])):
        with pytest.raises(
            ValueError, match=r"channels first.* in layer 'one'.*without a GPU"
        ) as e:
            call(old)
        assert "\n" not in str(e.value)
    new = network("channels_last")
    new.set_weights(old.get_weights())
    assert helpers.visualize(new, "one", [0], steps=1, rescue=False)[0].layer == "one"


# ---------------------------------------------------------------- TensorFlow's switches


def test_eager_execution_that_is_off(tmp_path):
    code = (
        "import helpers, keras, tensorflow as tf\n"
        "model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name='one')])\n"
        "tf.compat.v1.disable_eager_execution()\n"
        "for call in (lambda: helpers.load_model('pocketvgg'), lambda: helpers.describe(model),\n"
        "             lambda: helpers.visualize(model, 'one', [0])):\n"
        "    try: call()\n"
        "    except ValueError as error: print(error)\n"
    )
    lines = imported(tmp_path, code).stdout.splitlines()
    assert len(lines) == 3 and all("eager execution is off" in line for line in lines)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_a_process_that_is_forked(tmp_path):
    """Before TensorFlow has computed it works; after that it would wait for ever, and says so."""
    code = (
        "import helpers, os\n"
        "def child():\n"
        "    if os.fork() == 0:\n"
        "        try: print(helpers.conv_layers(helpers.load_model('pocketvgg'))[0], flush=True)\n"
        "        except ValueError as error: print(error, flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "child(); helpers.load_model('pocketvgg'); child()\n"
    )
    before, after = imported(tmp_path, code).stdout.splitlines()
    assert before == "block1_conv1"
    assert after.startswith("this process was forked from one in which TensorFlow had computed")


# ---------------------------------------------------------------- the terminal


def test_a_terminal_without_the_course_s_signs(tmp_path):
    code = (
        "import helpers, keras; print(helpers.describe(keras.Sequential("
        "[keras.Input((8, 9, 3)), keras.layers.Conv2D(2, 3)], name='ours')))"
    )
    done = imported(tmp_path, code, PYTHONIOENCODING="ascii")
    assert done.stdout.startswith("ours: images 8 ? 9, 3 channels"), done.stderr
