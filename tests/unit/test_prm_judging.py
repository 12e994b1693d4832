"""How a PRM is judged: cross-fitted, beside floors, calibrated, and let through a gate or not."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from arkloom.config import PrmGate
from arkloom.errors import BadInputError
from arkloom.jsonl import dump, write_records
from arkloom.prm.calibration import Calibration, fit, fold
from arkloom.prm.judging import gate, judge
from arkloom.prm.traces import Trace, first_half, held_out, read_traces
from arkloom.steps.model import Encoded, Prm
from small_models import model_at, tokenizer
from step_rows import step_row


def traces(count: int, seed: int = 0) -> list[Trace]:
    """Four steps each, the first error anywhere; two traces of a problem."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        error = draw.choice([-1, -1, 0, 1, 2, 3])
        labels = [1] * 4 if error < 0 else [1] * error + [0] + [None] * (3 - error)
        length = draw.randint(20, 40)
        encoded = Encoded(tuple(range(length)), tuple(range(length - 4, length)))
        found.append(Trace(f"hash-{number // 2}", encoded, tuple(labels), error < 0))
    return found


def perfect(found: list[Trace]) -> list[list[float]]:
    return [[0.9 if label == 1 else 0.1 for label in trace.labels] for trace in found]


def blind(found: list[Trace], seed: int = 1) -> list[list[float]]:
    draw = random.Random(seed)
    return [[draw.random() for _ in trace.labels] for trace in found]


def test_a_prm_that_knows_passes_and_one_that_guesses_does_not() -> None:
    found = traces(80)
    good = judge(found, perfect(found), 0).figures
    assert (good["step_auc"], good["pairwise_accuracy"], good["first_error_f1"]) == (1.0, 1.0, 1.0)
    assert gate(good, PrmGate()).passed
    bad = judge(found, blind(found), 0).figures
    assert bad["first_error_f1"] < max(bad["floors"].values())
    verdict = gate(bad, PrmGate())
    assert not verdict.passed
    assert "first-error F1" in verdict.reason
    assert "is below" in verdict.reason


def test_the_gate_asks_for_both() -> None:
    figures = {"first_error_f1": 0.6, "step_auc": 0.9, "floors": {"constant": 0.0, "outcome": 0.5}}
    assert gate(figures, PrmGate(f1_margin=0.1, auc=0.9)).passed
    assert not gate(figures, PrmGate(f1_margin=0.11, auc=0.9)).passed
    assert not gate(figures, PrmGate(f1_margin=0.1, auc=0.91)).passed
    reason = gate(figures, PrmGate(f1_margin=0.1, auc=0.91)).reason
    assert reason == (
        "first-error F1 0.600 reaches 0.600 (floor outcome + 0.1); step AUC 0.900 is below 0.910"
    )


@pytest.mark.parametrize("labels", [(1, 1, 1, 1), (0, None, None, None)])
def test_one_kind_of_solution_is_not_enough_to_judge_by(labels: tuple[int | None, ...]) -> None:
    found = [Trace(f"h{n}", Encoded((1, 2, 3, 4), (0, 1, 2, 3)), labels, labels[0] == 1) for n in range(6)]
    judged = judge(found, blind(found), 0)
    assert judged.figures["first_error_f1"] is None
    verdict = gate(judged.figures, PrmGate())
    assert (verdict.passed, verdict.reason) == (
        False,
        "validation holds too few right and wrong solutions to judge by",
    )
    assert judge([], [], 0).figures["step_auc"] is None


def test_no_threshold_is_measured_on_what_chose_it() -> None:
    """Noise with few rows: a threshold chosen on its own rows looks better than it is."""
    from arkloom.steps.first_error import best_threshold, first_error, first_error_f1

    gaps = []
    for seed in range(12):
        found = traces(24, seed)
        scores = blind(found, seed + 50)
        known = [trace.first_error for trace in found]
        own = best_threshold(scores, known)
        flattered = first_error_f1([first_error(row, own) for row in scores], known)
        honest = judge(found, scores, 0).figures["first_error_f1"]
        gaps.append(flattered - honest)
    assert np.mean(gaps) > 0.02


def test_traces_whose_first_error_is_unknown_are_left_out_of_f1() -> None:
    encoded = Encoded((1, 2), (0, 1))
    known = {
        (1, 1): {True: -1, None: -1, False: None},
        (1, None): {True: -1, None: None, False: None},
        (0, None): {True: 0, None: 0, False: 0},
        (1, 0): {True: 1, None: 1, False: 1},
        (None, 0): {True: None, None: None, False: None},
    }
    for labels, outcomes in known.items():
        for correct, expected in outcomes.items():
            assert Trace("h", encoded, labels, correct).first_error == expected


