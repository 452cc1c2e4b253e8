"""Makes every picture in media/ again: python tools/media.py [--imagenet FOLDER]

Most pictures are outputs of the notebooks: a code cell with the tag "media-NAME" gives
media/NAME.jpg. Run tools/execute.py first if a notebook has changed. The rest is drawn here.

The pictures of VGG16 and MobileNetV2 need their ImageNet weights: from Keras' cache, from the
network, or from FOLDER, which holds a Keras cache in keras/ and VGG16's first two blocks in
vgg16_blocks1-2.npz (arrays NAME.kernel and NAME.bias). Those of VGG19 and GoogLeNet need FOLDER with a
true_networks.py, whose vgg19() and googlenet() give Keras models for RGB images from 0 to 255. Where
weights cannot be had, and where there is no Chromium for the explorer and the gallery, the old picture
stays and a line says so.
"""

from __future__ import annotations

import argparse
import ast
import base64
import json
import os
import sys
import tempfile
import time
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
MEDIA = COURSE / "media"
sys.path.insert(0, str(COURSE))

parser = argparse.ArgumentParser(description="Makes every picture in media/ again.")
parser.add_argument("--imagenet", type=Path, help="folder with ImageNet weights")
FOLDER: Path | None = parser.parse_args().imagenet if __name__ == "__main__" else None
if FOLDER:
    os.environ["KERAS_HOME"] = str(FOLDER / "keras")  # read when Keras is imported

import keras
import numpy as np

import helpers
from filtersight.networks import load
from filtersight.trust import why
from filtersight.world import patterns

CLASSES = [1, 84, 107, 130, 277, 323, 340, 985]  # goldfish, peacock, jellyfish, flamingo, ...


def write(name: str, data: bytes) -> None:
    """Writes media/NAME and says so."""
    (MEDIA / name).write_bytes(data)
    print(f"media/{name}: {len(data) / 1000:.0f} kB")


