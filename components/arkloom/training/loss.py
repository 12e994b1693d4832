"""The supervised losses: weights of tokens, and the weighted negative log-likelihood."""

from __future__ import annotations

import torch
from torch.nn import functional

from arkloom.training.encode import Example
from arkloom.training.packing import Weighted


def rsft(example: Example, answer_weight: float = 1.0) -> Weighted:
    """RSFT: L = -[Σ M_r·log p + λ Σ M_a·log p] / Σ (M_r + M_a), λ = ``answer_weight``.

    Supervised training on reasoning traces as in AgentArk (arXiv 2602.03955). The sums run over a whole
    optimiser step, so a row's part of the denominator is its number of tokens under the loss.
    """
    masks = zip(example.reasoning, example.answer, strict=True)
    weights = tuple(float(r) + answer_weight * float(a) for r, a in masks)
    return Weighted(example.ids, weights, float(example.trained))


def da(example: Example) -> Weighted:
    """DA: L = -Σ_i (1/k_x)(1/T_i) Σ_t log p / Σ_i 1/k_x: every problem weighs the same, long rows no more.

    Training on several ways to solve one problem (AgentArk, arXiv 2602.03955). T_i counts the row's tokens
    under the loss; k_x = ``example.k``, the rows of its problem. The sums run over a whole optimiser step.
    """
    each = 1.0 / (example.k * max(1, example.trained))
    masks = zip(example.reasoning, example.answer, strict=True)
    return Weighted(example.ids, tuple(each * float(r or a) for r, a in masks), 1.0 / example.k)


def weighted_nll(logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ w_t · (-log p_t), the log-likelihoods in float32 (or wider, where the logits are).

    Args:
        logits: [B, T, V]; position t predicts token t + 1.
        ids: [B, T] token ids.
        weights: [B, T]; the weight of token t, whose first column is not used.

    Returns:
        The sum, not yet divided by its mass: [].
    """
    counted = weights[:, 1:] != 0  # prompt and padding are left out before anything is widened
    picked = logits[:, :-1][counted]
    wide = picked.to(torch.promote_types(logits.dtype, torch.float32))
    nll = functional.cross_entropy(wide, ids[:, 1:][counted], reduction="none")
    return (nll * weights[:, 1:][counted].to(nll.dtype)).sum()
