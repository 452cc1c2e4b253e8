"""Odd networks and odd parts of networks: what is in them is found, or it is said why not.

Networks are small and random. Numbers are compared with the layers called by hand.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_networks import backbone, inner, noise, works

import helpers
from filtersight.ascent import objective, recipe
from filtersight.networks import describe, flat, load
from filtersight.networks import layers as layers_module
from filtersight.networks.layers import Layer
from filtersight.trust import doctor, scores, why
from filtersight.world import patterns

L, ops = keras.layers, keras.ops
pytestmark = pytest.mark.usefixtures("few_real_images")
ONES = {"padding": "same", "kernel_initializer": "ones", "bias_initializer": "ones"}


def after(model, *layers):
    """The image through these layers of the model, called by hand."""

    def call(images):
        maps = images.astype("f4")
        for layer in layers:
            maps = model.get_layer(layer)(maps, training=False)
        return maps

    return call


def chain(*layers, shape=(32, 32, 3)):
    return keras.Sequential([keras.Input(shape), *layers])


def climbs(model, layer, precision="bfloat16", size=None):
    """A picture's history, in the private copy that computes in bfloat16, says what the model itself says."""
    picture = helpers.visualize(
        model, layer, [0], steps=1, size=size, rescue=False, precision=precision, coarse=False
    )[0]
    order = picture.recipe
    noise_image = recipe.start_image(order)[None]
    part = Layer(model, layer).objective
    values = np.asarray(keras.Model(part.image, part.output)(noise_image.astype("f4")), "f4")
    # Of the image as it was looked at: a little shifted, turned and scaled.
    expected = values[..., 0].mean()
    if Layer(model, layer).has_softmax:  # a class also climbs away from its rivals
        expected += np.log(helpers.activations(model, layer, noise_image)[0, 0])
    assert picture.history[0] == pytest.approx(
        expected, rel=0.05, abs=0.02 * float(np.abs(values).max())
    )
    return picture


# ---------------------------------------------------------------- names


def test_names_that_tensorflow_does_not_allow():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, 3), name="my image")
    x = L.Conv2D(4, 3, activation="relu", name="1st conv: größe?")(inputs)
    x = L.Conv2D(4, 3, activation="relu", name="$x_2^")(x)
    x = L.Conv2D(4, 3, activation="relu", name="¥x_2^")(x)  # the same but for what is not allowed
    x = L.Dense(2, activation="softmax", name="_end")(L.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x, name="$x_2^")
    images, names = noise(2, 32, 32, 3), ["1st conv: größe?", "$x_2^", "¥x_2^"]
    assert layers_module.conv_layers(model) == names
    works(model, "¥x_2^", images, after(model, *names)(images))
    assert tf.function(Layer(model, "$x_2^").network)(images.astype("f4")).shape == (
        2,
        28,
        28,
        4,
    )
    diagnosis = helpers.diagnose(model, "$x_2^", 1, size=32)
    assert "$x_2^ filter 1" in str(diagnosis)
    assert [layer.name for layer in model.layers][1:4] == names


def test_a_model_that_is_called_by_the_name_of_its_argument():
    keras.utils.set_random_seed(1)
    base, inputs = backbone(), keras.Input((32, 32, 3))
    model = keras.Model(inputs, base(inputs=inputs))
    images = noise(2, 32, 32, 3)
    works(model, "last_conv", images, base(images.astype("f4")), classes=False)


# ---------------------------------------------------------------- inputs and outputs


def test_inputs_and_outputs_by_name():
    keras.utils.set_random_seed(1)
    photo, age = keras.Input((32, 32, 3), name="photo"), keras.Input((5,), name="age")
    x = L.Conv2D(4, 3, name="c")(photo)
    pooled = L.GlobalAveragePooling2D(name="pool")(x)
    heads = {
        "sure": L.Dense(2, name="both")(L.Concatenate()([pooled, age])),
        "kind": L.Dense(3, name="kinds")(pooled),
    }
    model = keras.Model({"age": age, "photo": photo}, heads)
    images = noise(2, 32, 32, 3)
    works(model, "c", images, after(model, "c")(images), classes=False)
    assert flat.unfold(model).last == "kinds"  # the first output, as Keras orders them
    with pytest.raises(ValueError, match=r"layer 'both' of .* needs another input than the image"):
        Layer(model, "both")
    given = {"photo": images.astype("f4"), "age": np.ones((2, 5), "f4")}
    values = Layer(model, "kinds").network(images.astype("f4"))
    assert np.allclose(values, model(given)["kind"], atol=1e-4)


