"""A small exact calculator: sums, products, powers and percent in ``Fraction``, by recursive descent.

Nothing is computed that could grow: lengths, depths, exponents and sizes have bounds, beyond which the
text is simply not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_MAX_LENGTH = 400  # characters
_MAX_DEPTH = 12
_MAX_EXPONENT = 64
_MAX_BITS = 4096

_NUMBER = re.compile(r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,40})(?:\.[0-9]{1,40})?|\.[0-9]{1,40}")


class UnreadError(Exception):
    """Here stands nothing that can be read as an expression."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was read.

    Attributes:
        value: Its exact value.
        end: Offset just after it.
        plain: It is one number, perhaps with a sign or in brackets.
        places: Decimals of its last number.
        percent: Its last number has a percent sign.
        first: Its first number, where it begins with one.
    """

    value: Fraction
    end: int
    plain: bool
    places: int
    percent: bool
    first: Fraction | None


def read(text: str, start: int) -> Expression:
    """The longest expression that begins at ``start``.

    Raises:
        UnreadError: None begins there, or it is out of bounds.
        ZeroDivisionError: It divides by zero.
    """
    reader = _Reader(text[start : start + _MAX_LENGTH])
    amount, end = reader.sum(0, 0)
    seen = reader.seen
    first = seen.first if text[start].isdigit() else None
    plain = seen.numbers == 1 and not seen.operators
    return Expression(amount, start + end, plain, seen.places, seen.percent, first)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was met so far; kept apart so that a part that could not be read leaves no trace."""

    numbers: int = 0
    operators: int = 0
    places: int = 0
    percent: bool = False
    first: Fraction | None = None


class _Reader:
    """Every method takes (offset, depth) and returns (value, end)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.seen = _Seen()

    def sum(self, at: int, depth: int) -> tuple[Fraction, int]:
        total, end = self._product(at, depth)
        while (sign := self._operator(end, "+-")) is not None:
            before = self.seen
            try:
                part, after = self._product(sign + 1, depth)
            except UnreadError:
                self.seen = before
                return total, end
            total = _bounded(total + part if self._text[sign] == "+" else total - part)
            self._count_operator()
            end = after
        return total, end

    def _product(self, at: int, depth: int) -> tuple[Fraction, int]:
        total, end = self._power(at, depth)
        while True:
            sign = self._times(end)
            if sign is None and self._text[end : end + 1] != "(":  # 2(3+4) multiplies, 2 (3+4) does not
                return total, end
            before = self.seen
            try:
                part, after = self._power(end if sign is None else sign + 1, depth)
            except UnreadError:
                self.seen = before
                return total, end
            divides = sign is not None and self._text[sign] == "/"
            total = _bounded(total / part if divides else total * part)
            self._count_operator()
            end = after

    def _power(self, at: int, depth: int) -> tuple[Fraction, int]:
        start = self._skip(at)
        if self._text[start : start + 1] == "-":  # -2^2 is -(2^2)
            amount, end = self._power(start + 1, _deeper(depth))
            return -amount, end
        base, end = self._operand(start, depth)
        sign = self._operator(end, "^")
        if sign is None:
            return base, end
        exponent, after = self._power(sign + 1, _deeper(depth))
        if exponent.denominator != 1 or abs(exponent) > _MAX_EXPONENT:
            raise UnreadError
        self._count_operator()
        return _bounded(base ** int(exponent)), after

    def _operand(self, at: int, depth: int) -> tuple[Fraction, int]:
        if self._text[at : at + 1] != "(":
            return self._number(at)
        amount, end = self.sum(at + 1, _deeper(depth))
        end = self._skip(end)
        if self._text[end : end + 1] != ")":
            raise UnreadError
        return amount, end + 1

    def _number(self, at: int) -> tuple[Fraction, int]:
        found = _NUMBER.match(self._text, at)
        if found is None:
            raise UnreadError
        digits, end = found.group().replace(",", ""), found.end()
        percent = self._text[end : end + 1] == "%"
        amount = Fraction(digits) / (100 if percent else 1)
        seen = self.seen
        self.seen = _Seen(
            numbers=seen.numbers + 1,
            operators=seen.operators,
            places=len(digits.partition(".")[2]),
            percent=percent,
            first=amount if seen.first is None else seen.first,
        )
        return amount, end + percent

    def _count_operator(self) -> None:
        seen = self.seen
        self.seen = _Seen(seen.numbers, seen.operators + 1, seen.places, seen.percent, seen.first)

    def _operator(self, at: int, signs: str) -> int | None:
        at = self._skip(at)
        return at if at < len(self._text) and self._text[at] in signs else None

    def _times(self, at: int) -> int | None:
        sign = self._operator(at, "*/xX")
        if sign is None or self._text[sign] in "*/":
            return sign
        after = self._skip(sign + 1)  # "3 x 4" multiplies, "4x - 13" is algebra
        return (
            sign if self._text[after : after + 1].isdigit() or self._text[after : after + 1] == "(" else None
        )

    def _skip(self, at: int) -> int:
        while self._text[at : at + 1] in (" ", "\t"):
            at += 1
        return at


def _deeper(depth: int) -> int:
    if depth >= _MAX_DEPTH:
        raise UnreadError
    return depth + 1


def _bounded(amount: Fraction) -> Fraction:
    if amount.numerator.bit_length() + amount.denominator.bit_length() > _MAX_BITS:
        raise UnreadError
    return amount
