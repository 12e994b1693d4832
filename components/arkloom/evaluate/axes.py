"""The axes beside the test split: problems of another kind, and test problems asked again, disturbed.

Base and students answer them, greedily and once; the groups do not, since a vote or a debate of every
set would cost many times what all else costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arkloom.evaluate.answers import Answers
from arkloom.evaluate.play import Played
from arkloom.records import Problem
from arkloom.stats import compare, wilson
from arkloom.store import Artifact

AXES = {"ood": "ood-", "robustness": "robust-"}
"""Axis -> how the names of its files begin."""


def sets_beside(source: Artifact) -> list[str]:
    """Names of the sets in an artifact of problems, without ``.jsonl``."""
    return sorted(
        path.stem
        for start in AXES.values()
        for path in source.folder.glob(f"{start}*.jsonl")
        if path.is_file()
    )


def axes(
    played: Mapping[str, Played],
    test: Sequence[Problem],
    beside: Mapping[str, Sequence[Problem]],
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """``{axis: {set: {arm: {accuracy, ci95, n}}}}``; on robustness with what is lost against the originals.

    Args:
        played: Arm -> what it did; arms without answers to the sets are left out.
        test: The test problems, in the order of ``Played.test``.
        beside: Set -> its problems, in the order of ``Played.beside``.
        resamples: Bootstrap resamples of the loss.
        seed: Seeds the bootstrap.

    Returns:
        ``drop`` = accuracy on the original problems minus that on the disturbed ones, with a paired
        interval ``drop_ci95``; None where an original is not among the test problems.
    """
    found: dict[str, dict[str, Any]] = {}
    for axis, start in AXES.items():
        found[axis] = {}
        for name, problems in beside.items():
            if not name.startswith(start):
                continue
            lines = {arm: _line(told.beside[name]) for arm, told in played.items() if name in told.beside}
            if axis == "robustness":
                places = _originals(problems, test)
                for arm in lines:
                    lines[arm] |= _drop(played[arm], name, places, resamples, seed)
            found[axis][name.removeprefix(start)] = lines
    return found


def _line(answers: Answers) -> dict[str, Any]:
    right, problems = int(answers.correct.sum()), len(answers.scores)
    return {"accuracy": right / problems, "ci95": wilson(right, problems).pair(), "n": problems}


def _originals(problems: Sequence[Problem], test: Sequence[Problem]) -> list[int] | None:
    """Places of the originals among the test problems."""
    places = {problem.id: place for place, problem in enumerate(test)}
    found = [places.get(str(problem.meta.get("original"))) for problem in problems]
    known = [place for place in found if place is not None]
    return known if len(known) == len(found) else None


def _drop(arm: Played, name: str, places: Sequence[int] | None, resamples: int, seed: int) -> dict[str, Any]:
    if places is None:
        return {"drop": None, "drop_ci95": None}
    before = arm.test.correct[list(places)]
    lost = compare(before, arm.beside[name].correct, resamples=resamples, seed=seed)
    return {"drop": lost.diff, "drop_ci95": lost.interval.pair()}
