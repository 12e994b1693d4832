"""The first wrong step of a solution: read from labels or scores, and judged the ProcessBench way.

A position is the index of a step from 0; ``NONE`` (-1) says that no step is wrong.
Source: ProcessBench (Zheng et al., arXiv 2412.06559).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arkloom.errors import BadInputError

NONE = -1


def first_error_f1(predicted: Sequence[int], label: Sequence[int]) -> float:
    """Harmonic mean of the accuracy on wrong solutions and on right ones.

    Args:
        predicted: Position of the first error, or -1, for each solution [N].
        label: The same, as it is [N].

    Returns:
        F1 in 0..1. A solution with an error counts when the very step is named. Where there are no
        right or no wrong solutions, nothing is shown and F1 is 0.

    Raises:
        BadInputError: The two differ in length, or a position is below -1.

    Example:
        >>> round(first_error_f1([1, 0, -1, -1], [1, 2, -1, -1]), 3)
        0.667
    """
    if len(predicted) != len(label):
        raise BadInputError(f"{len(predicted)} predictions for {len(label)} labels", where="first_error_f1")
    found, known = np.asarray(predicted, dtype=np.int64), np.asarray(label, dtype=np.int64)
    if min(found.min(initial=NONE), known.min(initial=NONE)) < NONE:
        raise BadInputError("a position is below -1", where="first_error_f1", mend="-1 means no error")
    wrong = known != NONE
    hits = found == known
    return harmonic(_share(hits[wrong]), _share(hits[~wrong]))


def first_error(scores: Sequence[float], threshold: float) -> int:
    """Position of the first step that scores below ``threshold``, or -1.

    A score that is no number is below every threshold: what cannot be judged is not right.
    """
    return next((index for index, score in enumerate(scores) if not score >= threshold), NONE)


def known_error(labels: Sequence[int | None]) -> int | None:
    """Position of the first error, where labels tell it for sure.

    Returns:
        The position of the 0 where every step before it is 1; -1 where every step is 1; else None: a
        step without a label may hide an earlier error.
    """
    known = next((index for index, label in enumerate(labels) if label != 1), NONE)
    if known == NONE:
        return NONE if labels else None
    return known if labels[known] == 0 else None


def best_threshold(scores: Sequence[Sequence[float]], labels: Sequence[int]) -> float:
    """The threshold with the best first-error F1; to be chosen on validation.

    Args:
        scores: Scores of the steps of each solution, [N] of [S], finite.
        labels: Position of its first error, or -1 [N].

    Returns:
        The middle of the best interval between two neighbouring scores, of the widest where several
        are equally good; 0.5 where there is no score.

    Raises:
        BadInputError: The two differ in length, or a label lies beyond its steps.
    """
    if len(scores) != len(labels):
        raise BadInputError(f"{len(scores)} scored solutions for {len(labels)} labels", where="threshold")
    values = np.unique([score for steps in scores for score in steps])
    if not values.size:
        return 0.5
    # Any threshold in (edges[i], edges[i + 1]] gives the same predictions: interval i of I.
    edges = np.concatenate(([min(0.0, values[0] - 1e-6)], values, [max(1.0, values[-1] + 1e-6)]))
    right, wrong = np.zeros(edges.size), np.zeros(edges.size)
    for steps, label in zip(scores, labels, strict=True):
        if not NONE <= label < len(steps):
            raise BadInputError(f"label {label} for {len(steps)} steps", where="threshold")
        before = min(steps[:label] if label != NONE else steps, default=float("inf"))
        counts = right if label == NONE else wrong
        start = 0 if label == NONE else int(np.searchsorted(edges, steps[label]))
        end = edges.size - 1 if before == float("inf") else int(np.searchsorted(edges, before))
        if start < end:  # threshold above the wrong step's score, not above any before it
            counts[start] += 1
            counts[end] -= 1
    errors = sum(label != NONE for label in labels)
    shares = (np.cumsum(wrong)[:-1] / max(errors, 1), np.cumsum(right)[:-1] / max(len(labels) - errors, 1))
    f1 = np.array([harmonic(float(a), float(b)) for a, b in zip(*shares, strict=True)])
    widths = np.where(f1 >= f1.max() - 1e-12, np.diff(edges), -1.0)
    best = int(np.argmax(widths))
    return float((edges[best] + edges[best + 1]) / 2)


def harmonic(a: float, b: float) -> float:
    """Harmonic mean of two shares; 0 where either is 0."""
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0.0


def _share(hits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    return float(hits.mean()) if hits.size else 0.0