def test_labels_by_outcome_tell_no_first_error_and_pass_no_gate() -> None:
    """Wrong traces of one step have a known error, but finding it only takes the answer."""
    found = []
    for number, trace in enumerate(traces(80)):
        steps = 1 if number % 3 == 0 else 4
        labels = (1,) * steps if trace.correct else (*[None] * (steps - 1), 0)
        encoded = Encoded(trace.encoded.ids, trace.encoded.ends[-steps:])
        found.append(Trace(trace.problem, encoded, labels, trace.correct))
    assert any(one.first_error == 0 for one in found)
    figures = judge(found, perfect(found), 0).figures
    assert (figures["first_error_f1"], figures["floors"], figures["step_auc"]) == (None, None, 1.0)
    verdict = gate(figures, PrmGate())
    assert (verdict.passed, verdict.reason) == (False, figures["first_error_f1_reason"])
    assert "more than one step" in verdict.reason


def test_halves_and_held_out_problems_do_not_depend_on_order() -> None:
    problems = [f"hash-{number}" for number in range(50)]
    half, fifth = first_half(problems, 3), held_out(problems, 3)
    assert (len(half), len(fifth)) == (25, 10)
    assert first_half(reversed(problems * 2), 3) == half
    assert held_out(reversed(problems), 3) == fifth
    assert held_out(problems, 4) != fifth
    assert held_out(["one"], 0) == frozenset()


def test_calibration_recovers_a_known_distortion() -> None:
    draw = np.random.default_rng(0)
    true = draw.normal(0.5, 2, 20_000)
    labels = (draw.random(20_000) < 1 / (1 + np.exp(-true))).astype(float)
    told = 1 / (1 + np.exp(-(true - 1) / 0.5))  # R too steep and shifted: R = 2·true - 2
    line = fit(told, labels)
    assert line.slope == pytest.approx(0.5, abs=0.02)
    assert line.intercept == pytest.approx(1.0, abs=0.06)


def test_separable_steps_give_a_finite_calibration_and_hopeless_ones_none() -> None:
    labels = np.array([0.0] * 20 + [1.0] * 20)
    scores = np.linspace(0.01, 0.99, 40)
    line = fit(scores, labels)
    assert 0 < line.slope < 1e3
    assert fit(scores, 1 - labels).reason == "right steps do not score higher than wrong ones"
    assert fit(scores, np.ones(40)).reason == "all labelled steps have one label"
    assert Calibration(reason="none").apply(scores) == pytest.approx(scores)


def test_a_folded_calibration_is_what_the_head_says(tmp_path: Path) -> None:
    prm = Prm.new(model_at(tmp_path))
    rows = [step_row(number) for number in range(4)]
    before = prm.scores_of_rows(rows)
    line = Calibration(slope=1.7, intercept=-0.4, steps=9)
    fold(prm, line)
    for one, other in zip(prm.scores_of_rows(rows), before, strict=True):
        assert one == pytest.approx(line.apply(np.array(other)), abs=1e-6)


def test_rows_that_do_not_fit_are_counted_never_cut(tmp_path: Path) -> None:
    prm = Prm(None, tokenizer("tiny"))
    rows = [step_row(number) for number in range(6)]
    rows[3] = rows[3].model_copy(update={"labels": ()})
    write_records(tmp_path / "steps.jsonl", rows)
    lengths = [len(prm.encode(row)) for row in rows]
    limit = sorted(lengths)[-2]
    read = read_traces(tmp_path / "steps.jsonl", prm, limit)
    fit_in = [n for i, n in enumerate(lengths) if n <= limit and i != 3]
    assert [len(trace) for trace in read.traces] == fit_in
    assert read.unlabelled == 1
    assert read.too_long == len(rows) - 1 - len(fit_in)


BAD_LABELS = {
    "fewer labels than steps": (
        dump(step_row(0)).replace('"labels":[1,', '"labels":['),
        "3 labels for 4 steps",
    ),
    "no such label": (dump(step_row(0)).replace('"labels":[1,', '"labels":[2,'), "2 is no label"),
    "step ends outside": (dump(step_row(0)).replace('"step_ends":[6', '"step_ends":[900'), "step_ends"),
    "half a line": (dump(step_row(0))[:80], "Invalid JSON"),
}


@pytest.mark.parametrize(("line", "says"), BAD_LABELS.values(), ids=BAD_LABELS.keys())
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_text(f"{dump(step_row(0))}\n\n{line}\n")
    with pytest.raises(BadInputError) as caught:
        read_traces(path, Prm(None, tokenizer("tiny")), 512)
    assert caught.value.line().startswith(f"{path} line 3: ")
    assert says in caught.value.line()
