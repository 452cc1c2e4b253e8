"""How a network is trained, and how it is measured afterwards.

Batch normalisation (Ioffe and Szegedy 2015) helps the training and is folded into the kernels
afterwards, so that the published networks are plain VGGs. Pictures get noise that is chosen against the
network (Goodfellow, Shlens and Szegedy 2015): one that withstands it has to look at shapes instead of
specks, and what its filters see can be recognised (Engstrom et al. 2019). Strong weight decay
(Loshchilov and Hutter 2019) lets the kernels forget the noise that they began as.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence

import cv2
import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from filtersight.world import patterns, pocketvgg
from filtersight.world.patterns import NAMES
from filtersight.world.pocketvgg import Plan

# TensorFlow warns that functions are traced anew; each of these is, for a few sizes of pictures.
tf.get_logger().setLevel("ERROR")

Array = np.ndarray
World = dict[int, tuple[Array, Array]]  # pictures and labels by size in pixels

SHARES = {64: 0.5, 96: 0.25, 128: 0.25}  # of the training pictures, by their size in pixels
# Large pictures are slow, and matter once the small ones are known: the first half of the batches is
# of the smallest size, and this is the chance of each size in the second half.
LATE = {64: 0.35, 96: 0.3, 128: 0.35}
BATCH = 64
RATE, DECAY = 4e-3, 0.6  # the highest learning rate; weight decay, in parts of the learning rate
PLAIN, RAMP = 0.15, 0.35  # of the steps: without noise; until the noise is as strong as it gets
EPSILON = 1e-3  # is added to the variance in batch normalisation
SETTLING = 100  # batches, after which the averages of a normalisation are those of the maps
STAGES = (0, 10, 30, 60, 100, 200, 400, 800)  # steps after which a stage is kept, beside the last


# ---------------------------------------------------------------- network


def convolutions() -> list[str]:
    """block1_conv1 to block5_conv3."""
    return [
        f"block{block}_conv{i}"
        for block, count in enumerate(pocketvgg.CONVOLUTIONS, start=1)
        for i in range(1, count + 1)
    ]


def normalised(plan: Plan) -> keras.Model:
    """The network to be trained, as its seed begins it: normalised maps, no softmax."""
    keras.utils.set_random_seed(plan.seed)
    # The smaller a kernel before a normalisation, the faster it turns away from its random start.
    small = keras.initializers.VarianceScaling(0.2, seed=keras.random.SeedGenerator(plan.seed))
    published = pocketvgg.build(plan.widths)
    x = inputs = keras.Input((None, None, 3))
    for layer in published.layers[1:-1]:
        if isinstance(layer, keras.layers.Conv2D):
            x = keras.layers.Conv2D(
                layer.filters,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer=small,
                name=layer.name,
            )(x)
            x = keras.layers.BatchNormalization(
                momentum=0.98, epsilon=EPSILON, name=f"{layer.name}_norm"
            )(x)
            x = keras.layers.ReLU()(x)
        else:
            x = type(layer).from_config(layer.get_config())(x)
    return keras.Model(inputs, keras.layers.Dense(len(NAMES), name="predictions")(x))


def folded(model: keras.Model) -> dict[str, Array]:
    """The weights of the same network without normalisation, in float16: {"block1_conv1.kernel": …}."""
    arrays = {}
    for name in convolutions():
        norm = model.get_layer(f"{name}_norm")
        gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in norm.weights)
        scale = gamma / np.sqrt(variance + EPSILON)
        arrays[f"{name}.kernel"] = np.asarray(model.get_layer(name).kernel) * scale
        arrays[f"{name}.bias"] = beta - mean * scale
    kernel, bias = model.get_layer("predictions").weights
    arrays |= {"predictions.kernel": np.asarray(kernel), "predictions.bias": np.asarray(bias)}
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def logits(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """A published network up to the values before its softmax, whose gradient never runs dry.

    From images (n, height, width, 3) to (n, patterns).
    """
    features, last = keras.Model(model.inputs[0], model.layers[-2].output), model.layers[-1]
    return lambda images: features(images, training=False) @ last.kernel + last.bias


# ---------------------------------------------------------------- noise against the network


def cross_entropy(answers: tf.Tensor, labels: Array | tf.Tensor) -> tf.Tensor:
    """How wrong the values before the softmax are, (n, patterns), for each picture: (n,), in nats."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers)


