"""Runs notebooks and stores their outputs as they are committed: python tools/execute.py [NOTEBOOK ...]

Without names, all of notebooks/. PocketVGG is the network. What differs from run to run or from
machine to machine is left out: stderr, timings of cells, widget state.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

COURSE = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def clean(notebook: nbformat.NotebookNode) -> None:
    """Keeps what belongs into the repository, in place."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"  # stable, so that a change shows only what changed
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                # A live widget is nothing without its kernel; its text form stays.
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def execute(path: Path) -> None:
    """Runs one notebook in its folder and writes it back."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        record_timing=False,
    ).execute()
    clean(notebook)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ["COURSE_MODEL"] = "pocketvgg"
    # As every machine can compute: what the sentences describe must not change with the processor.
    os.environ["COURSE_PRECISION"] = "float32"
    asked = [Path(name).resolve() for name in sys.argv[1:]]
    for path in asked or sorted((COURSE / "notebooks").glob("*.ipynb")):
        print(path.name)
        execute(path)
