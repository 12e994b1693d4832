"""Reports of several seeds as one: problems pooled, arms paired on the same problems of the same seed.

Intervals are over problems: they speak of the trainings that were run, not of another seed's training.
What each seed showed stands beside them.
"""

from __future__ import annotations

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

Column = NDArray[np.float64]
Seeds = Mapping[int, Column]


@dataclass(frozen=True)
class Difference:
    """First arm minus second, over the seeds that have both.

    Attributes:
        name: ``rsft - rft``.
        value: Difference of accuracies.
        interval: Its paired 95 % interval.
        p: McNemar's, with Holm's correction across the pairs asked for together.
        seeds: How many seeds have both arms.
    """

    name: str
    value: float
    interval: str
    p: float
    seeds: int


@dataclass(frozen=True)
class Pooled:
    """What every arm answered, by the number of the seed; an arm that is absent in a seed lacks it.

    Attributes:
        correct: Arm -> seed -> [n] 0 or 1.
        tokens: Arm -> seed -> [n] completion tokens.
        seeds: How many seeds there are.
    """

    correct: Mapping[str, Seeds]
    tokens: Mapping[str, Seeds]
    seeds: int

    def mean(self, arm: str) -> float:
        """Accuracy over the seeds that have the arm."""
        return float(np.concatenate(list(self.correct[arm].values())).mean())

    def accuracy(self, arm: str) -> str:
        """Accuracy with its bootstrap interval, and of how many seeds, where not of all."""
        values = np.concatenate(list(self.correct[arm].values()))
        interval = mean_interval(values)
        lacking = (
            ""
            if len(self.correct[arm]) == self.seeds
            else f" ({len(self.correct[arm])} of {self.seeds} seeds)"
        )
        return f"{values.mean():.3f} [{interval.low:.3f}, {interval.high:.3f}]{lacking}"

    def spent(self, arm: str) -> float:
        """Mean completion tokens a problem."""
        return float(np.concatenate(list(self.tokens[arm].values())).mean())

    def gain(self, arms: Mapping[int, str]) -> tuple[float | None, str]:
        """Share of the debate's gain over base that is kept by an arm, or by one arm a seed.

        A ratio of means over the seeds; None with the reason where there is nothing to keep.
        """
        if not {"base", "debate"} <= self.correct.keys():
            return None, "no base or debate"
        held = [
            s for s, arm in arms.items() if all(s in self.correct.get(a, {}) for a in (arm, "base", "debate"))
        ]
        if not held:
            return None, "absent"
        base, debate = self._joined("base", held), self._joined("debate", held)
        if compare(debate, base).interval.low <= 0:
            return None, "the debate gains nothing"
        student = np.concatenate([self.correct[arms[seed]][seed] for seed in held])
        ratio, interval = ratio_of_differences(student - base, debate - base)
        return ratio, f"{ratio:.3f} [{interval.low:.3f}, {interval.high:.3f}]"

    def differences(self, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
        """Paired differences of the pairs that are there."""
        shared = {
            (a, b): [seed for seed in self.correct[a] if seed in self.correct[b]]
            for a, b in pairs
            if a in self.correct and b in self.correct
        }
        known = {pair: seeds for pair, seeds in shared.items() if seeds}
        found = [compare(self._joined(a, seeds), self._joined(b, seeds)) for (a, b), seeds in known.items()]
        adjusted = holm([delta.p for delta in found])
        return [
            Difference(
                f"{a} - {b}", d.diff, f"[{d.interval.low:+.3f}, {d.interval.high:+.3f}]", p, len(seeds)
            )
            for ((a, b), seeds), d, p in zip(known.items(), found, adjusted, strict=True)
        ]

    def _joined(self, arm: str, seeds: Sequence[int]) -> Column:
        return np.concatenate([self.correct[arm][seed] for seed in seeds])


def one(
    seed: int, root: Path, name: str, overrides: Iterable[str] = (), preset: str = "laptop"
) -> dict[str, Any]:
    """One run under a seed (of problems, debate and training); its report. Work that is done is found."""
    shared = [f"store.root={root / 'store'}", f"seed={seed}", f"problems.seed={seed}"]
    print(f"{name}: seed {seed}", file=sys.stderr, flush=True)
    return run(preset, overrides=[*shared, *overrides], out=root / f"{name}-{seed}", quiet=True)


def pool(reports: Sequence[Mapping[str, Any]], root: Path) -> Pooled:
    """Read every seed's scores."""
    correct: dict[str, dict[int, Column]] = {}
    tokens: dict[str, dict[int, Column]] = {}
    for seed, report in enumerate(reports):
        scores = _scores(report, root)
        for arm in report["arms"]:
            correct.setdefault(arm, {})[seed] = _column(scores[arm], "correct")
            tokens.setdefault(arm, {})[seed] = _column(scores[arm], "completion_tokens")
    return Pooled(correct, tokens, len(reports))


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


def _column(scores: Mapping[str, Score], field: str) -> Column:
    return np.array([float(getattr(scores[problem], field)) for problem in sorted(scores)])
