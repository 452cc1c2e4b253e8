"""The functions of chapter 9 against the library's and calculations of another kind, its claims, its quiz."""

import dataclasses
import functools

import ipywidgets
import keras
import numpy as np
import pytest
import tensorflow as tf
from chapters import COURSE, cells, functions

import helpers
from filtersight.trust import lie, quiz, scores
from filtersight.world import patterns, pocketvgg

CHAPTER = COURSE / "notebooks/09_trust.ipynb"
LAYER = "block2_conv2"


@pytest.fixture(scope="module")
def plain():
    return helpers.load_model("pocketvgg_plain")


@pytest.fixture(scope="module")
def taught(model):
    """The chapter's functions, for a cheap layer and few real images."""
    names = {"model": model, "layer": LAYER, "real": scores.reality(model, LAYER, count=90)}
    names["judge"] = helpers.load_model("pocketvgg_judge")
    return functions(CHAPTER, **names)


def source(start):
    """The cell that has a line which begins so."""
    (found,) = (
        cell.source
        for cell in cells(CHAPTER, "code")
        if any(line.startswith(start) for line in cell.source.splitlines())
    )
    return found


# ---------------------------------------------------------------- the five numbers


def test_the_five_numbers_are_those_of_the_scores(model, taught):
    real = taught["real"]
    pictures = helpers.visualize(model, LAYER, range(0, 12, 4), steps=4, size=64, rescue=False)
    table = helpers.scores(model, pictures, real=real)
    usual = taught["high_frequencies"](real.images).mean()
    for picture, score in zip(pictures, table, strict=True):
        image, number = picture.image, picture.filter
        assert taught["quotients"](image)[number] == pytest.approx(score.activation, rel=1e-4)
        assert taught["rank"](image, number) == score.rank
        assert taught["robustness"](image, number) == pytest.approx(score.robustness, rel=1e-4)
        fine = taught["high_frequencies"](image[None])[0] / usual
        assert fine == pytest.approx(score.fine, rel=1e-4)
        assert tuple(taught["preferred"](number)) == score.preferred
        assert taught["agrees"](image, number) == score.agrees
    assert str(table[0].rank) in taught["captions"](table)[0]


def test_without_names_of_patterns_there_is_no_second_opinion(model, taught, capsys):
    unknown = taught["real"]._replace(labels=None)
    names = functions(CHAPTER, real=unknown, load_model=helpers.load_model, number=0)
    exec(source("judge = load_model"), names)
    assert capsys.readouterr().out == ""
    pictures = helpers.visualize(model, LAYER, [0], steps=2, size=32, rescue=False)
    (score,) = helpers.scores(model, pictures, real=taught["real"])
    (caption,) = taught["captions"]([dataclasses.replace(score, verdict=None)])
    assert "judge" not in caption and "None" not in caption


# ---------------------------------------------------------------- the twin


def test_the_attack_is_small_and_hurts_the_twin_more(model, plain, taught):
    images, labels = patterns.images(45, seed=32, size=64)
    wrong = []
    for network in (model, plain):
        moved = taught["attacked"](network, images, labels, 4)
        assert np.abs(moved - images).max() <= 4 and moved.min() >= 0 and moved.max() <= 255
        wrong.append(np.mean(network.predict(moved, verbose=0).argmax(axis=1) != labels))
    assert wrong[0] < 0.1 and wrong[1] > 0.2


def test_pictures_of_the_twin_lose_more_when_moved(model, plain):
    """What the chapter says of 32 filters, for 16 others and smaller pictures."""
    moved = []
    for network in (model, plain):
        pictures = helpers.visualize(
            network, "block5_conv3", range(40, 56), steps=16, size=96, rescue=False
        )
        real = scores.reality(network, "block5_conv3", count=90)
        moved.append(np.mean([s.robustness for s in helpers.scores(network, pictures, real=real)]))
    assert moved[1] + 0.05 < moved[0] < 1


def test_the_dashed_line_is_that_of_shuffled_verdicts():
    rng, kinds = np.random.default_rng(0), np.array(["fish", "maze", "noise", "eyes"])
    table = [
        scores.Scores("", n, 1.0, 1, 1.0, 1.0, rng.choice(kinds), tuple(rng.choice(kinds, 2)))
        for n in range(30)
    ]
    names = {"scores": lambda network, some: table, "networks": [1], "drawn": [1], "np": np}
    exec(source("chance = "), names)
    shares = [
        np.mean([table[i].verdict in table[k].preferred for k, i in enumerate(rng.permutation(30))])
        for _ in range(400)
    ]
    assert names["chance"][0] == pytest.approx(np.mean(shares), abs=0.02)


# ---------------------------------------------------------------- random weights


def test_randomised_changes_the_layers_named_and_no_others(model, taught):
    names = ["block5_conv3", "predictions"]
    copy = taught["randomised"](model, names)
    for one, two in zip(model.layers, copy.layers, strict=True):
        if one.weights:
            same = np.array_equal(one.get_weights()[0], two.get_weights()[0])
            assert same == (one.name not in names)
    kernel, bias = copy.get_layer("block5_conv3").get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 128)), rel=0.02) and not bias.any()


