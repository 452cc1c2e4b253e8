"""The exercises: wrong answers are refused with a message that helps, one that is missing is not called wrong.

That the solutions are right is seen in the notebooks' own run (tests/chapters.py).
"""

import importlib
import re

import nbformat
import numpy as np
import pytest
from chapters import NOTEBOOKS, exercises, functions

import helpers
from filtersight.basics.exercises import EXERCISES, require_close
from filtersight.basics.exercises import exercise as register

ALL = {
    number: (path, checked)
    for path in NOTEBOOKS
    for number, checked, _ in exercises(nbformat.read(path, as_version=4))
}
WRONG = {
    number: answers
    for path in NOTEBOOKS
    for number, answers in importlib.import_module(
        f"wrong_answers.chapter_{path.name[:2]}"
    ).WRONG.items()
}


def test_each_exercise_has_a_test_and_wrong_answers():
    assert ALL.keys() == EXERCISES.keys() == WRONG.keys()
    for number, answers in WRONG.items():
        assert len(set(answers)) >= 3, number


@pytest.mark.parametrize(
    "number, answer", [(number, each) for number, answers in WRONG.items() for each in answers]
)
def test_a_wrong_answer_is_refused_with_a_message_that_helps(number, answer, model, capsys):
    path, checked = ALL[number]
    names = functions(path, model=model)
    exec(answer, names)
    capsys.readouterr()
    exec(checked, names)
    said = capsys.readouterr().out
    found = re.fullmatch(r"Not yet: (.+)\nHint: (.+)\n", said, re.DOTALL)
    assert found, said
    assert len(found[1].split()) >= 4 and len(found[2].split()) >= 4


def test_only_what_the_test_raises_decides(monkeypatch, capsys):
    monkeypatch.setattr("filtersight.basics.exercises.EXERCISES", {})

    @register("1.1", "Add them up.")
    def total(answer):
        require_close(answer([1, 2]), 3, "the sum of 1 and 2")

    for answer, said in (
        (None, "Not answered yet."),
        (lambda numbers: None, "Not answered yet."),
        (sum, "Right."),
        (max, "Not yet: the sum of 1 and 2 is not 2.\nHint: Add them up."),
        (
            lambda numbers: numbers,
            "Not yet: the sum of 1 and 2 should have the shape (), and yours has (2,).",
        ),
        (
            lambda numbers: "three",
            "Not yet: the sum of 1 and 2 should be a whole number, not 'three'.",
        ),
        (lambda numbers: numbers[5], "Not yet: your function stops with IndexError"),
        (lambda numbers: 3.02, "Not yet: the sum of 1 and 2 is not 3.02"),
    ):
        helpers.check("1.1", answer)
        assert capsys.readouterr().out.startswith(said)
    with pytest.raises(ValueError, match=r"number is '1.2'; exercises are 1.1"):
        helpers.check("1.2", 3)


def test_numbers_may_be_off_by_one_per_cent_but_not_whole_ones():
    require_close(0.995, 1.0, "a share")
    require_close(np.float32(7), 7, "a count")
    for given, right in ((0.98, 1.0), (100.4, 100), (np.nan, 1.0), ([1.0, 2.0], [1.0, 2.1])):
        with pytest.raises(Exception, match="is not"):
            require_close(given, right, "it")
