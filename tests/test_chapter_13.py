"""The functions of chapter 13 against calculations of another kind, its controls, its widget, and what
docs/scale.md shows."""

import ast
import io
import re

import keras
import numpy as np
import pytest
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.basics import files
from filtersight.world import patterns, pocketvgg

CHAPTER = COURSE / "notebooks/13_atlas.ipynb"
SCALE = (COURSE / "docs/scale.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)\n```", SCALE, re.DOTALL)


@pytest.fixture(scope="module")
def taught(model):
    return functions(CHAPTER, model=model, layer="block3_conv3")


def cell_with(text):
    (source,) = (cell.source for cell in cells(CHAPTER, "code") if text in cell.source)
    return source


# ---------------------------------------------------------------- families


def test_statistics_do_not_know_places_and_know_wavelengths(taught):
    images, _ = patterns.images(12, seed=3, size=64)
    numbers = taught["statistics"](images)
    assert np.allclose(numbers, taught["statistics"](np.roll(images, (5, 9), axis=(1, 2))))
    # Its first six numbers, before they are made comparable, are plain means and deviations.
    first = images[..., 1].mean(axis=(1, 2)) / 255
    assert np.allclose(numbers[:, 1], (first - first.mean()) / first.std())
    waves = [np.sin(np.arange(64) * 2 * np.pi / length) for length in (2.5, 5, 10, 20, 40)]
    stripes = np.stack([np.tile(127 + 99 * wave[:, None, None], (1, 64, 3)) for wave in waves])
    assert (taught["statistics"](stripes)[:, 6:].argmax(axis=0) == range(5)).all()
    apart = taught["distances"](numbers)
    assert np.allclose(apart[2, 7], np.sqrt(((numbers[2] - numbers[7]) ** 2).sum()))


def test_families_are_those_of_complete_linkage(taught):
    line = np.array([0, 1, 2.5, 10, 11, 40.0])
    apart = np.abs(line[:, None] - line)
    assert taught["families"](apart, 3) == [[0, 1, 2], [3, 4], [5]]
    assert taught["families"](apart, 2) == [[0, 1], [3, 4], [2], [5]]


def test_pairs_within_families_and_by_lot(taught):
    agree = np.random.default_rng(0).uniform(-1, 1, (9, 9))
    agree = (agree + agree.T) / 2
    taught["agree"] = agree
    groups = [[4, 1, 7], [0, 8], [2], [3], [5], [6]]
    pairs = [(1, 4), (4, 7), (1, 7), (0, 8)]
    assert np.allclose(np.sort(taught["within"](groups)), np.sort([agree[p] for p in pairs]))
    # By lot every pair is as likely: over many draws the mean is that of all pairs.
    everyone = agree[np.triu_indices(9, 1)].mean()
    lots = taught["by_lot"](groups, 2000)
    assert lots.mean() == pytest.approx(everyone, abs=0.03) and lots.std() > 0.05


def test_the_slider_moves_the_families(taught):
    rng = np.random.default_rng(4)
    images, _ = patterns.images(20, seed=4, size=48)
    shown = []
    apart = taught["distances"](taught["statistics"](images))
    taught |= {
        "images": images,
        "apart": apart,
        "pairs": apart[np.triu_indices(20, 1)],
        "agree": np.corrcoef(rng.normal(size=(20, 50))),
        "show_widget": lambda *given: shown.append(given),
    }
    titles = []
    taught["grid"] = lambda *given, **named: (
        titles.append(named["title"]) or helpers.grid(*given, **named)
    )
    exec(cell_with("FloatSlider"), taught)
    slider, sheet = taught["slider"], taught["sheet"]
    assert shown[0][0].children == (slider, sheet) and not slider.continuous_update
    seen, counts = [sheet.value], []
    for share in (0.02, 0.3, 0.6):
        slider.value = share
        seen.append(sheet.value)
        counts.append(int(titles[-1].split()[0]))
        expected = taught["families"](apart, np.quantile(taught["pairs"], share))
        assert counts[-1] == len(expected)
    assert len(set(seen)) == 4 and counts[0] > counts[1] > counts[2]
    assert all(Image.open(io.BytesIO(data)).format == "JPEG" for data in seen)


