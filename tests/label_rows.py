"""Traces of one problem to be labelled, for the tests of the stage `label`."""

from __future__ import annotations

from arkloom.records import Message, Source, StepRow
from arkloom.steps.ends import step_ends

BARE = "2+7*5+3-4*6"
WORDS = "Tom has 3 bags of 4 apples and eats 2. How many are left?"
RIGHT = "7*5=35\n4*6=24\n2+35=37\n37+3=40\n40-24=16\n#### 16"
LATE = RIGHT.replace("=16\n#### 16", "=15\n#### 15")
TAKEN = RIGHT.replace("37+3=40\n40-24=16\n#### 16", "37+4=41\n41-24=17\n#### 17")
CANCELLED = "7*5=36\n4*6=25\n2+36=38\n38+3=41\n41-25=16\n#### 16"


def row(text: str, *, question: str = BARE, gold: str | None = "16", correct: bool | None = None) -> StepRow:
    return StepRow(
        problem_id=question,
        content_hash=question,
        messages=(Message(role="user", content=question), Message(role="assistant", content=text)),
        step_ends=step_ends(text, "number"),
        correct=correct,
        gold=gold,
        source=Source(debate="d", seed=0, agent=0, round=0),
    )