def test_a_batch_of_one_that_cannot_be_changed():
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(1, 32, 32, 3))
    x = L.Flatten()(L.Conv2D(4, 3, name="c", activation="relu")(inputs))
    model = keras.Model(inputs, L.Dense(2, name="answer")(x))
    images = noise(3, 32, 32, 3)
    works(model, "c", images, model.get_layer("c")(images.astype("f4")), classes=False)
    values = Layer(model, "answer").network(images.astype("f4"))
    assert np.allclose(values[1:2], model(images[1:2].astype("f4")), atol=1e-3)
    assert len(helpers.visualize(model, "answer", [0, 1], steps=2)) == 2


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_inputs_of_other_types(dtype):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, 3), dtype=dtype)
    x = keras.ops.cast(inputs, "float32") / 255
    model = keras.Model(inputs, L.Conv2D(4, 3, name="c", activation="relu")(x))
    images = noise(2, 32, 32, 3)
    expected = model.get_layer("c")(images.astype("f4") / 255)
    works(model, "c", images, expected, classes=False)
    assert describe.preprocessing(model) == "inside; black becomes 0, white 1"
    assert helpers.receptive_field(model, "c") == 3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_networks_that_compute_in_half_precision(policy):
    plain = backbone(pooled=True)
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(policy)
    try:
        model = backbone(pooled=True)
    finally:
        keras.config.set_dtype_policy("float32")
    plain.set_weights([np.asarray(each, np.float32) for each in model.get_weights()])
    images = noise(2, 32, 32, 3)
    with_answer = keras.Sequential([model, L.Dense(3, activation="softmax", name="answer")])
    found = helpers.activations(with_answer, "last_conv", images)
    maps = np.asarray(inner(plain, "last_conv")(images.astype("f4")), np.float64)
    assert found.dtype == np.float32 and np.allclose(found, maps.mean(axis=(1, 2)), rtol=1e-4)
    for precision in objective.PRECISIONS:
        climbs(with_answer, "last_conv", precision, size=32)
        climbs(with_answer, "answer", precision)


def saturated(policy, only=None):
    """A classifier under a policy, or with `only` one layer of it; its maps go beyond 65,504, float16's end."""
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy("float32" if only else policy)
    own = {"dtype": policy}
    try:
        inputs = keras.Input((None, None, 3))
        x = L.Rescaling(3000.0, name="bright", **(own if only == "bright" else {}))(inputs)
        x = L.Conv2D(6, 3, activation="relu", name="c", **(own if only == "c" else {}))(x)
        x = L.BatchNormalization(name="norm")(L.SeparableConv2D(6, 3, name="deep")(x))
        x = L.GlobalAveragePooling2D()(L.ReLU(name="maps")(x))
        x = L.Dense(3, name="head", kernel_initializer=keras.initializers.RandomNormal(0, 1e-6))(x)
        return keras.Model(inputs, L.Softmax(name="answer", dtype="float32")(x), name="net")
    finally:
        keras.config.set_dtype_policy("float32")


def numbers(model, image):
    """Every kind of number that the course gives about a model."""
    found = {"answers": [each.value for each in why.predictions(model, image)]}
    for layer in ("c", "maps"):
        found[f"activations {layer}"] = helpers.activations(model, layer, image[None])
        found[f"attributions {layer}"] = why.attributions(model, layer, image, 1)
        found[f"Grad-CAM {layer}"] = why.grad_cam(model, image, 1, layer=layer)
    found["occlusion"] = why.occlusion(model, image, 1, patch=12, stride=12)
    found["submodel"] = helpers.submodel(model, "maps")(image[None].astype("f4"))
    with tf.GradientTape() as tape:
        pixels = tf.constant(image[None], tf.float32)
        tape.watch(pixels)
        value = helpers.opened(model, "maps")(pixels, training=False)[1][0, 1]
    found["saliency"] = tape.gradient(value, pixels)
    for recipe_name in ("plain", "clear"):
        options = {"recipe": recipe_name, "steps": 4, "rescue": False, "precision": "float32"}
        picture = helpers.visualize(model, "maps", [1], size=128, **options)[0]
        found[f"history {recipe_name}"] = picture.history
    table = scores.scores(model, [picture])[0]
    found["scores"] = [table.activation, table.robustness]
    found["way back"] = list(doctor.way_back(Layer(model, "maps"), 1, image).values())
    found["field"] = [helpers.receptive_field(model, "maps")]
    return {name: np.asarray(each) for name, each in found.items()}


@pytest.fixture(scope="module")
def in_float32():
    """The classifier in float32, with weights that bfloat16 holds, too; its numbers."""
    model = saturated("float32")
    some = [np.asarray(tf.cast(tf.cast(w, "bfloat16"), "float32")) for w in model.get_weights()]
    model.set_weights(some)
    return model, numbers(model, noise(1, 32, 32, 3)[0])


@pytest.mark.parametrize(
    "policy, only",
    [
        ("mixed_float16", None),
        ("mixed_float16", "c"),
        ("mixed_bfloat16", None),
        ("float16", "bright"),
        ("bfloat16", None),
        ("float64", None),
    ],
)
def test_every_number_is_that_of_the_same_network_in_float32(policy, only, in_float32):
    image, model = noise(1, 32, 32, 3)[0], saturated(policy, only)
    plain, expected = in_float32
    model.set_weights(plain.get_weights())
    weights, policies = model.get_weights(), [each.dtype_policy.name for each in model.layers]
    keras.config.set_dtype_policy(policy)  # may still hold while one looks at the network
    try:
        found = numbers(model, image)
    finally:
        keras.config.set_dtype_policy("float32")
    assert expected["activations c"].max() > 65_504
    for name, values in expected.items():
        assert np.isfinite(found[name]).all() and found[name].any(), name
        assert found[name].dtype == values.dtype, name
        assert np.allclose(found[name], values, rtol=1e-3, atol=1e-3 * np.abs(values).max()), name
    # The model is as it was, and what it learns is seen.
    assert [each.dtype_policy.name for each in model.layers] == policies
    assert all(np.array_equal(*each) for each in zip(model.get_weights(), weights, strict=True))
    model.get_layer("c").kernel.assign(0 * model.get_layer("c").kernel)
    assert not helpers.activations(model, "c", image[None]).any()


