"""Which rows share an optimiser step, and how the rows of one forward pass lie in its tensors.

A step's rows are spread over a fixed number of forward passes, the longest first, each to the
lightest so far: passes of about equal size, none over ``tokens``. The rows of a pass lie one after
another without padding (``flat``: needs attention kernels that keep rows apart by their positions)
or one below the other (``padded``). Loss and gradients are the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from arkloom.canonical import derive_seed

Layout = Literal["flat", "padded"]
FORWARD_TOKENS = 8192  # tokens of one forward pass: bounds its memory, whatever the batch


@dataclass(frozen=True, slots=True)
class Weighted:
    """One row ready for the loss.

    Attributes:
        ids: Token ids, [T].
        weights: Weight of each token's negative log-likelihood, [T]; 0 = not under the loss.
        mass: The row's part of the loss's denominator (RSFT: its tokens under the loss).
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    mass: float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every forward pass of a training, in order: ``passes`` of them make one optimiser step."""

    batches: tuple[tuple[int, ...], ...]
    passes: int

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return len(self.batches) // self.passes


def schedule(
    lengths: Sequence[int], batch: int, epochs: float, seed: int, layout: Layout, tokens: int = FORWARD_TOKENS
) -> Schedule:
    """Plan a whole training, a function of its arguments alone, so that a resumed one goes on in it.

    Each epoch shuffles the rows (seeded) and cuts them into steps of ``batch`` rows or, since they
    are cut evenly, one fewer; a fractional last epoch stops after its share of steps.

    Args:
        lengths: Tokens of each row.
        batch: Most rows of an optimiser step.
        epochs: Passes over the rows, > 0.
        seed: Decides the order.
        layout: How a forward pass is laid out: decides what it costs.
        tokens: Most tokens (padding included) of a forward pass; at least two longest rows fit.
    """
    if not lengths:
        raise ValueError("no rows to schedule")
    per_epoch = -(-len(lengths) // batch)
    total = max(1, round(epochs * per_epoch))
    steps = [
        rows
        for epoch in range(-(-total // per_epoch))
        for rows in _epoch(len(lengths), per_epoch, seed, epoch)
    ]
    steps = steps[:total]
    room = max(tokens, 2 * max(lengths))
    passes = 1
    while any(_cost(b, lengths, layout) > room for rows in steps for b in spread(rows, lengths, passes)):
        passes += 1
    return Schedule(tuple(b for rows in steps for b in spread(rows, lengths, passes)), passes)


def spread(rows: Sequence[int], lengths: Sequence[int], bins: int) -> list[tuple[int, ...]]:
    """Rows over ``bins`` lists of about equal length in tokens, longest first to the lightest."""
    loads, lists = [0] * bins, [[] for _ in range(bins)]  # type: tuple[list[int], list[list[int]]]
    for row in sorted(rows, key=lambda r: (-lengths[r], r)):
        lightest = min(range(bins), key=lambda b: (loads[b], len(lists[b]), b))
        loads[lightest] += lengths[row]
        lists[lightest].append(row)
    return [tuple(rows) for rows in lists]


def collate(rows: Sequence[Weighted], layout: Layout, pad: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of one forward pass.

    Returns:
        ``input_ids`` [B, T], ``weights`` [B, T] float32, ``mass`` [] float32, and ``position_ids``
        [1, T] that begin again at each row (flat; B = 1) or ``attention_mask`` [B, T] (padded).
    """
    mass = torch.tensor(sum(row.mass for row in rows), dtype=torch.float32)
    weights = [torch.tensor((0.0, *row.weights[1:])) for row in rows]  # nothing predicts a first token
    ids = [torch.tensor(row.ids) for row in rows]
    if layout == "flat":
        positions = torch.cat([torch.arange(len(row)) for row in rows])
        return {
            "input_ids": torch.cat(ids)[None],
            "position_ids": positions[None],
            "weights": torch.cat(weights)[None],
            "mass": mass,
        }
    stack = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": stack(ids, batch_first=True, padding_value=pad),
        "attention_mask": stack([torch.ones_like(i) for i in ids], batch_first=True),
        "weights": stack(weights, batch_first=True),
        "mass": mass,
    }


def _epoch(rows: int, steps: int, seed: int, epoch: int) -> list[list[int]]:
    order = list(range(rows))
    random.Random(derive_seed(seed, "rows", epoch)).shuffle(order)  # noqa: S311 - an order, not a secret
    return [order[rows * step // steps : rows * (step + 1) // steps] for step in range(steps)]


def _cost(rows: Sequence[int], lengths: Sequence[int], layout: Layout) -> int:
    sizes = [lengths[row] for row in rows]
    return sum(sizes) if layout == "flat" else len(sizes) * max(sizes, default=0)
