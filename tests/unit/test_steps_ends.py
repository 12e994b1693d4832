"""Where steps end under an answer type's own splitter, a user's one included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from arkloom.answers import register
from arkloom.errors import BadInputError
from arkloom.steps.ends import step_ends
from arkloom.steps.split import MAX_STEPS


class Statements:
    """A domain whose steps are statements, each ended by a semicolon."""

    version, threshold = "1", 1.0

    def __init__(self, name: str, split: Callable[[str], Any]) -> None:
        self.name, self.split_steps = name, split

    def extract(self, text: str) -> str | None:
        return text or None

    def score(self, answer: str, gold: str) -> float:
        return float(answer == gold)

    def same(self, a: str, b: str) -> bool:
        return a == b


def ends(text: str, split: Callable[[str], Any]) -> tuple[int, ...]:
    return step_ends(text, register(Statements("statements-test", split)).name)


def test_a_type_may_split_in_its_own_way() -> None:
    text = "let a = 2;  let b = 3;\na + b"
    found = ends(text, lambda text: text.split(";"))
    assert [text[a:b].strip("; \n") for a, b in zip((0, *found), found, strict=False)] == [
        "let a = 2",
        "let b = 3",
        "a + b",
    ]
    assert found[-1] == len(text), "the last step is a step"


def test_repeated_parts_are_found_one_after_the_other() -> None:
    assert ends("a;a;a", lambda text: text.split(";")) == (1, 3, 5)


def test_parts_that_are_not_in_the_text_are_no_steps() -> None:
    assert ends("a b \n", lambda _: ["other", " "]) == (3,), "then the whole text is one"
    assert ends(" \n", lambda text: [text]) == ()


def test_its_steps_are_as_bounded_as_all_others() -> None:
    text = ";".join(f"s{n}" for n in range(100))
    found = ends(text, lambda text: text.split(";"))
    assert len(found) == MAX_STEPS
    assert found[-1] == len(text)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (lambda text: text.nonsense(), "split_steps() failed with AttributeError"),
        (lambda _: None, "split_steps() failed with TypeError"),
        (lambda _: [1, 2], "gives parts that are no texts"),
    ],
)
def test_a_fault_of_a_splitter_is_one_clear_line(split: Callable[[str], Any], said: str) -> None:
    with pytest.raises(BadInputError) as error:
        ends("a;b", split)
    assert said in error.value.line()
    assert "statements-test" in error.value.line()
