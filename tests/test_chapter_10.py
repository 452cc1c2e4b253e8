"""Chapter 10: any network."""

import io

import numpy as np
import pytest
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.world import patterns

CHAPTER = COURSE / "notebooks/10_any_network.ipynb"


def test_four_patterns_are_those_and_no_others():
    names = ["rings", "dots"]
    images, numbers = functions(CHAPTER, names=names)["four_patterns"](90, 3)
    drawn, labels = patterns.images(90, 3, size=32)
    wanted = [patterns.NAMES.index(name) for name in names]
    assert len(images) == len(numbers) == 4
    assert [wanted[n] for n in numbers] == [label for label in labels if label in wanted]
    assert np.array_equal(images, drawn[np.isin(labels, wanted)])


@pytest.fixture(scope="module")
def built():
    """What the cell of the widget makes, with pictures that take less time."""
    (source,) = (c.source for c in cells(CHAPTER, "code") if "show_widget(" in c.source)
    asked, shown = [], []

    def pictures_of(number, seed):
        asked.append((number, seed))
        shade = np.full((20, 20, 3), 5 * number + seed, np.uint8)
        return helpers.grid([shade], labels=[f"{number} {seed}"])

    names = functions(CHAPTER) | {
        "known": list(patterns.NAMES),
        "pictures_of": pictures_of,
        "show_widget": lambda widget, still, alt: shown.append((widget, alt)),
    }
    exec(source, names)
    return names, asked, shown


def test_the_sliders_draw_the_class_and_the_seed_that_are_chosen(built):
    names, asked, shown = built
    chosen, seed, picture = (names[name] for name in ("chosen", "seed", "picture"))
    assert (chosen.min, chosen.max) == (0, 44) and len(shown) == 1
    seen = {bytes(picture.value)}
    chosen.value = 3
    seen.add(bytes(picture.value))
    seed.value = 2
    seen.add(bytes(picture.value))
    assert asked == [(44, 0), (3, 0), (3, 2)] and len(seen) == 3
    assert Image.open(io.BytesIO(picture.value)).format == "JPEG"
    assert not chosen.continuous_update and not seed.continuous_update


def test_two_pictures_of_a_class_are_from_two_starts():
    model = helpers.load_model("pocketvgg")
    asked = []

    def visualize(model, layer, classes, seed):
        asked.append((layer, classes, seed))
        return helpers.visualize(model, "block1_conv1", [0], steps=1, size=32, seed=seed)

    known = list(patterns.NAMES)
    names = functions(CHAPTER, model=model, known=known, last="predictions", form=".0%")
    names["visualize"] = visualize
    figure = names["pictures_of"](7, 3)
    assert asked == [("predictions", [7], 3), ("predictions", [7], 4)]
    assert [axes.get_title().partition(" ")[0] for axes in figure.axes] == [patterns.NAMES[7]] * 2
