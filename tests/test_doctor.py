"""The filter doctor: what it says is true, and it says it of the right filters."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_ascent import picky_network
from test_helpers import convolve, small_network

import helpers
from filtersight.ascent import climb as climb_module
from filtersight.ascent import rescue
from filtersight.ascent.recipe import recipe_for
from filtersight.basics.recipe import Settings
from filtersight.networks.layers import Layer
from filtersight.trust import doctor


@pytest.fixture(scope="module")
def picky():
    """A network with a filter that only the default recipe reaches and one that nothing fires; both diagnoses."""
    network = picky_network(0.75)
    return network, [helpers.diagnose(network, "second", number, size=64) for number in (0, 1)]


def said(diagnosis, words):
    """The one finding that has these words."""
    (finding,) = [each for each in diagnosis.findings if words in each]
    return finding


# ---------------------------------------------------------------- verdicts


def test_a_dead_filter_is_told_from_a_hard_one(picky):
    _, (rescued, dead) = picky
    assert (rescued.verdict, dead.verdict) == ("rescued", "dead")
    assert rescued.findings[-1].startswith("It is not dead; another way works. What helped most: ")
    assert dead.findings[-1].startswith("Not noise, not one of 4 other attempts, not one of ")
    assert "evidence, not proof" in dead.findings[-1]


def test_a_filter_that_the_plain_recipe_shows_is_alive_and_no_remedy_is_tried(model, monkeypatch):
    tried = []
    climb = climb_module.climb
    monkeypatch.setattr(
        doctor, "climb", lambda *a, **k: (tried.append(a[2].recipe), climb(*a, **k))[1]
    )
    diagnosis = helpers.diagnose(model, "block2_conv1", 3, size=48)
    assert diagnosis.verdict == "alive" and tried == ["plain"]
    assert "the gradient reaches the image" in diagnosis.findings[1]
    assert [picture.name for picture in diagnosis.pictures] == [
        "start noise",
        "plain picture: alive",
        "best real image",
    ]


@pytest.mark.parametrize(("layer", "number"), [("block5_conv1", 2), ("block4_conv2", 10)])
def test_a_filter_is_dead_to_the_doctor_if_it_is_to_visualize(model, layer, number):
    call = {"layer": layer, "size": 48}
    diagnosis = helpers.diagnose(model, filter=number, **call)
    picture = helpers.visualize(model, filters=[number], **call)[0]
    plain = helpers.visualize(model, filters=[number], recipe="plain", **call)[0]
    assert plain.status == "dead"
    assert diagnosis.verdict == ("dead" if picture.status == "dead" else "rescued")


def test_a_broken_bias_makes_a_filter_dead_and_only_that_one(model):
    broken = keras.models.clone_model(model)
    broken.set_weights(model.get_weights())
    part = broken.get_layer("block2_conv2")
    kernel, bias = part.get_weights()
    part.set_weights([kernel, np.where(np.arange(len(bias)) == 3, -1e6, bias)])
    assert helpers.diagnose(broken, "block2_conv2", 3, size=48).verdict == "dead"
    assert helpers.diagnose(broken, "block2_conv2", 6, size=48).verdict == "alive"
    assert helpers.diagnose(model, "block2_conv2", 3, size=48).verdict != "dead"


def test_where_no_climb_helps_a_real_image_saves_the_filter(monkeypatch):
    def no_use(model, filters, recipe, bar, **_):
        grey = np.full((len(filters), recipe.size, recipe.size, 3), 127, np.uint8)
        return climb_module.judge(model, filters, grey, np.zeros((1, len(filters))), recipe), True

    monkeypatch.setattr(doctor, "climb", no_use)
    diagnosis = helpers.diagnose(picky_network(0.75), "second", 0, size=64)
    assert diagnosis.verdict == "rescued" and "but a real image does" in diagnosis.findings[-1]
    names = [picture.name for picture in diagnosis.pictures]
    assert names == ["start noise", "plain picture: dead", "best real image"]


def test_where_only_a_climb_helps_it_says_that_no_real_image_does(monkeypatch):
    black = np.zeros((9, 128, 128, 3), np.uint8)
    monkeypatch.setattr(rescue, "sample", lambda channels: black)
    diagnosis = helpers.diagnose(picky_network(0.75), "second", 0, size=64)
    assert diagnosis.verdict == "rescued" and diagnosis.findings[-1].startswith(
        "No real image wakes"
    )
    assert "Of 9 real images 0 make it answer" in said(diagnosis, "real images")
    assert diagnosis.pictures[-1].name == "a real image, no better"


def test_ctrl_c_ends_it(model, monkeypatch):
    frames = climb_module.frames

    def stopped(*arguments, **options):
        yield next(frames(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(climb_module, "frames", stopped)
    with pytest.raises(KeyboardInterrupt):
        helpers.diagnose(model, "block1_conv1", 0, size=32)


# ---------------------------------------------------------------- findings


def test_the_answer_to_noise_is_that_of_an_independent_calculation():
    network = small_network()
    noise = helpers.random_image(32, seed=4)
    maps = convolve(noise / 255, *network.get_layer("one").get_weights())
    for number in range(4):
        finding = doctor.on_noise(Layer(network, "one"), number, noise)[0]
        own = maps[..., number]
        assert f"answers {helpers.two_digits(own.mean())};" in finding
        assert f"{(own > 0).mean():.0%} of its map" in finding


def test_the_best_real_image_is_that_of_activations(picky):
    network, (rescued, _) = picky
    images = helpers.sample()[:, :64, :64]
    answers = helpers.activations(network, "second", images)[:, 0]
    finding = said(rescued, "real images")
    assert f"Of {len(images)} real images {(answers > 0).sum()} make it answer" in finding
    assert f"the best reaches {helpers.two_digits(answers.max())}," in finding
    assert np.array_equal(rescued.pictures[-1].image, images[answers.argmax()])
    assert rescued.pictures[-1].activation == pytest.approx(answers.max(), rel=1e-4)


def test_every_picture_is_measured_and_what_helped_most_is_shown(picky):
    network, diagnoses = picky
    for number, diagnosis in enumerate(diagnoses):
        for each in diagnosis.pictures:
            assert each.image.shape == (64, 64, 3) and each.image.dtype == np.uint8
            again = helpers.activations(network, "second", each.image[None])[0, number]
            assert each.activation == pytest.approx(again, rel=1e-4, abs=1e-7)
    rescued = diagnoses[0]
    reached = {
        finding.split(": it reached ")[0].removeprefix("Tried "): float(finding.split()[-1][:-1])
        for finding in rescued.findings
        if finding.startswith("Tried ")
    }
    assert len(reached) == 4
    best = max(reached, key=reached.get)
    assert rescued.findings[-1].endswith(f": {best}.") and rescued.pictures[2].name == best
    assert helpers.two_digits(rescued.pictures[2].activation) == f"{reached[best]:g}"


def gradients_by_hand(network, number, image):
    """Root mean squares of the gradient of a filter of "second", for image and both layers, written anew."""
    one, two = network.get_layer("first"), network.get_layer("second")
    x = tf.constant(image, tf.float32)[None]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        before = tf.nn.conv2d(x / 255, one.kernel, 1, "VALID") + one.bias
        after = tf.nn.relu(before)
        last = tf.nn.conv2d(after, two.kernel, 1, "VALID") + two.bias
        plain, open_gate = (tf.reduce_mean(f(last[..., number])) for f in (tf.nn.relu, tf.identity))
    return {
        leak: {
            name: float(np.sqrt(np.mean(tape.gradient(target, value).numpy() ** 2)))
            for name, value in {"first": after, "image": x}.items()
        }
        for leak, target in {False: plain, True: open_gate}.items()
    }


@pytest.mark.parametrize("brightness", [100, 250])
def test_the_way_back_is_that_of_an_independent_tape(brightness):
    network = picky_network(0.75)
    image = np.full((20, 20, 3), brightness, np.float32)
    image += np.random.default_rng(0).uniform(-4, 4, image.shape)
    by_hand = gradients_by_hand(network, 0, image)
    for leak in (False, True):
        way = doctor.way_back(Layer(network, "second"), 0, image, leak=leak)
        assert list(way) == ["second", "first", *list(way)[2:-1], "image"]
        # Where the gate is closed, a tenth leaks through it.
        share = 0.1 if leak and brightness == 100 else 1
        for name, size in by_hand[leak].items():
            assert way[name] == pytest.approx(share * size, rel=1e-4)
    end = {
        leak: doctor.end_of(doctor.way_back(Layer(network, "second"), 0, image, leak=leak))
        for leak in (0, 1)
    }
    # The dim image is stopped at the filter's own ReLU, then at that of the layer before.
    assert end == ({0: "second", 1: "first"} if brightness == 100 else {0: None, 1: None})


def test_it_says_where_the_gradient_ends(picky):
    _, (rescued, _) = picky
    assert (
        "becomes zero in second, the filter's own layer. Let through there, it becomes zero in first."
        in rescued.findings[1]
    )
    alive = doctor.on_noise(Layer(picky_network(-1), "second"), 0, helpers.random_image(64))
    assert alive[1] == "On the way back the gradient reaches the image, so the ascent can begin."
    # A way back that ends only further on: the first layer is saturated, the second is not.
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 1, activation="relu6", name="full")(inputs)
    saturated = keras.Model(inputs, keras.layers.Conv2D(2, 1, activation="relu", name="open")(x))
    for layer in ("full", "open"):
        kernel, bias = saturated.get_layer(layer).get_weights()
        saturated.get_layer(layer).set_weights([np.ones_like(kernel), bias + 9])
    finding = doctor.on_noise(Layer(saturated, "open"), 0, helpers.random_image(32))[1]
    assert (
        finding == "On the way back the gradient becomes zero in full, before it reaches the image."
    )


def test_real_answers_follow_the_weights():
    network = small_network()
    layer = Layer(network, "two")

    def answers():
        return rescue.real_answers(layer, recipe_for(layer, Settings(size=32)))

    before = answers()
    assert answers() is before
    network.get_layer("one").set_weights([-w for w in network.get_layer("one").get_weights()])
    assert not np.array_equal(answers(), before)


def test_larger_images_than_the_sample_work(monkeypatch):
    few = helpers.sample()[::40]
    monkeypatch.setattr(rescue, "sample", lambda channels: few)
    diagnosis = helpers.diagnose(picky_network(0.75), "second", 0, size=136)
    assert diagnosis.verdict == "rescued"
    assert all(picture.image.shape == (136, 136, 3) for picture in diagnosis.pictures)


# ---------------------------------------------------------------- to be seen and read


def test_it_shows_itself_and_keeps_all_text_inside(picky):
    for diagnosis in picky[1]:
        data, metadata = diagnosis._repr_mimebundle_()
        assert data["image/jpeg"] and metadata["image/jpeg"]["alt"] == data["text/plain"]
        # Numbers differ from machine to machine, and the text is compared in the notebook.
        assert diagnosis.verdict in data["text/plain"] and "0." not in data["text/plain"]
        figure = diagnosis.figure()
        figure.canvas.draw()
        width, height = figure.get_size_inches() * figure.dpi
        words = [figure._suptitle, *figure.texts, *(axes.title for axes in figure.axes)]
        for text in words:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        lowest = min(axes.get_window_extent().y0 for axes in figure.axes)
        (below,) = [text for text in figure.texts if diagnosis.findings[0] in text.get_text()]
        assert below.get_window_extent().y1 < lowest
        assert all(
            helpers.two_digits(p.activation) in t.get_text()
            for p, t in zip(diagnosis.pictures, (a.title for a in figure.axes), strict=False)
        )


def test_its_text_has_every_finding(picky):
    _, (rescued, dead) = picky
    for diagnosis in (rescued, dead):
        lines = str(diagnosis).splitlines()
        assert lines[0] == f"picky second filter {diagnosis.filter}: {diagnosis.verdict}"
        assert lines[1:] == [f"- {finding}" for finding in diagnosis.findings]
        assert repr(diagnosis) == str(diagnosis)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rescued.verdict = "alive"


# ---------------------------------------------------------------- bad calls


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "vgg16"}, "must be a keras.Model"),
        ({"layer": "block3conv1"}, "did you mean 'block3_conv1'"),
        ({"layer": "predictions"}, "not feature maps"),
        ({"filter": 48}, "from 0 to 47, not 48"),
        ({"filter": -1}, "from 0 to 47, not -1"),
        ({"filter": [3]}, r"not \[3\]"),
        ({"filter": True}, "not True"),
        ({"size": 8}, "size must be a whole number from 16"),
        ({"size": 2.5}, "size must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_bad_calls_are_refused_before_any_work(model, change, words, monkeypatch):
    monkeypatch.setattr(doctor, "climb", lambda *_, **__: pytest.fail("work was begun"))
    monkeypatch.setattr(Layer, "activations", lambda *_: pytest.fail("work was begun"))
    call = {"model": model, "layer": "block3_conv1", "filter": 3, "size": 32} | change
    with pytest.raises(ValueError, match=words) as caught:
        helpers.diagnose(**call)
    assert "\n" not in str(caught.value)


def test_a_convolution_right_after_the_input_can_be_examined():
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(3, 3, activation="relu", name="c")(inputs))
    kernel, bias = network.get_layer("c").get_weights()
    network.get_layer("c").set_weights([-np.ones_like(kernel), bias])
    found = helpers.diagnose(network, "c", 0, size=32)
    assert found.verdict == "dead" and any("becomes zero in c" in each for each in found.findings)
