"""Trajectories of a debate and the class of each.

A trajectory is what one agent said over the rounds. Its marks ``c[k]`` are True (right), False
(wrong) or None (no answer could be read); a class is a function of the marks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from arkloom.answers import get, grade
from arkloom.errors import BadInputError
from arkloom.records import Debate, TraceClass, Turn

Mark = bool | None
Judge = Callable[[Turn], Mark]

CLASSES: tuple[TraceClass, ...] = ("corrective", "stable", "corrupted", "wrong", "no_answer", "late")


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One agent's turns over the rounds, judged.

    Attributes:
        agent: The agent's id.
        turns: Its turns, by round.
        marks: One mark a turn.
        kind: The class.
        pivot: Index into ``turns`` from which it stays right; None where it does not end right.
        peer_induced: Corrective, and at the pivot it took over an answer that some peer it was
            shown held one round before.
    """

    agent: int
    turns: tuple[Turn, ...]
    marks: tuple[Mark, ...]
    kind: TraceClass
    pivot: int | None
    peer_induced: bool = False

    @property
    def last_wrong(self) -> int | None:
        """Index of the last turn before the pivot that was read and wrong."""
        wrong = [index for index, mark in enumerate(self.marks) if mark is False]
        return wrong[-1] if wrong else None


def classify(marks: Sequence[Mark]) -> TraceClass:
    """The class of a trajectory with these marks (at least one).

    Example:
        >>> classify([False, None, True]), classify([True, False]), classify([None, True])
        ('corrective', 'corrupted', 'late')
    """
    last = marks[-1]
    if last is None:
        return "no_answer"
    if last is False:
        return "corrupted" if True in marks else "wrong"
    if False in marks:
        return "corrective"
    return "late" if None in marks else "stable"


def pivot(marks: Sequence[Mark]) -> int | None:
    """First index from which the marks stay True, or None where the last is not True."""
    if marks[-1] is not True:
        return None
    index = len(marks) - 1
    while index > 0 and marks[index - 1] is True:
        index -= 1
    return index


def judge_by_gold(debate: Debate) -> Judge:
    """Marks against the gold: the recorded grade, or a fresh one where the log has none.

    Raises:
        BadInputError: The debate has no gold.
    """
    gold = debate.gold
    if gold is None:
        raise BadInputError(
            "no gold answer", where=f"debate {debate.id[:12]}", mend="Set filter.label_free=true"
        )

    def judge(turn: Turn) -> Mark:
        if turn.answer is None:
            return None
        return turn.correct if turn.correct is not None else grade(turn.answer, gold, debate.answer_type)

    return judge


def judge_by_answer(reference: str, answer_type: str) -> Judge:
    """Marks against an answer that stands in for the gold (the debate's consensus)."""

    def judge(turn: Turn) -> Mark:
        return None if turn.answer is None else _same_grade(turn.answer, reference, answer_type)

    return judge


@lru_cache(maxsize=4096)
def _same_grade(answer: str, reference: str, answer_type: str) -> bool:
    return grade(answer, reference, answer_type)


def trajectories(debate: Debate, judge: Judge) -> tuple[Trajectory, ...]:
    """Every agent's trajectory, by agent.

    Raises:
        BadInputError: Two turns of one agent in one round: such a log cannot be traced back to.
    """
    spoken: dict[int, dict[int, Turn]] = {}
    for turn in debate.turns:
        own = spoken.setdefault(turn.agent, {})
        if turn.round in own:
            raise BadInputError(
                f"two turns of agent {turn.agent} in round {turn.round}",
                where=f"debate {debate.id[:12]} seed {debate.seed}",
            )
        own[turn.round] = turn
    by_turn = {(turn.round, turn.agent): turn for turn in debate.turns}
    return tuple(_trajectory(debate, agent, spoken[agent], by_turn, judge) for agent in sorted(spoken))


def _trajectory(
    debate: Debate, agent: int, own: dict[int, Turn], by_turn: dict[tuple[int, int], Turn], judge: Judge
) -> Trajectory:
    turns = tuple(own[number] for number in sorted(own))
    marks = tuple(judge(turn) for turn in turns)
    kind, since = classify(marks), pivot(marks)
    induced = kind == "corrective" and since is not None and _taken_over(debate, turns[since], by_turn)
    return Trajectory(agent, turns, marks, kind, since, induced)


def _taken_over(debate: Debate, turn: Turn, by_turn: dict[tuple[int, int], Turn]) -> bool:
    """Whether a peer that the turn was shown held the turn's answer one round before."""
    shown = {ref.agent for ref in turn.source_turns if ref.round == turn.round - 1} - {turn.agent}
    held = [by_turn[turn.round - 1, peer] for peer in sorted(shown) if (turn.round - 1, peer) in by_turn]
    answers = {peer.answer for peer in held if peer.answer is not None}
    if turn.answer is None or turn.answer in answers:
        return turn.answer is not None
    same = get(debate.answer_type).same
    return any(same(turn.answer, answer) for answer in sorted(answers))
