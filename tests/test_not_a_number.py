"""Networks in which an answer or its gradient stops being a number on the way."""

import asyncio

import keras
import numpy as np
import pytest
import tensorflow as tf

import helpers
from filtersight.ascent import objective, plain
from filtersight.explorer.curve import curve
from filtersight.explorer.explorer import Explorer
from filtersight.networks.layers import Layer
from filtersight.trust import scores as scores_module
from filtersight.trust import why

L = keras.layers
pytestmark = pytest.mark.usefixtures("few_real_images")
CALL = {"size": 32, "steps": 8, "rescue": False}


def network(on_the_way, *, last="relu", dtype=None):
    """Convolutions with something between them; a classifier at the end."""
    inputs = keras.Input((None, None, 3))
    x = L.Rescaling(1 / 127.5, -1, name="scale")(inputs)
    x = L.Conv2D(4, 3, activation="relu", name="one")(x)
    x = on_the_way(x)
    x = L.Conv2D(4, 3, activation=last, name="two", dtype=dtype)(x)
    model = keras.Model(inputs, L.Dense(3, name="dense")(L.GlobalAveragePooling2D()(x)), name="odd")
    random = np.random.default_rng(2)
    for weight in model.trainable_weights:
        scale = 0.3 if weight.name == "kernel" else 0.05
        weight.assign(random.normal(0, scale, weight.shape))
    return model


def own(function):
    return L.Lambda(function, name="way")


def per_filter(x):
    """The second filter's logarithm is not a number for half of its values, those of the others are fine."""
    first, second, rest = tf.split(x, [1, 1, 2], axis=-1)
    return tf.concat([first, tf.math.log(second - 0.01), rest], axis=-1)


BACKWARD = {  # forward fine, the gradient infinite or not a number where a ReLU is silent
    "root": own(tf.sqrt),
    "operation": keras.ops.sqrt,
    "norm": own(lambda x: x + tf.norm(x, axis=-1, keepdims=True)),
    "power": own(lambda x: x**0.5),
    "quotient": own(lambda x: tf.where(x > 0, x * x / x, 0.0)),
}


@pytest.mark.parametrize("recipe", ["plain", "clear"])
@pytest.mark.parametrize("name", BACKWARD)
def test_a_gradient_that_is_not_a_number_does_not_end_the_ascent(name, recipe):
    model = network(BACKWARD[name])
    pictures = helpers.visualize(model, "two", [0, 1, 2, 3], recipe=recipe, **CALL)
    noise = helpers.activations(model, "two", helpers.random_image(32).astype(np.uint8)[None])[0]
    assert sum(each.status == "alive" for each in pictures) >= 3
    for each in pictures:
        assert np.isfinite(each.history).all()
        if each.status == "alive":
            assert each.activation > 1.05 * noise[each.filter] and each.image.std() > 5


def test_the_gradient_of_a_root_is_that_of_its_positive_places():
    kernel = np.array([[2.0, -1.0], [-1.0, 1.0], [0.5, 0.25]])
    inputs = keras.Input((None, None, 3))
    x = L.Conv2D(2, 1, activation="relu", use_bias=False, name="one")(inputs)
    model = keras.Model(inputs, L.Lambda(tf.sqrt, name="root")(x))
    model.get_layer("one").set_weights([kernel[None, None]])
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 3))
    cut = objective.FilterObjective(Layer(model, "root"), "float32", leak=False)
    pixels = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        answers = cut(pixels, tf.constant([0, 1]))
    found = tape.gradient(answers, pixels).numpy()
    for row, number in enumerate((0, 1)):
        before = images[row] @ kernel[:, number]
        slope = np.where(before > 0, 0.5 / np.sqrt(np.abs(before)), 0)
        assert float(answers[row]) == pytest.approx(np.sqrt(np.maximum(before, 0)).mean(), rel=1e-5)
        assert np.allclose(found[row], slope[..., None] * kernel[:, number] / 25, rtol=1e-4)


@pytest.mark.parametrize("recipe", ["plain", "clear"])
def test_an_activation_of_ones_own_may_have_a_broken_gradient(recipe):
    model = network(L.Identity(), last=lambda x: tf.sqrt(tf.nn.relu(x)))
    for each in helpers.visualize(model, "two", [0, 1, 2], recipe=recipe, **CALL):
        assert each.status == "alive" and each.history[-1] > each.history[0]


