"""What holds of every plan and every packing, whatever the rows."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.training.packing import schedule, spread

LENGTHS = st.lists(st.integers(2, 300), min_size=1, max_size=60)
LAYOUTS = st.sampled_from(["flat", "padded"])


@given(lengths=LENGTHS, bins=st.integers(1, 8))
def test_spread_places_every_row_once_and_evenly(lengths: list[int], bins: int) -> None:
    lists = spread(range(len(lengths)), lengths, bins)
    assert len(lists) == bins
    assert sorted(row for rows in lists for row in rows) == list(range(len(lengths)))
    loads = [sum(lengths[row] for row in rows) for rows in lists]
    assert max(loads) - min(loads) <= max(lengths), "the lightest would have taken the row"


@given(
    lengths=LENGTHS,
    batch=st.integers(1, 16),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 9),
    layout=LAYOUTS,
)
@settings(deadline=None)
def test_a_plan_shows_every_row_once_an_epoch_within_its_bounds(
    lengths: list[int], batch: int, epochs: int, seed: int, layout: str
) -> None:
    plan = schedule(lengths, batch, epochs, seed, layout, tokens=400)
    assert len(plan.batches) == plan.steps * plan.passes
    assert plan.steps == epochs * math.ceil(len(lengths) / batch)
    assert Counter(row for rows in plan.batches for row in rows) == Counter(
        dict.fromkeys(range(len(lengths)), epochs)
    )
    room = max(400, 2 * max(lengths))
    for rows in plan.batches:
        assert rows, "a pass without rows"
        sizes = [lengths[row] for row in rows]
        assert (sum(sizes) if layout == "flat" else len(sizes) * max(sizes)) <= room
    for step in range(plan.steps):
        sizes = [len(rows) for rows in plan.batches[step * plan.passes : (step + 1) * plan.passes]]
        assert sum(sizes) <= batch


@given(lengths=LENGTHS, seed=st.integers(0, 9))
def test_a_plan_depends_on_its_arguments_alone(lengths: list[int], seed: int) -> None:
    assert schedule(lengths, 4, 2, seed, "flat") == schedule(list(lengths), 4, 2, seed, "flat")


@given(epochs=st.floats(0.01, 5))
def test_part_of_an_epoch_is_a_share_of_its_steps(epochs: float) -> None:
    plan = schedule([10] * 40, 4, epochs, 0, "flat")
    assert plan.steps == max(1, round(10 * epochs))
    whole = schedule([10] * 40, 4, 5, 0, "flat")
    assert plan.batches == whole.batches[: len(plan.batches)], "a longer training begins as a shorter one"
