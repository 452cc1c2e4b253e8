"""Wrong answers to the exercises of chapter 5."""

WRONG = {
    "5.1": [
        # The size is forgotten.
        """def images_that_fit(model, layer, size, limit):
    return int(limit // megabytes(model, layer, 1))""",
        # Rounded instead of rounded down.
        """def images_that_fit(model, layer, size, limit):
    return round(limit / megabytes(model, layer, 1, size))""",
        # Not rounded.
        """def images_that_fit(model, layer, size, limit):
    return limit / megabytes(model, layer, 1, size)""",
        # One more than fits.
        """def images_that_fit(model, layer, size, limit):
    images = 1
    while megabytes(model, layer, images, size) <= limit:
        images *= 2
    return images""",
        # Only the last layer's maps.
        """def images_that_fit(model, layer, size, limit):
    shape = submodel(model, layer).compute_output_shape((1, size, size, 3))
    return int(limit * 1e6 // (4 * np.prod(shape)))""",
        # One more: up, not down.
        """def images_that_fit(model, layer, size, limit):
    return int(np.ceil(limit / megabytes(model, layer, 1, size)))""",
    ],
    "5.2": [
        # Maximum for mean.
        """def favourites(answers, labels):
    names = np.unique(labels)
    return names[np.argmax([answers[labels == name].max(axis=0) for name in names], axis=0)]""",
        # Sum for mean.
        """def favourites(answers, labels):
    names = np.unique(labels)
    return names[np.argmax([answers[labels == name].sum(axis=0) for name in names], axis=0)]""",
        # The place in the list instead of the pattern's number.
        """def favourites(answers, labels):
    names = np.unique(labels)
    return np.argmax([answers[labels == name].mean(axis=0) for name in names], axis=0)""",
        # One pattern for all filters.
        """def favourites(answers, labels):
    names = np.unique(labels)
    return names[np.argmax([answers[labels == name].mean() for name in names])]""",
        # The pattern of the strongest image.
        """def favourites(answers, labels):
    return labels[np.argmax(answers, axis=0)]""",
        # The weakest.
        """def favourites(answers, labels):
    names = np.unique(labels)
    return names[np.argmin([answers[labels == name].mean(axis=0) for name in names], axis=0)]""",
    ],
    "5.3": [
        # The mean counts.
        """def coarse_share(image, wavelength):
    power = np.abs(np.fft.fft2(image.mean(axis=-1))) ** 2
    per_pixel = np.fft.fftfreq(len(image))
    return power[np.hypot(per_pixel[:, None], per_pixel) < 1 / wavelength].sum() / power.sum()""",
        # Amplitudes, not power.
        """def coarse_share(image, wavelength):
    grey = image.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey - grey.mean()))
    per_pixel = np.fft.fftfreq(len(image))
    return power[np.hypot(per_pixel[:, None], per_pixel) < 1 / wavelength].sum() / power.sum()""",
        # The other part.
        """def coarse_share(image, wavelength):
    grey = image.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    per_pixel = np.fft.fftfreq(len(image))
    return power[np.hypot(per_pixel[:, None], per_pixel) > 1 / wavelength].sum() / power.sum()""",
        # Frequency taken for wavelength.
        """def coarse_share(image, wavelength):
    grey = image.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    per_pixel = np.fft.fftfreq(len(image))
    return power[np.hypot(per_pixel[:, None], per_pixel) < wavelength].sum() / power.sum()""",
        # Only the waves along each axis: slanted ones are taken for longer than they are.
        """def coarse_share(image, wavelength):
    grey = image.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    per_pixel = np.abs(np.fft.fftfreq(len(image)))
    long = np.maximum(per_pixel[:, None], per_pixel) < 1 / wavelength
    return power[long].sum() / power.sum()""",
    ],
}
