"""Paired comparison of two arms on the same problems, and the ratio of two paired gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from arkloom.stats.bootstrap import (
    RESAMPLES,
    Floats,
    Interval,
    percentile_interval,
    resampled_means,
)
from arkloom.stats.exact import mcnemar_exact


@dataclass(frozen=True, slots=True)
class Delta:
    """First arm minus second on n problems: bootstrap interval, exact McNemar p."""

    diff: float
    interval: Interval
    p: float
    n: int

    def json(self) -> dict[str, Any]:
        """``{diff, ci95, p, n}``, as reports hold it."""
        return {"diff": self.diff, "ci95": self.interval.pair(), "p": self.p, "n": self.n}


def compare(first: ArrayLike, second: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Delta:
    """Compare two arms problem by problem.

    Args:
        first: [n] correctness (0 or 1) of the first arm.
        second: [n] the same problems, in the same order, of the second.
        resamples: Bootstrap resamples.
        seed: Seeds the bootstrap; the same seed gives every pair the same resampled problems.

    Raises:
        ValueError: The lengths differ, nothing to compare, or a value is neither 0 nor 1.
    """
    left, right = _paired(first, second)
    if not np.isin(np.stack([left, right]), (0.0, 1.0)).all():
        raise ValueError("correctness must be 0 or 1")
    means = resampled_means([left - right], resamples, seed)[:, 0]
    only_first, only_second = int((left > right).sum()), int((right > left).sum())
    return Delta(
        diff=float(left.mean() - right.mean()),
        interval=percentile_interval(means),
        p=mcnemar_exact(only_first, only_second),
        n=len(left),
    )


def mean_interval(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Bootstrap interval of a mean of any numbers [n] (tokens, shares)."""
    return percentile_interval(resampled_means([np.asarray(values, dtype=np.float64)], resamples, seed))


def ratio_of_differences(
    part: ArrayLike, whole: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, Interval]:
    """mean(part) / mean(whole), a ratio of means, with its bootstrap interval.

    Args:
        part: [n] per problem: student minus base (its mean over seeds, where there are several).
        whole: [n] per problem: debate minus base.
        resamples: Bootstrap resamples; those with mean(whole) = 0 have no ratio and are left out.
        seed: Seeds the bootstrap.

    Raises:
        ValueError: mean(whole) is 0: the ratio is not defined.
    """
    numerator, denominator = _paired(part, whole)
    if denominator.mean() == 0:
        raise ValueError("the whole is 0: no ratio")
    means = resampled_means([numerator, denominator], resamples, seed)
    defined = means[:, 1] != 0
    ratios = means[defined, 0] / means[defined, 1]
    return float(numerator.mean() / denominator.mean()), percentile_interval(ratios)


def _paired(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1 or not left.size:
        raise ValueError(f"need two lists of one length >= 1, got {left.shape} and {right.shape}")
    return left, right
