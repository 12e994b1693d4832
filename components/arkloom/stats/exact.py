"""Exact tests and intervals on counts; no randomness, no approximation of p by a normal."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

from scipy.special import bdtr  # scipy.stats would take seconds to import

from arkloom.stats.bootstrap import LEVEL, Interval


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test (McNemar 1947; binomial form).

    Args:
        only_first: Problems that the first arm alone solves.
        only_second: Problems that the second arm alone solves.

    Returns:
        p; 1.0 where the arms never disagree.

    Example:
        >>> round(mcnemar_exact(2, 10), 4)
        0.0386
    """
    if only_first < 0 or only_second < 0:
        raise ValueError("counts must not be negative")
    if only_first + only_second == 0:
        return 1.0
    # Under equal arms each disagreement is a fair coin, so both tails are equal.
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): adjusted p in the order given, each at most 1.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def wilson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval for one proportion (Wilson 1927), without continuity correction.

    The bootstrap of a column of ones is the point [1, 1]; this interval stays honest there.

    Raises:
        ValueError: No trial, or more successes than trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / trials
    spread = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / spread
    half = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / spread
    # At 0 and at n the bound is exactly 0 or 1; rounding must not leave it outside of the share.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(low, high)
