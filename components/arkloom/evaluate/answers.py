"""What one arm answered, taken from its debate records: one column of numbers a quantity.

Problems keep one order for every arm, so that columns of two arms can be paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arkloom.errors import ArkloomError
from arkloom.records import Debate, Problem, Score, Turn

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """One arm's answers to n problems, under one seed.

    Attributes:
        scores: One a problem, in the order of the problems.
    """

    scores: tuple[Score, ...]

    @property
    def correct(self) -> Floats:
        """[n] 1.0 where the answer is right, else 0.0 (no answer is wrong)."""
        return np.array([float(score.correct) for score in self.scores])

    @property
    def completion_tokens(self) -> Floats:
        """[n] tokens generated for each problem."""
        return np.array([float(score.completion_tokens) for score in self.scores])

    @property
    def prompt_tokens(self) -> Floats:
        """[n] tokens read for each problem (every turn's prompt counts)."""
        return np.array([float(score.prompt_tokens) for score in self.scores])

    @property
    def answered(self) -> Floats:
        """[n] 1.0 where an answer could be read."""
        return np.array([float(score.answer is not None) for score in self.scores])


def group_answers(arm: str, seed: int, debates: Mapping[str, Debate], problems: Sequence[Problem]) -> Answers:
    """The group's final answer to each problem: debate, vote, or one voice alone.

    A debate that ended in an error counts as wrong, with the tokens that it cost.
    """
    return _answers(debates, problems, lambda debate: _final(arm, seed, debate))


def agent_answers(
    arm: str, seed: int, agent: int, debates: Mapping[str, Debate], problems: Sequence[Problem]
) -> Answers:
    """One agent's answer of round 0: one of several independent samples of a model."""
    return _answers(debates, problems, lambda debate: _single(arm, seed, agent, debate))


def by_problem(debates: Iterable[Debate]) -> dict[str, Debate]:
    """Debates by their problem's id."""
    return {debate.id: debate for debate in debates}


def _answers(
    debates: Mapping[str, Debate], problems: Sequence[Problem], read: Callable[[Debate], Score]
) -> Answers:
    missing = [problem.id for problem in problems if problem.id not in debates]
    if missing:
        raise ArkloomError(
            f"{len(missing)} of {len(problems)} problems were not answered",
            where=f"problem {missing[0]}",
            mend="Run the same command to go on",
        )
    return Answers(tuple(read(debates[problem.id]) for problem in problems))


def _final(arm: str, seed: int, debate: Debate) -> Score:
    final = debate.final if debate.error is None else None
    answer, correct = (final.answer, final.correct) if final else (None, None)
    return _score(arm, seed, debate, debate.turns, answer, correct)


def _single(arm: str, seed: int, agent: int, debate: Debate) -> Score:
    turns = tuple(turn for turn in debate.turns if turn.agent == agent and turn.round == 0)
    answer, correct = (turns[0].answer, turns[0].correct) if turns else (None, None)
    return _score(arm, seed, debate, turns, answer, correct)


def _score(
    arm: str, seed: int, debate: Debate, turns: Sequence[Turn], answer: str | None, correct: bool | None
) -> Score:
    return Score(
        problem_id=debate.id,
        arm=arm,
        seed=seed,
        answer=answer,
        correct=bool(correct) and answer is not None,
        prompt_tokens=sum(turn.prompt_tokens for turn in turns),
        completion_tokens=sum(turn.completion_tokens for turn in turns),
    )
