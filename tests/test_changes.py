"""A model that is changed after it was looked at: whatever is kept of it must be that of the model as it is now."""

import asyncio
import gc
import weakref

import keras
import numpy as np
import pytest

import helpers
from filtersight.ascent import climb
from filtersight.explorer.explorer import Explorer
from filtersight.networks import flat
from filtersight.networks.layers import Layer
from filtersight.trust import scores as scores_module

L = keras.layers
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)


class Own(L.Layer):
    """Somebody's own layer, whose settings `get_config` does not tell."""

    def __init__(self, **given):
        super().__init__(**given)
        self.rate, self.options, self.table = 1.0, {"shift": 0.0}, np.ones(4, np.float32)

    def call(self, x):
        return self.rate * x * self.table + self.options["shift"]

    def get_config(self):
        raise NotImplementedError


class Gate(L.Layer):
    """Sees its neighbours only as far as its gate is open."""

    def build(self, shape):
        self.open = self.add_weight(shape=(), initializer="zeros", name="open")

    def call(self, x):
        return x + self.open * keras.ops.roll(x, 3, axis=1)


def network():
    """The same one at each call: a convolution, somebody's own layer, a model in the model, a classifier."""
    inputs = keras.Input((None, None, 3))
    x = L.Rescaling(1 / 255, name="scale")(inputs)
    x = L.Conv2D(4, 3, activation="relu", name="one")(x)
    x = Gate(name="gate")(Own(name="own")(x))
    x = L.BatchNormalization(name="norm")(x)
    within = [keras.Input((None, None, 4)), L.Conv2D(4, 3, activation="relu", name="within")]
    x = keras.Sequential(within, name="inner")(x)
    x = L.MaxPooling2D(name="pool")(x)
    x = L.Conv2D(4, 3, activation="relu", name="two")(x)
    x = L.Dense(3, name="dense")(L.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x, name="small")
    random = np.random.default_rng(5)
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            weight.assign(random.normal(0, 0.4, weight.shape))
        if weight.name == "bias":
            weight.assign(random.normal(0.2, 0.1, weight.shape))
    return model


@pytest.fixture(autouse=True, scope="module")
def few_real_images():
    with pytest.MonkeyPatch.context() as patch:
        some = helpers.sample()[::15]
        patch.setattr(scores_module, "sample", lambda channels: some)
        yield


def to(layer, **settings):
    """A change of a layer's attributes."""

    def change(model):
        for name, value in settings.items():
            setattr(model.get_layer(layer), name, value)

    return change


def halved(model):
    inner = model.get_layer("inner")
    inner.set_weights([-weight / 2 for weight in inner.get_weights()])


def adapted(model):
    model.compile("sgd", "mse")
    model.fit(IMAGES / 255.0, np.ones((2, 3)), epochs=3, verbose=0)


def with_lora(model):
    layer = model.get_layer("two")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.random.default_rng(1).normal(0, 1, layer.lora_kernel_b.shape))


CHANGES = {
    "activation": to("one", activation=keras.activations.tanh),
    "activation of the layer": to("two", activation=keras.activations.linear),
    "strides": to("one", strides=(2, 2)),
    "padding": to("two", padding="same"),
    "pooling": to("pool", pool_size=(3, 3)),
    "own attribute": to("own", rate=-2.0),
    "own dict": lambda model: model.get_layer("own").options.__setitem__("shift", 3.0),
    "own array": lambda model: model.get_layer("own").table.__setitem__(1, -4),
    "epsilon": to("norm", epsilon=9.0),
    "frozen": to("norm", trainable=False),
    "policy": to("two", dtype_policy="mixed_float16"),
    "inner layer": lambda model: setattr(
        model.get_layer("inner").layers[0], "activation", keras.activations.tanh
    ),
    "inner weights": halved,
    "assign": lambda model: model.get_layer("two").kernel.assign(-model.get_layer("two").kernel),
    "gate": lambda model: model.get_layer("gate").open.assign(1.0),
    "fit": adapted,
    "lora": with_lora,
}


