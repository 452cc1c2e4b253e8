"""Builds the course's web site: python site/build.py [TARGET] [--atlas FOLDER]

TARGET is the folder of the site, site/html if none is named; what an earlier build left there is
replaced. The notebooks are shown as they are stored; nothing is run, and nothing is fetched. With
--atlas the gallery of an atlas that `helpers.atlas` has drawn becomes a part of the site.
"""

from __future__ import annotations

import argparse
import functools
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from sphinx.cmd.build import build_main

COURSE = Path(__file__).resolve().parents[1]
sys.path += [str(COURSE), str(COURSE / "tools")]

import rewrite
import weights
from stamp import address_and_ref
from thumbnail import thumbnail

PAGES = ["README.md", "CONCEPTS.md", "CONTRIBUTING.md", "docs", "media", "notebooks"]
PAGES += ["filtersight/world/weights/README.md"]
IMAGE = re.compile(r'<img ([^>]*)src="([^"]*_images/[^"]*)" />')


def stage(folder: Path) -> None:
    """Copies the pages, what they link to and the site's own pages into an empty folder."""
    shutil.copytree(COURSE / "site/pages", folder, dirs_exist_ok=True)
    for name in PAGES:
        if (COURSE / name).is_dir():
            shutil.copytree(COURSE / name, folder / name)
        else:
            copy(COURSE / name, folder)
    for page in [*folder.rglob("*.md"), *folder.rglob("*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        for target in rewrite.linked(text, page.relative_to(folder).as_posix()):
            if not (folder / target).exists():
                copy(COURSE / target, folder)
    (folder / "thumbnails").mkdir()
    for notebook in (folder / "notebooks").glob("*.ipynb"):
        with Image.open(folder / f"media/chapter_{notebook.name[:2]}.jpg") as image:
            thumbnail(image).save(
                folder / f"thumbnails/{notebook.stem}.jpg", quality=60, optimize=True
            )
    index, readme = folder / "index.md", (COURSE / "README.md").read_text(encoding="utf-8")
    text = index.read_text(encoding="utf-8").replace("<!-- chapters -->", rewrite.cards(readme))
    index.write_text(text, encoding="utf-8")


def copy(path: Path, folder: Path) -> None:
    """Copies a file of the course to the same place under `folder`."""
    place = folder / path.relative_to(COURSE)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)


def build(target: Path, atlas: Path | None = None) -> None:
    """Builds the site into `target`; a warning of Sphinx is an error (SystemExit), and leaves no site.

    ValueError for a target that holds something else, which is not deleted.
    """
    if target.exists() and not (target / ".buildinfo").is_file() and any(target.iterdir()):
        raise ValueError(
            f"{str(target)!r} holds something that is no earlier site; name a new folder or an empty one"
        )
    address, ref = address_and_ref()
    with tempfile.TemporaryDirectory() as temporary:
        source, made = Path(temporary) / "source", Path(temporary) / "site"
        stage(source)
        options = ["-q", "-W", "--keep-going", "-c", str(COURSE / "site")]
        options += ["-d", f"{temporary}/doctrees", *(["-t", "atlas"] if atlas else [])]
        options += ["-D", f"course_address={address}/blob/{ref}" if address else "course_address="]
        if status := build_main([*options, str(source), str(made)]):
            raise SystemExit(status)
        for page in made.rglob("*.html"):
            text = page.read_text(encoding="utf-8")
            page.write_text(IMAGE.sub(functools.partial(sized, page), text), "utf-8")
        for path in [*made.rglob("*.map"), *made.glob("_static/*macros.html")]:
            path.unlink()  # the theme's, for who develops it
        shutil.copytree(COURSE / "site/live", made / "live", dirs_exist_ok=True)
        weights.write(made / "live")
        if atlas:
            add_gallery(atlas, made / "gallery")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made, target)


def sized(page: Path, found: re.Match) -> str:
    """An <img> with the size of its picture, so that a page does not move when a picture has come."""
    with Image.open(page.parent / found[2]) as image:
        width, height = image.size
    return f'<img {found[1]}width="{width}" height="{height}" src="{found[2]}" />'


def add_gallery(atlas: Path, folder: Path) -> None:
    """Copies an atlas into the site and writes its page, with a way back to the course."""

    from filtersight.atlas.gallery import (
        gallery,  # brings TensorFlow, which nothing else here needs
    )

    shutil.copytree(atlas, folder)
    page = gallery(folder)
    text = page.read_text(encoding="utf-8")
    back = '<header>\n  <p><a href="../index.html">What CNN filters see</a></p>'
    icon = '<link rel="icon" href="../_static/favicon.svg">\n</head>'
    page.write_text(text.replace("<header>", back, 1).replace("</head>", icon, 1), encoding="utf-8")


def main() -> None:
    """Builds what the command line asks for, and says what was built."""
    start = time.perf_counter()
    parser = argparse.ArgumentParser(description="Builds the course's web site.")
    parser.add_argument("target", nargs="?", type=Path, default=COURSE / "site/html")
    parser.add_argument("--atlas", type=Path, metavar="FOLDER", help="drawn by helpers.atlas")
    asked = parser.parse_args()
    try:
        build(asked.target, asked.atlas)
    except ValueError as error:
        parser.error(str(error))
    files = [path for path in asked.target.rglob("*") if path.is_file()]
    size, pages = sum(path.stat().st_size for path in files), len([*asked.target.rglob("*.html")])
    took = time.perf_counter() - start
    print(f"{asked.target}: {pages} pages, {size / 1e6:.0f} MB, in {took:.0f} s")


if __name__ == "__main__":
    main()