def from_notebooks() -> None:
    """The first picture of each cell that has a tag "media-NAME"."""
    for path in sorted((COURSE / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for tag in cell["metadata"].get("tags", []):
                if tag.startswith("media-"):
                    data = [
                        o["data"]["image/jpeg"]
                        for o in cell["outputs"]
                        if "image/jpeg" in o.get("data", {})
                    ]
                    write(f"{tag.removeprefix('media-')}.jpg", base64.b64decode(data[0]))


def world() -> None:
    """Every pattern, four drawings each."""
    drawings = [patterns.image(name, seed, size=96) for name in patterns.NAMES for seed in range(4)]
    labels = [name if seed == 0 else "" for name in patterns.NAMES for seed in range(4)]
    write("world.jpg", helpers.jpeg(helpers.grid(drawings, labels=labels, columns=20, tile=0.62)))


def pocketvgg() -> list[helpers.FilterPicture]:
    """Sixteen filters of the last layer of each block; returns what the README begins with."""
    model = helpers.load_model("pocketvgg")
    layers = ["block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"]
    sheet = [p for layer in layers for p in helpers.visualize(model, layer, range(16))]
    labels = [f"{p.layer.removeprefix('block')} / {p.filter}" for p in sheet]
    write("pocketvgg.jpg", helpers.jpeg(helpers.grid(sheet, labels=labels, columns=16, tile=0.95)))
    return [p for p in sheet if (p.layer, p.filter) == ("block4_conv3", 6)]


def true_network(name: str) -> keras.Model:
    """A network of FOLDER's true_networks.py, which has weights that Keras does not offer."""
    if FOLDER is None:
        raise FileNotFoundError("true_networks.py: no folder with weights was given")
    sys.path.insert(0, str(FOLDER))
    import true_networks

    return helpers.load_model(getattr(true_networks, name)())


VGG19_SIZES = {  # pixels, so that what a value depends on fits in
    "block1_conv2": 128,
    "block2_conv2": 128,
    "block3_conv4": 128,
    "block4_conv4": 128,
    "block5_conv4": 256,
}


def imagenet_vgg19() -> list[helpers.FilterPicture]:
    """VGG19: sixteen filters of the last layer of each block; returns what the README begins with."""
    model, sheet = true_network("vgg19"), []
    for layer, size in VGG19_SIZES.items():
        begun = time.perf_counter()
        pictures = helpers.visualize(model, layer, range(16), size=size)
        minutes = (time.perf_counter() - begun) / 60
        status = [picture.status for picture in pictures]
        counts = ", ".join(f"{status.count(each)} {each}" for each in ("alive", "rescued", "dead"))
        print(f"VGG19 {layer}: {counts}; {minutes:.1f} minutes")
        sheet += pictures
    labels = [f"{p.layer.removeprefix('block')} / {p.filter}" for p in sheet]
    write("vgg19.jpg", helpers.jpeg(helpers.grid(sheet, labels=labels, columns=16, tile=0.95)))
    last = [p for p in sheet if p.layer == "block5_conv4"]
    labels = [f"{p.filter}" for p in last]
    write("vgg19_block5.jpg", helpers.jpeg(helpers.grid(last, labels=labels, columns=8, tile=1.9)))
    sizes = [
        p
        for size in (128, 224, 320)
        for p in helpers.visualize(model, "block5_conv4", [34, 170, 306], size=size)
    ]
    labels = [
        f"{p.filter}, {p.recipe.size} pixels\nactivation {helpers.two_digits(p.activation)}"
        for p in sizes
    ]
    write("vgg19_sizes.jpg", helpers.jpeg(helpers.grid(sizes, labels=labels, columns=3, tile=2.4)))
    vgg19_dead(model)
    chosen = [("block5_conv4", 13), ("block5_conv4", 5), ("block5_conv4", 3), ("block4_conv4", 1)]
    by_name = {(p.layer, p.filter): p for p in sheet}
    vgg19_recipes(model)
    return [by_name[each] for each in chosen]


def taught(chapter: str, **names) -> dict:
    """What a chapter imports and the functions that it defines, in a namespace with the names they use."""
    notebook = json.loads((COURSE / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            for node in ast.parse("".join(cell["source"])).body:
                if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef)):
                    exec(compile(ast.Module([node], []), chapter, "exec"), names)
    return names


VGG19_EXTREMES = [2, 3, 12, 13]


def imagenet_extremes() -> None:
    """VGG19: what four filters of its last layer answer to most, and to least, as chapter 7 draws it."""
    names = taught("07_what_to_ask_for", SIZE=128, STEPS=48)
    network = names["before_relu"](true_network("vgg19"), "block5_conv4")
    pictures, labels = [], []
    for end, ask in {"most": "channel", "least": "least"}.items():
        asked = names["each"](*(names[ask](number) for number in VGG19_EXTREMES))
        made = names["ascend"](network, asked, [0] * len(VGG19_EXTREMES))
        means = np.mean(network(made.astype("float32")), axis=(1, 2))
        pictures += list(made)
        labels += [
            f"{number}, {end}: {helpers.two_digits(mean[number])}"
            for number, mean in zip(VGG19_EXTREMES, means, strict=True)
        ]
    figure = helpers.grid(pictures, labels=labels, columns=len(VGG19_EXTREMES), tile=1.6)
    write("vgg19_extremes.jpg", helpers.jpeg(figure))


def vgg19_recipes(model: keras.Model) -> None:
    """Chapter 6's changes with VGG19: one filter of its last layer, by the chapter's own functions."""
    layer, number = "block5_conv4", 2
    names = {"SIZE": 112, "STEPS": 64, "model": model, "layer": layer}
    network = helpers.submodel(model, layer)
    chapter = taught("06_clear_pictures", network=network, **names)
    waves = {"start": chapter["noise_waves"], "transform": chapter["unchanged"], "step_size": 0.01}
    natural = waves | {"picture": chapter["waves"](1, helpers.COLOURS)}
    chapter["RECIPES"] = {
        "pixels": waves
        | {"start": chapter["noise_pixels"], "picture": chapter["pixels"], "step_size": 4.0},
        "waves": waves | {"picture": chapter["waves"](1, np.eye(3, dtype=np.float32))},
        "natural colours": natural,
        "all three": natural | {"transform": chapter["transformation"](8, 10, 0.1)},
    }
    shown = {name: chapter["draw"](name, number, 0) for name in chapter["RECIPES"]}
    clear = helpers.visualize(model, layer, [number], size=112)[0]
    shown['"clear"'] = helpers.deprocess(clear.image)
    write("vgg19_recipes.jpg", helpers.jpeg(chapter["labelled"](shown, number)))


def vgg19_dead(model: keras.Model) -> None:
    """Four filters of VGG19 that the plain recipe leaves dead; under them by the default recipe."""
    labels, pictures = [], []
    for recipe, called in {"plain": "plain recipe", "clear": "default recipe"}.items():
        for p in helpers.visualize(
            model, "block5_conv4", [34, 68, 102, 204], recipe=recipe, size=128
        ):
            pictures.append(p.image)
            value = helpers.two_digits(p.activation)
            labels.append(f"{p.filter}, {called}: {p.status}\nactivation {value}")
    write(
        "vgg19_dead.jpg", helpers.jpeg(helpers.grid(pictures, labels=labels, columns=4, tile=1.6))
    )


def imagenet_googlenet() -> list[helpers.FilterPicture]:
    """GoogLeNet: eight filters of each of its mixed layers, and eight classes; returns what the README begins with."""
    model = true_network("googlenet")
    layers = [f"inception_{each}" for each in ("3a", "3b", "4a", "4c", "4e", "5b")]
    sheet = [
        p for layer in layers for p in helpers.visualize(model, layer, range(0, 64, 8), size=160)
    ]
    labels = [f"{p.layer.removeprefix('inception_')} / {p.filter}" for p in sheet]
    write("googlenet.jpg", helpers.jpeg(helpers.grid(sheet, labels=labels, columns=8, tile=1.3)))
    names = why.imagenet_names() or [str(number) for number in range(1000)]
    classes = helpers.visualize(model, "loss3_classifier", CLASSES, size=224)
    labels = [f"{names[p.filter]} {p.activation:.0%}" for p in classes]
    figure = helpers.grid(classes, labels=labels, columns=4, tile=2.4)
    write("googlenet_classes.jpg", helpers.jpeg(figure))
    return [p for p in classes if p.filter in (1, 130)]


def vgg16() -> keras.Model:
    """VGG16 with its true weights, or those of its first two blocks from FOLDER."""
    if FOLDER is None:
        return helpers.load_model("vgg16")
    model = load.with_preprocessing(keras.applications.VGG16, weights=None)
    arrays = np.load(FOLDER / "vgg16_blocks1-2.npz", allow_pickle=False)
    for layer in helpers.conv_layers(model)[:4]:
        model.get_layer(layer).set_weights([arrays[f"{layer}.kernel"], arrays[f"{layer}.bias"]])
    return model


def imagenet_vgg16() -> list[helpers.FilterPicture]:
    """VGG16: the first layer's kernels, and pictures of blocks 1 and 2; returns what the README begins with."""
    model = vgg16()
    kernels = model.get_layer("block1_conv1").get_weights()[0][
        :, :, ::-1
    ]  # its channels are B, G, R
    low, high = kernels.min(axis=(0, 1, 2)), kernels.max(axis=(0, 1, 2))
    tiles = np.round((kernels - low) / (high - low) * 255).astype(np.uint8).transpose(3, 0, 1, 2)
    write("vgg16_first_layer.jpg", helpers.jpeg(helpers.grid(tiles, columns=16, tile=0.55)))
    asked = {"block1_conv1": [23], "block2_conv1": [51], "block2_conv2": [40]}
    shown = [
        p for layer, numbers in asked.items() for p in helpers.visualize(model, layer, numbers)
    ]
    labels = [
        f"{p.layer} / {p.filter}\nactivation {helpers.two_digits(p.activation)}" for p in shown
    ]
    write("vgg16_three.jpg", helpers.jpeg(helpers.grid(shown, labels=labels, columns=3, tile=2.4)))
    layers = ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"]
    sheet = [p for layer in layers for p in helpers.visualize(model, layer, range(0, 64, 4))]
    labels = [f"{p.layer.removeprefix('block')} / {p.filter}" for p in sheet]
    write(
        "vgg16_blocks1-2.jpg",
        helpers.jpeg(helpers.grid(sheet, labels=labels, columns=16, tile=0.95)),
    )
    return [p for p in shown if p.layer == "block2_conv2"]


def imagenet_mobilenetv2() -> list[helpers.FilterPicture]:
    """MobileNetV2: sixteen filters of five layers; returns what the README begins with."""
    model = helpers.load_model("mobilenetv2")
    layers = [f"block_{number}_expand" for number in (1, 3, 6, 10, 13)]
    sheet = [p for layer in layers for p in helpers.visualize(model, layer, range(16), size=160)]
    labels = [f"{p.layer.removesuffix('_expand')} / {p.filter}" for p in sheet]
    write(
        "mobilenetv2.jpg",
        helpers.jpeg(helpers.grid(sheet, labels=labels, columns=16, tile=0.95)),
    )
    return [p for p in sheet if (p.layer, p.filter) == ("block_13_expand", 13)]


def imagenet_answers() -> None:
    """MobileNetV2: filters of a late layer, eight classes, and why it names the photograph as it does."""
    model = helpers.load_model("mobilenetv2", include_top=True)
    begun = time.perf_counter()
    sheet = helpers.visualize(model, "block_13_expand_relu", range(0, 576, 9), size=160)
    print(f"64 filters of block_13_expand_relu: {(time.perf_counter() - begun) / 60:.1f} minutes")
    write("mobilenetv2_block_13.jpg", helpers.jpeg(helpers.grid(sheet, columns=16, tile=0.95)))
    names = why.imagenet_names() or [str(number) for number in range(1000)]
    begun = time.perf_counter()
    classes = helpers.visualize(model, "predictions", CLASSES, size=224)
    print(f"eight classes: {(time.perf_counter() - begun) / 60:.1f} minutes")
    labels = [f"{names[p.filter]} {p.activation:.0%}" for p in classes]
    figure = helpers.grid(classes, labels=labels, columns=4, tile=2.4)
    write("mobilenetv2_classes.jpg", helpers.jpeg(figure))
    explained = why.explain(model, why.image_for(model))
    write("mobilenetv2_why.jpg", helpers.jpeg(explained.figure()))


def strip(pictures: list[helpers.FilterPicture]) -> None:
    """The row of pictures at the top of the README."""
    names = {
        "pocketvgg": "PocketVGG",
        "vgg16": "VGG16",
        "vgg19": "VGG19",
        "googlenet": "GoogLeNet",
        "mobilenetv2": "MobileNetV2",
    }
    classes = why.imagenet_names() or [f"class {number}" for number in range(1000)]
    labels = [
        f"{names[p.recipe.network]}\n"
        + (
            classes[p.filter]
            if p.layer == "loss3_classifier"
            else f"{p.layer.removesuffix('_expand')} / {p.filter}"
        )
        for p in pictures
    ]
    write("strip.jpg", helpers.jpeg(helpers.grid(pictures, labels=labels, columns=9, tile=1.35)))


def explorer() -> None:
    """A screenshot of the explorer in JupyterLab, by headless Chromium."""
    from browser import screenshot

    write("explorer.png", screenshot())


def gallery() -> None:
    """A screenshot of the gallery of PocketVGG's whole atlas, by headless Chromium."""
    from browser import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        helpers.atlas(helpers.load_model("pocketvgg"), folder)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(helpers.gallery(folder).as_uri(), wait_until="load")
        page.wait_for_timeout(1000)
        write("gallery.jpg", page.screenshot(type="jpeg", quality=80))


def main() -> None:
    """Makes all of them; what cannot be made is said and left as it is."""
    from_notebooks()
    world()
    good: list[helpers.FilterPicture] = []
    complete = True
    for draw in (imagenet_googlenet, imagenet_vgg19, imagenet_vgg16, imagenet_mobilenetv2):
        try:
            good += draw()
        except OSError as error:
            complete = False
            print(f"left as they are: the pictures of {draw.__name__} ({error})")
    good += pocketvgg()
    if complete:
        strip(good)
        imagenet_answers()
        imagenet_extremes()
    try:
        explorer()
        gallery()
    except (ImportError, OSError) as error:
        print(f"left as they are: explorer.png and gallery.jpg ({error})")


if __name__ == "__main__":
    main()
