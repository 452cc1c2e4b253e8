"""Settings that the tests and the notebooks share: importing this makes them."""

import ast
import functools
import os
import re
from pathlib import Path

import nbformat
from nbval.plugin import IPyNbCell, IPyNbFile

# The committed outputs are PocketVGG's; kernels started by the tests inherit this.
os.environ["COURSE_MODEL"] = "pocketvgg"
# As filtersight/__init__.py has it. Many tests import TensorFlow first, and it reads this once.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Two processes side by side, see pyproject.toml, are faster if each of them keeps to one thread.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

COURSE = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((COURSE / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    """The cells of a notebook of the kind "code" or "markdown"."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@functools.cache
def definitions(path):
    """A notebook's imports and functions, compiled."""
    return [
        compile(ast.Module([node], []), path.name, "exec")
        for cell in cells(path, "code")
        for node in ast.parse(cell.source).body
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef))
    ]


def functions(path, **names):
    """What a notebook imports and the functions that it defines, in a namespace with the names they use."""
    for each in definitions(path):
        exec(each, names)
    return names


def pytest_collectstart(collector):
    """Prepares a notebook: stderr is not compared, and its exercises are solved in the end."""
    if isinstance(collector, IPyNbFile):
        # TensorFlow's remarks on the processor and progress bars land there.
        collector.skip_compare += ("stderr",)
        collect = collector.collect
        collector.collect = lambda: [*collect(), *solved(collector)]


def exercises(notebook):
    """For each exercise of a notebook its number, the last lines of its cell, which check the answer, and
    the solution that is folded away under it."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and (head := re.match(r"# Exercise (\d+\.\d+) ", cell.source)):
            found.append([head[1], cell.source[cell.source.index("\ncheck(") :].strip(), None])
        elif cell.cell_type == "markdown":
            fold = r"<summary>Solution</summary>\s+```python\n(.*?)\n```"
            for solution in re.findall(fold, cell.source, re.DOTALL):
                assert found[-1][2] is None, f"two solutions to exercise {found[-1][0]}"
                found[-1][2] = solution
    return found


def solved(collector):
    """Cells that run after those of a chapter: each exercise with its solution, which must be right."""
    right = nbformat.v4.new_output("stream", text="Right.\n")
    for place, (number, checked, solution) in enumerate(exercises(collector.nb)):
        yield IPyNbCell.from_parent(
            collector,
            name=f"Solution {number}",
            cell_num=place,
            cell=nbformat.v4.new_code_cell(
                f"{solution}\n\n{checked}", outputs=[right], execution_count=1
            ),
            options={"check": True, "check_exception": False, "skip": False},
        )
