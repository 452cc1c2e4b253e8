"""The notebooks as files, and the code in them held against helpers.

That they run and give the stored outputs, and that the solutions are right, is nbval's business (see
tests/chapters.py).
"""

import ast
import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import helpers
from filtersight.basics import files
from filtersight.trust import scores, why
from filtersight.world import patterns, pocketvgg

COURSE = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((COURSE / "notebooks").glob("*.ipynb"))
FIRST_CELL = (COURSE / "tools/first_cell.py").read_text(encoding="utf-8").rstrip("\n")
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    """The cells of a notebook of the kind "code" or "markdown"."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def prose(path):
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


# ---------------------------------------------------------------- as files


def test_the_chapters_are_there():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02}_" for number in range(1, 11)]


@every_notebook
def test_size_and_metadata(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(nbformat.read(path, as_version=4))
    assert path.stat().st_size <= 1_500_000
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags"}
        # No cell is left out of the comparison, or may fail.
        assert not {"nbval-skip", "nbval-ignore-output", "raises-exception"} & set(
            cell["metadata"].get("tags", [])
        )
        assert len(cell["source"]) <= 30 or cell["cell_type"] == "markdown"
    for output in (output for cell in code for output in cell["outputs"]):
        assert output["output_type"] != "error" and output.get("name") != "stderr"
        assert "image/png" not in output.get("data", {})
        assert not any("widget" in kind for kind in output.get("data", {}))
    text = path.read_text(encoding="utf-8")
    # No path of the machine that they were made on, which is mostly the one that tests them.
    places = {str(COURSE), str(Path.home()), tempfile.gettempdir()}
    assert not [place for place in places if len(place) > 3 and f"{place}/" in text]
    assert not re.search(r"/home/|/Users/|[A-Z]:\\\\Users", text)


@every_notebook
def test_the_first_cell_is_the_same_everywhere(path):
    assert cells(path, "code")[0].source == FIRST_CELL


@every_notebook
def test_every_picture_has_words(path):
    for alt, _ in re.findall(r"!\[(.*?)\]\((.*?)\)", prose(path)):
        assert len(alt) > 10
    for cell in cells(path, "code"):
        for output in cell.outputs:
            if "image/jpeg" in output.get("data", {}):
                alt = output.metadata["image/jpeg"]["alt"]
                assert len(alt) > 20 and alt == output.data["text/plain"]


@every_notebook
def test_no_picture_is_empty(path):
    pictures = [
        output.data["image/jpeg"]
        for cell in cells(path, "code")
        for output in cell.outputs
        if "image/jpeg" in output.get("data", {})
    ]
    assert len(pictures) >= 4
    for data in pictures:
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
        assert image.std() > 15 and min(image.shape) > 80


@every_notebook
def test_the_parts_of_a_chapter(path):
    text = prose(path)
    assert re.match(rf"# {int(path.name[:2])} · .+\n\n!\[.+\]\(\.\./media/.+\)", text)
    for part in (
        "**You will**",
        "**You will learn**",
        "**You need**",
        "**Predict:**",
        "## On your own",
    ):
        assert part in text
    assert re.search(r"About \d+ minutes", text)
    assert text.count("### Exercise") >= 2
    number = NOTEBOOKS.index(path)
    for neighbour in NOTEBOOKS[max(0, number - 1) : number] + NOTEBOOKS[number + 1 : number + 2]:
        assert text.count(f"]({neighbour.name})") >= 2  # at the top and at the end


@pytest.mark.parametrize(
    "path",
    [*NOTEBOOKS, *COURSE.glob("*.md"), *COURSE.glob("filtersight/world/weights/*.md")],
    ids=lambda p: p.name,
)
def test_links_lead_somewhere(path):
    text = prose(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    assert links or path.name in ("README.md", "CONTRIBUTING.md")
    for link in links:
        if not link.startswith("https://"):
            assert (path.parent / link).exists(), link


def test_every_picture_in_media_is_used():
    text = "\n".join(prose(path) for path in NOTEBOOKS)
    text += "\n".join(
        path.read_text(encoding="utf-8")
        for path in [*COURSE.glob("*.md"), *COURSE.glob("filtersight/world/weights/*.md")]
    )
    for picture in (COURSE / "media").iterdir():
        assert f"media/{picture.name}" in text, picture.name


def test_pictures_in_media_are_those_of_the_notebooks():
    for path in NOTEBOOKS:
        for cell in cells(path, "code"):
            for tag in cell.metadata.get("tags", []):
                stored = [
                    o.data["image/jpeg"] for o in cell.outputs if "image/jpeg" in o.get("data", {})
                ]
                name = f"{tag.removeprefix('media-')}.jpg"
                assert (COURSE / "media" / name).read_bytes() == base64.b64decode(stored[0]), name


# ---------------------------------------------------------------- the code in them


def functions(path, **names):
    """The functions that a notebook defines, in a namespace with the names that they use."""
    for cell in cells(path, "code"):
        for node in ast.parse(cell.source).body:
            if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef)):
                exec(compile(ast.Module([node], []), path.name, "exec"), names)
    return names


@pytest.fixture(scope="module")
def model():
    return pocketvgg.load()


def test_chapter_1_filter_is_the_layer(model):
    taught = functions(NOTEBOOKS[0])
    image = np.random.default_rng(0).random((12, 9))
    kernel = np.random.default_rng(1).normal(size=(3, 3))
    layer = tf.nn.conv2d(image[None, ..., None], kernel[..., None, None], 1, "VALID")[0, ..., 0]
    assert np.allclose(taught["convolve"](image, kernel), layer)
    assert np.array_equal(taught["kernel_picture"](np.array([[[-1.0, 0, 1]]])), [[[0, 128, 255]]])


def test_chapter_2_is_helpers(model):
    taught = functions(NOTEBOOKS[1])
    images, _ = patterns.images(3, seed=1)
    for layer in ("block1_conv1", "block3_pool", "block4_conv2"):
        ours, theirs = taught["submodel"](model, layer), helpers.submodel(model, layer)
        assert np.array_equal(ours(images.astype("f4")), theirs(images.astype("f4")))
        assert taught["receptive_field"](model, layer) == helpers.receptive_field(model, layer)
    ours = taught["activations"](model, "block4_conv2", images)
    assert np.allclose(
        ours, helpers.activations(model, "block4_conv2", images), rtol=1e-3, atol=1e-5
    )
    assert np.array_equal(taught["photo"](100), helpers.photo(100))
    maps = np.random.default_rng(0).random((6, 4, 2)).astype("f4")
    assert np.array_equal(taught["max_pool"](maps), tf.nn.max_pool2d(maps[None], 2, 2, "VALID")[0])


def test_chapter_3_is_helpers():
    taught = functions(NOTEBOOKS[2])
    assert np.array_equal(
        taught["random_image"](40, 7, 20), helpers.random_image(40, 7, contrast=20)
    )
    assert np.array_equal(taught["random_image"](), helpers.random_image())
    image = np.random.default_rng(0).normal(0, 500, (30, 30, 3)).astype("f4")
    assert np.array_equal(taught["deprocess"](image), helpers.deprocess(image))


def test_chapter_4_is_helpers(model):
    taught = functions(NOTEBOOKS[3])
    network = helpers.submodel(model, "block3_conv2")
    images = tf.constant(np.stack([helpers.random_image(32, seed) for seed in (0, 1)]))
    for ours, theirs in zip(
        taught["gradient_step"](network, images, [7, 9], 4.0),
        helpers.gradient_step(network, images, [7, 9], 4.0),
        strict=True,
    ):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_chapter_5_grid(model):
    taught = functions(NOTEBOOKS[4])
    tiles = [np.full((10, 10, 3), level, np.uint8) for level in (0, 50, 100, 150)]
    sheet = taught["simple_grid"](tiles, 2)
    assert sheet.shape == (28, 28, 3)
    assert [sheet[5, 5, 0], sheet[5, 20, 0], sheet[20, 5, 0], sheet[20, 20, 0]] == [0, 50, 100, 150]
    wave = 127 + 100 * np.sin(np.arange(128) / 16 * 2 * np.pi)[:, None, None] * np.ones((1, 128, 3))
    assert taught["grain"](wave) == pytest.approx(16)


def test_chapter_8_rank_is_that_of_the_scores(model):
    layer = "block2_conv2"
    real = scores.reality(model, layer, count=90)
    names = {"model": model, "layer": layer, "best": real.answers.max(axis=0)}
    taught = functions(NOTEBOOKS[7], **names)
    pictures = helpers.visualize(model, layer, range(0, 12, 3), steps=10, size=64, rescue=False)
    table = helpers.scores(model, pictures, real=real)
    assert [taught["rank"](p.image, p.filter) for p in pictures] == [each.rank for each in table]


def test_chapter_9_is_why(model):
    taught = functions(NOTEBOOKS[8])
    layer, image = "block4_conv3", patterns.image("fish", 3, size=64)
    for target in (4, 30):
        assert np.allclose(
            taught["attributions"](model, layer, image, target),
            why.attributions(model, layer, image, target),
            rtol=1e-3,
            atol=1e-5,
        )
        assert np.allclose(
            taught["grad_cam"](model, layer, image, target),
            why.grad_cam(model, image, target, layer=layer),
            rtol=1e-3,
            atol=1e-5,
        )
    square = taught["covered"](image, 3, 5, 9)
    assert (square[3:12, 5:14] == 127).all() and np.count_nonzero(square != image) <= 9 * 9 * 3
    one, two = (taught["snow"](image[None], 1, flakes=count) for count in (1, 40))
    assert (one == image[None]).mean() > 0.9 > (two == image[None]).mean() > 0.5
    quiet = taught["silenced"](model, layer, [2, 5])
    maps = helpers.submodel(quiet, layer)(image[None].astype("f4")).numpy()
    assert not maps[..., [2, 5]].any()
    before = helpers.submodel(model, layer)(image[None].astype("f4")).numpy()
    assert np.array_equal(np.delete(maps, [2, 5], axis=-1), np.delete(before, [2, 5], axis=-1))


def test_chapter_10_writes_whole_files_and_goes_on(model, tmp_path):
    taught = functions(NOTEBOOKS[9], model=model)
    for write in (taught["write_whole"], files.write_whole):
        (tmp_path / "000.png").write_bytes(b"old")
        write(tmp_path / "000.png", b"new")
        assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("000.png", b"new")]
    assert taught["missing"](tmp_path, 3) == [1, 2]
    taught["draw_missing"](tmp_path, "block1_conv1", 3)
    alone = helpers.visualize(model, "block1_conv1", [2], size=64, steps=40)[0]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "002.png")), alone.image)
    assert (tmp_path / "000.png").read_bytes() == b"new" and not taught["missing"](tmp_path, 3)


def test_chapter_10_looks_families_and_partners(model):
    taught = functions(NOTEBOOKS[9])
    images, _ = patterns.images(12, seed=3, size=64)
    looks = taught["looks"](images)
    assert np.allclose(looks, taught["looks"](np.roll(images, (5, 9), axis=(1, 2))))
    # Its first six numbers, before they are made comparable, are plain means and deviations.
    first = images[..., 1].mean(axis=(1, 2)) / 255
    assert np.allclose(looks[:, 1], (first - first.mean()) / first.std())
    waves = [np.sin(np.arange(64) * 2 * np.pi / length) for length in (2.5, 5, 10, 20, 40)]
    stripes = np.stack([np.tile(127 + 99 * wave[:, None, None], (1, 64, 3)) for wave in waves])
    assert (taught["looks"](stripes)[:, 6:].argmax(axis=0) == range(5)).all()
    apart = taught["distances"](looks)
    assert np.allclose(apart[2, 7], np.sqrt(((looks[2] - looks[7]) ** 2).sum()))

    line = np.array([0, 1, 2.5, 10, 11, 40.0])
    apart = np.abs(line[:, None] - line)
    assert taught["families"](apart, 3) == [[0, 1, 2], [3, 4], [5]]
    assert taught["families"](apart, 2) == [[0, 1], [3, 4], [2], [5]]

    answers = helpers.activations(model, "block2_conv1", images)
    partner, correlation = taught["partners"](answers, answers[:, ::-1])
    lively = answers.std(axis=0) > 1e-5
    assert np.array_equal(partner[lively], np.arange(31, -1, -1)[lively])
    assert np.allclose(correlation[lively], 1, atol=1e-4)
    one, two = answers[:, 3], answers[:, [5, 6]]
    expected = max(np.corrcoef(one, two[:, k])[0, 1] for k in (0, 1))
    assert taught["partners"](answers[:, [3]], two)[1][0] == pytest.approx(expected, abs=1e-4)


# ---------------------------------------------------------------- alone in an empty folder, as on Colab


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A repository with the course at the tag v1.0, and one commit more on its branch."""
    folder = tmp_path_factory.mktemp("published") / "course"
    shutil.copytree(
        COURSE,
        folder,
        ignore=shutil.ignore_patterns(".git", ".venv", ".ci", "__pycache__", ".*_cache"),
    )

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "course")
    git("tag", "v1.0")
    (folder / "helpers.py").write_text("raise RuntimeError('not the pinned one')\n")
    git("commit", "-qam", "later")
    return folder