@pytest.mark.parametrize("recipe", ["plain", "clear"])
def test_one_filter_without_a_number_leaves_the_others_alone(recipe):
    inputs = keras.Input((None, None, 3))
    x = L.Conv2D(4, 3, name="one")(L.Rescaling(1 / 127.5, -1)(inputs))
    model = keras.Model(inputs, L.Lambda(per_filter, name="end")(x))
    together = helpers.visualize(model, "end", [0, 1, 2], recipe=recipe, **CALL)
    alone = helpers.visualize(model, "end", [2], recipe=recipe, **CALL)[0]
    assert np.isfinite(together[0].history).all() and together[0].status == "alive"
    assert np.abs(together[2].image.astype(int) - alone.image).mean() < 1
    assert together[1].status == "dead"
    assert "in layer end values are not a number" in together[1].reason


def test_the_picture_is_the_last_one_that_has_an_answer():
    """Beyond a mean of 0.3 there is no answer; without going back, all images would end there."""

    def cliff(x):
        return tf.where(tf.reduce_mean(x, axis=(1, 2), keepdims=True) > 0.3, np.nan, x)

    inputs = keras.Input((None, None, 3))
    x = L.Conv2D(2, 1, name="one")(L.Rescaling(1 / 127.5, -1)(inputs))
    model = keras.Model(inputs, L.Lambda(cliff, name="end")(x))
    model.get_layer("one").set_weights([np.full((1, 1, 3, 2), 0.5), np.zeros(2)])
    for each in helpers.visualize(model, "end", [0, 1], size=32, steps=30, rescue=False):
        assert each.status == "alive" and 0.1 < each.activation <= 0.3
    start = helpers.random_image(32)
    *_, (last, _) = plain.ascend_pixels(Layer(model, "end"), [0, 1], start, steps=30, step_size=4.0)
    means = np.asarray(model(last)).mean(axis=(1, 2))
    assert ((means > 0.27) & (means <= 0.3)).all()  # a whole step makes 0.047


