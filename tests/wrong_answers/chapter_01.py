"""Wrong answers to the exercises of chapter 1."""

WRONG: dict[str, list[str]] = {
    "1.1": [
        # Finds bright areas, too.
        "diagonal = np.eye(3)",
        # The other diagonal.
        "diagonal = np.array([[-1, -1, 2], [-1, 2, -1], [2, -1, -1]])",
        # Spots and lines of any direction.
        "diagonal = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])",
        # A diagonal edge, not a line.
        "diagonal = np.array([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]])",
        # Dark lines.
        "diagonal = -np.array([[2, -1, -1], [-1, 2, -1], [-1, -1, 2]])",
        # Only nearly 0 in even areas.
        "diagonal = np.array([[2, -1, -1], [-1, 2.5, -1], [-1, -1, 2]])",
        # Level lines.
        "diagonal = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]])",
        # Nine numbers in a row.
        "diagonal = np.array([2, -1, -1, -1, 2, -1, -1, -1, 2])",
    ],
    "1.2": [
        # No biases.
        "def count_weights(height, width, channels, filters):\n"
        "    return height * width * channels * filters",
        # One bias for the layer.
        "def count_weights(height, width, channels, filters):\n"
        "    return height * width * channels * filters + 1",
        # A bias for each channel.
        "def count_weights(height, width, channels, filters):\n"
        "    return (height * width + 1) * channels * filters",
        # Square kernels only.
        "def count_weights(height, width, channels, filters):\n"
        "    return (height * height * channels + 1) * filters",
        # The kernels of the table only.
        "def count_weights(height, width, channels, filters):\n"
        "    return (9 * channels + 1) * filters",
        # One channel.
        "def count_weights(height, width, channels, filters):\n"
        "    return (height * width + 1) * filters",
    ],
    "1.3": [
        # The kernel's picture.
        "def best_patch(kernel):\n    return kernel_picture(kernel)",
        # Not below 0, but not as bright as can be.
        "def best_patch(kernel):\n    return np.clip(kernel, 0, 255)",
        "def best_patch(kernel):\n    return np.maximum(kernel, 0) / kernel.max() * 255",
        # Outside of the range.
        "def best_patch(kernel):\n    return np.sign(kernel) * 255",
        # The strongest place only.
        "def best_patch(kernel):\n    return np.where(kernel == kernel.max(), 255, 0)",
        # By the mean instead of 0.
        "def best_patch(kernel):\n    return np.where(kernel > kernel.mean(), 255, 0)",
        # White.
        "def best_patch(kernel):\n    return np.full(kernel.shape, 255)",
        # Upside down.
        "def best_patch(kernel):\n    return np.where(kernel < 0, 255, 0)",
    ],
}
