"""The atlas: what is in the folder, what happens when a run is stopped, damaged, or done by workers."""

import dataclasses
import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from atlas_faults import killing
from distributed import KilledWorker, LocalCluster
from PIL import Image
from test_helpers import small_network
from tqdm import tqdm

import helpers
from filtersight.ascent import climb, recipe, visualize
from filtersight.atlas import atlas as atlas_module
from filtersight.atlas import cluster, drawing
from filtersight.atlas import folder as folder_module
from filtersight.basics import images
from filtersight.basics.recipe import Settings
from filtersight.networks.layers import Layer
from filtersight.world import pocketvgg

COURSE = Path(__file__).resolve().parents[1]
CALL = {"steps": 6, "size": 32, "precision": "float32"}


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "BATCH", 2)
        yield


@pytest.fixture(scope="module")
def model():
    return small_network()


@pytest.fixture(scope="module")
def drawn(model, tmp_path_factory):
    """An undisturbed atlas of both layers, never changed by a test."""
    folder = tmp_path_factory.mktemp("drawn") / "atlas"
    return helpers.atlas(model, folder, **CALL)


@pytest.fixture
def folder(drawn, tmp_path):
    """A copy of it to do harm to."""
    return Path(shutil.copytree(drawn.folder, tmp_path / "atlas"))


def bytes_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("*/*.png")
    }


def stamps(folder):
    """Inode and time of every picture: other ones if it was written again."""
    return {
        path.name + path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.glob("*/*.png")
    }


# ---------------------------------------------------------------- what is in the folder


def test_every_filter_is_there_as_visualize_draws_it(model, drawn):
    assert str(drawn).startswith("small: 9 pictures of 2 layers; ")
    assert list(drawn.layers) == ["one", "two"]
    assert [(e.layer, e.filter) for e in drawn.entries] == [("one", n) for n in range(4)] + [
        ("two", n) for n in range(5)
    ]
    for layer in drawn.layers:
        pictures = helpers.visualize(model, layer, range(len(drawn.of(layer))), **CALL)
        stored = [drawn.picture(entry) for entry in drawn.of(layer)]
        scores = helpers.scores(model, stored)
        for entry, read, picture, numbers in zip(
            drawn.of(layer), stored, pictures, scores, strict=True
        ):
            assert read.reason == entry.reason and read.recipe == picture.recipe
            assert entry.status == picture.status
            # In other batches convolutions may add up in another order. In the even areas of a drawing,
            # where a rescue begins, that decides which way the gradient leads.
            assert entry.activation == pytest.approx(picture.activation, rel=0.05)
            if picture.status == "alive":
                assert np.abs(read.image - picture.image.astype(int)).max() <= 1
                assert np.allclose(read.history, picture.history, rtol=1e-3)
            ours, theirs = dataclasses.asdict(entry.scores), dataclasses.asdict(numbers)
            # A sum over other images beside it may differ in the last digit.
            assert ours.pop("fine") == pytest.approx(theirs.pop("fine")) and ours == theirs


def test_a_file_is_a_picture_with_its_recipe_and_scores(model, drawn, capsys):
    path = drawn.folder / "two/003.png"
    again = helpers.rerun(path, model)
    assert "The same picture, every pixel of it." in capsys.readouterr().out
    assert np.array_equal(np.asarray(Image.open(path)), again.image)
    facts = json.loads(Image.open(path).text["facts"])
    assert facts["scores"]["rank"] == drawn.of("two")[3].scores.rank
    # And what is changed there is noticed.
    changed = path.read_bytes().replace(b'"rank": ', b'"rank":9')
    (copy := drawn.folder.parent / "changed.png").write_bytes(changed)
    with pytest.raises(ValueError, match=r"is not a PNG|was changed"):
        helpers.rerun(copy, model)


def test_the_manifest_lists_every_file_with_its_sum(drawn):
    header, *lines = (drawn.folder / "manifest.jsonl").read_text().splitlines()
    assert {name: each["filters"] for name, each in json.loads(header)["layers"].items()} == {
        "one": 4,
        "two": 5,
    }
    sums = {line["file"]: line["sha256"] for line in map(json.loads, lines)}
    assert sums == {
        file: hashlib.sha256(data).hexdigest() for file, data in bytes_of(drawn.folder).items()
    }
    assert all(list(json.loads(line)["scores"])[:2] == ["activation", "rank"] for line in lines)


