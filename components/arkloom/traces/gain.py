"""What deliberation did to the answers: accuracy per round, transitions, gain, use of experts.

Everything is counted from the grades that a log carries, so nothing is graded twice.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from arkloom.records import Debate
from arkloom.traces.classes import CLASSES, Mark, Trajectory

STATES = ("right", "wrong", "none")


def state(mark: Mark) -> str:
    """``right``, ``wrong`` or ``none``: the name of a mark in reports."""
    return "none" if mark is None else ("right" if mark else "wrong")


def vote_share(debate: Debate, number: int, right: set[str]) -> float:
    """Chance that a majority vote after round ``number`` is right.

    A tie is drawn among the largest classes, so it counts by the share of them that are right;
    that has the draw's mean and none of its noise.

    Args:
        debate: The debate.
        number: Round, from 0.
        right: Representatives of the answer classes that are right in this round.
    """
    groups = debate.rounds[number].classes
    most = max((len(group.agents) for group in groups), default=0)
    largest = [group for group in groups if len(group.agents) == most]
    return sum(group.answer in right for group in largest) / len(largest) if largest else 0.0


def _right_classes(debate: Debate, number: int, traces: Sequence[Trajectory]) -> set[str]:
    marks = {
        turn.agent: mark
        for trace in traces
        for turn, mark in zip(trace.turns, trace.marks, strict=True)
        if turn.round == number
    }
    groups = debate.rounds[number].classes
    return {group.answer for group in groups if any(marks.get(agent) for agent in group.agents)}


@dataclass
class Tally:
    """Running figures over debates; ``add`` each, then read ``figures``.

    Add only debates that were judged, with their trajectories.
    """

    debates: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    peer_induced: int = 0
    transitions: dict[int, Counter[tuple[str, str]]] = field(default_factory=dict)
    agents: dict[int, Counter[str]] = field(default_factory=dict)
    votes: dict[int, float] = field(default_factory=dict)
    voted: Counter[int] = field(default_factory=Counter)
    agreement: dict[int, float] = field(default_factory=dict)
    final: float = 0.0
    experts_known: int = 0
    experts_used: float = 0.0
    minority: int = 0
    recovered: float = 0.0

    def add(self, debate: Debate, traces: Sequence[Trajectory]) -> None:
        """Count one debate."""
        self.debates += 1
        for trace in traces:
            self.classes[trace.kind] += 1
            self.peer_induced += trace.peer_induced
            self._add_marks(trace)
        shares = []
        for number, played in enumerate(debate.rounds):
            shares.append(vote_share(debate, number, _right_classes(debate, number, traces)))
            self.votes[number] = self.votes.get(number, 0.0) + shares[-1]
            self.agreement[number] = self.agreement.get(number, 0.0) + played.agreement
            self.voted[number] += 1
        final = shares[-1] if shares else 0.0
        if debate.final is not None and debate.final.mode != "vote":
            final = float(bool(debate.final.correct))
        self.final += final
        self._add_experts(traces, shares[0] if shares else 0.0, final)

    def _add_marks(self, trace: Trajectory) -> None:
        names = [(turn.round, state(mark)) for turn, mark in zip(trace.turns, trace.marks, strict=True)]
        for number, name in names:
            self.agents.setdefault(number, Counter())[name] += 1
        for (number, before), (_, after) in itertools.pairwise(names):
            self.transitions.setdefault(number, Counter())[before, after] += 1

    def _add_experts(self, traces: Sequence[Trajectory], first_vote: float, final: float) -> None:
        opening = [trace.marks[0] for trace in traces if trace.turns[0].round == 0]
        if True not in opening:
            return
        self.experts_known += 1
        self.experts_used += final
        if first_vote < 0.5:
            self.minority += 1
            self.recovered += final

    def figures(self) -> dict[str, Any]:
        """The figures as plain JSON; a ratio with nothing below it is None, never a guess."""
        trajectories = sum(self.classes.values())
        first = _ratio(self.votes.get(0, 0.0), self.debates)
        final = _ratio(self.final, self.debates)
        return {
            "debates": self.debates,
            "trajectories": trajectories,
            "classes": {name: self.classes[name] for name in CLASSES},
            "peer_induced": self.peer_induced,
            "corrective_rate": _ratio(self.classes["corrective"], trajectories),
            "corrupted_rate": _ratio(self.classes["corrupted"], trajectories),
            "rounds": [self._round(number) for number in sorted(self.agents)],
            "transitions": [self._transition(number) for number in sorted(self.transitions)],
            "vote_round0_accuracy": first,
            "final_accuracy": final,
            "deliberation_gain": None if first is None or final is None else round(final - first, 6),
            "expert_use": _ratio(self.experts_used, self.experts_known),
            "minority_recovery": _ratio(self.recovered, self.minority),
            "minority_debates": self.minority,
        }

    def _round(self, number: int) -> dict[str, Any]:
        counts = self.agents[number]
        total = counts.total()
        return {
            "round": number,
            "agent_accuracy": _ratio(counts["right"], total),
            "vote_accuracy": _ratio(self.votes.get(number, 0.0), self.voted[number]),
            "no_answer": _ratio(counts["none"], total),
            "agreement": _ratio(self.agreement.get(number, 0.0), self.voted[number]),
            "turns": total,
            "debates": self.voted[number],
        }

    def _transition(self, number: int) -> dict[str, Any]:
        counts = self.transitions[number]
        return {
            "from": number,
            "to": number + 1,
            "counts": {f"{a}->{b}": counts[a, b] for a in STATES for b in STATES},
        }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None
