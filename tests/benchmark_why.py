"""Grad-CAM and occlusion held against those of tf-keras-vis and Xplique, in one run.

Needs both libraries beside the course, as tests/benchmark.py does:

    python tests/benchmark_why.py

Prints, for drawings by PocketVGG, the correlation of our maps with theirs for the same definition, the
lowest and the median, and how often faster ours are, the time to build graphs left out.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import tensorflow as tf
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.utils.scores import CategoricalScore
from xplique.attributions import GradCAM, Occlusion

import helpers
from filtersight.trust import why
from filtersight.world import patterns

SIZE, PATCH, LAYER = 128, 16, "block5_conv3"


def main() -> None:
    model = helpers.load_model("pocketvgg")
    images, labels = patterns.images(12, seed=9, size=SIZE)
    logits = keras.models.clone_model(model, input_tensors=keras.Input((SIZE, SIZE, 3)))
    logits.set_weights(model.get_weights())
    logits.layers[-1].activation = keras.activations.linear  # all three explain the value before it
    one_hot = tf.one_hot(labels, len(patterns.NAMES))
    floats = images.astype(np.float32)

    def ours_cam():
        return [
            why.grad_cam(model, i, int(c), layer=LAYER) for i, c in zip(images, labels, strict=True)
        ]

    def keras_vis_cam():
        cam = Gradcam(logits, clone=False)
        options = {"penultimate_layer": LAYER, "expand_cam": False, "normalize_cam": False}
        return cam(CategoricalScore(labels.tolist()), floats, **options)

    def xplique_cam():
        return GradCAM(logits, conv_layer=LAYER)(floats, one_hot).numpy()[..., 0]

    def ours_occlusion(stride=PATCH):
        return [
            why.occlusion(model, i, int(c), patch=PATCH, stride=stride, level=0)
            for i, c in zip(images, labels, strict=True)
        ]

    def xplique_occlusion(stride=PATCH):
        occlusion = Occlusion(logits, patch_size=PATCH, patch_stride=stride, occlusion_value=0)
        return occlusion(floats, one_hot).numpy()[..., 0]

    compare("Grad-CAM, tf-keras-vis", ours_cam, keras_vis_cam)
    compare("Grad-CAM, Xplique", ours_cam, xplique_cam)
    compare(f"occlusion, {PATCH} px, Xplique", ours_occlusion, xplique_occlusion)


def compare(name: str, ours, theirs) -> None:
    """Prints how alike two lists of maps are and how long each took."""
    seconds, maps = [], []
    for function in (ours, theirs):
        function()  # builds graphs
        begun = time.perf_counter()
        maps.append(function())
        seconds.append(time.perf_counter() - begun)
    alike = []
    for mine, other in zip(*maps, strict=True):
        other = np.asarray(other)
        if other.shape != mine.shape:  # enlarged, as Xplique does with cubic interpolation
            mine = tf.image.resize(mine[..., None], other.shape, "bicubic")[..., 0].numpy()
        alike.append(np.corrcoef(mine.ravel(), other.ravel())[0, 1])
    print(
        f"{name}: correlation {min(alike):.4f} at least, {np.median(alike):.4f} in the middle, "
        f"{len(alike)} images; ours {seconds[0]:.2f} s, theirs {seconds[1]:.2f} s"
    )


if __name__ == "__main__":
    main()
