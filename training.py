"""How PocketVGG and its relatives were trained: `python training.py [NAME]` does it again.

Batch normalisation (Ioffe and Szegedy 2015) helps the training and is folded into the kernels
afterwards, so that the published networks are plain VGGs. Pictures get noise that is chosen against the
network (Goodfellow, Shlens and Szegedy 2015): one that withstands it has to look at shapes instead of
specks, and what its filters see can be recognised (Engstrom et al. 2019). Strong weight decay
(Loshchilov and Hutter 2019) lets the kernels forget the noise that they began as.
"""

from __future__ import annotations

import os

# On processors without AVX-512 TensorFlow has to be asked for its faster convolutions.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ctypes
import hashlib
import io
import itertools
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

import patterns
from patterns import MODELS, NAMES, NETWORKS, Plan, nearest, whole, write

# TensorFlow warns that functions are traced anew; each of these is, for a few sizes of pictures.
tf.get_logger().setLevel("ERROR")

Array = np.ndarray
Logits = Callable[
    [tf.Tensor], tf.Tensor
]  # images (n, height, width, 3) to values before the softmax

SHARES = {64: 0.7, 96: 0.15, 128: 0.15}  # of the training pictures, by their size in pixels
BATCH = 64
RATE, DECAY = 4e-3, 0.6  # the highest learning rate; weight decay, in parts of the learning rate
PLAIN, RAMP = 0.15, 0.35  # of the steps: without noise; until the noise is as strong as it gets
EPSILON = 1e-3  # is added to the variance in batch normalisation
STAGES = (0, 10, 30, 60, 100, 200, 400, 800, None)  # steps after which a stage is kept; None: all


# ---------------------------------------------------------------- network


def convolutions() -> list[str]:
    """block1_conv1 to block5_conv3."""
    return [
        f"block{block}_conv{i}"
        for block, count in enumerate(patterns.CONVOLUTIONS, start=1)
        for i in range(1, count + 1)
    ]


def normalised(plan: Plan) -> keras.Model:
    """The network to be trained, as its seed begins it: normalised maps, no softmax."""
    keras.utils.set_random_seed(plan.seed)
    # The smaller a kernel before a normalisation, the faster it turns away from its random start.
    small = keras.initializers.VarianceScaling(0.2, seed=keras.random.SeedGenerator(plan.seed))
    published = patterns.build(plan.widths)
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


def logits(model: keras.Model) -> Logits:
    """A published network up to the values before its softmax, whose gradient never runs dry."""
    features, last = keras.Model(model.inputs[0], model.layers[-2].output), model.layers[-1]
    return lambda images: features(images, training=False) @ last.kernel + last.bias


# ---------------------------------------------------------------- noise against the network


def attacked(
    network: Logits,
    images: Array | tf.Tensor,
    labels: Array | tf.Tensor,
    noise: float | tf.Tensor,
    seed: keras.random.SeedGenerator,
    steps: int = 1,
) -> tf.Tensor:
    """The images, (n, height, width, 3) 0 to 255, with noise that is chosen against the network: float32.

    At most `noise` grey levels, from a random start (Wong, Rice and Kolter 2020), by one step along the
    sign of the gradient of the loss, or by more and smaller ones (Madry et al. 2018).
    """
    images = tf.cast(images, tf.float32)
    stride = 1.25 * noise if steps == 1 else 2.5 * noise / steps
    added = noise * keras.random.uniform(tf.shape(images), -1, 1, seed=seed)
    for _ in range(steps):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(added)
            answers = network(tf.clip_by_value(images + added, 0, 255))
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers)
        step = stride * tf.sign(tape.gradient(loss, added))
        added = tf.clip_by_value(added + step, -noise, noise)
    return tf.clip_by_value(images + added, 0, 255)


def under_attack(
    model: keras.Model, noise: float, count: int, seed: int, size: int, steps: int = 1
) -> float:
    """The share of `count` pictures of `size` pixels that are still recognised under such noise, 0 to 1."""
    pictures, labels = patterns.images(count, seed, size)
    network, chance = logits(model), keras.random.SeedGenerator(seed)
    # One graph for all batches; the last one may be smaller.
    attack = tf.function(
        lambda some, names: attacked(network, some, names, noise, chance, steps),
        autograph=False,
        reduce_retracing=True,
    )
    right = 0
    for first in range(0, count, 50):
        some, names = pictures[first : first + 50], labels[first : first + 50]
        noisy = attack(tf.constant(some), tf.constant(names))
        right += int((np.argmax(model(noisy), axis=1) == names).sum())
    return round(right / count, 4)


# ---------------------------------------------------------------- training


