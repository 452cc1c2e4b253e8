"""All filters of a layer as small pictures to choose from."""

from __future__ import annotations

import base64
from collections.abc import Callable

import cv2
import ipywidgets as widgets
import numpy as np

from filtersight.basics.figures import FilterPicture
from filtersight.basics.images import encode_jpeg, squared, visible

PAGE, ROW, TILE = 64, 8, 56  # filters on a page; in a row of the image they are cut from; pixels


class Sheet(widgets.VBox):
    """A page of buttons, one for each filter, with arrows to turn the pages.

    `choose` is called with the number of a filter that is clicked, `turned` after a page is turned.
    All pictures of a page are one image, of which each button shows its part.
    """

    def __init__(
        self, most_filters: int, choose: Callable[[int], None], turned: Callable[[], None]
    ):
        self.page, self.count, self.chosen, self.turned = 0, 1, 0, turned
        side = widgets.Layout(width=f"{TILE}px", height=f"{TILE}px", margin="2px")
        self.tiles = [widgets.Button(layout=side) for _ in range(min(PAGE, most_filters))]
        arrow = widgets.Layout(width="40px")
        self.back = widgets.Button(icon="chevron-left", layout=arrow)
        self.forth = widgets.Button(icon="chevron-right", layout=arrow)
        self.range = widgets.Label()
        self.tile_images, self.mark = widgets.HTML(), widgets.HTML()
        columns = f"repeat(auto-fill, {TILE + 4}px)"
        self.grid = widgets.GridBox(layout=widgets.Layout(grid_template_columns=columns))
        head = widgets.HBox([self.back, self.range, self.forth])
        super().__init__([head, self.grid, self.tile_images, self.mark])
        self.layout.display = "none"
        self.grid.add_class(f"sheet-{self.model_id}")
        self.back.on_click(lambda _: self.turn(-1))
        self.forth.on_click(lambda _: self.turn(1))
        for place, tile in enumerate(self.tiles):
            tile.add_class(f"tile-{place}")
            tile.on_click(lambda _, place=place: choose(self.page * PAGE + place))

    def numbers(self) -> list[int]:
        """The filters of the page."""
        return list(range(self.count))[self.page * PAGE : (self.page + 1) * PAGE]

    def begin(self, count: int) -> None:
        """Shows the first page of a layer of `count` filters, without pictures."""
        self.page, self.count = 0, count
        self.lay_out()

    def turn(self, pages: int) -> None:
        """Turns the pages."""
        self.page += pages
        self.lay_out()
        self.turned()

    def lay_out(self) -> None:
        """Gives the page a button for each filter."""
        numbers = self.numbers()
        for tile, number in zip(self.tiles, numbers, strict=False):
            tile.description = str(number)
        self.grid.children = self.tiles[: len(numbers)]
        self.back.disabled, self.forth.disabled = self.page == 0, numbers[-1] == self.count - 1
        self.show({})
        self.choose(self.chosen)

    def choose(self, number: int) -> None:
        """Puts a frame around the tile of a filter."""
        self.chosen = number
        place = number - self.page * PAGE
        self.mark.value = (
            f"<style>.sheet-{self.model_id} .tile-{place} {{ outline: 3px solid #e8710a; }}</style>"
        )

    def show(self, done: dict[int, FilterPicture]) -> None:
        """Shows the pictures that are made, by filter."""
        numbers = self.numbers()
        self.range.value = f"filters {numbers[0]} to {numbers[-1]}" + (
            f", {len(done)} drawn" if len(done) < len(numbers) else ""
        )
        sheet, rules = np.zeros((ROW * TILE, ROW * TILE, 3), np.uint8), []
        for place, number in enumerate(numbers):
            if number not in done:
                continue
            top, left = place // ROW * TILE, place % ROW * TILE
            sheet[top : top + TILE, left : left + TILE] = cv2.resize(
                squared(visible(done[number].image)), (TILE, TILE), interpolation=cv2.INTER_AREA
            )
            name = f"{number} dead" if done[number].status == "dead" else f"{number}"
            if self.tiles[place].description != name:
                self.tiles[place].description = name
            rules.append(
                f".sheet-{self.model_id} .tile-{place} {{ background-position: -{left}px -{top}px; "
                "background-image: var(--sheet); color: white; text-shadow: 0 0 3px black, 0 0 3px black; }"
            )
        data = base64.b64encode(encode_jpeg(sheet, ROW * TILE)).decode()
        self.tile_images.value = (
            f"<style>.sheet-{self.model_id} {{ --sheet: url(data:image/jpeg;base64,{data}); }} "
            f".sheet-{self.model_id} button {{ padding: 0; line-height: 96px; overflow: hidden; font-size: 11px; }} "
            + " ".join(rules)
            + "</style>"
        )
