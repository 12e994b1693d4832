"""Equality of two mathematical answers: exact for numbers, by words for words, symbolic for all else."""

from __future__ import annotations

import re
from itertools import pairwise

from arkloom.answers import symbolic
from arkloom.answers.exact import MAX_LENGTH, exact
from arkloom.answers.latex import is_text, plain, words

_LETTERS = re.compile(r"[A-Za-z]{4,}")
_NAME = re.compile(r"\\?[A-Za-z]+'*(?:\s?_\s?\{?\w+\}?)?(?:\s?\([^()]*\))?")
_BASE = re.compile(r"([0-9A-F]*[0-9][0-9A-F]*)\s?_\s?\{?\s?(\d{1,2})\s?\}?")


def same(a: str, b: str) -> bool:
    """Whether two answers denote the same object; what is too long to be an answer equals nothing.

    A decimal against an irrational number is compared to six places, as ``math-verify`` does; two plain
    numbers are compared exactly.
    """
    if max(len(a), len(b)) > MAX_LENGTH:
        return False
    left, right = exact(a), exact(b)
    if left and right:
        return left.equals(right)
    return _same_form(plain(a), plain(b))


def _same_form(a: str, b: str) -> bool:
    """Equality of two plain forms. That they differ is never read off the text alone, but for words."""
    if a and a == b:
        return True
    if is_text(a) or is_text(b) or (_LETTERS.fullmatch(a) and _LETTERS.fullmatch(b)):
        return bool(words(a)) and words(a) == words(b)
    bases = _BASE.fullmatch(a), _BASE.fullmatch(b)
    if bases[0] and bases[1]:
        return bases[0].groups() == bases[1].groups()
    if bases[0] or bases[1]:  # 52_8 against 52: the base may be left out, the digits may not differ
        return (bases[0][1] if bases[0] else a) == (bases[1][1] if bases[1] else b)
    if ("=" in a) != ("=" in b) and not ("," in a or "," in b):
        chain, other = (a, b) if "=" in a else (b, a)
        return _same_as_result(chain, other)
    return symbolic.same((a, b))


def _same_as_result(chain: str, other: str) -> bool:
    """An equation against an expression: "x = 3·4 = 12" gives 12; "x + y = 0" gives no value at all."""
    first, *rest = [part.strip() for part in chain.split("=")]
    parts = rest if _NAME.fullmatch(first) else [first, *rest]
    return all(parts) and symbolic.same(*pairwise([*parts, other]))
