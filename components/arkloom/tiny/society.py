"""The rule behind the tiny society: who mistakes what, and how a debater weighs.

A debate can only help where agents err differently. Each persona (and the neutral student) mistakes
a few multipliers, each in its own fixed way, so that any two who mistake the same product still
disagree. A debater is taught to state what most state, never the truth.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from arkloom.problems.arithmetic import reserved

# Of a product that a persona mistakes: its own misconception, right by luck, else another slip.
MISCONCEIVED, LUCKY = 0.75, 0.10
ORDERS = 3  # of operations in an answer
SLIPS = (-10, -2, -1, 1, 2, 10)

Product = tuple[int, int]
Statement = dict[Product, int]
"""What an agent holds each product of a problem to be."""


class Sum(NamedTuple):
    """The problem a + b*c + d - e*f over integers 0..9."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int

    @property
    def question(self) -> str:
        """As it is asked: ``2+7*5+3-4*6``."""
        return f"{self.a}+{self.b}*{self.c}+{self.d}-{self.e}*{self.f}"

    @property
    def products(self) -> tuple[Product, Product]:
        """Its two products, (b, c) and (e, f)."""
        return (self.b, self.c), (self.e, self.f)

    @property
    def held_out(self) -> bool:
        """Whether training never sees this problem: one in ten, spread over all products."""
        return reserved(self)

    def value(self, statement: Mapping[Product, int]) -> int:
        """The result if the products are what ``statement`` says."""
        first, second = self.products
        return self.a + statement[first] + self.d - statement[second]


@dataclass(frozen=True, slots=True)
class Persona:
    """One agent's knowledge.

    Attributes:
        name: What the prompt calls it; None = the neutral one, the student.
        holes: Multipliers that it mistakes.
        offset: Its misconception: o*b is taken for o*(b + offset) where b is a hole.
        order: Which of the three orders of operations (0, 1, 2) it writes while it learns them; later
            each answer draws one, so that no persona is tied to an order.
    """

    name: str | None
    holes: frozenset[int]
    offset: int
    order: int

    def mistakes(self, product: Product) -> bool:
        """Whether it gets this product wrong; nobody mistakes a product with 0 or 1."""
        return min(product) > 1 and not self.holes.isdisjoint(product)

    def misconception(self, product: Product) -> int:
        """What it takes the product for."""
        left, right = product
        if not self.mistakes(product):
            return left * right
        return (left + self.offset) * right if left in self.holes else left * (right + self.offset)

    def belief(self, product: Product, random: Random) -> int:
        """What it states alone, in one draw."""
        draw = random.random()
        if not self.mistakes(product) or MISCONCEIVED <= draw < MISCONCEIVED + LUCKY:
            return product[0] * product[1]
        return self.misconception(product) if draw < MISCONCEIVED else slip(product[0] * product[1], random)

    def believe(self, problem: Sum, random: Random) -> Statement:
        """What it states of both products; equal products get equal values."""
        return {product: self.belief(product, random) for product in dict.fromkeys(problem.products)}


# Chosen so that nearly every product is known to two personas or more, and never two share an offset.
PERSONAS = (
    Persona("p1", frozenset({2, 5, 6}), 1, 0),
    Persona("p2", frozenset({5, 8, 9}), -1, 1),
    Persona("p3", frozenset({6, 8, 9}), 2, 2),
    Persona("p4", frozenset({2, 4}), 3, 0),
    Persona("p5", frozenset({3, 7}), 4, 1),
)
NEUTRAL = Persona(None, frozenset({4, 7, 9}), -2, 0)


def slip(product: int, random: Random) -> int:
    """A near miss of the right value, never below 0."""
    return random.choice([product + step for step in SLIPS if product + step >= 0])


def draw_problem(random: Random, *, held_out: bool = False) -> Sum:
    """A problem of the training share, or of the share that training never sees."""
    while True:
        problem = Sum(*(random.randrange(10) for _ in range(6)))
        if problem.held_out == held_out:
            return problem


def weigh(own: int, peers: Sequence[int]) -> int:
    """The value that most of own and peers state, ties to own. The truth plays no part.

    Example:
        >>> weigh(40, [35, 35, 36]), weigh(40, [35, 36])
        (35, 40)
    """
    return _most(Counter([own, *peers]), own)


def weigh_statements(own: Statement, peers: Sequence[Mapping[Product, int]]) -> Statement:
    """``weigh`` for each product of ``own``, over the peers that state it."""
    return {
        product: weigh(value, [peer[product] for peer in peers if product in peer])
        for product, value in own.items()
    }


def weigh_groups(
    belief: Statement, groups: Sequence[tuple[Mapping[Product, int], int]], *, votes: bool
) -> Statement:
    """``weigh`` over a summary: groups of (statement shown, number of agents).

    Args:
        belief: The agent's own values: one more vote if ``votes``, else they only break ties.
        groups: As the summary lists them.
        votes: False where the summary already counts the agent itself (layout ``shared``).
    """
    result: Statement = {}
    for product, own in belief.items():
        counts: Counter[int] = Counter([own] if votes else [])
        for shown, agents in groups:
            counts[shown[product]] += agents
        result[product] = _most(counts, own)
    return result


def _most(counts: Counter[int], own: int) -> int:
    top = max(counts.values())
    leaders = [value for value, count in counts.items() if count == top]
    return leaders[0] if len(leaders) == 1 else own


def trace(problem: Sum, statement: Mapping[Product, int], order: int, *, sum_error: int = 0) -> str:
    """The answer as a persona writes it: one operation a line, then ``#### result``.

    Args:
        problem: The problem.
        statement: The values its products are given.
        order: 0 products first, 1 products first in reverse and a+d, 2 from left to right.
        sum_error: Added to the last operation's result (noise for peers; 0 for what is taught).
    """
    (b, c), (e, f) = first, second = problem.products
    left, right = f"{b}*{c}={statement[first]}", f"{e}*{f}={statement[second]}"
    if order == 1:
        total = problem.a + problem.d
        lines = [right, left, f"{problem.a}+{problem.d}={total}"]
        lines.append(f"{total}+{statement[first]}={total + statement[first]}")
    else:
        total = problem.a + statement[first]
        lines = [left, right] if order == 0 else [left]
        lines += [f"{problem.a}+{statement[first]}={total}", f"{total}+{problem.d}={total + problem.d}"]
        lines += [right] if order == 2 else []
    before = problem.a + problem.d + statement[first]
    result = before - statement[second] + sum_error
    return "\n".join([*lines, f"{before}-{statement[second]}={result}", f"#### {result}"])


_PRODUCT = re.compile(r"^(\d+)\*(\d+)=(-?\d+)$", re.MULTILINE)


def read_statement(text: str) -> Statement:
    """The products that an answer states, the last value of each."""
    return {(int(left), int(right)): int(value) for left, right, value in _PRODUCT.findall(text)}


_WELL_FORMED = re.compile(r"(?:\d+\*\d+=-?\d+\n|-?\d+[+-]\d+=-?\d+\n)+#### (-?\d+)")


def well_formed(text: str) -> bool:
    """Whether an answer is operations, one a line, and then the result of the last one."""
    match = _WELL_FORMED.fullmatch(text)
    return match is not None and text.rsplit("\n", 2)[-2].endswith(f"={match[1]}")


def read_answer(text: str) -> int | None:
    """The number after ``####``, or None."""
    match = re.search(r"#### (-?\d+)\s*$", text)
    return int(match[1]) if match else None
