"""The networks' weights as the live explorer fetches them: a small file for each block of each network.

A file holds, in half precision and without a header, the kernel (3, 3, inputs, filters) and the bias (filters,) of
each layer of the block. `networks.json` says how wide the networks are, and the fingerprint of the weights up
to each layer, which goes into saved pictures.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

STORED = Path(__file__).resolve().parents[1] / "filtersight/world/weights"
BLOCKS = (2, 2, 3, 3, 3)  # layers in each
PARTS = ("kernel", "bias")


def write(folder: Path) -> None:
    """Writes the folder `weights` into `folder`: `networks.json`, and a folder for each network.

    The stages of chapter 12 are networks of their own, "pocketvgg_stages_800" after 800 steps.
    """
    networks = {}
    for name in ("pocketvgg", "pocketvgg_plain", "pocketvgg_stages"):
        about = json.loads((STORED / f"{name}.json").read_text(encoding="utf-8"))
        with np.load(STORED / f"{name}.npz") as arrays:
            steps = {key.rpartition("/")[0] for key in arrays}  # "100/block1_conv1.bias"
            for step in sorted(steps, key=lambda step: int(step or 0)):
                one, prefix = (f"{name}_{step}", f"{step}/") if step else (name, "")
                layers = {
                    f"block{block}_conv{i}": [
                        arrays[f"{prefix}block{block}_conv{i}.{part}"] for part in PARTS
                    ]
                    for block, count in enumerate(BLOCKS, start=1)
                    for i in range(1, count + 1)
                }
                networks[one] = {"widths": about["widths"], "fingerprints": fingerprints(layers)}
                if step:
                    accuracy = about["accuracy_by_step"][step]
                    networks[one] |= {"step": int(step), "accuracy": accuracy}
                write_blocks(folder / "weights" / one, layers)
    (folder / "weights/networks.json").write_text(json.dumps(networks), encoding="utf-8")


def write_blocks(folder: Path, layers: dict[str, list[np.ndarray]]) -> None:
    """Writes block1.bin to block5.bin of a network, of which `layers` holds the kernels and biases."""
    folder.mkdir(parents=True, exist_ok=True)
    for block in range(1, len(BLOCKS) + 1):
        own = [arrays for name, arrays in layers.items() if name.startswith(f"block{block}_")]
        data = b"".join(each.astype("<f2").tobytes() for arrays in own for each in arrays)
        (folder / f"block{block}.bin").write_bytes(data)


def fingerprints(layers: dict[str, list[np.ndarray]]) -> dict[str, str]:
    """By layer, what `Layer.fingerprint` says of the weights up to it."""
    digest, found = hashlib.sha256(), {}
    for name, arrays in layers.items():
        for each in arrays:
            digest.update(each.astype(np.float32).tobytes())
        found[name] = digest.hexdigest()[:12]
    return found
