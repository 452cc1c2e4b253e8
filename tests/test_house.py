"""The house: who imports whom, and what a reader's own files may be called."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

COURSE = Path(__file__).resolve().parents[1]
PACKAGE = COURSE / "filtersight"
# From the ground up; a module imports from its own folder and from those before it.
FLOORS = ["basics", "world", "networks", "ascent", "trust", "explorer", "atlas", "exercises"]
MODULES = {
    ".".join(path.relative_to(COURSE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path, *, inner=False):
    """The modules of the course that a file imports: at its top, or `inner`, inside of functions."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), set()
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if (id(node) in inside) != inner:
            continue
        if isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {(node.module, alias.name) for alias in node.names}
    return {
        f"{module}.{name}" if f"{module}.{name}" in MODULES else module
        for module, name in found
        if module and module.partition(".")[0] in ("filtersight", "helpers")
    }


def floor(module):
    folder = module.split(".")[1:2]
    return FLOORS.index(folder[0]) if folder and folder[0] in FLOORS else len(FLOORS)


def test_imports_only_go_down():
    upward = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imports(path)
        if floor(other) > floor(name) or other == "helpers"
    ]
    assert upward == []


def test_there_is_no_circle():
    left = {name: imports(path) & MODULES.keys() for name, path in MODULES.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_only_what_needs_dask_is_imported_late():
    late = {name: found for name, path in MODULES.items() if (found := imports(path, inner=True))}
    assert late == {"filtersight.atlas.atlas": {"filtersight.atlas.cluster"}}
    assert imports(COURSE / "helpers.py", inner=True) == set()


def test_no_private_name_crosses_a_module():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("filtersight"):
                private = [each.name for each in node.names if each.name.startswith("_")]
                assert private == [], name


def test_the_folders_are_small():
    for folder in [PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_dir())]:
        assert len([each for each in folder.glob("*.py") if each.stem != "__init__"]) <= 8, folder


def test_helpers_is_short_and_says_where_to_read_on():
    text = (COURSE / "helpers.py").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    for node in ast.parse(text).body[1:]:
        assert isinstance(node, ast.ImportFrom) and node.module in MODULES
        assert all(each.asname == each.name for each in node.names)


def code_lines(function, lines):
    """How many lines of code a function has: without docstrings, comments and empty lines."""
    texts = set()
    for node in ast.walk(function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                texts |= set(range(first.lineno, first.end_lineno + 1))
    return sum(
        number not in texts and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(lines[: function.end_lineno], start=1)
        if number >= function.lineno
    )


def test_functions_are_short():
    long = {}
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                count = code_lines(node, text.split("\n"))
                if count > 45:
                    long[f"{name}.{node.name}"] = count
    assert long == {}


def test_the_root_holds_what_a_newcomer_expects():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=COURSE, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {each.partition("/")[0] for each in listed} <= {
        *(".ci", ".github", ".gitattributes", ".gitignore", ".pre-commit-config.yaml"),
        *("CITATION.cff", "CONCEPTS.md", "CONTRIBUTING.md", "LICENSE", "LICENSE-TEXT", "README.md"),
        *("filtersight", "helpers.py", "media", "notebooks", "pyproject.toml", "requirements.txt"),
        *("docs", "site", "tests", "tools"),
    }


@pytest.mark.parametrize("where", ["beside the notebook", "before the course"])
def test_a_readers_own_files_neither_break_the_course_nor_are_hidden_by_it(tmp_path, where):
    own = "engine networks patterns scores atlas explorer layers waves climb recipe".split()
    for name in own:
        (tmp_path / f"{name}.py").write_text(f"mine = {name!r}\n")
    path = (
        [str(tmp_path), str(COURSE)]
        if where == "before the course"
        else [str(COURSE), str(tmp_path)]
    )
    code = (
        f"import sys; sys.path[:0] = {path!r}; import helpers\n"
        f"import {', '.join(own)}\n"
        f"print(*({', '.join(f'{name}.mine' for name in own)},))\n"
        "model, layer = helpers.load_model('pocketvgg'), 'block1_conv1'\n"
        "print(helpers.visualize(model, layer, [3], steps=2, rescue=False)[0].status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [*own, "alive"]
