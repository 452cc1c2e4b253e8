"""Writes the repository's address into the notebooks and the README: python tools/stamp.py OWNER/NAME [REF]

OWNER/NAME is the course's repository on GitHub, REF the tag or branch that Colab shall fetch. The
address stands in one place, REPOSITORY and REF in tools/first_cell.py; from there it goes into the
first cell of every notebook, into the "open in Colab" badges and into the README's link to the course's
web site on GitHub Pages. Without arguments notebooks and README are brought in line with that file.
"python tools/stamp.py --check" changes nothing and says what is out of line.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
LINE = re.compile(r'^REPOSITORY, REF = "(.*)", "(.*)"$', re.MULTILINE)
BADGE = re.compile(r"<!-- colab -->.*?<!-- /colab -->", re.DOTALL)
SITE = re.compile(r"<!-- site -->.*?<!-- /site -->", re.DOTALL)
HOST = "https://github.com/"


def address_and_ref(cell: str | None = None) -> tuple[str, str]:
    """The repository's address, "" while it is not known, and the tag or branch that readers are given.

    They stand in the text of the first cell, which is that of tools/first_cell.py if none is given.
    """
    found = LINE.search(cell or (COURSE / "tools/first_cell.py").read_text(encoding="utf-8"))
    assert found, "tools/first_cell.py has lost its REPOSITORY line"
    return found[1], found[2]


def badge(address: str, ref: str, notebook: str) -> str:
    """The mark in a notebook or the README that holds the badge; empty while the address is not known."""
    if not address.startswith(HOST):
        return "<!-- colab --><!-- /colab -->"
    page = f"https://colab.research.google.com/github/{address.removeprefix(HOST)}/blob/{ref}/notebooks/{notebook}"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"<!-- colab -->[![Open in Colab]({image})]({page})<!-- /colab -->"


def site_link(address: str) -> str:
    """The README's first line: a link to the site that GitHub Pages serves for the repository."""
    if not address.startswith(HOST):
        return "<!-- site --><!-- /site -->"
    owner, name = address.removeprefix(HOST).split("/")
    host = f"{owner.lower()}.github.io"
    page = f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"
    return f"<!-- site -->**[Open the course in your browser]({page})**: nothing to install.<!-- /site -->"


def stamped(text: str, cell: str, name: str) -> str:
    """The text of a notebook or README with the first cell and the badges as they should be."""
    address, ref = address_and_ref(cell)
    if not name.endswith(".ipynb"):
        # In the README each badge stands in the row of the chapter it opens.
        row = re.compile(r"(notebooks/(\d\d_\w+\.ipynb)[^\n]*?)" + BADGE.pattern)
        text = row.sub(lambda m: m[1] + badge(address, ref, m[2]), text)
        return SITE.sub(lambda _: site_link(address), text)
    notebook = json.loads(text)
    code = [each for each in notebook["cells"] if each["cell_type"] == "code"]
    code[0]["source"] = cell.rstrip("\n").splitlines(keepends=True)
    for each in notebook["cells"]:
        if each["cell_type"] == "markdown":
            source = BADGE.sub(lambda _: badge(address, ref, name), "".join(each["source"]))
            each["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Stamps, or checks; returns the exit status."""
    source = COURSE / "tools/first_cell.py"
    cell = source.read_text(encoding="utf-8")
    check = arguments == ["--check"]
    if arguments and not check:
        repository, ref = (*arguments, "v1.0")[:2]
        # Names begin with a letter or digit on GitHub; an address that ends in .git has no badge.
        word = r"[A-Za-z0-9][\w.-]*"
        good = re.fullmatch(rf"{word}/{word}(?<!\.git)", repository)
        good = good and re.fullmatch(rf"{word}(/{word})*", ref)
        if len(arguments) > 2 or not good:
            print(
                f"usage: python tools/stamp.py OWNER/NAME [REF], not {' '.join(arguments)!r}",
                file=sys.stderr,
            )
            return 2
        cell = LINE.sub(lambda _: f'REPOSITORY, REF = "{HOST}{repository}", "{ref}"', cell)
        source.write_text(cell, encoding="utf-8")
    wrong = []
    for path in [*sorted((COURSE / "notebooks").glob("*.ipynb")), COURSE / "README.md"]:
        text = path.read_text(encoding="utf-8")
        right = stamped(text, cell, path.name)
        if right != text:
            wrong.append(path.name)
            if not check:
                path.write_text(right, encoding="utf-8")
    if wrong:
        print(("out of line: " if check else "stamped: ") + ", ".join(wrong))
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
