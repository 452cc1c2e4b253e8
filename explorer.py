"""The explorer: sliders for layer, filter and iterations beside a picture that grows.

`helpers.explorer(model)` makes one. Everything that it draws comes from `helpers.frames`.
"""

from __future__ import annotations

import asyncio
import base64
import html
import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import cv2
import ipywidgets as widgets
import keras
import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

import helpers
from helpers import FilterPicture
from pictures import visible

SIZES = (64, 96, 128, 192, 256, 384)  # pixels
FOLDER = "filter_pictures"  # where Save writes, in the folder that the notebook runs in
KEPT = 2**24  # bytes of pictures that are kept, to come back at once
PAGE, BATCH, SHEET_SIZE, SHEET_STEPS, TILE = 64, 16, 64, 30, 56  # of the sheet of all filters
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


def jpeg(image: np.ndarray, height: int, width: int | None = None) -> bytes:
    """The picture (h, w, channels) uint8 as a JPEG file of `height` by `width` pixels, or square."""
    large = cv2.resize(visible(image), (width or height, height), interpolation=cv2.INTER_CUBIC)
    coded = cv2.imencode(".jpg", large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return coded.tobytes()


def curve(values: np.ndarray, steps: int) -> str:
    """Activations of the steps so far as a line, in the colours of the page: SVG."""
    width, height, left, bottom = 320, 110, 44, 18
    head = f'<svg width="{width}" height="{height}" role="img" font-size="11" fill="currentColor"'
    if not len(values):
        return f'{head} aria-label="no activation yet"></svg>'
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    shown = np.unique(np.linspace(0, len(values) - 1, 160).astype(int))
    right = left + (shown + 1) / max(steps, 1) * (width - left - 4)
    # A silent filter has a line along the bottom.
    share = (values[shown] - low) / (high - low) if high > low else np.zeros(len(shown))
    down = height - bottom - share * (height - bottom - 8)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(right, down, strict=True))
    floor = height - bottom
    return (
        f'{head} aria-label="activation {helpers.two_digits(values[-1])} after {len(values)} steps">'
        f'<path d="M{left},8V{floor}H{width - 4}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<polyline points="{points}" fill="none" stroke="#e8710a" stroke-width="2"/>'
        f'<text x="{left - 4}" y="14" text-anchor="end">{helpers.two_digits(high)}</text>'
        f'<text x="{left - 4}" y="{floor}" text-anchor="end">{helpers.two_digits(low)}</text>'
        f'<text x="{left}" y="{height - 4}">activation by step</text>'
        f'<text x="{width - 4}" y="{height - 4}" text-anchor="end">{steps}</text></svg>'
    )


def show_widget(widget: widgets.Widget, still: Figure) -> None:
    """Displays a widget, and for where there are none a still figure, with the widget's repr as text."""
    data, metadata = helpers.mimebundle(still, repr(widget))
    data["application/vnd.jupyter.widget-view+json"] = {
        "version_major": 2,
        "version_minor": 0,
        "model_id": widget.model_id,
    }
    display(data, metadata=metadata, raw=True)


