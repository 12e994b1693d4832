"""Answers that are one number: integers, decimals, fractions, percentages, amounts of money."""

from __future__ import annotations

import re
from dataclasses import dataclass

from arkloom.answers import equality, marked
from arkloom.answers.exact import MAX_LENGTH, Exact, exact

_CURRENCY = r"(?:\\?[$€£¥₹]\s?)"
_INTEGER = r"(?:\d{1,3}(?:,\d{3})+(?![\d])|\d+)"
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d+)?|(?<!\d)\.\d+)"
# A number inside a word (CO2), an index or an exponent (m^2) is not an answer of its own.
_NUMBER = re.compile(
    rf"(?<![A-Za-z_^.\d])(?<!\^\{{)(?<!_\{{)"
    rf"(?P<sign>(?:(?<![\w)\]}}])[-−+])?)\s?{_CURRENCY}?(?P<inner>[-−]?)"
    rf"(?:(?P<whole>\d{{1,9}})(?:\s|\\[,;:!]|~){{0,3}}\\[dtc]?frac"
    rf"\s*\{{(?P<over>\d{{1,9}})\}}\s*\{{(?P<under>\d{{1,9}})\}}"
    rf"|\\[dtc]?frac\s*\{{(?P<top>-?{_DECIMAL})\}}\s*\{{(?P<bottom>{_DECIMAL})\}}"
    rf"|(?P<mixed>\d+\s\d+/\d+)"
    rf"|(?P<quotient>{_DECIMAL}\s?/\s?{_CURRENCY}?\d+(?:\.\d+)?)"
    rf"|(?P<power>\d{{1,9}}\s?\^\s?(?:\{{-?\d{{1,4}}\}}|\d{{1,4}}))"
    rf"|(?P<decimal>{_DECIMAL}(?:[eE][-+]?\d{{1,3}})?))"
    rf"(?P<percent>\s?\\?%|\s?percent\b)?"
)
_EQUALS = re.compile(r"=|≈|\\approx|\\equiv")
_GLUE = (
    (re.compile(r"\{,\}|,\s*\\!\s*"), ","),
    (re.compile(r"(\\(?!frac|[dtc]frac)[a-zA-Z]+)(?=\d)"), r"\1 "),
)
_SHORT_FRACTION = re.compile(r"\\[dtc]?frac\s*(\d)\s*(\d)")
# A box copied from the instruction states nothing.
_PLACEHOLDERS = frozenset({"answer", "number", "your answer", "final answer", "..."})
_UNIT = re.compile(r"(?<=[\d%])\s*[A-Za-z][A-Za-z /]{0,40}\.?$")


def _tidy(text: str) -> str:
    for pattern, replacement in _GLUE:
        text = pattern.sub(replacement, text)
    return _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text)


def _written(found: re.Match[str]) -> str | None:
    """A match as plain text: no separators, no currency, fractions with a slash; None if no number."""
    parts = found.groupdict()
    if parts["whole"]:
        proper = int(parts["over"]) < int(parts["under"])  # else it is a product, whose first factor counts
        body = f"{parts['whole']} {parts['over']}/{parts['under']}" if proper else parts["whole"]
    elif parts["top"]:
        body = f"{parts['top']}/{parts['bottom']}"
    else:
        body = parts["mixed"] or parts["quotient"] or parts["power"] or parts["decimal"]
    body = re.sub(r"[,$€£¥₹\\]", "", body)
    body = body if parts["mixed"] or parts["whole"] else re.sub(r"\s", "", body)
    sign = "-" if "-" in (parts["sign"] + parts["inner"]).replace("−", "-") else ""
    text = f"{sign}{body}{'%' if parts['percent'] else ''}"
    return text if len(text) <= MAX_LENGTH and exact(text) is not None else None


def first_number(statement: str) -> str | None:
    """The number a marked statement gives: the first one after its last equals sign."""
    pieces = [piece for piece in _EQUALS.split(_tidy(statement)) if piece.strip()]
    for piece in reversed(pieces):
        for found in _NUMBER.finditer(piece):
            if number := _written(found):
                return number
    return None


def last_number(text: str) -> str | None:
    """The last number of a text."""
    last = None
    for found in _NUMBER.finditer(_tidy(text)):
        last = found if found.group().strip() else last
    return _written(last) if last else None


@dataclass(frozen=True)
class Number:
    """One number; equality is exact, and a percent sign is read as "the number" or "the hundredth"."""

    name: str = "number"
    version: str = "1"
    threshold: float = 1.0
    instruction: str = r"End with the final answer, a single number, in the form \boxed{number}."

    def extract(self, text: str) -> str | None:
        r"""Last ``\boxed{}``, else ``####``, else "answer is …", else the last number."""
        text = marked.tail(text)
        for content in marked.boxed(text):
            if content and content.casefold() not in _PLACEHOLDERS:
                return first_number(content)  # a box that holds words says that there is no number
        for source in (marked.hashed, marked.said):
            for statement in source(text):
                if number := first_number(statement):
                    return number
        return last_number(text)

    def key(self, answer: str) -> str | None:
        """The canonical rational, ``"7/2"``; None when the answer is not a plain number."""
        number = self._read(answer)
        return str(number.value) if number else None

    def score(self, answer: str, gold: str) -> float:
        """1.0 when both are the same number."""
        left, right = self._read(answer), self._read(gold)
        if left and right:
            return float(left.equals(right))
        return float(equality.same(answer, gold))

    def same(self, a: str, b: str) -> bool:
        """Whether both are the same number."""
        return self.score(a, b) >= self.threshold

    def check_gold(self, gold: str) -> str | None:
        """A gold must be one plain number."""
        return None if exact(gold) else "it is not a number"

    @staticmethod
    def _read(text: str) -> Exact | None:
        """The number, a unit behind it left out ("17 hours")."""
        if len(text) > MAX_LENGTH:
            return None
        return exact(text) or exact(_UNIT.sub("", text.strip()))


NUMBER = Number()