def batches(world: Sequence[tuple[Array, Array]], seed: int) -> Iterator[tuple[Array, Array]]:
    """An endless stream: pictures of one size in a batch, batches of all sizes in random order."""
    rng = np.random.default_rng(seed)
    while True:
        parts = [
            (pictures, labels, part)
            for pictures, labels in world
            for part in np.array_split(rng.permutation(len(labels)), math.ceil(len(labels) / BATCH))
        ]
        for i in rng.permutation(len(parts)):
            pictures, labels, part = parts[i]
            yield pictures[part], labels[part]


def trainer(model: keras.Model, steps: int, seed: int) -> Callable:
    """A graph that takes one step of AdamW: (images, labels, noise) to (loss, accuracy under noise)."""
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps, warmup_target=RATE, warmup_steps=max(1, steps // 10)
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=DECAY)
    optimizer.build(model.trainable_variables)
    chance = keras.random.SeedGenerator(seed)

    def still(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(images, labels, noise):
        # All colours are as likely in one channel as in another, so a picture may swap them.
        order = keras.random.shuffle(tf.range(3), seed=chance)
        images = tf.gather(tf.cast(images, tf.float32), order, axis=-1)
        images = tf.cond(
            noise > 0,
            lambda: attacked(still, images, labels, noise, chance),
            lambda: images,
        )
        with tf.GradientTape() as tape:
            answers = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers)
            loss = tf.reduce_mean(losses)
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
    plan: Plan, world: Sequence[tuple[Array, Array]], epochs: int, stages: Sequence[int | None] = ()
) -> tuple[dict[int, dict[str, Array]], list[dict]]:
    """Trains a network: the folded weights by step, after each of `stages` and at the end, and a log."""
    model = normalised(plan)
    count = epochs * sum(math.ceil(len(labels) / BATCH) for _, labels in world)
    wanted = {count if stage is None else stage for stage in (*stages, None)}
    step, begun = trainer(model, count, plan.seed), time.perf_counter()
    kept: dict[int, dict[str, Array]] = {}
    log: list[dict] = []
    recent: list[tuple[float, ...]] = []
    for done, (pictures, labels) in enumerate(
        tqdm(batches(world, plan.seed), "training", count, mininterval=5, unit="step")
    ):
        if done in wanted:
            kept[done] = folded(settled(model, world) if done < count else model)
        if done == count:
            break
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
    return kept, log


def settled(model: keras.Model, world: Sequence[tuple[Array, Array]]) -> keras.Model:
    """A copy whose normalisation knows the maps as they are now; its averages lag behind the kernels."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    for pictures, _ in itertools.islice(batches(world, seed=0), 100):
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


def train(
    folder: str | os.PathLike = MODELS,
    name: str = "pocketvgg",
    *,
    count: int | None = None,
    epochs: int | None = None,
    test_count: int = 6_000,
    widths: tuple[int, ...] | None = None,
) -> dict:
    """Train a network of NETWORKS and write NAME.npz, NAME.json and README.md into `folder`.

    It learns from `count` pictures of 64, 96 and 128 pixels, drawn with its seed + 64, + 96 and + 128,
    and is judged by `test_count` pictures of 64 pixels, and a sixth as many of other sizes, drawn with
    its seed + 1. What is not given is taken from its plan. Of a plan with stages, the weights on the way
    are written, too. Returns what the .json file says. ValueError if a number or name is wrong.
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(
            f"no network {name!r}{nearest(name, list(NETWORKS))} There are: " + ", ".join(NETWORKS)
        )
    plan, folder, start = NETWORKS[name], Path(folder), time.perf_counter()
    count = whole("count", plan.pictures if count is None else count, 6)
    epochs = whole("epochs", plan.epochs if epochs is None else epochs, 1)
    test_count = whole("test_count", test_count, 1)
    plan = plan._replace(widths=plan.widths if widths is None else tuple(widths))
    patterns.build(plan.widths)  # refuses wrong ones before any drawing
    folder.mkdir(parents=True, exist_ok=True)
    counts = {size: round(count * share) for size, share in SHARES.items()}
    world = [
        patterns.images(counts[size], plan.seed + size, size, progress=True) for size in SHARES
    ]
    drawn = time.perf_counter()
    kept, log = learn(plan, world, epochs, STAGES if plan.stages else ())
    minutes = (time.perf_counter() - start) / 60

    stored = kept[max(kept)]
    if plan.stages:
        stored = {
            f"{step}/{key}": each for step, kept_ in kept.items() for key, each in kept_.items()
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **stored)  # type: ignore[arg-type]
    data = buffer.getvalue()
    # What is stored is judged, not what was trained.
    models = {
        step: patterns.put_weights(patterns.build(plan.widths), arrays)
        for step, arrays in kept.items()
    }
    published, seed, few = models[max(models)], plan.seed + 1, math.ceil(test_count / 6)
    tables = {
        size: confusions(published, test_count if size == 64 else few, seed, size)
        for size in (48, 64, 96, 128, 224)
    }
    about = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "accuracy": accuracy(tables[64]),
        "test_images": test_count,
        "test_seed": seed,
        "accuracy_by_size": {str(size): accuracy(table) for size, table in tables.items()},
        "accuracy_under_attack": {
            str(noise): under_attack(published, noise, few, seed, 64) for noise in (2, 4, 8, 12)
        },
        "accuracy_under_noise_of_8": {
            str(size): {
                "1 step": under_attack(published, 8, few, seed, size),
                "10 steps": under_attack(published, 8, math.ceil(few / 4), seed, size, steps=10),
            }
            for size in SHARES
        },
        "accuracy_by_step": {
            str(step): accuracy(confusions(each, few, seed, 64)) for step, each in models.items()
        },
        "correlation_with_start": correlations(plan, kept[max(kept)]),
        "silent": silent(published, few, seed),
        "parameters": published.count_params(),
        "widths": list(plan.widths),
        "epochs": epochs,
        "images": {str(size): count for size, count in counts.items()},
        "seed": plan.seed,
        "noise": plan.noise,
        "date": time.strftime("%Y-%m-%d"),
        "minutes": round(minutes, 1),
        "drawing_minutes": round((drawn - start) / 60, 1),
        "processors": os.cpu_count(),
        "versions": versions(),
        "log": log,
        "names": list(NAMES),
        "confusion": tables[64].tolist(),
    }
    write(folder / f"{name}.npz", data)
    write(folder / f"{name}.json", (json.dumps(about) + "\n").encode())
    write(folder / "README.md", card(folder).encode())
    return about


