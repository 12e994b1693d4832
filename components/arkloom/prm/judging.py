"""Judges a PRM on validation: ranking, first errors beside floors that cost nothing, calibration, the gate.

Nothing is chosen and measured on the same problems: threshold and calibration behind the reported F1 and
ECE are cross-fitted between two halves of the validation problems. The floors are the best of their kind in
hindsight, on the very rows they are measured on, so the comparison leans against the PRM. The threshold and
the calibration that the PRM is published with come from all validation rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arkloom.config import PrmGate
from arkloom.prm.calibration import Calibration, Floats, fit
from arkloom.prm.traces import Trace, first_half
from arkloom.steps.first_error import NONE, best_threshold, first_error, first_error_f1
from arkloom.steps.floors import floors
from arkloom.steps.quality import correlation, ece, pairwise_accuracy, reliability, step_auc

Scores = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Gate:
    """Whether the PRM may reward anything, and why."""

    passed: bool
    reason: str

    def json(self, settings: PrmGate) -> dict[str, Any]:
        """As prm.json holds it, with the limits; whether it is enforced is not the PRM's affair."""
        return {"passed": self.passed, "reason": self.reason, **settings.model_dump(exclude={"enforce"})}


@dataclass(frozen=True)
class Judgement:
    """What validation says.

    Attributes:
        figures: Part of report.json; a figure is None where its rows are missing.
        threshold: A step that scores below it is called wrong; on calibrated scores.
        calibration: From all labelled validation steps.
    """

    figures: dict[str, Any]
    threshold: float = 0.5
    calibration: Calibration = field(default_factory=Calibration)


def judge(traces: Sequence[Trace], scores: Scores, seed: int) -> Judgement:
    """Judge scores of validation traces.

    Args:
        traces: With labels.
        scores: s of every step, [N][S], before calibration.
        seed: Decides the two halves.
    """
    labels = [label for trace in traces for label in trace.labels]
    problems = [trace.problem for trace in traces for _ in trace.labels]
    raw = [score for row in scores for score in row]
    found = [trace.first_error for trace in traces]
    halves = _halves(traces, seed)
    honest = _cross_calibrated(traces, scores, halves)
    bins = reliability(honest, labels)
    calibration = fit(*_labelled(raw, labels))
    known = [index for index, error in enumerate(found) if error is not None]
    at = [error for error in found if error is not None]
    unplaced = _unplaced(traces, found)
    figures: dict[str, Any] = {
        "step_auc": step_auc(raw, labels),
        "pairwise_accuracy": pairwise_accuracy(problems, raw, labels),
        "first_error_f1": None if unplaced else _cross_fitted_f1(traces, scores, halves),
        "first_error_f1_reason": unplaced,
        "floors": None if unplaced else _floors([traces[index] for index in known], at),
        "ece": ece(bins),
        "ece_uncalibrated": ece(reliability(raw, labels)),
        "reliability": bins,
        "score_length_correlation": _length_correlation(traces, scores),
        "rows": len(traces),
        "problems": len(set(problems)),
        "steps_labelled": sum(label is not None for label in labels),
        "steps_wrong": labels.count(0),
        "rows_first_error_known": len(at),
        "rows_with_error": sum(error != NONE for error in at),
    }
    calibrated = [calibration.apply(np.asarray(scores[index])).tolist() for index in known]
    return Judgement(figures, best_threshold(calibrated, at), calibration)


def gate(figures: dict[str, Any], settings: PrmGate) -> Gate:
    """First-error F1 at least the best floor plus a margin, and enough step AUC."""
    f1, auc, costless = figures["first_error_f1"], figures["step_auc"], figures["floors"]
    if f1 is None or auc is None or costless is None:
        few = "validation holds too few right and wrong solutions to judge by"
        return Gate(False, figures.get("first_error_f1_reason") or few)
    best = max(costless, key=lambda name: costless[name])
    need = costless[best] + settings.f1_margin
    told = [
        (f1 >= need, f"first-error F1 {f1:.3f}", f"{need:.3f} (floor {best} + {settings.f1_margin:g})"),
        (auc >= settings.auc, f"step AUC {auc:.3f}", f"{settings.auc:.3f}"),
    ]
    words = [f"{what} {'reaches' if good else 'is below'} {limit}" for good, what, limit in told]
    return Gate(all(good for good, _, _ in told), "; ".join(words))