def run_first_cell(folder, cell, more="print(helpers.load_model().name, helpers.__file__)"):
    return subprocess.run(
        [sys.executable, "-c", f"{cell}\n{more}"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ,
    )


def test_the_first_cell_fetches_the_pinned_course(published, tmp_path):
    cell = FIRST_CELL.replace('REPOSITORY, REF = ""', f'REPOSITORY, REF = "{published.as_uri()}"')
    assert cell != FIRST_CELL
    for _ in range(2):  # the second time the folder is there
        done = run_first_cell(tmp_path, cell)
        assert done.stdout.split() == ["pocketvgg", str(tmp_path / "cnn-filters" / "helpers.py")], (
            done.stderr
        )


def test_the_first_cell_finds_the_course_in_a_folder_above(tmp_path):
    done = run_first_cell(COURSE / "notebooks", FIRST_CELL)
    assert done.stdout.split()[1] == str(COURSE / "helpers.py"), done.stderr


def test_the_first_cell_says_what_to_do_where_it_knows_no_address(tmp_path):
    cell = re.sub(r'REPOSITORY, REF = ".*?"', 'REPOSITORY, REF = ""', FIRST_CELL)
    done = run_first_cell(tmp_path, cell)
    assert "Write the address of the course's repository" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_the_first_cell_says_what_to_do_with_half_a_course(tmp_path):
    (tmp_path / "cnn-filters").mkdir()
    done = run_first_cell(tmp_path, FIRST_CELL)
    assert "is not the whole course: delete it" in done.stderr.splitlines()[-1]


def test_the_first_cell_notices_another_helpers(tmp_path):
    (tmp_path / "helpers.py").write_text("")
    first = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import helpers\n"
    done = run_first_cell(COURSE / "notebooks", first + FIRST_CELL)
    assert "another helpers.py is in the way" in done.stderr.splitlines()[-1]


# ---------------------------------------------------------------- stamping


def stamp(folder, *arguments):
    return subprocess.run(
        [sys.executable, "tools/stamp.py", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_cells_and_badges_agree():
    done = stamp(COURSE, "--check")
    assert done.returncode == 0, done.stdout


def test_stamping_writes_the_address_everywhere(tmp_path):
    for name in ("tools", "notebooks"):
        shutil.copytree(COURSE / name, tmp_path / name)
    shutil.copy(COURSE / "README.md", tmp_path)
    for repository, ref in (("alice/course", "v2.0"), ("bob.b/other-course", "main")):
        assert stamp(tmp_path, repository, ref).returncode == 0
        readme = (tmp_path / "README.md").read_text(encoding="utf-8")
        for path in sorted((tmp_path / "notebooks").glob("*.ipynb")):
            link = f"https://colab.research.google.com/github/{repository}/blob/{ref}/notebooks/{path.name}"
            assert prose(path).count(link) == 1 and readme.count(link) == 1
            first = cells(path, "code")[0].source
            assert f'REPOSITORY, REF = "https://github.com/{repository}", "{ref}"' in first
            before = nbformat.read(COURSE / "notebooks" / path.name, as_version=4)
            after = nbformat.read(path, as_version=4)
            assert [c.get("outputs") for c in after.cells] == [
                c.get("outputs") for c in before.cells
            ]
        assert stamp(tmp_path, "--check").returncode == 0
    path = tmp_path / "notebooks" / NOTEBOOKS[0].name
    path.write_text(
        path.read_text(encoding="utf-8").replace("bob.b/other-course", "eve/evil", 1),
        encoding="utf-8",
    )
    wrong = stamp(tmp_path, "--check")
    assert wrong.returncode == 1 and path.name in wrong.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["alice"],
        ["a/b/c"],
        ["a/b", "x y"],
        ["a/b", "v1", "more"],
        ['a/b"c'],
        ["a/b.git"],
        ["../.."],
        ["a/b", "--x"],
        ["a/b", "/"],
    ],
)
def test_stamping_refuses_other_words(arguments, tmp_path):
    shutil.copytree(COURSE / "tools", tmp_path / "tools")
    done = stamp(tmp_path, *arguments)
    assert (
        done.returncode == 2 and done.stderr.startswith("usage: ") and done.stderr.count("\n") == 1
    )
    assert (tmp_path / "tools/first_cell.py").read_bytes() == (
        COURSE / "tools/first_cell.py"
    ).read_bytes()
