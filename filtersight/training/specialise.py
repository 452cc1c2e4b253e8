"""The end of a training: deep filters that answer to few patterns, under stronger noise if there was any.

A filter learns what helps to tell the patterns apart, and that may be something that half of them have in
common: then its picture shows what nobody can name. So all layers but the first learn on, and beside the
right answer it counts that each filter of block4_conv3 answers to few patterns, and together they to all;
and each filter of block5_conv3 is assigned a pattern, where possible the one that it prefers, to pictures of
which it is to answer more than the filters of other patterns do. Filters that are trained to be specific to a
class: Liang et al. (2020). The noise is chosen against all of this, so that what a filter answers to
withstands it, too.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from filtersight.training.learn import (
    Array,
    World,
    adamw,
    attacked,
    batches,
    colours_swapped,
    cross_entropy,
)
from filtersight.world import pocketvgg
from filtersight.world.patterns import NAMES
from filtersight.world.pocketvgg import Plan

KEPT, CHOOSING, ASSIGNED = "block1_conv1", "block4_conv3", "block5_conv3"
# How much it counts that a CHOOSING filter answers to few patterns, that together they answer to all, and
# that an ASSIGNED filter answers to its pattern.
FEW, EVERYWHERE, OWN = 0.06, 0.3, 0.3
RAMP = 0.3  # of the steps, until these count that much and the noise is that strong
STEPS, EARLY = 900, 0.35  # steps; the share of them, at first, with the smallest pictures only
RATE, DECAY = 1e-3, 0.3  # the highest learning rate; weight decay, in parts of the learning rate
LONGEST = 1.0  # the norm of the gradient, at most: some batches would throw the weights far off
STRONGER = 1.5  # times the noise of the training, at most
WHOLE = 0.75  # the share of the pictures that get all of the noise, the others less
LOOKED_AT = 900  # pictures that say which pattern a filter prefers


def shares(maps: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """How each filter's answers spread over the patterns: (patterns, filters), 0 to 1.

    A filter answers to a pattern with the mean of its maps, (n, height, width, filters). Its shares add up
    to 1, or to 0 if it is silent.
    """
    pattern = tf.one_hot(labels, len(NAMES))
    answers = tf.matmul(pattern, tf.reduce_mean(maps, axis=(1, 2)), transpose_a=True)
    answers /= tf.maximum(tf.reduce_sum(pattern, axis=0), 1)[:, None]
    return answers / (tf.reduce_sum(answers, axis=0) + 1e-6)


def spread(share: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How wide `shares` spread, in nats.

    Returns the mean entropy of a filter's shares, 0 if each answers to one pattern only or is silent; and
    the entropy of the mean shares, the logarithm of the number of patterns if these share the filters
    equally.
    """

    def entropy(part: tf.Tensor) -> tf.Tensor:
        return -tf.reduce_sum(part * tf.math.log(part + 1e-9), axis=0)

    return tf.reduce_mean(entropy(share)), entropy(tf.reduce_mean(share, axis=1))


