r"""Numbers read exactly: integers, decimals, fractions, percent, powers, as ``Fraction``.

Nothing is computed that could grow: lengths and exponents have bounds, beyond which the text is
"not a plain number" and left to the symbolic path, which has limits of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from arkloom.answers.latex import plain

MAX_LENGTH = 1_000
_MAX_SHIFT = 400
_MAX_BITS = 16_384

_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_WHOLE}(?:\.\d*)?|\.\d+)"
_SIGN = r"[-+]?\s?"
_FORMS = {
    "decimal": re.compile(rf"({_DECIMAL})(?:[eE]([-+]?\d{{1,6}}))?"),
    "shifted": re.compile(
        rf"({_DECIMAL})\s?(?:\\times|\\cdot|×|·|\*|x)\s?10\s?\^\s?\{{?\s?([-+]?\d{{1,6}})\s?\}}?"
    ),
    "quotient": re.compile(rf"({_SIGN}{_DECIMAL})\s?[/÷]\s?({_SIGN}{_DECIMAL})"),
    "fraction": re.compile(rf"\\frac\{{\s?({_SIGN}{_DECIMAL})\s?\}}\{{\s?({_SIGN}{_DECIMAL})\s?\}}"),
    "mixed": re.compile(r"(\d+)\s(\d+)\s?/\s?(\d+)|(\d+)\s?\\frac\{\s?(\d+)\s?\}\{\s?(\d+)\s?\}"),
    "power": re.compile(r"(\d+)\s?\^\s?(?:\{\s?(-?\d{1,6})\s?\}|(\d{1,6}))"),
}
_USUAL = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_PERCENT = re.compile(r"\s?(?:%|percent)\s?$", re.IGNORECASE)


@dataclass(frozen=True)
class Exact:
    """A number and whether it was written with a percent sign.

    ``value`` is the number as written: 50 for "50%". A percentage equals the bare number (the usual
    form of golds) and also the hundredth that it means.
    """

    value: Fraction
    percent: bool = False

    def equals(self, other: Exact) -> bool:
        """Whether two numbers are the same, a percent sign on one side read either way."""
        if self.value == other.value:
            return True
        if self.percent == other.percent:
            return False
        share, number = (self, other) if self.percent else (other, self)
        return share.value / 100 == number.value


def exact(text: str) -> Exact | None:
    """Read a whole text as one number; None when it is anything else.

    >>> exact("-$1,234.50").value
    Fraction(-2469, 2)
    """
    return _read(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=4096)  # a turn's answer is read several times: for its key, its class and its grade
def _read(text: str) -> Exact | None:
    if _USUAL.fullmatch(text):  # most answers by far: no need to look for anything else
        return Exact(Fraction(text))
    body = plain(text)
    unit = _PERCENT.search(body)
    body = body[: unit.start()] if unit else body
    negative = False
    while body[:1] in ("-", "+"):  # "-$-5" does not occur; "- 5" and "+5" do
        negative ^= body[0] == "-"
        body = body[1:].lstrip()
        if body[:1] in ("-", "+"):
            return None
    value = _magnitude(body)
    if value is None:
        return None
    return Exact(-value if negative else value, percent=unit is not None)


def _magnitude(body: str) -> Fraction | None:
    for form, pattern in _FORMS.items():
        found = pattern.fullmatch(body)
        if found:
            parts = [part for part in found.groups() if part is not None]
            return _evaluate(form, parts)
    return None


def _evaluate(form: str, parts: list[str]) -> Fraction | None:
    if form in ("decimal", "shifted"):
        shift = int(parts[1]) if len(parts) > 1 else 0
        return _decimal(parts[0]) * Fraction(10) ** shift if abs(shift) <= _MAX_SHIFT else None
    if form == "power":
        return _power(int(parts[0]), int(parts[1]))
    numbers = [_decimal(part) for part in parts]
    if numbers[-1] == 0:
        return None
    if form == "mixed":
        return numbers[0] + numbers[1] / numbers[2]
    return numbers[0] / numbers[1]


def _decimal(text: str) -> Fraction:
    digits = re.sub(r"[,\s]", "", text)
    return Fraction(digits.rstrip(".") if digits.endswith(".") else digits)


def _power(base: int, exponent: int) -> Fraction | None:
    if base.bit_length() * abs(exponent) > _MAX_BITS or (base == 0 and exponent <= 0):
        return None
    return Fraction(base) ** exponent
