"""The networks' weights as the live explorer fetches them: a small file for each block of each network.

A file holds, in half precision and without a header, the kernel (3, 3, inputs, filters) and the bias (filters,) of
each layer of the block. `networks.json` says how wide the networks are, and the fingerprint of the weights up
to each layer, which goes into saved pictures.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

COURSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(COURSE))
from filtersight.world.painting import Array
from filtersight.world.pocketvgg import CONVOLUTIONS, FOLDER, stored

PARTS = ("kernel", "bias")


def write(folder: Path) -> None:
    """Writes `networks.json` and a folder for each network, "pocketvgg" and its relatives, into `folder`.

    The stages of chapter 12 are networks of their own, "pocketvgg_stages_800" after 800 steps. Raises what
    `filtersight.world.pocketvgg.load` raises.
    """
    networks = {}
    for name in ("pocketvgg", "pocketvgg_plain", "pocketvgg_stages"):
        widths, kept = stored(FOLDER / f"{name}.npz")
        about = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        for step in sorted(kept):
            one = f"{name}_{step}" if len(kept) > 1 else name
            networks[one] = {"widths": widths, "fingerprints": fingerprints(kept[step])}
            if len(kept) > 1:
                accuracy = about["accuracy_by_step"][str(step)]
                networks[one] |= {"step": step, "accuracy": accuracy}
            write_blocks(folder / one, kept[step])
    (folder / "networks.json").write_text(json.dumps(networks), encoding="utf-8")


def write_blocks(folder: Path, arrays: dict[str, Array]) -> None:
    """Writes block1.bin to block5.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    for block, count in enumerate(CONVOLUTIONS, start=1):
        names = [f"block{block}_conv{i}.{part}" for i in range(1, count + 1) for part in PARTS]
        data = b"".join(arrays[name].astype("<f2").tobytes() for name in names)
        (folder / f"block{block}.bin").write_bytes(data)


def fingerprints(arrays: dict[str, Array]) -> dict[str, str]:
    """By layer, what `Layer.fingerprint` says of the weights up to it."""
    digest, found = hashlib.sha256(), {}
    for block, count in enumerate(CONVOLUTIONS, start=1):
        for i in range(1, count + 1):
            layer = f"block{block}_conv{i}"
            for part in PARTS:
                digest.update(arrays[f"{layer}.{part}"].astype(np.float32).tobytes())
            found[layer] = digest.hexdigest()[:12]
    return found
