"""Evaluations to decide from: a report, its best arm, and that arm's answers to each test problem."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arkloom.canonical import digest
from arkloom.errors import BadInputError
from arkloom.jsonl import read_records
from arkloom.records import Score
from arkloom.store import Artifact


@dataclass(frozen=True)
class Evaluation:
    """One artifact of ``evaluate``.

    Attributes:
        report: As written to ``report.json``.
        scores: Path of the answers, one a line.
        key: Of the artifact.
    """

    report: dict[str, Any]
    scores: Path
    key: str

    @property
    def best(self) -> str | None:
        """The arm that validation chose."""
        arm: str | None = self.report.get("best_arm")
        return arm

    def right(self, arm: str) -> dict[str, float]:
        """Problem id -> 1.0 where the arm's greedy answer is right, else 0.0, in the order of the test.

        Raises:
            BadInputError: The arm has no answers, or two to one problem.
        """
        found: dict[str, float] = {}
        for score in read_records(self.scores, Score):
            if score.arm == arm and score.problem_id in found:
                raise BadInputError(
                    f"arm {arm!r} has two answers to problem {score.problem_id[:12]}", where=str(self.scores)
                )
            if score.arm == arm:
                found[score.problem_id] = float(score.correct)
        if not found:
            raise BadInputError(f"no answers of arm {arm!r}", where=str(self.scores))
        return found


def read(artifact: Artifact) -> Evaluation:
    """Open an artifact of ``evaluate``.

    Raises:
        BadInputError: It is none, or its report cannot be read.
    """
    path = artifact.file("report.json")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError("no report of an evaluation", where=str(path)) from error
    if not isinstance(report, dict):
        raise BadInputError("no report of an evaluation", where=str(path))
    return Evaluation(report, artifact.folder / "scores.jsonl", artifact.key)


def digest_of_test(right: dict[str, float]) -> str:
    """Digest of the test problems that were answered: equal only for the same test."""
    return digest(sorted(right))