FORWARD = {
    "log": (own(tf.math.log), "in layer way values are infinite"),
    "quotient": (own(lambda x: x / (x - x)), "in layer way values are not a number"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_an_answer_that_never_is_a_number_is_dead_for_the_true_reason(name, tmp_path):
    way, reason = FORWARD[name]
    model = network(way)
    for recipe in ("plain", "clear"):
        picture = helpers.visualize(model, "two", [0], recipe=recipe, **CALL)[0]
        assert picture.status == "dead" and reason in picture.reason
        assert picture.image.std() > 1  # the noise that it began with, not black
    rescued = helpers.visualize(model, "two", [0], size=32, steps=4)[0]
    assert rescued.status == "dead" and reason in rescued.reason
    score = helpers.scores(model, [picture])[0]
    assert np.isnan(score.activation) and np.isnan(score.robustness) and score.rank == 4
    diagnosis = helpers.diagnose(model, "two", 0, size=32)
    assert diagnosis.verdict == "dead" and reason in str(diagnosis)
    for text in (
        str(score),
        str(diagnosis),
        *(axes.get_title() for axes in diagnosis.figure().axes),
    ):
        assert "nan" not in text and "inf " not in text
    assert "no finite number" in str(score) and "it answers no number" in str(diagnosis)
    if name == "quotient":  # there are images of which the logarithm is finite
        assert "never a finite number" in str(diagnosis)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with pytest.raises(
        ValueError, match=f"answer of odd to this image is not a finite number: {reason}"
    ):
        helpers.explain(model, image)
    made = helpers.atlas(model, tmp_path / "atlas", ["two"], steps=2, size=32, rescue=False)
    assert "4 dead" in str(made) and all(reason in each.reason for each in made.entries)
    helpers.gallery(made.folder)


def test_a_network_that_fails_for_some_images_only():
    """Those images count for nothing: the best, the median and the rank are those of the others."""
    model = network(own(lambda x: tf.where(tf.reduce_mean(x) > 9, np.nan, x)))
    picture = helpers.visualize(model, "two", [1], **CALL)[0]
    real = scores_module.reality(model, "two")
    few = real._replace(images=real.images[:40], answers=real.answers[:40])
    holes = few.answers.copy()
    holes[[3, 17]] = np.nan
    without = few._replace(
        images=np.delete(few.images, [3, 17], 0), answers=np.delete(few.answers, [3, 17], 0)
    )
    found = scores_module.scores(model, [picture], real=few._replace(answers=holes))[0]
    expected = scores_module.scores(model, [picture], real=without)[0]
    assert found.activation == pytest.approx(expected.activation)
    assert (found.rank, found.robustness) == (expected.rank, pytest.approx(expected.robustness))


def test_explanations_pass_a_broken_gradient():
    model = network(BACKWARD["root"])
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    shares = why.attributions(model, "one", image, 0)
    assert np.isfinite(shares).all() and shares.any()
    # A small change of one map changes the value as the gradient says: maps are kept above 0.
    maps = Layer(model, "one").network(image[None].astype("f4"))
    rest = keras.Model(model.get_layer("one").output, model.output)
    for number in range(4):
        more = maps.numpy()
        more[..., number] *= 1.001
        change = (rest(more)[0, 0] - rest(maps)[0, 0]) / 0.001
        assert shares[number] == pytest.approx(float(change), rel=0.05, abs=2e-3)
    assert np.isfinite(why.grad_cam(model, image, 0, layer="one")).all()


def test_the_doctor_names_where_the_gradient_breaks():
    findings = helpers.diagnose(network(BACKWARD["root"]), "two", 0, size=32).findings
    assert "the gradient is not a number in layer way" in findings[1]


def explored(model):
    """An explorer that has drawn the first filter of the layer "two"."""
    made = Explorer(model, recipe="clear", size=32, seed=0)
    made.iterations.value = 3
    made.layer.value = "two"

    async def pressed():
        made.run_or_stop(made.button)
        await made.task

    asyncio.run(pressed())
    return made


def test_the_explorer_shows_a_filter_without_a_number():
    made = explored(network(FORWARD["log"][0]))
    assert made.result.status == "dead" and "values are infinite" in made.facts.value
    assert "nan" not in made.curve.value.partition("<path")[2].partition("<text")[0]
    made.close()


def test_a_curve_with_gaps_has_points_everywhere():
    drawn = curve(np.array([1.0, np.nan, 2.0, np.inf]), 4)
    points = drawn.partition('points="')[2].partition('"')[0].split()
    assert len(points) == 4 and not any("n" in point for point in points)


class Stopped(L.Layer):
    def call(self, x):
        return tf.stop_gradient(x)


DEAD_ENDS = {  # by the name of the layer in which the gradient ends
    "stop_gradient": keras.ops.stop_gradient,
    "stopped": Stopped(name="stopped"),
    "way": own(tf.stop_gradient),
    "sign": L.Activation(tf.sign, name="sign"),
    "floor": keras.ops.floor,
    "argmax": lambda x: keras.ops.cast(keras.ops.argmax(x, -1), "float32")[..., None],
}


@pytest.mark.parametrize("name", DEAD_ENDS)
def test_where_no_gradient_leads_to_the_image_the_layer_is_named(name):
    way = DEAD_ENDS[name]
    model = network((lambda x: way(x - 0.1)) if name == "sign" else way)
    ends = f"the gradient ends in layer {name}"
    for recipe, layer in (("plain", "two"), ("clear", "dense")):
        [picture] = helpers.visualize(model, layer, [0], recipe=recipe, **CALL)
        assert picture.status == "dead" and picture.reason.endswith(ends)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for explained in (why.attributions, why.grad_cam):
        keywords = {"layer": "one", "image": image, "target": 0}
        with pytest.raises(ValueError, match=f"{ends}; .* occlusion"):
            explained(model, **keywords)
    assert why.occlusion(model, image, 0).any()
    # Behind it there is a gradient: the answer is linear in these maps.
    shares = why.attributions(model, "two", image, 0)
    maps = np.asarray(Layer(model, "two").network(image[None].astype("f4")))[0].mean(axis=(0, 1))
    assert np.allclose(shares, maps * np.asarray(model.get_layer("dense").kernel)[:, 0], atol=1e-6)


def test_rescue_doctor_and_explorer_say_where_the_gradient_ends(tmp_path):
    model = network(own(tf.stop_gradient))
    ends = "the gradient ends in layer way"
    [picture] = helpers.visualize(model, "two", [0], size=32, steps=2)
    assert picture.status == "rescued"
    assert picture.reason.endswith(f"which is a real image: {ends}")
    assert ends in str(helpers.diagnose(model, "two", 0, size=32))
    assert np.isfinite(helpers.scores(model, [picture])[0].robustness)
    made = explored(model)
    assert made.result.status == "dead" and ends in made.facts.value
    made.close()
    drawn = helpers.atlas(model, tmp_path / "atlas", ["two"], steps=2, size=32, rescue=False)
    assert all(ends in each.reason for each in drawn.entries)


def test_an_activation_without_a_gradient_is_climbed_by_the_leak():
    """Plain ascent cannot move; the clear recipe lets a tenth of the gradient through the filter's own."""
    model = network(L.Identity(), last=tf.sign)
    [plain_one] = helpers.visualize(model, "two", [0], recipe="plain", **CALL)
    assert plain_one.status == "dead" and "ends in layer two" in plain_one.reason
    [clear_one] = helpers.visualize(model, "two", [0], recipe="clear", **CALL)
    assert clear_one.status == "alive" and clear_one.activation > plain_one.activation + 0.5
