"""The numbers beside a picture, each against an independent calculation; and the quiz."""

import asyncio
import io

import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from test_helpers import small_network

import helpers
from filtersight.basics import figures
from filtersight.trust import scores
from filtersight.world import patterns, pocketvgg

LAYER = "block3_conv1"


@pytest.fixture(scope="module")
def real(model):
    return scores.reality(model, LAYER, count=180)


@pytest.fixture(scope="module")
def pictures(model):
    return helpers.visualize(model, LAYER, [3, 5, 8], size=64, steps=30, rescue=False)


@pytest.fixture(scope="module")
def table(model, pictures, real):
    return helpers.scores(model, pictures, real=real)


def means(model, layer, images):
    """Mean over each map, by Keras alone."""
    cut = keras.Model(model.inputs, model.get_layer(layer).output)
    return cut.predict(images.astype("f4"), verbose=0).mean(axis=(1, 2))


# ---------------------------------------------------------------- the numbers


def test_reality_is_what_the_layer_answers_to_drawings(model, real):
    images, labels = patterns.images(180, 123, size=128)
    assert np.array_equal(real.images, images) and np.array_equal(real.labels, labels)
    assert np.allclose(real.answers, means(model, LAYER, images), rtol=1e-3, atol=1e-5)
    assert scores.reality(model, LAYER, count=180) is real  # measured once


def test_reality_is_measured_anew_for_other_weights():
    network = pocketvgg.build((4, 4, 4, 4, 4))
    before = scores.reality(network, "block1_conv2", count=45).answers
    layer = network.get_layer("block1_conv1")
    layer.set_weights([2 * weight for weight in layer.get_weights()])
    after = scores.reality(network, "block1_conv2", count=45).answers
    assert np.allclose(after, 2 * before, rtol=1e-3, atol=1e-5) and before.max() > 0


def test_activation_and_rank(model, pictures, table, real):
    best = means(model, LAYER, real.images).max(axis=0)
    for picture, score in zip(pictures, table, strict=True):
        own = means(model, LAYER, picture.image[None])[0]
        assert score.activation == pytest.approx(
            own[picture.filter] / best[picture.filter], rel=1e-3
        )
        better = [
            n for n in range(len(best)) if best[n] > 0 and own[n] / best[n] > score.activation
        ]
        assert abs(score.rank - 1 - len(better)) <= 1  # a tie may fall either way


def test_a_picture_of_another_filter_has_a_low_rank(model, pictures, real):
    import dataclasses

    stolen = dataclasses.replace(pictures[0], image=pictures[1].image)
    honest, thief = helpers.scores(model, [pictures[1], stolen], real=real)
    assert thief.rank > honest.rank and thief.activation < honest.activation


def test_robustness_is_the_mean_of_the_moved(model, pictures, table):
    picture = pictures[1]
    moved = means(model, LAYER, scores.held_out(picture.image))[:, picture.filter]
    own = means(model, LAYER, picture.image[None])[0, picture.filter]
    assert table[1].robustness == pytest.approx(moved.mean() / own, rel=1e-3)
    assert len(moved) == scores.LOOKS and 0 < table[1].robustness < 1.5


def test_held_out_looks_are_the_image_moved_and_noisy(monkeypatch):
    image = helpers.photo(65)
    looks = scores.held_out(image)
    assert looks.shape == (scores.LOOKS, 65, 65, 3) and looks.dtype == np.uint8
    assert len({look.tobytes() for look in looks}) == scores.LOOKS
    assert np.array_equal(looks, scores.held_out(image))  # the same each time
    monkeypatch.setattr(scores, "NOISE", 0.0)
    monkeypatch.setattr(scores, "TURN", 0.0)
    grey = image.astype(np.float64).mean(axis=-1)
    shifts = [
        cv2.phaseCorrelate(grey, look.astype(np.float64).mean(axis=-1))[0]
        for look in scores.held_out(image)
    ]
    assert np.abs(shifts).max() <= scores.SHIFT + 0.5 and np.std(shifts) > scores.SHIFT / 4
    monkeypatch.setattr(scores, "SHIFT", 0.0)
    assert np.array_equal(scores.held_out(image)[5], image)


def test_fine_share_finds_the_waves():
    x = np.arange(64)
    fine, coarse = np.sin(2 * np.pi * x * 20 / 64), np.sin(2 * np.pi * x * 4 / 64)
    images = [127 + 50 * wave[None, :, None] * np.ones((64, 1, 3)) for wave in (fine, coarse)]
    images.append(images[0] / 2 + images[1] / 2)
    images.append(np.full((64, 64, 3), 9.0))
    assert np.allclose(scores.fine_share(np.stack(images)), [1, 0, 0.5, 0], atol=1e-6)
    blurred = cv2.GaussianBlur(helpers.photo(96), (0, 0), 3)
    sharp, soft = scores.fine_share(np.stack([helpers.photo(96), blurred]))
    assert soft < sharp / 3


