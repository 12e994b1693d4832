"""Trace classes, figures of deliberation, and importers of foreign logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arkloom.errors import BadInputError
from arkloom.jsonl import write_records
from arkloom.protocol.votes import decide
from arkloom.traces.classes import classify, judge_by_answer, judge_by_gold, pivot, trajectories
from arkloom.traces.gain import Tally, majority
from arkloom.traces.importers import read_log
from arkloom.traces.importers.recording import parse_question
from trace_logs import debate

CASES = Path(__file__).parents[1] / "cases"
MARKS = {1: True, 0: False, None: None}


@pytest.mark.parametrize(
    "case", json.loads((CASES / "trace_classes.json").read_text()), ids=lambda c: c["name"]
)
def test_class_and_pivot(case: dict) -> None:
    marks = [MARKS[mark] for mark in case["marks"]]
    assert classify(marks) == case["kind"]
    assert pivot(marks) == case["pivot"]


def test_a_correction_is_peer_induced_where_a_peer_held_the_answer() -> None:
    told = debate("1+1", "2", [["#### 3", "#### 2"], ["#### 2", "#### 2"]])
    alone = debate("1+1", "2", [["#### 3", "#### 4"], ["#### 2", "#### 4"]])
    first = trajectories(told, judge_by_gold(told))[0]
    assert (first.kind, first.pivot, first.peer_induced) == ("corrective", 1, True)
    assert not trajectories(alone, judge_by_gold(alone))[0].peer_induced


def test_equal_answers_in_other_words_count_as_held() -> None:
    told = debate("1/2+0", "1/2", [["#### 3", "#### 0.5"], ["#### 1/2", "#### 0.5"]])
    assert trajectories(told, judge_by_gold(told))[0].peer_induced


def test_what_a_peer_held_two_rounds_before_induces_nothing() -> None:
    record = debate("1+1", "2", [["#### 3", "#### 2"], ["#### 3", "#### 4"], ["#### 2", "#### 4"]])
    first = trajectories(record, judge_by_gold(record))[0]
    assert (first.kind, first.pivot, first.peer_induced) == ("corrective", 2, False)


def test_a_peer_that_was_not_shown_induces_nothing() -> None:
    record = debate("1+1", "2", [["#### 3", "#### 2"], ["#### 2", "#### 2"]])
    turns = [turn.model_copy(update={"source_turns": ()}) for turn in record.turns]
    blind = record.model_copy(update={"turns": tuple(turns)})
    assert not trajectories(blind, judge_by_gold(blind))[0].peer_induced


def test_the_consensus_can_stand_in_for_the_gold() -> None:
    record = debate("1+1", None, [["#### 3", "#### 2", "nothing"], ["#### 2.0", "#### 2", "#### 2"]])
    kinds = [trace.kind for trace in trajectories(record, judge_by_answer("2", "number"))]
    assert kinds == ["corrective", "stable", "late"]


def test_two_turns_of_one_agent_in_one_round_are_refused() -> None:
    record = debate("1+1", "2", [["#### 2", "#### 2"]])
    doubled = record.model_copy(update={"turns": record.turns + record.turns[:1]})
    with pytest.raises(BadInputError, match="two turns of agent 0 in round 0"):
        trajectories(doubled, judge_by_gold(doubled))


def tally(*records) -> dict:
    counted = Tally()
    for record in records:
        counted.add(record, trajectories(record, judge_by_gold(record)))
    return counted.figures()


def test_figures_of_deliberation() -> None:
    saved = debate("1+1", "2", [["#### 3", "#### 3", "#### 2"], ["#### 2", "#### 2", "#### 2"]])
    lost = debate("2+2", "4", [["#### 4", "#### 4", "none"], ["#### 5", "#### 5", "#### 4"]])
    figures = tally(saved, lost)
    assert figures["classes"]["corrective"] == 2
    assert figures["classes"]["corrupted"] == 2
    assert figures["classes"]["late"] == 1
    assert figures["vote_round0_accuracy"] == figures["final_accuracy"] == 0.5
    assert figures["deliberation_gain"] == 0.0
    assert figures["expert_use"] == 0.5  # somebody was right at first in both, one ended right
    assert (figures["minority_debates"], figures["minority_recovery"]) == (1, 1.0)
    assert figures["transitions"][0]["counts"]["wrong->right"] == 2
    assert figures["transitions"][0]["counts"]["none->right"] == 1
    assert [played["no_answer"] for played in figures["rounds"]] == [round(1 / 6, 6), 0.0]


def test_a_debate_that_ended_by_consensus_counts_in_later_rounds() -> None:
    early = debate("1+1", "2", [["#### 2", "#### 2"]], stop="consensus")
    full = debate("2+2", "4", [["#### 5", "#### 5"], ["#### 5", "#### 5"]])
    assert [played["vote_accuracy"] for played in tally(early, full)["rounds"]] == [0.5, 0.5]
    short = debate("1+1", "2", [["#### 2", "#### 2"]])  # ended because it had no more rounds
    assert [played["vote_accuracy"] for played in tally(short, full)["rounds"]] == [0.5, 0.0]


def test_ratios_over_nothing_are_null() -> None:
    figures = Tally().figures()
    assert figures["deliberation_gain"] is None
    assert figures["expert_use"] is None


@pytest.mark.parametrize("seed", range(6))
def test_ties_are_drawn_as_debates_draw_them(seed: int) -> None:
    record = debate("1+1", "2", [["#### 2", "#### 3", "#### 4"]], seed=seed)
    elected = majority(record, 0)
    assert elected is not None
    assert elected.answer == decide(record.rounds[0], record.turns, record.seed, record.id).answer
    assert elected.answer == record.final.answer


def test_question_and_options_are_taken_apart() -> None:
    asked = (
        "Can you answer the following question as accurately as possible? (1+i)^10 =: A) 1, B) i, C) 32, "
        "D) 32i Answer in English only. Explain your answer, putting the answer in the form (X) at the end."
    )
    assert parse_question(asked) == ("(1+i)^10 =", ("1", "i", "32", "32i"))
    assert parse_question(" What is 1+1? ") == ("What is 1+1?", ())


def test_our_own_log_is_read_as_it_is(tmp_path: Path) -> None:
    records = [debate("1+1", "2", [["#### 2"]], seed=s) for s in range(3)]
    write_records(tmp_path / "debates-00000.jsonl", records[:2])
    write_records(tmp_path / "debates-00001.jsonl", records[2:])
    (tmp_path / "timing.jsonl").write_text("{}\n")
    assert list(read_log(tmp_path)) == records


def rounds_row(**changes: object) -> dict:
    row = {"id": "a#0", "task": "gsm8k", "question": "1+1?", "gold": "2", "rounds": [["#### 3"], ["#### 2"]]}
    return row | changes


def test_rounds_become_a_debate(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    thinking = "<think>2, surely</think>\\boxed{2}"
    log.write_text(json.dumps(rounds_row(rounds=[["#### 3", thinking], ["#### 2", "<think>hm"]])))
    (record,) = read_log(log, split="validation")
    assert record.split == "validation"
    assert [turn.answer for turn in record.turns] == ["3", "2", "2", None]
    assert [turn.correct for turn in record.turns] == [False, True, True, False]
    assert record.turns[1].thinking == "2, surely"
    assert record.turns[3].finish_reason == "length"  # a thought that never ended was cut
    assert [(ref.round, ref.agent) for ref in record.turns[2].source_turns] == [(0, 1)]
    assert record.final.answer == "2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("{}\n", "no known format"),
        (json.dumps(rounds_row()) + "\n" + '{"id": "b"', "not JSON"),
        (json.dumps({k: v for k, v in rounds_row().items() if k != "gold"}), "no field 'gold'"),
        (json.dumps(rounds_row(rounds=[["a", "b"], ["a"]])), "one text an agent"),
        (json.dumps(rounds_row()).replace("1+1?", "\udcff"), "not UTF-8"),
    ],
    ids=["empty", "unknown", "half a row", "missing field", "ragged", "not UTF-8"],
)
def test_a_bad_log_is_told_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(content.encode(errors="surrogateescape").replace(b"\\udcff", b"\xff"))
    with pytest.raises(BadInputError, match=message) as caught:
        list(read_log(log))
    assert "log.jsonl" in caught.value.line()
    assert "\n" not in caught.value.line()


def test_no_log_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no debates here"):
        list(read_log(tmp_path))
    with pytest.raises(BadInputError, match="no such file"):
        list(read_log(tmp_path / "none.jsonl"))
    with pytest.raises(BadInputError, match="no format 'x'"):
        list(read_log(tmp_path, "x"))


def test_original_files_and_the_joined_file_hold_the_same_debates(shared_data: Path) -> None:
    joined = {(d.id, d.seed): d for d in read_log(shared_data / "debates" / "debates.jsonl")}
    originals = {(d.id, d.seed): d for d in read_log(shared_data / "debates" / "raw")}
    assert len(joined) == 253
    assert len(originals) == 180
    assert all(joined[key] == record for key, record in originals.items())
