"""load_model, and downloads from a server that misbehaves in every way we could think of."""

import _thread
import hashlib
import http.server
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.backend import config as keras_config
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

import helpers
from filtersight.networks import downloads, load
from filtersight.world import pocketvgg

COURSE = Path(helpers.__file__).parent
FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
VGG16 = sys.modules[keras.applications.VGG16.__module__]


@pytest.fixture(scope="session")
def good_file(tmp_path_factory):
    """A file with VGG16's layout and random weights: (path, model)."""
    path = tmp_path_factory.mktemp("weights") / FILE
    model = keras.applications.VGG16(weights=None, include_top=False)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path, model


class Server(http.server.ThreadingHTTPServer):
    """Serves the good file well or badly: the first part of the path says how."""

    daemon_threads = True

    def __init__(self, file):
        super().__init__(("127.0.0.1", 0), Handler)
        self.file, self.requests, self.ending = file, [], threading.Event()
        self.waiting = 0  # how many requests it leaves without an answer at this moment

    def wait(self):
        """Until the test ends; whoever has no limit of his own waits with it, and finds nothing."""
        self.waiting += 1
        self.ending.wait(100)
        self.waiting -= 1

    def address(self, how):
        return f"http://127.0.0.1:{self.server_address[1]}/{how}/{FILE}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): ...

    def do_GET(self):
        how, data = self.path.split("/")[1], self.server.file.read_bytes()
        self.server.requests.append(how)
        if how in ("404", "500"):
            return self.send_error(int(how))
        if how == "silent":
            return self.server.wait()
        if how == "headers":
            self.server.waiting += 1
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            while not self.server.ending.wait(0.1):
                self.wfile.write(b"X-Drip: x\r\n")
            return None
        if how == "portal":
            data = b"<html><body>Please log in to the hotel's network</body></html>"
        if how == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.send_response(200)
        if how != "cut":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if how in ("truncated", "cut"):
            data = data[: len(data) // 2]
        if how in ("stall", "drip", "interrupt"):
            self.wfile.write(data[:100_000])
            if how == "interrupt":
                _thread.interrupt_main()
            while how != "stall" and not self.server.ending.wait(0.05):
                self.wfile.write(b"x")
            return self.server.wait()
        self.wfile.write(data)


@pytest.fixture
def server(good_file, tmp_path, monkeypatch):
    """The server, an empty cache, and Keras told to fetch VGG16 from there.

    Limits are short where they are what is tried, and so long elsewhere that no busy machine meets them.
    """
    with Server(good_file[0]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(keras_config, "_KERAS_DIR", str(tmp_path / "cache"))
        (tmp_path / "cache").mkdir()
        monkeypatch.delenv("COURSE_MODEL")
        server.cache = tmp_path / "cache"

        def misbehave(how):
            monkeypatch.setattr(VGG16, "WEIGHTS_PATH_NO_TOP", server.address(how))
            monkeypatch.setattr(downloads, "STALL_SECONDS", 0.5 if how in STALLED else 60)
            monkeypatch.setattr(downloads, "WINDOW_SECONDS", 1 if how == "drip" else 60)

        server.misbehave = misbehave
        yield server
        server.ending.set()
        server.shutdown()


@pytest.fixture
def hash_of_good_file(good_file, monkeypatch):
    """Makes Keras expect the hash of our file instead of that of the true one."""
    expected = hashlib.md5(good_file[0].read_bytes()).hexdigest()

    def validate_file(path, _expected, algorithm="auto", chunk_size=65535):
        return hashlib.md5(Path(path).read_bytes()).hexdigest() == expected

    monkeypatch.setattr(file_utils, "validate_file", validate_file)


def files(folder):
    return sorted(
        str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()
    )


def until(condition):
    """Waits for what the server's threads do."""
    for _ in range(6_000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError("it did not happen")


STALLED = {"silent", "stall", "headers", "hanging"}
FAULTS = {
    "404": "404 -- Not Found",
    "500": "500 -- Internal Server Error",
    "silent": "timed out|no answer from 127.0.0.1",
    "stall": "timed out|no answer from 127.0.0.1",
    "headers": "timed out|no answer from 127.0.0.1 in 0.5 s",
    "drip": r"the server sent \d+ bytes in 1 s",
    "truncated": r"the connection ended after \d+ of \d+ bytes",
    "cut": "hash does not match",
    "wrong": "hash does not match",
    "portal": "hash does not match",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server(server, fault, capsys):
    server.misbehave(fault)
    model = helpers.load_model()
    until(lambda: server.requests == [fault])
    if fault in STALLED:  # we gave up first
        until(lambda: server.waiting == 1)
    assert model.name == "pocketvgg"
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"The weights of vgg16 cannot be had: .*\. Taking PocketVGG, which comes with the course\.",
        last,
    )
    assert re.search(FAULTS[fault], last) and "URL fetch failure" not in last
    assert files(server.cache) == []

    with pytest.raises(OSError) as caught:
        helpers.load_model("vgg16")
    text = str(caught.value)
    assert re.search(FAULTS[fault], text) and "\n" not in text and caught.value.__context__ is None
    assert f"put the file {server.address(fault)} into the folder {server.cache / 'models'}" in text
    assert files(server.cache) == []


@pytest.mark.parametrize("fault", ["refused", "unknown", "hanging look-up"])
def test_no_server(server, fault, capsys, monkeypatch):
    if fault == "refused":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url, words = f"http://127.0.0.1:{free.getsockname()[1]}/{FILE}", "refused"
    else:
        url, words = (
            f"http://no-such-host.invalid/{FILE}",
            "Name or service not known",
        )
        real = socket.getaddrinfo
        server.misbehave("hanging" if fault == "hanging look-up" else "good")

        def getaddrinfo(host, *args, **kwargs):
            if host == "no-such-host.invalid":
                if fault == "hanging look-up":
                    server.wait()
                raise socket.gaierror(-2, "Name or service not known")
            return real(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        if fault == "hanging look-up":
            words = "no answer from no-such-host.invalid in 0.5 s"
    monkeypatch.setattr(VGG16, "WEIGHTS_PATH_NO_TOP", url)
    assert helpers.load_model().name == "pocketvgg"
    until(lambda: server.waiting == (fault == "hanging look-up"))
    assert words in capsys.readouterr().out.splitlines()[-1]
    with pytest.raises(OSError, match=f"{words}.* By hand: put the file {url} into the folder"):
        helpers.load_model("vgg16")
    assert files(server.cache) == []


def test_many_addresses_share_one_limit(server, capsys, monkeypatch):
    def getaddrinfo(*_args, **_kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))] * 12

    tried = []

    def connect(self, _address):
        tried.append(self)
        server.ending.wait(self.gettimeout())
        raise TimeoutError("timed out")

    server.misbehave("hanging")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(VGG16, "WEIGHTS_PATH_NO_TOP", f"http://deaf.invalid/{FILE}")
    assert helpers.load_model().name == "pocketvgg"
    assert len(tried) < 12
    assert "no answer from deaf.invalid in 0.5 s" in capsys.readouterr().out


def test_the_true_limits_keep_the_wait_short():
    fresh = subprocess.run(
        [
            sys.executable,
            "-c",
            "from filtersight.networks import downloads as d; print(d.STALL_SECONDS, d.WINDOW_SECONDS)",
        ],
        cwd=COURSE,
        capture_output=True,
        text=True,
        check=True,
    )
    stall, window = map(int, fresh.stdout.split())
    assert stall + window <= 20


def test_a_good_download_is_loaded_and_kept(server, good_file, hash_of_good_file, capsys):
    server.misbehave("good")
    model = helpers.load_model()
    assert model.name == "vgg16" and "PocketVGG" not in capsys.readouterr().out
    for layer in helpers.conv_layers(model):
        ours, theirs = (
            model.get_layer(layer).get_weights(),
            good_file[1].get_layer(layer).get_weights(),
        )
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert files(server.cache) == [f"models/{FILE}"]
    server.misbehave("404")  # now it is in the cache
    assert helpers.load_model("vgg16").name == "vgg16" and server.requests == ["good"]


def test_preprocessing_belongs_to_the_model(server, good_file, hash_of_good_file):
    server.misbehave("good")
    model = helpers.load_model("vgg16")
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3)).astype(np.float32)
    # By hand, as the network was trained: blue, green, red, less the means of ImageNet.
    prepared = images[..., ::-1] - np.float32([103.939, 116.779, 123.68])
    assert np.allclose(model(images), good_file[1](prepared), rtol=1e-3, atol=1e-3)
    ours = helpers.activations(model, "block1_conv1", images.astype(np.uint8))
    theirs = keras.Model(good_file[1].inputs, good_file[1].get_layer("block1_conv1").output)
    assert np.allclose(ours, np.mean(theirs(prepared), axis=(1, 2)), rtol=1e-3, atol=1e-3)