class Explorer(widgets.VBox):
    """What `helpers.explorer` gives.

    Any change drops the picture in the making and starts the new one; one that was made before comes
    back at once. One asyncio task does the work: it climbs for an instant, shows the picture, and gives
    way to the browser. There is no thread, because Colab does not show what threads change.
    """

    task: asyncio.Task | None = None

    def __init__(self, model: keras.Model, *, recipe: str, size: int | None, seed: int):
        names = helpers.conv_layers(model)
        if not names:
            raise ValueError(f"{model.name} has no convolution layer to explore")
        layer = names[len(names) // 4]
        order = helpers.order_of(model, layer, recipe=recipe, size=size, seed=seed, rescue=False)
        size = order["size"]
        self.model = model
        self.kept: OrderedDict[tuple, tuple[FilterPicture, float]] = OrderedDict()
        self.climbing = self.anew = False
        self.result: FilterPicture | None = None
        self.page = 0
        # Begins with a filter that has something to climb.
        answers = helpers.activations(model, layer, helpers.start_image(order)[None])[0]
        first = int(np.flatnonzero(answers)[0]) if answers.any() else 0

        # Options as pairs of text and value: Colab's ipywidgets 7.7 wants them so.
        row = widgets.Layout(width="320px")
        self.layer = widgets.Dropdown(
            description="layer",
            options=[(f"{n} ({helpers.filter_count(model, n)} filters)", n) for n in names],
            value=layer,
            layout=row,
        )
        self.filter = widgets.IntSlider(
            description="filter", max=len(answers) - 1, value=first, layout=row
        )
        self.iterations = widgets.IntSlider(
            description="iterations", value=order["steps"], min=1, max=400, layout=row
        )
        self.size = widgets.Dropdown(
            description="image size",
            options=[(f"{n} pixels", n) for n in sorted({*SIZES, size})],
            value=size,
            layout=row,
        )
        self.recipe = widgets.Dropdown(
            description="recipe",
            options=[(name, name) for name in helpers.RECIPES],
            value=recipe,
            layout=row,
        )
        self.seed = widgets.BoundedIntText(
            description="seed",
            min=0,
            max=2**32 - 1,
            value=seed,
            layout=widgets.Layout(width="200px"),
        )
        narrow = widgets.Layout(width="104px")
        self.dice = widgets.Button(description="dice", icon="random", layout=narrow)
        self.button = widgets.Button(description="Run", icon="play", layout=narrow)
        self.save = widgets.Button(description="Save", icon="save", layout=narrow)
        self.overview = widgets.ToggleButton(description="all filters", icon="th", layout=narrow)
        self.progress = widgets.IntProgress(description="step", bar_style="info", layout=row)
        self.left = widgets.Label()
        self.picture = widgets.Image(format="jpeg", width=320, height=320)
        self.start = widgets.Image(format="jpeg", width=96, height=96)
        self.curve = widgets.HTML()
        self.facts = widgets.HTML(layout=widgets.Layout(max_width="660px"))
        self.tiles = [
            widgets.Button(
                layout=widgets.Layout(width=f"{TILE}px", height=f"{TILE}px", margin="2px")
            )
            for _ in range(min(PAGE, max(helpers.filter_count(model, n) for n in names)))
        ]
        self.back = widgets.Button(icon="chevron-left", layout=widgets.Layout(width="40px"))
        self.forth = widgets.Button(icon="chevron-right", layout=widgets.Layout(width="40px"))
        self.range = widgets.Label()
        self.tile_images, self.mark = widgets.HTML(), widgets.HTML()
        columns = f"repeat(auto-fill, {TILE + 4}px)"
        self.grid = widgets.GridBox(layout=widgets.Layout(grid_template_columns=columns))
        self.sheet = widgets.VBox(
            [
                widgets.HBox([self.back, self.range, self.forth]),
                self.grid,
                self.tile_images,
                self.mark,
            ],
            layout=widgets.Layout(display="none"),
        )
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
        both = widgets.HBox([pictures, controls], layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([both, self.facts, self.sheet])
        self.grid.add_class(f"sheet-{self.model_id}")

        # The first picture is made before anything is shown: it is what those see who have no widgets.
        begun = time.perf_counter()
        self.still = helpers.visualize(
            model, layer, [first], recipe=recipe, size=size, seed=seed, rescue=False
        )[0]
        seconds = time.perf_counter() - begun
        self.keep((first, *order.values()), self.still, seconds)
        self.show(self.still, seconds)
        self.lay_out_sheet()

        self.layer.observe(self.layer_changed, "value")
        for control in (self.filter, self.iterations, self.size, self.recipe, self.seed):
            control.observe(self.restart, "value")
        self.filter.observe(self.mark_tile, "value")
        self.overview.observe(self.overview_changed, "value")
        self.button.on_click(self.run_or_stop)
        self.dice.on_click(self.throw)
        self.save.on_click(self.write)
        self.back.on_click(lambda _: self.turn(-1))
        self.forth.on_click(lambda _: self.turn(1))
        for place, tile in enumerate(self.tiles):
            tile.add_class(f"tile-{place}")
            tile.on_click(lambda _, place=place: self.choose(place))
        end_older(self)

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
        show_widget(self, helpers.grid([self.still], labels=[label], columns=1, tile=2.6))

    # ------------------------------------------------------------ controls

    @property
    def running(self) -> bool:
        """Whether something is in the making."""
        return self.task is not None and not self.task.done()

    def layer_changed(self, change: dict) -> None:
        """Gives the filter slider the range of the chosen layer, and starts."""
        # A number that the layer does not have is cut to its last, and that starts by itself.
        self.filter.max = helpers.filter_count(self.model, change["new"]) - 1
        self.page = 0
        self.lay_out_sheet()
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

    def turn(self, pages: int) -> None:
        """Turns the pages of the sheet."""
        self.page += pages
        self.lay_out_sheet()
        if not self.climbing:
            self.begin(self.fill_sheet)

    def choose(self, place: int) -> None:
        """Selects the filter of a tile."""
        self.filter.value = self.page * PAGE + place

    def write(self, _button: widgets.Button) -> None:
        """Saves the picture with its recipe."""
        if self.result is None:
            self.say("There is no picture to save yet.")
            return
        recipe = self.result.recipe
        parts = [recipe[name] for name in ("network", "layer", "filter", "recipe")]
        parts += [f"{recipe['stop_after'] or recipe['steps']}steps", f"{recipe['size']}px"]
        parts.append(f"seed{recipe['seed']}")
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
        parts: list[widgets.Widget] = [self.picture, *self.tiles]
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

    def order(self) -> dict:
        """The recipe that the controls ask for."""
        return helpers.order_of(
            self.model,
            self.layer.value,
            recipe=self.recipe.value,
            steps=self.iterations.value,
            size=self.size.value,
            seed=self.seed.value,
            rescue=False,  # it takes too long to wait for
        )

    async def climb(self) -> None:
        """Makes the picture that the controls ask for, showing it as it grows."""
        task, number, order = self.task, self.filter.value, self.order()
        key = (number, *order.values())
        anew, self.anew = self.anew, False
        if key in self.kept and not anew:
            self.kept.move_to_end(key)
            self.show(*self.kept[key])
            return
        layer, steps = order["layer"], order["steps"]
        helpers.images_at_once(self.model, layer, order["size"], order["precision"])
        graph = (order["recipe"], layer, order["precision"], False)
        built = graph in helpers._prepared.get(self.model, {})
        self.say(f"{layer} filter {number}")
        self.left.value = "" if built else "building the graph of this layer"
        self.progress.max, self.progress.value = steps, 0
        self.curve.value = curve(np.empty(0), steps)
        start = helpers.start_image(order)
        self.start.value, self.picture.value = jpeg(start, 96), jpeg(start, 320)
        history: list[np.ndarray] = []
        done, cancelled = 0, False
        try:
            await asyncio.sleep(0.01)
            begun = time.perf_counter()
            for images, values in helpers.frames(self.model, [number], order, seconds=LOOK):
                history.append(values[:, 0])
                done += len(values)
                seconds = time.perf_counter() - begun
                self.progress.value = done
                self.left.value = f"{done} of {steps}, {seconds / done * (steps - done):.0f} s left"
                self.curve.value = curve(np.concatenate(history), steps)
                self.picture.value = jpeg(images[0], 320)
                # Here clicks and slider moves are taken; with 0 many would wait for a later turn.
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if self.task is not task:  # another picture is in the making
                raise
            if not history:
                self.left.value = "stopped before the first step"
                raise
            cancelled = True
        picture = helpers.finish(
            self.model, [number], images, np.concatenate(history)[:, None], order
        )[0]
        if done == steps:
            self.keep(key, picture, seconds)
        self.show(picture, seconds)
        if cancelled:
            raise asyncio.CancelledError

    async def fill_sheet(self) -> None:
        """Makes the small pictures of the page, some filters at a time."""
        layer, numbers = self.layer.value, self.numbers()
        size = SHEET_SIZE if helpers.fits(self.model, layer, SHEET_SIZE) else self.size.value
        order = helpers.order_of(self.model, layer, steps=SHEET_STEPS, size=size, rescue=False)
        keys = {number: (number, *order.values()) for number in numbers}
        done = {number: self.kept[key][0] for number, key in keys.items() if key in self.kept}
        missing = [number for number in numbers if number not in done]
        self.show_sheet(done)
        for first in range(0, len(missing), BATCH):
            some, history = missing[first : first + BATCH], []
            for images, values in helpers.frames(  # noqa: B007, the last images are finished below
                self.model, some, order, seconds=LOOK
            ):
                history.append(values)
                await asyncio.sleep(0.01)
            for picture in helpers.finish(self.model, some, images, np.concatenate(history), order):
                done[picture.filter] = picture
                self.keep(keys[picture.filter], picture, 0)
            self.show_sheet(done)
            await asyncio.sleep(0.01)

    def keep(self, key: tuple, picture: FilterPicture, seconds: float) -> None:
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
        done, steps = len(picture.history), picture.recipe["steps"]
        self.progress.max, self.progress.value = steps, done
        self.left.value = f"{done} steps" if done == steps else f"stopped after {done} of {steps}"
        self.start.value = jpeg(helpers.start_image(picture.recipe), 96)
        self.picture.value = jpeg(picture.image, 320)
        self.curve.value = curve(picture.history, steps)
        dead = "; helpers.visualize would try other starts" if picture.status == "dead" else ""
        self.say(f"{picture}; {seconds:.1f} s{dead}")

    def say(self, text: str) -> None:
        """Shows a line of facts."""
        self.facts.value = html.escape(text)

    def numbers(self) -> list[int]:
        """The filters of the sheet's page."""
        return list(range(self.filter.max + 1))[self.page * PAGE : (self.page + 1) * PAGE]

    def lay_out_sheet(self) -> None:
        """Gives the sheet a button for each filter of the page."""
        numbers = self.numbers()
        for tile, number in zip(self.tiles, numbers, strict=False):
            tile.description = str(number)
        self.grid.children = self.tiles[: len(numbers)]
        self.back.disabled, self.forth.disabled = self.page == 0, numbers[-1] == self.filter.max
        self.show_sheet({})
        self.mark_tile()

    def mark_tile(self, _change: dict | None = None) -> None:
        """Puts a frame around the tile of the chosen filter."""
        place = self.filter.value - self.page * PAGE
        self.mark.value = (
            f"<style>.sheet-{self.model_id} .tile-{place} {{ outline: 3px solid #e8710a; }}</style>"
        )

    def show_sheet(self, done: dict[int, FilterPicture]) -> None:
        """Shows the small pictures that are made: one image, of which each button has its part."""
        numbers = self.numbers()
        self.range.value = f"filters {numbers[0]} to {numbers[-1]}" + (
            f", {len(done)} drawn" if len(done) < len(numbers) else ""
        )
        sheet = np.zeros((8 * TILE, 8 * TILE, 3), np.uint8)
        rules = []
        for place, number in enumerate(numbers):
            if number not in done:
                continue
            top, left = place // 8 * TILE, place % 8 * TILE
            sheet[top : top + TILE, left : left + TILE] = cv2.resize(
                visible(done[number].image), (TILE, TILE), interpolation=cv2.INTER_AREA
            )
            name = f"{number} dead" if done[number].status == "dead" else f"{number}"
            if self.tiles[place].description != name:
                self.tiles[place].description = name
            rules.append(
                f".sheet-{self.model_id} .tile-{place} {{ background-position: -{left}px -{top}px; "
                "background-image: var(--sheet); color: white; text-shadow: 0 0 3px black, 0 0 3px black; }"
            )
        data = base64.b64encode(jpeg(sheet, 8 * TILE)).decode()
        self.tile_images.value = (
            f"<style>.sheet-{self.model_id} {{ --sheet: url(data:image/jpeg;base64,{data}); }} "
            f".sheet-{self.model_id} button {{ padding: 0; line-height: 96px; overflow: hidden; font-size: 11px; }} "
            + " ".join(rules)
            + "</style>"
        )
