"""Wrong answers to the exercises of chapter 3."""

GREY = """
def grey_noise(size, seed, contrast):
    {}
"""
SILENT = """
def silent_share(network, images):
    maps = network(np.float32(images)).numpy()
    means = maps.mean(axis=(1, 2))
    {}
"""
ALL = """
def deprocess_all(images, contrast):
    images = np.float64(images)
    {}
"""

WRONG: dict[str, list[str]] = {
    "3.1": [
        GREY.format("return random_image(size, seed, contrast)"),  # in colours
        GREY.format("return random_image(size, seed, contrast)[..., 0]"),  # one channel
        # The mean of three channels is weaker.
        GREY.format(
            "return random_image(size, seed, contrast).mean(axis=2, keepdims=True).repeat(3, axis=2)"
        ),
        # From 0 to contrast.
        GREY.format(
            "noise = np.random.default_rng(seed).uniform(0, contrast, (size, size, 1))\n"
            "    return 127.5 + noise.repeat(3, axis=2)"
        ),
        # The same seed every time, no seed at all, normal noise.
        GREY.format(
            "noise = np.random.default_rng(0).uniform(-contrast, contrast, (size, size, 1))\n"
            "    return 127.5 + noise.repeat(3, axis=2)"
        ),
        GREY.format(
            "noise = np.random.uniform(-contrast, contrast, (size, size, 1))\n"
            "    return 127.5 + noise.repeat(3, axis=2)"
        ),
        GREY.format(
            "noise = np.random.default_rng(seed).normal(0, contrast, (size, size, 1))\n"
            "    return 127.5 + noise.repeat(3, axis=2)"
        ),
        # One number for each row.
        GREY.format(
            "noise = np.random.default_rng(seed).uniform(-contrast, contrast, (size, 1, 1))\n"
            "    return 127.5 + noise.repeat(size, axis=1).repeat(3, axis=2)"
        ),
    ],
    "3.2": [
        SILENT.format("return np.sum(means == 0, axis=0)"),  # how many images, not which share
        SILENT.format("return np.mean(means > 0, axis=0)"),  # on which it answers
        SILENT.format("return np.mean(means == 0, axis=1)"),  # of each image
        SILENT.format("return np.mean(means == 0)"),  # of the whole layer
        SILENT.format("return np.mean(maps == 0, axis=(0, 1, 2))"),  # the share of the map's values
        SILENT.format("return (means == 0).all(axis=0)"),  # silent on all
        SILENT.format("return (means == 0).any(axis=0)"),  # silent on at least one
        SILENT.format("return np.mean(means < 0.001, axis=0)"),  # and those that whisper
        SILENT.format("return 100 * np.mean(means == 0, axis=0)"),  # per cent
    ],
    "3.3": [
        # The mean and the spread of all images together; of each channel; of each image and channel.
        ALL.format(
            "centred = images - images.mean()\n"
            "    picture = 127.5 + centred * contrast / centred.std()\n"
            "    return np.clip(np.round(picture), 0, 255).astype(np.uint8)"
        ),
        ALL.format(
            "centred = images - images.mean(axis=(0, 1, 2))\n"
            "    picture = 127.5 + centred * contrast / centred.std(axis=(0, 1, 2))\n"
            "    return np.clip(np.round(picture), 0, 255).astype(np.uint8)"
        ),
        ALL.format(
            "centred = images - images.mean(axis=(1, 2), keepdims=True)\n"
            "    spread = np.maximum(centred.std(axis=(1, 2), keepdims=True), 1e-6)\n"
            "    return np.clip(np.round(127.5 + centred * contrast / spread), 0, 255).astype(np.uint8)"
        ),
        # Not clipped; not rounded; always the same contrast; floating point.
        ALL.format(
            "return np.stack([\n"
            "        np.round(127.5 + (i - i.mean()) * contrast / max(i.std(), 1e-6)).astype(np.int64)\n"
            "        for i in images\n"
            "    ]).astype(np.uint8)"
        ),
        ALL.format(
            "return np.stack([\n"
            "        np.clip(127.5 + (i - i.mean()) * contrast / max(i.std(), 1e-6), 0, 255)\n"
            "        for i in images\n"
            "    ]).astype(np.uint8)"
        ),
        ALL.format("return np.stack([deprocess(image) for image in images])"),
        ALL.format("return np.stack([deprocess(i, contrast) for i in images]) / 255.0"),
        ALL.format("return deprocess(images, contrast)"),
    ],
}
