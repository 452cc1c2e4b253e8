"""What becomes of the course's own texts on the site: links, badges, words of pictures, live pictures.

The files themselves stay as they are; Sphinx is given the texts that these functions return.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes

COURSE = Path(__file__).resolve().parents[1]
BADGE = re.compile(r"<!-- colab -->(?:\[!\[.*?\]\(.*?\)\]\((.*?)\))?<!-- /colab -->")
SITE = re.compile(r"<!-- site -->.*?<!-- /site -->\n*", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
ROW = re.compile(r"^\| \[(.*?)\]\(notebooks/(\w+)\.ipynb\).*\| (.*?) \|$", re.MULTILINE)
TEMPLATES = {"index": "landing.html"}  # pages with a frame of their own
VIEWS = {
    "iterations": "Live: choose a filter, and drag the iterations",
    "sheet": "Live: all filters of a layer",
    "changes": "Live: one filter, one change at a time",
    "birth": "Live: a filter at nine moments of the training",
}


def page(text: str, path: str, address: str) -> str:
    """The text of a page, Markdown or a notebook, as the site shows it.

    `path` is the file's in the course, such as "notebooks/05_grids.ipynb"; `address` is where the
    repository's files can be looked at, such as "https://github.com/OWNER/NAME/blob/v1.0", or "".
    """
    if not path.endswith(".ipynb"):
        return prose(text, path, address)
    notebook, cells = json.loads(text), []
    for cell in notebook["cells"]:
        cells.append(cell)
        if cell["cell_type"] == "markdown":
            cell["source"] = prose("".join(cell["source"]), path, address)
        tags = cell["metadata"].get("tags", [])
        cells += [live_cell(tag[5:]) for tag in tags if tag.startswith("live-")]
    # The cell that finds the course is the same everywhere, and of no use to who only reads.
    next(cell for cell in cells if cell["cell_type"] == "code")["metadata"] = {
        "tags": ["hide-input"],
        "mystnb": {"code_prompt_show": "Show the first cell, which finds the course's code"},
    }
    return json.dumps(notebook | {"cells": cells})


def prose(text: str, path: str, address: str) -> str:
    """Markdown with links that lead to where things are on the site, or else in the repository."""
    name = posixpath.basename(path)

    def link(found: re.Match) -> str:
        target = file_at(found[1], path)
        if target == "README.md" and name.endswith(".ipynb"):
            return "](../index.md)"  # the site's first page shows the chapters
        page_or_picture = target.endswith((".md", ".ipynb")) or target.startswith("media/")
        return f"]({address}/{target})" if address and target and not page_or_picture else found[0]

    def badge(found: re.Match) -> str:
        parts = [f"[Open in Colab]({found[1]})"] if found[1] else []
        if name.endswith(".ipynb"):
            parts.append(f"{{download}}`Download the notebook <{name}>`")
        return " · ".join(parts)

    return BADGE.sub(badge, LINK.sub(link, SITE.sub("", text)))


def file_at(target: str, path: str) -> str:
    """The file of the course that a link of the page at `path` leads to, or "" if it leads to none."""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return place if (COURSE / place).is_file() else ""


def linked(text: str, path: str) -> Iterator[str]:
    """The files of the course that the page at `path` links to."""
    yield from filter(None, (file_at(target, path) for target, _ in LINK.findall(text)))


def live_cell(view: str) -> dict:
    """A cell with the place of a live picture; live.js puts it there, instead of the output before it."""
    text = f'<div class="live" data-view="{view}" data-title="{html.escape(VIEWS[view])}">\n'
    text += "<p>On this page the picture above is live, in a browser with JavaScript and WebAssembly SIMD.</p>\n</div>"
    return {"cell_type": "markdown", "id": f"live-{view}", "metadata": {}, "source": text}


def cards(readme: str) -> str:
    """The chapters as a list of pictures with titles, from the README's table."""
    return "\n".join(
        f"- ![](thumbnails/{name}.jpg) [{title}](notebooks/{name}.ipynb) {what[0].upper()}{what[1:]}."
        for title, name, what in ROW.findall(readme)
    )


def describe(tree: nodes.document) -> None:
    """Gives pictures of a notebook the words that are stored with them, and lets all but the first wait."""
    for bundle in tree.findall(nodes.container):
        if bundle.get("nb_element") == "mime_bundle":
            words = [each.astext() for each in bundle.findall(nodes.literal_block)]
            for image in bundle.findall(nodes.image):
                image["alt"] = words[0]
    for image in list(tree.findall(nodes.image))[1:]:
        image["loading"] = "lazy"
