"""Keeps evaluation questions out of training rows (decontamination by shared n-grams)."""

from __future__ import annotations

from collections.abc import Iterable

from arkloom.filter.words import full_question, ngrams, words
from arkloom.records import Problem, normalise


class Evaluation:
    """The questions of the evaluation sets, indexed.

    A question of ``size`` words or more overlaps where any run of ``size`` words is shared; a shorter
    one where the whole normalised question is equal. Every question also overlaps with itself under
    other options' order (``content_hash``).

    Args:
        problems: Everything that will be scored: validation and test.
        size: Words of an n-gram, 13 by default.
    """

    def __init__(self, problems: Iterable[Problem] = (), size: int = 13) -> None:
        self._size = size
        self._ngrams: set[str] = set()
        self._short: set[str] = set()
        self._hashes: set[str] = set()
        for problem in problems:
            parts = words(full_question(problem))
            self._hashes.add(problem.content_hash)
            self._ngrams |= ngrams(parts, size)
            if len(parts) < size:
                self._short.add(normalise(full_question(problem)))

    def __len__(self) -> int:
        """Number of distinct questions."""
        return len(self._hashes)

    def holds(self, problem: Problem) -> bool:
        """Whether a training question overlaps with an evaluation question."""
        return problem.content_hash in self._hashes or self.quoted(full_question(problem))

    def quoted(self, text: str) -> bool:
        """Whether a text shares a run of words with, or equals, an evaluation question."""
        if normalise(text) in self._short:
            return True
        return not self._ngrams.isdisjoint(ngrams(words(text), self._size))
