"""Wrong answers to the exercises of chapter 12."""

WRONG: dict[str, list[str]] = {
    "12.1": [
        # half of the highest, not of the last
        "def half_way(accuracies):\n"
        "    half = max(accuracies.values()) / 2\n"
        "    return min(step for step, share in accuracies.items() if share >= half)",
        # in the order of the dictionary
        "def half_way(accuracies):\n"
        "    half = accuracies[max(accuracies)] / 2\n"
        "    return next(step for step, share in accuracies.items() if share >= half)",
        # more than half, not at least half
        "def half_way(accuracies):\n"
        "    half = accuracies[max(accuracies)] / 2\n"
        "    return min(step for step, share in accuracies.items() if share > half)",
        # an accuracy of one half
        "def half_way(accuracies):\n"
        "    return min(step for step, share in accuracies.items() if share >= 0.5)",
        # the half of the steps
        "def half_way(accuracies):\n    return max(accuracies) // 2",
    ],
    "12.2": [
        # of the whole layer
        "def change(before, after):\n"
        "    return np.linalg.norm(after - before) / np.linalg.norm(before)",
        # not relative
        "def change(before, after):\n"
        "    return np.sqrt(((after - before) ** 2).sum(axis=(0, 1, 2)))",
        # the root is missing
        "def change(before, after):\n"
        "    return ((after - before) ** 2).sum(axis=(0, 1, 2)) / (before**2).sum(axis=(0, 1, 2))",
        # relative to the end
        "def change(before, after):\n"
        "    return np.sqrt(((after - before) ** 2).sum(axis=(0, 1, 2))"
        " / (after**2).sum(axis=(0, 1, 2)))",
        # over the filters, too
        "def change(before, after):\n"
        "    return np.sqrt(((after - before) ** 2).sum(axis=(1, 2, 3))"
        " / (before**2).sum(axis=(1, 2, 3)))",
        # difference of the lengths
        "def change(before, after):\n"
        "    old, new = (np.sqrt((k**2).sum(axis=(0, 1, 2))) for k in (before, after))\n"
        "    return np.abs(new - old) / old",
    ],
    "12.3": [
        # the mean activation
        "def room(network, layer, images):\n"
        "    return np.mean(submodel(network, layer)(np.float32(images)), axis=(0, 1, 2))",
        # of the first image only
        "def room(network, layer, images):\n"
        "    return np.max(submodel(network, layer)(np.float32(images))[0], axis=(0, 1))",
        # the bias itself
        "def room(network, layer, images):\n"
        "    return np.maximum(network.get_layer(layer).bias.numpy(), 0)",
        # the smallest of the images' largest
        "def room(network, layer, images):\n"
        "    return np.max(submodel(network, layer)(np.float32(images)), axis=(1, 2)).min(axis=0)",
    ],
}