def attacked(
    loss: Callable[[tf.Tensor], tf.Tensor],
    images: Array | tf.Tensor,
    noise: float | tf.Tensor,
    seed: keras.random.SeedGenerator,
    steps: int = 1,
) -> tf.Tensor:
    """The images, (n, height, width, 3) 0 to 255, with noise that raises their loss: float32.

    `loss` takes such images and gives (n,) or one number. `noise`: grey levels at most, one number or
    (n, 1, 1, 1); from a random start (Wong, Rice and Kolter 2020), by one step along the sign of the
    gradient of the loss, or by more and smaller ones (Madry et al. 2018).
    """
    images = tf.cast(images, tf.float32)
    stride = 1.25 * noise if steps == 1 else 2.5 * noise / steps
    added = noise * keras.random.uniform(tf.shape(images), -1, 1, seed=seed)

    def worse(number, added):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(added)
            value = loss(tf.clip_by_value(images + added, 0, 255))
        step = stride * tf.sign(tape.gradient(value, added))
        return number + 1, tf.clip_by_value(added + step, -noise, noise)

    # A loop in the graph, which is built as fast for many steps as for one.
    _, added = tf.while_loop(lambda number, _: number < steps, worse, (tf.constant(0), added))
    return tf.clip_by_value(images + added, 0, 255)


def under_attack(model: keras.Model, steps: int = 1) -> Callable[[float, int, int, int], float]:
    """How to measure what a network withstands: (noise, count, seed, size) to a share, 0 to 1.

    That of `count` pictures of `size` pixels, drawn with `seed`, that are still recognised under noise of
    so many `steps`. One graph serves all strengths and sizes.
    """
    network, chance = logits(model), keras.random.SeedGenerator(0)
    attack = tf.function(
        lambda some, names, noise: attacked(
            lambda images: cross_entropy(network(images), names), some, noise, chance, steps
        ),
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.uint8),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([], tf.float32),
        ],
    )

    def share(noise: float, count: int, seed: int, size: int) -> float:
        pictures, labels = patterns.images(count, seed, size)
        chance.state.assign([seed, 0])  # as that of a new generator
        right = 0
        for first in range(0, count, 50):
            some, names = pictures[first : first + 50], labels[first : first + 50]
            noisy = attack(some, names, noise)
            right += int((np.argmax(model(noisy), axis=1) == names).sum())
        return round(right / count, 4)

    return share


# ---------------------------------------------------------------- training


def shuffled(pictures: Array, labels: Array, rng: np.random.Generator) -> Iterator[tuple]:
    """Batches of the pictures in random order, again and again."""
    while True:
        for part in np.array_split(rng.permutation(len(labels)), math.ceil(len(labels) / BATCH)):
            yield pictures[part], labels[part]


def batches(
    world: World, seed: int, count: int, early: float = 0.5
) -> Iterator[tuple[Array, Array]]:
    """`count` batches, each of one size: a share of `early` of the smallest, then sizes as in LATE."""
    rng = np.random.default_rng(seed)
    sizes = sorted(world)
    streams = {size: shuffled(*world[size], rng) for size in sizes}
    shares = np.array([LATE[size] for size in sizes])
    for done in range(count):
        late = done >= early * count
        yield next(streams[rng.choice(sizes, p=shares / shares.sum()) if late else sizes[0]])


