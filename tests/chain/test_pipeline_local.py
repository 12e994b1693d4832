"""A compiled pipeline run by kfp's own local runner, each step a process here; no container, no S3.

kfp runs container components in containers alone. Here its check for that is switched off, which is a private
part of kfp: these tests also say that it is still there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kfp", reason="needs the extra orchestrate")

from arkloom.store import open_store
from arkloom_pipelines import placement
from arkloom_pipelines.distill import distill_pipeline
from arkloom_pipelines.placement import Patience
from arkloom_pipelines.plan import Plan, plan

pytestmark = [
    pytest.mark.filterwarnings("ignore:Task .* have no effect:UserWarning"),
    pytest.mark.timeout(900),
]
CHECKS = ("not_container_component", "not_containerized_python_component", "image")
SMALL = [
    "evaluate.arms=[base, debate]",
    "problems.train=4",
    "problems.validation=2",
    "problems.test=4",
    "problems.ood=0",
    "gate.margin=1",
    "runtime.metrics_port=0",
    "runtime.threads=1",
]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a plan; returns whether it succeeded and the folder of Kubeflow's artifacts."""
    from kfp import local
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    for check in CHECKS:
        monkeypatch.setattr(SubprocessTaskHandler, f"validate_{check}", lambda *_: None)
    monkeypatch.setenv("ARKLOOM_RUN_ID", "local")
    # Each of kfp's threads puts a print that indents in the place of print, and the last one's may stay.
    monkeypatch.setattr("builtins.print", print)

    def run(asked: Plan, **arguments: Any) -> tuple[bool, Path]:
        root = tmp_path / "kubeflow"
        local.init(local.SubprocessRunner(use_venv=False), str(root), raise_on_error=True)
        given = {parameter.name: parameter.default for parameter in asked.parameters} | arguments
        try:
            distill_pipeline(asked.config, asked.parameters)(**given)
        except RuntimeError as error:
            assert "finished with status" in str(error)  # noqa: PT017 - anything else is a fault of kfp's
            return False, root
        return True, root

    return run


def test_a_refused_gate_fails_the_run_behind_its_report(ran: Any, tmp_path: Path) -> None:
    succeeded, root = ran(plan("smoke", overrides=SMALL), store=str(tmp_path / "store"))
    assert not succeeded
    store = open_store(str(tmp_path / "store"))
    pointers = store.pointers("local")
    nodes = {"prepare", "debate-0", "debate-1", "debate", "filter", "evaluate", "gate", "register"}
    assert set(pointers) == nodes | {"run"}
    assert pointers["run"]["state"] == "FAILED"
    assert pointers["run"]["gate"]["promote"] is False
    shares = [pointers[f"debate-{number}"]["key"] for number in (0, 1)]
    assert [pointers["debate"]["parents"].get(f"share-{number}") for number in (0, 1)] == shares
    (page,) = root.rglob("evaluate/page")
    assert "<html" in page.read_text()
    (told,) = root.rglob("evaluate/executor_output.json")
    metrics = json.loads(told.read_text())["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert set(metrics) >= {"accuracy_base", "accuracy_debate"}


def test_a_stage_that_fails_fails_the_run_and_the_run_is_closed(
    ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(placement.PATIENCE, "filter", Patience(retries=0, hours=1))
    store = tmp_path / "store"
    store.mkdir()
    (store / "filter").write_text("in the way of a folder")
    succeeded, root = ran(plan("smoke", overrides=SMALL), store=str(store))
    assert not succeeded
    pointers = open_store(str(store)).pointers("local")
    assert pointers["run"]["state"] == "FAILED"
    assert {"prepare", "debate"} <= set(pointers), "what was done stays done"
    assert not {"filter", "evaluate", "gate"} & set(pointers)
    assert not list(root.rglob("enforce"))
