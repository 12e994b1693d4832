"""What the rounds of the test debate did: accuracy and agreement per round, transitions, the vote's gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from arkloom.evaluate.answers import Floats
from arkloom.records import Debate
from arkloom.stats import compare
from arkloom.traces.classes import judge_by_gold, trajectories
from arkloom.traces.gain import STATES, Tally, majority


def debate_figures(debates: Sequence[Debate], correct: Floats, resamples: int, seed: int) -> dict[str, Any]:
    """Figures of the test debate for the report.

    Args:
        debates: One a problem; those that ended in an error take part in the gain alone, as wrong.
        correct: [n] whether the debate's answer to each problem is right.
        resamples: Bootstrap resamples of the gain's interval.
        seed: Seeds the bootstrap.

    Returns:
        ``deliberation_gain`` = accuracy of the answer minus that of a vote after round 0, with its
        paired interval; ``accuracy_per_round``; ``transitions``; ``traces`` (classes of trajectories);
        ``debate_errors``.
    """
    tally = Tally()
    for debate in debates:
        if debate.error is None and debate.turns:
            tally.add(debate, trajectories(debate, judge_by_gold(debate)))
    figures = tally.figures()
    gain = compare(correct, first_votes(debates), resamples=resamples, seed=seed)
    return {
        "deliberation_gain": gain.diff,
        "deliberation_gain_ci95": gain.interval.pair(),
        "deliberation_gain_p": gain.p,
        "accuracy_per_round": [_round(row) for row in figures["rounds"]],
        "transitions": [_transition(row["from"], tally) for row in figures["transitions"]],
        "traces": figures["classes"],
        "debate_errors": sum(debate.error is not None for debate in debates),
    }


def first_votes(debates: Sequence[Debate]) -> Floats:
    """[n] whether a vote after round 0 is right; a tie is drawn as the debate draws its own."""
    return np.array([float(_first_vote(debate)) for debate in debates], dtype=np.float64)


def _round(row: dict[str, Any]) -> dict[str, Any]:
    names = {"agents": "agent_accuracy", "vote": "vote_accuracy"}
    kept = ("round", "agreement", "no_answer", "debates")
    return {name: row[name] for name in kept} | {name: row[told] for name, told in names.items()}


def _transition(number: int, tally: Tally) -> dict[str, Any]:
    counts = tally.transitions[number]
    table = {before: {after: counts[before, after] for after in STATES} for before in STATES}
    return {"from_round": number, "to_round": number + 1, "counts": table}


def _first_vote(debate: Debate) -> bool:
    elected = majority(debate, 0) if debate.rounds and debate.error is None else None
    if elected is None:
        return False
    right = {turn.agent for turn in debate.turns if turn.round == 0 and turn.correct}
    return bool(right & set(elected.agents))
