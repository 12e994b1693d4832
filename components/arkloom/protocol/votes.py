"""How a group answers: a majority over equivalence classes of answers."""

from __future__ import annotations

from collections.abc import Sequence

from arkloom import answers
from arkloom.canonical import derive_seed
from arkloom.records import AnswerClass, Final, Round, Turn


def tally(given: Sequence[str | None], answer_type: str, agents: Sequence[int] | None = None) -> Round:
    """The classes that answers fall into; what could not be read (None) is in no class.

    Args:
        given: One answer an agent, in agent order.
        answer_type: Says which answers are the same.
        agents: Ids of the agents; 0.. by default.

    A single answer needs no comparison, so types that cannot be voted on serve single agents.
    """
    ids = range(len(given)) if agents is None else agents
    if len(given) == 1:
        members = [[0]] if given[0] is not None else []
    else:
        members = answers.classes(given, answer_type)
    found = tuple(
        AnswerClass(answer=str(given[group[0]]), agents=tuple(ids[index] for index in group))
        for group in members
    )
    largest = max((len(group) for group in members), default=0)
    return Round(classes=found, agreement=largest / len(given) if given else 0.0)


def decide(round_: Round, turns: Sequence[Turn], *parts: object) -> Final:
    """The majority's answer; a tie is broken by a seeded draw, which is recorded.

    Args:
        round_: The classes.
        turns: The turns they came from, one an agent; the first agent of a class says if it is correct.
        parts: What the draw is seeded by (run seed, problem id).

    Nobody's answer could be read: the answer is None, and wrong where a gold is known.
    """
    ordered = sorted(round_.classes, key=lambda group: -len(group.agents))
    if not ordered:
        known = any(turn.correct is not None for turn in turns)
        return Final(answer=None, correct=False if known else None)
    most = len(ordered[0].agents)
    first = [group for group in ordered if len(group.agents) == most]
    tie = len(first) > 1
    seed = derive_seed(*parts, "tie") if tie else None
    winner = first[seed % len(first)] if seed is not None else first[0]
    second = len(ordered[1].agents) if len(ordered) > 1 else 0
    correct = next(turn.correct for turn in turns if turn.agent == winner.agents[0])
    return Final(
        answer=winner.answer, correct=correct, margin=(most - second) / len(turns), tie=tie, tie_seed=seed
    )


def unanimous(round_: Round) -> bool:
    """Whether every agent's answer was read and all fall in one class."""
    return len(round_.classes) == 1 and round_.agreement == 1.0
