"""Chooses the debates of a test run that are worth reading."""

from __future__ import annotations

from collections.abc import Sequence

from arkloom.records import Debate, Turn


def worth_reading(debates: Sequence[Debate], count: int = 3) -> list[Debate]:
    """Finished debates in which agents corrected themselves, the most telling first.

    First come debates whose round-0 vote was wrong and whose answer is right, then those with most
    corrected agents; a debate in which agents were talked out of a right answer comes in as the last
    one, where there is any, because a reader should see a failure, too.
    """
    finished = [debate for debate in debates if debate.error is None and debate.final is not None]
    telling = sorted(finished, key=_rank)
    chosen = telling[:count]
    lost = [debate for debate in telling[count:] if _moves(debate)[1] and not _right(debate)]
    if lost and len(chosen) == count and count > 1 and not any(_moves(debate)[1] for debate in chosen):
        chosen[-1] = lost[0]
    return chosen


def _rank(debate: Debate) -> tuple[bool, int, int, str]:
    corrected, corrupted = _moves(debate)
    turned = _right(debate) and corrected > len(debate.agents) / 2
    return (not turned, -corrected, -corrupted, debate.id)


def _right(debate: Debate) -> bool:
    return bool(debate.final and debate.final.correct)


def _moves(debate: Debate) -> tuple[int, int]:
    """Agents who went from a wrong answer to the right one, and the other way, first to last round."""
    last = max((turn.round for turn in debate.turns), default=0)
    first_turns = {turn.agent: turn for turn in debate.turns if turn.round == 0}
    corrected = corrupted = 0
    for turn in debate.turns:
        before: Turn | None = first_turns.get(turn.agent)
        if turn.round != last or last == 0 or before is None or before.answer is None:
            continue
        corrected += bool(not before.correct and turn.correct)
        corrupted += bool(before.correct and turn.answer is not None and not turn.correct)
    return corrected, corrupted