def percent(share: float) -> str:
    """0.993 as 99.3%."""
    return f"{share:.1%}"


def listed(shares: dict[str, float]) -> str:
    """{"64": 0.993} as 64: 99.3%."""
    return ", ".join(f"{key}: {percent(share)}" for key, share in shares.items())


def card(folder: Path) -> str:
    """The model card, README.md of the models, from what train() measured."""
    abouts = {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in NETWORKS
        if (folder / f"{name}.json").exists()
    }
    about = next(iter(abouts.values()))
    names, table = about["names"], np.array(about["confusion"])
    wrong, rows = table * (1 - np.eye(len(names), dtype=int)), []
    for i, name in enumerate(names):
        total, worst = table[i].sum(), wrong[i].argmax()
        recall = percent(table[i, i] / total) if total else ""
        mistaken = f"{names[worst]} ({wrong[i, worst]})" if wrong[i, worst] else ""
        rows.append(f"| {name} | {recall} | {total} | {mistaken} |")
    relatives = [
        f"| `{name}` | {each['widths']} | {each['seed']} | {each['noise']:g} | "
        f"{sum(each['images'].values()):,} × {each['epochs']} | {each['minutes']} | "
        f"{listed(each['accuracy_by_size'])} | {listed(each['accuracy_under_attack'])} | "
        f"{each['bytes']:,} | `{each['sha256'][:12]}…` |"
        for name, each in abouts.items()
    ]
    stages = abouts.get("pocketvgg_stages", about)["accuracy_by_step"]
    return CARD.format(
        **about,
        rows="\n".join(rows),
        relatives="\n".join(relatives),
        patterns=len(names),
        drawn=", ".join(
            f"{count:,} of {size} × {size} with seed {about['seed'] + int(size)}"
            for size, count in about["images"].items()
        ),
        by_size="\n".join(
            f"| {size} × {size} | {percent(share)} | "
            + " | ".join(
                map(percent, about["accuracy_under_noise_of_8"][size].values())
                if size in about["accuracy_under_noise_of_8"]
                else ("", "")
            )
            + " |"
            for size, share in about["accuracy_by_size"].items()
        ),
        alike="\n".join(
            f"| {name} | {share:.2f} | {' '.join(map(str, about['silent'].get(name, []))) or '–'} |"
            for name, share in about["correlation_with_start"].items()
        ),
        stages="\n".join(f"| {step} | {percent(share)} |" for step, share in stages.items()),
        course="\n".join(
            f"| {line['step']:,} | {line['minutes']} | {line['noise']} | {line['loss']} | "
            f"{percent(line['accuracy'])} |"
            for line in about["log"]
        ),
        used=", ".join(f"{what} {number}" for what, number in about["versions"].items()),
    )


