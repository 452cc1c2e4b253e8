"""The form of the chapters: how long they and their cells are, what stands in each of them."""

import math
import re

import nbformat
import pytest
from chapters import NOTEBOOKS, exercises

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def minutes(notebook):
    """Minutes to read a chapter and solve its exercises, rounded up to fives: 200 words and 20 lines of
    code a minute, half a minute a picture, three minutes an exercise."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    words = len(re.sub(r"<details>.*?</details>", "", prose, flags=re.DOTALL).split())
    lines = sum(bool(line.strip()) for cell in code for line in cell.source.splitlines())
    pictures = prose.count("![") + sum("image/jpeg" in str(cell.outputs) for cell in code)
    took = words / 200 + lines / 20 + pictures / 2 + 3 * len(exercises(notebook))
    return 5 * math.ceil(took / 5)


@every_notebook
def test_a_chapter_is_short(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 25
    for cell in code:
        assert len(cell.source.strip().splitlines()) <= 15, cell.source
    for one, two in zip(notebook.cells, notebook.cells[1:], strict=False):
        assert (one.cell_type, two.cell_type) != ("code", "code"), two.source
    assert f"About {minutes(notebook)} minutes" in notebook.cells[0].source


@every_notebook
def test_an_exercise_is_rated_and_its_solution_folded_away(path):
    notebook, chapter = nbformat.read(path, as_version=4), str(int(path.name[:2]))
    found = exercises(notebook)
    assert len(found) >= 2
    assert [number for number, _, _ in found] == [
        f"{chapter}.{place}" for place in range(1, len(found) + 1)
    ]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    titles = re.findall(r"^### Exercise (\d+\.\d+) · (easy|medium|hard)$", prose, re.MULTILINE)
    assert [number for number, _ in titles] == [number for number, _, _ in found]
    for (number, _, solution), (_, rating) in zip(found, titles, strict=True):
        assert solution and f"# Exercise {number} ({rating})" in str(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("# Exercise"):
            assert cell.outputs[0].text == "Not answered yet.\n"


@every_notebook
def test_a_widget_has_a_still_picture_beside_it(path):
    """As GitHub shows it, where there is no kernel."""
    live = r"show_widget\(|explorer\(|quiz\("
    cells = [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and re.search(live, cell.source)
    ]
    assert cells
    for cell in cells:
        assert "image/jpeg" in str(cell.outputs) or "def " in cell.source


@every_notebook
def test_what_is_true_is_shown_by_its_number(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert not re.search(r"\b(True|False)\b", output.get("text", "")), output.text
