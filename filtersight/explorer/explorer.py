"""The explorer: sliders for layer, filter and iterations beside a picture that grows.

`explorer(model)` makes one. Everything that it draws comes from `ascent.climb.frames`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import html
import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
import keras
import numpy as np
from IPython import get_ipython

from filtersight.ascent.climb import frames, judge
from filtersight.ascent.plain import graph_key
from filtersight.ascent.recipe import RECIPES, recipe_for, start_image
from filtersight.ascent.visualize import visualize
from filtersight.basics.checks import Size, pixels_text, sides
from filtersight.basics.figures import FilterPicture, grid, show_widget
from filtersight.basics.images import encode_jpeg
from filtersight.basics.recipe import Recipe, Settings
from filtersight.explorer.curve import curve
from filtersight.explorer.sheet import Sheet
from filtersight.networks.flat import unfold
from filtersight.networks.layers import Layer, filter_count, to_picture

SIZES = (64, 96, 128, 192, 256, 384)  # pixels
FOLDER = "filter_pictures"  # where Save writes, in the folder that the notebook runs in
KEPT = 2**24  # bytes of pictures that are kept, to come back at once
BATCH, SHEET_SIZE, SHEET_STEPS = 16, 64, 30  # of the small pictures: filters at a time, pixels
LOOK = 0.04  # seconds from one look at a climb to the next; a browser shows about half of the looks
# The explorers of each cell and the number of its run, so that they end when the cell is run again.
_of_cell: dict[str, tuple[int, list[Explorer]]] = {}


def end_older(explorer: Explorer) -> None:
    """Closes what an earlier run of the cell has made; front ends that do not name cells keep it."""
    shell = get_ipython()
    parent = (shell.get_parent() if hasattr(shell, "get_parent") else None) or {}
    cell = (parent.get("metadata") or {}).get("cellId")
    if cell is None:
        return
    run, explorers = _of_cell.get(cell, (shell.execution_count, []))
    if run != shell.execution_count:
        for each in explorers:
            each.close()
        explorers = []
    _of_cell[cell] = (shell.execution_count, [*explorers, explorer])


def size_options(layer: Layer, size: Size) -> list[tuple[str, Size]]:
    """The sizes to choose from, each with its text: `size`, and those of SIZES that the layer takes."""
    sizes = {*filter(layer.fits, SIZES), size}
    return [(f"{pixels_text(each)} pixels", each) for each in sorted(sizes, key=sides)]


class Explorer(widgets.VBox):
    """What `explorer` gives.

    Any change drops the picture in the making and starts the new one; one that was made before comes
    back at once. One asyncio task does the work: it climbs for an instant, shows the picture, and gives
    way to the browser. There is no thread, because Colab does not show what threads change.
    """

    task: asyncio.Task | None = None

    def __init__(self, model: keras.Model, *, recipe: str, size: int | None, seed: int):
        names = to_picture(model)
        if not names:
            raise ValueError(
                f"{model.name} has no convolution layer to explore, nor any with weights"
            )
        layer = names[len(names) // 4]
        wished = Settings(recipe=recipe, size=size, seed=seed, rescue=False)
        begun_with = recipe_for(Layer(model, layer), wished)
        self.model, self.flat = model, unfold(model)
        self.kept: OrderedDict[Recipe, tuple[FilterPicture, float]] = OrderedDict()
        self.climbing = self.anew = False
        self.result: FilterPicture | None = None
        # Begins with a filter that has something to climb.
        answers = Layer(model, layer).activations(start_image(begun_with)[None])[0]
        answering = np.flatnonzero(np.isfinite(answers) & (answers != 0))
        first = int(answering[0]) if len(answering) else 0
        most_filters = max(filter_count(model, name) for name in names)
        self.make_controls(names, dataclasses.replace(begun_with, filter=first), len(answers))
        self.make_views()
        self.sheet = Sheet(most_filters, self.choose, self.page_turned)
        super().__init__([self.laid_out(), self.facts, self.sheet])

        # The first picture is made before anything is shown: it is what those see who have no widgets.
        begun = time.perf_counter()
        self.still = visualize(model, layer, [first], **vars(begun_with.settings()))[0]
        seconds = time.perf_counter() - begun
        self.keep(dataclasses.replace(begun_with, filter=first), self.still, seconds)
        self.show(self.still, seconds)
        self.sheet.chosen = first
        self.sheet.begin(len(answers))
        self.connect()
        end_older(self)

    def make_controls(self, names: list[str], recipe: Recipe, count: int) -> None:
        """What can be set: at first as in `recipe`, for a layer of `count` filters."""
        # Options as pairs of text and value: Colab's ipywidgets 7.7 wants them so.
        row, narrow = widgets.Layout(width="320px"), widgets.Layout(width="104px")
        self.layer = widgets.Dropdown(
            description="layer",
            options=[
                (f"{name} ({filter_count(self.model, name)} filters)", name) for name in names
            ],
            value=recipe.layer,
            layout=row,
        )
        self.filter = widgets.IntSlider(
            description="filter", max=count - 1, value=recipe.filter, layout=row
        )
        self.iterations = widgets.IntSlider(
            description="iterations", value=recipe.steps, min=1, max=400, layout=row
        )
        self.size = widgets.Dropdown(
            description="image size",
            options=size_options(Layer(self.model, recipe.layer), recipe.size),
            value=recipe.size,
            layout=row,
        )
        self.recipe = widgets.Dropdown(
            description="recipe",
            options=[(name, name) for name in RECIPES],
            value=recipe.recipe,
            layout=row,
        )
        self.seed = widgets.BoundedIntText(
            description="seed",
            min=0,
            max=2**32 - 1,
            value=recipe.seed,
            layout=widgets.Layout(width="200px"),
        )
        self.dice = widgets.Button(description="dice", icon="random", layout=narrow)
        self.button = widgets.Button(description="Run", icon="play", layout=narrow)
        self.save = widgets.Button(description="Save", icon="save", layout=narrow)
        self.overview = widgets.ToggleButton(description="all filters", icon="th", layout=narrow)

    def make_views(self) -> None:
        """What is shown."""
        row = widgets.Layout(width="320px")
        self.progress = widgets.IntProgress(description="step", bar_style="info", layout=row)
        self.left = widgets.Label()
        self.picture = widgets.Image(format="jpeg", width=320, height=320)
        self.start = widgets.Image(format="jpeg", width=96, height=96)
        self.curve = widgets.HTML()
        self.facts = widgets.HTML(layout=widgets.Layout(max_width="660px"))

    def laid_out(self) -> widgets.Widget:
        """The picture and its curve beside the controls, or above them where there is little room."""
        pictures = widgets.VBox([self.picture, self.curve])
        controls = widgets.VBox(
            [
                self.layer,
                self.filter,
                self.iterations,
                self.size,
                self.recipe,
                widgets.HBox([self.seed, self.dice]),
                widgets.HBox([self.button, self.save, self.overview]),
                self.progress,
                self.left,
                widgets.HBox([self.start, widgets.Label("the start, for comparison")]),
            ]
        )
        return widgets.HBox([pictures, controls], layout=widgets.Layout(flex_flow="row wrap"))

    def connect(self) -> None:
        """Has every control do what it is for."""
        self.layer.observe(self.layer_changed, "value")
        for control in (self.filter, self.iterations, self.size, self.recipe, self.seed):
            control.observe(self.restart, "value")
        self.filter.observe(lambda change: self.sheet.choose(change["new"]), "value")
        self.overview.observe(self.overview_changed, "value")
        self.button.on_click(self.run_or_stop)
        self.dice.on_click(self.throw)
        self.save.on_click(self.write)

    # ------------------------------------------------------------ without a front end

    def __repr__(self) -> str:
        return (
            f"Explorer of {self.model.name}: controls for layer, filter and iterations beside a picture "
            f"that grows. Where they cannot be shown, a still picture stands here: {self.still.layer} "
            f"filter {self.still.filter}."
        )

    def _ipython_display_(self, **_kwargs) -> None:
        """Shows the controls, or, where there are none, a still picture and what it is."""
        label = f"{self.still.layer} filter {self.still.filter}\na still picture of the explorer"
        show_widget(self, grid([self.still], labels=[label], columns=1, tile=2.6), repr(self))

    # ------------------------------------------------------------ controls

    @property
    def running(self) -> bool:
        """Whether something is in the making."""
        return self.task is not None and not self.task.done()

    def layer_changed(self, change: dict) -> None:
        """Gives the filter slider the range of the chosen layer, and starts."""
        # A number that the layer does not have is cut to its last, and that starts by itself.
        count = filter_count(self.model, change["new"])
        layer, size = self.chosen_layer(), self.size.value
        if not layer.fits(*sides(size)):
            size = layer.usual_size()
        options = size_options(layer, size)
        if options != list(self.size.options):
            self.size.options = options
            self.size.value = size
        self.filter.max = count - 1
        self.sheet.begin(count)
        self.restart()

    def throw(self, _button: widgets.Button) -> None:
        """Takes another seed."""
        self.seed.value = random.randrange(1000)

    def run_or_stop(self, _button: widgets.Button) -> None:
        """Stops what is in the making, or makes the picture of the controls anew."""
        if self.running:
            self.stop()
        else:
            self.anew = True
            self.restart()

    def overview_changed(self, change: dict) -> None:
        """Opens or closes the sheet of all filters."""
        self.sheet.layout.display = None if change["new"] else "none"
        if not self.climbing:  # else the sheet comes after the picture
            self.begin(self.fill_sheet) if change["new"] else self.stop()

    def page_turned(self) -> None:
        """Draws the new page of the sheet."""
        if not self.climbing:
            self.begin(self.fill_sheet)

    def choose(self, number: int) -> None:
        """Selects the filter of a tile."""
        self.filter.value = number

    def write(self, _button: widgets.Button) -> None:
        """Saves the picture with its recipe."""
        if self.result is None:
            self.say("There is no picture to save yet.")
            return
        recipe = self.result.recipe
        parts = [recipe.network, recipe.layer, recipe.filter, recipe.recipe]
        parts += [f"{recipe.stop_after or recipe.steps}steps", f"{pixels_text(recipe.size)}px"]
        parts.append(f"seed{recipe.seed}")
        name = re.sub(r"[^\w-]+", "-", "_".join(map(str, parts))) + ".png"
        path = Path(FOLDER, name)
        try:
            path.parent.mkdir(exist_ok=True)
            self.result.save(path)
        except OSError as error:
            self.say(f"not saved, {path} cannot be written: {error.strerror}")
        else:
            self.say(f"saved as {path}, in the folder of the notebook; {self.result}")

    def stop(self) -> None:
        """Ends what is in the making; the best picture so far stays."""
        if self.task is not None:
            self.task.cancel()
        self.climbing = False
        self.button.description, self.button.icon = "Run", "play"

    def restart(self, _change: dict | None = None) -> None:
        """Drops the picture in the making and starts the one that the controls ask for."""
        self.begin(self.climb)

    def begin(self, work: Callable) -> None:
        """Makes `work` the one thing that is done."""
        self.stop()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # plain Python has no loop that would give way to a browser
            asyncio.run(self.guard(work))
        else:
            self.task = loop.create_task(self.guard(work))

    def close(self) -> None:
        """Removes the widget and all its parts, and ends its work."""
        if self.comm is None:  # closed before, or never opened because an argument was wrong
            return
        self.stop()
        self.task = None
        self.kept.clear()
        parts: list[widgets.Widget] = [self.picture, *self.sheet.tiles]
        ahead: list[widgets.Widget] = [*self.children]
        while ahead:
            part = ahead.pop()
            parts.append(part)
            ahead += getattr(part, "children", ())
        for part in parts:
            part.close()
        super().close()

    # ------------------------------------------------------------ work

    async def guard(self, work: Callable) -> None:
        """Does `work`, then fills the sheet if it is open; an error becomes a line of facts."""
        task = self.task = asyncio.current_task()
        self.button.description, self.button.icon = "Stop", "stop"
        try:
            if work == self.climb:
                self.climbing = True
                await work()
                self.climbing = False
            if self.overview.value:
                await self.fill_sheet()
        except asyncio.CancelledError:
            pass
        except Exception as error:  # an error in a task would otherwise be lost
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            self.say(kind + str(error).strip().split("\n")[0][:300])
            self.left.value = "failed"
        if self.task is task:  # else another one is at work
            self.climbing = False
            self.button.description, self.button.icon = "Run", "play"

    def wanted(self) -> Recipe:
        """The recipe that the controls ask for."""
        settings = Settings(
            recipe=self.recipe.value,
            steps=self.iterations.value,
            size=self.size.value,
            seed=self.seed.value,
            rescue=False,  # it takes too long to wait for
        )
        return recipe_for(self.chosen_layer(), settings)

    def chosen_layer(self) -> Layer:
        """The layer that is chosen; forgets the pictures if the model was set otherwise since."""
        layer = Layer(self.model, self.layer.value)
        if layer.flat is not self.flat:
            self.flat = layer.flat
            self.kept.clear()
        return layer

    async def climb(self) -> None:
        """Makes the picture that the controls ask for, showing it as it grows."""
        task, number = self.task, self.filter.value
        recipe = dataclasses.replace(self.wanted(), filter=number)
        anew, self.anew = self.anew, False
        if recipe in self.kept and not anew:
            self.kept.move_to_end(recipe)
            self.show(*self.kept[recipe])
            return
        layer = Layer(self.model, recipe.layer)
        layer.images_at_once(recipe.size, recipe.precision)
        self.show_start(recipe)
        history: list[np.ndarray] = []
        cancelled = False
        try:
            await asyncio.sleep(0.01)
            begun = time.perf_counter()
            for images, values in frames(layer, [number], recipe, seconds=LOOK):
                history.append(values[:, 0])
                seconds = time.perf_counter() - begun
                self.show_progress(images[0], np.concatenate(history), recipe.steps, seconds)
                # Here clicks and slider moves are taken; with 0 many would wait for a later turn.
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if self.task is not task:  # another picture is in the making
                raise
            if not history:
                self.left.value = "stopped before the first step"
                raise
            cancelled = True
        past = np.concatenate(history)
        picture = judge(layer, [number], images, past[:, None], recipe)[0]
        if len(past) == recipe.steps:
            self.keep(recipe, picture, seconds)
        self.show(picture, seconds)
        if cancelled:
            raise asyncio.CancelledError

    async def fill_sheet(self) -> None:
        """Makes the small pictures of the page, some filters at a time."""
        layer, numbers = self.chosen_layer(), self.sheet.numbers()
        size = SHEET_SIZE if layer.fits(SHEET_SIZE) else self.size.value
        recipe = recipe_for(layer, Settings(steps=SHEET_STEPS, size=size, rescue=False))
        keys = {number: dataclasses.replace(recipe, filter=number) for number in numbers}
        done = {number: self.kept[key][0] for number, key in keys.items() if key in self.kept}
        missing = [number for number in numbers if number not in done]
        self.sheet.show(done)
        for first in range(0, len(missing), BATCH):
            some, history = missing[first : first + BATCH], []
            for images, values in frames(  # noqa: B007, the last images are judged below
                layer, some, recipe, seconds=LOOK
            ):
                history.append(values)
                await asyncio.sleep(0.01)
            for picture in judge(layer, some, images, np.concatenate(history), recipe):
                done[picture.filter] = picture
                self.keep(keys[picture.filter], picture, 0)
            self.sheet.show(done)
            await asyncio.sleep(0.01)

    def keep(self, key: Recipe, picture: FilterPicture, seconds: float) -> None:
        """Remembers a picture, and forgets those not looked at for longest when there are too many."""
        self.kept[key] = (picture, seconds)
        while (
            sum(each.image.nbytes for each, _ in self.kept.values()) > KEPT and len(self.kept) > 1
        ):
            self.kept.popitem(last=False)

    # ------------------------------------------------------------ what is shown

    def show(self, picture: FilterPicture, seconds: float) -> None:
        """Shows a picture that is made, and its facts."""
        self.result = picture
        done, steps = len(picture.history), picture.recipe.steps
        self.progress.max, self.progress.value = steps, done
        self.left.value = f"{done} steps" if done == steps else f"stopped after {done} of {steps}"
        self.start.value = encode_jpeg(start_image(picture.recipe), 96)
        self.picture.value = encode_jpeg(picture.image, 320)
        self.curve.value = curve(picture.history, steps)
        dead = "; helpers.visualize would try other starts" if picture.status == "dead" else ""
        self.say(f"{picture}; {seconds:.1f} s{dead}")

    def show_start(self, recipe: Recipe) -> None:
        """Shows what a climb begins with."""
        graph = graph_key(recipe.recipe, recipe.layer, recipe.precision)
        self.say(f"{recipe.layer} filter {recipe.filter}")
        built = graph in self.flat.kept
        self.left.value = "" if built else "building the graph of this layer"
        self.progress.max, self.progress.value = recipe.steps, 0
        self.curve.value = curve(np.empty(0), recipe.steps)
        start = start_image(recipe)
        self.start.value, self.picture.value = encode_jpeg(start, 96), encode_jpeg(start, 320)

    def show_progress(
        self, image: np.ndarray, history: np.ndarray, steps: int, seconds: float
    ) -> None:
        """Shows how far a climb has come after `seconds`."""
        done = len(history)
        self.progress.value = done
        self.left.value = f"{done} of {steps}, {seconds / done * (steps - done):.0f} s left"
        self.curve.value = curve(history, steps)
        self.picture.value = encode_jpeg(image, 320)

    def say(self, text: str) -> None:
        """Shows a line of facts."""
        self.facts.value = html.escape(text)


def explorer(
    model: keras.Model, *, recipe: str = "clear", size: int | None = None, seed: int = 0
) -> Explorer:
    """Sliders for layer, filter and iterations beside a picture that grows: a widget for a notebook.

    `recipe`, `size` and `seed` are what it begins with; they are controls too. Where widgets cannot be
    shown, a still picture stands in its place. ValueError for what `visualize` refuses.
    """
    return Explorer(model, recipe=recipe, size=size, seed=seed)
