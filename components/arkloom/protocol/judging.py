"""Reading and grading what was said, without holding up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from arkloom import answers
from arkloom.protocol.votes import tally
from arkloom.records import Problem, Round, Turn

# Exact arithmetic and letters take microseconds. Every other type may ask the grading worker, or run a
# user's own code, for seconds: it runs in a thread.
_QUICK = {"number", "mcq"}


async def judge(turns: Sequence[Turn], problem: Problem) -> tuple[tuple[Turn, ...], Round]:
    """Turns of one round with their answers read and graded, and the classes these fall into.

    No answer that can be read counts as wrong where a gold is known.

    Raises:
        ArkloomError: The answer type failed, or cannot be voted on.
    """
    if problem.answer_type in _QUICK:
        return _judge(turns, problem)
    return await asyncio.to_thread(_judge, turns, problem)


def _judge(turns: Sequence[Turn], problem: Problem) -> tuple[tuple[Turn, ...], Round]:
    verdicts: dict[str | None, bool | None] = {}
    graded = tuple(_graded(turn, problem, verdicts) for turn in turns)
    given = [turn.answer for turn in graded]
    return graded, tally(given, problem.answer_type, [turn.agent for turn in graded])


def _graded(turn: Turn, problem: Problem, verdicts: dict[str | None, bool | None]) -> Turn:
    """The turn with its answer; ``verdicts`` remembers what was graded in this round."""
    answer = answers.extract(turn.text, problem.answer_type)
    if answer not in verdicts:
        gold = problem.gold
        verdicts[answer] = None if gold is None else answers.grade(answer, gold, problem.answer_type)
    return turn.model_copy(update={"answer_raw": answer, "answer": answer, "correct": verdicts[answer]})
