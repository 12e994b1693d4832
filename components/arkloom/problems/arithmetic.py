"""Generated arithmetic: a+b*c+d-e*f over small integers, and forms that training never sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


def count(form: Form, low: int, high: int) -> int:
    """How many different problems there are."""
    return int((high - low + 1) ** form.numbers)


def generate(form: Form, low: int, high: int, *seed: object) -> Iterator[tuple[str, int]]:
    """An endless seeded stream of (question, value), integers ``low..high``; questions may recur."""
    random = Random(derive_seed("arithmetic", form.name, low, high, *seed))  # noqa: S311 - reproducible
    while True:
        yield form.write(tuple(random.randint(low, high) for _ in range(form.numbers)))