# ---------------------------------------------------------------- two networks


def test_partners_are_found_again(taught, model):
    images, _ = patterns.images(60, seed=3, size=64)
    answers = helpers.activations(model, "block2_conv1", images)
    partner, correlation = taught["partners"](answers, answers[:, ::-1])
    lively = answers.std(axis=0) > 1e-5
    assert np.array_equal(partner[lively], np.arange(31, -1, -1)[lively])
    assert np.allclose(correlation[lively], 1, atol=1e-4)
    one, two = answers[:, 3], answers[:, [5, 6]]
    expected = max(np.corrcoef(one, two[:, k])[0, 1] for k in (0, 1))
    assert taught["partners"](answers[:, [3]], two)[1][0] == pytest.approx(expected, abs=1e-4)


def test_partners_are_judged_by_other_images(taught):
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=(200, 30)), rng.normal(size=(200, 40))
    assert np.median(taught["partners"](ours[:100], theirs[:100])[1]) > 0.15  # the best of many
    assert abs(np.median(taught["judged"](ours, theirs))) < 0.07  # and nothing behind it
    theirs[:, 5] = ours[:, 9] + 0.5 * rng.normal(size=200)
    expected = np.corrcoef(ours[100:, 9], theirs[100:, 5])[0, 1]
    assert taught["judged"](ours, theirs)[9] == pytest.approx(expected)


def test_what_is_said_of_the_two_networks(taught, model):
    keras.utils.set_random_seed(0)
    plain, untrained = helpers.load_model("pocketvgg_plain"), pocketvgg.build()
    drawings, _ = patterns.images(450, seed=8)
    shuffled = np.random.default_rng(2).permutation(450)
    medians = {}
    for name in ("block1_conv2", "block3_conv3", "block5_conv3"):
        mine, other, none = (
            helpers.activations(each, name, drawings) for each in (model, plain, untrained)
        )
        pairs = ((mine, other), (mine, none), (mine, other[shuffled]))
        medians[name] = [np.median(taught["judged"](*pair)) for pair in pairs]
    for trained, without, by_chance in medians.values():
        assert trained > without + 0.2 and abs(by_chance) < 0.1
    # Least clearly in block 1, most clearly in block 5.
    gains = [trained - without for trained, without, _ in medians.values()]
    assert gains == sorted(gains)


# ---------------------------------------------------------------- docs/scale.md


def test_blocks_that_start_processes_have_a_guard():
    assert len(BLOCKS) == 8
    for block in BLOCKS:
        for node in ast.parse(block).body:
            kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef)
            guarded = isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
            assert isinstance(node, kinds) or guarded, block


@pytest.fixture(scope="module")
def scale():
    names = {"__name__": "scale"}
    for block in BLOCKS:
        if "dask" not in block and "distributed" not in block:
            exec(block, names)
    return names


def test_a_file_is_whole_or_not_there(scale, tmp_path, monkeypatch):
    path = tmp_path / "000.png"
    for write in (scale["write_whole"], files.write_whole):
        path.write_bytes(b"old")
        write(path, b"new")
        assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("000.png", b"new")]

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError):
        files.write_whole(path, b"newer")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("000.png", b"new")]


def test_a_stopped_run_goes_on(scale, model, tmp_path):
    (tmp_path / "000.png").write_bytes(b"there already")
    assert scale["missing"](tmp_path, 3) == [1, 2]
    scale["draw_missing"](model, tmp_path, "block1_conv1", 3)
    alone = helpers.visualize(model, "block1_conv1", [2], size=64, steps=40)[0]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "002.png")), alone.image)
    assert not scale["missing"](tmp_path, 3)
    assert (tmp_path / "000.png").read_bytes() == b"there already"


def test_the_costs_are_those_that_the_page_names(scale, model):
    assert (
        f"| PocketVGG | {sum(helpers.filter_count(model, n) for n in helpers.conv_layers(model))}"
        in SCALE
    )
    assert scale["whole"](model) == pytest.approx(2.1e13, rel=0.03)
