"""Step AUC, pairwise accuracy, reliability and ECE beside their definitions as loops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkloom.errors import BadInputError
from arkloom.steps.quality import correlation, ece, pairwise_accuracy, reliability, step_auc

SCORES = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.55, 0.99, 1.0])
STEPS = st.lists(st.tuples(st.sampled_from("ab"), SCORES, st.sampled_from([0, 1, None])), max_size=30)


def order(high: float, low: float) -> float:
    return 1.0 if high > low else (0.5 if high == low else 0.0)


@given(STEPS)
def test_ranking_is_the_mean_over_pairs(steps: list[tuple[str, float, int | None]]) -> None:
    right = [(problem, score) for problem, score, label in steps if label == 1]
    wrong = [(problem, score) for problem, score, label in steps if label == 0]
    every = [order(a, b) for _, a in right for _, b in wrong]
    own = [order(a, b) for p, a in right for q, b in wrong if p == q]
    problems, scores, labels = ([step[i] for step in steps] for i in range(3))
    assert step_auc(scores, labels) == (pytest.approx(sum(every) / len(every)) if every else None)
    expected = pytest.approx(sum(own) / len(own)) if own else None
    assert pairwise_accuracy(problems, scores, labels) == expected


@given(STEPS, st.integers(1, 12))
def test_bins_hold_every_labelled_step_once(steps: list[tuple[str, float, int | None]], bins: int) -> None:
    scores, labels = [score for _, score, _ in steps], [label for _, _, label in steps]
    found = reliability(scores, labels, bins)
    known = [(s, z) for s, z in zip(scores, labels, strict=True) if z is not None]
    assert sum(part["n"] for part in found) == len(known)
    for part in found:
        inside = [
            (s, z) for s, z in known if part["low"] <= s < part["high"] or (s == 1.0 and part["high"] == 1.0)
        ]
        # An edge such as 0.3 may round into the bin beside it; nothing else may differ.
        if not any(abs(s * bins - round(s * bins)) < 1e-9 for s, _ in known):
            assert part["n"] == len(inside)
            if inside:
                assert part["score"] == pytest.approx(sum(s for s, _ in inside) / len(inside))
                assert part["right"] == pytest.approx(sum(z for _, z in inside) / len(inside))


def test_calibration_error_by_hand() -> None:
    bins = reliability([0.95, 0.95, 0.95, 0.95, 0.15], [1, 1, 1, 0, 0])
    assert ece(bins) == pytest.approx(0.8 * (0.95 - 0.75) + 0.2 * 0.15)
    assert ece(reliability([], [])) is None
    assert ece(reliability([1.0, 0.0], [1, 0])) == 0.0


def test_scores_that_are_no_probabilities_are_refused() -> None:
    for score in (1.5, -0.1, float("nan")):
        with pytest.raises(BadInputError, match="outside"):
            reliability([score], [1])
    with pytest.raises(BadInputError, match="2 step scores for 1 labels"):
        step_auc([0.1, 0.2], [1])


def test_correlation() -> None:
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert correlation([1, 1, 1], [1, 2, 3]) is None
    assert correlation([1], [1]) is None
    with pytest.raises(BadInputError):
        correlation([1, 2], [1, 2, 3])
