"""The stage ``filter``: what it reads beside the log, what it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from arkloom.config import RunConfig, load
from arkloom.errors import BadInputError
from arkloom.filter.stage import STAGE, filter_log
from arkloom.jsonl import read_records, write_records
from arkloom.records import Debate, Problem, PromptRow, StepRow, TrainingRow
from arkloom.stage import Context, execute
from arkloom.store import open_store
from arkloom.telemetry import Events, Progress
from arkloom.telemetry.metrics import REGISTRY
from trace_logs import ASKED, OTHER, RIGHT, WRONG, debate


def run_stage(tmp_path: Path, records: Sequence[Debate], config: RunConfig, **beside: Problem) -> tuple:
    store = open_store(str(tmp_path / "store"))
    prepared = store.workspace("prepare", "0" * 8)
    held = Problem(dataset="t", split="test", question="held out", gold="1")
    write_records(prepared.folder / "test.jsonl", [held])
    write_records(prepared.folder / "validation.jsonl", [])
    known = Problem(**{**records[0].problem().model_dump(by_alias=True), "meta": {"level": 3}})
    write_records(prepared.folder / f"{known.split}.jsonl", [known])
    for name, problem in beside.items():
        write_records(prepared.folder / f"{name.replace('_', '-')}.jsonl", [problem])
    problems = prepared.publish("problems", parents={}, metrics={})
    debated = store.workspace("debate", "1" * 8)
    write_records(debated.folder / "debates-00000.jsonl", records)
    debates = debated.publish("debates", parents={}, metrics={})
    context = Context(Progress(quiet=True), Events(None, run="", node="filter"))
    manifest = execute(STAGE, config, {"debates": debates, "problems": problems}, store, context)
    return store, manifest


def test_the_stage_writes_rows_that_lead_back_to_their_turns(tmp_path: Path) -> None:
    said = [[WRONG, RIGHT, OTHER, RIGHT], [RIGHT, RIGHT, OTHER, "#### 3"]]
    records = [debate(ASKED, "16", said), debate("1+1", "2", [["1+1=2\n#### 2", "?"]])]
    store, manifest = run_stage(tmp_path, records, load("smoke"))
    artifact = store.open(manifest.uri)
    turns = {(d.id, d.seed, t.agent, t.round): t for d in records for t in d.turns}
    for name, record in (("rsft.jsonl", TrainingRow), ("da.jsonl", TrainingRow), ("prm.jsonl", StepRow)):
        rows = list(read_records(artifact.file(name), record))
        assert rows
        for row in rows:
            turn = turns[row.source.debate, row.source.seed, row.source.agent, row.source.round]
            assert turn.text.strip() == row.messages[-1].content
        told = REGISTRY.get_sample_value("arkloom_filter_rows_kept", {"output": name.removesuffix(".jsonl")})
        assert told == len(rows)
    prompts = list(read_records(artifact.file("prompts.jsonl"), PromptRow))
    assert {row.problem.meta.get("level") for row in prompts} == {3, None}  # meta comes from prepare
    report = json.loads(artifact.file("report.json").read_text())
    assert manifest.metrics["rows"] == report["rows"]["rsft"] == 2
    assert report["evaluation_questions"] == 1
    assert "What the filter kept" in artifact.file("report.html").read_text()


def test_the_validation_split_is_held_against_test_alone(tmp_path: Path) -> None:
    """Its own problems are no evaluation set to itself; debates of the training split do not count."""
    said = [[WRONG, RIGHT, OTHER, RIGHT], [RIGHT, RIGHT, OTHER, "#### 3"]]
    records = [debate(ASKED, "16", said, split="validation"), debate("1+1", "2", [["1+1=2\n#### 2", "?"]])]
    store, manifest = run_stage(tmp_path, records, load("smoke", overrides=["filter.split=validation"]))
    artifact = store.open(manifest.uri)
    rows = list(read_records(artifact.file("prm.jsonl"), StepRow))
    assert {row.correct for row in rows} == {True, False}
    assert {row.source.debate for row in rows} == {records[0].id}
    report = json.loads(artifact.file("report.json").read_text())
    assert (report["evaluation_questions"], report["turns"]["evaluation_split"]) == (1, 1)
    (prompt,) = read_records(artifact.file("prompts.jsonl"), PromptRow)
    assert prompt.problem.meta == {"level": 3}
    contaminated = tmp_path / "other"
    _, refused = run_stage(contaminated, [records[0]], load("smoke"))
    assert refused.absent, "as training rows they would be contamination"


def test_every_evaluation_set_is_held_against_the_rows_and_test_gives_none(tmp_path: Path) -> None:
    records = [debate(ASKED, "16", [[RIGHT, OTHER]])]
    quoted = Problem(dataset="t", split="test", question=ASKED, gold="16")
    for name in ("ood_products", "robust_numbers"):
        _, manifest = run_stage(tmp_path / name, records, load("smoke"), **{name: quoted})
        assert "overlap_question" in str(manifest.reason)
    with pytest.raises(BadInputError, match="test problems give no rows"):
        run_stage(tmp_path, records, load("smoke", overrides=["filter.split=test"]))


def test_a_log_with_nothing_to_learn_is_absent_with_its_reasons(tmp_path: Path) -> None:
    store, manifest = run_stage(tmp_path, [debate(ASKED, "16", [[WRONG, "?"]])], load("smoke"))
    assert manifest.absent
    kept = list(read_records(store.open(manifest.uri).file("prm.jsonl"), StepRow))
    assert [row.messages[-1].content for row in kept] == [WRONG], "a reward model learns from wrong traces"
    assert "wrong 1" in manifest.reason
    assert "unparsable 1" in manifest.reason


def test_a_log_alone_can_be_filtered(tmp_path: Path) -> None:
    log = tmp_path / "debates.jsonl"
    write_records(log, [debate(ASKED, "16", [[RIGHT]])])
    report = filter_log(log, tmp_path / "out", load("smoke"))
    assert report["rows"]["rsft"] == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "da.jsonl", "prm.jsonl", "prompts.jsonl", "report.html", "report.json", "rsft.jsonl",
    ]  # fmt: skip
