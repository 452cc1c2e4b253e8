"""Wrong answers to the exercises of chapter 8."""

NOISE = """
noise = np.stack([random_image(128, seed=0, contrast=each) for each in (8, 32, 127)])
maps = submodel(model, "block5_conv1")(noise).numpy()
"""

WRONG: dict[str, list[str]] = {
    "8.1": [
        # The filters that are not silent.
        NOISE + "silent_on_noise = (maps.max(axis=(1, 2)) > 0).sum(axis=1)",
        # Values in place of maps.
        NOISE + "silent_on_noise = (maps == 0).sum(axis=(1, 2, 3))",
        # Filters with a value of 0 anywhere.
        NOISE + "silent_on_noise = (maps.min(axis=(1, 2)) == 0).sum(axis=1)",
        # Silent on all three at once.
        NOISE + "silent_on_noise = int((maps.max(axis=(0, 1, 2)) == 0).sum())",
        # The same image three times.
        NOISE + "silent_on_noise = [int((maps[1].max(axis=(0, 1)) == 0).sum())] * 3",
        # A share.
        NOISE + "silent_on_noise = (maps.max(axis=(1, 2)) == 0).mean(axis=1)",
        # The wrong order.
        NOISE + "silent_on_noise = (maps.max(axis=(1, 2)) == 0).sum(axis=1)[::-1]",
        # Another layer.
        NOISE.replace("block5_conv1", "block5_conv2")
        + "silent_on_noise = (maps.max(axis=(1, 2)) == 0).sum(axis=1)",
        # Another seed for each image, and the size of the chapter's images.
        """
noise = np.stack([random_image(96, seed=k, contrast=c) for k, c in enumerate((8, 32, 127))])
maps = submodel(model, "block4_conv3")(noise).numpy()
silent_on_noise = [int((each.max(axis=(0, 1)) == 0).sum()) for each in maps]
""",
    ],
    "8.2": [
        # A plain ReLU.
        "redirected = tf.nn.relu",
        # The chapter's.
        """
@tf.custom_gradient
def redirected(x):
    return tf.nn.relu(x), lambda gradient: gradient * tf.where(x > 0, 1.0, 0.1)
""",
        # Everything passes.
        """
@tf.custom_gradient
def redirected(x):
    return tf.nn.relu(x), lambda gradient: gradient
""",
        # Both conditions in place of one: the rule of guided backpropagation.
        """
@tf.custom_gradient
def redirected(x):
    def back(gradient):
        return tf.where((x > 0) & (gradient > 0), gradient, tf.zeros_like(gradient))

    return tf.nn.relu(x), back
""",
        # Only by the sign of the gradient.
        """
@tf.custom_gradient
def redirected(x):
    return tf.nn.relu(x), tf.nn.relu
""",
        # The sign of a descent.
        """
@tf.custom_gradient
def redirected(x):
    def back(gradient):
        return tf.where((x > 0) | (gradient < 0), gradient, tf.zeros_like(gradient))

    return tf.nn.relu(x), back
""",
        # What arrives is forgotten.
        """
@tf.custom_gradient
def redirected(x):
    return tf.nn.relu(x), lambda g: tf.where((x > 0) | (g > 0), tf.ones_like(g), tf.zeros_like(g))
""",
        # Forwards the ReLU is forgotten.
        """
@tf.custom_gradient
def redirected(x):
    return x, lambda g: tf.where((x > 0) | (g > 0), g, tf.zeros_like(g))
""",
    ],
    "8.3": [
        # White for every pixel.
        """
def highest_values(kernel, bias, low, high):
    return bias + (kernel * np.reshape(high, (-1, 1))).sum(axis=(0, 1, 2))
""",
        # Without the bias.
        """
def highest_values(kernel, bias, low, high):
    low, high = np.reshape(low, (-1, 1)), np.reshape(high, (-1, 1))
    return np.maximum(kernel * low, kernel * high).sum(axis=(0, 1, 2))
""",
        # The larger of two sums, all black or all white.
        """
def highest_values(kernel, bias, low, high):
    black = (kernel * np.reshape(low, (-1, 1))).sum(axis=(0, 1, 2))
    white = (kernel * np.reshape(high, (-1, 1))).sum(axis=(0, 1, 2))
    return bias + np.maximum(black, white)
""",
        # The lowest value.
        """
def highest_values(kernel, bias, low, high):
    low, high = np.reshape(low, (-1, 1)), np.reshape(high, (-1, 1))
    return bias + np.minimum(kernel * low, kernel * high).sum(axis=(0, 1, 2))
""",
        # Positive weights only.
        """
def highest_values(kernel, bias, low, high):
    return bias + (np.maximum(kernel, 0) * np.reshape(high, (-1, 1))).sum(axis=(0, 1, 2))
""",
        # The sum runs over the filters, too.
        """
def highest_values(kernel, bias, low, high):
    low, high = np.reshape(low, (-1, 1)), np.reshape(high, (-1, 1))
    return bias + np.maximum(kernel * low, kernel * high).sum()
""",
        # low and high meet the filters.
        """
def highest_values(kernel, bias, low, high):
    return bias + np.maximum(kernel * low, kernel * high).sum(axis=(0, 1, 2))
""",
        # As if black were the negative of white.
        """
def highest_values(kernel, bias, low, high):
    return bias + (np.abs(kernel) * np.reshape(high, (-1, 1))).sum(axis=(0, 1, 2))
""",
    ],
}
