"""Any Keras network: the shapes that other libraries stumble over, each named after the issue where it was told.

Networks are small and random. What is cut out of one is compared with its own layers, called by hand.
"""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import helpers
from filtersight.ascent import recipe
from filtersight.networks import describe, load
from filtersight.networks import flat as flat_module
from filtersight.networks import layers as layers_module
from filtersight.networks.layers import Layer
from filtersight.trust import why
from filtersight.world import patterns, pocketvgg

L = keras.layers
warnings.filterwarnings("ignore", "The structure of `inputs`")
pytestmark = pytest.mark.usefixtures("few_real_images")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def backbone(shape=(32, 32, 3), name="backbone", pooled=False):
    """Stands for a network of keras.applications: its own input, preprocessing, batch normalisation."""
    inputs = keras.Input(shape)
    x = L.Rescaling(1 / 255, name="scale")(inputs)
    x = L.Conv2D(4, 3, padding="same", name="first")(x)
    x = L.ReLU(name="relu")(L.BatchNormalization(name="norm")(x))
    x = L.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="last_conv")(x)
    outputs = L.GlobalAveragePooling2D(name="pool")(x) if pooled else x
    return keras.Model(inputs, outputs, name=name)


def inner(model, layer):
    return keras.Model(model.inputs, model.get_layer(layer).output)


def works(model, layer, images, expected, classes=True):
    """The layer's maps are those expected; a filter and a class can be drawn; the answer is the model's."""
    maps = Layer(model, layer).network(images.astype("f4"), training=False)
    assert np.allclose(maps, expected, rtol=1e-4, atol=1e-5)
    pictures = helpers.visualize(model, layer, [0, 1], steps=6, size=32, rescue=False)
    start = recipe.start_image(pictures[0].recipe)[None]
    silent = helpers.activations(model, layer, start)[0]
    for picture in pictures:
        assert picture.image.shape == (32, 32, images.shape[-1]) and picture.image.dtype == np.uint8
        maps = Layer(model, layer).network(picture.image[None].astype("f4"), training=False)
        mean = maps[0, ..., picture.filter]
        assert np.isclose(picture.activation, np.mean(mean), rtol=1e-3, atol=1e-5)
        assert picture.activation >= silent[picture.filter]
    if classes:
        last = why.classifier(model).name
        values = Layer(model, last).network(images.astype("f4"), training=False)
        assert np.allclose(values, model(images.astype("f4"), training=False), atol=1e-5)
        assert np.isfinite(why.attributions(model, layer, images[0])).all()


def test_tf_keras_vis_63_layers_before_a_nested_network_and_an_activation_of_its_own():
    keras.utils.set_random_seed(1)
    inputs, base = keras.Input((67, 67, 3)), backbone()
    before = L.MaxPooling2D(2)(L.Conv2D(3, 3, name="top_layer")(inputs))
    x = L.Dense(1, name="value")(L.GlobalAveragePooling2D()(base(before, training=False)))
    model = keras.Model(inputs, L.Activation("sigmoid", name="answer")(x))
    images = noise(2, 67, 67, 3)
    middle = keras.Model(inputs, before)(images.astype("f4"))
    works(model, "last_conv", images, inner(base, "last_conv")(middle))
    assert Layer(model, "answer").objective.layer.name == "value"


@pytest.mark.parametrize("functional", [False, True])
def test_tf_keras_vis_71_and_keras_16355_a_pooled_network_first(functional):
    keras.utils.set_random_seed(1)
    base = backbone(pooled=True)
    base.trainable = False
    if functional:
        inputs = keras.Input((32, 32, 3))
        x = L.Dense(16, activation="relu")(L.Dropout(0.2)(base(inputs)))
        model = keras.Model(inputs, L.Dense(3, activation="softmax")(x))
    else:
        model = keras.Sequential(
            [base, L.Dropout(0.2), L.Dense(16, "relu"), L.Dense(3, activation="softmax")]
        )
    images = noise(2, 32, 32, 3)
    works(model, "last_conv", images, inner(base, "last_conv")(images.astype("f4")))
    maps, values = why.opened(model, "last_conv")(images.astype("f4"))  # both from one graph
    assert maps.shape == (2, 16, 16, 8) and values.shape == (2, 3)


