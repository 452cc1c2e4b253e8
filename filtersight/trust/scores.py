"""Numbers beside a picture: how far it can be trusted.

Each number is defined in one sentence, at its place in `Scores`. None of them alone proves anything;
chapter 9 shows what each finds and what each misses.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import keras
import numpy as np
from tqdm import tqdm

from filtersight.basics.checks import Size, check_whole, is_list, shown, sides, two_digits
from filtersight.basics.figures import FilterPicture
from filtersight.networks.flat import unfold
from filtersight.networks.layers import Layer, channels
from filtersight.networks.load import load_model
from filtersight.world.patterns import NAMES, images
from filtersight.world.sample import sample

# The most that a held-out look is moved: larger than what the recipe practises (SHIFT and TURN in ascent/clear.py).
SHIFT, TURN, NOISE = 8, 10.0, 8.0  # pixels, degrees, grey levels
LOOKS = 16
FINE = 0.25  # waves a pixel; what is finer has a wavelength below four pixels


class Reality(NamedTuple):
    """What the filters of a layer answer to real images."""

    images: np.ndarray  # (n, height, width, channels) uint8
    answers: np.ndarray  # (n, filters) float32, by `activations`
    labels: np.ndarray | None  # (n,) places in patterns.NAMES, where the images are patterns


def meaning(text: str):
    """A field of `Scores` with the sentence that defines it, which the gallery of an atlas shows."""
    return dataclasses.field(metadata={"meaning": text})


@dataclasses.dataclass(frozen=True)
class Scores:
    """How far the picture of a filter can be trusted."""

    layer: str
    filter: int
    activation: float = meaning(
        "The mean over the filter's map on the 8-bit picture, divided by the highest such mean on any of "
        "the real images; 1 or more means that no real image does better."
    )
    # Where a layer also gives negative values, both are counted from the filter's median over the real images.
    rank: int = meaning(
        "The filter's place in its layer when all filters are sorted by that quotient on this picture; 1 "
        "means that the picture excites no other filter more."
    )
    robustness: float = meaning(
        "The mean answer to the picture shifted, turned and with noise, as the climb never saw it, divided "
        "by the answer to the picture as it is."
    )
    fine: float = meaning(
        "The share of the picture's power in waves shorter than four pixels, divided by the mean share in "
        "the real images; 1 is natural."
    )
    verdict: str | None = meaning(
        "The pattern that an independently trained network sees in the picture."
    )
    # None without a judge.
    preferred: tuple[str, ...] = meaning(
        "The patterns, at most three, whose real images excite the filter most on average, best first."
    )

    @property
    def agrees(self) -> bool | None:
        """Whether the judge's verdict is one of the preferred patterns."""
        return None if self.verdict is None else self.verdict in self.preferred

    def __str__(self) -> str:
        answer = (
            f"{two_digits(self.activation)} × the best real image, rank {self.rank} in its layer"
            if np.isfinite(self.activation)
            else "an answer that is no finite number and cannot be compared with those to real images"
        )
        moved = f", {self.robustness:.0%} when moved" if np.isfinite(self.robustness) else ""
        text = (
            f"{self.layer} filter {self.filter}: {answer}{moved}, "
            f"{two_digits(self.fine)} × the fine waves of real images"
        )
        if self.verdict is not None:
            text += f"; the judge sees {self.verdict}, the filter prefers {', '.join(self.preferred) or 'none'}"
        return text

    __repr__ = __str__


def reality(model: keras.Model, layer: str, count: int = 1000, seed: int = 123) -> Reality:
    """Real images and what the layer answers to them, measured once for each layer and its weights.

    For a network that knows the patterns `count` of their drawings of 128 pixels, with `seed`; for any
    other `sample()`. Of another size for a layer that takes none of 128.
    """
    check_whole("count", count, 1, 10_000)
    check_whole("seed", seed, 0, 2**32 - 1)
    found = Layer(model, layer)
    size = found.usual_size()
    found.check_size(*sides(size))
    key = ("reality", layer, count, seed, found.fingerprint())

    def measure() -> Reality:
        if knows_patterns(model):
            images, labels = drawings(count, seed)
        else:
            images, labels = sample(found.channels), None
        images = resized(images, size)
        return Reality(images, found.activations(images), labels)

    return found.flat.once(key, measure)


