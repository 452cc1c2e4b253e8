"""The notebooks as files.

That they run and give the stored outputs, and that the solutions are right, is nbval's business (see
tests/chapters.py).
"""

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
from chapters import COURSE, NOTEBOOKS, cells
from PIL import Image

from tools.stamp import site_link

FIRST_CELL = (COURSE / "tools/first_cell.py").read_text(encoding="utf-8").rstrip("\n")
PAGES = [
    page
    for place in ("*.md", "docs/*.md", "filtersight/world/weights/*.md")
    for page in COURSE.glob(place)
]
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def prose(path):
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


# ---------------------------------------------------------------- as files


def test_the_chapters_are_there():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02}_" for number in range(1, 14)]


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
    number = NOTEBOOKS.index(path)
    for neighbour in NOTEBOOKS[max(0, number - 1) : number] + NOTEBOOKS[number + 1 : number + 2]:
        assert text.count(f"]({neighbour.name})") >= 2  # at the top and at the end


@pytest.mark.parametrize(
    "path",
    [*NOTEBOOKS, *PAGES],
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
    text += "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    for picture in (COURSE / "media").iterdir():
        assert f"media/{picture.name}" in text, picture.name


def test_pictures_in_media_are_those_of_the_notebooks():
    for path in NOTEBOOKS:
        for cell in cells(path, "code"):
            for tag in cell.metadata.get("tags", []):
                if not tag.startswith("media-"):
                    continue
                stored = [
                    o.data["image/jpeg"] for o in cell.outputs if "image/jpeg" in o.get("data", {})
                ]
                name = f"{tag.removeprefix('media-')}.jpg"
                assert (COURSE / "media" / name).read_bytes() == base64.b64decode(stored[0]), name


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


def run_first_cell(
    folder, cell, more="import helpers\nprint(helpers.load_model().name, helpers.__file__)"
):
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
    shutil.copytree(COURSE / "filtersight/basics", tmp_path / "cnn-filters/filtersight/basics")
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
        owner, name = repository.split("/")
        assert f"](https://{owner}.github.io/{name}/)" in readme.splitlines()[2]
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
    ("address", "page"),
    [
        ("https://github.com/Alice/Course", "https://alice.github.io/Course/"),
        ("https://github.com/alice/alice.github.io", "https://alice.github.io/"),
        ("", None),
    ],
)
def test_the_readme_links_to_the_site_where_github_serves_it(address, page):
    assert re.findall(r"\]\((.*?)\)", site_link(address)) == ([page] if page else [])


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