def _unplaced(traces: Sequence[Trace], found: Sequence[int | None]) -> str | None:
    """Why no first error can be looked for.

    Where every known one is a trace's only step, as with labels by outcome, finding it takes no more than
    to know that the answer is wrong.
    """
    wrong = [trace for trace in traces if 0 in trace.labels]
    placed = any(
        error not in (None, NONE) and len(trace.labels) > 1
        for trace, error in zip(traces, found, strict=True)
    )
    if not wrong or placed:
        return None
    return "no first error is known in a solution of more than one step (labels by outcome never tell it)"


def _halves(traces: Sequence[Trace], seed: int) -> tuple[list[int], list[int]]:
    """Indices of the traces of either half of the problems."""
    chosen = first_half([trace.problem for trace in traces], seed)
    inside = [trace.problem in chosen for trace in traces]
    return [i for i, yes in enumerate(inside) if yes], [i for i, yes in enumerate(inside) if not yes]


def _cross_fitted_f1(
    traces: Sequence[Trace], scores: Scores, halves: tuple[list[int], list[int]]
) -> float | None:
    """F1 over all rows, each called by the threshold that the other half chose; None without both kinds."""
    found = [trace.first_error for trace in traces]
    known = [[index for index in half if found[index] is not None] for half in halves]
    predicted: list[int] = []
    actual: list[int] = []
    for own, other in (known, known[::-1]):
        chosen_on = [error for index in other if (error := found[index]) is not None]
        if len({error == NONE for error in chosen_on}) < 2:
            return None
        threshold = best_threshold([scores[index] for index in other], chosen_on)
        predicted += [first_error(scores[index], threshold) for index in own]
        actual += [error for index in own if (error := found[index]) is not None]
    return first_error_f1(predicted, actual)


def _cross_calibrated(
    traces: Sequence[Trace], scores: Scores, halves: tuple[list[int], list[int]]
) -> list[float]:
    """Scores of all steps, in order, each calibrated on the other half."""
    calibrated: dict[int, list[float]] = {}
    for own, other in (halves, halves[::-1]):
        line = fit(
            *_labelled(
                [score for index in other for score in scores[index]],
                [label for index in other for label in traces[index].labels],
            )
        )
        for index in own:
            calibrated[index] = line.apply(np.asarray(scores[index], dtype=np.float64)).tolist()
    return [score for index in range(len(traces)) for score in calibrated[index]]


def _floors(traces: Sequence[Trace], errors: Sequence[int]) -> dict[str, float] | None:
    if len({error == NONE for error in errors}) < 2:
        return None
    return floors(
        errors,
        [len(trace.labels) for trace in traces],
        [len(trace) for trace in traces],
        [
            error == NONE if trace.correct is None else trace.correct
            for trace, error in zip(traces, errors, strict=True)
        ],
    )


def _length_correlation(traces: Sequence[Trace], scores: Scores) -> float | None:
    """|correlation| between a trace's weakest step and its number of tokens."""
    found = correlation([min(row) for row in scores], [float(len(trace)) for trace in traces])
    return None if found is None else abs(found)


def _labelled(scores: Sequence[float], labels: Sequence[int | None]) -> tuple[Floats, Floats]:
    pairs = [(score, label) for score, label in zip(scores, labels, strict=True) if label is not None]
    return (
        np.array([score for score, _ in pairs], dtype=np.float64),
        np.array([label for _, label in pairs], dtype=np.float64),
    )
