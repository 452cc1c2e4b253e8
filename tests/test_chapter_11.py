"""Chapter 11: why a network said so."""

import io

import numpy as np
import pytest
from chapters import COURSE, cells, functions
from PIL import Image

import helpers
from filtersight.trust import why
from filtersight.world import patterns, weather

CHAPTER = COURSE / "notebooks/11_why.ipynb"
LAYER = "block4_conv3"


@pytest.fixture(scope="module")
def taught(model):
    return functions(CHAPTER, model=model, pocket=model, last="block5_conv3")


@pytest.fixture(scope="module")
def image():
    return patterns.image("fish", 3, size=64)


def test_attributions_and_grad_cam_are_those_of_why(taught, model, image):
    for target in (4, 30):
        for ours, theirs in (
            (
                taught["attributions"](model, LAYER, image, target),
                why.attributions(model, LAYER, image, target),
            ),
            (
                taught["grad_cam"](model, LAYER, image, target),
                why.grad_cam(model, image, target, layer=LAYER),
            ),
        ):
            assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_saliency_is_the_slope_of_the_value(taught, model, image):
    slopes = taught["saliency"](model, image, 4)
    assert slopes.shape == (64, 64) and slopes.min() >= 0
    network = helpers.opened(model, "block5_conv3")
    row, column = np.unravel_index(slopes.argmax(), slopes.shape)
    both = np.repeat(image[None].astype("f4"), 6, axis=0)
    for channel in range(3):
        both[2 * channel, row, column, channel] += 0.5
        both[2 * channel + 1, row, column, channel] -= 0.5
    values = network(both, training=False)[1].numpy()[:, 4]
    assert np.abs(values[::2] - values[1::2]).max() == pytest.approx(slopes.max(), rel=0.05)


def test_occlusion_by_squares_is_that_of_why(taught, model, image):
    square = taught["covered"](image, 3, 5, 9)
    assert (square[3:12, 5:14] == 127).all() and np.count_nonzero(square != image) <= 9 * 9 * 3
    ours = taught["square_losses"](model, image, 4, 16)
    theirs = why.occlusion(model, image, 4, patch=16, stride=16, level=127)
    assert np.allclose(np.kron(ours, np.ones((16, 16))), theirs, rtol=1e-3, atol=1e-3)


def test_an_activation_grid_shows_the_strongest_filter_in_each_place(taught, model, image):
    drawn = {}

    def visualize(model, layer, filters, size):
        for number in filters:
            shades = np.arange(size * size).reshape(size, size, 1) % 200
            drawn[number] = np.broadcast_to(shades + number, (size, size, 3)).astype(np.uint8)
        return [type("Picture", (), {"image": drawn[number]}) for number in filters]

    names = functions(CHAPTER)
    names["visualize"] = visualize
    pieces, light, share = names["activation_grid"](model, LAYER, image)
    maps = helpers.submodel(model, LAYER)(image[None].astype("f4"))[0].numpy()
    cell = 768 // len(maps)
    assert pieces.shape == (*light.shape, 3) == (8 * cell, 8 * cell, 3)
    assert sorted(drawn) == np.unique(maps.argmax(axis=-1)).tolist()
    for row, column in ((0, 0), (3, 5), (7, 2)):
        y, x = row * cell + 7, column * cell + 11
        winner = maps[row, column].argmax()
        assert np.array_equal(pieces[y, x], drawn[winner][y % 64, x % 64])
    assert light.max() == 1 and light.min() >= 0
    assert np.isclose(share, np.mean(maps.max(axis=-1) / maps.sum(axis=-1)))


def test_silenced_filters_give_nothing_and_the_others_the_same(taught, model, image):
    quiet = taught["silenced"](model, LAYER, [2, 5])
    maps = helpers.submodel(quiet, LAYER)(image[None].astype("f4")).numpy()
    before = helpers.submodel(model, LAYER)(image[None].astype("f4")).numpy()
    assert not maps[..., [2, 5]].any()
    assert np.array_equal(np.delete(maps, [2, 5], axis=-1), np.delete(before, [2, 5], axis=-1))


def test_the_sliders_move_the_square_and_the_label_says_what_it_costs(model):
    image = patterns.image("cats", 3, size=128)
    target = patterns.NAMES.index("cats")
    shown = []
    names = functions(CHAPTER, model=model, image=image, target=target, last="block5_conv3")
    names["answer"] = helpers.predictions(model, image)[0]
    names["show_widget"] = lambda widget, still, alt: shown.append(still)
    (source,) = (c.source for c in cells(CHAPTER, "code") if "show_widget(" in c.source)
    exec(source, names)
    size, down, right = names["sliders"]
    seen = [bytes(names["picture"].value)]
    assert Image.open(io.BytesIO(seen[0])).format == "JPEG" and len(shown) == 1
    for slider, value in ((size, 50), (down, 0), (right, 0)):
        assert not slider.continuous_update
        slider.value = value
        seen.append(bytes(names["picture"].value))
    assert len(set(seen)) == 4

    def cost(*numbers):
        (axes,) = names["under_square"](*numbers).axes
        before, after = axes.get_title().rpartition(": ")[2].split(" → ")
        return float(before) - float(after)

    assert cost(0, 0, 0) == 0 and cost(100, 0, 0) > 5


# ---------------------------------------------------------------- weather


def test_snow_is_flakes_and_the_more_the_more():
    images = np.stack([patterns.image("fish", 3, size=64)] * 2)
    one, many = (weather.snow(images, 1, flakes=count) for count in (1, 40))
    assert (one == images).mean() > 0.9 > (many == images).mean() > 0.5
    several = weather.snow(images, 1, flakes=[0, 40])
    assert np.array_equal(several[0], images[0]) and (several[1] == images[1]).mean() < 0.9
    assert np.array_equal(many, weather.snow(images, 1)) and not np.array_equal(many[0], many[1])
    assert weather.snow(images, 1, level=10).mean() < images.mean() < many.mean()


def test_weather_leaves_shape_and_type_and_changes_what_it_should():
    images, _ = patterns.images(9, seed=1)
    found = {name: change(images) for name, change in weather.WEATHER.items()}
    assert list(found) == ["clear", "night", "fog", "blur", "snow"]
    assert all(each.shape == images.shape and each.dtype == np.uint8 for each in found.values())
    assert np.array_equal(found["clear"], images)
    assert found["night"].mean() == pytest.approx(images.mean() / 4, abs=1)
    assert found["fog"].min() >= 160 and found["fog"].std() < images.std() / 3
    assert (
        np.abs(np.diff(found["blur"].astype(int), axis=1)).mean()
        < np.abs(np.diff(images.astype(int), axis=1)).mean()
    )