def test_the_judge_and_the_preferred_patterns(model, pictures, table, real):
    judge = pocketvgg.load(pocketvgg.FOLDER / "pocketvgg_judge.npz")
    for picture, score in zip(pictures, table, strict=True):
        guess = judge(picture.image[None].astype("f4")).numpy()[0].argmax()
        assert score.verdict == patterns.NAMES[guess]
        by_name = {
            name: np.mean(
                [
                    a
                    for a, k in zip(real.answers[:, picture.filter], real.labels, strict=True)
                    if k == i
                ]
            )
            for i, name in enumerate(patterns.NAMES)
        }
        assert list(score.preferred) == sorted(by_name, key=by_name.get, reverse=True)[:3]
        assert score.agrees == (score.verdict in score.preferred)
        assert score.verdict in str(score) and score.preferred[0] in str(score)


def test_what_excites_a_filter_least_is_not_preferred():
    answers, labels = np.zeros((6, 3), np.float32), np.array([0, 0, 7, 7, 9, 9])
    answers[2:4, 0] = 1, 3  # filter 0 answers to pattern 7 alone, filter 1 to 9 and less to 0
    answers[[0, 5], 1] = 1, 4
    real = scores.Reality(np.zeros((6, 8, 8, 3), np.uint8), answers, labels)
    real = real._replace(
        answers=np.concatenate([answers, np.zeros((42, 3), np.float32)]),
        labels=np.concatenate([labels, [k for k in range(45) if k not in (0, 7, 9)]]),
    )
    names = patterns.NAMES
    assert [scores.preferred(real, n) for n in range(3)] == [(names[7],), (names[9], names[0]), ()]


def test_a_network_that_knows_no_patterns_is_scored_without_a_judge():
    network = small_network()
    picture = helpers.visualize(network, "two", [1], steps=4, size=32, rescue=False)[0]
    score = helpers.scores(network, [picture])[0]
    assert score.verdict is None and score.agrees is None and score.preferred == ()
    best = means(network, "two", helpers.sample())[:, 1].max()
    own = means(network, "two", picture.image[None])[0, 1]
    assert score.activation == pytest.approx(own / best, rel=1e-3)
    assert "judge" not in str(score)


@pytest.mark.parametrize("bad", [[], [1], "pictures", [None]])
def test_what_is_no_picture_is_refused(model, bad):
    with pytest.raises(ValueError, match="pictures must be a list of FilterPictures of one layer"):
        helpers.scores(model, bad)


