"""Chapter 3: its functions against those of the package, and its widget without a browser."""

import io

import numpy as np
import pytest
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.world import patterns, pocketvgg

CHAPTER = COURSE / "notebooks/03_random_image.ipynb"


@pytest.fixture(scope="module")
def taught():
    return functions(CHAPTER, model=pocketvgg.load())


def test_noise_and_deprocessing_are_those_of_the_package(taught):
    ours, theirs = taught["random_image"], helpers.random_image
    assert np.array_equal(ours(40, 7, 20), theirs(40, 7, contrast=20))
    assert np.array_equal(ours(), theirs())
    image = np.random.default_rng(0).normal(0, 500, (30, 30, 3)).astype("f4")
    assert np.array_equal(taught["deprocess"](image), helpers.deprocess(image))
    assert np.array_equal(taught["deprocess"](image, 20), helpers.deprocess(image, contrast=20))


def test_answers_of_all_layers_are_activations(taught):
    images, _ = patterns.images(3, seed=8, size=64)
    found = taught["answers_of_all_layers"](images)
    assert list(found) == helpers.conv_layers(taught["model"])
    for layer in ("block1_conv1", "block4_conv2", "block5_conv3"):
        right = helpers.activations(taught["model"], layer, images)
        assert np.allclose(found[layer], right, rtol=1e-3, atol=1e-5)


def test_what_the_chapter_says_of_pocketvgg(taught):
    photo = helpers.photo(128)
    noise = np.uint8(helpers.random_image().round())
    grey, strong = (
        np.uint8(helpers.random_image(contrast=contrast).round()) for contrast in (0, 127)
    )
    images = np.stack([noise, grey, strong, photo])
    found = taught["answers_of_all_layers"](images)
    silent = {block: np.zeros(4, int) for block in range(1, 6)}
    for name, values in found.items():
        silent[int(name[5])] += (values == 0).sum(axis=1)
    assert silent[4][0] + silent[5][0] > 0.9 * sum(each[0] for each in silent.values())
    total = sum(silent.values())
    assert total[1] == total.max() and 2 * total[3] < total[:3].min()
    # Strong noise leaves a third fewer silent in block 4, and about as many in block 5.
    assert 0.55 < silent[4][2] / silent[4][0] < 0.75
    assert 0.9 < silent[5][2] / silent[5][0] < 1.1
    # Every filter that is silent on noise is woken by a drawing or by the photograph.
    drawings, _ = patterns.images(200, seed=5, size=128)
    awake = taught["answers_of_all_layers"](np.concatenate([drawings, photo[None]]))
    for name, values in found.items():
        assert (awake[name].max(axis=0) > 0)[values[0] == 0].all()


def test_the_sheet_of_answers_marks_the_silent_filters(taught):
    model, layer = taught["model"], "block4_conv1"
    image = np.uint8(helpers.random_image(seed=3, contrast=50).round())
    right = helpers.activations(model, layer, image[None])[0]
    picture, bars = taught["answer_sheet"](layer, 3, 50).axes
    assert np.allclose([bar.get_height() for bar in bars.patches], right)
    assert np.array_equal(bars.lines[0].get_xdata(), np.flatnonzero(right == 0))
    assert np.array_equal(
        picture.images[0].get_array(), np.uint8(helpers.random_image(seed=3, contrast=50))
    )


def test_the_widget_shows_what_is_set(taught):
    (source,) = (c.source for c in cells(CHAPTER, "code") if "widgets.Dropdown" in c.source)
    asked = []

    def sheet(*settings):
        asked.append(settings)
        return taught["answer_sheet"](*settings)

    names = taught | {"answer_sheet": sheet}
    exec(source, names)
    picture = names["picture"]
    shown = [picture.value]
    for control, value in (("contrasts", 90), ("seeds", 4), ("layers", "block1_conv2")):
        names[control].value = value
        shown.append(picture.value)
    assert asked[0] == ("block4_conv1", 0, 32) and asked[-1] == ("block1_conv2", 4, 90)
    assert len(set(shown)) == 4
    assert all(Image.open(io.BytesIO(each)).format == "JPEG" for each in shown)
    assert not names["seeds"].continuous_update
