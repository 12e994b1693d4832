"""Generated arithmetic: a+b*c+d-e*f over small integers, and forms that training never sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from random import Random

from arkloom.canonical import derive_seed


@dataclass(frozen=True)
class Form:
    """A signed sum of numbers and products.

    Attributes:
        name: Kept with the problem.
        terms: (sign, how many numbers are multiplied), in the order of writing; the first is +1.
    """

    name: str
    terms: tuple[tuple[int, int], ...]

    @property
    def numbers(self) -> int:
        """How many integers one problem holds."""
        return sum(count for _, count in self.terms)

    def write(self, numbers: tuple[int, ...]) -> tuple[str, int]:
        """The question and its exact value.

        Example:
            >>> SUM.write((2, 7, 5, 3, 4, 6))
            ('2+7*5+3-4*6', 16)
        """
        text, value, rest = "", 0, list(numbers)
        for sign, count in self.terms:
            factors, rest = rest[:count], rest[count:]
            text += ("+" if sign > 0 else "-") + "*".join(f"({n})" if n < 0 else str(n) for n in factors)
            value += sign * prod(factors)
        return text.removeprefix("+"), value


SUM = Form("a+b*c+d-e*f", ((1, 1), (1, 2), (1, 1), (-1, 2)))
# Out of distribution: other shapes of the same operations.
SHORTER = Form("a*b-c+d*e", ((1, 2), (-1, 1), (1, 2)))
PRODUCTS = Form("a*b+c*d-e*f", ((1, 2), (1, 2), (-1, 2)))


# The tiny society is pre-trained on sums over 0..9. One such problem in ten, spread evenly over all
# products, is kept from it: these alone are drawn as problems, so that test is new to every model.
_RESERVED = (1, 3, 7, 9, 1, 3)
_SHARE = 10


def reserved(numbers: tuple[int, ...]) -> bool:
    """Whether no shipped model was pre-trained on this problem of the form ``SUM``."""
    return sum(weight * number for weight, number in zip(_RESERVED, numbers, strict=True)) % _SHARE == 0


def count(form: Form, low: int, high: int) -> int:
    """How many different problems can be drawn."""
    if not _partly_known(form, low, high):
        return int((high - low + 1) ** form.numbers)
    found = Counter({0: 1})  # residue -> ways
    for weight in _RESERVED:
        ways: Counter[int] = Counter()
        for number, (residue, before) in product(range(low, high + 1), found.items()):
            ways[(residue + weight * number) % _SHARE] += before
        found = ways
    return found[0]


def generate(form: Form, low: int, high: int, *seed: object) -> Iterator[tuple[str, int]]:
    """An endless seeded stream of (question, value), integers ``low..high``; questions may recur."""
    random = Random(derive_seed("arithmetic", form.name, low, high, *seed))  # noqa: S311 - reproducible
    known = _partly_known(form, low, high)
    while True:
        numbers = tuple(random.randint(low, high) for _ in range(form.numbers))
        if not known or reserved(numbers):
            yield form.write(numbers)


def _partly_known(form: Form, low: int, high: int) -> bool:
    return form == SUM and low >= 0 and high < _SHARE