def test_the_batches_do_not_depend_on_what_is_there(model):
    orders = {
        layer: recipe.recipe_for(Layer(model, layer), Settings(**CALL)) for layer in ("one", "two")
    }
    everything = drawing.plan(model, orders, set())
    assert [batch.filters for batch in everything] == [[0, 1], [2, 3], [0, 1], [2, 3], [4]]
    left = drawing.plan(model, orders, {("one", n) for n in range(4)} | {("two", 3)})
    assert [(batch.filters, batch.missing) for batch in left] == [
        ([0, 1], {0, 1}),
        ([2, 3], {2}),
        ([4], {4}),
    ]


def test_the_bar_counts_all_of_the_work(model, tmp_path, monkeypatch):
    bars = []

    class Bar(tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.seen = []
            bars.append(self)

        def update(self, n=1):
            self.seen.append(self.n)
            return super().update(n)

    monkeypatch.setattr(atlas_module, "tqdm", Bar)
    helpers.atlas(model, tmp_path, **CALL)
    (bar,) = bars
    assert bar.seen == sorted(bar.seen) and bar.n == bar.total
    # By hand: steps × filters × multiplications, of "one" for 32 × 32 places, of "two" for 16 × 16 more.
    one = 32 * 32 * 27 * 4
    two = one + 16 * 16 * 9 * 4 * 5
    assert bar.total == 6 * (4 * one + 5 * two)


def test_layers_are_added_to_an_atlas(model, drawn, tmp_path):
    first = helpers.atlas(model, tmp_path, ["two"], **CALL)
    assert list(first.layers) == ["two"]
    before = stamps(tmp_path)
    both = helpers.atlas(model, tmp_path, ["one"], **CALL)
    assert list(both.layers) == ["one", "two"] and bytes_of(tmp_path) == bytes_of(drawn.folder)
    assert before.items() <= stamps(tmp_path).items()


def odd_network():
    """Two channels, names that file systems mind, and a classifier for one size only."""
    image = keras.Input((24, 24, 2))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="con. ü<&%")(image)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(4)(x))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="..")(x), name="odd")


def test_odd_networks(tmp_path):
    network = odd_network()
    made = helpers.atlas(network, tmp_path, ["con. ü<&%", ".."], steps=6, precision="float32")
    assert [len(made.of(layer)) for layer in made.layers] == [3, 3]
    assert {path.name for path in tmp_path.iterdir()} == {
        "con%2E%20%C3%BC%3C%26%25",
        "%2E%2E",
        "manifest.jsonl",
    }
    for entry in made.entries:
        picture = made.picture(entry)
        alone = helpers.visualize(
            network, entry.layer, [entry.filter], steps=6, precision="float32"
        )
        assert picture.image.shape[-1] == 2 and np.array_equal(picture.image, alone[0].image)
    # The real images have 128 pixels; a layer that takes no other size than its own has no scores.
    assert all((entry.scores is None) == (entry.layer == "..") for entry in made.entries)
    before = stamps(tmp_path)
    helpers.atlas(network, tmp_path, ["..", "con. ü<&%"], steps=6, precision="float32")
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
def test_channels_come_back_from_a_sheet(channels):
    image = np.random.default_rng(0).integers(0, 256, (6, 6, channels), dtype=np.uint8)
    assert np.array_equal(images.channels_of(images.visible(image), 6, channels), image)


# ---------------------------------------------------------------- stopped and begun again


def test_what_is_there_is_not_drawn_again(model, folder, monkeypatch):
    before = stamps(folder), (folder / "manifest.jsonl").read_bytes()
    monkeypatch.setattr(drawing, "draw_pictures", lambda *_: pytest.fail("work was begun"))
    helpers.atlas(model, folder, **CALL)
    assert (stamps(folder), (folder / "manifest.jsonl").read_bytes()) == before


def test_what_is_gone_is_drawn_again_and_is_the_same(model, drawn, folder, capsys):
    for file in ("one/001.png", "two/004.png"):
        (folder / file).unlink()
    before = stamps(folder)
    helpers.atlas(model, folder, **CALL)
    assert capsys.readouterr().out == "2 pictures gone: one/001.png, two/004.png\n"
    assert bytes_of(folder) == bytes_of(drawn.folder)
    assert before.items() <= stamps(folder).items()


