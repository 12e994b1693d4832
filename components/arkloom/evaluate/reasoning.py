"""Self-correction: whether an answer that states a wrong intermediate result ends right all the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from arkloom.records import Debate
from arkloom.steps.operations import equations

LEAST_CASES = 20  # below so many cases a share says nothing


@dataclass(frozen=True)
class Corrections:
    """Answers that state a wrong intermediate result, and how many of them end right."""

    cases: int
    right: int

    def json(self) -> dict[str, Any]:
        """``{self_correction, cases}``; None below ``LEAST_CASES``."""
        share = self.right / self.cases if self.cases >= LEAST_CASES else None
        return {"self_correction": share, "cases": self.cases}


def corrections(debates: Iterable[Debate]) -> Corrections:
    """Count over the answers of a model alone, one turn a debate; one that failed states nothing."""
    found = [turn for debate in debates if debate.error is None for turn in debate.turns]
    cases = [bool(turn.correct) for turn in found if states_wrong(turn.text)]
    return Corrections(len(cases), sum(cases))


def states_wrong(text: str) -> bool:
    r"""Whether an equation before the last evaluates otherwise than the text says.

    The last one gives the answer itself: where it is wrong there is nothing after it that could set it
    right. What cannot be read for sure is not judged.

    Example:
        >>> states_wrong("7*5=30\n2+30=32\n#### 32"), states_wrong("7*5=35\n2+35=32\n#### 32")
        (True, False)
    """
    return any(stated.right is False for stated in equations(text)[:-1])
