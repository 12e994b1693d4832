"""From scores to advantages: how much better a token's future was than its group's (METHODS §6).

Only tensors, no model: every formula here has a reference written in loops among the tests. A group is the
G completions of one prompt; mean and standard deviation (n - 1) run over the whole group, a completion's own
reward included (DeepSeekMath, arXiv 2402.03300; leaving it out would be RLOO, another estimator).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from arkloom.steps.aggregate import Aggregate, aggregate

EPSILON = 1e-4  # added to every standard deviation that something is divided by
FLAT = 1e-6  # a standard deviation below it tells nothing


@dataclass(frozen=True)
class Judged:
    """What is known of B completions, group by group.

    Attributes:
        scores: s in 0..1 of every step by the PRM, [B, S]; S = 0 where there is no PRM.
        steps: Whether there is a step, bool [B, S]; a completion's steps stand first.
        ends: Index of each step's last token within its completion, long [B, S].
        correct: c in 0..1 by the verifier, [B].
        parsed: Whether an answer could be read, bool [B].
    """

    scores: torch.Tensor
    steps: torch.Tensor
    ends: torch.Tensor
    correct: torch.Tensor
    parsed: torch.Tensor


@dataclass(frozen=True)
class Rule:
    """How scores become advantages; the fields are those of ``config.grpo``."""

    prm_weight: float = 0.5
    verifier_weight: float = 0.5
    advantage: Literal["step", "sequence"] = "step"
    step_credit: Literal["mean", "sum"] = "mean"
    aggregate: Aggregate = "softmin"
    softmin_temperature: float = 0.1


@dataclass(frozen=True)
class Advantages:
    """What the loss needs of B completions of T tokens, padding included.

    Attributes:
        values: Advantage of every token, float32 [B, T].
        keep: Whether the completion's group counts, bool [B]; dropped ones leave policy and KL terms.
        rewards: R = w_prm * agg(s) + w_correct * c, float32 [B].
        aggregates: agg(s), float32 [B].
        dropped: Groups that were dropped.
    """

    values: torch.Tensor
    keep: torch.Tensor
    rewards: torch.Tensor
    aggregates: torch.Tensor
    dropped: int


def advantages(judged: Judged, rule: Rule, group: int, tokens: int) -> Advantages:
    """Advantages of every token.

    ``sequence`` (AgentArk, arXiv 2602.03955): (R - mean) / (sd + 1e-4) over the group, the same at every
    token. ``step``: the scores of all steps of the group are normalised together, and token t gets

        w_prm * (1/S_i) * (sum of ŝ_ij over j with end_j >= t) + w_correct * (c_i - mean_c) / (sd_c + 1e-4)

    so a step moves its own tokens and those that led to it. The tokens after the last step (the end of
    the turn) have no step to come: their first term is the empty sum, 0. ``step_credit`` ``sum`` leaves
    out 1/S_i. A completion whose answer cannot be read has c = 0 and s = 0 at all its steps.

    Args:
        judged: B completions; B is a multiple of ``group``.
        rule: Weights and mode.
        group: G, completions a prompt.
        tokens: T, the width of the padded completions.

    Raises:
        ValueError: The shapes do not fit, or a step ends outside of the T tokens.
    """
    _check(judged, group, tokens)
    read = judged.parsed
    correct = (judged.correct.double() * read).view(-1, group)
    scores = (judged.scores.double() * read[:, None]).masked_fill(~judged.steps, 0.0)
    aggregates = aggregate(scores, judged.steps, rule.aggregate, rule.softmin_temperature)
    rewards = rule.prm_weight * aggregates + rule.verifier_weight * correct.flatten()
    mean_c, sd_c = _moments(correct, torch.ones_like(correct, dtype=torch.bool))
    if rule.advantage == "sequence":
        grouped = rewards.view(-1, group)
        mean, sd = _moments(grouped, torch.ones_like(grouped, dtype=torch.bool))
        values = ((grouped - mean) / (sd + EPSILON)).flatten()[:, None].expand(-1, tokens)
    else:
        mean, sd = _moments(scores.reshape(len(mean_c), -1), judged.steps.reshape(len(mean_c), -1))
        each = [moment.repeat_interleave(group, dim=0) for moment in (mean, sd)]
        normal = ((scores - each[0]) / (each[1] + EPSILON)).masked_fill(~judged.steps, 0.0)
        outcome = ((correct - mean_c) / (sd_c + EPSILON)).flatten()[:, None]
        values = rule.prm_weight * _to_come(normal, judged, rule, tokens) + rule.verifier_weight * outcome
    keep = ((sd >= FLAT) | (sd_c >= FLAT))[:, 0]
    return Advantages(
        values=values.float(),
        keep=keep.repeat_interleave(group),
        rewards=rewards.float(),
        aggregates=aggregates.float(),
        dropped=int((~keep).sum()),
    )


def _to_come(normal: torch.Tensor, judged: Judged, rule: Rule, tokens: int) -> torch.Tensor:
    """Sum of ŝ over the steps that end at token t or later, [B, T]; by one scatter and one running sum."""
    at_ends = normal.new_zeros(len(normal), tokens)
    at_ends.scatter_add_(1, judged.ends.masked_fill(~judged.steps, 0), normal)  # no step adds 0
    later = at_ends.flip(1).cumsum(dim=1).flip(1)
    if rule.step_credit == "sum":
        return later
    return later / judged.steps.sum(dim=1, keepdim=True).clamp(min=1)


def _moments(values: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (n - 1) of each row's known values, [rows, 1] each; 0 where too few."""
    count = known.sum(dim=1, keepdim=True)
    mean = values.masked_fill(~known, 0.0).sum(dim=1, keepdim=True) / count.clamp(min=1)
    squares = ((values - mean) ** 2).masked_fill(~known, 0.0).sum(dim=1, keepdim=True)
    return mean, torch.sqrt(squares / (count - 1).clamp(min=1))


def _check(judged: Judged, group: int, tokens: int) -> None:
    size = len(judged.correct)
    if group < 2 or size == 0 or size % group:
        raise ValueError(f"{size} completions are no whole groups of {group}")
    if not judged.scores.shape == judged.steps.shape == judged.ends.shape or len(judged.scores) != size:
        raise ValueError("scores, steps and ends differ in shape")
    if judged.steps.any() and int(judged.ends[judged.steps].max()) >= tokens:
        raise ValueError(f"a step ends outside of the {tokens} tokens")
