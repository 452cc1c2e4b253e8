"""Real images to compare pictures with, whatever the network."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from filtersight.basics.images import in_channels, photo
from filtersight.world.patterns import images

SAMPLE_SIZE = 128  # pixels; larger images would say the same and take minutes


@functools.lru_cache(maxsize=1)
def sample(channels: int = 3) -> np.ndarray:
    """Images to judge silent filters by, (551, 128, 128, channels) uint8: 512 patterns, 39 cuts of the photo.

    RGB; grey for one channel; for any other number red, green and blue in turn.
    """
    return drawn() if channels == 3 else in_channels(drawn(), channels)


@functools.cache
def drawn() -> np.ndarray:
    """The same in RGB, drawn once for all numbers of channels."""
    patterns, _ = images(512, seed=0, size=SAMPLE_SIZE)
    whole_photo, cuts = photo(224), []
    for side in (224, 160, 112, 80, 56):
        for top in range(0, 225 - side, 56):
            for left in range(0, 225 - side, 56):
                cut = whole_photo[top : top + side, left : left + side]
                cuts.append(cv2.resize(cut, (SAMPLE_SIZE, SAMPLE_SIZE), None, 0, 0, cv2.INTER_AREA))
    return np.concatenate([patterns, cuts])
