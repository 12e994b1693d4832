"""Reports of several seeds as one: problems pooled, arms paired on the same problems of the same seed."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arkloom import run
from arkloom.jsonl import read_records
from arkloom.records import Score
from arkloom.stats import compare, holm, mean_interval, ratio_of_differences
from arkloom.store import open_store

Correct = NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """Correctness and tokens of every arm that all seeds have, over all (seed, problem) pairs.

    Attributes:
        correct: Arm -> [n] 0 or 1.
        tokens: Arm -> [n] completion tokens.
    """

    correct: Mapping[str, Correct]
    tokens: Mapping[str, Correct]

    def accuracy(self, arm: str) -> str:
        """Mean with its bootstrap interval."""
        interval = mean_interval(self.correct[arm])
        return f"{self.correct[arm].mean():.3f} [{interval.low:.3f}, {interval.high:.3f}]"

    def gain(self, arm: str) -> tuple[float, str]:
        """Share of the debate's gain over base that an arm keeps: a ratio of means over seeds."""
        base, debate = self.correct["base"], self.correct["debate"]
        if compare(debate, base).interval.low <= 0:
            return math.nan, "the debate gains nothing"
        ratio, interval = ratio_of_differences(self.correct[arm] - base, debate - base)
        return ratio, f"{ratio:.3f} [{interval.low:.3f}, {interval.high:.3f}]"

    def differences(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, float, str, float]]:
        """(name, first - second, its interval, p with Holm's correction across ``pairs``)."""
        known = [(a, b) for a, b in pairs if a in self.correct and b in self.correct]
        found = [compare(self.correct[a], self.correct[b]) for a, b in known]
        adjusted = holm([delta.p for delta in found])
        return [
            (f"{a} - {b}", d.diff, f"[{d.interval.low:+.3f}, {d.interval.high:+.3f}]", p)
            for (a, b), d, p in zip(known, found, adjusted, strict=True)
        ]


def one(
    seed: int, root: Path, name: str, overrides: Iterable[str] = (), preset: str = "laptop"
) -> dict[str, Any]:
    """One run under a seed (of problems, debate and training); its report. Work that is done is found."""
    shared = [f"store.root={root / 'store'}", f"seed={seed}", f"problems.seed={seed}"]
    print(f"{name}: seed {seed}", file=sys.stderr, flush=True)
    return run(preset, overrides=[*shared, *overrides], out=root / f"{name}-{seed}", quiet=True)


def pool(reports: Sequence[Mapping[str, Any]], root: Path) -> Pooled:
    """Read every seed's scores; arms that a seed lacks are left out."""
    arms = [arm for arm in reports[0]["arms"] if all(arm in report["arms"] for report in reports)]
    seeds = [_scores(report, root) for report in reports]
    return Pooled(
        {arm: np.concatenate([_column(scores[arm], "correct") for scores in seeds]) for arm in arms},
        {
            arm: np.concatenate([_column(scores[arm], "completion_tokens") for scores in seeds])
            for arm in arms
        },
    )


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "-"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def _scores(report: Mapping[str, Any], root: Path) -> dict[str, dict[str, Score]]:
    store = open_store(str(root / "store"))
    manifest = store.find("evaluate", report["keys"]["evaluate"])
    assert manifest is not None
    found: dict[str, dict[str, Score]] = {}
    for score in read_records(store.open(manifest.uri).file("scores.jsonl"), Score):
        found.setdefault(score.arm, {})[score.problem_id] = score
    return found


def _column(scores: Mapping[str, Score], field: str) -> Correct:
    return np.array([float(getattr(scores[problem], field)) for problem in sorted(scores)])