def test_ctrl_c_pauses(model, drawn, tmp_path, monkeypatch, capsys):
    draw, calls = visualize.draw_pictures, []

    def impatient(*arguments):
        calls.append(arguments[1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(drawing, "draw_pictures", impatient)
    paused = helpers.atlas(model, tmp_path, **CALL)
    assert capsys.readouterr().out == "Paused: 2 of 9 pictures are there; the same call goes on.\n"
    assert str(paused).startswith("small: 2 of 9 pictures of 2 layers; ")
    helpers.atlas(model, tmp_path, **CALL)
    assert calls[1:] == [[2, 3], [2, 3], [0, 1], [2, 3], [4]] and bytes_of(tmp_path) == bytes_of(
        drawn.folder
    )


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_ctrl_c_in_the_middle_of_a_batch_leaves_none_of_it(
    model, tmp_path, monkeypatch, capsys, steps
):
    frames = climb.frames

    def impatient(*arguments, **options):
        yield from (
            frame
            for _, frame in zip(
                range(steps), frames(*arguments, **options | {"seconds": 0}), strict=False
            )
        )
        raise KeyboardInterrupt

    monkeypatch.setattr(climb, "frames", impatient)
    paused = helpers.atlas(model, tmp_path, **CALL)
    assert paused.entries == [] and str(paused).startswith("small: 0 of 9 pictures of 2 layers; ")
    assert capsys.readouterr().out == "Paused: 0 of 9 pictures are there; the same call goes on.\n"
    assert bytes_of(tmp_path) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_by_force_it_goes_on():
    done = subprocess.run(
        [sys.executable, "tests/atlas_faults.py", "process", "2", "--small"],
        cwd=COURSE,
        capture_output=True,
        text=True,
        check=False,
    )
    good = "killed 2 times, 9 pictures: none lost, none redone, none damaged"
    assert good in done.stdout, done.stderr


def test_half_files_are_cleared_away(model, drawn, folder):
    (folder / "one/002.png").rename(folder / "one/002.png.77.tmp")
    (folder / "manifest.jsonl.77.tmp").write_bytes(b"{")
    helpers.atlas(model, folder, **CALL)
    assert not [*folder.glob("**/*.tmp")] and bytes_of(folder) == bytes_of(drawn.folder)


# ---------------------------------------------------------------- damaged


def lines_of(folder):
    return (folder / "manifest.jsonl").read_bytes().split(b"\n")


@pytest.mark.parametrize(
    "damage",
    {
        "no first line": lambda lines: lines[1:],
        "half a first line": lambda lines: [lines[0][:40], *lines[1:]],
        "another format": lambda lines: [
            lines[0].replace(b'"atlas": 1', b'"atlas": 2'),
            *lines[1:],
        ],
        "a layer that is a number": lambda lines: [
            b'{"atlas": 1, "layers": {"one": 3}}',
            *lines[1:],
        ],
        "layers that are a list": lambda lines: [b'{"atlas": 1, "layers": []}', *lines[1:]],
        "a foreign line": lambda lines: [*lines[:3], b"hello", *lines[3:]],
        "another file": lambda lines: [
            lines[0],
            lines[1].replace(b"one/000.png", b"../../etc/x.png"),
            *lines[2:],
        ],
        "a number for a name": lambda lines: [*lines[:2], b"7", *lines[2:]],
        "no scores": lambda lines: [lines[0], b'{"layer": "one", "filter": 0}', *lines[2:]],
        "zeros": lambda lines: [*lines[:4], b"\0" * 500, *lines[5:]],
        "not UTF-8": lambda lines: [*lines[:4], b"\xff\xfe", *lines[5:]],
        "deep": lambda lines: [*lines[:4], b"[" * 100_000, *lines[5:]],
        "empty": lambda lines: [b""],
    }.items(),
    ids=lambda damage: damage[0],
)
def test_a_damaged_manifest_is_made_again_of_the_pictures(
    model, drawn, folder, damage, capsys, monkeypatch
):
    (folder / "manifest.jsonl").write_bytes(b"\n".join(damage[1](lines_of(folder))))
    before = stamps(folder)
    monkeypatch.setattr(drawing, "draw_pictures", lambda *_: pytest.fail("work was begun"))
    read = folder_module.Atlas(folder)
    said = capsys.readouterr().out
    assert said == "manifest.jsonl is damaged: what it does not tell was read from the pictures.\n"
    assert read.entries == drawn.entries and read.layers == drawn.layers
    helpers.atlas(model, folder, **CALL)
    assert capsys.readouterr().out == said  # once more, and then it is whole again
    assert lines_of(folder) == lines_of(drawn.folder) and stamps(folder) == before
    folder_module.Atlas(folder)
    assert capsys.readouterr().out == ""


def test_a_line_that_was_not_finished_is_no_damage(drawn, folder, capsys):
    whole = (folder / "manifest.jsonl").read_bytes()
    (folder / "manifest.jsonl").write_bytes(whole[:-30])
    assert folder_module.Atlas(folder).entries == drawn.entries and capsys.readouterr().out == ""
    (folder / "manifest.jsonl").unlink()
    assert folder_module.Atlas(folder).entries == drawn.entries
    assert "manifest.jsonl is damaged" in capsys.readouterr().out


def test_a_damaged_picture_is_drawn_again(model, drawn, folder, capsys):
    for file, change in (
        ("one/000.png", lambda data: data[:300]),
        ("one/003.png", lambda data: b""),
        ("two/002.png", lambda data: data[:200] + b"\0" + data[201:]),
    ):
        (folder / file).write_bytes(change((folder / file).read_bytes()))
    helpers.atlas(model, folder, **CALL)
    assert capsys.readouterr().out == "3 pictures damaged: one/000.png, one/003.png, two/002.png\n"
    assert bytes_of(folder) == bytes_of(drawn.folder)


def test_a_picture_under_another_name_is_not_taken_for_it(model, drawn, folder):
    shutil.copy(folder / "one/000.png", folder / "one/001.png")
    shutil.copy(folder / "one/000.png", folder / "two/001.png")
    shutil.copy(folder / "one/000.png", folder / "one/mine.png")
    helpers.atlas(model, folder, **CALL)
    (folder / "one/mine.png").unlink()
    assert bytes_of(folder) == bytes_of(drawn.folder)


# ---------------------------------------------------------------- another recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 7}, "one with steps 6, not 7"),
        ({"size": 48}, "one with size 32, not 48"),
        ({"seed": 1}, "one with seed 0, not 1"),
        ({"recipe": "plain", "step_size": 0.05}, "one with recipe 'clear', not 'plain'"),
        ({"coarse": False}, "one with coarse True, not False"),
        ({"layers": ["two"], "seed": 1}, "one with seed 0, not 1"),
        ({"layers": ["two"], "size": 48}, "two with size 32, not 48"),
    ],
)
def test_other_recipes_are_not_mixed_in(model, folder, change, message):
    before = stamps(folder)
    with pytest.raises(ValueError, match="holds an atlas of another recipe") as caught:
        helpers.atlas(model, folder, **CALL | change)
    assert message in str(caught.value)
    assert stamps(folder) == before


