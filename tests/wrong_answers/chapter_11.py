"""Wrong answers to the exercises of chapter 11."""

LEFT = """def left_over(model, layer, image, number):
    _, values = opened(model, layer)(image[None].astype("float32"), training=False)
    given = attributions(model, layer, image, number)
    return {}
"""
COSTLIEST = """def costliest(model, image, number, patch):
    best, place = {start}, None
    for top in range(0, image.shape[0] - patch + 1, {step}):
        for left in range(0, image.shape[1] - patch + 1, {step}):
            hidden = covered({covered})
            value = float(model(hidden[None].astype("float32"))[0, {number}])
            if value {than} best:
                best, place = value, {place}
    return place
"""
RIGHT = {
    "start": "np.inf",
    "step": "patch",
    "covered": "image, top, left, patch",
    "number": "number",
    "than": "<",
    "place": "(top, left)",
}
ON_IT = """def costliest(model, image, number, patch):
    best, place = np.inf, None
    for top in range(0, image.shape[0], patch):
        for left in range(0, image.shape[1], patch):
            image[top : top + patch, left : left + patch] = 127
            value = float(model(image[None].astype("float32"))[0, number])
            if value < best:
                best, place = value, (top, left)
    return place
"""
RATHER = """def rather(model, layer, image, one, other):
    pixels = tf.constant(image[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        maps, values = opened(model, layer)(pixels, training=False)
        value = {value}
    weights = tf.reduce_mean(tape.gradient(value, maps), axis=(1, 2), keepdims=True)
    return {result}
"""
VALUE = "values[0, one] - values[0, other]"
RESULT = "tf.nn.relu(tf.reduce_sum(maps * weights, axis=-1))[0].numpy()"

WRONG = {
    "11.1": [
        LEFT.format("float(values[0, number]) - np.abs(given).sum()"),
        LEFT.format("float(values[0, number]) - given.mean()"),
        LEFT.format("given.sum() - float(values[0, number])"),
        LEFT.format("predictions(model, image)[0].value - given.sum()"),
        LEFT.format("float(values[0, number])"),
        LEFT.format("float(np.max(values)) - given.sum()"),
        LEFT.format("float(values[0, number]) - given[given > 0].sum()"),
    ],
    "11.2": [
        COSTLIEST.format(**RIGHT | {"start": "-np.inf", "than": ">"}),
        COSTLIEST.format(**RIGHT | {"place": "(left, top)"}),
        COSTLIEST.format(**RIGHT | {"place": "(top // patch, left // patch)"}),
        COSTLIEST.format(**RIGHT | {"number": "0"}),
        COSTLIEST.format(**RIGHT | {"covered": "image, left, top, patch"}),
        COSTLIEST.format(**RIGHT | {"step": "1"}),
        ON_IT,
    ],
    "11.3": [
        "def rather(model, layer, image, one, other):\n"
        "    return grad_cam(model, layer, image, one) - grad_cam(model, layer, image, other)",
        "def rather(model, layer, image, one, other):\n"
        "    both = [grad_cam(model, layer, image, each) for each in (one, other)]\n"
        "    return np.maximum(both[0] - both[1], 0)",
        "def rather(model, layer, image, one, other):\n"
        "    return grad_cam(model, layer, image, one)",
        RATHER.format(value="values[0, other] - values[0, one]", result=RESULT),
        RATHER.format(value="values[0, one] + values[0, other]", result=RESULT),
        RATHER.format(value=VALUE, result="tf.reduce_sum(maps * weights, axis=-1)[0].numpy()"),
        RATHER.format(value="tf.nn.softmax(values)[0, one]", result=RESULT),
    ],
}