def adamw(
    weights: Sequence[keras.Variable],
    steps: int,
    first: float,
    rate: float,
    decay: float,
    longest: float | None = None,
) -> keras.optimizers.Optimizer:
    """AdamW; its learning rate rises from `first` to `rate` in a tenth of the steps and falls as a cosine.

    The gradient, over all weights together, is scaled down to the norm `longest` at most.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        first, steps, warmup_target=rate, warmup_steps=max(1, steps // 10)
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay, global_clipnorm=longest)
    optimizer.build(weights)
    return optimizer


def colours_swapped(images: tf.Tensor, chance: keras.random.SeedGenerator) -> tf.Tensor:
    """The images as float32, (n, height, width, 3), with their channels in a random order, one for all.

    In the drawings all colours are as likely in one channel as in another.
    """
    order = keras.random.shuffle(tf.range(3), seed=chance)
    return tf.gather(tf.cast(images, tf.float32), order, axis=-1)


def trainer(model: keras.Model, steps: int, seed: int) -> Callable:
    """A graph that takes one step of AdamW: (images, labels, noise) to (loss, accuracy under noise)."""
    optimizer = adamw(model.trainable_variables, steps, 1e-4, RATE, DECAY)
    chance = keras.random.SeedGenerator(seed)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(images, labels, noise):
        def still(some: tf.Tensor) -> tf.Tensor:
            return cross_entropy(model(some, training=False), labels)

        images = colours_swapped(images, chance)
        images = tf.cond(noise > 0, lambda: attacked(still, images, noise, chance), lambda: images)
        with tf.GradientTape() as tape:
            answers = model(images, training=True)
            loss = tf.reduce_mean(cross_entropy(answers, labels))
        optimizer.apply_gradients(
            zip(
                tape.gradient(loss, model.trainable_variables),
                model.trainable_variables,
                strict=True,
            )
        )
        right = tf.cast(tf.argmax(answers, 1) == labels, tf.float32)
        return loss, tf.reduce_mean(right)

    return step


def learn(
    plan: Plan, world: World, epochs: int, stages: Sequence[int] = ()
) -> tuple[dict[int, dict[str, Array]], list[dict]]:
    """Trains a network: the folded weights by step, after each of `stages` and at the end, and a log."""
    model = normalised(plan)
    count = epochs * sum(math.ceil(len(labels) / BATCH) for _, labels in world.values())
    step, begun = trainer(model, count, plan.seed), time.perf_counter()
    kept: dict[int, dict[str, Array]] = {}
    log: list[dict] = []
    recent: list[tuple[float, ...]] = []
    for done, (pictures, labels) in enumerate(
        tqdm(batches(world, plan.seed, count), "training", count, mininterval=5, unit="step")
    ):
        if done in stages:
            kept[done] = folded(settled(model, world))
        ramp = np.clip((done / count - PLAIN) / (RAMP - PLAIN), 0, 1)
        values = step(tf.constant(pictures), tf.constant(labels), np.float32(plan.noise * ramp))
        recent.append(tuple(map(float, values)))
        if (done + 1) * 20 // count > done * 20 // count:
            loss, right = np.mean(recent, axis=0)
            line = {
                "step": done + 1,
                "minutes": round((time.perf_counter() - begun) / 60, 1),
                "noise": round(float(plan.noise * ramp), 1),
                "loss": round(float(loss), 4),
                "accuracy": round(float(right), 4),
            }
            log, recent = [*log, line], []
            tqdm.write("  ".join(f"{key} {value}" for key, value in line.items()))
    kept[count] = folded(model)
    return kept, log


def settled(model: keras.Model, world: World) -> keras.Model:
    """A copy whose normalisation knows the maps as they are now; its averages lag behind the kernels."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    for pictures, _ in batches(world, seed=0, count=SETTLING):
        copy(tf.cast(pictures, tf.float32), training=True)
    return copy


# ---------------------------------------------------------------- measurements


def confusions(model: keras.Model, count: int, seed: int, size: int) -> Array:
    """How often each pattern (row) is taken for each (column), (len(NAMES), len(NAMES)) int."""
    pictures, labels = patterns.images(count, seed, size)
    guesses = model.predict(pictures, batch_size=64, verbose=0).argmax(axis=1)
    table = np.zeros((len(NAMES), len(NAMES)), int)
    np.add.at(table, (labels, guesses), 1)
    return table


def accuracy(table: Array) -> float:
    """The share of right answers in a table of confusions, 0 to 1."""
    return round(float(np.trace(table) / table.sum()), 4)


def correlations(plan: Plan, arrays: dict[str, Array]) -> dict[str, float]:
    """How much each layer's kernels are still like their random start, -1 to 1."""
    start = normalised(plan)
    return {
        name: round(
            float(
                np.corrcoef(
                    np.ravel(start.get_layer(name).kernel),
                    arrays[f"{name}.kernel"].astype(np.float64).ravel(),
                )[0, 1]
            ),
            3,
        )
        for name in convolutions()
    }


def silent(model: keras.Model, count: int, seed: int) -> dict[str, list[int]]:
    """The filters that fire nowhere in `count` pictures of 128 pixels, by layer."""
    pictures, _ = patterns.images(count, seed, 128)
    maps = keras.Model(model.inputs[0], [model.get_layer(name).output for name in convolutions()])
    most = [np.zeros(1)] * len(convolutions())
    for first in range(0, count, 50):
        answers = maps(pictures[first : first + 50])
        most = [
            np.maximum(old, np.max(new, axis=(0, 1, 2)))
            for old, new in zip(most, answers, strict=True)
        ]
    return {
        name: np.flatnonzero(each <= 0).tolist()
        for name, each in zip(convolutions(), most, strict=True)
        if (each <= 0).any()
    }


def versions() -> dict[str, str]:
    """The versions of everything that has a say in the weights."""
    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "OpenCV": cv2.__version__,
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
    }
