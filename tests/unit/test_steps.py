"""Where steps end and what they compute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkloom.steps.split import MAX_STEPS, split

CASES = json.loads((Path(__file__).parents[1] / "cases" / "steps_split.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_steps_and_operations(case: dict) -> None:
    steps = split(case["text"])
    assert [step.text for step in steps] == case["steps"]
    assert [list(operation) for step in steps for operation in step.operations] == case["operations"]


@given(st.text(alphabet="12+*= \nab.\t#", max_size=300))
def test_steps_cover_the_text_in_order(text: str) -> None:
    steps = split(text)
    assert len(steps) <= MAX_STEPS
    assert [step.end for step in steps] == sorted({step.end for step in steps})
    start = 0
    for step in steps:
        assert text[start : step.end].strip() == step.text
        start = step.end
    assert not text[start:].strip()


def test_what_is_beyond_the_most_steps_joins_the_last() -> None:
    steps = split("\n".join(f"{i}+1={i + 1}" for i in range(50)))
    assert len(steps) == MAX_STEPS
    assert len(steps[-1].operations) == 50 - MAX_STEPS + 1


def test_a_hostile_text_costs_little() -> None:
    assert len(split("1+" * 200_000)) == 1
    assert len(split("(" * 100_000 + "=" * 100_000)) == 1
    assert len(split("1=" * 100_000)) == 1
    assert len(split("\n" * 100_000 + "1")) == 1