def test_a_damaged_file_in_the_cache_is_not_used(server, good_file, hash_of_good_file, capsys):
    target = server.cache / "models" / FILE
    target.parent.mkdir()
    target.write_bytes(good_file[0].read_bytes()[:1000])
    server.misbehave("404")
    assert helpers.load_model().name == "pocketvgg"
    server.misbehave("good")
    assert helpers.load_model().name == "vgg16"
    assert target.read_bytes() == good_file[0].read_bytes()


def test_a_truncated_file_without_a_hash_is_not_kept(server, good_file, monkeypatch):
    # Keras knows no hash for MobileNetV2.
    module = sys.modules[keras.applications.MobileNetV2.__module__]
    base = server.address("cut").removesuffix(FILE)
    monkeypatch.setattr(module, "BASE_WEIGHT_PATH", base)
    with pytest.raises(
        OSError, match=r"The weights of mobilenetv2 cannot be had: .*By hand: put the file"
    ):
        helpers.load_model("mobilenetv2")
    assert server.requests == ["cut"] and files(server.cache) == []


def test_an_unwritable_cache(server, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(keras_config, "_KERAS_DIR", str(tmp_path / "file"))
    assert helpers.load_model().name == "pocketvgg"
    assert "Not a directory" in capsys.readouterr().out.splitlines()[-1] and server.requests == []
    with pytest.raises(OSError, match=re.escape(f"files in {tmp_path / 'file' / 'models'} can be")):
        helpers.load_model("vgg16")


def test_no_room_for_the_file(server, hash_of_good_file, capsys):
    server.misbehave("good")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        assert helpers.load_model().name == "pocketvgg"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in capsys.readouterr().out.splitlines()[-1]
    assert files(server.cache) == []


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal; shells start background jobs, and a test run among them, without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_the_download(server, capsys):
    server.misbehave("interrupt")
    assert helpers.load_model().name == "pocketvgg"
    assert (
        "The download of VGG16's weights was stopped. Taking"
        in capsys.readouterr().out.splitlines()[-1]
    )
    assert files(server.cache) == []
    with pytest.raises(KeyboardInterrupt):
        helpers.load_model("vgg16")
    assert files(server.cache) == []


KILLED = """
import sys, keras
sys.modules[keras.applications.VGG16.__module__].WEIGHTS_PATH_NO_TOP = sys.argv[1]
import helpers
helpers.load_model("vgg16")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill -9")
def test_a_killed_download_leaves_no_file_under_its_name(server, hash_of_good_file):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, server.address("drip")],
        cwd=COURSE,
        env={"PATH": "", "KERAS_HOME": str(server.cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    part = server.cache / "models" / f"{FILE}.part"
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert [name for name in files(server.cache) if name.endswith(".h5")] == []
    server.misbehave("good")
    assert helpers.load_model().name == "vgg16"
    assert not part.exists()


def test_progress_is_shown(server, hash_of_good_file, capsys):
    server.misbehave("good")
    helpers.load_model("vgg16")
    out = capsys.readouterr().out
    size = (server.cache / "models" / FILE).stat().st_size
    assert f"{size}/{size}" in out  # Keras' bar, at its end


def test_pocketvgg_never_touches_the_network(server, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert helpers.load_model("pocketvgg").name == "pocketvgg"
    monkeypatch.setenv("COURSE_MODEL", "pocketvgg")
    assert helpers.load_model().name == "pocketvgg"
    assert server.requests == []


def test_the_environment_chooses_as_a_name_does(server, monkeypatch):
    server.misbehave("404")
    monkeypatch.setenv("COURSE_MODEL", "vgg16")
    with pytest.raises(OSError, match="By hand"):
        helpers.load_model()
    monkeypatch.setenv("COURSE_MODEL", "pocketvg")
    with pytest.raises(ValueError, match="did you mean 'pocketvgg'"):
        helpers.load_model()


def test_models_and_saved_models(tmp_path):
    model = pocketvgg.load()
    assert helpers.load_model(model) is model
    images = np.zeros((1, 32, 32, 3), np.float32)
    for name in ("saved.keras", "saved.h5"):
        model.save(tmp_path / name)
        again = helpers.load_model(tmp_path / name)
        assert np.allclose(again(images), model(images), atol=1e-5)
    shutil.copy(tmp_path / "saved.keras", tmp_path / "cut.keras")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "saved.keras").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.keras' is no model that Keras can load"):
        helpers.load_model(tmp_path / "cut.keras")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vgg61", "no model 'vgg61'; did you mean 'vgg"),
        ("PocketVGG", "did you mean 'pocketvgg'"),
        ("VGG16", "did you mean 'vgg16'"),
        ("x" * 5000, "no model 'xxx"),
        ("none.keras", "no file 'none.keras'"),
        (16, "model is 16; it must be a name, a path or a keras.Model"),
        ("", "no model ''."),
    ],
)
def test_bad_names(name, words):
    with pytest.raises(ValueError) as caught:
        helpers.load_model(name)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mobilenetv2", "resnet50", "efficientnetb0", "inceptionv3"])
def test_other_networks_take_rgb_too(name):
    model = load.with_preprocessing(load.APPLICATIONS[name], None)
    assert model.name == name and model.input_shape == (None, None, None, 3)
    module = sys.modules[load.APPLICATIONS[name].__module__]
    bare = load.APPLICATIONS[name](weights=None, include_top=False, input_shape=(None, None, 3))
    bare.set_weights(model.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.float32)
    ours, theirs = np.array(model(images)), np.array(bare(module.preprocess_input(images.copy())))
    assert (
        np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
    )  # random weights give tiny values
