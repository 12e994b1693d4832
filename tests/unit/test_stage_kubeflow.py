"""A stage as a task of Kubeflow: what it reads of an executor input, and what it leaves for the UI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arkloom import config as configs
from arkloom.errors import BadInputError
from arkloom.gate.stage import STAGE as GATE
from arkloom.prepare.stage import STAGE as PREPARE
from arkloom.stage import main
from arkloom.store import Manifest
from arkloom.telemetry.kubeflow import (
    Task,
    classification,
    figures,
    local,
    markdown,
    overrides,
    part,
    publish,
)

SMALL = ["--set", "problems.train=4", "--set", "problems.validation=2", "--set", "problems.test=2"]


def executor_input(
    folder: Path, inputs: dict[str, list[Path]] | None = None, **parameters: Any
) -> dict[str, Any]:
    """What Kubeflow would hand a task whose outputs lie in ``folder``."""
    outputs = {
        name: {"artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": str(folder / name)}]}
        for name, kind in {
            "artifact": "system.Artifact",
            "metrics": "system.Metrics",
            "summary": "system.Markdown",
            "page": "system.HTML",
            "classification": "system.ClassificationMetrics",
        }.items()
    }
    given = {
        name: {"artifacts": [{"name": name, "uri": str(file)} for file in files]}
        for name, files in (inputs or {}).items()
    }
    return {
        "inputs": {"parameterValues": parameters, "artifacts": given},
        "outputs": {"artifacts": outputs, "outputFile": str(folder / "told.json")},
    }


def prepared(tmp_path: Path, *more: str, **parameters: Any) -> Path:
    """The outputs of one task of the stage ``prepare``."""
    folder = tmp_path / "task"
    text = json.dumps(executor_input(folder, **parameters))
    arguments = ["--store", str(tmp_path / "store"), "--set", "runtime.metrics_port=0", *more]
    assert main(PREPARE, ["--executor-input", text, *arguments]) == 0
    return folder


def test_a_task_takes_its_config_and_leaves_what_the_ui_shows(tmp_path: Path) -> None:
    config = "extends: smoke\nproblems: {train: 9, validation: 2, test: 2}\n"
    folder = prepared(tmp_path, config=config, overrides=["problems.train=4"])
    manifest = Manifest.model_validate_json((folder / "artifact").read_text())
    assert manifest.metrics["train"] == 4  # the node's override wins over the text
    assert manifest.metrics["validation"] == 2  # and the text over the preset that it extends
    told = json.loads((folder / "told.json").read_text())["artifacts"]
    (metrics,) = told["metrics"]["artifacts"]
    assert metrics["uri"] == str(folder / "metrics")
    assert (metrics["metadata"]["train"], metrics["metadata"]["overlaps.left_out"]) == (4, 0)
    assert told["artifact"]["artifacts"][0]["metadata"]["store_uri"] == manifest.uri
    # What it has none of is listed all the same: kfp.local knows no output that is not.
    assert told["classification"]["artifacts"][0]["metadata"] == {}
    assert "| train | 4 |" in (folder / "summary").read_text()
    page = (tmp_path / "store" / "prepare" / manifest.key / "decontamination.html").read_text()
    assert (folder / "page").read_text() == page


def test_options_win_over_the_parameters_of_a_task(tmp_path: Path) -> None:
    folder = prepared(tmp_path, "--set", "problems.train=3", config="extends: smoke", overrides=SMALL[1::2])
    assert json.loads((folder / "artifact").read_text())["metrics"]["train"] == 3


def test_a_found_artifact_is_told_of_like_a_fresh_one(tmp_path: Path) -> None:
    first = prepared(tmp_path, *SMALL)
    made = {file.name: file.read_text() for file in first.iterdir()}
    for file in first.iterdir():
        file.unlink()
    again = prepared(tmp_path, *SMALL)
    assert {file.name: file.read_text() for file in again.iterdir()} == made


def test_an_artifact_passes_from_task_to_task_as_the_file_of_its_manifest(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    absent = prepared(tmp_path, *(word.replace("=4", "=0").replace("=2", "=0") for word in SMALL))
    folder = tmp_path / "gate"
    text = json.dumps(executor_input(folder, {"report": [absent / "artifact"], "champion": []}))
    arguments = ["--store", store, "--set", "runtime.metrics_port=0"]
    assert main(GATE, ["--executor-input", text, *arguments]) == 0
    told = json.loads((folder / "artifact").read_text())
    assert told["parents"] == {"report": json.loads((absent / "artifact").read_text())["key"]}
    assert told["metrics"]["promote"] is False
    page = (folder / "page").read_text()
    assert "the evaluation is absent" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing is fetched to look at it


@pytest.mark.parametrize("damage", ["key", "files", "uri", "json"])
def test_a_manifest_that_the_store_does_not_hold_is_refused(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = prepared(tmp_path, *SMALL) / "artifact"
    told = json.loads(file.read_text())
    told |= {"key": {"key": "0" * 64}, "files": {"files": []}}.get(damage, {})
    told |= {"uri": f"{told['uri']}0"} if damage == "uri" else {}
    file.write_text("{" if damage == "json" else json.dumps(told))
    arguments = ["--store", str(tmp_path / "store"), "--set", "runtime.metrics_port=0"]
    assert main(GATE, ["--input", f"report={file}", *arguments]) == 2
    line = {"uri": "no artifact here", "json": "not a manifest"}.get(damage, "not what the store holds")
    assert line in capsys.readouterr().err


def test_a_config_text_comes_after_the_file_and_before_assignments(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("extends: smoke\nseed: 1\ndebate: {agents: 2, rounds: 2}\n")
    found = configs.load(None, file, ["debate.rounds=4"], "seed: 2\ndebate: {rounds: 3}")
    assert (found.seed, found.debate.agents, found.debate.rounds) == (2, 2, 4)
    with pytest.raises(BadInputError, match="the config text: the config is not a mapping"):
        configs.load(text="[1]")


PLACES = [
    ("minio://bucket/v2/x", "/minio/bucket/v2/x"),
    ("s3://bucket/x", "/s3/bucket/x"),
    ("gs://bucket/x", "/gcs/bucket/x"),
    ("file:///a/x", "/a/x"),
    ("/a/x", "/a/x"),
]


@pytest.mark.parametrize(("uri", "path"), PLACES)
def test_local_copies_lie_where_the_launcher_of_kubeflow_puts_them(uri: str, path: str) -> None:
    assert local(uri) == Path(path)


def test_ports_of_arms_and_of_shares_are_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    given = executor_input(tmp_path, {"da__pad": files[:1], "shares": files, "rows": []})
    task = Task.read(json.dumps(given), "share-")
    assert task.inputs == {"da+pad": files[0]} | {f"share-{i}": file for i, file in enumerate(files)}
    one = Task.read(json.dumps(given | {"inputs": {"parameterValues": {"share": "3/8"}}}))
    assert (overrides(one), part(one)) == (["debate.share=3/8"], "-3")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{{$}}", '{"inputs": {"artifacts": {"a": {"artifacts": [{}]}}}}', '{"outputs": [1]}',
     '{"inputs": {"artifacts": {"a": {"artifacts": [{"uri": 1}]}}}}',
     '{"inputs": {"artifacts": {"a": {"artifacts": [{"uri": "x"}, {"uri": "y"}]}}}}'],
)  # fmt: skip
def test_what_is_no_executor_input_is_one_line(text: str) -> None:
    with pytest.raises(BadInputError, match="not an executor input of Kubeflow"):
        Task.read(text)


@pytest.mark.parametrize("parameters", [{"overrides": "a=b"}, {"overrides": [1]}, {"share": [1]}])
def test_parameters_of_another_type_are_one_line(parameters: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="is no "):
        overrides(Task(parameters))


def test_only_numbers_become_metrics() -> None:
    told = {"a": 0.5, "b": {"c": 2, "d": {"e": True}}, "f": "x", "g": None, "h": float("nan"), "i": [1]}
    assert figures(told) == {"a": 0.5, "b.c": 2, "b.d.e": 1}


def test_a_summary_survives_what_a_table_would_not() -> None:
    table = markdown("gate", "So | it <is>", {"why": "a|b\n<script>"}).splitlines()
    assert table[2] == "So \\| it &lt;is>"
    assert table[-1] == "| why | a\\|b &lt;script> |"


def test_the_classification_is_that_of_the_steps_behind_the_bins() -> None:
    scored = [(0.05, 0), (0.15, 1), (0.35, 0), (0.55, 0), (0.65, 1), (0.95, 1), (0.95, 1)]
    bins = []
    for number in range(10):
        inside = [label for score, label in scored if int(score * 10) == number]
        right = sum(inside) / len(inside) if inside else None
        bins.append({"low": number / 10, "n": len(inside), "right": right})
    told = classification(bins)
    assert [row["row"] for row in told["confusionMatrix"]["rows"]] == [[3, 1], [1, 2]]
    for point in told["confidenceMetrics"]:
        above = [label for score, label in scored if score >= point["confidenceThreshold"]]
        assert point["recall"] == pytest.approx(above.count(1) / 4)
        assert point["falsePositiveRate"] == pytest.approx(above.count(0) / 3)
    assert classification([{"low": 0.0, "n": 3, "right": 1.0}]) == {}
    assert classification([]) == {}


def test_a_reward_model_shows_its_curve_and_its_card(tmp_path: Path) -> None:
    bins = [{"low": 0.0, "n": 2, "right": 0.0}, {"low": 0.5, "n": 2, "right": 1.0}]
    files = {
        "report.json": json.dumps({"reliability": bins}),
        "report.html": "<p>its own page</p>",
        "README.md": "---\nbase_model: tiny\n---\n\n# Process reward model of tiny\n",
    }
    manifest = {
        "uri": "s3://b/prm/k", "stage": "prm", "kind": "prm", "key": "k", "reason": None, "seconds": 1.0,
        "metrics": {"step_auc": 1.0, "ece": None}, "files": [{"path": name} for name in files],
    }  # fmt: skip
    publish(Task.read(json.dumps(executor_input(tmp_path))), manifest, files.__getitem__, lambda *_: "drawn")
    told = json.loads((tmp_path / "told.json").read_text())["artifacts"]
    (shown,) = told["classification"]["artifacts"]
    assert shown["metadata"]["confusionMatrix"]["rows"] == [{"row": [2, 0]}, {"row": [0, 2]}]
    assert told["metrics"]["artifacts"][0]["metadata"] == {"step_auc": 1.0}
    assert (tmp_path / "page").read_text() == "<p>its own page</p>"
    assert (tmp_path / "summary").read_text().endswith("\n\n# Process reward model of tiny\n")
    assert "base_model" not in (tmp_path / "summary").read_text()
