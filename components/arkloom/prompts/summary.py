"""The extractive summary of several answers: no model needed, nothing invented."""

from __future__ import annotations

from collections.abc import Sequence


def extractive(answers: Sequence[tuple[str, str | None]]) -> str:
    r"""Distinct answers with their counts and one trace each, most frequent first.

    Args:
        answers: (text, answer) of each agent in agent order; answer None = not readable. Answers
            that mean the same must already be one string (the representative of their class).

    Returns:
        One block per distinct answer: ``3 agents:``, then the shortest of its traces.

    Example:
        >>> print(extractive([("1+1=2\n#### 2", "2"), ("1+1=3\n#### 3", "3"), ("#### 2", "2")]))
        2 agents:
        #### 2
        1 agent:
        1+1=3
        #### 3
    """
    groups: dict[str | None, list[str]] = {}
    for text, answer in answers:
        groups.setdefault(answer, []).append(text.strip())
    ordered = sorted(groups.values(), key=len, reverse=True)  # stable: ties keep the order of appearance
    return "\n".join(
        f"{len(texts)} agent{'s' if len(texts) > 1 else ''}:\n{min(texts, key=len)}" for texts in ordered
    )