def test_tf_keras_vis_48_one_network_for_two_images():
    keras.utils.set_random_seed(1)
    base, one, two = backbone(), keras.Input((32, 32, 3)), keras.Input((32, 32, 3), name="second")
    x = L.Concatenate(axis=-1, name="both")([base(one), base(two)])
    x = L.Dense(3, activation="softmax", name="answer")(L.GlobalAveragePooling2D()(x))
    model = keras.Model([one, two], x)
    images = noise(2, 32, 32, 3)
    expected = inner(base, "last_conv")(images.astype("f4"))
    works(model, "last_conv", images, expected, classes=False)
    with pytest.raises(ValueError, match=r"'answer' of .* needs another input than the image"):
        helpers.visualize(model, "answer", [0])
    with pytest.raises(ValueError, match="not decided by the image alone"):
        why.predictions(model, images[0])
    assert "left out, as they need another" in describe.describe(model).doubts[-1]


def test_tf_keras_vis_36_bare_arithmetic_before_a_network_without_a_head():
    keras.utils.set_random_seed(1)
    inputs, base = keras.Input((64, 64, 3)), backbone((None, None, 3))
    model = keras.Model(inputs, base(inputs / 127.5 - 1.0))
    images = noise(2, 64, 64, 3)
    expected = base(images.astype("f4") / 127.5 - 1)
    works(model, "last_conv", images, expected, classes=False)
    assert describe.preprocessing(model) == "inside; black becomes -0.0039, white 0.0039"
    with pytest.raises(ValueError, match="not one value for each class"):
        why.predictions(model, images[0])


def test_tf_keras_vis_84_two_parts_of_different_kind_and_a_sigmoid():
    keras.utils.set_random_seed(1)
    flat = keras.Sequential(
        [
            keras.Input((20, 30, 1)),
            L.Conv2D(4, 3, activation="relu", name="c"),
            L.GlobalAveragePooling2D(),
        ]
    )
    deep = keras.Sequential(
        [keras.Input((6, 10, 12, 1)), L.Conv3D(4, 3), L.GlobalAveragePooling3D()]
    )
    one, two = keras.Input((20, 30, 1)), keras.Input((6, 10, 12, 1))
    x = L.Dense(1, activation="sigmoid", name="answer")(L.Concatenate()([flat(one), deep(two)]))
    images = noise(2, 20, 30, 1)
    model = keras.Model([one, two], x)
    works(model, "c", images, inner(flat, "c")(images.astype("f4")), classes=False)
    with pytest.raises(ValueError, match="another input"):
        Layer(model, "answer")


def test_tf_keras_vis_34_a_small_network_without_a_softmax():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((50, 50, 3)),
            L.Rescaling(1 / 255),
            L.Conv2D(8, 3, padding="same", activation="relu", name="c"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(16, activation="relu"),
            L.Dense(9, name="logits"),
        ]
    )
    images = noise(200, 50, 50, 3)
    pictures = helpers.visualize(model, "logits", range(3))  # of the size that it must be
    values = model.predict(images.astype("f4"), verbose=0)
    for picture in pictures:
        assert picture.image.shape == (50, 50, 3) and picture.status == "alive"
        assert picture.activation > values[:, picture.filter].max()
        again = model.predict(picture.image[None].astype("f4"), verbose=0)[0, picture.filter]
        assert np.isclose(picture.activation, again, rtol=1e-3)
    with pytest.raises(ValueError, match="takes images of 50 × 50 pixels only, not 64 × 64"):
        helpers.visualize(model, "logits", [0], size=64)
    assert (
        helpers.visualize(model, "c", [0], size=64, steps=2, rescue=False)[0].image.shape[0] == 64
    )


@pytest.mark.parametrize("layer", ["last_convv", "backbone", 3, None, "image"])
def test_tf_keras_vis_32_a_layer_that_is_none(layer):
    # The thread could not be read; a layer asked for by a wrong name is what it is taken for.
    model = keras.Sequential([keras.Input((32, 32, 3)), backbone(), L.Flatten(), L.Dense(2)])
    with pytest.raises(ValueError, match=r"no layer .* are: first, last_conv$"):
        helpers.visualize(model, layer, [0])


