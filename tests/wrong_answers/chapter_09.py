"""Wrong answers to the exercises of chapter 9, as a reader would write them."""

WRONG = {
    "9.1": [
        # Not divided, the mean, filter 3 only, the filter's number, by eye.
        "highest_of_noise = 0.217",
        "highest_of_noise = 0.116",
        "highest_of_noise = 0.286",
        "highest_of_noise = 23",
        "highest_of_noise = 1.0",
    ],
    "9.2": [
        """def by_chance(verdicts, liked):
    return float(np.mean([verdict in three for verdict, three in zip(verdicts, liked)]))""",
        """def by_chance(verdicts, liked):
    return 3 / 45""",
        """def by_chance(verdicts, liked):
    order = np.random.default_rng(0).permutation(len(verdicts))
    return float(np.mean([verdicts[i] in three for i, three in zip(order, liked)]))""",
        """def by_chance(verdicts, liked):
    return float(np.mean([verdict in three for verdict in set(verdicts) for three in liked]))""",
        """def by_chance(verdicts, liked):
    return sum(verdict in three for verdict in verdicts for three in liked) / len(verdicts)""",
    ],
    "9.3": [
        # Phases thrown one by one, of which the real part keeps half of the power.
        """def scrambled(image, seed):
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, image.shape)
    phases[0, 0] = 0
    waves = np.abs(np.fft.fft2(image, axes=(0, 1))) * np.exp(1j * phases)
    return np.fft.ifft2(waves, axes=(0, 1)).real""",
        # The mean may change its sign.
        """def scrambled(image, seed):
    phases = np.angle(np.fft.fft2(-np.random.default_rng(seed).random(image.shape), axes=(0, 1)))
    waves = np.abs(np.fft.fft2(image, axes=(0, 1))) * np.exp(1j * phases)
    return np.fft.ifft2(waves, axes=(0, 1)).real""",
        # A shifted image has the same amplitudes.
        """def scrambled(image, seed):
    return np.roll(image, 7 * seed, axis=(0, 1)).astype(float)""",
        # Pixels in another order have not.
        """def scrambled(image, seed):
    pixels = np.random.default_rng(seed).permutation(image.reshape(-1, 3))
    return pixels.reshape(image.shape).astype(float)""",
        # Over the channels, too.
        """def scrambled(image, seed):
    noise = np.random.default_rng(seed).normal(size=image.shape)
    phases = np.angle(np.fft.fftn(noise))
    phases[0, 0, 0] = 0
    return np.fft.ifftn(np.abs(np.fft.fftn(image)) * np.exp(1j * phases)).real""",
        # Complex.
        """def scrambled(image, seed):
    noise = np.random.default_rng(seed).normal(size=image.shape)
    phases = np.angle(np.fft.fft2(noise, axes=(0, 1)))
    phases[0, 0] = 0
    waves = np.abs(np.fft.fft2(image, axes=(0, 1))) * np.exp(1j * phases)
    return np.fft.ifft2(waves, axes=(0, 1))""",
        # The seed forgotten.
        """def scrambled(image, seed):
    noise = np.random.default_rng(0).normal(size=image.shape)
    phases = np.angle(np.fft.fft2(noise, axes=(0, 1)))
    phases[0, 0] = 0
    waves = np.abs(np.fft.fft2(image, axes=(0, 1))) * np.exp(1j * phases)
    return np.fft.ifft2(waves, axes=(0, 1)).real""",
        "def scrambled(image, seed):\n    return image.astype(float)",
    ],
}
