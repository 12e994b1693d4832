"""What is watched while a student learns: pure functions of the trainer's log, so a resume loses nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from arkloom.grpo.trainer import OWN

WINDOW = 10  # steps on either side of a comparison
_SURE = 2.0  # standard errors that a change must exceed
_DIGITS = 6
_VALIDATION = "validation_accuracy"

# name in training.json -> name in the trainer's log; a figure that is not measured is None
_FIGURES = {
    "loss": "loss",
    "reward": f"{OWN}reward",
    "prm_reward": f"{OWN}prm_reward",
    "verifier_reward": f"{OWN}verifier_reward",
    "kl": "kl",
    "entropy": "entropy",
    "completion_length": "completions/mean_length",
    "steps_per_completion": f"{OWN}steps",
    "read": f"{OWN}read",
    "dropped": f"{OWN}dropped",
    "clipped": "completions/clipped_ratio",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
}

Point = dict[str, Any]


def curve(history: Sequence[Mapping[str, Any]], rollouts: int) -> list[Point]:
    """One point a step: ``{"step", "rollouts", "loss", "reward", ...}``.

    Args:
        history: The trainer's log.
        rollouts: Completions a step.
    """
    return [
        {"step": log["step"], "rollouts": log["step"] * rollouts}
        | {name: _rounded(log.get(told)) for name, told in _FIGURES.items()}
        | {"dropped": round(log.get(f"{OWN}dropped") or 0)}
        for log in history
        if "loss" in log
    ]


def validated(step: int, accuracy: float) -> dict[str, Any]:
    """The entry of the log that says how many validation problems are right after a step."""
    return {"step": step, _VALIDATION: accuracy}


def validations(history: Sequence[Mapping[str, Any]], rollouts: int) -> list[Point]:
    """``{"step", "rollouts", "accuracy"}`` of every check on validation."""
    return [
        {"step": log["step"], "rollouts": log["step"] * rollouts, "accuracy": _rounded(log[_VALIDATION])}
        for log in history
        if _VALIDATION in log
    ]


def best_step(checks: Sequence[Mapping[str, Any]], last: int | None = None) -> int | None:
    """The step of the best accuracy so far, of equal ones the earliest; None without checks.

    Args:
        checks: As ``validations`` gives them.
        last: Look no further than this step.
    """
    known = [check for check in checks if last is None or check["step"] <= last]
    return max(known, key=lambda check: (check["accuracy"], -check["step"]))["step"] if known else None


def stop_reason(points: Sequence[Point], max_kl: float) -> str | None:
    """Why training must end: the student is too far from where it began (KL a token, mean of a step).

    A step whose groups were all dropped tells no KL, and stops nothing.
    """
    for point in points:
        if point["kl"] is not None and point["kl"] > max_kl:
            return f"KL {point['kl']:.4f} per token at step {point['step']} is above grpo.max_kl ({max_kl:g})"
    return None


def hacking(points: Sequence[Point]) -> str | None:
    """Reward hacking: from one window to the next the PRM's reward rises while the verifier's falls.

    Both changes must exceed two standard errors, since every step samples other problems. The first such
    pair of windows is told.
    """
    for end in range(2 * WINDOW, len(points) + 1):
        windows = points[end - 2 * WINDOW : end - WINDOW], points[end - WINDOW : end]
        prm, verifier = (_change(*windows, name) for name in ("prm_reward", "verifier_reward"))
        if prm is None or verifier is None:
            return None
        if prm[2] > 0 and verifier[2] < 0:
            return (
                f"reward hacking by step {points[end - 1]['step']}: over {2 * WINDOW} steps the PRM's reward"
                f" rose from {prm[0]:.3f} to {prm[1]:.3f} while the verifier's fell from {verifier[0]:.3f}"
                f" to {verifier[1]:.3f}"
            )
    return None


def _change(before: Sequence[Point], after: Sequence[Point], name: str) -> tuple[float, float, int] | None:
    """Means of two windows and the sign of a sure change (0: none is sure); None where not measured."""
    old, new = ([point[name] for point in window] for window in (before, after))
    if any(value is None for value in (*old, *new)):
        return None
    first, second = statistics.fmean(old), statistics.fmean(new)
    error = ((statistics.variance(old) + statistics.variance(new)) / WINDOW) ** 0.5
    sure = abs(second - first) > max(_SURE * error, 1e-9)
    return first, second, (1 if second > first else -1) if sure else 0


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), _DIGITS)