def test_other_weights_are_not_mixed_in(folder):
    network = small_network(weights=0.1)
    for layers in (None, ["one"]):
        with pytest.raises(
            ValueError, match=r"(one|two) with weights '\w{12}', not '\w{12}'; take another folder"
        ):
            helpers.atlas(network, folder, layers, **CALL)
    with pytest.raises(ValueError, match="one with network 'small', not 'pocketvgg'"):
        helpers.atlas(pocketvgg.load(), folder, ["block1_conv1"], **CALL)


def test_a_picture_of_another_recipe_is_not_written_over(model, folder):
    other = helpers.visualize(model, "one", [2], **CALL | {"seed": 5})[0]
    facts = {"scores": None, "place": 2, "filters": 4}
    (folder / "one/002.png").write_bytes(other.png(facts))
    before = stamps(folder)
    with pytest.raises(ValueError, match=r"one/002\.png is of another recipe than its layer"):
        helpers.atlas(model, folder, **CALL)
    assert stamps(folder) == before


def test_precision_goes_on_as_it_began(model, folder, monkeypatch):
    monkeypatch.setattr(atlas_module, "fast_precision", lambda: "bfloat16")
    helpers.atlas(model, folder, **CALL | {"precision": None})  # which would refuse another one


# ---------------------------------------------------------------- a disk that is full


