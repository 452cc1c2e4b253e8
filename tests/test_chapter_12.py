"""Chapter 12: what it says of its networks holds, and its slider moves through the training."""

import io
from itertools import pairwise

import ipywidgets
import numpy as np
import pytest
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.world import patterns, pocketvgg

CHAPTER = COURSE / "notebooks/12_birth.ipynb"
NAMES = ["stripes", "checkerboard", "rings", "bricks", "honeycomb", "dots", "hearts", "eyes"]


@pytest.fixture(scope="module")
def taught():
    names = functions(CHAPTER, NAMES=NAMES)
    names["images"], names["answers"] = names["drawings"](range(150))
    names["unseen"], names["right"] = names["drawings"](range(1000, 1040))
    return names


@pytest.fixture(scope="module")
def stages():
    return pocketvgg.stages()


def test_the_pattern_is_the_one_of_its_number(taught):
    images, answers = taught["drawings"](range(3, 5))
    assert images.shape == (16, 32, 32, 3) and answers.tolist() == [*range(8), *range(8)]
    assert np.array_equal(images[10], patterns.image(NAMES[2], 4, size=32))


def test_silent_filters_are_those_whose_maps_are_zero(taught):
    network = taught["build"]()
    bias = np.zeros(24, np.float32)
    bias[[3, 20]] = -1e6
    network.get_layer("conv2").bias.assign(bias)
    assert [np.flatnonzero(each).tolist() for each in taught["silent"](network)][1] == [3, 20]


def test_too_high_a_rate_kills_filters_and_a_low_one_does_not(taught):
    _, well = taught["train"](0.1, 9)
    assert well[0, 0] < 0.25 and well[-1, 0] > 0.5  # of 8 patterns
    assert well[-1, 1:].sum() <= 7  # of 72
    _, badly = taught["train"](1.0, 3)
    assert badly[0, 1:].sum() == 0 and badly[-1, 1:].sum() >= 36
    assert abs(badly[-1, 0] - 1 / 8) < 0.02
    # Both began with the same weights.
    assert np.array_equal(well[0], badly[0])


def test_the_slider_moves_through_the_training(taught, stages):
    shown = {}
    names = taught | {
        "stages": stages,
        "COUNT": 8,
        "accuracy": np.linspace(0, 1, len(stages)),
        "born": {
            step: helpers.visualize(network, "block2_conv1", range(8), size=48, steps=4)
            for step, network in stages.items()
        },
        "show_widget": lambda widget, figure, alt: shown.update(widget=widget),
    }
    cell = next(c for c in cells(CHAPTER, "code") if "SelectionSlider" in c.source)
    exec(cell.source, names)
    slider, view = shown["widget"].children
    assert isinstance(slider, ipywidgets.SelectionSlider)
    seen = []
    for step in (0, 400, 1884):
        slider.value = step
        seen.append(np.asarray(Image.open(io.BytesIO(view.value)).convert("L"), float))
        alone = names["moment"](step)
        assert (
            view.value == helpers.jpeg(alone)
            and f"after {step} steps" in alone._suptitle.get_text()
        )
    assert min(np.abs(one - two).mean() for one, two in pairwise(seen)) > 3


def test_kernels_are_drawn_to_scale(taught, stages):
    kernel = stages[0].get_layer("block1_conv1").kernel.numpy()
    pictures = taught["kernels"](stages[0])
    assert len(pictures) == 8 and pictures[0].shape == (3, 3, 3)
    for number, picture in enumerate(pictures):
        one = kernel[..., number]
        assert np.abs(picture - (127.5 + 127.5 * one / np.abs(one).max())).max() <= 1
