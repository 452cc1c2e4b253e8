"""Settings that the tests and the notebooks share: importing this makes them."""

import os
import re

import nbformat
from nbval.plugin import IPyNbCell, IPyNbFile

# The committed outputs are PocketVGG's; kernels started by the tests inherit this.
os.environ["COURSE_MODEL"] = "pocketvgg"
# As filtersight/__init__.py has it. Many tests import TensorFlow first, and it reads this once.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Two processes side by side, see pyproject.toml, are faster if each of them keeps to one thread.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def pytest_collectstart(collector):
    """Prepares a notebook: stderr is not compared, and its exercises are solved in the end."""
    if isinstance(collector, IPyNbFile):
        # TensorFlow's remarks on the processor and progress bars land there.
        collector.skip_compare += ("stderr",)
        collect = collector.collect
        collector.collect = lambda: [*collect(), *solved(collector)]


def solved(notebook):
    """Cells that run after those of a chapter: each exercise with its solution, which must be right."""
    cells = notebook.nb.cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    solutions = re.findall(r"<summary>Solution</summary>\s+```python\n(.*?)\n```", prose, re.DOTALL)
    code = [cell for cell in cells if cell.cell_type == "code"]
    exercises = [number for number, cell in enumerate(code) if "# Exercise" in cell.source]
    right = nbformat.v4.new_output("stream", text="Right.\n")
    for number, solution in zip(exercises, solutions, strict=True):
        source = code[number].source.partition("# Exercise")[0] + solution
        if "\ncheck(" not in source:  # then it stands in the next cell
            source += "\n" + code[number + 1].source
        yield IPyNbCell.from_parent(
            notebook,
            name=f"Solution {number}",
            cell_num=number,
            cell=nbformat.v4.new_code_cell(source, outputs=[right], execution_count=1),
            options={"check": True, "check_exception": False, "skip": False},
        )
