"""Wrong answers to the exercises of chapter 4."""

DOWN = """
def step_down(network, images, filters, step_size):
    {}
"""
HALF = """
def half_way(history):
    {}
"""
LARGEST = """
def largest_step(network, images, filters, step_size):
    moved, _ = gradient_step(network, images, filters, 1.0)
    way = moved - images
    {}
"""

WRONG: dict[str, list[str]] = {
    "4.1": [
        DOWN.format("return gradient_step(network, images, filters, step_size)"),  # up
        DOWN.format("return gradient_step(network, images, filters, -step_size)[0]"),  # one thing
        # The image turned to its negative, before or after.
        DOWN.format("return gradient_step(network, -images, filters, step_size)"),
        DOWN.format(
            "moved, old = gradient_step(network, images, filters, step_size)\n    return -moved, old"
        ),
        # The activation turned, the image moved upwards.
        DOWN.format(
            "moved, old = gradient_step(network, images, filters, step_size)\n    return moved, -old"
        ),
        # Not normalised.
        DOWN.format(
            "with tf.GradientTape() as tape:\n"
            "        tape.watch(images)\n"
            "        means = tf.reduce_mean(network(images), axis=(1, 2))\n"
            "        activation = tf.gather(means, filters, batch_dims=1)\n"
            "    return images - step_size * tape.gradient(activation, images), activation"
        ),
        # Two steps for one.
        DOWN.format("return gradient_step(network, images, filters, -2 * step_size)"),
    ],
    "4.2": [
        HALF.format("return int(np.argmax(history >= max(history) / 2))"),  # of the highest
        HALF.format("return int(np.argmax(history > history[-1] / 2))"),  # half itself not
        HALF.format("return int(np.argmax(history >= history[-1] / 2)) + 1"),  # counted from 1
        HALF.format(
            "return int(np.flatnonzero(history < history[-1] / 2)[-1]) + 1"
        ),  # from then on
        # Half of the way, not of the value.
        HALF.format("return int(np.argmax(history >= (history[0] + history[-1]) / 2))"),
        HALF.format("return int(np.searchsorted(history, history[-1] / 2))"),  # wants them in order
        HALF.format("return len(history) // 2"),
        HALF.format("return history[np.argmax(history >= history[-1] / 2)]"),  # the value there
    ],
    "4.3": [
        LARGEST.format("return images + step_size * way"),  # the root mean square, as before
        # The largest, not the largest absolute value; of all images; one for each channel.
        LARGEST.format(
            "largest = tf.reduce_max(way, axis=(1, 2, 3), keepdims=True)\n"
            "    return images + step_size * tf.math.divide_no_nan(way, largest)"
        ),
        LARGEST.format("return images + step_size * way / tf.reduce_max(tf.abs(way))"),
        LARGEST.format(
            "largest = tf.reduce_max(tf.abs(way), axis=(1, 2), keepdims=True)\n"
            "    return images + step_size * tf.math.divide_no_nan(way, largest)"
        ),
        # 0 / 0 for the silent one.
        LARGEST.format(
            "return images + step_size * way / tf.reduce_max(tf.abs(way), axis=(1, 2, 3), keepdims=True)"
        ),
        LARGEST.format("return images + step_size * tf.sign(way)"),  # all values as far
        LARGEST.format("return images + tf.clip_by_value(way, -step_size, step_size)"),
        # The change in place of the image.
        LARGEST.format(
            "largest = tf.reduce_max(tf.abs(way), axis=(1, 2, 3), keepdims=True)\n"
            "    return step_size * tf.math.divide_no_nan(way, largest)"
        ),
        # Downwards.
        LARGEST.format(
            "largest = tf.reduce_max(tf.abs(way), axis=(1, 2, 3), keepdims=True)\n"
            "    return images - step_size * tf.math.divide_no_nan(way, largest)"
        ),
    ],
}
