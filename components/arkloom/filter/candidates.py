"""Turns of judged debates as candidates for rows, and the order in which they are preferred."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from arkloom.canonical import digest
from arkloom.filter.offsets import answer_offset
from arkloom.filter.words import tokens
from arkloom.records import Debate, Problem, TraceClass, Turn
from arkloom.steps.split import signature, split
from arkloom.traces.classes import Mark, Trajectory

_BARE = 12  # fewer words and signs before the answer, and no operation, are no reasoning


@dataclass(frozen=True, slots=True)
class Candidate:
    """One turn that was read and judged.

    Attributes:
        problem: What it answers.
        debate, seed: Key of its debate.
        turn: The turn.
        text: Its text, stripped: what a row would teach.
        mark: Right or wrong by the filter's judge.
        kind: Class of its trajectory.
        peer_induced: Its trajectory took the answer over from a peer.
        settled: Right, and the trajectory stays right to its end: only such turns become rows.
        attempt: The trajectory's last wrong turn before, for corrective trajectories.
    """

    problem: Problem
    debate: str
    seed: int
    turn: Turn
    text: str
    mark: Mark
    kind: TraceClass
    peer_induced: bool
    settled: bool
    attempt: Turn | None

    @property
    def tier(self) -> int:
        """0 peer-induced corrective, 1 corrective, 2 stable, 3 late."""
        if self.kind == "corrective":
            return 0 if self.peer_induced else 1
        return 2 if self.kind == "stable" else 3

    @property
    def bare(self) -> bool:
        """Nothing but an answer: taken only where its tier has no reasoning to offer."""
        before = self.text[: answer_offset(self.text, self.turn.answer_raw)]
        return len(tokens(before)) < _BARE and not signature(split(before))

    def rank(self) -> tuple[int, bool, int, int, str, int, int, int, str]:
        """Sorts candidates of a problem, best first; no two candidates of a log are equal.

        Class first, then reasoning before bare answers, then shorter (tokens, where the log counts
        them; characters), then by text, round, agent and debate, which say nothing but decide.
        """
        return (
            self.tier,
            self.bare,
            self.turn.completion_tokens,
            len(self.text),
            digest(self.text),
            self.turn.round,
            self.turn.agent,
            self.seed,
            self.debate,
        )


def candidates(debate: Debate, problem: Problem, trace: Trajectory) -> Iterator[Candidate]:
    """Every read turn of a trajectory, by round."""
    wrong = trace.last_wrong if trace.kind == "corrective" else None
    for index, (turn, mark) in enumerate(zip(trace.turns, trace.marks, strict=True)):
        if mark is None:
            continue
        settled = trace.pivot is not None and index >= trace.pivot
        yield Candidate(
            problem=problem,
            debate=debate.id,
            seed=debate.seed,
            turn=turn,
            text=turn.text.strip(),
            mark=mark,
            kind=trace.kind,
            peer_induced=trace.peer_induced,
            settled=settled,
            attempt=trace.turns[wrong] if wrong is not None and settled else None,
        )
