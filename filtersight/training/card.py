"""The model card."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from filtersight.world.pocketvgg import NETWORKS


def percent(share: float) -> str:
    """0.993 as 99.3%."""
    return f"{share:.1%}"


def listed(shares: dict[str, float]) -> str:
    """{"64": 0.993} as 64: 99.3%."""
    return ", ".join(f"{key}: {percent(share)}" for key, share in shares.items())


def card(folder: Path) -> str:
    """The model card, README.md of the models, from what train() measured."""
    abouts = {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in NETWORKS
        if (folder / f"{name}.json").exists()
    }
    about = next(iter(abouts.values()))
    stages = abouts.get("pocketvgg_stages", about)["accuracy_by_step"]
    return CARD.format(
        **about,
        more=about["end"][-1]["step"] if about["end"] else 0,
        stronger=about["end"][-1]["noise"] if about["end"] else about["noise"],
        rows=table_of_patterns(about),
        relatives=table_of_relatives(abouts),
        patterns=len(about["names"]),
        drawn=", ".join(
            f"{count:,} of {size} × {size} with seed {about['seed'] + int(size)}"
            for size, count in about["images"].items()
        ),
        by_size=table_of_sizes(about),
        alike=rows(
            (name, f"{share:.2f}", " ".join(map(str, about["silent"].get(name, []))) or "–")
            for name, share in about["correlation_with_start"].items()
        ),
        stages=rows((step, percent(share)) for step, share in stages.items()),
        course=rows(
            (f"{each['step']:,}", each["minutes"], *measures(each)) for each in about["log"]
        ),
        ending=rows(
            (f"{each['step']:,}", *measures(each), *each["patterns"]) for each in about["end"]
        ),
        used=", ".join(f"{what} {number}" for what, number in about["versions"].items()),
    )


def measures(line: dict[str, Any]) -> tuple:
    """What both parts of the log have: noise, loss and accuracy."""
    return line["noise"], line["loss"], percent(line["accuracy"])


def rows(cells: Iterable[tuple]) -> str:
    """Lines of a table in Markdown."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells)


def table_of_patterns(about: dict[str, Any]) -> str:
    """How often each pattern is recognised, how many pictures there were, and what it is mistaken for."""
    names, table = about["names"], np.array(about["confusion"])
    wrong, lines = table * (1 - np.eye(len(names), dtype=int)), []
    for i, name in enumerate(names):
        total, worst = table[i].sum(), wrong[i].argmax()
        recall = percent(table[i, i] / total) if total else ""
        mistaken = f"{names[worst]} ({wrong[i, worst]})" if wrong[i, worst] else ""
        lines.append((name, recall, total, mistaken))
    return rows(lines)


def table_of_relatives(abouts: dict[str, dict[str, Any]]) -> str:
    """What each network is and how well it does."""
    return rows(
        (
            f"`{name}`",
            each["widths"],
            each["seed"],
            f"{each['noise']:g}",
            f"{sum(each['images'].values()):,} × {each['epochs']}",
            each["minutes"],
            listed(each["accuracy_by_size"]),
            listed(each["accuracy_under_attack"]),
            f"{each['bytes']:,}",
            f"`{each['sha256'][:12]}…`",
        )
        for name, each in abouts.items()
    )


def table_of_sizes(about: dict[str, Any]) -> str:
    """The accuracy by size: as drawn, and where it was measured under noise."""
    noisy = about["accuracy_under_noise_of_8"]
    return rows(
        (
            f"{size} × {size}",
            percent(share),
            *(map(percent, noisy[size].values()) if size in noisy else ("", "")),
        )
        for size, share in about["accuracy_by_size"].items()
    )


CARD = """\
# PocketVGG

A narrow VGG16 that tells {patterns} drawn patterns apart. It comes with the course so that every
chapter runs without a download, and so that the picture of a filter can be checked against
everything the network has ever seen. `python -m filtersight.training` wrote this page from its own
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
grey levels against the network, seed {seed}; then {more:,} steps more with up to {stronger:g}, while deep \
filters get patterns of their own; {minutes} minutes on {processors} processor cores, \
{drawing_minutes} of them to draw; {date} |
| Versions | {used} |
| File | `pocketvgg.npz`, {bytes:,} bytes, float16 |
| sha256 | `{sha256}` |
| Licence | MIT, code and weights |

```python
from filtersight.world import patterns, pocketvgg

model = pocketvgg.load()
pictures, labels = patterns.images(8, seed=1)
print([patterns.NAMES[guess] for guess in model.predict(pictures).argmax(axis=1)])
```

## How much it withstands

After a first part without, the pictures of its training carried noise that does the most harm: one step along the
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
patterns, without noise; its deep filters got patterns of their own, too. `pocketvgg_judge` has other widths,
another seed and other drawings; it judges what a picture shows that another network made. `pocketvgg_stages` is a small
network that was stored on the way. Accuracy on unseen pictures, by their size in pixels; under attack,
at 64 pixels, by the grey levels of noise that is chosen, by one step, against the network itself.

| Network | Filters | Seed | Noise | Pictures × epochs | Minutes | Accuracy | Under attack | Bytes | sha256 |
|---|---|---|---|---|---|---|---|---|---|
{relatives}

`pocketvgg.stages()` gives `pocketvgg_stages` at each of these steps of its training:

| Step | Accuracy |
|---|---|
{stages}

## The log of the training

The noise at that step, in grey levels; loss and accuracy under noise, the mean since the line before.

| Step | Minutes | Noise | Loss | Accuracy |
|---|---|---|---|---|
{course}

In the end the first layer stayed as it was, the noise was stronger (three quarters of the pictures had as much
as the table says, the others less), and beside the right answer three things counted: that each filter of
block4_conv3 answers to few patterns, that together they answer to all of them, and that each filter of
block5_conv3 answers to a pattern that it was assigned, where possible the one that it preferred (filters
specific to a class: Liang et al. 2020).
Under block4_conv3: a filter's answers to a batch of 64 pictures are spread as if over so many patterns with
equal shares. Under block5_conv3: among filters of different patterns, one of each, the right one gives one part
in so many of the answers to a picture (geometric mean; 1 is perfect, {patterns} no preference).

| Step | Noise | Loss | Accuracy | block4_conv3 | block5_conv3 |
|---|---|---|---|---|---|
{ending}

## Limits

It knows nothing but these patterns, in pictures like these: a photograph, too, gets one of the
{patterns} names. It learned from pictures of 64 to 128 pixels to a side; the accuracy by size shows
what happens elsewhere. It is made to be looked into, not to be used.

## Making it again

`python -m filtersight.training` draws the pictures, trains, and writes `pocketvgg.npz`, `pocketvgg.json`
and this page; `python -m filtersight.training pocketvgg_judge` does so for a relative. Threads do not add
numbers up in the same order each time, so the new weights differ slightly from the published ones, and the
notebooks' outputs would differ from the committed ones. `git checkout filtersight/world/weights` brings the
published weights back.
"""
