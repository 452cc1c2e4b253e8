"""Settings of Sphinx for the site; `build.py` calls it on a copy of the course's pages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import rewrite

project = "What CNN filters see"
author = "the course's authors"
copyright = "Code: MIT licence. Prose and pictures: CC BY 4.0"
extensions = ["myst_nb"]
nb_execution_mode = "off"
myst_heading_anchors = 3
root_doc = "index"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("live.js", {"defer": "defer"})]
templates_path = ["theme"]
html_copy_source = False
html_show_sphinx = False
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": False,  # a link in words stands at the top of each chapter
    "navigation_with_keys": False,
    "search_bar_text": "Search the course",
    "show_toc_level": 2,
}


def setup(app):
    """Has the pages rewritten as they are read."""

    def read(app, name, content):
        path = Path(app.env.doc2path(name)).relative_to(app.srcdir).as_posix()
        content[0] = rewrite.page(content[0], path, app.config.course_address)

    app.add_config_value("course_address", "", "env", str)
    app.connect("source-read", read)
    app.connect("doctree-read", lambda app, tree: rewrite.describe(tree))
    app.connect("html-page-context", lambda app, name, *_: rewrite.TEMPLATES.get(name))