class Holder(L.Layer):
    """Layers inside a layer, in a list and in a model of their own."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.some = [L.Conv2D(4, 3), L.BatchNormalization()]
        inputs = keras.Input((None, None, 4))
        self.open = keras.Model(inputs, L.Conv2D(4, 1)(inputs))
        self.chain = keras.Sequential([L.Conv2D(4, 1, activation="relu")])

    def call(self, images):
        for each in self.some:
            images = each(images)
        return self.chain(self.open(images))


class Attention(L.Layer):
    """Places that look at each other."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.look = L.MultiHeadAttention(2, 4)

    def call(self, images):
        places = ops.reshape(images / 1e5, (-1, 144, 3))
        return self.look(places, places)


@pytest.mark.parametrize(
    "kind",
    [
        lambda: Holder(name="odd"),
        lambda: Attention(name="odd"),
        lambda: L.SpectralNormalization(L.Conv2D(4, 3), name="odd"),
        lambda: L.Normalization(mean=123.68, variance=70_000.0, name="odd"),
        lambda: L.Lambda(lambda x: x, name="odd"),
    ],
    ids=["layers in a layer", "attention", "wrapper", "stored means", "cast"],
)
def test_what_computes_in_half_precision_inside_a_layer_is_float32_too(kind):
    def build(policy):
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(policy)
        try:
            inputs = keras.Input((12, 12, 3))
            x = ops.cast(ops.cast(inputs, policy.removeprefix("mixed_")) * 400, "float32")
            return keras.Model(inputs, kind()(x))
        finally:
            keras.config.set_dtype_policy("float32")

    images, half, plain = noise(2, 12, 12, 3), build("mixed_float16"), build("float32")
    plain.set_weights(half.get_weights())
    found = Layer(half, "odd").network(images.astype("f4"))
    assert found.dtype == "float32"
    expected = plain(images.astype("f4")).numpy()
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


# ---------------------------------------------------------------- layers before the first convolution


def test_a_normalization_that_has_learned_from_data():
    """What it computes with is neither in its config nor all in its weights, so it cannot be copied."""
    normal = L.Normalization()
    normal.adapt(np.random.default_rng(0).normal([90, 120, 150], 30, (50, 8, 8, 3)).astype("f4"))
    keras.utils.set_random_seed(1)
    model = chain(normal, L.Conv2D(4, 3, name="c", activation="relu"))
    images = noise(2, 32, 32, 3)
    mean, deviation = np.ravel(normal.mean), np.sqrt(np.ravel(normal.variance))
    expected = model.get_layer("c")(((images - mean) / deviation).astype("f4"))
    works(model, "c", images, expected, classes=False)
    for layer in (normal.name, "c"):
        climbs(model, layer)
    black, white = -mean / deviation, (255 - mean) / deviation
    words = [describe.tuple_text(each) for each in (black, white)]
    assert describe.preprocessing(model) == f"inside; black becomes {words[0]}, white {words[1]}"


def test_augmentation_inside_does_nothing_and_hides_nothing():
    keras.utils.set_random_seed(1)
    model = chain(
        L.RandomFlip("horizontal"),
        L.RandomRotation(0.1),
        L.RandomZoom(0.1),
        L.RandomContrast(0.1),
        L.Rescaling(1 / 255),
        L.Conv2D(4, 3, name="c", activation="relu"),
        L.GlobalAveragePooling2D(),
        L.Dense(2),
    )
    images = noise(2, 32, 32, 3)
    works(model, "c", images, model.get_layer("c")(images.astype("f4") / 255))
    assert helpers.receptive_field(model, "c") == 3
    assert describe.describe(model).preprocessing == "inside; black becomes 0, white 1"


def test_images_that_the_network_makes_smaller_itself():
    keras.utils.set_random_seed(1)
    model = chain(
        L.Resizing(20, 20, name="smaller"),
        L.Conv2D(4, 3, name="c", activation="relu"),
        L.Flatten(),
        L.Dense(2, name="answer"),
        shape=(80, 80, 3),
    )
    images = noise(2, 80, 80, 3)
    works(model, "c", images, after(model, "smaller", "c")(images))
    assert helpers.visualize(model, "answer", [0], steps=2)[0].image.shape == (128, 128, 3)


def test_a_lambda_that_was_told_its_shape_is_free_all_the_same():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((40, 56, 1))
    x = L.Lambda(lambda t: keras.ops.repeat(t, 3, axis=-1), output_shape=(40, 56, 3))(inputs)
    x = L.Conv2D(4, 3, name="c", activation="relu")(x)
    model = keras.Model(inputs, L.Dense(4, name="answer")(L.Flatten()(x)))
    (picture,) = helpers.visualize(model, "c", [0], steps=2, rescue=False)
    assert picture.image.shape == (128, 128, 1)
    assert describe.describe(model, 128).convolutions[0].map == (126, 126)
    (picture,) = helpers.visualize(model, "answer", [0], steps=2)
    assert picture.image.shape == (40, 56, 1)  # here the size cannot be set free


# ---------------------------------------------------------------- layers that give several things, or none


