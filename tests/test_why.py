"""Answers, driving filters, Grad-CAM and occlusion, each against a calculation of its own."""

import json

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.utils import file_utils
from PIL import Image

import helpers
from filtersight.networks import flat, layers
from filtersight.networks.layers import Layer
from filtersight.trust import why
from filtersight.world import patterns, pocketvgg

L = keras.layers


@pytest.fixture(scope="module")
def image():
    return patterns.image("fish", 3, 128)


def linear_head(channels=3, classes=2, activation="softmax"):
    """A convolution without bias, the mean of its maps, a dense layer: everything can be done by hand."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, channels))
    x = L.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(classes, activation=activation, name="head")(x))


def noise(size=24, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


# ---------------------------------------------------------------- image and answer


def test_image_for_cuts_and_fits_what_the_model_takes(tmp_path):
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = (200, 10, 30)  # the square in the middle
    Image.fromarray(wide).save(tmp_path / "wide.png")
    fixed = keras.Sequential([keras.Input((20, 20, 3)), L.Conv2D(2, 3), L.Flatten(), L.Dense(2)])
    for given in (wide, tmp_path / "wide.png", str(tmp_path / "wide.png")):
        fitted = why.image_for(fixed, given)
        assert fitted.shape == (20, 20, 3) and fitted.dtype == np.uint8
        assert (fitted == (200, 10, 30)).all()
    grey = why.image_for(linear_head(1), wide, 40)
    assert grey.shape == (40, 40, 1)
    assert (grey == round(200 * 0.299 + 10 * 0.587 + 30 * 0.114)).all()
    assert np.array_equal(why.image_for(linear_head()), helpers.photo(224))
    assert why.image_for(linear_head(5), wide, 10)[0, 0].tolist() == [200, 10, 30, 200, 10]
    assert (why.image_for(linear_head(), np.full((9, 9), 7, np.uint8), 30) == 7).all()
    flat = keras.Sequential([keras.Input((20, 50, 3)), L.Conv2D(2, 3), L.Flatten(), L.Dense(2)])
    assert np.array_equal(
        why.image_for(flat, wide)[:, 15:35] > 0, np.ones((20, 20, 3), bool) & (wide[0, 30] > 0)
    )
    assert not why.image_for(flat, wide)[:, :14].any()


def test_image_for_gives_every_network_its_channels(tmp_path):
    # Of one column, to see that long strips and single pixels go in.
    strip = np.full((900, 1, 4), (200, 10, 30, 51), np.uint8)
    Image.fromarray(strip).save(tmp_path / "strip.png")
    on_white = (244, 206, 210)  # 0.2 of the colour, 0.8 of white
    right = {
        1: [round(244 * 0.299 + 206 * 0.587 + 210 * 0.114)],
        2: [244, 206],
        3: [*on_white],
        4: [200, 10, 30, 51],
        7: [*on_white, *on_white, 244],
    }
    for depth, values in right.items():
        for given in (strip, tmp_path / "strip.png", strip[:1], strip / 255):
            fitted = why.image_for(linear_head(depth), given, 12)
            assert fitted.shape == (12, 12, depth) and fitted.dtype == np.uint8
            assert (fitted == values).all()
    own = noise(12, 7)
    assert np.array_equal(why.image_for(linear_head(7), own, 12), own)
    assert (why.image_for(linear_head(4), size=20)[..., 3] == 255).all()
    mine = noise(12)
    why.image_for(linear_head(), mine, 12)[:] = 0
    assert mine.any()


def test_a_photograph_is_explained_from_its_file(tmp_path, monkeypatch, model, image):
    monkeypatch.setattr(
        why, "visualize", lambda *asked: []
    )  # which takes longest and is not asked here
    exif = Image.Exif()
    exif[274] = 6  # lies on its left side
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    lying.save(tmp_path / "phone.png", exif=exif)
    deep = Image.fromarray(image[..., 0].astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    upright = why.image_for(model, image)
    assert np.array_equal(why.image_for(model, tmp_path / "phone.png"), upright)
    found = why.predictions(model, tmp_path / "phone.png")
    assert found == why.predictions(model, upright) and found[0].name == "fish"
    sixteen, eight = (
        why.predictions(model, given)
        for given in (tmp_path / "deep.png", why.image_for(model, image[..., 0]))
    )
    assert [a.number for a in sixteen] == [a.number for a in eight]
    assert np.allclose([a.value for a in sixteen], [a.value for a in eight], atol=0.01)
    explained = why.explain(model, str(tmp_path / "phone.png"), filters=1)
    assert np.array_equal(explained.image, upright) and explained.target == found[0]
    assert why.occlusion(model, tmp_path / "deep.png", patch=112, stride=112).shape == (224, 224)


def test_predictions_are_the_models(model, image):
    answers = why.predictions(model, image)
    values = model.predict(image[None], verbose=0)[0]
    assert [a.number for a in answers] == np.argsort(values)[::-1][:5].tolist()
    assert np.allclose([a.value for a in answers], np.sort(values)[::-1][:5], atol=1e-6)
    assert [a.name for a in answers] == [patterns.NAMES[a.number] for a in answers]
    assert str(answers[0]) == f"fish {values.max():.0%}"
    named = why.predictions(linear_head(), noise(), names=["no", "yes"], top=2)
    assert {a.name for a in named} == {"no", "yes"}
    assert why.predictions(linear_head(), noise(), top=1)[0].name.startswith("class ")


def test_imagenets_names_come_from_keras_file_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    network = keras.applications.MobileNetV2(
        weights=None, alpha=0.35, input_shape=(32, 32, 3), classes=1000
    )
    assert why.class_names(network) is None
    (tmp_path / "models").mkdir()
    index = {str(n): [f"n{n:08}", f"thing_{n}"] for n in range(1000)}
    (tmp_path / "models" / "imagenet_class_index.json").write_text(json.dumps(index))
    assert why.class_names(network)[:2] == ["thing 0", "thing 1"]
    assert why.class_names(linear_head(classes=1000)) is None  # somebody else's thousand classes


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda m, i: why.predictions(m, i[..., :2]), r"uint8 \(height, width, 3\), not uint8"),
        (lambda m, i: why.predictions(m, i / 255), "not float64"),
        (lambda m, i: why.predictions(m, i, top=0), "top"),
        (lambda m, i: why.predictions(m, i, names=["a"]), "45 names"),
        (lambda m, i: why.predictions(m, i[:8, :8]), "at least"),
        (lambda m, i: why.grad_cam(m, i, 45), "target"),
        (lambda m, i: why.grad_cam(m, i, layer="block9"), "no layer 'block9'"),
        (lambda m, i: why.grad_cam(m, i, layer="predictions"), "not feature maps"),
        (lambda m, i: why.occlusion(m, i, patch=129), "patch"),
        (lambda m, i: why.occlusion(m, i, patch=8, stride=9), "stride"),
        (lambda m, i: why.image_for(m, "nowhere.png"), "'nowhere.png' is no image"),
        (lambda m, i: why.image_for(m, i[None]), "not uint8"),
        (lambda m, i: why.explain(m, "nowhere.png"), "'nowhere.png' is no image"),
        (lambda m, i: why.explain(m, i, filters=0), "filters"),
    ],
)
def test_bad_calls_say_what_is_allowed(model, image, call, said):
    with pytest.raises(ValueError, match=said) as caught:
        call(model, image)
    assert "\n" not in str(caught.value)


def test_models_without_one_value_for_each_class_are_refused(image):
    headless = helpers.submodel(pocketvgg.load(), "block5_conv3")
    with pytest.raises(ValueError, match=r"not one value for each class.*include_top=True"):
        why.predictions(headless, image)


def ending(end, classes=3, values=None):
    """A small network with an end of its own; `values` (classes,) are what goes into its head's activation."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((24, 24, 3))
    x = L.Conv2D(6, 3, activation="relu", name="conv")(L.Rescaling(1 / 127.5, -1)(inputs))
    network = keras.Model(inputs, end(L.Flatten()(x), classes), name="net")
    if values is not None:
        head = network.get_layer("head")
        given = keras.Model(inputs, head.input)(noise()[None].astype("f4"))
        kernel = head.get_weights()[0]
        head.set_weights([kernel, np.asarray(values) - given.numpy()[0] @ kernel])
    return network


