"""The quiz of chapter 9: which of two real images excites a filter more?

After Borowski et al. (2021), who asked people, and found how much pictures by gradient ascent help them.
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterable

import ipywidgets as widgets
import keras
import numpy as np

from filtersight.ascent.visualize import visualize
from filtersight.basics.checks import check_whole
from filtersight.basics.figures import grid, show_widget
from filtersight.basics.images import encode_jpeg
from filtersight.networks.layers import Layer
from filtersight.networks.load import load_model
from filtersight.trust.scores import Question, knows_patterns, machine_choice, questions, reality

# What may be shown as help, and how often people answered right with it (Borowski et al. 2021).
HELPS = {
    "the picture by gradient ascent": 82,
    "the nine best real images": 92,
    "nothing": 50,
}
SIDE = 144  # pixels of an image on the screen


class Quiz(widgets.VBox):
    """Two real images, some help, and a score for each kind of help."""

    def __init__(self, model: keras.Model, layer: str, *, filters: list[int], seed: int):
        real = reality(model, layer)
        drawn = visualize(model, layer, filters)
        self.pictures = {picture.filter: picture.image for picture in drawn}
        # Ctrl-C gives fewer pictures than were asked for.
        self.questions = questions(real, list(self.pictures), seed=seed)
        if not self.questions:
            raise ValueError(
                f"filters {filters} of {layer} answer to too few real images to ask about"
            )
        random.Random(seed).shuffle(self.questions)
        self.layer_name, self.number = layer, 0
        self.counts = {name: [0, 0] for name in HELPS}  # right answers, all answers
        self.machine = {name: [0, 0] for name in HELPS}
        self.judge = load_model("pocketvgg_judge") if knows_patterns(model) else None

        self.help = widgets.Dropdown(
            description="help", options=[(name, name) for name in HELPS], value=next(iter(HELPS))
        )
        self.asked = widgets.HTML()
        self.shown = widgets.Image(format="jpeg", height=SIDE)
        self.images = [widgets.Image(format="jpeg", width=SIDE, height=SIDE) for _ in range(2)]
        self.buttons = [widgets.Button(description=name) for name in ("left", "right")]
        self.told, self.board = widgets.HTML(), widgets.HTML()
        pair = [widgets.VBox([i, b]) for i, b in zip(self.images, self.buttons, strict=True)]
        super().__init__(
            [self.help, self.asked, self.shown, widgets.HBox(pair), self.told, self.board]
        )
        self.help.observe(self.ask, "value")
        for choice, button in enumerate(self.buttons):
            button.on_click(lambda _, choice=choice: self.answer(choice))
        self.ask()
        self.show_board()

    @property
    def question(self) -> Question:
        """The question on the screen; after the last comes the first."""
        return self.questions[self.number % len(self.questions)]

    def reference(self) -> np.ndarray | None:
        """What the chosen help shows, (n, height, width, 3) uint8, or None."""
        if self.help.value == "nothing":
            return None
        if self.help.value == "the nine best real images":
            return self.question.references
        return self.pictures[self.question.filter][None]

    def ask(self, _change: dict | None = None) -> None:
        """Shows the question and the help."""
        shown, question = self.reference(), self.question
        self.asked.value = (
            f"Question {self.number + 1}: which image excites filter {question.filter} of "
            f"{html.escape(self.layer_name)} more? "
            + ("You are shown nothing." if shown is None else "It likes:")
        )
        strip = (
            np.full((8, 8, 3), 255, np.uint8) if shown is None else np.concatenate(shown, axis=1)
        )
        self.shown.value = encode_jpeg(strip, SIDE, round(SIDE * strip.shape[1] / strip.shape[0]))
        for widget, image in zip(self.images, question.images, strict=True):
            widget.value = encode_jpeg(image, SIDE, SIDE)

    def answer(self, choice: int) -> None:
        """Counts an answer, 0 for left and 1 for right, and asks the next question."""
        question, name = self.question, self.help.value
        right = choice == question.right
        self.counts[name][0] += right
        self.counts[name][1] += 1
        if self.judge is not None:
            machine = machine_choice(self.judge, question, self.reference()) == question.right
            self.machine[name][0] += machine
            self.machine[name][1] += 1
        side = self.buttons[question.right].description
        self.told.value = "Right." if right else f"No, it was the one on the {side}."
        self.number += 1
        self.ask()
        self.show_board()

    def show_board(self) -> None:
        """Shows the scores: the player's, the machine's on the same questions, the published ones."""

        def share(counts: list[int]) -> str:
            return f"{counts[0]} of {counts[1]}" if counts[1] else "–"

        rows = "".join(
            f"<tr><td>{name}</td><td>{share(self.counts[name])}</td>"
            f"<td>{share(self.machine[name])}</td><td>{published} %</td></tr>"
            for name, published in HELPS.items()
        )
        self.board.value = (
            "<table><tr><th>help</th><th>you</th><th>a machine</th>"
            f"<th>people (Borowski et al. 2021)</th></tr>{rows}</table>"
        )

    def __repr__(self) -> str:
        return (
            f"Quiz about {self.layer_name}: which of two real images excites a filter more? Where buttons "
            "cannot be shown, its first question stands here."
        )

    def _ipython_display_(self, **_kwargs) -> None:
        """Shows the quiz, or, where there are no widgets, the first question and what it is."""
        question = self.questions[0]
        figure = grid(
            [self.pictures[question.filter], *question.images],
            labels=[f"filter {question.filter}\nlikes this", "left", "right"],
            columns=3,
            tile=1.6,
        )
        show_widget(self, figure, repr(self))


def quiz(
    model: keras.Model, layer: str, filters: Iterable[int] | None = None, *, seed: int = 0
) -> Quiz:
    """A widget that asks which of two real images excites a filter more, with and without a picture.

    After Borowski et al. (2021). Without `filters`, about the first eight. ValueError for what
    `visualize` refuses, and where the filters answer to too few real images to ask about.
    """
    check_whole("seed", seed, 0, 2**32 - 1)
    found = Layer(model, layer)
    filters = range(min(8, found.filters)) if filters is None else filters
    return Quiz(model, layer, filters=found.check_filters(filters), seed=seed)
