"""Writes candidates down as training rows: what the student is asked, and what it shall say."""

from __future__ import annotations

from arkloom.filter.candidates import Candidate
from arkloom.filter.offsets import answer_offset
from arkloom.prompts import Prompts
from arkloom.records import Message, Problem, Source, StepRow, TrainingRow
from arkloom.steps.ends import step_ends
from arkloom.steps.split import Step, split

NAMED = "Wait, step {step} is wrong: {left} is {right}, not {wrong}."
PLACED = "Wait, step {step} is wrong."
ANSWER = "Wait, the answer {answer} is wrong."


class Rows:
    """Makes rows in one prompt profile.

    Args:
        prompts: Renders the student's question.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._asked: dict[str, tuple[Message, ...]] = {}

    def training(self, chosen: Candidate, *, corrects: bool, k: int = 1) -> TrainingRow:
        """A row for RSFT or DA.

        Args:
            chosen: The trace.
            corrects: ``self_correct`` style: the wrong attempt first, as context without loss.
            k: How many rows its problem has.
        """
        content, start = chosen.text, 0
        if corrects and chosen.attempt is not None:
            attempt = chosen.attempt.text.strip()
            start = len(attempt) + 2
            content = f"{attempt}\n\n{sentence(chosen)}\n\n{chosen.text}"
        before = len(content) - len(chosen.text)
        return TrainingRow(
            problem_id=chosen.problem.id,
            content_hash=chosen.problem.content_hash,
            messages=(*self._ask(chosen.problem), Message(role="assistant", content=content)),
            loss_from=start,
            answer_from=before + answer_offset(chosen.text, chosen.turn.answer_raw),
            trace_class=chosen.kind,
            peer_induced=chosen.peer_induced,
            source=_source(chosen),
            k=k,
            tokens=chosen.turn.completion_tokens,
            correct=_known(chosen),
        )

    def steps(self, chosen: Candidate, gold: str | None) -> StepRow:
        """A row for step labels: character ends of the steps in the assistant's message."""
        return StepRow(
            problem_id=chosen.problem.id,
            content_hash=chosen.problem.content_hash,
            messages=(*self._ask(chosen.problem), Message(role="assistant", content=chosen.text)),
            step_ends=step_ends(chosen.text, chosen.problem.answer_type),
            correct=chosen.mark,
            gold=gold,
            source=_source(chosen),
        )

    def _ask(self, problem: Problem) -> tuple[Message, ...]:
        if problem.id not in self._asked:
            self._asked = {problem.id: self._prompts.student(problem)}  # rows come problem by problem
        return self._asked[problem.id]


def sentence(chosen: Candidate) -> str:
    """The fixed sentence between attempt and correction: names the first step whose result differs.

    A step differs for sure where the correction gives the same operation another result; else the
    first step at the same place with another result; else only the answer is named.
    """
    attempt = chosen.attempt
    if attempt is None:
        return ""
    wrong, right = split(attempt.text.strip()), split(chosen.text)
    known = dict(operation for step in reversed(right) for operation in reversed(step.operations))
    for number, step in enumerate(wrong, start=1):
        for left, result in step.operations:
            if known.get(left, result) != result:
                return NAMED.format(step=number, left=left, right=known[left], wrong=result)
    place = _first_difference(wrong, right)
    if place is not None:
        return PLACED.format(step=place + 1)
    return ANSWER.format(answer=attempt.answer)


def _first_difference(wrong: tuple[Step, ...], right: tuple[Step, ...]) -> int | None:
    for index, (a, b) in enumerate(zip(wrong, right, strict=False)):
        if a.result is not None and b.result is not None and a.result != b.result:
            return index
    return None


def _source(chosen: Candidate) -> Source:
    return Source(debate=chosen.debate, seed=chosen.seed, agent=chosen.turn.agent, round=chosen.turn.round)


def _known(chosen: Candidate) -> bool | None:
    """Right by the gold where the log knows it, whoever judged."""
    return chosen.turn.correct if chosen.problem.gold is not None else None
