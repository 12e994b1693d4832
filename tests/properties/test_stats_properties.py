"""What must hold for any two arms, and the coverage of the intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.stats import compare, holm, mcnemar_exact, wilson

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(ANSWERS, st.integers(0, 5))
def test_swapping_the_arms_flips_the_difference(answers: list[tuple[bool, bool]], seed: int) -> None:
    first, second = np.array(answers).T
    there = compare(first, second, resamples=400, seed=seed)
    back = compare(second, first, resamples=400, seed=seed)
    assert back.diff == pytest.approx(-there.diff)
    assert back.p == there.p
    assert back.interval.pair() == pytest.approx([-there.interval.high, -there.interval.low], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(ANSWERS)
def test_an_arm_does_not_differ_from_itself(answers: list[tuple[bool, bool]]) -> None:
    arm = np.array(answers).T[0]
    delta = compare(arm, arm, resamples=200)
    assert (delta.diff, delta.p, delta.interval.pair()) == (0.0, 1.0, [0.0, 0.0])


@settings(max_examples=60, deadline=None)
@given(ANSWERS)
def test_the_same_seed_gives_the_same_interval_that_holds_the_difference(
    answers: list[tuple[bool, bool]],
) -> None:
    first, second = np.array(answers).T
    one, two = (compare(first, second, resamples=2000, seed=1) for _ in range(2))
    assert one == two
    assert one.interval.low - 1e-9 <= one.diff <= one.interval.high + 1e-9
    assert -1 <= one.interval.low <= one.interval.high <= 1


@given(P_VALUES)
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(values: list[float]) -> None:
    adjusted = holm(values)
    for before, after in zip(values, adjusted, strict=True):
        assert before <= after <= min(1.0, before * len(values))
    ranked = [after for _, after in sorted(zip(values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_symmetric_and_a_probability(first: int, second: int) -> None:
    p = mcnemar_exact(first, second)
    assert 0 < p <= 1
    assert p == mcnemar_exact(second, first)


@given(st.integers(1, 300), st.data())
def test_wilson_holds_its_share_and_narrows_with_more_problems(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    interval = wilson(successes, trials)
    assert 0 <= interval.low <= successes / trials <= interval.high <= 1
    wider = wilson(successes, trials)
    narrow = wilson(successes * 4, trials * 4)
    assert narrow.high - narrow.low < wider.high - wider.low


def test_the_paired_interval_covers_the_truth_at_about_its_level() -> None:
    generator = np.random.default_rng(11)
    covered, runs = 0, 300
    for _ in range(runs):
        luck = generator.random(120)
        first = luck < 0.7
        second = np.where(generator.random(120) < 0.5, luck, generator.random(120)) < 0.5
        interval = compare(first, second, resamples=600, seed=1).interval
        covered += interval.low <= 0.2 <= interval.high
    assert 0.90 <= covered / runs <= 0.985


def test_mcnemar_rejects_equal_arms_at_most_at_its_level() -> None:
    generator = np.random.default_rng(12)
    answers = generator.random((2000, 2, 80)) < 0.6
    only_first = (answers[:, 0] & ~answers[:, 1]).sum(axis=1)
    only_second = (answers[:, 1] & ~answers[:, 0]).sum(axis=1)
    tests = [mcnemar_exact(int(a), int(b)) for a, b in zip(only_first, only_second, strict=True)]
    assert np.mean(np.array(tests) < 0.05) <= 0.05
