"""Reads the equations that a text states, and whether each evaluates so.

``5 * (2+3) = 5 * 5 = 25`` is two equations, with an expression on the left of each. What cannot be read
for sure (units between numbers, mixed numbers, algebra) gets no verdict: a step must never be called
wrong for a misreading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from arkloom.steps.expression import Expression, UnreadError, read
from arkloom.steps.split import without_latex

_MOST = 64  # equations of one line: far more than any step states
_REACH = 160  # characters before a sign of equality in which its left side is looked for

_SIGNS = str.maketrans({"×": "*", "·": "*", "∗": "*", "÷": "/", "−": "-", "–": "-", "&": " "})
_POWER = re.compile(r"(?<=[\d)])\s?\*\*\s?(?=[\d(-])")
_BRACED = re.compile(r"\^\{([^{}\n]{1,20})\}")
_MIXED = re.compile(r"(?<=\d)\s?(?=\\[dt]?frac)")  # 2\frac{6}{7} is no product: it is left unread
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_NOISE = re.compile(r"\*\*|<<[^<>\n]{0,200}>>|[$€£]|\\(?:left|right)(?![a-zA-Z])")
_EQUALS = re.compile(r"(?<![=<>!≤≥:])=(?!=)")
# What stands after a number and makes it another one, or the beginning of something longer.
_GOES_ON = re.compile(
    r"\s?(?:hundred|thousand|million|billion|trillion|dozen|percent)\b"
    r"|\s?(?:log|ln|sin|cos|tan|sqrt|pi|π)|[a-zA-Z](?![a-zA-Z])|\s?\d|[:/^_]|\s?[+\-*/^]\s?\S|\s?[xX]\s?[\d(]",
    re.IGNORECASE,
)
# What stands before an expression and makes it a part of something longer.
_PART = re.compile(
    r"[+\-*/^\d%]$|\b(?:of|times|plus|minus|by|than|over|per|less|from|root|sqrt|half|twice)$"
    r"|(?:\b(?:log|ln|sin|cos|tan)\w*|pi|π)$",
    re.IGNORECASE,
)
_BULLET = re.compile(r"[-*•+]")
_CLAUSE = re.compile(
    r"[.;:!?](?=\s|$)|[,()]|\b(?:so|and|then|is|are|thus|hence|therefore|that)\b", re.IGNORECASE
)
_ALGEBRA = re.compile(r"\d[a-zA-Z]\b|\b[a-zA-Z]\b|[a-zA-Z]\d")
_COMPUTES = re.compile(r"(?=.*\d)(?=.*[+\-*/^]).{3,}")


@dataclass(frozen=True, slots=True)
class Equation:
    """One stated equation with an operation on its left.

    Attributes:
        operation: Its left side without spaces, case folded.
        result: The stated number in canonical form; None where the right side is no single number.
        right: True: it evaluates so. False: it evaluates otherwise. None: that cannot be said
            (words in it, a decimal that was cut and not rounded, another unit).
    """

    operation: str
    result: str | None
    right: bool | None


def value(operation: str) -> Fraction | None:
    """The exact value of an operation; None where it is none, has none, or is out of bounds.

    Example:
        >>> value("7*5"), value("(1)/(3)*18"), value("1/0"), value("2x+3")
        (Fraction(35, 1), Fraction(6, 1), None, None)
    """
    text = plain(operation).strip()
    try:
        found = read(text, 0)
    except (UnreadError, ZeroDivisionError):
        return None
    return found.value if found.end == len(text) else None


def equations(text: str, before: str = "") -> tuple[Equation, ...]:
    """Every equation of a text, in order.

    Args:
        text: A step, or more.
        before: What was written before it. ``-3+5=8`` is wrong where -3 was stated before; elsewhere its
            sign may be a bullet, and nothing is said.

    Example:
        >>> [(e.operation, e.result, e.right) for e in equations("so 7 * 5 = 35 and 35+2=38")]
        [('7*5', '35', True), ('35+2', '38', False)]
    """
    found = [each for line in plain(text).split("\n") for each in _line(line)]
    return tuple(_with_sign(each, plain(before)) if each.operation[:1] == "-" else each for each in found)


def plain(text: str) -> str:
    """A text with its mathematics in one notation: no LaTeX, one sign for each operator."""
    text = _FRACTION.sub(r"((\1)/(\2))", _MIXED.sub("_", text))
    text = _POWER.sub("^", _BRACED.sub(r"^(\1)", text))
    return without_latex(_NOISE.sub("", text)).translate(_SIGNS)


def _line(line: str) -> Iterator[Equation]:
    ended = 0
    for number, sign in enumerate(islice(_EQUALS.finditer(line), _MOST)):
        start = max(ended, sign.start() - _REACH)
        left = _before(line[start : sign.start()].rstrip(), cut=start > ended)
        right, goes_on = _after(line, sign.end())
        if left is not None:
            operation, amount = left
            right_side = None if amount is None or right is None else _verdict(amount, right, goes_on)
            stated = right is not None and right.plain and (right_side is True or not goes_on)
            yield Equation(operation, str(right.value) if right and stated else None, right_side)
        elif right is not None and right.plain and not goes_on and not number:
            worded = _worded(line[start : sign.start()])
            if worded is not None:
                yield Equation(worded, str(right.value), None)
        ended = sign.end()


def _before(body: str, *, cut: bool) -> tuple[str, Fraction | None] | None:
    """The operation that a body ends with, and its value; None where there is none.

    It is the longest that can be read, and it must be whole: what follows an operator or another
    number is a part of something that was not understood.
    """
    for place, sign in enumerate(body):
        if not (sign.isdigit() or sign in "(-.") or not _may_begin(body, place, cut=cut):
            continue
        operation = re.sub(r"\s", "", body[place:]).casefold()
        try:
            found = read(body, place)
        except ZeroDivisionError:
            return operation, None
        except UnreadError:
            continue
        if found.end == len(body):
            return None if found.plain else (operation, found.value)
    return None


def _may_begin(body: str, place: int, *, cut: bool) -> bool:
    before = body[:place]
    words = before.rstrip()
    if before and before[-1] not in " \t(":
        return False
    if body[place] == "-" and (body[place + 1 : place + 2].isspace() or words[-1:].isalnum()):
        return False  # a bullet, or a dash
    if not words:
        return not cut
    return not _PART.search(words) or bool(not cut and _BULLET.fullmatch(words))


def _after(line: str, start: int) -> tuple[Expression | None, bool]:
    """The expression after a sign of equality, and whether something follows that may belong to it."""
    while line[start : start + 1] in (" ", "\t"):
        start += 1
    try:
        found = read(line, start)
    except (UnreadError, ZeroDivisionError):
        return None, True
    return found, _GOES_ON.match(line, found.end) is not None


def _with_sign(found: Equation, before: str) -> Equation:
    """The equation without its verdict, where it is right but for a sign that may be a bullet."""
    operation = found.operation
    number = re.match(r"-[\d.,]*\d", operation)
    stated = number and re.search(rf"(?:^|[^\d)\s])\s*{re.escape(number.group())}(?![\d.]*\d)", before)
    if found.right is False and not stated and str(value(operation[1:])) == found.result:
        return replace(found, right=None)
    return found


def _verdict(amount: Fraction, right: Expression, goes_on: bool) -> bool | None:
    if goes_on:
        return True if right.plain and amount == right.value else None
    return _meets(amount, right)


def _meets(amount: Fraction, right: Expression) -> bool | None:
    """Whether the right side is this value, exactly or rounded to the decimals that it is given in."""
    if amount == right.value:
        return True
    if not right.plain:
        return amount == right.first  # "2+3=5*4=20" goes on with its result
    found = [_rounds(amount, right.value, right.places + (2 if right.percent else 0))]
    if right.percent:
        found.append(_rounds(amount, right.value * 100, right.places))
    if True in found:
        return True
    if None in found or amount == right.value * 100 or amount * 100 == right.value:
        return None  # cut, not rounded; or dollars and cents, or a share and its percentage
    return False


def _rounds(amount: Fraction, stated: Fraction, places: int) -> bool | None:
    """True: rounded. None: within one unit of the last place, as a cut number is. False: neither."""
    unit = Fraction(1, 10**places)
    if amount == stated:
        return True
    if (amount / unit).denominator == 1:
        return False  # it could have been written exactly
    if places and abs(amount - stated) <= unit / 2:
        return True
    return None if abs(amount - stated) < unit else False


def _worded(body: str) -> str | None:
    """An operation with words in it ("5 apples * 3"), as a key to compare with other traces."""
    clause = _CLAUSE.split(body)[-1].strip()
    if _ALGEBRA.search(clause):
        return None  # the same letter may mean something else in another trace
    key = re.sub(r"\s", "", clause).casefold()
    return key if _COMPUTES.fullmatch(key) else None
