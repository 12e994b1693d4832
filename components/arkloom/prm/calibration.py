"""Makes a PRM's scores probabilities: Platt's scaling of R, folded into its head.

R becomes a·R + b with a > 0, so no order of steps changes. The head is linear, so the saved model gives the
calibrated scores itself and nobody who loads it has to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from arkloom.steps.model import Prm, head

Floats = NDArray[np.float64]
_EDGE = 1e-12  # scores of exactly 0 or 1 have no logit


@dataclass(frozen=True)
class Calibration:
    """R -> slope·R + intercept; the identity, with the reason, where none could be found."""

    slope: float = 1.0
    intercept: float = 0.0
    steps: int = 0
    reason: str | None = None

    def apply(self, scores: Floats) -> Floats:
        """Calibrated scores of any shape."""
        calibrated: Floats = expit(self.slope * logits(scores) + self.intercept)
        return calibrated

    def json(self) -> dict[str, Any]:
        """As prm.json holds it."""
        return {
            "method": "platt",
            "slope": self.slope,
            "intercept": self.intercept,
            "steps": self.steps,
            "folded_into_head": self.reason is None,
            "reason": self.reason,
        }


def logits(scores: Floats) -> Floats:
    """R of scores s = sigmoid(R)."""
    found: Floats = logit(np.clip(scores, _EDGE, 1 - _EDGE))
    return found


def fit(scores: Floats, labels: Floats) -> Calibration:
    """Platt's scaling (1999) with his smoothed targets, so that separable steps give no infinite slope.

    Args:
        scores: [N] s = sigmoid(R) of labelled steps.
        labels: [N] 1 right, 0 wrong.
    """
    right, wrong = int((labels == 1).sum()), int((labels == 0).sum())
    if not right or not wrong:
        return Calibration(steps=len(labels), reason="all labelled steps have one label")
    raw = logits(scores)
    targets = np.where(labels == 1, (right + 1) / (right + 2), 1 / (wrong + 2))

    def entropy(line: Floats) -> tuple[float, Floats]:
        value = line[0] * raw + line[1]
        slopes = expit(value) - targets
        total = np.logaddexp(0, value) - targets * value
        return float(total.mean()), np.array([(slopes * raw).mean(), slopes.mean()])

    slope, intercept = minimize(entropy, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    if not (np.isfinite([slope, intercept]).all() and slope > 0):
        return Calibration(steps=len(labels), reason="right steps do not score higher than wrong ones")
    return Calibration(float(slope), float(intercept), len(labels))


def fold(prm: Prm, calibration: Calibration) -> None:
    """Let the head give the calibrated R from now on."""
    top = head(prm.model)
    if calibration.reason is not None:
        return
    with torch.no_grad():
        top.weight.mul_(calibration.slope)
        if top.bias is not None:
            top.bias.mul_(calibration.slope).add_(calibration.intercept)
