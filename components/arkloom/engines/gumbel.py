"""Sampling noise that depends on nothing but (turn seed, position, token id).

The stream is a counter: any element can be computed alone, in any order, on any machine. So a
completion does not depend on which other completions share its batch, nor on a resume.
The mixer is SplitMix64's finaliser (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.uint64]

# float32 uniforms of 24 bits lie in [2**-25, 1 - 2**-25]: the noise lies in [-2.9, 17.4]. A token whose
# scaled logit is further below the best one than their distance can never win.
SPREAD = 20.5
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(values: Integers) -> Integers:
    """A bijection of 64-bit integers whose output bits look independent of the input's."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def keys(seeds: npt.ArrayLike, positions: npt.ArrayLike) -> Integers:
    """One key per (turn seed, position); shapes [B], [B] -> [B]."""
    seed = mix(np.asarray(seeds, np.uint64) + _GOLDEN)
    return mix(seed ^ (np.asarray(positions, np.uint64) * _GOLDEN))


def noise(key: Integers, tokens: Any) -> npt.NDArray[np.float32]:
    """Gumbel(0, 1) noise for pairs of key and token id, in float32; shapes [N], [N] -> [N]."""
    bits = mix(key + np.asarray(tokens).astype(np.uint64) * _GOLDEN) >> np.uint64(40)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-24
    return (-np.log(-np.log(uniform))).astype(np.float32)


def choose(
    rows: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    key: Integers,
) -> npt.NDArray[np.int64]:
    """Draw one token a row from its candidates: argmax of score + noise (ties: lowest token id).

    Args:
        rows: Row of each candidate, ascending, every row at least once; shape [N].
        tokens: Token id of each candidate, ascending within its row; shape [N].
        scores: logit / temperature of each candidate; shape [N].
        key: One key a row (``keys``); shape [B].

    Returns:
        The token of each row; shape [B].
    """
    values = scores + noise(key[rows], tokens)
    starts = np.searchsorted(rows, np.arange(len(key)))
    best = np.maximum.reduceat(values, starts)
    winners = np.flatnonzero(values == best[rows])
    first = np.searchsorted(rows[winners], np.arange(len(key)))
    chosen: npt.NDArray[np.int64] = tokens[winners[first]]
    return chosen


def nucleus(
    rows: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    totals: npt.NDArray[np.float32],
    top_p: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """Which candidates are in the smallest set of likeliest tokens that holds ``top_p`` of the mass.

    Args:
        rows: Row of each candidate, ascending; shape [N].
        scores: logit / temperature of each candidate; shape [N].
        totals: log-sum-exp of all scores of each row; shape [B].
        top_p: Mass to keep of each row; shape [B].
    """
    keep = np.ones(len(rows), np.bool_)
    bounds = np.searchsorted(rows, np.arange(len(totals) + 1))
    for row in np.flatnonzero(top_p < 1):
        part = slice(bounds[row], bounds[row + 1])
        mass = np.exp(scores[part].astype(np.float64) - float(totals[row]))
        order = np.argsort(-mass, kind="stable")
        before = np.cumsum(mass[order]) - mass[order]
        keep[part][order[before >= top_p[row]]] = False
    return keep