def test_layers_that_give_lists():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, 3))
    wide, narrow = keras.ops.split(L.Conv2D(6, 3, name="c1")(inputs), [4], axis=-1)
    x = L.Concatenate()([L.Activation("relu")(narrow), wide])
    model = keras.Model(inputs, L.Conv2D(4, 3, name="c2")(x))
    images = noise(2, 32, 32, 3)
    first = np.array(model.get_layer("c1")(images.astype("f4")))
    joined = np.concatenate([np.maximum(first[..., 4:], 0), first[..., :4]], axis=-1)
    works(model, "c2", images, model.get_layer("c2")(joined), classes=False)
    split = [name for name in flat.unfold(model).parts if name.startswith("split")]
    for name, expected in zip(split, (first[..., :4], first[..., 4:]), strict=True):
        works(model, name, images, expected, classes=False)
    # How far a split sees is not known to the course, but can be measured.
    assert helpers.receptive_field(model, "c1") == helpers.receptive_field(model, split[1]) == 3
    assert helpers.receptive_field(model, "c2") == 5


class Scaled(L.Layer):
    """A convolution inside, and a factor that is neither in the config nor among the weights."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor, self.inside = factor, L.Conv2D(4, 3)

    def call(self, images):
        return keras.ops.relu(self.inside(images)) * self.factor.value

    def get_config(self):
        return super().get_config() | {"factor": Factor(1.0)}


class Factor:
    def __init__(self, value):
        self.value = value


class Unwritten(L.Layer):
    def __init__(self, thing, **options):
        super().__init__(**options)
        self.thing = thing

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="uniform", name="scale")

    def call(self, images):
        return images * self.scale


def test_layers_of_somebodys_own():
    """They compute in the copy what they compute in the model, whatever their config says."""
    keras.utils.set_random_seed(1)
    model = chain(
        Scaled(Factor(-0.01), name="scaled"), Unwritten(object()), L.Conv2D(4, 3, name="c")
    )
    images = noise(2, 32, 32, 3)
    maps = images.astype("f4")
    for layer in model.layers:
        maps = layer(maps)
    works(model, "c", images, maps, classes=False)
    for layer in ("scaled", "c"):
        climbs(model, layer)
    assert helpers.receptive_field(model, "c") == 5


class OwnConvolution(L.Conv2D):
    pass


def test_a_diagnosis_does_not_change_somebodys_layer():
    keras.utils.set_random_seed(1)
    model = chain(OwnConvolution(4, 3, activation="relu", name="own"))
    layer = model.get_layer("own")
    layer.set_weights([layer.get_weights()[0], np.full(4, -1e6, np.float32)])
    before = layer.activation
    assert helpers.diagnose(model, "own", 0, size=32).verdict == "dead"
    assert layer.activation is before and layers_module.conv_layers(model) == ["own"]


class Hidden(keras.Model):
    def __init__(self, pooling=None, **options):
        super().__init__(**options)
        self.conv, self.mean = L.Conv2D(4, 3, name="c"), pooling or L.GlobalAveragePooling2D()

    def call(self, images):
        return self.mean(self.conv(images))


def test_a_network_whose_layers_are_hidden_in_another():
    inputs, hidden = keras.Input((32, 32, 3)), Hidden(name="hidden")
    model = keras.Model(inputs, L.Dense(2)(hidden(inputs)))
    doubts = describe.describe(model).doubts
    assert "it has no 2-D convolution layer" in doubts[0]
    with pytest.raises(ValueError, match=r"no layer 'c'\. It has none of 2-D convolution"):
        Layer(model, "c")
    assert "'hidden' are hidden in its call()" in doubts[-1] and "hidden.call(x)" in doubts[-1]
    opened = keras.Model(inputs, L.Dense(2)(hidden.call(inputs)))
    assert layers_module.conv_layers(opened) == ["c"]
    images = noise(2, 32, 32, 3)
    works(opened, "c", images, hidden.conv(images.astype("f4")))


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: L.Reshape((15, 15, 16)), (None, 15, 15, 16)),
        (lambda: L.PReLU(alpha_initializer="uniform"), (None, 30, 30, 4)),
        (lambda: L.LayerNormalization(axis=[1, 2, 3]), (None, 30, 30, 4)),
    ],
)
def test_layers_that_keep_the_size_that_they_were_made_for(layer, shape):
    keras.utils.set_random_seed(1)
    model = chain(L.Conv2D(4, 3, name="c"), layer(), L.Conv2D(4, 3, name="behind"))
    kept = model.layers[1].name
    assert Layer(model, kept).network.output.shape == shape
    images = noise(2, 32, 32, 3)
    works(model, "behind", images, model(images.astype("f4")), classes=False)
    assert helpers.visualize(model, "behind", [0], steps=2)[0].image.shape == (32, 32, 3)
    assert helpers.visualize(model, "c", [0], steps=2)[0].image.shape == (128, 128, 3)
    with pytest.raises(ValueError, match="takes images of 32 × 32 pixels only, not 64 × 64"):
        helpers.visualize(model, "behind", [0], size=64)
    assert not describe.describe(model).free
    assert helpers.diagnose(model, "behind", 1).pictures[0].image.shape == (32, 32, 3)
    # What comes behind sees at least what the convolution sees, in a graph of one size or another.
    assert helpers.receptive_field(model, "behind") >= 5


def test_a_prelu_that_shares_its_places_is_free():
    keras.utils.set_random_seed(1)
    prelu = L.PReLU(alpha_initializer="uniform", shared_axes=[1, 2], name="p")
    model = chain(L.Conv2D(4, 3, name="c"), prelu)
    images = noise(2, 32, 32, 3)
    works(model, "p", images, after(model, "c", "p")(images), classes=False)
    climbs(model, "p", size=64)
    assert describe.describe(model).convolutions[0].activation == "p"


def test_a_recurrent_layer_behind():
    keras.utils.set_random_seed(1)
    model = chain(
        L.Rescaling(1 / 255),
        L.Conv2D(4, 3, name="c"),
        L.Reshape((30, 120)),
        L.LSTM(4),
        L.Dense(2, activation="softmax", name="answer"),
    )
    images = noise(2, 32, 32, 3)
    works(model, "c", images, model.get_layer("c")(images.astype("f4") / 255))
    picture = climbs(model, "answer")
    assert picture.image.shape == (32, 32, 3)


def test_a_u_net():
    keras.utils.set_random_seed(1)
    inputs, relu = keras.Input((64, 64, 3)), {"padding": "same", "activation": "relu"}
    one = L.Conv2D(4, 3, name="one", **relu)(L.Rescaling(1 / 255)(inputs))
    two = L.Conv2D(8, 3, name="two", **relu)(L.MaxPooling2D()(one))
    low = L.Conv2D(8, 3, name="low", **relu)(L.MaxPooling2D()(two))
    up = L.Conv2DTranspose(8, 2, strides=2, name="up1")(low)
    up = L.Conv2DTranspose(8, 2, strides=2, name="up2")(L.Concatenate()([up, two]))
    up = L.Concatenate()([up, one])
    model = keras.Model(inputs, L.Conv2D(3, 1, activation="softmax", name="masks")(up))
    images = noise(2, 64, 64, 3)
    works(model, "up2", images, inner(model, "up2")(images.astype("f4")), classes=False)
    masks = Layer(model, "masks").network(images.astype("f4"))
    assert np.allclose(masks, model(images.astype("f4")), atol=1e-5)
    part = Layer(model, "masks").objective
    logits = np.array(keras.Model(part.image, part.output)(images.astype("f4")))
    assert np.allclose(keras.activations.softmax(logits), masks, atol=1e-5)
    with pytest.raises(ValueError, match="needs images of at least 52 pixels"):
        helpers.visualize(model, "masks", [0], size=50)


def test_layers_over_time():
    video = keras.Sequential([keras.Input((4, 32, 32, 3)), L.TimeDistributed(L.Conv2D(4, 3))])
    with pytest.raises(
        ValueError, match=r"takes \(None, 4, 32, 32, 3\); the course needs an image"
    ):
        describe.describe(video)
    keras.utils.set_random_seed(1)
    model = chain(
        L.Conv2D(4, 3, name="c"),
        L.Reshape((30, 30, 4, 1)),
        L.TimeDistributed(L.Conv2D(2, 3), name="timed"),
    )
    images = noise(2, 32, 32, 3)
    works(model, "c", images, after(model, "c")(images), classes=False)
    with pytest.raises(ValueError, match=r"'timed' gives .*, neither maps nor classes; the conv"):
        helpers.visualize(model, "timed", [0])


def test_a_picture_of_two_large_channels_is_saved_and_made_again(tmp_path, capsys):
    keras.utils.set_random_seed(1)
    model = chain(L.Conv2D(2, 3, name="c"), shape=(None, None, 2))
    picture = helpers.visualize(model, "c", [0], size=520, steps=1, rescue=False)[0]
    picture.save(tmp_path / "p.png")  # 1040 pixels wide: both channels beside each other
    again = helpers.rerun(tmp_path / "p.png", model)
    assert np.array_equal(again.image, picture.image)
    assert "The same picture" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is not a PNG with a recipe"):
        helpers.rerun(
            tmp_path / "p.png"
        )  # larger than any picture of a network that is found by name


# ---------------------------------------------------------------- the doctor, for layers without a function


def test_a_silent_activation_layer_is_told_from_a_silent_convolution():
    keras.utils.set_random_seed(1)
    model = chain(
        L.Rescaling(1 / 255),
        L.Conv2D(4, 3, name="c"),
        L.BatchNormalization(name="norm"),
        L.ReLU(name="relu"),
        L.MaxPooling2D(name="pool"),
    )
    kernel, bias = model.get_layer("c").get_weights()
    model.get_layer("c").set_weights([kernel, bias - 100])
    for layer, said in (
        ("relu", "becomes zero in relu, the filter's own layer. Let through there, it reaches"),
        ("pool", "becomes zero in relu, before it reaches the image"),
    ):
        diagnosis = helpers.diagnose(model, layer, 1, size=32)
        assert diagnosis.verdict == "dead" and said in str(diagnosis)


# ---------------------------------------------------------------- receptive field


def support(model, layer, side=96):
    """The largest side of what the gradient of one value reaches, over places of every phase."""
    image = tf.ones((1, side, side, 3))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        maps = Layer(model, layer).network(image)
        middle = maps.shape[1] // 2
        values = [maps[0, middle + place, middle + place, 0] for place in range(4)]
    sides = []
    for value in values:
        touched = np.argwhere(np.any(tape.gradient(value, image)[0] != 0, axis=-1))
        sides.append((np.ptp(touched, axis=0) + 1).max())
    return max(sides)


def transposed(kernel, strides):
    return L.Conv2DTranspose(2, kernel, strides=strides, **ONES)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [L.Conv2D(2, 3, dilation_rate=3, **ONES), L.Conv2D(2, (1, 7), strides=2, **ONES)],
        lambda: [
            L.AveragePooling2D(3, strides=2),
            L.DepthwiseConv2D(3, depthwise_initializer="ones"),
        ],
        lambda: [L.Conv2D(2, 3, strides=2, **ONES), transposed(3, 2), L.Conv2D(2, 3, **ONES)],
        lambda: [L.Conv2D(2, 3, strides=2, **ONES), transposed(5, 2), L.Conv2D(2, 3, **ONES)],
        lambda: [L.Conv2D(2, 3, strides=2, **ONES), transposed(4, 3), L.Conv2D(2, 3, **ONES)],
        # A window of three values may lie across the border between two that were enlarged.
        lambda: [L.Conv2D(2, 3, strides=4, **ONES), L.UpSampling2D(4), L.Conv2D(2, 3, **ONES)],
        lambda: [L.UpSampling2D(4), L.Conv2D(2, 3, **ONES)],
        lambda: [
            L.Conv2D(2, 3, strides=2, **ONES),
            L.UpSampling2D(2),
            L.Conv2D(2, 3, **ONES),
            L.UpSampling2D(2),
            L.Conv2D(2, 2, **ONES),
        ],
        lambda: [
            L.Conv2D(2, 3, strides=2, **ONES),
            L.UpSampling2D(2, interpolation="bilinear"),
            L.Conv2D(2, 3, **ONES),
        ],
    ],
)
def test_receptive_fields_are_what_a_gradient_reaches(layers):
    # All weights are positive and no maximum is taken, so a pixel that can matter does.
    model = chain(*layers(), shape=(None, None, 3))
    for name in flat.unfold(model).parts:
        assert helpers.receptive_field(model, name) == support(model, name)


def test_in_a_residual_network_the_longest_path_counts():
    inputs = keras.Input((None, None, 3))
    x = L.Conv2D(2, 3, strides=2, name="a", **ONES)(inputs)
    y = L.Conv2D(2, 3, dilation_rate=2, name="b", **ONES)(L.Activation("relu")(x))
    x = L.Add(name="sum")([L.Conv2D(2, 1, **ONES)(x), L.Conv2D(2, (7, 1), name="c", **ONES)(y)])
    gate = L.Dense(2, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    model = keras.Model(inputs, L.Conv2D(2, 3, name="end")(L.Multiply(name="gated")([x, gate])))
    for name, field in (("a", 3), ("b", 11), ("c", 23), ("sum", 23)):
        assert helpers.receptive_field(model, name) == field == support(model, name)
    assert helpers.receptive_field(model, "gated") == float("inf")
    assert helpers.receptive_field(model, "end") == float("inf")


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        (lambda: L.LayerNormalization(), 3),
        (lambda: L.LayerNormalization(axis=[1, 2, 3]), float("inf")),
        (lambda: L.GroupNormalization(2), float("inf")),
        (lambda: L.BatchNormalization(), 3),
    ],
)
def test_which_normalisations_see_the_whole_image(layer, field):
    keras.utils.set_random_seed(1)
    model = chain(L.Conv2D(4, 3), layer())
    name = model.layers[1].name
    assert helpers.receptive_field(model, name) == field
    assert (support(model, name, side=32) > 3) == (field > 3)


class Own(L.Layer):
    """A layer that the course has never heard of, and cannot look into."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, *maps):
        return self.function(*maps)


