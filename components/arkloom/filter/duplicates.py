"""Finds texts that say the same: equal when normalised, else 5-gram Jaccard at a threshold.

MinHash (datasketch, fixed seed) proposes candidates; the exact Jaccard decides, so that an estimate
never drops a text. The bands are chosen so that a pair at the threshold is missed less than once in
10,000 times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arkloom.canonical import digest
from arkloom.filter.words import jaccard, shingles
from arkloom.records import normalise

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

_SEED = 20260131
_PERMUTATIONS = 128
_MISS = 1e-4
_SMALL = 512  # up to this many texts a plain comparison beats an index and the second its import takes


class Duplicates:
    """Accepts texts one after the other and tells the earlier one that a new text repeats.

    Args:
        threshold: Least 5-gram Jaccard similarity of a duplicate.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._hashes: dict[str, int] = {}
        self._shingles: list[frozenset[str]] = []
        self._index: MinHashLSH | None = None

    def add(self, text: str) -> int | None:
        """Number of the accepted text that this one repeats, or None: then it is accepted itself."""
        key = digest(normalise(text))
        if key in self._hashes:
            return self._hashes[key]
        found = shingles(text)
        for number in self._near(found):
            if jaccard(found, self._shingles[number]) >= self._threshold:
                return number
        number = len(self._shingles)
        self._hashes[key] = number
        self._shingles.append(found)
        self._insert(number, found)
        return None

    def _near(self, found: frozenset[str]) -> list[int]:
        if self._index is None:
            return list(range(len(self._shingles)))
        return sorted(int(name) for name in self._index.query(_minhash(found)))

    def _insert(self, number: int, found: frozenset[str]) -> None:
        if self._index is not None:
            self._index.insert(str(number), _minhash(found))
        elif len(self._shingles) > _SMALL:
            from datasketch import MinHashLSH  # noqa: PLC0415 - loads scipy; most logs never need it

            self._index = MinHashLSH(num_perm=_PERMUTATIONS, params=bands(self._threshold))
            for earlier, texts in enumerate(self._shingles):
                self._index.insert(str(earlier), _minhash(texts))


def bands(threshold: float) -> tuple[int, int]:
    """(bands, rows) of the longest rows whose chance to miss a pair at the threshold is small."""
    for rows in range(_PERMUTATIONS, 1, -1):
        count = _PERMUTATIONS // rows
        if (1 - threshold**rows) ** count < _MISS:
            return count, rows
    return _PERMUTATIONS, 1


def _minhash(found: frozenset[str]) -> MinHash:
    from datasketch import MinHash  # noqa: PLC0415 - the same

    sketch = MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    sketch.update_batch([shingle.encode() for shingle in sorted(found)])
    return sketch
