"""The PRM's loss: right steps against the wrong steps of the same problem, plus cross-entropy.

AgentArk (arXiv 2602.03955): for a right step p and the wrong steps N_p of its problem, with s = sigmoid(R),
-log(e^(s_p/tau) / (e^(s_p/tau) + sum over N_p of e^(s_n/tau))). The cross-entropy of R keeps s a probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Counts:
    """What the terms of an optimiser step are divided by; sums over its forward passes.

    Attributes:
        labelled: Labelled steps.
        positives: Right steps.
        opposed: Right steps with at least one negative.
    """

    labelled: int = 0
    positives: int = 0
    opposed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.labelled + other.labelled, self.positives + other.positives, self.opposed + other.opposed
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """Labelled steps of whole problems, N in all.

    Attributes:
        labels: [N] 1.0 right, 0.0 wrong.
        problems: [N] number of each step's problem.
        drawn: [N] the step is wrong and serves as a negative of its problem.
    """

    labels: torch.Tensor
    problems: torch.Tensor
    drawn: torch.Tensor

    def counts(self) -> Counts:
        """What this pass adds to the denominators of its optimiser step."""
        right = self.problems[self.labels == 1]
        opposed = torch.isin(right, self.problems[self.drawn])
        return Counts(len(self.labels), len(right), int(opposed.sum()))


def contrastive(scores: torch.Tensor, steps: Steps, temperature: float) -> torch.Tensor:
    """Sum of the contrastive terms over right steps with at least one negative: [].

    Args:
        scores: [N] s = sigmoid(R).
        steps: Their labels, problems and negatives.
        temperature: tau.
    """
    right = steps.labels == 1
    same = steps.problems[right][:, None] == steps.problems[steps.drawn][None, :]
    opposed = same.any(dim=1)
    own = scores[right][opposed] / temperature
    against = (scores[steps.drawn] / temperature).expand(len(own), -1)
    against = against.masked_fill(~same[opposed], -torch.inf)
    return (torch.logsumexp(torch.cat([own[:, None], against], dim=1), dim=1) - own).sum()


def cross_entropy(logits: torch.Tensor, steps: Steps) -> torch.Tensor:
    """Sum of the binary cross-entropies of R against the labels: []."""
    return functional.binary_cross_entropy_with_logits(logits, steps.labels.to(logits.dtype), reduction="sum")


def loss(
    logits: torch.Tensor, steps: Steps, totals: Counts, temperature: float, bce_weight: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One pass's part of the loss of an optimiser step: (loss, contrastive part, cross-entropy part), [].

    Args:
        logits: [N] R of the labelled steps of whole problems.
        steps: What is known of them.
        totals: Counts of the whole optimiser step; where no step is opposed, cross-entropy stands alone.
        temperature: tau of the contrastive term.
        bce_weight: Weight of the cross-entropy; 0 = the paper's loss.
    """
    against = contrastive(torch.sigmoid(logits), steps, temperature) / max(totals.opposed, 1)
    entropy = cross_entropy(logits, steps) / max(totals.labelled, 1)
    return against + bce_weight * entropy, against, entropy