def test_keras_vis_204_grey_made_three_channels_and_not_square():
    keras.utils.set_random_seed(1)
    inputs, base = keras.Input((40, 56, 1)), backbone((40, 56, 3))
    x = L.Lambda(lambda t: keras.ops.repeat(t, 3, axis=-1), output_shape=(40, 56, 3))(inputs)
    before = L.BatchNormalization()(x)
    model = keras.Model(inputs, L.Dense(4, activation="softmax")(L.Flatten()(base(before))))
    images = noise(2, 40, 56, 1)
    middle = keras.Model(inputs, before)(images.astype("f4"))
    works(model, "last_conv", images, inner(base, "last_conv")(middle))
    assert why.occlusion(model, images[0]).shape == (40, 56)


def test_keras_vis_219_batch_normalisation_and_activations_as_layers():
    keras.utils.set_random_seed(1)
    layers = [keras.Input((32, 32, 3))]
    for number, filters in enumerate((8, 16)):
        layers += [L.Conv2D(filters, 3, use_bias=False, name=f"c{number}"), L.BatchNormalization()]
        layers += [L.ReLU(name=f"r{number}")]
    model = keras.Sequential(
        [*layers, L.GlobalAveragePooling2D(), L.Dense(5, activation="softmax")]
    )
    images = noise(2, 32, 32, 3)
    maps = images.astype("f4")
    for layer in model.layers[:6]:
        maps = layer(maps, training=False)
    works(model, "r1", images, maps)
    assert [c.activation for c in describe.describe(model).convolutions] == ["r0", "r1"]


def test_keras_vis_143_inceptions_branches():
    model = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(75, 75, 3))
    names = layers_module.conv_layers(model)
    assert len(names) == 94
    assert set(names) == {each.name for each in model.layers if type(each) is L.Conv2D}
    picture = helpers.visualize(model, "mixed2", [5], steps=4, size=75, rescue=False)[0]
    maps = inner(model, "mixed2")(picture.image[None].astype("f4"))
    assert np.isclose(picture.activation, np.mean(maps[..., 5]), rtol=1e-3)
    assert helpers.receptive_field(model, names[0]) == 3


def test_keras_10850_sequential_in_sequential_and_layers_before_and_behind():
    keras.utils.set_random_seed(1)
    sub = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            L.Conv2D(3, 3, activation="relu", name="subconv1"),
            L.Flatten(),
            L.Dense(1),
        ]
    )
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), L.Lambda(lambda t: t / 255), sub, L.Lambda(lambda t: 2 * t)]
    )
    images = noise(2, 28, 28, 1)
    works(model, "subconv1", images, inner(sub, "subconv1")(images.astype("f4") / 255))
    assert np.abs(why.maps_and_gradient(model, "subconv1", images[0], 0)[1]).max() > 0


def test_keras_20116_sequential_from_a_file_by_a_call_or_never_built(tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), L.Conv2D(2, 3, name="conv"), L.Flatten(), L.Dense(5)]
    )
    images = noise(2, 32, 32, 3)
    for path in (tmp_path / "m.keras", tmp_path / "m.h5"):
        model.save(path)
        works(load.load_model(path), "conv", images, inner(model, "conv")(images.astype("f4")))
    called = keras.Sequential([L.Conv2D(8, 3, name="conv"), L.GlobalAveragePooling2D(), L.Dense(2)])
    with pytest.raises(ValueError, match=r"call model\.build"):
        describe.describe(called)
    called(np.zeros((1, 32, 32, 3), "f4"))  # a batch of one, for ever
    works(called, "conv", images, called.layers[0](images.astype("f4")))


@pytest.mark.parametrize("depth", [1, 2, 4, 7])
def test_xplique_148_other_numbers_of_channels(depth, tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((32, 32, depth)),
            L.Conv2D(8, 3, activation="relu", name="conv"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(10, activation="softmax", name="answer"),
        ]
    )
    images = noise(2, 32, 32, depth)
    works(model, "conv", images, inner(model, "conv")(images.astype("f4")))
    picture = helpers.visualize(model, "answer", [3], steps=30)[0]
    assert picture.image.shape == (32, 32, depth)
    picture.save(tmp_path / "p.png")
    again = helpers.rerun(tmp_path / "p.png", model)
    assert np.array_equal(again.image, picture.image)
    assert helpers.explorer(model).picture.value[:2] == b"\xff\xd8"
    assert helpers.diagnose(model, "conv", 2).verdict in ("alive", "rescued", "dead")
    assert helpers.scores(model, helpers.visualize(model, "conv", [1], steps=3))[0].rank >= 1