def looked_at(model):
    """What the course says of a model, in all that it keeps something for."""
    pictures = [
        picture
        for recipe in ("plain", "clear")
        for picture in helpers.visualize(
            model, "two", [1, 2], size=48, steps=3, recipe=recipe, rescue=False
        )
    ]
    return {
        "images": [each.image.tolist() for each in pictures],
        "facts": [str(each) for each in pictures],
        "maps": helpers.submodel(model, "two")(IMAGES.astype("f4")).numpy().tolist(),
        "activations": helpers.activations(model, "two", IMAGES).tolist(),
        "field": helpers.receptive_field(model, "two"),
        "description": str(helpers.describe(model)),
        "scores": str(helpers.scores(model, pictures[2:])),
        "classes": helpers.activations(model, "dense", IMAGES).tolist(),
    }


@pytest.fixture(scope="module")
def before(few_real_images):
    return looked_at(network())


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_model_is_as_a_fresh_one(name, before):
    model, fresh = network(), network()
    assert looked_at(model) == before
    for each in (model, fresh):
        keras.utils.set_random_seed(0)
        CHANGES[name](each)
    if name == "fit":  # two trainings differ in the last bits
        fresh.set_weights(model.get_weights())
    found = looked_at(model)
    assert found == looked_at(fresh)
    # Whatever the policy, the course computes in float32.
    assert (found == before) == (name in ("frozen", "policy"))


def test_a_gate_that_opens_shows_in_the_receptive_field():
    model = network()
    closed = helpers.receptive_field(model, "two")
    model.get_layer("gate").open.assign(1.0)
    # Rows come in from 3 places above, or from the other end of the map: all of it.
    assert helpers.receptive_field(model, "two") > closed


def test_weights_that_change_and_work_on_the_model_build_nothing_anew():
    model = network()
    looked_at(model)
    kept = flat.unfold(model)
    graph = climb.climber_of(Layer(model, "two"), "float32", False)
    model(IMAGES.astype("f4"))
    adapted(model)
    model.predict(IMAGES, verbose=0)
    looked_at(model)
    assert flat.unfold(model) is kept
    assert climb.climber_of(Layer(model, "two"), "float32", False) is graph
    assert graph.climb.experimental_get_tracing_count() <= 1


def test_a_layer_that_counts_its_calls_is_not_taken_for_changed():
    class Counting(L.Layer):
        calls, last = 0, None

        def call(self, x):
            self.calls, self.last = self.calls + 1, x
            return x * 2

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, L.Conv2D(2, 3, name="end")(Counting()(inputs)))
    kept = flat.unfold(model)
    model(IMAGES.astype("f4"))
    assert flat.unfold(model) is kept


def test_a_model_that_was_looked_at_can_go():
    model = network()
    looked_at(model)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_the_explorer_forgets_what_a_model_was():
    model = network()
    made = Explorer(model, recipe="plain", size=32, seed=0)
    made.iterations.value = 3

    async def pressed():
        made.run_or_stop(made.button)
        await made.task
        return made.result

    asyncio.run(pressed())
    CHANGES["activation"](model)
    made.restart()
    fresh = network()
    CHANGES["activation"](fresh)
    recipe = made.result.recipe
    expected = helpers.visualize(
        fresh, recipe.layer, [made.filter.value], **vars(recipe.settings())
    )
    assert np.array_equal(made.result.image, expected[0].image)
    made.close()


def test_a_judge_that_is_changed_is_asked_anew():
    judge = helpers.load_model("pocketvgg_judge")
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    scores_module.verdicts_of(judge, images)
    last = judge.layers[-1]
    last.activation = lambda x: keras.activations.softmax(-x)
    values = np.asarray(judge(images.astype("f4")))
    names = [scores_module.NAMES[place] for place in values.argmax(axis=1)]
    assert scores_module.verdicts_of(judge, images) == names


def test_an_atlas_does_not_go_on_with_a_network_that_answers_otherwise(tmp_path):
    model, call = network(), {"layers": ["two"], "steps": 3, "size": 48, "rescue": False}
    helpers.atlas(model, tmp_path / "atlas", **call)
    (tmp_path / "atlas" / "two" / "001.png").unlink()
    model.get_layer("one").activation = keras.activations.tanh
    with pytest.raises(ValueError, match=r"as it was set before: filter \d of two answered"):
        helpers.atlas(model, tmp_path / "atlas", **call)
    model.get_layer("one").activation = keras.activations.relu
    assert "4 pictures" in str(helpers.atlas(model, tmp_path / "atlas", **call))