def dense(**settings):
    return lambda x, n: L.Dense(n, name="head", **settings)(x)


def behind(*ends, **settings):
    """A dense layer, and what comes after it."""

    def end(x, classes):
        x = dense(**settings)(x, classes)
        for each in ends:
            x = each(x)
        return x

    return end


class Own(L.Layer):
    """A layer of somebody's own."""

    def call(self, values):
        return tf.nn.softmax(values)


SOFT = {"activation": "softmax"}
PROBABILITIES = {
    "activation": dense(**SOFT),
    "TensorFlow's function": dense(activation=tf.nn.softmax),
    "a lambda with a temperature": dense(activation=lambda x: tf.nn.softmax(x / 2)),
    "a layer": behind(L.Softmax()),
    "Activation": behind(L.Activation("softmax")),
    "an operation": behind(keras.ops.softmax),
    "Lambda": behind(L.Lambda(tf.nn.softmax)),
    "somebody's layer": behind(Own()),
    "a temperature before": behind(lambda x: x / 5, L.Softmax()),
    "an inner model": behind(lambda x: keras.Sequential([keras.Input((3,)), L.Softmax()])(x)),
    "Rescaling": behind(L.Rescaling(100.0), **SOFT),
    "times 100": behind(lambda x: 100 * x, **SOFT),
    "Reshape and Flatten": behind(L.Reshape((1, 1, 3)), L.Flatten(), **SOFT),
    "Activation linear": behind(L.Activation("linear", dtype="float32"), L.Dropout(0.5), **SOFT),
    "a cast": behind(lambda x: keras.ops.cast(x, "float32"), L.Identity(), **SOFT),
    "several outputs": lambda x, n: [dense(**SOFT)(x, n), L.Dense(4)(x)],
    "outputs in a dict": lambda x, n: {"kind": dense(**SOFT)(x, n), "place": L.Dense(4)(x)},
}


