"""Advantages against references written in loops, and the faults that a GRPO is known to hide."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.grpo.advantages import EPSILON, FLAT, Advantages, Judged, Rule, advantages
from arkloom.steps.aggregate import AGGREGATES, aggregate

Row = tuple[list[float], list[int], float, bool]  # scores, token ends, c, parsed


def judged(rows: list[Row]) -> Judged:
    most = max(len(row[0]) for row in rows)
    scores, steps, ends = torch.full((len(rows), most), 9.0), torch.zeros(len(rows), most).bool(), []
    for i, (values, places, _, _) in enumerate(rows):
        scores[i, : len(values)] = torch.tensor(values)
        steps[i, : len(values)] = True
        ends.append(
            places + [999] * (most - len(places))
        )  # what stands where there is no step must not count
    return Judged(
        scores=scores,
        steps=steps,
        ends=torch.tensor(ends, dtype=torch.long).reshape(len(rows), most),
        correct=torch.tensor([row[2] for row in rows]),
        parsed=torch.tensor([row[3] for row in rows]),
    )


def one_number(scores: list[float], how: str, tau: float = 0.1) -> float:
    if not scores:
        return 0.0
    if how == "softmin":
        weights = [math.exp(-s / tau) for s in scores]
        return sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)
    return {"mean": statistics.fmean(scores), "min": min(scores), "last": scores[-1]}[how]


def deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def reference(rows: list[Row], rule: Rule, group: int, tokens: int) -> dict[str, Any]:
    """METHODS 6, one completion and one token at a time."""
    table: list[list[float]] = []
    kept, rewards = [], []
    for start in range(0, len(rows), group):
        members = [
            (([s for s in scores] if parsed else [0.0] * len(scores)), places, c if parsed else 0.0)
            for scores, places, c, parsed in rows[start : start + group]
        ]
        correct = [c for _, _, c in members]
        total = [
            rule.prm_weight * one_number(scores, rule.aggregate) + rule.verifier_weight * c
            for scores, _, c in members
        ]
        rewards += total
        everything = (
            total if rule.advantage == "sequence" else [s for scores, _, _ in members for s in scores]
        )
        mean = statistics.fmean(everything) if everything else 0.0
        sigma, sigma_c = deviation(everything), deviation(correct)
        kept += [not (sigma < FLAT and sigma_c < FLAT)] * group
        for (scores, places, c), reward in zip(members, total, strict=True):
            line = []
            for t in range(tokens):
                if rule.advantage == "sequence":
                    line.append((reward - mean) / (sigma + EPSILON))
                    continue
                first = 0.0
                for s, end in zip(scores, places, strict=True):
                    if end >= t:
                        first += (s - mean) / (sigma + EPSILON)
                if scores and rule.step_credit == "mean":
                    first /= len(scores)
                second = (c - statistics.fmean(correct)) / (sigma_c + EPSILON)
                line.append(rule.prm_weight * first + rule.verifier_weight * second)
            table.append(line)
    return {"values": table, "keep": kept, "rewards": rewards}


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Row], int, int]:
    group, tokens = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    rows = []
    for _ in range(group * draw(st.integers(1, 3))):
        count = draw(st.integers(0, min(4, tokens)))
        places = sorted(draw(st.lists(st.integers(0, tokens - 1), min_size=count, max_size=count)))
        scores = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), min_size=count, max_size=count))
        rows.append((scores, places, draw(st.sampled_from([0.0, 0.5, 1.0])), draw(st.booleans())))
    return rows, group, tokens


rules = st.builds(
    Rule,
    prm_weight=st.sampled_from([0.0, 0.5, 1.0]),
    verifier_weight=st.sampled_from([0.0, 0.5, 1.0]),
    advantage=st.sampled_from(["step", "sequence"]),
    step_credit=st.sampled_from(["mean", "sum"]),
    aggregate=st.sampled_from(AGGREGATES),
)


@given(groups(), rules)
@settings(max_examples=150, deadline=None)
def test_advantages_equal_the_reference_written_in_loops(case: tuple, rule: Rule) -> None:
    rows, group, tokens = case
    found = advantages(judged(rows), rule, group, tokens)
    wanted = reference(rows, rule, group, tokens)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(found.values, torch.tensor(wanted["values"]), **close)
    torch.testing.assert_close(found.rewards, torch.tensor(wanted["rewards"]), **close)
    assert found.keep.tolist() == wanted["keep"]
    assert found.dropped == wanted["keep"].count(False) // group


@given(st.lists(st.floats(0, 1), max_size=5), st.sampled_from(AGGREGATES), st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_an_aggregate_looks_at_the_steps_alone(scores: list[float], how: str, tau: float) -> None:
    padded = torch.tensor([scores + [7.0] * (6 - len(scores))], dtype=torch.float64)
    steps = torch.arange(6)[None] < len(scores)
    (found,) = aggregate(padded, steps, how, tau).tolist()
    assert found == pytest.approx(one_number(scores, how, tau), abs=1e-9)
    if scores:
        assert min(scores) - 1e-9 <= found <= max(scores) + 1e-9


def test_an_aggregate_that_is_not_known_and_shapes_that_differ_are_refused() -> None:
    one = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="no aggregate 'max'"):
        aggregate(one, one.bool(), "max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="differ in shape"):
        aggregate(one, torch.zeros(1, 3).bool(), "mean")


RIGHT: Row = ([0.9, 0.8], [2, 5], 1.0, True)
WRONG: Row = ([0.9, 0.1], [2, 4], 0.0, True)


def made(rows: list[Row], group: int | None = None, tokens: int = 8, **change: Any) -> Advantages:
    return advantages(judged(rows), Rule(**change), group or len(rows), tokens)


def test_the_mean_includes_the_own_reward_it_is_not_rloo() -> None:
    rows: list[Row] = [([], [], c, True) for c in (1.0, 0.0, 0.0)]
    found = made(rows, prm_weight=0.0, verifier_weight=1.0).values[:, 0]
    group = (1 - 1 / 3) / (statistics.stdev([1, 0, 0]) + EPSILON)
    leave_one_out = 1.0 - 0.0
    assert found[0].item() == pytest.approx(group, rel=1e-5)
    assert found[0].item() != pytest.approx(leave_one_out, rel=1e-2)
    assert found.sum().item() == pytest.approx(0.0, abs=1e-5)


def test_the_last_step_is_scored() -> None:
    before = made([RIGHT, WRONG], verifier_weight=0.0).values
    better = made([RIGHT, ([0.9, 0.5], [2, 4], 0.0, True)], verifier_weight=0.0).values
    assert better[1, 4] > before[1, 4]
    assert before[1, 4] != 0  # the token that ends the last step
    assert before[1, 3] == before[1, 4]
    assert before[1, 2] > before[1, 3]  # the good first step is credited up to its own end, and no further


@pytest.mark.parametrize("mode", ["step", "sequence"])
def test_the_verifiers_reward_is_not_dropped(mode: str) -> None:
    rows: list[Row] = [([0.5, 0.5], [2, 5], c, True) for c in (1.0, 0.0)]
    found = made(rows, advantage=mode)
    assert found.keep.all()
    assert (found.values[0] > 0).all()
    assert (found.values[1] < 0).all()
    torch.testing.assert_close(found.rewards[0] - found.rewards[1], torch.tensor(0.5))


def test_tokens_after_the_last_step_have_no_step_to_come() -> None:
    found = made([RIGHT, WRONG], verifier_weight=0.0).values
    assert found[0, 5] != 0
    assert (found[0, 6:] == 0).all()
    assert (found[1, 5:] == 0).all()
    with_outcome = made([RIGHT, WRONG]).values
    assert (with_outcome[0, 6:] > 0).all()


def test_credit_by_sum_leaves_out_the_number_of_steps() -> None:
    each, total = (made([RIGHT, WRONG], verifier_weight=0.0, step_credit=c).values for c in ("mean", "sum"))
    torch.testing.assert_close(total, 2 * each)


def test_an_answer_that_cannot_be_read_has_no_reward_and_steps_of_zero() -> None:
    unread: Row = ([0.9, 0.9], [2, 5], 1.0, False)
    as_zero: Row = ([0.0, 0.0], [2, 5], 0.0, True)
    one, other = made([RIGHT, unread]), made([RIGHT, as_zero])
    torch.testing.assert_close(one.values, other.values)
    assert one.rewards[1] == 0


def test_a_completion_without_steps_has_a_first_term_of_zero() -> None:
    none: Row = ([], [], 1.0, True)
    found = made([RIGHT, WRONG, none], verifier_weight=0.0)
    assert (found.values[2] == 0).all()
    assert made([none, none]).keep.tolist() == [False, False]


def test_a_group_is_dropped_only_where_neither_term_tells_anything() -> None:
    same: Row = ([0.5, 0.5], [2, 5], 1.0, True)
    rows = [same, same, RIGHT, WRONG, same, (same[0], same[1], 0.0, True)]
    found = made(rows, group=2)
    assert found.keep.tolist() == [False, False, True, True, True, True]
    assert found.dropped == 1
    steps_differ = made([RIGHT, (WRONG[0], WRONG[1], 1.0, True)])
    assert steps_differ.keep.all()
    all_alike = made([same, same])
    assert all_alike.dropped == 1
    assert torch.isfinite(all_alike.values).all()


def test_groups_do_not_see_each_other() -> None:
    alone = made([RIGHT, WRONG]).values
    together = made([WRONG, RIGHT, RIGHT, WRONG], group=2).values
    torch.testing.assert_close(together[2:], alone)


@pytest.mark.parametrize(
    ("change", "group", "tokens", "says"),
    [
        ({}, 3, 8, "no whole groups of 3"),
        ({}, 1, 8, "no whole groups of 1"),
        ({}, 2, 5, "outside of the 5 tokens"),
        ({"ends": torch.zeros(2, 3, dtype=torch.long)}, 2, 8, "differ in shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change: dict, group: int, tokens: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        advantages(replace(judged([RIGHT, WRONG]), **change), Rule(), group, tokens)


def test_no_completions_are_refused() -> None:
    empty = torch.zeros(0)
    nothing = Judged(
        empty.reshape(0, 0), empty.reshape(0, 0).bool(), empty.reshape(0, 0).long(), empty, empty.bool()
    )
    with pytest.raises(ValueError, match="0 completions"):
        advantages(nothing, Rule(), 2, 4)
