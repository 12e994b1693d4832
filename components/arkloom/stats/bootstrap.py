"""The percentile bootstrap over problems (Efron 1979), vectorised and seeded.

All arms are resampled together: resample r draws the same problems for every arm, so a difference of
two columns is a paired one, and the same seed gives the same intervals on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
LEVEL = 0.95
_CELLS = 4_000_000  # counts held at once: 32 MB of float64, whatever the number of problems

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval; ``low <= high``."""

    low: float
    high: float

    def pair(self) -> list[float]:
        """``[low, high]``, as reports hold it."""
        return [self.low, self.high]


def resampled_means(columns: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of every column over the same resampled problems.

    Args:
        columns: [m, n]: m arms (or any quantity), n problems.
        resamples: Number of resamples R.
        seed: Seeds the draws; nothing else does.

    Returns:
        [R, m]: the mean of each column in each resample.

    Raises:
        ValueError: There is no problem, or ``columns`` is not two-dimensional.
    """
    matrix = np.asarray(columns, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"columns must be [m, n] with n >= 1, got shape {matrix.shape}")
    problems = matrix.shape[1]
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // problems)
    parts = []
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = generator.integers(0, problems, size=(size, problems))
        drawn += np.arange(size)[:, None] * problems
        counts = np.bincount(drawn.ravel(), minlength=size * problems).reshape(size, problems)
        parts.append(counts @ matrix.T / problems)
    return np.concatenate(parts)


def percentile_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """The central share ``level`` of resampled values.

    Raises:
        ValueError: No value is finite.
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if not finite.size:
        raise ValueError("no finite value to take an interval of")
    tail = (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(float(low), float(high))