def test_what_does_not_belong_together_is_refused(model, pictures, real):
    import dataclasses

    def replaced(**changes):
        return [dataclasses.replace(pictures[0], **changes)]

    half = pictures[0].image[:32]
    two = keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalMaxPooling2D()])
    other = pocketvgg.build()
    for shown, options, said in (
        (5, {}, "a list of FilterPictures"),
        (replaced(filter=77), {}, "filter of block3_conv1 must be a whole number from 0 to 47"),
        (replaced(filter=-1), {}, "filter of block3_conv1 must be a whole number from 0 to 47"),
        (replaced(layer="block3"), {}, "no layer 'block3'"),
        (replaced(image=half), {}, "square and of one size"),
        ([pictures[1], *replaced(image=half[:, :32])], {}, "square and of one size"),
        (
            replaced(image=pictures[0].image[:16, :16]),
            {},
            "size is 16; .* of pocketvgg_judge needs",
        ),
        (pictures, {"judge": "x"}, "judge must be a network that knows the 45 patterns"),
        (pictures, {"judge": two}, "judge must be a network that knows the 45 patterns"),
        (pictures, {"real": 5}, "real must be what scores.reality gives for block3_conv1"),
        (pictures, {"real": real._replace(answers=real.answers[:, :9])}, "real must be"),
        (pictures, {"real": real._replace(answers=2 * real.answers)}, "real must be"),
        (pictures, {"real": scores.reality(other, LAYER, count=45)}, "real must be"),
        (pictures, {"real": real._replace(labels=real.labels[:4])}, "real must be"),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            helpers.scores(model, shown, **options)
        assert "\n" not in str(caught.value)


def test_pictures_of_several_layers_are_refused(model, pictures):
    other = helpers.visualize(model, "block1_conv1", [0], size=32, steps=2, rescue=False)
    with pytest.raises(ValueError, match="several layers: block1_conv1, block3_conv1"):
        helpers.scores(model, [*pictures, *other])


# ---------------------------------------------------------------- which of two?


def test_questions_have_right_answers(model, real):
    asked = scores.questions(real, [3, 5], each=4)
    assert [q.filter for q in asked] == [3] * 4 + [5] * 4
    assert {q.right for q in asked} == {0, 1}
    for question in asked:
        answers = means(model, LAYER, question.images)[:, question.filter]
        shown = means(model, LAYER, question.references)[:, question.filter]
        assert answers.argmax() == question.right and shown.min() >= answers.max() - 1e-4
        assert len(shown) == 9


def test_no_question_is_asked_that_has_no_answer(real):
    rare = real.answers.copy()
    rare[:, 3] = 0
    rare[:5, 3] = 1  # fires on five images only
    assert {q.filter for q in scores.questions(real._replace(answers=rare), [3, 5])} == {5}
    few = scores.Reality(real.images[:12], real.answers[:12], real.labels[:12])
    assert scores.questions(few, [5], each=1) == []
    for options in ({"each": 0}, {"each": 10**9}, {"each": 2.5}, {"seed": -1}):
        with pytest.raises(ValueError, match="must be a whole number"):
            scores.questions(real, [5], **options)
    with pytest.raises(ValueError, match="filter must be a whole number from 0 to 47"):
        scores.questions(real, [48])


def test_the_machine_chooses_what_looks_alike(real):
    judge = helpers.load_model("pocketvgg_judge")
    stars, eyes = (
        np.stack([patterns.image(name, seed, size=96) for seed in range(6)])
        for name in ("stars", "eyes")
    )
    for right in (0, 1):
        pair = np.stack([stars[5], eyes[5]][:: 1 if right == 0 else -1])
        question = scores.Question(0, pair, right, stars[:5])
        assert scores.machine_choice(judge, question, stars[:5]) == right
        assert scores.machine_choice(judge, question, eyes[:5]) == 1 - right
    flat = np.stack([np.full((96, 96, 3), 99, np.uint8), stars[0]])
    assert scores.machine_choice(judge, scores.Question(0, flat, 0, stars), None) == 1


def seen(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


def test_the_quiz_counts_answers_by_the_kind_of_help(model):
    async def scenario():
        quiz = helpers.quiz(model, LAYER, [3, 5], seed=1)
        help_of = [name for _, name in quiz.help.options]
        for name, (answer, right) in zip(help_of, [("r", 1), ("w", 0), ("r", 1)], strict=True):
            quiz.help.value = name
            question, before = quiz.question, quiz.images[0].value
            for image, widget in zip(question.images, quiz.images, strict=True):
                small = cv2.resize(image, (144, 144), interpolation=cv2.INTER_CUBIC)
                soft = [cv2.blur(each, (9, 9)).astype(int) for each in (seen(widget), small)]
                assert np.abs(soft[0] - soft[1]).mean() < 5  # JPEG loses fine colours
            quiz.buttons[question.right if answer == "r" else 1 - question.right].click()
            assert quiz.counts[name] == [right, 1] and quiz.images[0].value != before
            assert ("Right." if right else "No, it was") in quiz.told.value
            assert f"{right} of 1" in quiz.board.value and sum(quiz.machine[name]) >= 1
        assert "82 %" in quiz.board.value and "92 %" in quiz.board.value
        assert "shown nothing" in quiz.asked.value and seen(quiz.shown).std() == 0
        quiz.help.value = help_of[1]
        assert seen(quiz.shown).shape[1] == 9 * 144
        quiz.close()

    asyncio.run(scenario())


def test_the_quiz_without_widgets_is_a_picture_that_says_so(model, monkeypatch):

    shown = {}
    monkeypatch.setattr(figures, "display", lambda data, **_: shown.update(data))
    quiz = helpers.quiz(model, LAYER, [3])
    quiz._ipython_display_()
    assert "first question stands here" in shown["text/plain"] and len(shown["image/jpeg"]) > 3000
    assert shown["application/vnd.jupyter.widget-view+json"]["model_id"] == quiz.model_id


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"layer": "block3conv1"}, "did you mean 'block3_conv1'"),
        ({"layer": LAYER, "filters": [99]}, "filter of block3_conv1 must be a whole number"),
        ({"layer": LAYER, "seed": -1}, "seed must be"),
    ],
)
def test_a_quiz_about_nothing_is_refused(model, call, said):
    with pytest.raises(ValueError, match=said):
        helpers.quiz(model, **call)


def test_a_quiz_about_a_filter_that_no_image_wakes_is_refused():
    broken = pocketvgg.build((4, 4, 4, 4, 4))
    kernel, bias = broken.get_layer(LAYER).get_weights()
    broken.get_layer(LAYER).set_weights([kernel, np.where(np.arange(len(bias)) == 3, -1e6, bias)])
    with pytest.raises(ValueError, match="too few real images to ask about"):
        helpers.quiz(broken, LAYER, [3])