@pytest.mark.parametrize("end", PROBABILITIES.values(), ids=PROBABILITIES)
def test_what_is_behind_a_softmax_is_a_per_cent(end):
    values = np.array([0.5, 2.0, -1.0])
    network = ending(end, values=values)
    given = np.ravel(keras.tree.flatten(network(noise()[None].astype("f4")))[0])
    shares = given / given.sum()
    answers = why.predictions(network, noise())
    assert [a.number for a in answers] == [1, 0, 2]
    assert np.allclose([a.value for a in answers], given[[1, 0, 2]], rtol=1e-4)
    assert [str(a) for a in answers] == [f"class {n} {shares[n]:.0%}" for n in (1, 0, 2)]
    # What goes into the softmax is explained, up to a temperature.
    opened = why.opened(network, "conv")(noise()[None].astype("f4"))[1].numpy()[0]
    assert np.allclose(opened / opened[1] * 2, values, atol=1e-3)
    assert "3 values, softmax" in str(helpers.describe(network))
    last = Layer(network, flat.unfold(network).last)
    assert last.has_softmax  # so the pictures of its classes push the others back


VALUES = {
    "logits": dense(),
    "tanh": dense(activation="tanh"),
    "hard sigmoid": dense(activation="hard_sigmoid"),
    "another hard sigmoid": behind(L.Lambda(lambda x: tf.clip_by_value(x / 4 + 0.5, 0, 1))),
    "logarithms": dense(activation="log_softmax"),
    "1 - softmax": behind(lambda x: 1 - x, **SOFT),
    "rounded": behind(keras.ops.round, **SOFT),
    "cut off at 1/2": behind(L.Rescaling(2.0, -1.0), L.ReLU(), activation="sigmoid"),
    "a dense layer after it": behind(L.Dense(3, name="more"), **SOFT),
    "softmax along another axis": behind(L.Reshape((1, 1, 3)), L.Softmax(axis=1), L.Flatten()),
    "softmax of one": lambda x, n: L.Dense(1, activation="softmax")(x),
    "regression": lambda x, n: L.Dense(1)(x),
}


