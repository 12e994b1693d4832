"""First-error F1, the threshold that is best for it, and the floors below it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.errors import BadInputError
from arkloom.steps import first_error_f1
from arkloom.steps.first_error import best_threshold, first_error, known_error
from arkloom.steps.floors import floors, length


def independent_f1(predicted: list[int], label: list[int]) -> float:
    """The same by plain counting, as ProcessBench describes it."""
    hits: dict[bool, list[int]] = {True: [], False: []}
    for guess, truth in zip(predicted, label, strict=True):
        hits[truth == -1].append(int(guess == truth))
    accuracies = [100 * sum(part) / len(part) if part else 0.0 for part in hits.values()]
    total = sum(accuracies)
    return 2 * accuracies[0] * accuracies[1] / total / 100 if total else 0.0


POSITIONS = st.integers(-1, 5)


@given(st.lists(st.tuples(POSITIONS, POSITIONS), max_size=40))
def test_f1_agrees_with_an_independent_count(pairs: list[tuple[int, int]]) -> None:
    predicted, label = [a for a, _ in pairs], [b for _, b in pairs]
    assert first_error_f1(predicted, label) == pytest.approx(independent_f1(predicted, label))


@pytest.mark.parametrize(
    ("predicted", "label", "f1"),
    [
        ([1, -1], [1, -1], 1.0),
        ([0, -1], [1, -1], 0.0),  # a wrong step is named, but not the first
        ([-1, -1], [1, -1], 0.0),
        ([1, 1], [1, -1], 0.0),
        ([1, 2, -1], [1, 3, -1], 2 / 3),
        ([1, 2], [1, 2], 0.0),  # no right solution: nothing is shown
        ([], [], 0.0),
    ],
)
def test_f1_by_hand(predicted: list[int], label: list[int], f1: float) -> None:
    assert first_error_f1(predicted, label) == pytest.approx(f1)


def test_predictions_for_other_solutions_are_refused() -> None:
    with pytest.raises(BadInputError, match="1 predictions for 2 labels"):
        first_error_f1([1], [1, 2])
    with pytest.raises(BadInputError, match="below -1"):
        first_error_f1([-2], [1])


def test_the_name_that_others_rely_on_needs_no_torch() -> None:
    code = "import sys; from arkloom.steps import first_error_f1; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_first_error_is_the_first_step_below_the_threshold() -> None:
    assert first_error([0.9, 0.4, 0.1], 0.5) == 1
    assert first_error([0.9, 0.5], 0.5) == -1
    assert first_error([], 0.5) == -1
    assert first_error([0.9, float("nan")], 0.5) == 1  # what cannot be judged is not right
    assert first_error([0.9, 0.9, 0.1], 0.5) == 2, "the last step is judged too"


@pytest.mark.parametrize(
    ("labels", "position"),
    [((1, 1), -1), ((1, 0, None), 1), ((1, None, 0), None), ((1, None), None), ((0,), 0), ((), None)],
)
def test_a_gap_before_an_error_hides_where_the_first_one_is(
    labels: tuple[int | None, ...], position: int | None
) -> None:
    assert known_error(labels) == position


@given(st.data())
@settings(max_examples=80)
def test_no_threshold_is_better_than_the_best(data: st.DataObject) -> None:
    scores = data.draw(
        st.lists(
            st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=4), min_size=1
        )
    )
    labels = [data.draw(st.integers(-1, len(steps) - 1)) for steps in scores]

    def f1(threshold: float) -> float:
        return independent_f1([first_error(steps, threshold) for steps in scores], labels)

    values = sorted({-0.1, 1.1, *(score for steps in scores for score in steps)})
    best = max(f1((a + b) / 2) for a, b in pairwise(values))
    assert f1(best_threshold(scores, labels)) == pytest.approx(best)


def test_the_threshold_stands_in_the_middle_of_the_widest_best_interval() -> None:
    assert best_threshold([[0.9, 0.3], [0.8, 0.7]], [1, -1]) == pytest.approx(0.5)
    assert best_threshold([], []) == 0.5
    with pytest.raises(BadInputError, match="label 2 for 2 steps"):
        best_threshold([[0.5, 0.5]], [2])


# --- floors


@pytest.fixture(scope="module")
def processbench(shared_data: Path) -> list[dict]:
    return json.loads((shared_data / "processbench" / "gsm8k.json").read_text())


def test_the_floors_of_processbench(processbench: list[dict]) -> None:
    labels = [row["label"] for row in processbench]
    right = [row["final_answer_correct"] for row in processbench]
    found = floors(
        labels,
        [len(row["steps"]) for row in processbench],
        [sum(map(len, row["steps"])) for row in processbench],
        right,
    )
    assert found["constant"] == 0.0
    assert found["position"] == pytest.approx(0.248, abs=0.001)
    assert found["outcome"] == pytest.approx(0.444, abs=0.001)
    assert found["length"] == pytest.approx(0.271, abs=0.001)
    # The same figures by the independent count.
    modal = Counter(label for label in labels if label >= 0).most_common(1)[0][0]
    assert found["outcome"] == pytest.approx(independent_f1([-1 if ok else modal for ok in right], labels))
    share = labels.count(modal) / sum(label >= 0 for label in labels)
    mixtures = ((p, (1 - p) * share) for p in (n / 10_000 for n in range(1, 10_000)))
    assert found["position"] == pytest.approx(max(2 * a * b / (a + b) for a, b in mixtures), abs=1e-6)


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 6)), min_size=1, max_size=25))
def test_the_length_floor_is_the_best_rule_on_size_alone(pairs: list[tuple[int, int]]) -> None:
    labels, sizes = [a for a, _ in pairs], [b for _, b in pairs]
    rules = [
        [step if (size > cut) is longer else -1 for size in sizes]
        for cut in range(8)
        for longer in (True, False)
        for step in range(4)
    ]
    assert length(labels, sizes) == pytest.approx(max(independent_f1(rule, labels) for rule in rules))


def test_floors_without_errors_or_without_right_solutions_are_zero() -> None:
    for labels in ([-1, -1], [0, 1], []):
        size = [3] * len(labels)
        assert set(floors(labels, size, size, [True] * len(labels)).values()) == {0.0}
    with pytest.raises(BadInputError, match="differ in number"):
        floors([1], [2, 3], [4], [True])


def test_a_perfect_outcome_oracle_names_the_modal_step() -> None:
    found = floors([1, 1, 2, -1], [3, 3, 3, 3], [9, 9, 9, 9], [False, False, False, True])
    assert found["outcome"] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert found["length"] == 0.0