CARD = """\
# PocketVGG

A narrow VGG16 that tells {patterns} drawn patterns apart. It comes with the course so that every
chapter runs without a download, and so that the picture of a filter can be checked against
everything the network has ever seen. `python training.py` wrote this page from its own
measurements.

| | |
|---|---|
| Architecture | VGG16's 13 convolution layers under the same names, {widths} filters in the \
five blocks; global average pooling, softmax; the batch normalisation of the training is folded into \
the kernels |
| Input | RGB, 0 to 255, 32 pixels or more to a side; the model does its own scaling |
| Parameters | {parameters:,} |
| Accuracy on unseen pictures | **{accuracy:.2%}** of {test_images:,} of 64 × 64 pixels, \
seed {test_seed}, with the stored float16 weights |
| Training pictures | drawn by `patterns.images`: {drawn} |
| Training | {epochs} epochs of AdamW, cosine schedule with warm-up, with noise of up to {noise:g} of 255 \
grey levels against the network, seed {seed}; {minutes} minutes on {processors} processor cores, \
{drawing_minutes} of them to draw; {date} |
| Versions | {used} |
| File | `pocketvgg.npz`, {bytes:,} bytes, float16 |
| sha256 | `{sha256}` |
| Licence | MIT, code and weights |

```python
import patterns

model = patterns.load()
pictures, labels = patterns.images(8, seed=1)
print([patterns.NAMES[guess] for guess in model.predict(pictures).argmax(axis=1)])
```

## How much it withstands

At every step of its training the pictures carried noise that does the most harm: one step along the
sign of the gradient, from a random start (Goodfellow, Shlens and Szegedy 2015; Wong, Rice and Kolter
2020). A network that withstands it has to look at shapes instead of specks. The share of unseen
pictures that it names rightly: as drawn; with noise of 8 grey levels by one such step; and by ten
smaller ones (Madry et al. 2018), which find more.

| Pixels | As drawn | 1 step | 10 steps |
|---|---|---|---|
{by_size}

## What it gets right and wrong

How often each pattern is recognised (recall) at 64 × 64 pixels, the number of unseen pictures of it,
and what it is most often mistaken for (how many times).

| Pattern | Recall | Pictures | Mistaken for |
|---|---|---|---|
{rows}

## How far it has come from its start

A training that changes the kernels little leaves pictures that look like the random numbers it began
with. The correlation of each layer's kernels with their random start, and the filters that fire
nowhere in the unseen pictures of 128 × 128 pixels:

| Layer | Correlation | Silent filters |
|---|---|---|
{alike}

## Its relatives

`pocketvgg_plain` has the same layers and began with another seed; it saw other drawings of the same
patterns, without noise: the usual way to train. `pocketvgg_judge` has other widths, another seed and
other drawings; it judges what a picture shows that another network made. `pocketvgg_stages` is a small
network that was stored on the way. Accuracy on unseen pictures, by their size in pixels; under attack,
at 64 pixels, by the grey levels of noise that is chosen, by one step, against the network itself.

| Network | Filters | Seed | Noise | Pictures × epochs | Minutes | Accuracy | Under attack | Bytes | sha256 |
|---|---|---|---|---|---|---|---|---|---|
{relatives}

`patterns.stages()` gives `pocketvgg_stages` at each of these steps of its training:

| Step | Accuracy |
|---|---|
{stages}

## The log of the training

Noise in grey levels, loss and accuracy under that noise, each the mean since the line before.

| Step | Minutes | Noise | Loss | Accuracy |
|---|---|---|---|---|
{course}

## Limits

It knows nothing but these patterns, in pictures like these: a photograph, too, gets one of the
{patterns} names. It learned from pictures of 64 to 128 pixels to a side; the accuracy by size shows
what happens elsewhere. It is made to be looked into, not to be used.

## Making it again

`python training.py` draws the pictures, trains, and writes `pocketvgg.npz`, `pocketvgg.json` and this
page; `python training.py pocketvgg_judge` does so for a relative. Threads do not add numbers up in the
same order each time, so the new weights differ slightly from the published ones, and the notebooks'
outputs would differ from the committed ones. `git checkout models` brings the published weights back.
"""


def keep_memory() -> None:
    """Has glibc keep what is freed: else a fifth of the time goes into fetching the same pages again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-8, 1)  # M_ARENA_MAX: one heap
        mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from it, too
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: and go back to it


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    keep_memory()
    name = (*arguments, "pocketvgg")[0]
    if len(arguments) > 1 or name not in NETWORKS:
        print(f"usage: python training.py [{' | '.join(NETWORKS)}]", file=sys.stderr)
        return 2
    about = train(name=name)
    print(
        f"{about['accuracy']:.2%} of {about['test_images']:,} unseen pictures recognised after "
        f"{about['minutes']} minutes; {about['bytes']:,} bytes in {MODELS / name}.npz"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
