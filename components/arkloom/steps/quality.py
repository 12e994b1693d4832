"""How good step scores are: ranking, calibration, and whether they merely follow length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from arkloom.errors import BadInputError

Floats = npt.NDArray[np.float64]


class Bin(TypedDict):
    """One bar of a reliability diagram: scores in [low, high), the last bin with its end."""

    low: float
    high: float
    n: int
    score: float | None
    right: float | None


def step_auc(scores: Sequence[float], labels: Sequence[int | None]) -> float | None:
    """Chance that a right step scores above a wrong one, ties counting half (area under the ROC).

    Args:
        scores: Of any steps, whatever their problem [M].
        labels: 1, 0, or None for a step without a label, which is left out [M].

    Returns:
        AUC in 0..1, None where right or wrong steps are missing.
    """
    kept, right = _labelled(scores, labels)
    return _above(kept[right], kept[~right])


def pairwise_accuracy(
    problems: Sequence[str], scores: Sequence[float], labels: Sequence[int | None]
) -> float | None:
    """Share of (right step, wrong step) pairs *of one problem* that are in order, ties counting half.

    Args:
        problems: The problem of each step [M].
        scores: [M].
        labels: 1, 0 or None [M].

    Returns:
        The share over all pairs, None where no problem has both kinds.
    """
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for problem, score, label in zip(problems, scores, labels, strict=True):
        if label is not None:
            groups.setdefault(problem, ([], []))[label].append(score)
    ordered = pairs = 0.0
    for wrong, right in groups.values():
        share = _above(np.asarray(right, dtype=np.float64), np.asarray(wrong, dtype=np.float64))
        if share is not None:
            pairs += len(right) * len(wrong)
            ordered += share * len(right) * len(wrong)
    return ordered / pairs if pairs else None


def reliability(scores: Sequence[float], labels: Sequence[int | None], bins: int = 10) -> list[Bin]:
    """Bins of equal width over 0..1: mean score beside the share of right steps.

    Raises:
        BadInputError: A score lies outside 0..1.
    """
    kept, right = _labelled(scores, labels)
    if kept.size and not (kept.min() >= 0 and kept.max() <= 1):
        raise BadInputError("a step score lies outside 0..1", where="reliability")
    place = np.minimum((kept * bins).astype(np.int64), bins - 1)
    found: list[Bin] = []
    for number in range(bins):
        inside = place == number
        some = bool(inside.any())
        found.append(
            Bin(
                low=number / bins,
                high=(number + 1) / bins,
                n=int(inside.sum()),
                score=float(kept[inside].mean()) if some else None,
                right=float(right[inside].mean()) if some else None,
            )
        )
    return found


def ece(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean |score - share of right steps| over bins, weighted by steps.

    None where no bin holds a step.
    """
    total = sum(part["n"] for part in bins)
    if not total:
        return None
    return sum(
        part["n"] / total * abs(part["score"] - part["right"])
        for part in bins
        if part["score"] is not None and part["right"] is not None
    )


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson correlation; None where one of the two does not vary."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise BadInputError(f"{a.size} and {b.size} values cannot be correlated")
    if a.size < 2:
        return None
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / spread) if spread > 1e-12 else None


def _labelled(scores: Sequence[float], labels: Sequence[int | None]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if len(scores) != len(labels):
        raise BadInputError(f"{len(scores)} step scores for {len(labels)} labels")
    pairs = [(score, label) for score, label in zip(scores, labels, strict=True) if label is not None]
    kept = np.array([score for score, _ in pairs], dtype=np.float64)
    return kept, np.array([bool(label) for _, label in pairs], dtype=np.bool_)


def _above(right: Floats, wrong: Floats) -> float | None:
    """Mann-Whitney: share of pairs in which the right one is higher, in O((P + N) log N)."""
    if not right.size or not wrong.size:
        return None
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, side="left")
    not_above = np.searchsorted(ordered, right, side="right")
    return float((below + not_above).sum() / (2 * right.size * wrong.size))