@pytest.mark.parametrize("end", VALUES.values(), ids=VALUES)
def test_what_is_not_known_to_be_a_probability_is_a_value(end):
    network = ending(end)
    given = network(noise()[None].astype("f4")).numpy()[0]
    answers = why.predictions(network, noise())
    for place, answer in zip(np.argsort(given)[::-1], answers, strict=True):
        name = "output" if len(given) == 1 else f"class {place}"
        assert str(answer) == f"{name} (value {float(f'{given[place]:.2g}'):g})"
        assert answer.probability is None


def test_a_softmax_over_a_single_value_tells_nothing():
    network = ending(VALUES["softmax of one"])
    assert "gives 1 for every image" in str(helpers.describe(network))
    found = why.explain(network, noise())
    assert found.filters == [] and "No filter of conv speaks for output" in str(found)
    assert "gives 1" not in str(helpers.describe(ending(dense(activation="sigmoid"), 1)))


@pytest.mark.parametrize("value", [-3.9, 3.9])
def test_a_no_is_explained_as_a_no(value):
    network, picture = ending(dense(activation="sigmoid"), 1, [value]), noise()
    maps = keras.Model(network.inputs, network.get_layer("conv").output)(picture[None].astype("f4"))
    weights = network.get_layer("head").kernel.numpy().reshape(maps.shape[1:])
    yes = (maps.numpy()[0] * weights).sum(axis=(0, 1))  # what each filter adds to the value
    says, other, number = ("dog", "cat", 1) if value > 0 else ("cat", "dog", 0)
    right = yes if value > 0 else -yes
    found = why.explain(network, picture, names=["cat", "dog"])
    assert str(found).startswith(f"net says {says} 98%, {other} 2%. For {says} speak filters ")
    assert (found.target.number, found.target.name) == (number, says)
    assert found.filters == [n for n in np.argsort(right)[::-1][:4] if right[n] > 0]
    assert np.allclose(found.shares, right[found.filters] / right[right > 0].sum(), rtol=1e-3)
    assert all(share > 0 for share in found.shares)
    for target, given in ((None, yes), (1, yes), (0, -yes)):
        found = why.attributions(network, "conv", picture, target)
        assert np.allclose(found, given, rtol=1e-3, atol=1e-4)
    assert np.array_equal(why.occlusion(network, picture, 0), -why.occlusion(network, picture, 1))
    one = why.explain(network, picture, names=["dog"])
    begin = "net says dog 98%. For" if value > 0 else "net says no: dog 2%. Against"
    assert str(one).startswith(f"{begin} dog speak filters ")
    assert one.filters == [n for n in np.argsort(right)[::-1][:4] if right[n] > 0]
    assert why.explain(network, picture, 0, names=["dog"]).target.name == "not dog"
    assert {a.name for a in why.predictions(network, picture)} == {"class 0", "class 1"}
    with pytest.raises(ValueError, match="list of 2 names, the first for values below 1/2"):
        why.explain(network, picture, names=["cat", "dog", "bird"])
    with pytest.raises(ValueError, match="target must be a whole number from 0 to 1"):
        why.explain(network, picture, 2)


def test_two_names_for_one_value_need_a_sigmoid():
    network = ending(dense(), 1, [-3.2])
    with pytest.raises(ValueError, match=r"list of 1 name; .*Activation\('sigmoid'\)"):
        why.predictions(network, noise(), names=["cat", "dog"])
    assert str(why.predictions(network, noise(), names=["age"])) == "[age (value -3.2)]"
    told = keras.Model(network.inputs, L.Activation("sigmoid")(network.outputs[0]))
    assert str(why.predictions(told, noise(), names=["cat", "dog"])) == "[cat 96%, dog 4%]"


