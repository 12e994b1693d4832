"""Chooses traces of one problem that solve it in different ways (DA, AgentArk, arXiv 2602.03955)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from arkloom.filter.words import jaccard, shingles
from arkloom.steps.split import signature, split

LEAST = 0.15  # distance at which a trace counts as another way

_Shape = tuple[frozenset[str], frozenset[str]]  # bigrams of operations, 5-grams of words


def distance(a: _Shape, b: _Shape) -> float:
    """1 - Jaccard of the operation bigrams; of the words where one text states no operations."""
    which = 0 if a[0] and b[0] else 1
    return 1.0 - jaccard(a[which], b[which])


def shape(text: str) -> _Shape:
    """What distances are measured on: bigrams of the ordered operations with their results."""
    operations = signature(split(text))
    ends = ("", *operations, "")
    pairs = frozenset("\n".join(pair) for pair in itertools.pairwise(ends)) if operations else ()
    return frozenset(pairs), shingles(text)


def diverse(texts: Sequence[str], count: int) -> list[int]:
    """Greedy max-min choice: the first text, then whichever is farthest from all chosen.

    Args:
        texts: Best first; ties go to the better one.
        count: At most so many.

    Returns:
        Positions in order of choice; all pairwise distances are at least ``LEAST``.
    """
    shapes = [shape(text) for text in texts]
    chosen: list[int] = [0] if texts else []
    least = [distance(shapes[0], other) for other in shapes] if texts else []
    while len(chosen) < min(count, len(texts)):
        farthest = max(range(len(texts)), key=lambda i: (least[i], -i))
        if farthest in chosen or least[farthest] < LEAST:
            break
        chosen.append(farthest)
        least = [min(old, distance(shapes[farthest], s)) for old, s in zip(least, shapes, strict=True)]
    return chosen