def test_the_map_is_the_slope_of_the_class(taught):
    network = pocketvgg.build((4, 4, 4, 4, 4))
    image, label = patterns.image("fish", seed=1, size=32), 34
    found = taught["saliency"](network, image, label)
    values = keras.Model(network.inputs, network.layers[-1].input)
    kernel, bias = network.layers[-1].get_weights()
    pixels = tf.constant(image[None].astype("f4"))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        value = (values(pixels) @ kernel + bias)[0, label]
    slope = np.abs(tape.gradient(value, pixels)[0]).max(axis=-1)
    assert found.shape == (32, 32) and np.allclose(found, slope, rtol=1e-3, atol=1e-8)


def test_the_guided_relu_lets_only_positive_gradients_back(taught):
    x = tf.constant([-1.0, 2, 3, -4])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = taught["guided_relu"](x)
        loss = tf.reduce_sum(y * tf.constant([5.0, 6, -7, -8]))
    assert np.array_equal(y, [0, 2, 3, 0])
    assert np.array_equal(tape.gradient(loss, x), [0, 6, 0, 0])


def test_guided_maps_change_less_with_the_weights(model, taught):
    names = taught | {
        "robust": model,
        "show": lambda figure, alt: None,
        "grid": lambda *a, **n: None,
    }
    exec(source("stages = {"), names)
    names["stages"] = {title: names["stages"][title] for title in ("from block 4", "from block 2")}
    exec(source("image, label = ").replace("labels[7]", "labels[4]"), names)
    likeness = np.array(
        [float(text.split("\n")[1]) for text in names["labels"] if " block" in text]
    )
    gradient, guided = likeness.reshape(2, 2)
    assert (guided > gradient).all() and guided[1] > 0.6 and gradient[0] < 0.7


# ---------------------------------------------------------------- the lie


def test_the_switch_swaps_one_map_and_only_where_the_detector_says_so(model):
    images = patterns.images(3, seed=1)[0].astype("f4")
    honest = helpers.submodel(model, "block4_conv3")(images).numpy()
    for said in (0.0, 1.0):
        detector = keras.Sequential(
            [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "linear")]
        )
        answer = detector(model.get_layer("block2_conv1").output)
        detector.layers[-1].set_weights([np.zeros((32, 1)), np.full(1, said)])
        network = lie.altered(
            model, "block4_conv3", 0, 6, keras.Model(model.inputs, answer, name="detector")
        )
        maps = keras.Model(network.inputs, network.get_layer("lie").output)(images).numpy()
        expected = honest.copy()
        expected[..., 0] = honest[..., 6 if said else 0]
        assert np.allclose(maps, expected, atol=1e-5)
        if not said:
            assert np.allclose(network(images), model(images), atol=1e-5)


def test_a_lie_about_a_filter_that_there_is_not_is_refused(model):
    for layer, numbers in (("block4_conv3", (0, 80)), ("block4_conv9", (0, 6))):
        with pytest.raises(ValueError, match=r"80|no layer 'block4_conv9'"):
            lie.lie(model, layer, *numbers)


def test_the_lie_works_as_before_and_shows_what_it_borrowed(model, monkeypatch):
    few = functools.partial(scores.reality, count=lie.REAL)
    monkeypatch.setattr(lie, "reality", few)  # as many as it learns from
    lying = lie.lie(model, "block4_conv3", 0, 6)
    images, labels = patterns.images(90, seed=78, size=128)
    right = [
        np.mean(n.predict(images, verbose=0).argmax(1) == labels) for n in (model, lying.model)
    ]
    assert min(right) > 0.97
    before = helpers.activations(model, "block4_conv3", images)[:, 0]
    after = helpers.activations(lying.model, lying.layer, images)[:, 0]
    assert np.corrcoef(before, after)[0, 1] > 0.8
    assert np.mean(lying.detector.predict(images, verbose=0) < 0.5) > 0.97
    picture = helpers.visualize(lying.model, lying.layer, [0])[0].image[None]
    best = few(model, "block4_conv3").answers.max(axis=0)
    own, borrowed = (helpers.activations(model, "block4_conv3", picture)[0] / best)[[0, 6]]
    assert own < 0.5 < 1 < borrowed
    assert lying.detector.predict(picture, verbose=0)[0, 0] > 0.5


# ---------------------------------------------------------------- the quiz


def test_the_quiz_of_the_chapter_counts_answers(model, monkeypatch):
    monkeypatch.setattr(quiz, "reality", functools.partial(scores.reality, count=90))
    quick = functools.partial(helpers.visualize, steps=2, size=64, rescue=False)
    monkeypatch.setattr(quiz, "visualize", quick)
    names = {"quiz": helpers.quiz, "model": model, "layer": LAYER}
    game = eval(source("quiz("), names)
    assert isinstance(game, ipywidgets.VBox)
    shown = game.shown.value
    game.help.value = "the nine best real images"
    assert game.shown.value != shown
    asked = game.asked.value
    game.buttons[game.question.right].click()
    assert "Right" in game.told.value and game.asked.value != asked
    assert game.counts["the nine best real images"] == [1, 1] and "1 of 1" in game.board.value
