"""What one agent is shown before one turn: the only input of the prompt templates."""

from __future__ import annotations

from dataclasses import dataclass

from arkloom.records import Problem


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer of a debater as others see it (hidden thinking stripped, cut to the peer cap)."""

    agent: int
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """One agent's view of one round.

    Attributes:
        problem: The question.
        agent: Index of the agent that speaks, from 0; prompts show ``agent + 1``.
        persona: Its persona, or None for a neutral one (the student).
        own: Its own answers of rounds 0..k-1.
        peers: ``peers[r]`` = the other agents' answers of round r, in agent order, r in 0..k-1.
        summaries: ``summaries[r]`` replaces ``peers[r]`` where it is not None (MAFT).
    """

    problem: Problem
    agent: int = 0
    persona: str | None = None
    own: tuple[str, ...] = ()
    peers: tuple[tuple[Shown, ...], ...] = ()
    summaries: tuple[str | None, ...] = ()

    @property
    def round(self) -> int:
        """The round about to be spoken, from 0."""
        return len(self.own)