def test_lucent_10_a_network_for_images_of_32_pixels():
    keras.utils.set_random_seed(1)
    layers = [keras.Input((32, 32, 3))]
    for filters in (8, 16, 32, 32, 32):
        layers += [
            L.Conv2D(filters, 3, padding="same"),
            L.BatchNormalization(),
            L.ReLU(),
            L.MaxPooling2D(),
        ]
    model = keras.Sequential([*layers, L.Flatten(), L.Dense(100, name="answer")])
    deep = layers_module.conv_layers(model)[-1]
    for size in (32, 128):
        picture = helpers.visualize(model, deep, [0], size=size, steps=4, rescue=False)[0]
        assert picture.image.shape == (size, size, 3)
    assert helpers.visualize(model, "answer", [7], steps=4)[0].image.shape == (32, 32, 3)


# ---------------------------------------------------------------- laid out flat


def test_layers_of_one_name_in_two_inner_models_share_their_weights():
    keras.utils.set_random_seed(1)
    left, right, inputs = backbone(name="left"), backbone(name="right"), keras.Input((32, 32, 3))
    model = keras.Model(inputs, L.Add()([left(inputs), right(inputs)]))
    names = ["left.first", "left.last_conv", "right.first", "right.last_conv"]
    assert layers_module.conv_layers(model) == names
    images = noise(2, 32, 32, 3)
    for scale in (1, 3):
        kernel, bias = right.get_layer("last_conv").get_weights()
        right.get_layer("last_conv").set_weights([scale * kernel, bias])
        works(model, "right.last_conv", images, right(images.astype("f4")), classes=False)
    assert left.get_layer("first").name == "first"


