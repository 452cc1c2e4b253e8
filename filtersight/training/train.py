"""Draws, trains, measures and writes a network: `python -m filtersight.training [NAME]`."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from filtersight.basics.checks import check_whole, nearest
from filtersight.basics.defaults import keras_defaults
from filtersight.basics.files import write_whole
from filtersight.training.card import card
from filtersight.training.learn import (
    SHARES,
    STAGES,
    Array,
    accuracy,
    confusions,
    correlations,
    learn,
    silent,
    under_attack,
    versions,
)
from filtersight.training.specialise import specialise
from filtersight.world import patterns, pocketvgg
from filtersight.world.patterns import NAMES
from filtersight.world.pocketvgg import FOLDER, NETWORKS, Plan


def train(
    folder: str | os.PathLike = FOLDER,
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
    plan, folder, start = plan_for(name, count, epochs, widths), Path(folder), time.perf_counter()
    check_whole("test_count", test_count, 1)
    folder.mkdir(parents=True, exist_ok=True)
    world = {
        size: patterns.images(round(plan.pictures * share), plan.seed + size, size)
        for size, share in SHARES.items()
    }
    drawn = time.perf_counter()
    kept, log = learn(plan, world, plan.epochs, STAGES if plan.stages else ())
    end: list[dict] = []
    if plan.specialised:
        kept[max(kept)], end = specialise(plan, kept[max(kept)], world)
    minutes = (time.perf_counter() - start) / 60
    data = packed(kept, plan.stages)
    about = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **measured(plan, kept, test_count),
        "widths": list(plan.widths),
        "epochs": plan.epochs,
        "images": {str(size): len(labels) for size, (_, labels) in world.items()},
        "seed": plan.seed,
        "noise": plan.noise,
        "date": time.strftime("%Y-%m-%d"),
        "minutes": round(minutes, 1),
        "drawing_minutes": round((drawn - start) / 60, 1),
        "processors": os.cpu_count(),
        "versions": versions(),
        "log": log,
        "end": end,
        "names": list(NAMES),
    }
    write_whole(folder / f"{name}.npz", data)
    write_whole(folder / f"{name}.json", (json.dumps(about) + "\n").encode())
    write_whole(folder / "README.md", card(folder).encode())
    return about


def plan_for(
    name: str, count: int | None, epochs: int | None, widths: tuple[int, ...] | None
) -> Plan:
    """The plan of a network, with what is given in place of its own numbers; ValueError if one is wrong."""
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(
            f"no network {name!r}{nearest(name, list(NETWORKS))} There are: " + ", ".join(NETWORKS)
        )
    plan = NETWORKS[name]
    plan = plan._replace(
        pictures=check_whole("count", plan.pictures if count is None else count, 6),
        epochs=check_whole("epochs", plan.epochs if epochs is None else epochs, 1),
        widths=plan.widths if widths is None else tuple(widths),
    )
    pocketvgg.build(plan.widths)  # refuses wrong ones before any drawing
    return plan


def packed(kept: dict[int, dict[str, Array]], stages: bool) -> bytes:
    """The file of the weights: those at the end, or with `stages` all, each under "step/name"."""
    stored = kept[max(kept)]
    if stages:
        stored = {
            f"{step}/{key}": each for step, some in kept.items() for key, each in some.items()
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **stored)  # type: ignore[arg-type]
    return buffer.getvalue()


def measured(plan: Plan, kept: dict[int, dict[str, Array]], test_count: int) -> dict[str, Any]:
    """How good the weights of a training are, as they are stored."""
    models = {
        step: pocketvgg.put_weights(pocketvgg.build(plan.widths), arrays)
        for step, arrays in kept.items()
    }
    published, seed, few = models[max(models)], plan.seed + 1, math.ceil(test_count / 6)
    tables = {
        size: confusions(published, test_count if size == 64 else few, seed, size)
        for size in (48, 64, 96, 128, 224)
    }
    attacked, attacked_for_long = under_attack(published), under_attack(published, steps=10)
    return {
        "accuracy": accuracy(tables[64]),
        "test_images": test_count,
        "test_seed": seed,
        "accuracy_by_size": {str(size): accuracy(table) for size, table in tables.items()},
        "accuracy_under_attack": {
            str(noise): attacked(noise, few, seed, 64) for noise in (2, 4, 8, 12)
        },
        "accuracy_under_noise_of_8": {
            str(size): {
                "1 step": attacked(8, few, seed, size),
                "10 steps": attacked_for_long(8, math.ceil(few / 4), seed, size),
            }
            for size in SHARES
        },
        "accuracy_by_step": {
            str(step): accuracy(confusions(each, few, seed, 64)) for step, each in models.items()
        },
        "correlation_with_start": correlations(plan, kept[max(kept)]),
        "silent": silent(published, few, seed),
        "parameters": published.count_params(),
        "confusion": tables[64].tolist(),
    }


def keep_memory() -> None:
    """Has glibc keep what is freed: else a fifth of the time goes into fetching the same pages again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-8, 1)  # M_ARENA_MAX: one heap
        mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from it, too
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: and go back to it


@keras_defaults()
def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    keep_memory()
    name = (*arguments, "pocketvgg")[0]
    if len(arguments) > 1 or name not in NETWORKS:
        print(f"usage: python -m filtersight.training [{' | '.join(NETWORKS)}]", file=sys.stderr)
        return 2
    about = train(name=name)
    print(
        f"{about['accuracy']:.2%} of {about['test_images']:,} unseen pictures recognised after "
        f"{about['minutes']} minutes; {about['bytes']:,} bytes in {FOLDER / name}.npz"
    )
    return 0
