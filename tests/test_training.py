"""How PocketVGG and its relatives are trained, and what is said of them, measured again."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from filtersight.training import learn, specialise, train  # noqa: E402
from filtersight.world import patterns, pocketvgg  # noqa: E402

TINY = pocketvgg.Plan((4, 5, 6, 7, 8), seed=50, noise=6)


def about(name):
    return json.loads((ROOT / "filtersight/world/weights" / f"{name}.json").read_text())


def at_most_by_chance(share, count):
    """How far a share of `count` may lie below `share` by chance, about once in a thousand times."""
    return 3 * math.sqrt(share * (1 - share) / count)


# ---------------------------------------------------------------- folding


def test_a_folded_network_answers_as_the_trained_one():
    model = learn.normalised(TINY)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            count = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.5, 2, count),
                    rng.uniform(0, 1, count),
                    rng.normal(0, 0.1, count),
                    rng.uniform(0.01, 0.05, count),
                ]
            )
    images = patterns.images(6, seed=2, size=64)[0].astype(np.float32)
    arrays = learn.folded(model)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
    published = pocketvgg.put_weights(pocketvgg.build(TINY.widths), arrays)
    expected = tf.nn.softmax(model(images, training=False)).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01, "the answers differ from image to image"
    assert np.allclose(published(images), expected, atol=0.01)
    values = learn.logits(published)(images).numpy()
    assert np.allclose(tf.nn.softmax(values), published(images), atol=1e-5)


def test_a_settled_copy_knows_its_maps_and_leaves_the_original_alone():
    model = learn.normalised(TINY)
    before = [weight.numpy().copy() for weight in model.weights]
    world = {64: patterns.images(128, seed=4, size=32)}  # smaller, which takes less time
    copy = learn.settled(model, world)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.weights, strict=True))
    first = keras.Model(copy.inputs[0], copy.get_layer("block1_conv1").output)
    maps = first(world[64][0].astype(np.float32)).numpy()
    norm = copy.get_layer("block1_conv1_norm")
    assert np.allclose(norm.moving_mean, maps.mean(axis=(0, 1, 2)), atol=0.02)
    assert np.allclose(norm.moving_variance, maps.var(axis=(0, 1, 2)), rtol=0.1)


# ---------------------------------------------------------------- noise


def line(images):
    """A network of two classes whose gradient is known: bright wins for 0, dark for 1."""
    brightness = tf.reduce_mean(images, axis=(1, 2, 3))
    return tf.stack([brightness, -brightness], axis=1) / 50


@pytest.mark.parametrize("steps", [1, 10])
def test_noise_goes_where_it_harms_and_no_further(steps):
    images = np.full((2, 4, 4, 3), 128, np.uint8)
    images[1, 0, 0] = (3, 254, 128)  # at the ends of the range there is less room
    labels = np.array([0, 1])
    noisy = learn.attacked(
        lambda some: learn.cross_entropy(line(some), labels),
        images,
        8.0,
        keras.random.SeedGenerator(1),
        steps,
    ).numpy()
    change = noisy - images
    assert np.abs(change).max() <= 8.0001 and noisy.min() >= 0 and noisy.max() <= 255
    # Class 0 is harmed by darkness, class 1 by light; from any start, nearly all pixels get there.
    assert np.median(change[0]) == pytest.approx(-8, abs=0.01)
    assert np.median(change[1]) == pytest.approx(8, abs=0.01)


def test_noise_is_the_same_for_the_same_seed_only():
    images, labels = patterns.images(4, seed=1, size=64)
    network = learn.logits(pocketvgg.build(TINY.widths))

    def loss(some):
        return learn.cross_entropy(network(some), labels)

    made = [
        learn.attacked(loss, images, 8.0, keras.random.SeedGenerator(seed)).numpy()
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    model = pocketvgg.build(TINY.widths)
    attack = learn.under_attack(model)
    shares = [each(8, 60, seed=5, size=64) for each in (attack, attack, learn.under_attack(model))]
    assert shares[0] == shares[1] == shares[2]


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("name", ["pocketvgg", "pocketvgg_stages"])
def test_a_short_training_writes_files_that_load(tmp_path, name, monkeypatch):
    monkeypatch.setattr(learn, "SETTLING", 10)
    monkeypatch.setattr(specialise, "STEPS", 10)
    policy = keras.config.dtype_policy().name
    folder = tmp_path / "new" / "models"
    facts = train.train(folder, name, count=135, epochs=2, test_count=90, widths=(4, 4, 4, 4, 4))
    assert keras.config.dtype_policy().name == policy
    files = sorted(file.name for file in folder.iterdir())
    assert files == ["README.md", f"{name}.json", f"{name}.npz"]
    assert json.loads((folder / f"{name}.json").read_text()) == facts
    assert facts["noise"] == pocketvgg.NETWORKS[name].noise
    assert facts["log"][-1]["step"] == 2 * 4 and facts["log"][-1]["noise"] == facts["noise"]
    assert facts["log"][0]["noise"] == 0, "from the start it would learn nothing"
    chosen = pocketvgg.NETWORKS[name].specialised
    assert [line["step"] for line in facts["end"]] == (list(range(1, 11)) if chosen else [])
    model = pocketvgg.load(folder / f"{name}.npz")
    assert model.name == name
    pictures, labels = patterns.images(90, facts["test_seed"])
    right = (model.predict(pictures, verbose=0).argmax(axis=1) == labels).sum()
    assert abs(right / 90 - facts["accuracy"]) <= 1.5 / 90  # a tie may fall either way
    assert model.count_params() == facts["parameters"]


def test_a_network_that_does_not_exist_is_not_trained(tmp_path):
    with pytest.raises(ValueError, match="no network 'pocketvg'; did you mean 'pocketvgg'"):
        train.train(tmp_path, "pocketvg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, words", [({"count": 0}, ["count", "0"]), ({"epochs": 0.5}, ["epochs", "0.5"])]
)
def test_a_bad_number_is_refused_before_any_drawing(tmp_path, options, words):
    with pytest.raises(ValueError) as caught:
        train.train(tmp_path, **options)
    assert all(word in str(caught.value) for word in words)
    assert not list(tmp_path.iterdir())


USAGE = f"usage: python -m filtersight.training [{' | '.join(pocketvgg.NETWORKS)}]"


@pytest.mark.parametrize("arguments", [["trian"], ["pocketvgg", "now"], ["--help"]])
def test_an_unknown_command_line_gets_one_line_of_usage(arguments, capsys, monkeypatch):
    monkeypatch.setattr(train, "keep_memory", lambda: None)  # which holds for the whole process
    assert train.main(arguments) == 2
    assert capsys.readouterr() == ("", USAGE + "\n")


def test_the_command_is_that_of_the_module():
    result = subprocess.run(
        [sys.executable, "-m", "filtersight.training", "trian"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.strip().splitlines()[-1] == USAGE


# ---------------------------------------------------------------- the end of a training


def test_the_spread_of_answers_over_patterns():
    labels = np.repeat(np.arange(len(patterns.NAMES)), 2)
    maps = np.zeros((len(labels), 2, 3, len(patterns.NAMES)), np.float32)
    maps[np.arange(len(labels)), 0, 0, labels] = 5  # each filter answers to a pattern of its own
    share = specialise.shares(tf.constant(maps), tf.constant(labels))
    assert np.allclose(share, np.eye(len(patterns.NAMES)), atol=1e-4)
    few, everywhere = specialise.spread(share)
    assert float(few) == pytest.approx(0, abs=1e-3)
    assert float(everywhere) == pytest.approx(math.log(len(patterns.NAMES)), abs=1e-3)
    # Filters that answer to the same two patterns alike, whatever their strength and whatever the number
    # of pictures of each.
    labels = np.array([3, 3, 3, 8, 20])
    maps = np.zeros((5, 2, 2, 2), np.float32)
    maps[:4, ..., 0], maps[:4, ..., 1] = 1, 40
    few, everywhere = specialise.spread(specialise.shares(tf.constant(maps), tf.constant(labels)))
    assert [float(few), float(everywhere)] == pytest.approx([math.log(2)] * 2, abs=1e-3)


def test_every_pattern_gets_filters_that_prefer_it_if_it_can():
    rng = np.random.default_rng(4)
    share = rng.uniform(0, 1, (5, 12))
    share[2, :] = 2  # all twelve prefer the third pattern, and cannot all have it
    share[2, 7] = share[2, 9] = 4
    assigned = specialise.assignment(share)
    assert assigned.shape == (5, 3) and set(assigned.ravel()) == set(range(12))
    sizes = [len(set(row)) for row in assigned]
    assert sorted(sizes) == [2, 2, 2, 3, 3] and sum(sizes) == 12, "no filter has two patterns"
    assert sizes[2] == 3 and {7, 9} <= set(assigned[2])
    assert specialise.assignment(share[:, :10]).shape == (5, 2)
    few = specialise.assignment(share[:, :2])  # fewer filters than patterns
    assert few.shape == (5, 1) and set(few.ravel()) == {0, 1}


@pytest.mark.parametrize("shape", [(2, 3), (5, 1)])
def test_how_little_the_right_filter_stands_out(shape):
    count = len(patterns.NAMES)
    labels, assigned = np.arange(count), np.arange(2 * count).reshape(count, 2)
    chance = keras.random.SeedGenerator(3)

    def strays(answers):
        maps = np.broadcast_to(answers[:, None, None], (len(answers), *shape, 2 * count))
        return float(specialise.astray(tf.constant(maps, tf.float32), labels, assigned, chance))

    own = np.repeat(np.eye(count), 2, axis=1)
    assert strays(7 * own) == pytest.approx(0, abs=0.01)
    assert strays(np.ones_like(own)) == pytest.approx(math.log(count), abs=0.06)
    # The first filter of each pattern answers to all others, too. About half of the drawn ones are such.
    other = np.where(np.arange(2 * count) % 2, 0, 1 / (count - 1)) * np.ones_like(own)
    found = [strays(np.where(own, 1, other)) for _ in range(40)]
    assert np.mean(found) == pytest.approx(math.log(1.5), abs=0.05)
    assert min(found) < max(found) and all(0.15 < each < 0.6 for each in found), "a lot for each"


def test_noise_may_differ_from_picture_to_picture():
    images, strengths = np.full((3, 4, 4, 3), 128, np.uint8), np.array([0, 2, 6], np.float32)
    noisy = learn.attacked(
        tf.reduce_sum, images, strengths[:, None, None, None], keras.random.SeedGenerator(1)
    ).numpy()
    for change, strength in zip(noisy - images, strengths, strict=True):
        assert (
            np.median(change) == pytest.approx(strength) and np.abs(change).max() <= strength + 1e-4
        )


def test_at_the_end_filters_get_patterns_of_their_own(monkeypatch):
    monkeypatch.setattr(specialise, "STEPS", 40)
    monkeypatch.setattr(specialise, "OWN", 1)
    monkeypatch.setattr(specialise, "DECAY", 0)  # what changes then has a gradient
    plan = pocketvgg.NETWORKS["pocketvgg_judge"]
    start = pocketvgg.load(ROOT / "filtersight/world/weights" / "pocketvgg_judge.npz")
    before = {
        name: np.asarray(each).astype(np.float16)
        for name, each in pocketvgg.named_weights(start).items()
    }
    world = {64: patterns.images(450, seed=6, size=64)}
    after, log = specialise.specialise(plan, before, world)
    kept = {"block1_conv1.kernel", "block1_conv1.bias"}
    assert kept == {name for name in before if np.array_equal(before[name], after[name])}
    assert log[0]["noise"] < log[-1]["noise"] == plan.noise * specialise.STRONGER
    assert log[-1]["patterns"][1] < log[0]["patterns"][1]

    def shares(arrays, pictures, labels):
        network = pocketvgg.put_weights(pocketvgg.build(plan.widths), arrays)
        maps = keras.Model(network.inputs[0], network.get_layer("block5_conv3").output)
        return specialise.shares(maps.predict(pictures, verbose=0), labels).numpy()

    assigned = specialise.assignment(shares(before, *world[64]))  # as in the training
    unseen = patterns.images(450, seed=7, size=64)
    own = [
        np.take_along_axis(shares(each, *unseen), assigned, axis=1).mean()
        for each in (before, after)
    ]
    assert own[1] > 1.2 * own[0]


# ---------------------------------------------------------------- what the card says


@pytest.fixture(scope="module")
def attack(model):
    return learn.under_attack(model)


@pytest.mark.parametrize("size", [64, 96, 128])
def test_the_network_names_unseen_pictures_with_and_without_noise(size, model, attack):
    count, floor = 180, 0.96  # four of each pattern
    pictures, labels = patterns.images(count, seed=20_000, size=size)
    right = np.mean(model.predict(pictures, verbose=0).argmax(axis=1) == labels)
    stated = about("pocketvgg")
    assert stated["accuracy_by_size"][str(size)] >= 0.993
    assert right >= 0.993 - at_most_by_chance(0.993, count)
    under_noise = attack(8, count, seed=20_001, size=size)
    assert stated["accuracy_under_noise_of_8"][str(size)]["1 step"] >= floor
    assert under_noise >= floor - at_most_by_chance(floor, count)


@pytest.mark.parametrize("name", pocketvgg.NETWORKS)
def test_the_kernels_have_left_their_random_start(name):
    plan, facts = pocketvgg.NETWORKS[name], about(name)
    start, end = (
        learn.normalised(plan),
        pocketvgg.load(ROOT / "filtersight/world/weights" / f"{name}.npz"),
    )
    for layer, stated in facts["correlation_with_start"].items():
        a, b = (np.ravel(each.get_layer(layer).kernel) for each in (start, end))
        a, b = a - a.mean(), b - b.mean()
        found = float(a @ b / np.sqrt((a @ a) * (b @ b)))
        assert found == pytest.approx(stated, abs=0.002)
        if name == "pocketvgg":
            assert found <= (0.5 if layer == "block1_conv1" else 0.3)


def test_hardly_any_filter_never_fires(model):
    pictures, _ = patterns.images(400, seed=20_002, size=128)
    names = [layer.name for layer in model.layers if "conv" in layer.name]
    maps = keras.Model(model.inputs[0], [model.get_layer(name).output for name in names])
    answers = maps.predict(pictures, batch_size=50, verbose=0)
    silent = sum(int((each.max(axis=(0, 1, 2)) <= 0).sum()) for each in answers)
    total = sum(each.shape[-1] for each in answers)
    assert silent <= 0.01 * total


def test_what_withstands_noise_and_what_does_not():
    shares = {
        name: learn.under_attack(
            pocketvgg.load(ROOT / "filtersight/world/weights" / f"{name}.npz")
        )(8, 200, seed=20_003, size=64)
        for name in ("pocketvgg", "pocketvgg_plain", "pocketvgg_judge")
    }
    assert min(shares["pocketvgg"], shares["pocketvgg_judge"]) > 0.9
    assert shares["pocketvgg_plain"] < 0.4


def test_deep_filters_answer_to_few_patterns(model):
    """In numpy, on other pictures."""
    pictures, labels = patterns.images(900, seed=20_005, size=96)
    maps = keras.Model(model.inputs[0], model.get_layer("block5_conv3").output)
    answers = maps.predict(pictures, batch_size=50, verbose=0).mean(axis=(1, 2))
    means = np.stack(
        [answers[labels == label].mean(axis=0) for label in range(len(patterns.NAMES))]
    )
    shares = means[:, means.sum(axis=0) > 0]
    shares = shares / shares.sum(axis=0)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=0)
    assert np.median(np.exp(entropy)) < 2
    assert len(set(shares.argmax(axis=0))) >= 0.9 * len(patterns.NAMES)


def test_the_networks_are_independent():
    plans = pocketvgg.NETWORKS
    drawn = [{plan.seed + size for size in (0, 1, *learn.SHARES)} for plan in plans.values()]
    assert len(set.union(*drawn)) == sum(map(len, drawn)), "no two share a seed"
    assert not set.union(*drawn) & {0, 5, 123}, "nor with the real images of the course"
    widths = plans["pocketvgg"].widths
    assert plans["pocketvgg_plain"].widths == widths
    assert all(a != b for a, b in zip(plans["pocketvgg_judge"].widths, widths, strict=True))
    networks = [
        pocketvgg.load(ROOT / "filtersight/world/weights" / f"{name}.npz")
        for name in ("pocketvgg", "pocketvgg_plain")
    ]
    # From one start or one sequence of drawings they would stay alike: 0.4 and less at the end, by
    # the card. What nothing in common gives is tried with the filters of one in random order.
    rng = np.random.default_rng(0)
    for layer in learn.convolutions():
        one, other = (each.get_layer(layer).kernel.numpy() for each in networks)

        def alike(kernels, one=one):
            return np.corrcoef(one.ravel(), kernels.ravel())[0, 1]

        chance = [alike(other[..., rng.permutation(other.shape[-1])]) for _ in range(200)]
        assert abs(alike(other)) < 4 * np.std(chance), layer


def test_the_stages_lead_from_the_random_start_to_a_trained_network():
    facts, plan = about("pocketvgg_stages"), pocketvgg.NETWORKS["pocketvgg_stages"]
    assert facts["bytes"] <= 1_000_000
    models = pocketvgg.stages()
    steps = list(models)
    assert 8 <= len(steps) <= 10 and steps[0] == 0 and steps == sorted(steps)
    start = np.ravel(learn.normalised(plan).get_layer("block3_conv1").kernel)
    alike = [
        np.corrcoef(start, np.ravel(each.get_layer("block3_conv1").kernel))[0, 1]
        for each in models.values()
    ]
    assert alike[0] > 0.99 and alike == sorted(alike, reverse=True)
    pictures, labels = patterns.images(450, seed=20_004)
    rights = [
        np.mean(each.predict(pictures, verbose=0).argmax(axis=1) == labels)
        for each in models.values()
    ]
    assert rights[0] < 0.1 and rights == sorted(rights) and rights[-1] > 0.9
    last = pocketvgg.load(ROOT / "filtersight/world/weights" / "pocketvgg_stages.npz")
    assert np.array_equal(last(pictures[:5]), models[steps[-1]](pictures[:5]))
