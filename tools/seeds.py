"""Five pictures of VGG16 on your machine: python tools/seeds.py [FOLDER]

Each is a PNG that carries its recipe; vgg16.jpg shows them side by side. Keras downloads VGG16's weights
once. The environment variable COURSE_MODEL may name a file of VGG16 instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(COURSE))

import helpers

SEEDS = {
    "block1_conv1": 23,
    "block2_conv1": 51,
    "block2_conv2": 40,
    "block3_conv3": 80,
    "block5_conv3": 302,
}


def main(folder: Path) -> None:
    """Draws them, one after the other, into `folder`."""
    model = helpers.load_model(os.environ.get("COURSE_MODEL") or "vgg16")
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for layer, number in SEEDS.items():
        [picture] = helpers.visualize(model, layer, [number])
        picture.save(folder / f"{layer}_{number}.png")
        print(picture)
        pictures.append(picture)
    labels = [f"{picture.layer} / {picture.filter}" for picture in pictures]
    sheet = helpers.grid(pictures, labels=labels, columns=5, tile=2)
    (folder / "vgg16.jpg").write_bytes(helpers.jpeg(sheet))


if __name__ == "__main__":
    main(Path(*sys.argv[1:2]))
