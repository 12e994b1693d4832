"""Extraction, grading and classes, by the tables in tests/cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arkloom.answers import check_gold, classes, extract, grade, score
from arkloom.errors import BadInputError

CASES = Path(__file__).parent.parent / "cases"
EXTRACT: dict[str, list[dict[str, Any]]] = json.loads((CASES / "answers_extract.json").read_text("utf-8"))
GRADE: dict[str, list[list[Any]]] = json.loads((CASES / "answers_grade.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind}: {case['name']}")
        for kind, cases in EXTRACT.items()
        for case in cases
    ],
)
def test_extract(kind: str, case: dict[str, Any]):
    assert extract(case["text"], kind) == case["answer"]


@pytest.mark.parametrize(
    ("kind", "answer", "gold", "correct"),
    [(kind, *case) for kind, cases in GRADE.items() for case in cases],
)
def test_grade(kind: str, answer: str, gold: str, correct: bool):
    assert grade(answer, gold, kind) is correct


@pytest.mark.parametrize("kind", ["number", "math", "mcq", "short", "summary"])
def test_no_answer_is_wrong(kind: str):
    assert grade(None, "5", kind) is False
    assert score(None, "5", kind) == 0.0


@pytest.mark.parametrize(
    ("kind", "answers", "expected"),
    [
        ("number", ["1/2", "0.5", None, "2", "4/2"], [[0, 1], [3, 4]]),
        ("number", ["1,000", "1000.0", "1e3"], [[0, 1, 2]]),
        ("number", [None, None], []),
        ("number", [], []),
        ("math", [r"\sqrt4", "2", "x", "4/2"], [[0, 1, 3], [2]]),
        ("math", ["(x+1)^2", "x^2+2x+1", "x^2"], [[0, 1], [2]]),
        ("math", [r"\text{east}", "East", r"\text{west}"], [[0, 1], [2]]),
        ("mcq", ["B", "(b)", "C", None], [[0, 1], [2]]),
        ("short", ["the Eiffel Tower", "Eiffel tower", "Louvre"], [[0, 1], [2]]),
    ],
)
def test_classes(kind: str, answers: list[str | None], expected: list[list[int]]):
    assert classes(answers, kind) == expected


def test_summaries_are_not_voted_on():
    with pytest.raises(BadInputError, match="scored only"):
        classes(["a", "b"], "summary")


def test_summary_is_scored_by_rouge():
    assert score("the team met", "the team met", "summary") == pytest.approx(1.0)
    # ROUGE-L of 2 common words in order out of 4 and 2: F1 = 2 * 0.5 * 1 / 1.5
    assert score("team met", "the team then met", "summary") == pytest.approx(2 / 3)
    assert score("zebra", "the team met", "summary") == 0.0


def test_short_is_scored_by_token_f1():
    assert score("big red dog", "red dog", "short") == pytest.approx(2 * 2 / 5)


@pytest.mark.parametrize(
    ("kind", "gold"),
    [
        ("number", "seven"),
        ("number", ""),
        ("number", "x=5"),
        ("number", "1,00"),
        ("number", "A"),
        ("mcq", "12"),
        ("mcq", "AB"),
        ("mcq", ""),
        ("math", " "),
        ("math", r"\frac{1}{2"),
        ("math", "10^{1000000000}"),
        ("short", "..."),
        ("summary", " \n"),
    ],
)
def test_wrong_gold_type(kind: str, gold: str):
    with pytest.raises(BadInputError, match="wrong gold type") as raised:
        check_gold(gold, kind)
    assert "\n" not in raised.value.line()


@pytest.mark.parametrize(
    ("kind", "gold"),
    [("number", "1,000"), ("number", "-3.5"), ("number", r"\frac{1}{2}"), ("mcq", "(B)"), ("math", "x^2")],
)
def test_good_golds(kind: str, gold: str):
    check_gold(gold, kind)
    assert grade(gold, gold, kind)