def test_a_layer_used_three_times():
    keras.utils.set_random_seed(1)
    inputs, relu = keras.Input((32, 32, 3)), L.ReLU(name="relu")
    x = inputs
    for number in range(3):
        x = relu(L.Conv2D(4, 3, padding="same", name=f"c{number}")(x))
    model = keras.Model(inputs, x)
    assert [n for n in flat_module.unfold(model).parts if "relu" in n] == [
        "relu",
        "relu:2",
        "relu:3",
    ]
    images = noise(2, 32, 32, 3)
    for layer in ("relu", "relu:2", "relu:3"):
        count = 2 * int(layer[-1]) if ":" in layer else 2
        maps = images.astype("f4")
        for number in range(count // 2):
            maps = relu(model.get_layer(f"c{number}")(maps))
        works(model, layer, images, maps, classes=False)


def test_the_model_itself_stays_as_it_was(tmp_path):
    keras.utils.set_random_seed(1)
    base = backbone(pooled=True)
    model = keras.Sequential([base, L.Dense(3, activation="softmax", name="answer")])
    before, weights = model.to_json(), model.get_weights()
    images = noise(2, 32, 32, 3)
    answers = model.predict(images, verbose=0)
    helpers.visualize(model, "last_conv", [0], steps=3)
    helpers.visualize(model, "answer", [0], steps=3)
    why.explain(model, images[0], filters=1)
    assert model.to_json() == before
    assert all(map(np.array_equal, model.get_weights(), weights))
    model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    assert np.allclose(again.predict(images, verbose=0), answers)
    assert base.get_layer("last_conv").output.shape == (None, 16, 16, 8)


@pytest.mark.parametrize(
    "build, said",
    [
        (lambda: keras.Sequential([keras.Input((28, 28)), L.Flatten()]), r"Reshape\(\(28, 28\)\)"),
        (lambda: keras.Sequential([keras.Input((9,)), L.Dense(2)]), "needs an image"),
        (
            lambda: keras.Sequential(
                [keras.Input((3, 32, 32)), L.Conv2D(2, 3, data_format="channels_first")]
            ),
            'keeps channels first.*data_format="channels_last"',
        ),
        (lambda: Hidden(), r"hidden in its call\(\).*keras.Model\(image, model.call\(image\)\)"),
        (lambda: 5, "must be a keras.Model"),
    ],
)
def test_what_cannot_be_looked_into_is_refused_with_a_way_out(build, said):
    for call in (describe.describe, lambda model: helpers.visualize(model, "c", [0])):
        with pytest.raises(ValueError, match=said) as caught:
            call(build())
        assert "\n" not in str(caught.value)


class Hidden(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = L.Conv2D(4, 3, activation="relu", name="c")

    def call(self, images):
        return self.conv(images)


def test_the_ways_out_lead_out():
    image, hidden = keras.Input((32, 32, 3)), Hidden()
    model = keras.Model(image, hidden.call(image))
    images = noise(2, 32, 32, 3)
    works(model, "c", images, hidden(images.astype("f4")), classes=False)
    flat = keras.Sequential(
        [keras.Input((28, 28)), L.Reshape((28, 28, 1)), L.Conv2D(2, 3, name="c")]
    )
    image = keras.Input((28, 28, 1))
    model = keras.Model(image, flat(L.Reshape((28, 28))(image)))
    images = noise(2, 28, 28, 1)
    assert np.allclose(
        Layer(model, "c").network(images.astype("f4")), flat(images[..., 0].astype("f4"))
    )


# ---------------------------------------------------------------- receptive field


def positive(model):
    """The model with weights by which every pixel that can matter does; no maximum is taken."""

    def smooth(layer):
        config = layer.get_config()
        if isinstance(layer, L.MaxPooling2D):
            window = layer.pool_size, layer.strides, layer.padding
            return L.AveragePooling2D(*window, name=layer.name)
        if isinstance(layer, L.ReLU):
            config["max_value"] = None  # behind a border there is no gradient
        return type(layer).from_config(config)

    twin = keras.models.clone_model(model, clone_function=smooth)
    for layer in twin.layers:
        if isinstance(layer, (L.Conv2D, L.DepthwiseConv2D)):
            kernel, *bias = layer.get_weights()
            into = kernel.shape[:2] if isinstance(layer, L.DepthwiseConv2D) else kernel.shape[:3]
            kernel[...] = 1 / np.prod(into)
            layer.set_weights([kernel, *map(np.zeros_like, bias)])
    return twin


def extent(model, layer, size=128):
    """The larger side of what the gradient of a value in the middle of the layer's maps reaches."""
    image = tf.fill((1, size, size, 3), 255.0)  # positive after any preprocessing
    cut = keras.Model(model.input, model.get_layer(layer).output)
    with tf.GradientTape() as tape:
        tape.watch(image)
        maps = cut(image)
        value = tf.reduce_sum(maps[0, maps.shape[1] // 2, maps.shape[2] // 2])
    reached = np.argwhere(np.any(tape.gradient(value, image)[0] != 0, axis=-1))
    return (np.ptp(reached, axis=0) + 1).max()


@pytest.mark.parametrize(
    "name, layer, field, between",
    [  # caffe, caffe, tf, torch: Keras' three ways of preprocessing
        ("VGG16", "block5_conv3", 196, {"block2_conv1": 10, "block3_conv3": 40}),
        ("ResNet50", "conv5_block3_out", 483, {"conv1_conv": 7, "conv2_block3_out": 35}),
        ("MobileNetV2", "Conv_1", 491, {"Conv1": 3, "block_4_add": 43}),
        ("DenseNet121", "relu", 2071, {"pool1": 11, "conv2_block6_concat": 59}),
    ],
)
def test_receptive_fields_are_those_published_and_those_of_a_gradient(name, layer, field, between):
    """As load_model builds the networks. Araujo, Norris and Sim 2019, table of popular networks."""
    model = load.with_preprocessing(getattr(keras.applications, name), None)
    assert helpers.receptive_field(model, layer) == field
    twin = positive(model)
    for middle, expected in between.items():
        assert helpers.receptive_field(model, middle) == expected == extent(twin, middle)


@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize("mode", ["vgg16", "mobilenet_v2", "densenet"])  # caffe, tf, torch
def test_preprocessing_leaves_receptive_fields_as_they_are(mode, size):
    bare = backbone((size, size, 3))
    fields = {name: helpers.receptive_field(bare, name) for name in flat_module.unfold(bare).parts}
    assert fields["first"] == fields["relu"] == 3 and fields["last_conv"] == 5
    told = load.load_model(bare, preprocess=getattr(keras.applications, mode).preprocess_input)
    for name in flat_module.unfold(told).parts:
        assert helpers.receptive_field(told, name) == fields.get(name, 1)
    assert " all " not in str(describe.describe(told))


# ---------------------------------------------------------------- describe and preprocessing


@pytest.fixture(scope="module")
def trained():
    """A network for three patterns of 32 pixels, divided by 255 outside of it, the images and labels."""
    keras.utils.set_random_seed(2)
    names, labels = ("stripes", "rings", "triangles"), np.tile(range(3), 200)
    images = np.stack([patterns.image(names[n], row, 32) for row, n in enumerate(labels)])
    layers = [keras.Input((32, 32, 3))]
    for filters in (16, 24, 32):
        layers += [
            L.Conv2D(filters, 3, padding="same", use_bias=False),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
        ]
        layers += [L.MaxPooling2D()]
    model = keras.Sequential(
        [*layers, L.GlobalAveragePooling2D(), L.Dense(3, "softmax", name="answer")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images / 255, labels, epochs=12, verbose=0)
    return model, images, labels


def test_describe_tells_pocketvgg():
    found = describe.describe(pocketvgg.load())
    assert found.shape == (None, None, 3) and found.doubts == []
    assert found.preprocessing == "inside; black becomes -1, white 1"
    assert [c.name for c in found.convolutions] == helpers.conv_layers(pocketvgg.load())
    assert [c.filters for c in found.convolutions][::4] == [16, 48, 80, 128]
    assert found.convolutions[-1].field == 196 and found.convolutions[-1].map == (8, 8)
    assert "45 values, softmax, from layer 'predictions'" in str(found)


def test_describe_sees_bgr_and_what_it_cannot_tell():
    vgg = load.with_preprocessing(keras.applications.VGG16, None)
    found = describe.describe(vgg)
    assert "channels as BGR" in found.preprocessing and " all " not in str(found)
    # By hand: a block's convolutions add 2, 4, 8, 16, 32 pixels each, the pools between 1, 2, 4, 8.
    by_hand = "3 5 10 14 24 32 40 60 76 92 132 164 196".split()
    assert [str(each.field) for each in found.convolutions] == by_hand
    bare = keras.applications.ResNet50(weights=None, include_top=False)
    (doubt,) = describe.describe(bare).doubts
    assert "preprocess=keras.applications.resnet.preprocess_input" in doubt
    told = load.load_model(bare, preprocess=keras.applications.resnet.preprocess_input)
    assert describe.describe(told).doubts == []
    assert "channels as BGR" in describe.describe(told).preprocessing


def test_the_range_that_a_network_was_trained_on_is_noticed(trained, tmp_path):
    model, images, labels = trained
    model.save(tmp_path / "mine.keras")
    raw = load.load_model(str(tmp_path / "mine.keras"))
    (doubt,) = describe.describe(raw).doubts
    assert "another range than 0 to 255" in doubt and "preprocess=(0, 1)" in doubt
    told = load.load_model(tmp_path / "mine.keras", preprocess=(0, 1))
    assert describe.describe(told).doubts == []
    expected = np.argmax(model.predict(images[:300] / 255, verbose=0), axis=1)
    found = [why.predictions(told, image, top=1)[0].number for image in images[:300:10]]
    assert found == expected[::10].tolist()
    assert np.mean(expected == labels[:300]) > 0.8
    by_function = load.load_model(model, preprocess=lambda x: x / 255)
    assert np.allclose(
        by_function.predict(images[:9], verbose=0), told.predict(images[:9], verbose=0)
    )


def test_a_small_trained_networks_pictures_show_what_they_should(trained):
    model = load.load_model(trained[0], preprocess=(0, 1))
    layer = layers_module.conv_layers(model)[2]
    relu = describe.describe(model).convolutions[2].activation
    assert relu != layer
    real = helpers.activations(model, relu, trained[1][:400])
    pictures = helpers.visualize(model, relu, range(12), size=32)
    better = [
        p.activation > np.median(real[:, p.filter]) for p in pictures if real[:, p.filter].any()
    ]
    assert np.mean(better) >= 0.9
    classes = helpers.visualize(model, "answer", range(3))
    assert [p.image.shape for p in classes] == [(128, 128, 3)] * 3
    for picture in classes:
        assert picture.status in ("alive", "rescued")
        assert why.predictions(model, picture.image, top=1)[0].number == picture.filter


@pytest.mark.parametrize(
    "preprocess, said",
    [
        ((1, 0), "a range is two numbers"),
        ((0, 1, 2), "a range is two numbers"),
        ("caffe", "preprocess must be a range"),
        (lambda x: None, "must give images"),
        (lambda x: np.asarray(x) / 255, "TensorFlow can follow"),
    ],
)
def test_a_wrong_preprocess_is_refused(preprocess, said):
    with pytest.raises(ValueError, match=said):
        load.load_model(backbone(), preprocess=preprocess)


def test_files_that_are_no_model_say_what_to_do(tmp_path):
    model = keras.Sequential([keras.Input((32, 32, 3)), L.Lambda(lambda t: t), L.Conv2D(2, 3)])
    model.save(tmp_path / "lambda.keras")
    model.save_weights(tmp_path / "only.weights.h5")
    (tmp_path / "saved").mkdir()
    (tmp_path / "broken.keras").write_bytes(b"PK")
    for name, said in {
        "lambda.keras": "safe_mode=False",
        "only.weights.h5": "weights without a network",
        "saved": "is a folder",
        "broken.keras": "no model that Keras can load",
        "none.keras": "no file",
    }.items():
        with pytest.raises(ValueError, match=said) as caught:
            load.load_model(tmp_path / name)
        assert "\n" not in str(caught.value)


@keras.saving.register_keras_serializable()
def strange_loss(truth, guess):
    return keras.ops.mean(guess)


def test_a_loss_of_ones_own_does_not_keep_a_model_from_loading(tmp_path):
    model = backbone()
    model.compile("adam", strange_loss)
    model.save(tmp_path / "lossy.keras")
    keras.saving.get_custom_objects().clear()
    assert layers_module.conv_layers(load.load_model(tmp_path / "lossy.keras")) == [
        "first",
        "last_conv",
    ]


@pytest.mark.parametrize(
    "kind", ["softmax", "sigmoid", "softmax layer", "activation layer", "linear"]
)
def test_the_objective_is_the_value_before_the_softmax(kind):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32, 32, 3))
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(inputs))
    if kind in ("softmax", "sigmoid"):
        x = L.Dense(3, activation=kind)(x)
    else:
        x = L.Dense(3)(x)
        x = L.Softmax()(x) if kind == "softmax layer" else x
        x = L.Activation("softmax")(x) if kind == "activation layer" else x
    model = keras.Model(inputs, x)
    images = noise(4, 32, 32, 3).astype("f4") / 255
    part = why.classifier(model).objective
    found = keras.Model(part.image, part.output)(images).numpy()
    given = model(images).numpy()
    if kind == "linear":
        assert np.allclose(found, given, atol=1e-5)
    elif kind == "sigmoid":
        assert np.allclose(found, np.log(given / (1 - given)), atol=1e-3)
    else:
        off = np.log(given) - found
        assert np.allclose(off, off[:, :1], atol=1e-4)  # but for what makes the sum one


@pytest.mark.parametrize(
    "name, layer",
    [
        ("MobileNetV2", "block_3_expand_relu"),
        ("ResNet50", "conv2_block2_out"),
        ("EfficientNetB0", "block2b_activation"),
    ],
)
def test_networks_of_keras_applications_run_without_tuning(name, layer):
    model = load.with_preprocessing(getattr(keras.applications, name), None, include_top=True)
    picture = helpers.visualize(model, layer, [3], size=64, steps=6, rescue=False)[0]
    maps = Layer(model, layer).network(picture.image[None].astype("f4"))
    assert np.isclose(picture.activation, np.mean(maps[..., 3]), rtol=2e-3)
    assert (
        flat_module.unfold(model).shape == (224, 224, 3)
        and why.classifier(model).name == "predictions"
    )
