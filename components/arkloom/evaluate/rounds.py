"""What the rounds of the test debate did: accuracy and agreement per round, transitions, the vote's gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from arkloom.evaluate.answers import Floats
from arkloom.records import Debate
from arkloom.stats import mean_interval
from arkloom.traces.classes import judge_by_gold, trajectories
from arkloom.traces.gain import STATES, Tally, vote_share


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
    change = correct - first_votes(debates)
    return {
        "deliberation_gain": float(change.mean()),
        "deliberation_gain_ci95": mean_interval(change, resamples=resamples, seed=seed).pair(),
        "accuracy_per_round": [_round(row) for row in figures["rounds"]],
        "transitions": [_transition(row["from"], tally) for row in figures["transitions"]],
        "traces": figures["classes"],
        "debate_errors": sum(debate.error is not None for debate in debates),
    }


def first_votes(debates: Sequence[Debate]) -> Floats:
    """[n] chance that a vote after round 0 is right: a tie counts by its share of right answers."""
    return np.array([_first_vote(debate) for debate in debates], dtype=np.float64)


def _round(row: dict[str, Any]) -> dict[str, Any]:
    """A round that only some debates reached speaks of those: ``debates`` says how many."""
    names = {"agents": "agent_accuracy", "vote": "vote_accuracy"}
    kept = ("round", "agreement", "no_answer", "debates")
    return {name: row[name] for name in kept} | {name: row[told] for name, told in names.items()}


def _transition(number: int, tally: Tally) -> dict[str, Any]:
    counts = tally.transitions[number]
    table = {before: {after: counts[before, after] for after in STATES} for before in STATES}
    return {"from_round": number, "to_round": number + 1, "counts": table}


def _first_vote(debate: Debate) -> float:
    if not debate.rounds or debate.error is not None:
        return 0.0
    right = {turn.agent for turn in debate.turns if turn.round == 0 and turn.correct}
    groups = debate.rounds[0].classes
    return vote_share(debate, 0, {group.answer for group in groups if right & set(group.agents)})
