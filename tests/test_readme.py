"""The README's commands and table, the settings of CI, and the tools that watch the code."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COURSE = Path(__file__).resolve().parents[1]
README = (COURSE / "README.md").read_text(encoding="utf-8")


def blocks(language, heading):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)\n```", section, re.DOTALL)


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_each_command_is_one_line_in_two_forms(heading):
    (bash,), (windows,) = blocks("bash", heading), blocks("powershell", heading)
    assert "\n" not in bash and "\n" not in windows
    # The same steps in both: a virtual environment, an installation into it, a program from it.
    ours = bash.replace(".venv/bin/", "").replace("python3", "python").split(" && ")
    theirs = (
        windows.replace(".venv\\Scripts\\", "").replace("py -m venv", "python -m venv").split("; ")
    )
    assert ours == theirs and len(ours) == 3


def test_the_python_example_works(tmp_path):
    (code,) = blocks("python", "The chapters")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(COURSE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.match(r"pocketvgg block4_conv2 filter 3: \w+, activation ", done.stdout)
    assert (tmp_path / "block4_conv2_3.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_of_chapters_is_that_of_the_notebooks():
    rows = re.findall(r"^\| \[(.*?)\]\(notebooks/(.*?)\).*?\| (\d+) \|", README, re.MULTILINE)
    notebooks = sorted((COURSE / "notebooks").glob("*.ipynb"))
    assert [name for _, name, _ in rows] == [path.name for path in notebooks]
    for (title, _, minutes), path in zip(rows, notebooks, strict=True):
        text = path.read_text(encoding="utf-8")
        assert f"About {minutes} minutes" in text
        assert f"# {title}" in text


def test_the_versions_of_python_are_the_same_everywhere():
    named = re.search(r"You need Python (.*?) and about", README)[1]
    ci = (COURSE / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert re.findall(r"3\.\d+", named) == re.findall(r'"(3\.\d+)"', ci)


def test_the_way_past_a_firewall_is_keras_own():
    from keras.src.applications import vgg16

    assert vgg16.WEIGHTS_PATH_NO_TOP in (COURSE / "docs/networks.md").read_text(encoding="utf-8")


def test_requirements_name_every_package_that_the_course_imports():
    modules = set()
    for pattern in ("helpers.py", "filtersight/**/*.py", "notebooks/*.ipynb"):
        for path in COURSE.glob(pattern):
            modules |= set(
                re.findall(
                    r'^[\s"]*(?:import|from) (\w+)', path.read_text(encoding="utf-8"), re.MULTILINE
                )
            )
    packages = {"cv2": "opencv-python-headless", "PIL": "pillow", "IPython": "ipython"}
    needed = {
        packages.get(name, name)
        for name in modules - set(sys.stdlib_module_names) - {"helpers", "filtersight"}
        if importlib.util.find_spec(name)
    }
    listed = set(
        re.findall(
            r"^([\w-]+)", (COURSE / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert listed == needed | {"jupyterlab"}


@pytest.mark.parametrize("command", ["ruff format --check .", "ruff check .", "mypy"])
def test_the_code_is_tidy(command):
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=COURSE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_five_pictures_of_vgg16_are_made_by_one_command(tmp_path):
    """With a network of VGG16's names and numbers of filters, but of one pixel to a kernel."""
    import keras

    import helpers

    (command,) = blocks("bash", "The networks")
    assert command.endswith("tools/seeds.py seeds")
    x = image = keras.Input((None, None, 3))
    for name in ("block1_conv1", "block2_conv1", "block2_conv2", "block3_conv3", "block5_conv3"):
        count = {"1": 64, "2": 128, "3": 256, "5": 512}[name[5]]
        x = keras.layers.Conv2D(count, 1, name=name)(x)  # without a ReLU none is dead
    keras.Model(image, x, name="stand_in").save(tmp_path / "stand_in.keras")
    subprocess.run(
        [sys.executable, COURSE / "tools/seeds.py", "seeds"],
        cwd=tmp_path,
        env={**os.environ, "COURSE_MODEL": str(tmp_path / "stand_in.keras")},
        check=True,
    )
    made = {path.name for path in (tmp_path / "seeds").iterdir()}
    asked = "block1_conv1_23 block2_conv1_51 block2_conv2_40 block3_conv3_80 block5_conv3_302"
    assert made == {f"{name}.png" for name in asked.split()} | {"vgg16.jpg"}
    model = helpers.load_model(tmp_path / "stand_in.keras")
    again = helpers.rerun(tmp_path / "seeds" / "block5_conv3_302.png", model)
    assert (again.layer, again.filter) == ("block5_conv3", 302)