def test_many_sigmoids_of_which_none_says_yes():
    names = ["cat", "dog", "bird"]
    network, picture = ending(dense(activation="sigmoid"), 3, [-3, -4, -2.2]), noise()
    found = why.explain(network, picture, names=names)
    given = why.attributions(network, "conv", picture, 2)
    assert str(found).startswith(
        "net says yes to none: bird 10%, cat 5%, dog 2%. Against bird speak filters "
    )
    assert found.filters == [n for n in np.argsort(given)[:4] if given[n] < 0]
    assert np.allclose(found.shares, given[found.filters] / given[given < 0].sum())
    assert np.array_equal(found.occlusion, -why.occlusion(network, picture, 2))
    asked = why.explain(network, picture, 2, names=names)  # what speaks for it, though it says no
    assert "For bird speak" in str(asked) or "No filter of conv speaks for bird" in str(asked)
    assert all(given[n] > 0 for n in asked.filters)
    one = why.explain(ending(dense(activation="sigmoid"), 3, [3, -4, -2.2]), picture, names=names)
    assert str(one).startswith("net says cat 95%, bird 10%, dog 2%. For cat speak filters ")


def test_maps_of_classes_are_refused_with_a_way_out():
    inputs = keras.Input((24, 24, 3))
    maps = L.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    places = L.Conv2D(3, 1, activation="softmax", name="places")(maps)
    with pytest.raises(ValueError, match=r"not one value for each class.*GlobalAverage"):
        why.predictions(keras.Model(inputs, places), noise())
    way_out = keras.Model(inputs, L.GlobalAveragePooling2D()(places))
    assert "(value" in str(why.explain(way_out, noise()))
    two = keras.Model(inputs, {"a": places, "b": L.Dense(2, "softmax")(L.Flatten()(maps))})
    with pytest.raises(ValueError, match=r"output 1 .*keras.Model\(model.inputs, model.outputs\[1"):
        why.predictions(two, noise())
    assert "%" in str(why.predictions(keras.Model(two.inputs, two.outputs[1]), noise()))


# ---------------------------------------------------------------- by hand


def test_attributions_and_grad_cam_by_hand():
    network, picture = linear_head(), noise()
    kernel = network.get_layer("head").get_weights()[0]  # (4, 2)
    maps = keras.Model(network.inputs, network.get_layer("conv").output)(picture[None].astype("f4"))
    maps = maps.numpy()[0]
    places = maps.shape[0] * maps.shape[1]
    for target in (0, 1):
        # Each value of a map is averaged over the places, then weighed: that is its gradient.
        weights = kernel[:, target] / places
        given = why.attributions(network, "conv", picture, target)
        assert np.allclose(given, maps.sum(axis=(0, 1)) * weights, rtol=1e-4)
        cam = why.grad_cam(network, picture, target)
        assert np.allclose(cam, np.maximum(maps @ weights, 0), rtol=1e-4, atol=1e-7)
        # With a linear head the filters add up to the value, but for the bias.
        value = network.layers[-1].input
        value = keras.Model(network.inputs, value)(picture[None].astype("f4")).numpy()[0]
        assert np.isclose(given.sum(), value @ kernel[:, target], rtol=1e-4)


def test_grad_cam_of_a_nested_classifier_is_that_of_the_flat_one(model, image):
    inputs = keras.Input((128, 128, 3))
    nested = keras.Model(inputs, model(inputs))
    for target in (None, 4):
        assert np.allclose(
            why.grad_cam(nested, image, target, layer="block5_conv3"),
            why.grad_cam(model, image, target, layer="block5_conv3"),
            atol=1e-5,
        )


def test_zeroing_a_filter_takes_what_it_gave():
    network, picture = linear_head(), noise(seed=2)
    given = why.attributions(network, "conv", picture, 1)
    logits = keras.Model(network.inputs, network.get_layer("head").input)
    kernel, bias = network.get_layer("head").get_weights()

    def value():
        return float(logits(picture[None].astype("f4")).numpy()[0] @ kernel[:, 1] + bias[1])

    before, (weights, offset) = value(), network.get_layer("conv").get_weights()
    for number in range(4):
        silent = weights.copy()
        silent[..., number] = 0
        network.get_layer("conv").set_weights([silent, offset])
        assert np.isclose(before - value(), given[number], rtol=1e-3, atol=1e-4)


