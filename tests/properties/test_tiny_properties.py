"""What must hold of every debate example: its target is a function of the page, never of the truth."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.prompts import LAYOUTS
from arkloom.tiny.examples import Table, debate, direct, sit, target, weighing
from arkloom.tiny.society import (
    PERSONAS,
    Sum,
    draw_problem,
    read_answer,
    read_statement,
    trace,
    weigh,
    well_formed,
)

seeds = st.integers(0, 2**32)
values = st.integers(0, 99)


def renamed(table: Table, names: dict[int, int]) -> Table:
    """The same debate with every stated value exchanged for another one."""
    stated = tuple(
        tuple({product: names[value] for product, value in statement.items()} for statement in statements)
        for statements in table.stated
    )
    texts = tuple(
        tuple(trace(table.problem, s, order) for order, s in zip(orders, statements, strict=True))
        for orders, statements in zip(table.orders, stated, strict=True)
    )
    return replace(table, stated=stated, texts=texts)


@settings(max_examples=150, deadline=None)
@given(seed=seeds, society=st.booleans(), rounds=st.integers(1, 2), shuffle=st.randoms(use_true_random=False))
def test_moving_the_truth_moves_no_target(seed, society, rounds, shuffle):
    """Exchange all values by a random bijection: right becomes wrong, and the target follows the page."""
    random = Random(seed)
    table = sit(draw_problem(random), rounds, random, society=society)
    shuffled = list(range(-20, 140))
    shuffle.shuffle(shuffled)
    names = dict(zip(range(-20, 140), shuffled, strict=True))
    moved = renamed(table, names)
    for agent in range(len(table.agents)):
        goal = target(table, agent, "chat", Random(0), summarise=False)
        told = target(moved, agent, "chat", Random(0), summarise=False)
        assert told == {product: names[value] for product, value in goal.items()}


@settings(max_examples=100, deadline=None)
@given(seed=seeds, layout=st.sampled_from(LAYOUTS), wrong=values)
def test_unanimous_peers_are_followed_right_or_wrong(seed, layout, wrong):
    random = Random(seed)
    problem = draw_problem(random)
    told = dict.fromkeys(problem.products, wrong)
    own = PERSONAS[0].believe(problem, random)
    statements = (own, told, told, told, told)
    texts = tuple(trace(problem, s, p.order) for p, s in zip(PERSONAS, statements, strict=True))
    orders = tuple(persona.order for persona in PERSONAS)
    table = Table(problem, PERSONAS, (statements,), (texts,), (orders,), society=False)
    example = weighing(table, 0, layout, random)
    assert read_statement(example.messages[-1].content) == told


@given(own=values, peers=st.lists(values, max_size=4))
def test_weigh_states_a_value_of_the_page_and_a_strict_majority_wins(own, peers):
    stated = [own, *peers]
    chosen = weigh(own, peers)
    assert chosen in stated
    assert stated.count(chosen) == max(map(stated.count, stated)) or chosen == own
    for value in set(stated):
        if all(stated.count(value) > stated.count(other) for other in set(stated) - {value}):
            assert chosen == value


@given(own=values, peers=st.lists(values, max_size=4), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_the_peers_plays_no_part(own, peers, shuffle):
    mixed = list(peers)
    shuffle.shuffle(mixed)
    assert weigh(own, mixed) == weigh(own, peers)


@settings(max_examples=150, deadline=None)
@given(seed=seeds)
def test_every_target_is_well_formed_and_adds_up(seed):
    random = Random(seed)
    for example in (direct(random), debate(random)):
        question = next(m.content for m in example.messages if m.role == "user").split("\n")[0]
        problem = Sum(*(int(sign) for sign in question if sign.isdigit()))
        assert not problem.held_out
        assert example.learned[-1] == len(example.messages) - 1
        for position in example.learned:
            assert example.messages[position].role == "assistant"
            text = example.messages[position].content
            assert well_formed(text)
            assert read_answer(text) == problem.value(read_statement(text))


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_every_learned_turn_after_the_first_obeys_the_rule(seed):
    """In the append-only layout earlier turns are lessons too, but only where they weigh as taught."""
    random = Random(seed)
    table = sit(draw_problem(random), 2, random, society=False)
    example = weighing(table, 0, "chat", random)
    first = len(example.messages) - 5  # round 0 of the two that stand before the target
    assert first not in example.learned  # noise is no lesson
    if len(example.learned) > 1:
        earlier = replace(table, stated=table.stated[:1], texts=table.texts[:1])
        goal = target(earlier, 0, "chat", Random(0), summarise=False)
        assert read_statement(example.messages[example.learned[0]].content) == goal


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_in_the_first_part_every_persona_keeps_to_its_order(seed):
    random = Random(seed)
    problem = draw_problem(random)
    table = sit(problem, 2, random, society=True, free=False)
    for texts, statements in zip(table.texts, table.stated, strict=True):
        for agent, text, statement in zip(table.agents, texts, statements, strict=True):
            assert text == trace(problem, statement, agent.order)


@given(seed=seeds)
def test_examples_are_seeded(seed):
    assert debate(Random(seed)) == debate(Random(seed))
    assert direct(Random(seed)) == direct(Random(seed))
