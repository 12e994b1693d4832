"""What first-error F1 costs nothing: four predictors that never read a step.

A process reward model has shown something only where it is above all four. Each floor is the best of its
kind *in hindsight*, on the very labels that it is judged on, so it is a strict one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt

import numpy as np

from arkloom.errors import BadInputError
from arkloom.steps.first_error import NONE, first_error_f1


def floors(
    labels: Sequence[int], steps: Sequence[int], lengths: Sequence[int], outcome_correct: Sequence[bool]
) -> dict[str, float]:
    """First-error F1 of the four floors.

    Args:
        labels: Position of the first error, or -1 [N].
        steps: Number of steps [N].
        lengths: Length of the solution, in tokens or characters [N].
        outcome_correct: Whether its final answer is right [N].

    Returns:
        ``constant``, ``position``, ``length``, ``outcome``; each is described at its function.

    Raises:
        BadInputError: The four differ in length.
    """
    sizes = {len(labels), len(steps), len(lengths), len(outcome_correct)}
    if len(sizes) > 1:
        raise BadInputError(f"labels, steps, lengths and outcomes differ in number: {sorted(sizes)}")
    return {
        "constant": constant(labels),
        "position": position(labels),
        "length": max(length(labels, steps), length(labels, lengths)),
        "outcome": outcome(labels, outcome_correct),
    }


def modal_step(labels: Sequence[int]) -> int | None:
    """The most frequent position among the errors, the earlier of two; None where there is no error."""
    counts = Counter(label for label in labels if label != NONE)
    return min(counts, key=lambda step: (-counts[step], step)) if counts else None


def constant(labels: Sequence[int]) -> float:
    """The best constant prediction: 0, since it is wrong on all right or on all wrong solutions."""
    return max(
        (first_error_f1([guess] * len(labels), labels) for guess in {NONE, *labels}),
        default=0.0,
    )


def position(labels: Sequence[int]) -> float:
    """The best prior over positions, drawn without a look at the solution; expected F1.

    It says "no error" with probability p, else a position. With m the share of the modal position among
    errors, its accuracies are (1 - p)·m and p; their harmonic mean is largest at p = √m / (1 + √m),
    where it is 2m / (1 + √m)².
    """
    errors = [label for label in labels if label != NONE]
    if not errors or len(errors) == len(labels):
        return 0.0
    modal = errors.count(modal_step(errors) or 0) / len(errors)
    return 2 * modal / (1 + sqrt(modal)) ** 2


def length(labels: Sequence[int], sizes: Sequence[int]) -> float:
    """The best rule on a solution's size alone: "longer (or shorter) than t: error at step k; else none".

    Over every t, both directions and every k.
    """
    known, found = np.asarray(labels, dtype=np.int64), np.asarray(sizes, dtype=np.int64)
    wrong = known != NONE
    if not wrong.any() or wrong.all():
        return 0.0
    edges = np.unique(found)
    # at_most[i] = share of the right solutions not longer than edges[i]
    at_most = np.searchsorted(np.sort(found[~wrong]), edges, side="right") / int((~wrong).sum())
    best = 0.0
    for step in np.unique(known[wrong]):
        hits = np.searchsorted(np.sort(found[known == step]), edges, side="right") / int(wrong.sum())
        for on_right, on_wrong in ((at_most, hits[-1] - hits), (1 - at_most, hits)):
            total = on_right + on_wrong
            f1 = 2 * on_right * on_wrong / np.where(total > 0, total, 1.0)
            best = max(best, float(f1.max()))
    return best


def outcome(labels: Sequence[int], outcome_correct: Sequence[bool]) -> float:
    """An oracle of the final answer: no error where it is right, the modal step where it is wrong."""
    modal = modal_step(labels)
    if modal is None:
        return 0.0
    return first_error_f1([NONE if right else modal for right in outcome_correct], labels)
