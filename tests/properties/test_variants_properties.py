"""Disturbed and outside problems: the gold is exact, the right option stays right, no split is met."""

from __future__ import annotations

import re
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom import problems
from arkloom.config import ProblemsConfig
from arkloom.problems.variants import DISTRACTORS, distracted, reordered
from arkloom.records import Problem

LETTERS = "ABCDEFGHIJ"
OPTION = st.text("abcdefgh 0123456789", min_size=1, max_size=6).filter(lambda text: text.strip())
TERM = re.compile(r"([+-]?)((?:\(-\d+\)|\d+)(?:\*(?:\(-\d+\)|\d+))*)")


def worth(question: str) -> Fraction:
    """A signed sum of products, worked out by another reader than the one that wrote it."""
    total = Fraction(0)
    end = 0
    for term in TERM.finditer(question):
        assert term.start() == end
        end = term.end()
        product = Fraction(1)
        for factor in term[2].split("*"):
            product *= int(factor.strip("()"))
        total += -product if term[1] == "-" else product
    assert end == len(question)
    return total


@st.composite
def choices(draw: st.DrawFn) -> Problem:
    options = draw(st.lists(OPTION, min_size=2, max_size=10, unique_by=str.strip))
    gold = draw(st.sampled_from(LETTERS[: len(options)]))
    return Problem(
        dataset="made", split="test", question="Which?", options=tuple(options), gold=gold, answer_type="mcq"
    )


@settings(max_examples=150, deadline=None)
@given(problem=choices(), seed=st.integers(0, 5))
def test_the_right_option_keeps_its_letter_in_another_place(problem: Problem, seed: int) -> None:
    moved = reordered(problem, seed)
    assert moved is not None
    assert moved == reordered(problem, seed)
    assert sorted(moved.options) == sorted(problem.options)
    right = problem.options[LETTERS.index(problem.gold or "")]
    assert moved.options[LETTERS.index(moved.gold or "")] == right
    assert moved.gold != problem.gold
    assert moved.content_hash == problem.content_hash
    assert moved.id != problem.id == moved.meta["original"]


@settings(max_examples=30, deadline=None)
@given(question=st.text(min_size=1, max_size=40), seed=st.integers(0, 5))
def test_a_distractor_leaves_question_and_gold_as_they_are(question: str, seed: int) -> None:
    problem = Problem(dataset="made", split="test", question=question, gold="7", meta={"level": 1})
    disturbed = distracted(problem, seed)
    assert disturbed.question.endswith(f" {question}")
    assert disturbed.question.removesuffix(f" {question}") in DISTRACTORS
    assert (disturbed.gold, disturbed.meta["level"]) == ("7", 1)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(0, 10)] * 3),
    ood=st.integers(0, 12),
    robustness=st.integers(0, 12),
    low=st.integers(-3, 0),
    seed=st.integers(0, 3),
)
def test_arithmetic_beside_the_splits_is_exact_and_meets_none(
    sizes: tuple[int, int, int], ood: int, robustness: int, low: int, seed: int
) -> None:
    train, validation, test = sizes
    config = ProblemsConfig(
        train=train,
        validation=validation,
        test=test,
        ood=ood,
        robustness=robustness,
        low=low,
        high=4,
        seed=seed,
    )
    drawn = problems.draw(config)
    outside = problems.outside(config, drawn).sets
    disturbed = problems.disturb(config, drawn, "tiny").sets
    assert {name: len(found) for name, found in outside.items()} == (
        dict.fromkeys(("shorter", "products", "larger"), ood) if ood else {}
    )
    assert {name: len(found) for name, found in disturbed.items()} == (
        {"numbers": min(robustness, test)} if min(robustness, test) else {}
    )
    beside = [problem for sets in (outside, disturbed) for found in sets.values() for problem in found]
    for problem in beside:
        assert Fraction(problem.gold or "") == worth(problem.question)
        assert problem.split == "test"
    splits = [*drawn.train, *drawn.validation, *drawn.test]
    every = [problem.content_hash for problem in (*splits, *beside)]
    assert len(set(every)) == len(every)
    originals = {problem.id for problem in drawn.test}
    assert all(problem.meta["original"] in originals for found in disturbed.values() for problem in found)
    plain = config.model_copy(update={"ood": 0, "robustness": 0})
    assert problems.draw(plain) == drawn, "the splits do not depend on what stands beside them"