def test_a_full_disk_is_one_error_and_loses_nothing(model, drawn, tmp_path, monkeypatch):
    """The disk takes so many bytes and no more, wherever they are written."""
    write, room = Path.write_bytes, [sum(map(len, bytes_of(drawn.folder).values())) // 2]

    def limited(self, data):
        room[0] -= len(data)
        if room[0] < 0:
            write(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", limited)
    with pytest.raises(
        OSError, match=r"No space left.*; \d of 9 pictures are there, and the same call"
    ) as caught:
        helpers.atlas(model, tmp_path, **CALL)
    assert caught.value.errno == errno.ENOSPC and "\n" not in str(caught.value)
    kept = bytes_of(tmp_path)
    assert 0 < len(kept) < 9 and kept.items() <= bytes_of(drawn.folder).items()
    assert f"{len(kept)} of 9" in str(caught.value) and not [*tmp_path.glob("**/*.tmp")]
    before = stamps(tmp_path)
    with pytest.raises(OSError, match="No space left"):  # still no room
        helpers.atlas(model, tmp_path, **CALL)
    monkeypatch.undo()
    helpers.atlas(model, tmp_path, **CALL)
    assert (
        bytes_of(tmp_path) == bytes_of(drawn.folder) and before.items() <= stamps(tmp_path).items()
    )


TINY_DISK = """
import os, subprocess, sys
sys.path[:0] = ["tests", "."]
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder], check=True)
import helpers
from filtersight.atlas.folder import Atlas
from filtersight.world import sample
from test_helpers import small_network
images = sample.images
sample.images = lambda count, **options: images(45, **options)  # most of the time would go there
call = {"steps": 6, "size": 32, "precision": "float32"}
try:
    helpers.atlas(small_network(), folder, **call)
except OSError as error:
    print("ERROR", error)
print("KEPT", len(Atlas(folder).entries))
subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
print("THEN", helpers.atlas(small_network(), folder, **call))
subprocess.run(["umount", folder], check=True)
"""


def test_a_disk_that_is_really_full(tmp_path):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", TINY_DISK, str(tmp_path)],
        cwd=COURSE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ERROR [Errno 28] No space left on device" in done.stdout, done.stderr
    kept = int(done.stdout.split("KEPT ")[1].split()[0])
    assert 0 < kept < 9 and f"; {kept} of 9 pictures are there" in done.stdout
    assert "THEN small: 9 pictures of 2 layers" in done.stdout


# ---------------------------------------------------------------- on a cluster


@pytest.fixture(scope="module")
def workers():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(workers):
    with workers.get_client() as client:
        yield client


def test_workers_make_the_same_bytes(model, drawn, tmp_path, client):
    made = helpers.atlas(model, tmp_path, client=client, steps=6, size=32)  # float32 without asking
    assert bytes_of(tmp_path) == bytes_of(drawn.folder) and made.entries == drawn.entries
    # Both had a part in it, and took the course that was sent, not the one in this folder.
    places = client.run(lambda: sys.modules["filtersight"].__file__)
    assert len(places) == 2 and all(cluster.NAME in place for place in places.values())
    assert not client.run(
        lambda dask_worker: [name for name in dask_worker.plugins if cluster.NAME in name]
    ).popitem()[1]


def test_workers_go_on_where_one_process_stopped(model, drawn, folder, client):
    for file in ("one/001.png", "two/004.png"):
        (folder / file).unlink()
    before = stamps(folder)
    helpers.atlas(model, folder, client=client, **CALL)
    assert bytes_of(folder) == bytes_of(drawn.folder) and before.items() <= stamps(folder).items()


def test_killed_workers_have_their_work_done_again(model, drawn, tmp_path, workers, client):
    killed = killing(workers, 1, 0, lambda: helpers.atlas(model, tmp_path, client=client, **CALL))
    assert len(killed) == 1 and bytes_of(tmp_path) == bytes_of(drawn.folder)
    client.wait_for_workers(2)  # the next test has both again


# What a notebook defines no worker can import: it goes with the model. So that this module, too, is none
# that workers can import, its name is another one.
OWN = types.ModuleType("a_readers_module")
sys.modules[OWN.__name__] = OWN
exec(
    """
import keras, threading
LOCK = threading.Lock()
def thrice(x): return 3 * x
def bent(x): return keras.ops.relu(thrice(x))
def own_loss(y, z): return y - z
class Thrice(keras.layers.Layer):
    def call(self, x): return thrice(x)
@keras.saving.register_keras_serializable("readers")
class Registered(keras.layers.Layer):
    def call(self, x): return thrice(x)
class Ones(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None): return keras.ops.ones(shape, dtype) / 9
class Locked(keras.layers.Layer):
    def call(self, x):
        with LOCK: return x
class Hidden(keras.layers.Layer):
    def __init__(self, secret):
        super().__init__()
        self.secret = secret
    def call(self, x): return x
""",
    vars(OWN),
)


def own_network(*layers, **options):
    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv2D(3, 3, name="one", **options)
    return keras.Sequential([keras.Input((None, None, 3)), *layers, convolution], name="own")


def test_what_a_reader_defined_goes_with_the_model(tmp_path, client):
    inner = keras.Sequential([OWN.Thrice(), OWN.Registered()])
    network = own_network(inner, activation=OWN.bent, kernel_initializer=OWN.Ones())
    network.compile("sgd", OWN.own_loss)  # which no worker needs
    here, there = (
        helpers.atlas(network, tmp_path / name, client=who, **CALL | {"rescue": False})
        for name, who in (("here", None), ("there", client))
    )
    assert bytes_of(there.folder) == bytes_of(here.folder) and len(there.entries) == 3
    # Defined anew, as in a notebook, with the same weights and settings.
    OWN.thrice = eval("lambda x: 5 * x", vars(OWN))
    changed = helpers.atlas(network, tmp_path / "new", client=client, **CALL | {"rescue": False})
    assert bytes_of(changed.folder) != bytes_of(here.folder)


@pytest.mark.parametrize("layer", [lambda: OWN.Locked(), lambda: OWN.Hidden(object())])
def test_what_cannot_be_sent_is_said_before_any_work(tmp_path, client, layer):
    with pytest.raises(
        ValueError, match=r"^own cannot be sent to workers, for it cannot be s"
    ) as e:
        helpers.atlas(own_network(layer()), tmp_path / "new", client=client, **CALL)
    assert "\n" not in str(e.value) and len(str(e.value)) < 300 and not (tmp_path / "new").exists()


def test_a_model_that_a_worker_cannot_read(tmp_path, client, monkeypatch):
    send = cluster.course_for

    def damaged(model):
        course = send(model)
        return cluster.Course(f"{course.name}-damaged", course.model[:-9])

    monkeypatch.setattr(cluster, "course_for", damaged)
    with pytest.raises(ValueError, match=r"^a worker, with Keras 3\.\S+, cannot read the model: "):
        helpers.atlas(own_network(), tmp_path, client=client, **CALL)


def test_a_worker_that_lacks_what_the_course_needs(tmp_path, client):
    def age(version):
        """Has the course imported anew, where packages seem to be of this version, or are as they are."""
        importlib.reload(importlib.metadata)
        if version:
            importlib.metadata.version = lambda name: version
        for module in [each for each in sys.modules if each.partition(".")[0] == "filtersight"]:
            del sys.modules[module]

    client.run(age, "0.1")
    said = (
        r"^a worker cannot run the course: tensorflow 0\.1 is too old, the course needs 2\.\d+ or"
    )
    with pytest.raises(ValueError, match=said):
        helpers.atlas(own_network(), tmp_path, client=client, **CALL)
    client.run(age, None)
    assert len(helpers.atlas(own_network(), tmp_path, client=client, **CALL).entries) == 3


def test_workers_with_another_python(tmp_path, client, monkeypatch):
    monkeypatch.setattr(cluster.platform, "python_version", lambda: "3.99.1")
    with pytest.raises(
        ValueError, match=r"^the worker \S+ runs Python 3\.\d+\S*, and this is 3\.99"
    ):
        helpers.atlas(own_network(), tmp_path / "new", client=client, **CALL)
    assert not (tmp_path / "new").exists()


def test_an_error_on_a_worker_is_the_same_error_here(model, folder, client):
    def fail(*_):
        raise ValueError("one image of 32 pixels needs 9.0 GB up to two; 0.1 GB are free")

    client.run(lambda: sys.modules["filtersight.atlas.drawing"].__dict__.update(draw_pictures=fail))
    (folder / "two/004.png").unlink()
    with pytest.raises(ValueError, match=r"^one image of 32 pixels needs 9\.0 GB up to two"):
        helpers.atlas(model, folder, client=client, **CALL)


def test_a_batch_that_kills_its_workers_is_given_up(model, tmp_path, monkeypatch):
    class Deadly:
        def result(self):
            raise KilledWorker("drawn", None, 3)

    submitted = []

    class Client:
        status = "running"

        def register_plugin(self, plugin): ...
        def unregister_worker_plugin(self, name): ...
        def cancel(self, futures): ...

        def submit(self, *arguments, **options):
            submitted.append(Deadly())
            return submitted[-1]

    monkeypatch.setattr(cluster, "check_client", lambda client: None)
    monkeypatch.setattr(cluster, "wait", lambda futures, **_: type("", (), {"done": futures}))
    with pytest.raises(
        RuntimeError, match=r"workers die again and again of (one|two), filters 0 to \d"
    ):
        helpers.atlas(model, tmp_path, client=Client(), **CALL)
    assert len(submitted) > cluster.GIVEN_UP


@pytest.mark.parametrize("client", ["tcp://127.0.0.1:8786", 3, object()])
def test_a_client_that_is_none(model, tmp_path, client):
    with pytest.raises(ValueError, match=r"client is .*; it must be a dask.distributed.Client"):
        helpers.atlas(model, tmp_path / "new", client=client)
    assert not (tmp_path / "new").exists()


def test_a_client_that_was_closed(model, tmp_path):
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as workers:
        client = workers.get_client()
        client.close()
        with pytest.raises(ValueError, match="client is closed"):
            helpers.atlas(model, tmp_path, client=client)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "one"}, r"layers is 'one'; it must be a list of names"),
        ({"layers": 3}, r"layers is 3; it must be a list of names"),
        ({"layers": []}, r"no layers to draw; small has: one, two"),
        ({"layers": ["twoo"]}, r"no layer 'twoo'; did you mean 'two'\?"),
        ({"layers": ["one", "one"]}, r"layers names a layer twice"),
        ({"layers": [3]}, r"no layer 3"),
        ({"steps": 0}, r"steps must be"),
        ({"size": 8}, r"size must be"),
        ({"precision": "float64"}, r"precision must be one of float32, bfloat16"),
        ({"recipe": "best"}, r"recipe must be one of clear, plain"),
        ({"rescue": 1}, r"rescue must be True or False"),
    ],
)
def test_bad_input_makes_no_folder(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        helpers.atlas(model, tmp_path / "new", **arguments)
    assert "\n" not in str(caught.value) and not (tmp_path / "new").exists()


def test_a_folder_that_is_a_file(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="which is a file"):
        helpers.atlas(model, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_reading_what_is_no_atlas(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"{name}' is not the folder of an atlas"):
        folder_module.Atlas(tmp_path / name)


def test_a_layer_that_the_atlas_has_not(drawn):
    with pytest.raises(ValueError, match="no layer 'three' in the atlas; there are: one, two"):
        drawn.of("three")


TWO_VERSIONS = """
import shutil, sys, types
from pathlib import Path
sys.path[:0] = ["tests", "."]
from test_helpers import small_network
from filtersight.atlas import cluster

folder, engine = Path(sys.argv[1]), types.ModuleType("engine")
sys.modules["engine"] = engine
course = cluster.course_for(small_network())
worker = types.SimpleNamespace(local_directory=str(folder))
for version in ("one", "two"):
    copy = folder / version / "filtersight"
    shutil.copytree(cluster.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with open(copy / "atlas/drawing.py", "a") as file:
        file.write(f"VERSION = {version!r}\\n")
for version in ("one", "two", "one"):
    course.package = cluster.packed(folder / version / "filtersight")
    course.setup(worker)
    from filtersight.atlas import drawing
    print(drawing.VERSION, sys.modules["engine"] is engine)
    course.setup(worker)  # again changes nothing
    assert sys.modules["filtersight.atlas.drawing"] is drawing
"""


def test_a_worker_runs_the_version_that_was_sent_last_and_keeps_its_own_modules(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TWO_VERSIONS, tmp_path],
        cwd=COURSE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "one True\ntwo True\none True\n", done.stderr
