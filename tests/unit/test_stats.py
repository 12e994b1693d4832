"""Published and hand-computed values of the tests and intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from arkloom.stats import (
    compare,
    holm,
    mcnemar_exact,
    mean_interval,
    percentile_interval,
    ratio_of_differences,
    resampled_means,
    wilson,
)

CASES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "cases" / "stats.json").read_text()
)


def named(kind: str) -> Any:
    return pytest.mark.parametrize("case", CASES[kind], ids=lambda case: case["name"])


@named("wilson")
def test_wilson_gives_the_published_intervals(case: dict[str, Any]) -> None:
    interval = wilson(case["successes"], case["trials"])
    assert interval.pair() == pytest.approx([case["low"], case["high"]], abs=5e-5)


@named("mcnemar")
def test_mcnemar_gives_the_binomial_tail(case: dict[str, Any]) -> None:
    assert mcnemar_exact(case["only_first"], case["only_second"]) == pytest.approx(case["p"], rel=1e-12)


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0, 0), (1, 0), (3, 4), (40, 12), (200, 260), (0, 900)]
)
def test_mcnemar_agrees_with_scipys_binomial_test(only_first: int, only_second: int) -> None:
    disagree = only_first + only_second
    expected = scipy.stats.binomtest(only_first, disagree, 0.5).pvalue if disagree else 1.0
    assert mcnemar_exact(only_first, only_second) == pytest.approx(expected, rel=1e-9)


@named("holm")
def test_holm_gives_the_published_values(case: dict[str, Any]) -> None:
    assert holm(case["p"]) == pytest.approx(case["adjusted"])


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, trials)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)


def test_bootstrap_agrees_with_scipy_on_a_mean() -> None:
    values = np.random.default_rng(7).gamma(2.0, 20.0, size=200)
    ours = mean_interval(values, seed=1)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.pair() == pytest.approx([theirs.low, theirs.high], rel=0.01)


def test_paired_interval_matches_the_normal_theory_of_paired_differences() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.random((2, 500)) < [[0.8], [0.4]]
    delta = compare(first, second)
    change = first.astype(float) - second.astype(float)
    half = 1.96 * change.std() / np.sqrt(500)
    assert delta.diff == pytest.approx(change.mean())
    assert delta.interval.pair() == pytest.approx([change.mean() - half, change.mean() + half], abs=0.006)


def test_pairing_counts_an_unpaired_interval_would_be_wider() -> None:
    hard = np.random.default_rng(0).random(400) < 0.5
    better = hard.copy()
    better[np.flatnonzero(~hard)[:20]] = True
    delta = compare(better, hard)
    assert delta.diff == pytest.approx(0.05)
    assert delta.interval.low > 0.02
    assert delta.p == pytest.approx(2 * 0.5**20)


def test_resamples_are_whole_sets_of_problems_and_shared_by_the_columns() -> None:
    columns = np.stack([np.arange(7.0), 6 - np.arange(7.0), np.ones(7)])
    means = resampled_means(columns, 500, seed=4)
    assert means.shape == (500, 3)
    assert means[:, 2] == pytest.approx(1.0)
    assert means[:, 0] + means[:, 1] == pytest.approx(6.0)
    assert means[:, 0].std() == pytest.approx(2 / np.sqrt(7), rel=0.1)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.random.default_rng(5).random((2, 30))
    whole = resampled_means(columns, 100, seed=9)
    monkeypatch.setattr("arkloom.stats.bootstrap._CELLS", 30 * 7)
    assert np.array_equal(resampled_means(columns, 100, seed=9), whole)


def test_ratio_of_means_is_not_the_mean_of_ratios() -> None:
    part, whole = [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]
    ratio, interval = ratio_of_differences(part, whole)
    assert ratio == pytest.approx(0.5)
    assert interval.pair() == pytest.approx([0.0, 1.0])


def test_ratio_of_equal_gains_is_one_without_width() -> None:
    gain = np.array([1.0, 0.0, 1.0, 1.0, -1.0, 0.0, 1.0])
    ratio, interval = ratio_of_differences(gain, gain)
    assert ratio == 1.0
    assert interval.pair() == [1.0, 1.0]


def test_ratio_refuses_a_gain_of_zero() -> None:
    with pytest.raises(ValueError, match="no ratio"):
        ratio_of_differences([1.0, 0.0], [1.0, -1.0])


@pytest.mark.parametrize(
    ("first", "second"), [([], []), ([1.0], [1.0, 0.0]), ([[1.0]], [[1.0]]), ([0.5], [1.0])]
)
def test_compare_refuses_what_it_cannot_pair(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match=r"two lists|0 or 1"):
        compare(first, second)


def test_no_problem_is_refused_everywhere() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        resampled_means(np.zeros((1, 0)))
    with pytest.raises(ValueError, match="finite"):
        percentile_interval([])