def assignment(share: Array) -> Array:
    """The filters that are assigned to each pattern, (patterns, k) int, by their `shares`.

    The highest shares choose first, but the numbers of filters differ by 1 at most, so a filter may not get
    the pattern that it prefers. k is the most that a pattern has: rows that have fewer repeat their first
    ones, and a pattern without any borrows the filter with the highest share of it.
    """
    patterns, filters = share.shape
    widest = -(-filters // patterns)
    members: list[list[int]] = [[] for _ in range(patterns)]
    free = set(range(filters))
    for most in (filters // patterns, widest):
        for place in np.argsort(-share, axis=None, kind="stable"):
            pattern, number = map(int, np.unravel_index(place, share.shape))
            if number in free and len(members[pattern]) < most:
                members[pattern].append(number)
                free.remove(number)
    return np.array(
        [np.resize(some or share[row].argmax(), widest) for row, some in enumerate(members)]
    )


def astray(
    maps: tf.Tensor, labels: tf.Tensor, assigned: Array, chance: keras.random.SeedGenerator
) -> tf.Tensor:
    """How little the right filter stands out among one of each pattern: a cross-entropy in nats.

    For maps (n, height, width, filters); the filters are drawn by lot from the rows of `assignment`. About
    0 if to every picture only the filter of its pattern answers, the logarithm of the number of patterns if
    all answer alike, and 6.9 at most.
    """
    lot = keras.random.randint((len(assigned),), 0, assigned.shape[1], seed=chance)
    drawn = tf.gather(tf.constant(assigned), lot, axis=1, batch_dims=1)
    answers = tf.gather(tf.reduce_mean(maps, axis=(1, 2)), drawn, axis=1)  # (n, patterns)
    total = tf.reduce_sum(answers, axis=1, keepdims=True)
    share = answers / (total + 1e-3 * tf.reduce_mean(total) + 1e-6)
    right = tf.gather(share, labels, axis=1, batch_dims=1)
    return -tf.reduce_mean(tf.math.log(right + 1e-3))


def trainer(
    model: keras.Model, assigned: Array, seed: int
) -> Callable[[tf.Tensor, tf.Tensor, float, float], tuple[tf.Tensor, ...]]:
    """A graph that takes one step: (images, labels, noise, ramp) to four numbers, under that noise.

    They are the cross-entropy, the accuracy, over how many patterns a CHOOSING filter spreads, and 1 over
    the share of the right ASSIGNED filter (geometric mean).
    """
    last, chance = model.layers[-1], keras.random.SeedGenerator(seed)
    layers = [model.get_layer(CHOOSING), model.get_layer(ASSIGNED), model.layers[-2]]
    network = keras.Model(model.inputs[0], [layer.output for layer in layers])
    # Without normalisation some of the first layer's few filters would fall silent, so it stays as it is.
    weights = [
        weight
        for layer in model.layers
        if layer.name != KEPT
        for weight in layer.trainable_variables
    ]
    optimizer = adamw(weights, STEPS, 1e-5, RATE, DECAY, LONGEST)

    def losses(images, labels, ramp):
        choosing, told, pooled = network(images, training=False)
        logits = pooled @ last.kernel + last.bias
        wrong = tf.reduce_mean(cross_entropy(logits, labels))
        few, everywhere = spread(shares(choosing, labels))
        other = astray(told, labels, assigned, chance)
        total = wrong + ramp * (FEW * few - EVERYWHERE * everywhere + OWN * other)
        return total, wrong, logits, few, other

    @tf.function(autograph=False, reduce_retracing=True)
    def step(images, labels, noise, ramp):
        images = colours_swapped(images, chance)
        strength = keras.random.uniform((tf.shape(labels)[0], 1, 1, 1), seed=chance) / (1 - WHOLE)
        strength = noise * tf.minimum(strength, 1)

        def noisy():
            return attacked(lambda some: losses(some, labels, ramp)[0], images, strength, chance)

        images = tf.cond(noise > 0, noisy, lambda: images)
        with tf.GradientTape() as tape:
            total, wrong, logits, few, other = losses(images, labels, ramp)
        optimizer.apply_gradients(zip(tape.gradient(total, weights), weights, strict=True))
        right = tf.cast(tf.argmax(logits, 1) == labels, tf.float32)
        return wrong, tf.reduce_mean(right), tf.exp(few), tf.exp(other)

    return step


def specialise(
    plan: Plan, arrays: dict[str, Array], world: World
) -> tuple[dict[str, Array], list[dict]]:
    """Folded weights, as `learn` gives them, after the end of the training, and its log."""
    model = pocketvgg.put_weights(pocketvgg.build(plan.widths), arrays)
    pictures, labels = (each[:LOOKED_AT] for each in world[min(world)])
    maps = keras.Model(model.inputs[0], model.get_layer(ASSIGNED).output)
    assigned = assignment(shares(maps.predict(pictures, verbose=0), labels).numpy())
    step = trainer(model, assigned, plan.seed)
    log: list[dict] = []
    recent: list[tuple[float, ...]] = []
    some = batches(world, plan.seed, STEPS, EARLY)
    for done, (pictures, labels) in enumerate(
        tqdm(some, "specialising", STEPS, mininterval=5, unit="step")
    ):
        ramp = np.float32(min(1, done / (RAMP * STEPS)))
        noise = np.float32(plan.noise * (1 + (STRONGER - 1) * ramp))
        values = step(tf.constant(pictures), tf.constant(labels), noise, ramp)
        recent.append(tuple(map(float, values)))
        if (done + 1) * 10 // STEPS > done * 10 // STEPS:
            loss, right, *spreads = map(float, np.mean(recent, axis=0))
            line = {
                "step": done + 1,
                "noise": round(float(noise), 1),
                "loss": round(loss, 4),
                "accuracy": round(right, 4),
                "patterns": [round(each, 1) for each in spreads],
            }
            log, recent = [*log, line], []
            tqdm.write("  ".join(f"{key} {value}" for key, value in line.items()))
    named = pocketvgg.named_weights(model).items()
    return {name: np.asarray(weight).astype(np.float16) for name, weight in named}, log
