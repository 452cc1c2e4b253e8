"""Wrong answers to the exercises of chapter 7."""

WRONG: dict[str, list[str]] = {
    "7.1": [
        # Rows and columns exchanged.
        """
def neuron_over(number, down, right):
    return lambda maps: maps[
        :, int(right * maps.shape[1]), int(down * maps.shape[2]), number
    ]
""",
        # Rounded.
        """
def neuron_over(number, down, right):
    return lambda maps: maps[
        :, round(down * (maps.shape[1] - 1)), round(right * (maps.shape[2] - 1)), number
    ]
""",
        # Shares of the last place, not of the number of rows.
        """
def neuron_over(number, down, right):
    return lambda maps: maps[
        :, int(down * (maps.shape[1] - 1)), int(right * (maps.shape[2] - 1)), number
    ]
""",
        # The middle, as before.
        """
def neuron_over(number, down, right):
    return lambda maps: maps[:, maps.shape[1] // 2, maps.shape[2] // 2, number]
""",
        # The side of the map is that of the rows.
        """
def neuron_over(number, down, right):
    return lambda maps: maps[:, int(down * maps.shape[1]), int(right * maps.shape[1]), number]
""",
        # A number in place of an objective.
        """
def neuron_over(number, down, right):
    return down * right
""",
    ],
    "7.2": [
        # Each is most like itself.
        """
def most_alike(maps):
    return tf.reduce_max(gram_cosines(maps), axis=1)
""",
        # The mean.
        """
def most_alike(maps):
    return likeness(maps)
""",
        # Compared place by place, not by which filters answer together.
        """
def most_alike(maps):
    flat = tf.math.l2_normalize(tf.reshape(maps, (maps.shape[0], -1)), axis=1)
    return tf.reduce_max(tf.matmul(flat, flat, transpose_b=True) - 2 * tf.eye(len(flat)), axis=1)
""",
        # The least alike.
        """
def most_alike(maps):
    return tf.reduce_min(gram_cosines(maps) + tf.eye(maps.shape[0]), axis=1)
""",
        # One number for all.
        """
def most_alike(maps):
    return tf.reduce_max(gram_cosines(maps) - 2 * tf.eye(maps.shape[0]))
""",
    ],
    "7.3": [
        # How many there are at all.
        """
def effective_count(labels):
    return len(set(labels.tolist()))
""",
        # The share is not squared.
        """
def effective_count(labels):
    shares = np.bincount(labels) / len(labels)
    return 1 / shares.max()
""",
        # Two different images.
        """
def effective_count(labels):
    counts = np.bincount(labels)
    pairs = (counts * (counts - 1)).sum() / len(labels) / (len(labels) - 1)
    return 1 / max(pairs, 1e-9)
""",
        # The chance itself.
        """
def effective_count(labels):
    return np.sum((np.bincount(labels) / len(labels)) ** 2)
""",
        # The entropy's.
        """
def effective_count(labels):
    counts = np.unique(labels, return_counts=True)[1]
    shares = counts / len(labels)
    return np.exp(-np.sum(shares * np.log(shares)))
""",
    ],
}
