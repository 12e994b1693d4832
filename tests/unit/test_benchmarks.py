"""What the benchmarks say of several seeds: arms that a seed lacks, gains that cannot be told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from shared.pooled import Pooled


def column(right: int, of: int = 100) -> np.ndarray:
    """The first ``right`` of ``of`` problems are answered right."""
    return np.array([1.0] * right + [0.0] * (of - right))


@pytest.fixture
def pooled() -> Pooled:
    correct = {
        "base": {0: column(40), 1: column(40)},
        "debate": {0: column(90), 1: column(90)},
        "rsft": {0: column(80), 1: column(100)},
        "pad": {1: column(65)},
    }
    return Pooled(correct, correct, seeds=2)


def test_an_arm_that_a_seed_lacks_is_told_with_its_seeds(pooled: Pooled) -> None:
    assert pooled.accuracy("rsft").startswith("0.900 [")
    assert "seeds" not in pooled.accuracy("rsft")
    assert pooled.accuracy("pad").startswith("0.650 [")
    assert pooled.accuracy("pad").endswith("(1 of 2 seeds)")


def test_differences_are_paired_within_the_seeds_that_have_both(pooled: Pooled) -> None:
    both, one = pooled.differences([("rsft", "base"), ("pad", "rsft"), ("rft", "rsft")])
    assert (both.name, both.value, both.seeds) == ("rsft - base", pytest.approx(0.5), 2)
    assert (one.name, one.value, one.seeds) == ("pad - rsft", pytest.approx(-0.35), 1)
    assert both.interval.startswith("[+0.4")


def test_the_gain_kept_is_a_ratio_of_means_over_seeds_each_with_its_best_arm(pooled: Pooled) -> None:
    value, told = pooled.gain({0: "rsft", 1: "rsft"})
    assert value == pytest.approx(0.5 / 0.5)
    assert told.startswith("1.000 [")
    value, _ = pooled.gain({0: "rsft", 1: "pad"})
    assert value == pytest.approx((0.40 + 0.25) / 2 / 0.5)


@pytest.mark.parametrize(
    ("correct", "reason"),
    [
        ({"rsft": {0: column(5)}}, "no base or debate"),
        ({"base": {0: column(9)}, "debate": {0: column(9)}}, "absent"),
        (
            {"base": {0: column(9)}, "debate": {0: column(9)}, "rsft": {0: column(9)}},
            "the debate gains nothing",
        ),
    ],
)
def test_a_gain_that_cannot_be_told_is_none_with_its_reason(correct: dict, reason: str) -> None:
    assert Pooled(correct, correct, 1).gain({0: "rsft"}) == (None, reason)
