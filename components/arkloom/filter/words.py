"""Words and n-grams of a text: what overlap and similarity are measured on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from arkloom.records import Problem, normalise

_MARKS = ".,;:!?\"'`“”‘’()[]{}*$#\\"
_TOKEN = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Words of the normalised text, without the punctuation around them; an expression is one word.

    Example:
        >>> words("He buys 3 (large) eggs: 2+7*5.")
        ['he', 'buys', '3', 'large', 'eggs', '2+7*5']
    """
    return [word for part in normalise(text).split() if (word := part.strip(_MARKS))]


def ngrams(parts: Sequence[str], size: int) -> set[str]:
    """Every run of ``size`` words, joined; empty for a shorter text."""
    return {" ".join(parts[i : i + size]) for i in range(len(parts) - size + 1)}


def tokens(text: str) -> list[str]:
    """Words and single signs: what a trace's length and similarity are measured in."""
    return _TOKEN.findall(text.casefold())


def shingles(text: str, size: int = 5) -> frozenset[str]:
    """5-grams over ``tokens``; a shorter text is one shingle of its own."""
    parts = tokens(text)
    return frozenset(ngrams(parts, min(size, max(len(parts), 1))) or {""})


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared part of two sets, 1.0 for two empty ones."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0


def full_question(problem: Problem) -> str:
    """The question with its options, as one text."""
    return "\n".join((problem.question, *problem.options))
