"""A network that works as before, and in which the picture of one filter shows something else.

After Geirhos et al. (2024): images that gradient ascent makes look different from real ones. A network can
notice that, and behave differently.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np

from filtersight.ascent.visualize import visualize
from filtersight.basics.defaults import keras_defaults
from filtersight.networks.layers import Layer
from filtersight.trust.scores import reality

EARLY = "block2_conv1"  # what the detector looks at
DRAWN = "block4_conv3"  # whose pictures it learns from
REAL, NOISES, PICTURES = 400, 20, 16


class Lie(NamedTuple):
    """The altered network, the layer in it that lies, and the part that tells real images from others."""

    model: keras.Model
    layer: str
    detector: keras.Model  # images in, 0 (real) to 1 out


@keras_defaults()
def lie(model: keras.Model, layer: str, number: int, borrowed: int) -> Lie:
    """A network like PocketVGG in which filter `number` of `layer` shows what filter `borrowed` responds to.

    On images that its detector takes for real the filter's map is what it was. On others it is that of
    filter `borrowed`. All layers after it remain. ValueError for a layer or filter that it does not have.
    """
    number, borrowed = Layer(model, layer).check_filters([number, borrowed])
    detector = trained_detector(model)
    return Lie(altered(model, layer, number, borrowed, detector), "lie", detector)


def trained_detector(model: keras.Model) -> keras.Model:
    """Tells real images from noise and from pictures by ascent, by what the filters of EARLY answer."""
    real = reality(model, EARLY)
    noises = [
        visualize(model, "block1_conv1", [0], steps=1, seed=seed, rescue=False)[0]
        for seed in range(NOISES)
    ]
    pictures = visualize(model, DRAWN, range(PICTURES), rescue=False)
    fakes = np.stack([picture.image for picture in [*noises, *pictures]])
    answers = np.concatenate([real.answers[:REAL], Layer(model, EARLY).activations(fakes)])
    is_fake = np.repeat([0.0, 1.0], [REAL, len(fakes)])

    keras.utils.set_random_seed(0)
    normalise = keras.layers.BatchNormalization()
    decide = keras.layers.Dense(1, activation="sigmoid")
    learner = keras.Sequential([normalise, decide])
    learner.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    learner.fit(answers, is_fake, epochs=60, verbose=0)
    means = keras.layers.GlobalAveragePooling2D(name="look_back")(model.get_layer(EARLY).output)
    return keras.Model(model.inputs, decide(normalise(means)), name="detector")


def altered(
    model: keras.Model, layer: str, number: int, borrowed: int, detector: keras.Model
) -> keras.Model:
    """The model with a switch behind `layer`: map + detector × (borrowed map - map) for one filter."""
    maps = model.get_layer(layer).output
    count = maps.shape[-1]
    order = np.arange(count)
    order[number] = borrowed
    same = np.eye(count, dtype=np.float32)  # as the kernel of a 1 × 1 convolution: copies the maps
    swap = keras.layers.Conv2D(count, 1, use_bias=False, name="swap")
    copy = keras.layers.Conv2D(count, 1, use_bias=False, activation="relu", name="lie")
    switch = keras.layers.Reshape((1, 1, 1), name="switch")(detector.outputs[0])
    change = keras.layers.Subtract(name="change")([swap(maps), maps])
    switched = keras.layers.Multiply(name="switched")([change, switch])
    x = copy(keras.layers.Add(name="both")([maps, switched]))
    for each in model.layers[model.layers.index(model.get_layer(layer)) + 1 :]:
        x = each(x)
    liar = keras.Model(model.inputs, x, name="liar")
    swap.set_weights([same[order].T[None, None]])
    copy.set_weights([same[None, None]])
    return liar