def test_occlusion_by_hand():
    network, picture = linear_head(), noise(20)
    logits = keras.Model(network.inputs, network.get_layer("head").input)
    kernel = network.get_layer("head").get_weights()[0]

    def value(some):
        return float(logits(some[None].astype("f4")).numpy()[0] @ kernel[:, 0])

    loss, count = np.zeros((20, 20)), np.zeros((20, 20))
    for top in (0, 5, 10, 13):  # the last one ends at the border
        for left in (0, 5, 10, 13):
            covered = picture.astype("f4")
            covered[top : top + 7, left : left + 7] = 50
            loss[top : top + 7, left : left + 7] += value(picture) - value(covered)
            count[top : top + 7, left : left + 7] += 1
    found = why.occlusion(network, picture, 0, patch=7, stride=5, level=50)
    assert np.allclose(found, loss / count, rtol=1e-2, atol=1e-3)


def test_occlusion_goes_in_parts_that_fit_and_shows_how_far_it_is(monkeypatch):
    shown, network, image = [], linear_head(), noise(24)
    whole = why.occlusion(network, image, 0)
    monkeypatch.setattr(layers, "WORKING_SET", 300_000)
    at_once = Layer(network, "head").images_at_once(24, "float32")

    def bar(parts, what, **options):
        shown.append((what, len(parts), options))
        return parts

    monkeypatch.setattr(why, "tqdm", bar)
    found = why.occlusion(network, image, 0)
    np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-3 * np.abs(whole).max())
    squares = len({*range(0, 21, 1), 21}) ** 2  # of 3 pixels, at every pixel
    parts = -(-(squares + 1) // at_once)
    assert 1 < at_once < 64
    assert shown == [("occlusion", parts, {"delay": 2, "leave": False})]


def test_a_fixed_network_that_is_not_square():
    network = keras.Sequential(
        [keras.Input((12, 20, 3)), L.Conv2D(2, 3, name="conv"), L.Flatten(), L.Dense(2, name="out")]
    )
    image = noise(20)[:12]
    expected = network(image[None].astype("f4")).numpy()
    np.testing.assert_allclose(helpers.activations(network, "out", image[None]), expected, 1e-3)
    covered = image.astype("f4")
    covered[:12, :12] = 127.5  # the first of the squares that cover the whole height
    loss = expected[0, 1] - network(covered[None]).numpy()[0, 1]
    found = why.occlusion(network, image, 1, patch=12, stride=8)
    assert found.shape == (12, 20)
    np.testing.assert_allclose(found[:, :8], loss, rtol=1e-3, atol=1e-3)  # no other covers these


def test_an_explanation_with_fewer_pictures_after_ctrl_c(monkeypatch):
    """The pictures that were made before are those of the filters that drove most."""
    network, image = linear_head(), noise(24)
    full = helpers.explain(network, image, 0, filters=3)
    drawn = helpers.visualize
    monkeypatch.setattr(why, "visualize", lambda model, layer, some: drawn(model, layer, some[:1]))
    cut = helpers.explain(network, image, 0, filters=3)
    assert (cut.filters, cut.shares) == (full.filters[:1], full.shares[:1])
    assert len(cut.maps) == len(cut.pictures) == 1 and cut.figure().axes


def test_a_certain_answer_still_has_an_explanation(model, image):
    # The probability is 1 to the last bit of a float32: its gradient would vanish.
    certain = keras.models.clone_model(model)
    certain.set_weights(model.get_weights())
    head = certain.get_layer("predictions")
    head.set_weights([20 * each for each in head.get_weights()])
    assert certain.predict(image[None], verbose=0).max() == 1
    heat, usual = why.grad_cam(certain, image), why.grad_cam(model, image)
    assert heat.max() > 0.01 and np.corrcoef(heat.ravel(), usual.ravel())[0, 1] > 0.99


def test_places_are_where_the_thing_is(model):
    """A thing in one corner only: both maps must point there."""
    scores = []
    for seed in range(40):
        thing = patterns.image("clocks", seed, 64)
        whole = np.full((128, 128, 3), thing[0, 0], np.uint8)
        down, right = seed % 2 * 64, seed // 2 % 2 * 64
        whole[down : down + 64, right : right + 64] = thing
        answer = why.predictions(model, whole, top=1)[0]
        if answer.name != "clocks":
            continue
        maps = why.grad_cam(model, whole), why.occlusion(model, whole, patch=32, stride=32)
        for heat in maps:
            heat = cv2.resize(np.maximum(heat, 0), (2, 2), interpolation=cv2.INTER_AREA)
            scores.append(heat[seed % 2, seed // 2 % 2] == heat.max())
        if len(scores) == 16:
            break
    assert len(scores) == 16 and np.mean(scores) >= 0.75


# ---------------------------------------------------------------- all together


def test_explain_says_and_shows_what_it_measured(model, image):
    found = why.explain(model, image, filters=3)
    assert found.target.name == "fish" and found.layer == "block5_conv3"
    given = why.attributions(model, "block5_conv3", image)
    assert found.filters == np.argsort(given)[::-1][:3].tolist()
    assert np.allclose(found.shares, given[found.filters] / given[given > 0].sum())
    assert [p.filter for p in found.pictures] == found.filters
    maps = helpers.submodel(model, "block5_conv3")(image[None].astype("f4"))[0].numpy()
    assert np.array_equal(found.maps, np.moveaxis(maps[..., found.filters], -1, 0))
    for text in (f"pocketvgg says {found.target}", f"{found.filters[0]} (", "agree by"):
        assert text in str(found)
    data, metadata = found._repr_mimebundle_()
    assert set(data) == {"image/jpeg", "text/plain"} and metadata["image/jpeg"]["alt"] == str(found)
    cam, loss = np.array([[0.0, 1], [2, 3]]), np.kron([[-5.0, 2], [4, 6]], np.ones((3, 3)))
    assert np.isclose(why.agreement(cam, loss), 1) and np.isclose(
        why.agreement(cam, -loss), -0.775, atol=1e-3
    )
    assert why.agreement(cam, 0 * loss) == 0
    other = why.explain(model, image, patterns.NAMES.index("cats"), filters=2)
    assert other.target.name == "cats" and other.target.value < 0.01


def test_explain_works_on_a_grey_model_with_one_sigmoid():
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            L.Rescaling(1 / 255),
            L.Conv2D(6, 3, name="conv"),
            L.BatchNormalization(),
            L.ReLU(name="relu"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(1, activation="sigmoid"),
        ]
    )
    picture = why.image_for(network)
    found = why.explain(network, picture, names=["yes"], filters=2)
    assert found.layer == "relu" and found.target.name == "yes"
    assert found.grad_cam.shape == (26, 26) and found.occlusion.shape == (28, 28)
    assert all(p.image.shape[-1] == 1 for p in found.pictures)
    # The gradient is that of the value before the sigmoid.
    relu, dense = network.get_layer("relu"), network.layers[-1]
    maps = keras.Model(network.inputs, relu.output)(picture[None].astype("f4"))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        pooled = tf.reshape(tf.nn.max_pool2d(maps, 2, 2, "VALID"), (1, -1))
        value = (pooled @ dense.kernel + dense.bias)[0, 0]
    expected = tf.reduce_sum(maps * tape.gradient(value, maps), axis=(0, 1, 2))
    assert np.allclose(why.attributions(network, "relu", picture), expected, rtol=1e-3, atol=1e-6)


def test_lit_and_heated_show_the_place():
    image = np.full((40, 40, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 3
    shown, glow = why.lit(image, heat), why.heated(image, heat)
    assert (shown[2, 2] == 100).all() and (shown[30, 30] > 200).all()
    assert glow[2, 2].sum() > 2 * glow[30, 30].sum()
    assert (why.lit(image, 0 * heat) > 200).all()
