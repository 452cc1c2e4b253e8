"""Tests of the exercises of chapters 6 and 7: clear pictures, and what to ask for."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from filtersight.basics.exercises import exercise, require, require_close

# ---------------------------------------------------------------- 6, clear pictures


@exercise("6.1", hint="Left and right are along the third axis; one random number decides for all.")
def mirror(answer):
    rng = np.random.default_rng(6)
    images = rng.uniform(0, 255, (3, 10, 14, 3)).astype(np.float32)
    ways = {"as they are": images, "mirrored": np.flip(images, axis=2)}
    counts = dict.fromkeys(ways, 0)
    for seed in rng.integers(0, 2**31 - 1, (100, 2), dtype=np.int32):
        seen = np.asarray(answer(tf.constant(images), tf.constant(seed)))
        require(
            seen.shape == images.shape,
            f"Images of shape {images.shape} came back as {seen.shape}.",
        )
        found = [name for name, way in ways.items() if np.array_equal(seen, way)]
        require(
            found,
            f"With the seed {seed.tolist()}, three images came back neither all as they were nor all "
            "with left and right exchanged.",
        )
        counts[found[0]] += 1
    again = [np.asarray(answer(tf.constant(images), tf.constant([7, 1]))) for _ in range(8)]
    require(
        all(np.array_equal(each, again[0]) for each in again),
        "The same seed does not always give the same result.",
    )
    often = ", ".join(f"{count} times {name}" for name, count in counts.items())
    require(
        min(counts.values()) >= 30,
        f"With 100 seeds the images came back {often}; that is not about half and half.",
    )


@exercise("6.2", hint="Each image has its own factor, and no factor is above 1.")
def bounded(answer):
    rng = np.random.default_rng(2)
    heights = rng.normal(0, 1, (4, 8, 12, 3)) * np.array([0.5, 3.0, 1.4, 9.0])[:, None, None, None]
    heights[1] += 2  # a mean, which is no contrast
    heights = np.concatenate([heights, np.full((1, 8, 12, 3), 2.0)]).astype(np.float32)
    for limit in (1.5, 0.8):
        given = np.asarray(answer(tf.constant(heights), limit))
        require(
            given.shape == heights.shape,
            f"Heights of shape {heights.shape} came back as {given.shape}.",
        )
        for number, (image, mine) in enumerate(zip(heights, given, strict=True)):
            contrast = float(np.std(image.astype(np.float64)))
            right = image * (limit / contrast) if contrast > limit else image
            what = (
                f"Of five images with limit {limit}, number {number} has the standard deviation "
                f"{contrast:.2f} and comes back with {float(np.std(mine)):.2f}. It"
            )
            require_close(mine, right, what, absolute=1e-4)


@exercise("6.3", hint="Try it on stripes, and on an even colour: what should come back?")
def without_grain(answer):
    side = 48
    place = np.arange(side) * 2 * np.pi
    waves = {length: np.cos(place / length) for length in (3, 4, 6, 12)}
    zeros = np.zeros((side, side))
    even = np.ones((side, side, 3)) * [90.0, 130.0, 170.0]

    def tried(shortest, kept, gone, what):
        picture = even + 20 * np.stack(kept, -1) + 20 * np.stack(gone, -1)
        asked = f"{what}, with shortest {shortest}: what comes back"
        require_close(answer(picture, shortest), even + 20 * np.stack(kept, -1), asked, 0.001, 0.05)

    down = {length: np.tile(wave[:, None], (1, side)) for length, wave in waves.items()}
    # Down and across at once, a wave is shorter than in either direction.
    both = {length: np.cos((place[:, None] + place) / length) for length in (6, 12)}
    tried(4, [down[6]] * 3, [zeros] * 3, "Stripes 6 pixels long")
    tried(4, [zeros] * 3, [down[3]] * 3, "Stripes 3 pixels long")
    tried(8, [down[12].T] * 3, [down[6].T] * 3, "Stripes 12 and 6 pixels long, side by side")
    tried(5, [both[12]] * 3, [both[6]] * 3, "Diagonal stripes 8.5 and 4.2 pixels long")
    tried(
        5, [down[6], zeros, zeros], [zeros, down[4], zeros], "Red and green stripes, 6 and 4 long"
    )


# ---------------------------------------------------------------- 7, what to ask for


@exercise("7.1", hint="Into how many strips do the rows of the map cut the picture?")
def neuron_over(answer):
    rng = np.random.default_rng(71)
    for rows, columns, number, down, right in (
        (6, 6, 2, 0.5, 0.5),
        (6, 9, 0, 0.3, 0.95),
        (12, 5, 3, 0.0, 0.55),
        (7, 7, 4, 0.99, 0.1),
    ):
        maps = rng.normal(size=(2, rows, columns, 5)).astype(np.float32)
        asked = f"of filter {number} over ({down}, {right}), in maps of {rows} × {columns} values,"
        objective = answer(number, down, right)
        require(callable(objective), "The answer should be a function of maps, as channel(3) is.")
        right_ones = maps[:, int(np.floor(down * rows)), int(np.floor(right * columns)), number]
        require_close(objective(tf.constant(maps)), right_ones, f"The objective {asked}")


@exercise("7.2", hint="Which number in a row of the table of cosines must not be looked at?")
def most_alike(answer):
    rng = np.random.default_rng(72)
    for count, rows, columns, filters in ((2, 3, 4, 2), (3, 5, 4, 6), (5, 4, 4, 8)):
        maps = rng.normal(size=(count, rows, columns, filters)).astype(np.float32)
        maps *= rng.uniform(0.5, 2, (count, 1, 1, filters)).astype(np.float32)
        if count == 5:
            maps[3] = 3 * maps[0, ::-1]  # upside down and stronger: the same texture
        flat = maps.reshape(count, -1, filters).astype(np.float64)
        grams = np.stack([(each.T @ each).ravel() for each in flat])
        grams /= np.linalg.norm(grams, axis=1, keepdims=True)
        others = [np.delete(grams, place, axis=0) @ grams[place] for place in range(count)]
        what = f"For {count} images with maps of {rows} × {columns} values of {filters} filters, it"
        require_close(answer(tf.constant(maps)), [each.max() for each in others], what)


@exercise("7.3", hint="What is the chance that the first draw and the second both are stripes?")
def effective_count(answer):
    for labels, right in (
        ([4, 4, 4, 4], 1.0),
        ([3, 1, 4, 0, 9, 2], 6.0),
        ([7] * 19 + [2], 400 / 362),
        ([0, 0, 0, 5, 5, 8], 36 / 14),
    ):
        given = np.array(labels)
        require_close(answer(given), right, f"The effective number for labels {labels}")
