"""Wrong answers to the exercises of chapter 2."""

WRONG: dict[str, list[str]] = {
    "2.1": [
        # The place in the map.
        "def where(feature_map, image_shape):\n"
        "    return np.unravel_index(np.argmax(feature_map), feature_map.shape)",
        # The corner of the part, not its middle.
        "def where(feature_map, image_shape):\n"
        "    height, width = feature_map.shape\n"
        "    row, column = np.unravel_index(np.argmax(feature_map), feature_map.shape)\n"
        "    return row * image_shape[0] / height, column * image_shape[1] / width",
        # Across before down.
        "def where(feature_map, image_shape):\n"
        "    height, width = feature_map.shape\n"
        "    row, column = np.unravel_index(np.argmax(feature_map), feature_map.shape)\n"
        "    return (column + 0.5) * image_shape[1] / width, (row + 0.5) * image_shape[0] / height",
        # One scale for both.
        "def where(feature_map, image_shape):\n"
        "    cell = image_shape[0] / feature_map.shape[0]\n"
        "    row, column = np.unravel_index(np.argmax(feature_map), feature_map.shape)\n"
        "    return (row + 0.5) * cell, (column + 0.5) * cell",
        # Not a place but a number.
        "def where(feature_map, image_shape):\n    return np.argmax(feature_map)",
        # The least instead of the most.
        "def where(feature_map, image_shape):\n"
        "    height, width = feature_map.shape\n"
        "    row, column = np.unravel_index(np.argmin(feature_map), feature_map.shape)\n"
        "    return (row + 0.5) * image_shape[0] / height, (column + 0.5) * image_shape[1] / width",
        # From corner to corner.
        "def where(feature_map, image_shape):\n"
        "    height, width = feature_map.shape\n"
        "    row, column = np.unravel_index(np.argmax(feature_map), feature_map.shape)\n"
        "    return row * image_shape[0] / (height - 1), column * image_shape[1] / (width - 1)",
    ],
    "2.2": [
        # On any image, not on all.
        "def silent(model, layer, images):\n"
        "    return np.flatnonzero(activations(model, layer, images).min(axis=0) == 0)",
        # How many, not which.
        "def silent(model, layer, images):\n"
        "    return (activations(model, layer, images).max(axis=0) == 0).sum()",
        # Yes or no for each.
        "def silent(model, layer, images):\n"
        "    return activations(model, layer, images).max(axis=0) == 0",
        # Those that say something.
        "def silent(model, layer, images):\n"
        "    return np.flatnonzero(activations(model, layer, images).max(axis=0) > 0)",
        # The first image only.
        "def silent(model, layer, images):\n"
        "    return np.flatnonzero(activations(model, layer, images)[0] == 0)",
        # Images and filters mixed up.
        "def silent(model, layer, images):\n"
        "    return np.flatnonzero(activations(model, layer, images).max(axis=1) == 0)",
        # Nearly silent is not silent.
        "def silent(model, layer, images):\n"
        "    return np.flatnonzero(activations(model, layer, images).mean(axis=0) < 1)",
    ],
    "2.3": [
        # As if all neighbours were 1 pixel apart.
        "def field(layers):\n    return 1 + sum(kernel - 1 for kernel, stride in layers)",
        # The stride counted too early.
        "def field(layers):\n"
        "    side, distance = 1, 1\n"
        "    for kernel, stride in layers:\n"
        "        distance *= stride\n"
        "        side += (kernel - 1) * distance\n"
        "    return side",
        # Strides added, not multiplied.
        "def field(layers):\n"
        "    side, distance = 1, 1\n"
        "    for kernel, stride in layers:\n"
        "        side += (kernel - 1) * distance\n"
        "        distance += stride - 1\n"
        "    return side",
        # Begins with nothing.
        "def field(layers):\n"
        "    side, distance = 0, 1\n"
        "    for kernel, stride in layers:\n"
        "        side += (kernel - 1) * distance\n"
        "        distance *= stride\n"
        "    return side",
        # The kernel instead of what it adds.
        "def field(layers):\n"
        "    side, distance = 1, 1\n"
        "    for kernel, stride in layers:\n"
        "        side += kernel * distance\n"
        "        distance *= stride\n"
        "    return side",
        # The stride of this layer only.
        "def field(layers):\n"
        "    side = 1\n"
        "    for kernel, stride in layers:\n"
        "        side = side * stride + kernel - 1\n"
        "    return side",
    ],
}