def mean_of(size):
    return lambda maps: ops.average_pool(maps, size, strides=1, padding="same")


def middle_of_nine(maps):
    """A median, which has a gradient at one of its nine places only."""
    rows, columns = ops.shape(maps)[1:3]
    around = ops.pad(maps, [[0, 0], [1, 1], [1, 1], [0, 0]])
    nine = [around[:, y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    return ops.sort(ops.stack(nine), axis=0)[4]


def local_response(maps):
    return tf.nn.local_response_normalization(maps, 2, 1.0, 1e-4 / 5, 0.75)


def mirrored(maps):
    return ops.pad(maps, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="reflect")


@pytest.mark.parametrize(
    ("function", "field"),  # behind a convolution of 3 pixels in steps of 2, before one of 3
    [
        (lambda maps: ops.flip(maps, axis=-1), 3 + 4),
        (lambda maps: maps / (1 + ops.sum(maps, axis=-1, keepdims=True)), 3 + 4),
        (ops.softmax, 3 + 4),
        (local_response, 3 + 4),
        (ops.round, 3 + 4),
        (mirrored, 3 + 4),
        (lambda maps: ops.roll(maps, 3, axis=1), 3 + 4),
        (mean_of(5), 3 + 8 + 4),
        (mean_of((1, 4)), 3 + 6 + 4),
        (lambda maps: ops.max_pool(maps, 3, strides=1), 3 + 4 + 4),
        (middle_of_nine, 3 + 4 + 4),
        (lambda maps: ops.cast(mean_of(3)(maps) > maps, "float32"), 3 + 4 + 4),
        (lambda maps: maps[:, 5:20, 1:], 3 + 4),
        (lambda maps: maps[:, ::3, ::3], 3 + 2 * 6),
        (lambda maps: maps[:, 1:] - maps[:, :-1], 3 + 2 + 4),
        (lambda maps: ops.average_pool(maps, 4), 3 + 6 + 2 * 8),
        (lambda maps: ops.repeat(ops.repeat(maps, 4, axis=1), 4, axis=2), 3 + 2),
        (lambda maps: tf.nn.depth_to_space(maps, 2), 3 + 2),
        (lambda maps: tf.nn.space_to_depth(maps, 2), 3 + 2 + 2 * 4),
        (lambda maps: maps - ops.mean(maps, axis=(1, 2), keepdims=True), float("inf")),
        (lambda maps: maps * ops.max(maps, axis=(1, 2), keepdims=True), float("inf")),
        (lambda maps: ops.cumsum(maps, axis=2), float("inf")),
        (lambda maps: maps + ops.transpose(maps, (0, 2, 1, 3)), float("inf")),
        (lambda maps: ops.flip(maps, axis=1) + maps, float("inf")),
        (lambda maps: ops.rot90(ops.flip(maps, axis=1), axes=(1, 2)), float("inf")),
    ],
)
def test_what_an_unknown_layer_sees_is_measured(function, field):
    keras.utils.set_random_seed(1)
    model = chain(
        L.Conv2D(8, 3, strides=2, **ONES),
        Own(function, name="own"),
        L.Conv2D(2, 3, name="end", **ONES),
        shape=(64, 64, 3),
    )
    assert helpers.receptive_field(model, "end") == field


def factorised(maps):
    """NASNet's way to halve a map: every second place, and those between them."""
    between = L.Cropping2D(((1, 0), (1, 0)))(L.ZeroPadding2D(((0, 1), (0, 1)))(maps))
    return L.Concatenate()([L.AveragePooling2D(1, strides=2)(each) for each in (maps, between)])


def low_and_high(maps):
    """The end of a U-net."""
    return maps + L.UpSampling2D()(L.Conv2D(8, 3, **ONES)(L.AveragePooling2D(2)(maps)))


@pytest.mark.parametrize(
    ("function", "field"),  # behind a convolution of 3 pixels in steps of 2, before one of 3
    [
        (lambda maps: ops.stack([maps[..., n] for n in (2, 1, 0)], axis=-1), 3 + 4),
        (lambda maps: ops.stack([2 * maps[..., 0] + maps[..., 1]] * 2, axis=-1), 3 + 4),
        (lambda maps: ops.mean(ops.stack([maps, 2 * maps], axis=-1), axis=-1), 3 + 4),
        (lambda maps: ops.reshape(ops.reshape(maps, (-1, 48, 48, 2, 4)), (-1, 48, 48, 8)), 3 + 4),
        (lambda maps: L.Resizing(24, 24, interpolation="nearest")(maps), 3 + 8),
        (lambda maps: Own(lambda a, b: a + mean_of(5)(b))(maps, L.Conv2D(8, 3, **ONES)(maps)), 19),
        (lambda maps: maps[:, 1:] + maps[:, :-1], 3 + 2 + 4),
        (lambda maps: maps[:, 9:] + maps[:, :-9], 3 + 18 + 4),
        (lambda maps: maps[:, ::2] + maps[:, 1::2], 3 + 2 + 8),
        (lambda maps: L.Add()([L.Cropping2D(1)(maps), L.AveragePooling2D(3, 1)(maps)]), 3 + 4 + 4),
        (factorised, 3 + 2 + 8),
        (low_and_high, 3 + 2 + 8 + 4),
    ],
)
def test_what_is_joined_is_seen_as_a_whole(function, field):
    inputs = keras.Input((96, 96, 3))
    maps = function(L.Conv2D(8, 3, strides=2, **ONES)(inputs))
    model = keras.Model(inputs, L.Conv2D(2, 3, name="end", **ONES)(maps))
    assert helpers.receptive_field(model, "end") == field == support(model, "end")


@pytest.mark.parametrize(
    ("pooling", "field"), [(None, float("inf")), (L.AveragePooling2D(2), 3 + 4 + 2)]
)
def test_a_small_network_hidden_in_another_is_measured(pooling, field):
    model = chain(L.Conv2D(4, 3, strides=2), Hidden(pooling, name="hidden"))
    assert helpers.receptive_field(model, "hidden") == field


def test_maps_that_lie_beside_each_other_may_see_anything():
    inputs = keras.Input((32, 32, 3))
    x = L.Concatenate(axis=1, name="both")([L.Conv2D(2, 3)(inputs), L.Conv2D(2, 3)(inputs)])
    assert helpers.receptive_field(keras.Model(inputs, x), "both") == float("inf")


# ---------------------------------------------------------------- what a network was trained on


@pytest.mark.parametrize("name", describe.RANGES)
def test_the_range_of_the_training_is_among_those_that_may_be(name):
    images, labels = patterns.images(300, seed=1, size=32)
    images = describe.RANGES[name][1](images.astype("f4"))
    keras.utils.set_random_seed(1)
    model = chain(
        L.Conv2D(16, 3, use_bias=False),
        L.BatchNormalization(momentum=0.8),
        L.ReLU(),
        L.GlobalAveragePooling2D(),
        L.Dense(len(patterns.NAMES), activation="softmax"),
    )
    assert describe.fitting_ranges(model) == []  # nothing has been trained
    assert "nothing in it tells what images" in describe.describe(model).doubts[0]
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=3, verbose=0)
    doubts = describe.describe(model).doubts
    if name == "0 to 255":
        assert doubts == []
        return
    (doubt,) = doubts
    assert "another range than 0 to 255" in doubt and name in doubt
    # Those of another order are ruled out.
    far = {"0 to 1", "-1 to 1"} if "BGR" in name else {"BGR without ImageNet's means"}
    assert not any(each in doubt for each in far)
    say = (0, 1) if name == "0 to 1" else (-1, 1)
    if "ImageNet" not in name:
        assert describe.describe(load.load_model(model, preprocess=say)).doubts == []


# ---------------------------------------------------------------- models and files


def test_a_model_that_was_changed_is_looked_at_anew():
    keras.utils.set_random_seed(1)
    model = chain(L.Conv2D(4, 3, name="c"), L.Conv2D(4, 3, name="end"))
    helpers.visualize(model, "end", [3], steps=1, rescue=False)
    model.pop()
    model.add(L.Conv2D(2, 5, name="end"))
    images = noise(2, 32, 32, 3)
    works(model, "end", images, model(images.astype("f4")), classes=False)
    assert helpers.receptive_field(model, "end") == 7
    with pytest.raises(ValueError, match="filter of end must be a whole number from 0 to 1, not 3"):
        helpers.visualize(model, "end", [3])


@pytest.mark.parametrize(
    ("preprocess", "said"),
    [
        ((0, float("inf")), "a range is two numbers, as (0, 1)"),
        ((False, True), "a range is two numbers"),
        ((0,), "a range is two numbers"),
        (np.array([0, 1]), "preprocess must be a range, as (0, 1), or a function of images"),
        (5, "5 is not: 'int' object is not callable"),
        (keras.applications.vgg16.decode_predictions, "expects a batch of predictions"),
        (lambda x: tf.cast(x, tf.float32) / 255, "is not: A KerasTensor cannot be used"),
        (lambda x: [x, x], "preprocess must give images"),
        (lambda x: x[..., :1], "makes (None, 32, 32, 1)"),
        (lambda x: keras.ops.transpose(x, (0, 3, 1, 2)), "makes (None, 3, 32, 32)"),
        (lambda x: keras.ops.image.resize(x, (16, 16)), "makes (None, 16, 16, 3)"),
    ],
)
def test_a_preprocess_that_cannot_be_is_refused_in_one_line(preprocess, said):
    model = chain(L.Conv2D(4, 3), L.Flatten(), L.Dense(2))
    with pytest.raises(ValueError) as caught:
        load.load_model(model, preprocess=preprocess)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("preprocess", "black", "white"),
    [
        ((np.float32(-1), np.float32(1)), -1, 1),
        ([0, 255], 0, 255),
        (L.Rescaling(1 / 51, offset=-2), -2, 3),
        (keras.applications.mobilenet_v2.preprocess_input, -1, 1),
    ],
)
def test_a_preprocess_becomes_part_of_the_model(preprocess, black, white):
    keras.utils.set_random_seed(1)
    model = chain(L.Conv2D(4, 3, name="c"))
    told = load.load_model(model, preprocess=preprocess)
    images = noise(2, 32, 32, 3)
    expected = model((images / 255 * (white - black) + black).astype("f4"))
    assert np.allclose(Layer(told, "c").network(images.astype("f4")), expected, atol=1e-4)


