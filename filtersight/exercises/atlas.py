"""Tests of the exercises of chapter 13: the atlas."""

from __future__ import annotations

import numpy as np

from filtersight.basics.exercises import exercise, require_close


@exercise(
    "13.1", hint="Look at the order of all pictures. At which place does the picture itself stand?"
)
def nearest(answer):
    points = np.array([[3.0, 0], [0, 0], [9, 9], [0, 0], [1, 1], [-6, 2], [0, 0.5]])
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    for number, count in ((4, 3), (3, 4), (2, 2)):
        others = [each for each in range(len(points)) if each != number]
        right = sorted(others, key=lambda each: apart[number, each])[:count]
        same = " (1 and 3 are exactly the same)" if number == 3 else ""
        require_close(
            answer(apart, number, count),
            np.array(right),
            f"Of 7 pictures{same} the {count} that are nearest to number {number}: yours",
        )


@exercise("13.2", hint="Follow a filter to its partner, and from there back. Where do you arrive?")
def mutual(answer):
    rng = np.random.default_rng(13)
    for ours, theirs, shared in ((7, 5, 3), (5, 8, 2), (6, 7, 5)):
        mine, other = rng.normal(size=(40, ours)), rng.normal(size=(40, theirs))
        # Some filters are in both networks, in another order and on another scale.
        places = rng.permutation(theirs)
        copies = places[:shared]
        other[:, copies] = 5 * mine[:, :shared] + 0.3 * rng.normal(size=(40, shared)) + 9
        # The best partner of our last filter likes our filter 1 better, which has a better one.
        third = places[shared]
        other[:, third] = mine[:, 1] + 0.4 * other[:, third]
        mine[:, -1] = other[:, third] + 0.9 * mine[:, -1]
        table = np.corrcoef(mine.T, other.T)[:ours, ours:]
        right = sum(
            table[one, two] == table[one].max() == table[:, two].max()
            for one in range(ours)
            for two in range(theirs)
        )
        require_close(
            answer(mine, other), int(right), f"The number for {ours} filters and {theirs} others"
        )


@exercise(
    "13.3", hint="What is left of a filter that answers to each pattern with one fixed number?"
)
def inside_patterns(answer):
    rng = np.random.default_rng(31)
    labels = np.array([7, 2, 7, 5, 2, 7, 7, 5, 2])
    answers = rng.uniform(0, 4, (9, 3))
    answers[:, 2] = labels
    before = answers.copy()
    right = np.empty_like(before)
    for place, label in enumerate(labels):
        right[place] = before[place] - np.mean([before[labels == label]], axis=(0, 1))
    what = "For 9 images of the patterns 2, 5 and 7 and 3 filters the result"
    require_close(answer(answers, labels), right, what, absolute=1e-9)
    require_close(answers, before, "After your function was called, the array that it was given")
