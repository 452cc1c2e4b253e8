"""Wrong answers to the exercises of chapter 6."""

WRONG: dict[str, list[str]] = {
    "6.1": [
        # upside down
        "def mirror(images, seed):\n"
        "    return tf.where(tf.random.stateless_uniform([], seed) < 0.5, images, images[:, ::-1])",
        # the colours exchanged
        "def mirror(images, seed):\n"
        "    return tf.where(tf.random.stateless_uniform([], seed) < 0.5, images, images[..., ::-1])",
        # always
        "def mirror(images, seed):\n    return images[:, :, ::-1]",
        # chance without the seed
        "def mirror(images, seed):\n"
        "    return tf.where(tf.random.uniform([]) < 0.5, images, images[:, :, ::-1])",
        # each image by itself
        "def mirror(images, seed):\n"
        "    chance = tf.random.stateless_uniform([len(images), 1, 1, 1], seed)\n"
        "    return tf.where(chance < 0.5, images, images[:, :, ::-1])",
        # only seldom
        "def mirror(images, seed):\n"
        "    return tf.where(tf.random.stateless_uniform([], seed) < 0.9, images, images[:, :, ::-1])",
        # a matrix transposed
        "def mirror(images, seed):\n    return tf.transpose(images, (0, 2, 1, 3))",
    ],
    "6.2": [
        # all images get the same contrast
        "def bounded(heights, limit):\n"
        "    contrast = tf.math.reduce_std(heights, axis=(1, 2, 3), keepdims=True)\n"
        "    return heights * tf.math.divide_no_nan(limit, contrast)",
        # one contrast for the whole batch
        "def bounded(heights, limit):\n"
        "    return heights * tf.minimum(1.0, limit / tf.math.reduce_std(heights))",
        # clipped
        "def bounded(heights, limit):\n    return tf.clip_by_value(heights, -limit, limit)",
        # the variance
        "def bounded(heights, limit):\n"
        "    contrast = tf.math.reduce_variance(heights, axis=(1, 2, 3), keepdims=True)\n"
        "    return heights * tf.minimum(1.0, tf.math.divide_no_nan(limit, contrast))",
        # each colour by itself
        "def bounded(heights, limit):\n"
        "    contrast = tf.math.reduce_std(heights, axis=(1, 2), keepdims=True)\n"
        "    return heights * tf.minimum(1.0, tf.math.divide_no_nan(limit, contrast))",
        # the largest height
        "def bounded(heights, limit):\n"
        "    largest = tf.reduce_max(tf.abs(heights), axis=(1, 2, 3), keepdims=True)\n"
        "    return heights * tf.minimum(1.0, tf.math.divide_no_nan(limit, largest))",
        # about zero instead of about the mean
        "def bounded(heights, limit):\n"
        "    size = tf.sqrt(tf.reduce_mean(heights**2, axis=(1, 2, 3), keepdims=True))\n"
        "    return heights * tf.minimum(1.0, tf.math.divide_no_nan(limit, size))",
        # an even image, whose standard deviation is 0, becomes 0
        "def bounded(heights, limit):\n"
        "    contrast = tf.math.reduce_std(heights, axis=(1, 2, 3), keepdims=True)\n"
        "    return heights * tf.minimum(1.0, tf.math.divide_no_nan(limit, contrast))",
        # without keepdims
        "def bounded(heights, limit):\n"
        "    contrast = tf.math.reduce_std(heights, axis=(1, 2, 3))\n"
        "    return heights * tf.minimum(1.0, limit / contrast)",
    ],
    "6.3": [
        # the other half
        "def without_grain(picture, shortest):\n"
        "    frequency = np.fft.fftfreq(len(picture))\n"
        "    kept = np.hypot(frequency[:, None], frequency) > 1 / shortest\n"
        "    waves = np.fft.fft2(picture, axes=(0, 1)) * kept[..., None]\n"
        "    return np.fft.ifft2(waves, axes=(0, 1)).real",
        # lengths taken for frequencies
        "def without_grain(picture, shortest):\n"
        "    frequency = np.fft.fftfreq(len(picture))\n"
        "    kept = np.hypot(frequency[:, None], frequency) <= shortest\n"
        "    waves = np.fft.fft2(picture, axes=(0, 1)) * kept[..., None]\n"
        "    return np.fft.ifft2(waves, axes=(0, 1)).real",
        # a square of frequencies instead of a disc
        "def without_grain(picture, shortest):\n"
        "    frequency = np.abs(np.fft.fftfreq(len(picture)))\n"
        "    kept = np.maximum(frequency[:, None], frequency) <= 1 / shortest\n"
        "    waves = np.fft.fft2(picture, axes=(0, 1)) * kept[..., None]\n"
        "    return np.fft.ifft2(waves, axes=(0, 1)).real",
        # in grey only
        "def without_grain(picture, shortest):\n"
        "    frequency = np.fft.fftfreq(len(picture))\n"
        "    kept = np.hypot(frequency[:, None], frequency) <= 1 / shortest\n"
        "    grey = np.fft.ifft2(np.fft.fft2(picture.mean(axis=-1)) * kept).real\n"
        "    return np.repeat(grey[..., None], 3, axis=-1)",
        # without the mean, as in high_frequencies
        "def without_grain(picture, shortest):\n"
        "    frequency = np.fft.fftfreq(len(picture))\n"
        "    kept = np.hypot(frequency[:, None], frequency) <= 1 / shortest\n"
        "    waves = np.fft.fft2(picture - picture.mean(), axes=(0, 1)) * kept[..., None]\n"
        "    return np.fft.ifft2(waves, axes=(0, 1)).real",
        # no absolute value: negative frequencies count as low
        "def without_grain(picture, shortest):\n"
        "    frequency = np.fft.fftfreq(len(picture))\n"
        "    kept = (frequency[:, None] <= 1 / shortest) & (frequency <= 1 / shortest)\n"
        "    waves = np.fft.fft2(picture, axes=(0, 1)) * kept[..., None]\n"
        "    return np.fft.ifft2(waves, axes=(0, 1)).real",
        # the last two axes, numpy's default
        "def without_grain(picture, shortest):\n"
        "    frequency = np.fft.fftfreq(len(picture))\n"
        "    kept = np.hypot(frequency[:, None], frequency) <= 1 / shortest\n"
        "    return np.fft.ifft2(np.fft.fft2(picture) * kept[..., None]).real",
        # rounded
        "def without_grain(picture, shortest):\n"
        "    frequency = np.fft.fftfreq(len(picture))\n"
        "    kept = np.hypot(frequency[:, None], frequency) <= 1 / shortest\n"
        "    waves = np.fft.fft2(picture, axes=(0, 1)) * kept[..., None]\n"
        "    return np.uint8(np.fft.ifft2(waves, axes=(0, 1)).real)",
    ],
}
