"""The explorer's real widgets, driven without a browser."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

import helpers
import patterns


@pytest.fixture(scope="module")
def model():
    return patterns.load()


def drive(model, scenario):
    """Runs `scenario(explorer)` in an event loop, as in Jupyter, and checks that no task is left."""

    async def main():
        explorer = helpers.explorer(model, size=64)
        await scenario(explorer)
        explorer.close()
        await asyncio.sleep(0.05)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left

    asyncio.run(main())


async def finished(explorer, seconds=60):
    """Waits until the explorer's picture is done."""
    async with asyncio.timeout(seconds) if hasattr(asyncio, "timeout") else no_limit():
        while explorer.running:
            await asyncio.sleep(0.01)


class no_limit:  # Python 3.10 has no asyncio.timeout
    async def __aenter__(self): ...
    async def __aexit__(self, *_): ...


def test_the_picture_grows_and_is_what_visualize_makes(model):
    async def scenario(explorer):
        frames = []
        explorer.picture.observe(lambda change: frames.append(change["new"]), "value")
        explorer.iterations.value = 60
        await finished(explorer)
        assert len(set(frames)) >= 5
        layer, number = explorer.layer.value, explorer.filter.value
        made = helpers.visualize(model, layer, [number], recipe="plain", steps=60, size=64)[0]
        assert np.array_equal(explorer.result.image, made.image)
        shown = np.asarray(Image.open(io.BytesIO(explorer.picture.value)).resize((64, 64)))
        assert np.corrcoef(shown.ravel(), made.image.ravel())[0, 1] > 0.7
        assert str(made).split(";")[0] in explorer.facts.value
        assert explorer.progress.value == explorer.progress.max == 60
        assert explorer.button.description == "Run"

    drive(model, scenario)


def test_a_layer_brings_its_own_filter_range(model):
    async def scenario(explorer):
        explorer.layer.value = "block5_conv1"
        assert explorer.filter.max == 95
        explorer.filter.value = 90
        explorer.layer.value = "block1_conv1"
        assert explorer.filter.max == explorer.filter.value == 15
        await finished(explorer)
        assert (explorer.result.layer, explorer.result.filter) == ("block1_conv1", 15)

    drive(model, scenario)


def test_every_layer_can_be_chosen_and_the_filter_slider_follows(model):
    async def scenario(explorer):
        for name in helpers.conv_layers(model):
            explorer.layer.value = name
            assert explorer.filter.max + 1 == model.get_layer(name).filters

    drive(model, scenario)


def test_stop_keeps_what_is_there_and_run_goes_on(model):
    async def scenario(explorer):
        explorer.iterations.value = 300
        while explorer.progress.value < 5:
            await asyncio.sleep(0.01)
        explorer.button.click()
        await finished(explorer, seconds=2)
        done = explorer.progress.value
        assert 5 <= done < 300 and explorer.left.value == "stopped"
        assert len(explorer.result.history) == done == explorer.result.recipe["steps"]
        assert explorer.button.description == "Run"
        explorer.iterations.value = 20
        await finished(explorer)
        assert len(explorer.result.history) == 20
        explorer.button.click()
        assert explorer.running and explorer.button.description == "Stop"
        await finished(explorer)

    drive(model, scenario)


def test_a_slider_moved_during_a_run_drops_the_old_picture(model):
    async def scenario(explorer):
        results = []
        explorer.iterations.value = 120
        for number in (3, 4, 5, 6):
            explorer.filter.value = number
            while explorer.progress.value < 2:
                await asyncio.sleep(0.01)
            results.append(explorer.result)
        await finished(explorer)
        assert results == [None] * 4  # none of the dropped ones was finished
        assert explorer.result.filter == 6 and len(explorer.result.history) == 120

    drive(model, scenario)


def test_an_error_is_shown_and_the_next_picture_works(model, monkeypatch):
    async def scenario(explorer):
        await finished(explorer)

        def broken(*_args, **_kwargs):
            raise RuntimeError("no memory for <this>")

        with monkeypatch.context() as patch:
            patch.setattr(helpers, "ascend", broken)
            explorer.filter.value = 7
            await finished(explorer)
            assert "RuntimeError: no memory for &lt;this&gt;" in explorer.facts.value
            assert explorer.button.description == "Run"
        explorer.filter.value = 8
        await finished(explorer)
        assert explorer.result.filter == 8

    drive(model, scenario)


def test_an_error_at_the_end_is_shown_too(model, monkeypatch):
    async def scenario(explorer):
        await finished(explorer)

        def broken(*_args, **_kwargs):
            raise MemoryError("too much")

        with monkeypatch.context() as patch:
            patch.setattr(helpers, "finish", broken)
            explorer.filter.value = 7
            await finished(explorer)
        assert explorer.facts.value == "MemoryError: too much"
        assert explorer.button.description == "Run"

    drive(model, scenario)


def test_close_ends_the_run(model):
    async def scenario(explorer):
        explorer.iterations.value = 300
        while explorer.progress.value < 3:
            await asyncio.sleep(0.01)
        # drive() closes it, and looks for tasks that are left

    drive(model, scenario)


def test_two_explorers_do_not_disturb_each_other(model):
    async def scenario(explorer):
        other = helpers.explorer(model, size=64)
        other.filter.value = 9
        explorer.filter.value = 2
        await finished(explorer)
        await finished(other)
        assert (explorer.result.filter, other.result.filter) == (2, 9)
        other.close()

    drive(model, scenario)


def test_without_an_event_loop_the_picture_is_made_at_once(model):
    explorer = helpers.explorer(model, size=32)
    assert explorer.result is not None and explorer.result.status == "alive"
    assert "\n" not in repr(explorer) and "pocketvgg" in repr(explorer)
