"""Labelled step rows of worked arithmetic, right and wrong, without a label stage."""

from __future__ import annotations

import random

from arkloom.records import Message, Source, StepRow

TRACES = 3  # of each problem: one right, one wrong in its first product, one in its sum


def step_row(number: int, problem: int | None = None) -> StepRow:
    """Trace ``number``; traces 3p, 3p + 1 and 3p + 2 belong to problem p."""
    which = number // TRACES if problem is None else problem
    kind = number % TRACES
    a, b, c, d, e, f = random.Random(which).choices(range(10), k=6)
    first = b * c + (7 if kind == 1 else 0)
    second = e * f
    third = a + first + (3 if kind == 2 else 0)
    lines = [f"{b}*{c}={first}", f"{e}*{f}={second}", f"{a}+{first}={third}", f"#### {third + d - second}"]
    ends = [len("\n".join(lines[: index + 1])) for index in range(len(lines))]
    labels: dict[int, tuple[int | None, ...]] = {
        0: (1, 1, 1, 1),
        1: (0, None, None, None),
        2: (1, 1, 0, None),
    }
    return StepRow(
        problem_id=f"problem-{which}",
        content_hash=f"hash-{which}",
        messages=(
            Message(role="user", content=f"{a}+{b}*{c}+{d}-{e}*{f}"),
            Message(role="assistant", content="\n".join(lines)),
        ),
        step_ends=tuple(ends),
        labels=labels[kind],
        correct=kind == 0,
        source=Source(debate=f"debate-{which}", seed=0, agent=kind, round=0),
    )