def resized(images: np.ndarray, size: Size) -> np.ndarray:
    """The images (n, height, width, channels) uint8, each as a whole in another size."""
    height, width = sides(size)
    if images.shape[1:3] == (height, width):
        return images
    # One channel at a time: OpenCV drops the axis of a single one.
    return np.stack(
        [
            [cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in channel]
            for channel in np.moveaxis(images, -1, 0)
        ],
        axis=-1,
    )


@functools.lru_cache(maxsize=1)
def drawings(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawings of the patterns and their labels: the same for all layers."""
    return images(count, seed, size=128)


def knows_patterns(model: keras.Model) -> bool:
    """Whether the model's answer is one of patterns.NAMES."""
    network = unfold(model)
    if network.last is None or network.shape[-1] != 3:
        return False
    return network.own[network.last].output.shape[1:] == (len(NAMES),)


def preferred(real: Reality, number: int, count: int = 3) -> tuple[str, ...]:
    """The patterns whose images excite filter `number` most on average, best first, `count` at most.

    Those that excite it least of all are none of them, even if there are no others.
    """
    if real.labels is None:
        return ()
    answers = np.ma.masked_invalid(real.answers[:, number])
    means = [
        np.ma.filled(answers[real.labels == label].mean(), -np.inf) for label in range(len(NAMES))
    ]
    best = np.argsort(means)[::-1][:count]
    return tuple(NAMES[label] for label in best if means[label] > min(means))


def fine_share(images: np.ndarray) -> np.ndarray:
    """The share of power in waves shorter than four pixels, 0 to 1, of images (n, height, width, channels): (n,)."""
    grey = images.astype(np.float64).mean(axis=-1)
    power = np.abs(np.fft.fft2(grey)) ** 2
    frequency = np.hypot(
        np.fft.fftfreq(grey.shape[1])[:, None], np.fft.fftfreq(grey.shape[2])[None]
    )
    power[:, 0, 0] = 0  # brightness is not a wave
    total = power.sum(axis=(1, 2))
    return np.divide(
        power[:, frequency > FINE].sum(axis=1), total, out=np.zeros(len(grey)), where=total > 0
    )


class Same(NamedTuple):
    """An array that is equal to itself alone, and so can be what a result is kept by."""

    array: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.array is other.array

    def __hash__(self) -> int:
        return id(self.array)


@functools.lru_cache(maxsize=1)  # it keeps the images alive
def natural_fine_share(images: Same) -> float:
    """The mean of `fine_share` over real images, measured once."""
    return float(fine_share(images.array).mean())


def held_out(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """The image (height, width, channels) uint8 in LOOKS ways, each shifted, turned and with noise: uint8.

    Shifts up to SHIFT pixels, turns up to TURN degrees, noise with a standard deviation of NOISE grey
    levels; what comes in at the edge is the image mirrored.
    """
    rng, (height, width) = np.random.default_rng(seed), image.shape[:2]
    result = []
    for _ in range(LOOKS):
        middle = ((width - 1) / 2, (height - 1) / 2)
        turn = cv2.getRotationMatrix2D(middle, rng.uniform(-TURN, TURN), 1.0)
        shift = np.pad(rng.uniform(-SHIFT, SHIFT, (2, 1)), ((0, 0), (2, 0)))
        # One channel at a time: OpenCV takes four at most, and drops the axis of a single one.
        channels = [
            cv2.warpAffine(each, turn + shift, (width, height), borderMode=cv2.BORDER_REFLECT)
            for each in np.moveaxis(image, -1, 0)
        ]
        moved = np.stack(channels, axis=-1)
        noisy = moved + rng.normal(0, NOISE, moved.shape)
        result.append(np.clip(np.round(noisy), 0, 255).astype(np.uint8))
    return np.stack(result)


def check_reality(real: Reality, layer: Layer) -> None:
    """ValueError unless `real` is what `reality` gives for this layer of this model."""
    good = isinstance(real, Reality) and isinstance(real.answers, np.ndarray) and len(real.answers)
    good = good and real.answers.shape == (len(real.images), layer.filters)
    # The first answer measured again finds those of other weights.
    good = good and np.allclose(
        layer.activations(real.images[:1]), real.answers[:1], rtol=0.01, atol=1e-4, equal_nan=True
    )
    if not good or (real.labels is not None and len(real.labels) != len(real.images)):
        raise ValueError(f"real must be what scores.reality gives for {layer}")


def scores(
    model: keras.Model,
    pictures: Sequence[FilterPicture],
    *,
    real: Reality | None = None,
    judge: keras.Model | None = None,
) -> list[Scores]:
    """How far pictures of one layer can be trusted, a `Scores` for each.

    `real`: images and answers to compare with, as `reality` gives them (that is taken if it is not
    given). `judge`: an independently trained network that knows the same patterns; if not given and the
    model knows patterns, the one that comes with the course. ValueError for anything but pictures of one
    layer and one size, a judge that is none, and a reality of another layer or of other weights.
    """
    pictures = list(pictures) if is_list(pictures) else []
    name, size = check_pictures(model, pictures)
    layer = Layer(model, name)
    judge = check_judge(model, judge, *size)
    real = reality(model, name) if real is None else real
    check_reality(real, layer)
    images = np.stack([picture.image for picture in pictures])
    answers = layer.activations(images)
    known = np.isfinite(real.answers)  # a few images may have no answer that is a number
    middle = np.ma.median(np.ma.masked_invalid(real.answers), axis=0)
    middle = np.ma.filled(middle, 0) * (real.answers[known] < 0).any()
    answers, best = answers - middle, np.where(known, real.answers, -np.inf).max(axis=0) - middle
    # A filter that no real image fires has no quotient; it is not counted among the others.
    quotients = np.divide(answers, best, out=np.zeros_like(answers), where=best > 0)
    quotients[~np.isfinite(answers)] = np.nan
    fine = fine_share(images) / natural_fine_share(Same(real.images))
    verdicts = verdicts_of(judge, images)
    result = []
    for row, picture in enumerate(tqdm(pictures, "scores", delay=2, leave=False)):
        number = picture.filter
        own = float(answers[row, number])
        moved = layer.activations(held_out(picture.image))[:, number]
        moved = np.where(np.isfinite(moved), moved - middle[number], 0).mean()
        result.append(
            Scores(
                name,
                number,
                float(quotients[row, number]),
                place(quotients[row], number),
                float(moved / own) if own > 0 or np.isnan(own) else 0.0,
                float(fine[row]),
                verdicts[row],
                preferred(real, number),
            )
        )
    return result


def place(quotients: np.ndarray, number: int) -> int:
    """The rank of a filter among `quotients` (filters,); the last where its answer is not a number."""
    if np.isnan(quotients[number]):
        return len(quotients)
    return int((quotients > quotients[number]).sum()) + 1


def verdicts_of(judge: keras.Model | None, images: np.ndarray) -> list[str | None]:
    """The pattern that the judge sees in each image (n, size, size, 3) uint8; None without a judge."""
    if judge is None:
        return [None] * len(images)
    # Not by predict(), whose graph would be that of a judge changed since.
    guesses = np.argmax(Layer(judge, str(unfold(judge).last)).activations(images), axis=1)
    return [NAMES[guess] for guess in guesses]


def check_pictures(
    model: keras.Model, pictures: Sequence[FilterPicture]
) -> tuple[str, tuple[int, int]]:
    """The layer, and height and width, of pictures; ValueError unless they are of one layer and one size.

    They must be square, too, but for a network that takes no square.
    """
    if not pictures or not all(isinstance(each, FilterPicture) for each in pictures):
        raise ValueError(
            f"pictures must be a list of FilterPictures of one layer, not {shown(pictures)}"
        )
    layers = sorted({str(picture.layer) for picture in pictures})
    if len(layers) > 1:
        raise ValueError(f"pictures are of several layers: {', '.join(layers)}; give those of one")
    for picture in pictures:
        Layer(model, layers[0]).check_filters([picture.filter])
        if not is_image(picture.image, channels(model)):
            raise ValueError(
                f"the image of a picture must be uint8 (height, width, {channels(model)}), "
                f"not {shown(picture.image)}"
            )
    shapes = sorted({picture.image.shape for picture in pictures})
    height, width = shapes[0][:2]
    # Others are drawn only where the network takes no square.
    allowed = [(height, height), *(sides(picture.recipe.size) for picture in pictures)]
    if len(shapes) > 1 or (height, width) not in allowed:
        raise ValueError(f"pictures must be square and of one size, not {shapes}")
    return layers[0], (height, width)


def is_image(image: object, channels: int) -> bool:
    """Whether it is (height, width, channels) uint8."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        return False
    return image.shape[-1] == channels


def check_judge(
    model: keras.Model, judge: keras.Model | None, height: int, width: int
) -> keras.Model | None:
    """The judge given, or the course's for a model that knows patterns; ValueError for one that is none."""
    if judge is None and not knows_patterns(model):
        return None
    judge = load_model("pocketvgg_judge") if judge is None else judge
    if not isinstance(judge, keras.Model) or not knows_patterns(judge):
        raise ValueError(
            f"judge must be a network that knows the {len(NAMES)} patterns, as "
            f"load_model('pocketvgg_judge') is one, not {shown(judge)}"
        )
    last = [each.name for each in judge.layers if len(each.output.shape) == 4][-1]
    Layer(judge, last).check_size(height, width)
    return judge


class Question(NamedTuple):
    """Two real images, of which one excites the filter much and one little (Borowski et al. 2021)."""

    filter: int
    images: np.ndarray  # (2, height, width, 3) uint8
    right: int  # 0 or 1: the one that excites the filter more
    references: np.ndarray  # (9, height, width, 3) uint8: other images that excite it most


def questions(
    real: Reality, filters: Sequence[int], each: int = 4, seed: int = 0
) -> list[Question]:
    """`each` questions for each filter, from its real images.

    The nine images that excite the filter most are the references; the right answers come from the next
    `each`, the wrong ones from the half of the images that excites it least. Filters that answer so
    rarely that the two cannot be told apart are left out.
    """
    count = real.answers.shape[1]
    check_whole("each", each, 1, max(1, len(real.images) // 2 - 9))
    check_whole("seed", seed, 0, 2**32 - 1)
    for number in filters:
        check_whole("filter", number, 0, count - 1)
    rng, result = np.random.default_rng(seed), []
    for number in filters:
        answers = np.nan_to_num(real.answers[:, number], nan=-np.inf, posinf=-np.inf)
        order = np.argsort(answers, kind="stable")[::-1]
        answers = answers[order]
        if len(order) < 2 * (9 + each) or not answers[8 + each] > answers[len(order) // 2]:
            continue
        for strong in order[9 : 9 + each]:
            weak = rng.choice(order[len(order) // 2 :])
            right = int(rng.integers(2))
            pair = real.images[[strong, weak] if right == 0 else [weak, strong]]
            result.append(Question(number, pair, right, real.images[order[:9]]))
    return result


def features(judge: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the judge sees, before it puts a name to it: (n, channels), each of length 1."""
    network = unfold(judge).once(
        ("features",), lambda: Layer(judge, list(unfold(judge).own)[-2]).network
    )
    seen = network.predict(images, batch_size=64, verbose=0)
    return seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-9)


def machine_choice(judge: keras.Model, question: Question, shown: np.ndarray | None) -> int:
    """A machine's answer, 0 or 1: the image that looks more like what is `shown`, (n, h, w, 3) uint8.

    Alike is what an independent network sees as alike, by the cosine of its features. With nothing shown
    it takes the image of higher contrast: the best that one can do without knowing the filter.
    """
    if shown is None:
        return int(np.argmax(question.images.std(axis=(1, 2, 3))))
    references = features(judge, shown).mean(axis=0)
    return int(np.argmax(features(judge, question.images) @ references))
