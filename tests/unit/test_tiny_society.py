"""The rule of the tiny society: what a persona believes, how a debater weighs, how an answer reads."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from arkloom.tiny.examples import direct
from arkloom.tiny.society import (
    NEUTRAL,
    PERSONAS,
    Persona,
    Sum,
    draw_problem,
    read_answer,
    read_statement,
    trace,
    weigh,
    weigh_groups,
    weigh_statements,
    well_formed,
)

EVERYONE = (*PERSONAS, NEUTRAL)
PRODUCTS = [(left, right) for left in range(10) for right in range(10)]


@pytest.mark.parametrize("persona", EVERYONE, ids=lambda persona: str(persona.name))
def test_a_persona_mistakes_exactly_the_products_of_its_holes(persona: Persona):
    for left, right in PRODUCTS:
        expected = min(left, right) > 1 and bool({left, right} & persona.holes)
        assert persona.mistakes((left, right)) is expected
        assert (persona.misconception((left, right)) != left * right) is expected
        assert 0 <= persona.misconception((left, right)) <= 99


def test_personas_who_mistake_a_product_alike_are_rare():
    """A shared error cannot be voted away: the holes are chosen so that wrong values differ."""
    alike = 0
    for product in PRODUCTS:
        wrong = Counter(p.misconception(product) for p in PERSONAS if p.mistakes(product))
        alike += any(count > 1 for count in wrong.values())
    assert alike / len(PRODUCTS) <= 0.06


def test_nearly_every_product_is_known_to_two_personas():
    known = [sum(not persona.mistakes(product) for persona in PERSONAS) for product in PRODUCTS]
    assert sum(count >= 2 for count in known) / len(known) >= 0.95


@pytest.mark.parametrize("persona", EVERYONE, ids=lambda persona: str(persona.name))
def test_beliefs_come_in_the_stated_proportions(persona: Persona):
    hole = max(persona.holes)
    product, random = (hole, 3 if 3 not in persona.holes else 5), Random(1)
    drawn = Counter(persona.belief(product, random) for _ in range(4000))
    misconceived, right = drawn[persona.misconception(product)], drawn[product[0] * product[1]]
    assert misconceived / 4000 == pytest.approx(0.75, abs=0.06)  # a slip may land on it
    assert right / 4000 == pytest.approx(0.10, abs=0.02)


def test_alone_each_is_right_on_a_third_to_a_half():
    problems = [draw_problem(Random(i)) for i in range(3000)]
    for persona in EVERYONE:
        right = sum(
            all(persona.misconception(product) == product[0] * product[1] for product in problem.products)
            for problem in problems
        )
        assert 0.3 <= right / len(problems) <= 0.6


@pytest.mark.parametrize(
    ("own", "peers", "expected"),
    [
        (40, [], 40),
        (40, [35], 40),
        (40, [35, 35], 35),
        (40, [35, 35, 40], 40),
        (40, [35, 35, 40, 35], 35),
        (40, [35, 36, 37, 38], 40),
        (40, [35, 35, 36, 36], 40),
    ],
)
def test_weigh_is_majority_with_ties_to_own(own, peers, expected):
    assert weigh(own, peers) == expected


def test_weigh_statements_ignores_peers_who_speak_of_other_products():
    own = {(7, 5): 40, (4, 6): 24}
    peers = [{(7, 5): 35}, {(7, 5): 35, (4, 6): 20}, {(1, 1): 1}]
    assert weigh_statements(own, peers) == {(7, 5): 35, (4, 6): 24}


def test_weigh_groups_counts_agents_not_groups():
    belief = {(7, 5): 40}
    groups = [({(7, 5): 35}, 3), ({(7, 5): 40}, 2)]
    assert weigh_groups(belief, groups, votes=False) == {(7, 5): 35}
    assert weigh_groups(belief, groups, votes=True) == {(7, 5): 40}  # 3 against 2 + 1: a tie


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (0, "7*5=35\n4*6=24\n2+35=37\n37+3=40\n40-24=16\n#### 16"),
        (1, "4*6=24\n7*5=35\n2+3=5\n5+35=40\n40-24=16\n#### 16"),
        (2, "7*5=35\n2+35=37\n37+3=40\n4*6=24\n40-24=16\n#### 16"),
    ],
)
def test_three_orders_of_operations(order, expected):
    problem = Sum(2, 7, 5, 3, 4, 6)
    assert problem.question == "2+7*5+3-4*6"
    assert trace(problem, {(7, 5): 35, (4, 6): 24}, order) == expected


def test_a_trace_reads_back_also_when_its_result_is_negative():
    problem = Sum(0, 1, 2, 0, 9, 9)
    statement = {(1, 2): 2, (9, 9): 99}
    text = trace(problem, statement, 0)
    assert read_statement(text) == statement
    assert read_answer(text) == -97
    assert well_formed(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#### 16",
        "7*5=35\n16",
        "7*5=35\n#### 16",
        "7*5=35\n35+1=36\n#### 36\n",
        "7*5=35\n35+1=\n#### 36",
        "agent 1:\n7*5=35\n35-1=34\n#### 34",
    ],
)
def test_what_is_not_well_formed(text):
    assert not well_formed(text)


def test_every_agent_comes_to_write_all_three_orders():
    """An agent that knows one order only cannot learn from traces in another (a student reads 0.16)."""
    random = Random(6)
    starts: dict[str, set[str]] = {}
    for _ in range(600):
        example = direct(random)
        asked = "".join(message.content for message in example.messages[:-1] if message.role == "system")
        lines = example.messages[-1].content.split("\n")
        starts.setdefault(asked, set()).add("".join("p" if "*" in line else "s" for line in lines[:-1]))
    assert set(starts) >= {"", "p1", "p2", "p3", "p4", "p5"}
    assert all(shapes == {"ppsss", "pssps"} for shapes in starts.values())


def test_one_problem_in_ten_is_held_out_and_training_never_draws_it():
    random = Random(3)
    drawn = [Sum(*(random.randrange(10) for _ in range(6))) for _ in range(5000)]
    assert sum(problem.held_out for problem in drawn) / 5000 == pytest.approx(0.1, abs=0.02)
    assert not any(draw_problem(random).held_out for _ in range(500))
    assert all(draw_problem(random, held_out=True).held_out for _ in range(50))
