"""One number for a completion from the scores of its steps."""

from __future__ import annotations

from typing import Literal, get_args

import torch

Aggregate = Literal["softmin", "mean", "min", "last"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)


def aggregate(
    scores: torch.Tensor, steps: torch.Tensor, how: Aggregate, temperature: float = 0.1
) -> torch.Tensor:
    r"""Agg(s) of every completion.

    ``softmin`` is the mean of the scores under the weights softmax(-s / temperature): near the smallest
    score, but with a gradient on all of them (AgentArk, arXiv 2602.03955).

    Args:
        scores: s of every step, [N, S]; what stands where there is no step does not count.
        steps: Whether there is a step, bool [N, S]; a completion's steps stand first, in order.
        how: One of ``AGGREGATES``.
        temperature: Of the softmin, > 0.

    Returns:
        [N], in the dtype of ``scores``; 0 for a completion without steps.

    Example:
        >>> s = torch.tensor([[0.9, 0.2, 0.6]])
        >>> [round(float(aggregate(s, s > 0, how)), 3) for how in AGGREGATES]
        [0.208, 0.567, 0.2, 0.6]
    """
    if scores.shape != steps.shape:
        raise ValueError(f"scores {tuple(scores.shape)} and steps {tuple(steps.shape)} differ in shape")
    if scores.shape[1] == 0:
        return scores.new_zeros(scores.shape[0])
    known = scores.masked_fill(~steps, 0.0)
    counts = steps.sum(dim=1)
    if how == "mean":
        found = known.sum(dim=1) / counts.clamp(min=1)
    elif how == "last":
        found = known.gather(1, (counts - 1).clamp(min=0)[:, None])[:, 0]
    elif how == "min":
        found = scores.masked_fill(~steps, torch.inf).min(dim=1).values
    elif how == "softmin":
        logits = (-known / temperature).masked_fill(~steps, -torch.inf)
        weights = torch.softmax(logits, dim=1).masked_fill(~steps, 0.0)  # no step at all: NaN becomes 0
        found = (weights * known).sum(dim=1)
    else:
        raise ValueError(f"no aggregate {how!r}; known: {', '.join(AGGREGATES)}")
    return torch.where(counts > 0, found, torch.zeros_like(found))
