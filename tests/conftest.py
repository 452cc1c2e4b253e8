"""Settings and fixtures of the tests."""

import gc

import chapters  # noqa: F401, sets the environment of this process, too
import pytest


def pytest_collection_finish():
    """Python looks through all objects again and again for what can go: not through those that stay."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def what_stays():
    """The same for what a file leaves behind for the others."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def model():
    """PocketVGG, which no test may change: what is measured of it, and its graphs, serve all of them."""
    from filtersight.world import pocketvgg

    return pocketvgg.load()


@pytest.fixture(scope="module")
def few_real_images():
    """Two pictures of each pattern, and the cuts of the photo, in the place of all real images."""
    from filtersight.world import sample

    def forget():
        sample.drawn.cache_clear()
        sample.sample.cache_clear()

    images = sample.images
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "images", lambda count, **options: images(90, **options))
        forget()
        yield
    forget()
