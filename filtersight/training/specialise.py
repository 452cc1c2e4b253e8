"""The end of a training: the filters of two deep layers choose the patterns that they answer to.

A filter learns what helps to tell the patterns apart, and that may be something that half of them have in
common: then its picture shows what nobody can name. So the last layers learn on, and beside the right
answer it counts how few patterns each filter answers to, and that no pattern is left without filters.
Filters that are trained to be specific to a class: Liang et al. (2020). The layers before stay as they are.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from filtersight.training.learn import Array, World, adamw, attacked, batches, logits
from filtersight.world import pocketvgg
from filtersight.world.patterns import NAMES
from filtersight.world.pocketvgg import Plan

# Layers whose filters choose, in order; the first of them is the first that learns on. How much it counts
# that a filter answers to few patterns, and that all patterns have filters.
CHOICES = {"block4_conv3": (0.06, 0.3), "block5_conv3": (0.2, 0.6)}
RAMP = 0.3  # of the steps, until the choice counts that much
STEPS, BATCH = 1_000, 128
RATE, DECAY = 1e-3, 0.3  # the highest learning rate; weight decay, in parts of the learning rate
SHARE = 0.5  # of the training pictures


def spread(maps: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How the answers of filters spread over patterns, for maps (n, height, width, filters), in nats.

    A filter answers to a pattern with the mean of its maps. Returns the entropy of these answers, the mean
    over the filters, 0 if each answers to one pattern only; and the entropy of the patterns' mean shares in
    all filters, the logarithm of the number of patterns if these share the filters equally.
    """
    pattern = tf.one_hot(labels, len(NAMES))
    answers = tf.matmul(pattern, tf.reduce_mean(maps, axis=(1, 2)), transpose_a=True)
    answers /= tf.maximum(tf.reduce_sum(pattern, axis=0), 1)[:, None]
    shares = answers / (tf.reduce_sum(answers, axis=0) + 1e-6)  # (patterns, filters)

    def entropy(share: tf.Tensor) -> tf.Tensor:
        return -tf.reduce_sum(share * tf.math.log(share + 1e-9), axis=0)

    return tf.reduce_mean(entropy(shares)), entropy(tf.reduce_mean(shares, axis=1))


def parts(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The network before the first of CHOICES, and from there to their maps and the mean over the last maps."""
    first = model.layers.index(model.get_layer(next(iter(CHOICES))))
    before, maps = model.layers[first - 1].output, {}
    x = inputs = keras.Input(before.shape[1:])
    for layer in model.layers[first:-1]:
        x = maps[layer.name] = layer(x)
    return keras.Model(model.inputs[0], before), keras.Model(
        inputs, [*(maps[name] for name in CHOICES), x]
    )


def maps_of(plan: Plan, model: keras.Model, lower: keras.Model, world: World) -> World:
    """What the lower part makes of a share of the pictures, float16, with their labels.

    It stays as it is, so this is done once; two pictures of three get noise against the network first.
    """
    network, chance = logits(model), keras.random.SeedGenerator(plan.seed)

    @tf.function(autograph=False, reduce_retracing=True)
    def seen(images, labels, noise):
        if plan.noise:
            images = attacked(network, images, labels, noise[:, None, None, None], chance)
        return tf.cast(lower(tf.cast(images, tf.float32)), tf.float16)

    def all_seen(pictures: Array, labels: Array) -> Array:
        noise = plan.noise * (np.arange(len(labels)) % 3 > 0).astype(np.float32)
        cuts = range(0, len(labels), 64)
        return np.concatenate(
            [
                seen(*(tf.constant(each[i : i + 64]) for each in (pictures, labels, noise)))
                for i in tqdm(cuts, f"maps of {pictures.shape[1]} pixels", mininterval=5)
            ]
        )

    some = {
        size: tuple(each[: max(1, round(SHARE * len(each)))] for each in both)
        for size, both in world.items()
    }
    return {size: (all_seen(*both), both[1]) for size, both in some.items()}


def specialise(
    plan: Plan, arrays: dict[str, Array], world: World
) -> tuple[dict[str, Array], list[dict]]:
    """Folded weights, as `learn` gives them, after the end of the training, and its log."""
    model = pocketvgg.put_weights(pocketvgg.build(plan.widths), arrays)
    lower, upper = parts(model)
    step = trainer(upper, model.layers[-1])
    maps = maps_of(plan, model, lower, world)
    log: list[dict] = []
    recent: list[tuple[float, ...]] = []
    for done, (some, labels) in enumerate(
        tqdm(
            batches(maps, plan.seed, STEPS, early=0, batch=BATCH),
            "specialising",
            STEPS,
            mininterval=5,
            unit="step",
        )
    ):
        ramp = np.float32(min(1, done / (RAMP * STEPS)))
        recent.append(tuple(map(float, step(tf.constant(some), tf.constant(labels), ramp))))
        if (done + 1) * 10 // STEPS > done * 10 // STEPS:
            loss, right, *few = map(float, np.mean(recent, axis=0))
            line = {
                "step": done + 1,
                "loss": round(loss, 4),
                "accuracy": round(right, 4),
                "patterns": [round(each, 1) for each in few],
            }
            log, recent = [*log, line], []
            tqdm.write("  ".join(f"{key} {value}" for key, value in line.items()))
    named = pocketvgg.named_weights(model).items()
    return {name: np.asarray(weight).astype(np.float16) for name, weight in named}, log


def trainer(upper: keras.Model, last: keras.layers.Dense):
    """A graph that takes one step: (maps, labels, ramp) to loss, accuracy, and patterns to a filter by layer."""
    weights = [*upper.trainable_variables, *last.trainable_variables]
    optimizer = adamw(weights, STEPS, 1e-5, RATE, DECAY)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(maps, labels, ramp):
        with tf.GradientTape() as tape:
            *chosen, pooled = upper(tf.cast(maps, tf.float32))
            answers = pooled @ last.kernel + last.bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers)
            loss, spreads = tf.reduce_mean(losses), [spread(each, labels) for each in chosen]
            total = loss + ramp * tf.add_n(
                [
                    few * own - everywhere * together
                    for (few, everywhere), (own, together) in zip(
                        CHOICES.values(), spreads, strict=True
                    )
                ]
            )
        optimizer.apply_gradients(zip(tape.gradient(total, weights), weights, strict=True))
        right = tf.cast(tf.argmax(answers, 1) == labels, tf.float32)
        return loss, tf.reduce_mean(right), *(tf.exp(own) for own, _ in spreads)

    return step
