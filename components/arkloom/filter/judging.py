"""Judges debates: against the gold, or (label-free) against the debate's own consensus."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from arkloom.answers import grade
from arkloom.config import FilterConfig
from arkloom.records import Debate
from arkloom.traces.classes import Judge, judge_by_answer, judge_by_gold


@dataclass
class Labels:
    """Says by what each debate is judged, and how often a consensus was right.

    Attributes:
        config: ``label_free`` and ``margin``.
        refused: Debates that have nothing to be judged by, by reason.
        labelled, known, right: Consensus labels given; those whose gold is known; those that meet it.
    """

    config: FilterConfig
    refused: Counter[str] = field(default_factory=Counter)
    labelled: int = 0
    known: int = 0
    right: int = 0

    def judge(self, debate: Debate) -> tuple[Judge, str] | str:
        """The judge of a debate and the label that it holds, or the reason why there is none."""
        found = self._consensus(debate) if self.config.label_free else self._gold(debate)
        if isinstance(found, str):
            self.refused[found] += 1
        return found

    def precision(self) -> float | None:
        """Share of consensus labels that are right, where the gold is known."""
        return round(self.right / self.known, 6) if self.known else None

    @staticmethod
    def _gold(debate: Debate) -> tuple[Judge, str] | str:
        return (judge_by_gold(debate), debate.gold) if debate.gold is not None else "no_gold"

    def _consensus(self, debate: Debate) -> tuple[Judge, str] | str:
        final = debate.final
        # A margin is a quotient of small integers: 1/5 must reach a threshold of 0.2.
        if final is None or final.answer is None or final.tie or final.margin < self.config.margin - 1e-9:
            return "no_consensus"
        self.labelled += 1
        if debate.gold is not None:
            self.known += 1
            right = final.correct
            self.right += grade(final.answer, debate.gold, debate.answer_type) if right is None else right
        return judge_by_answer(final.answer, debate.answer_type), final.answer