class Doubled(L.Layer):
    def call(self, images):
        return 2 * images


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_files_with_layers_of_ones_own_say_the_way_out_and_it_leads_out(kind, tmp_path):
    path = str(tmp_path / f"own.{kind}")
    chain(Doubled(), L.Conv2D(2, 3, name="c")).save(path)
    with pytest.raises(ValueError, match=r"Doubled.*if it has layers of your own, give") as caught:
        load.load_model(path)
    assert "\n" not in str(caught.value) and 'custom_objects={"YourLayer"' in str(caught.value)
    again = keras.models.load_model(path, compile=False, custom_objects={"Doubled": Doubled})
    assert layers_module.conv_layers(load.load_model(again)) == ["c"]

    path = str(tmp_path / f"lambda.{kind}")
    chain(L.Lambda(lambda t: t / 255), L.Conv2D(2, 3, name="c")).save(path)
    with pytest.raises(ValueError, match=r"if you trust the file, give .*safe_mode=False"):
        load.load_model(path)
    again = keras.models.load_model(path, safe_mode=False, compile=False)
    assert layers_module.conv_layers(load.load_model(again)) == ["c"]


def test_a_file_of_weights_is_known_for_what_it_is(tmp_path):
    chain(L.Conv2D(2, 3)).save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "w.weights.h5").rename(tmp_path / "w.h5")
    with pytest.raises(ValueError, match=r"w\.h5' holds weights without a network: build"):
        load.load_model(tmp_path / "w.h5")


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_softmax_that_is_no_layer_is_undone_too(kind):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32, 32, 3))
    x = L.Dense(3)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(inputs)))
    model = keras.Model(inputs, getattr(keras.ops, kind)(x))
    last, images = flat.unfold(model).last, noise(4, 32, 32, 3).astype("f4") / 255
    part = Layer(model, last).objective
    found, given = keras.Model(part.image, part.output)(images).numpy(), model(images).numpy()
    off = np.log(given) - found if kind == "softmax" else np.log(given / (1 - given)) - found
    assert np.allclose(off, off[:, :1] if kind == "softmax" else 0, atol=1e-3)
    assert f"3 values, {kind}, from layer {last!r}" in str(describe.describe(model))
