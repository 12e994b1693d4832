"""The compiled pipeline in real containers and on a real S3 server, by kfp's local runner; no cluster.

One run of the preset `smoke` to its report, then two on top of what it left: a gate that refuses and shall
fail the run, and a stage that fails. What the first made is found in the store, not made again.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("kfp", reason="needs the extra orchestrate")
pytest.importorskip("docker", reason="needs the package docker")

from local_kubeflow import LocalKubeflow, s3

from arkloom.chains.distill import distill
from arkloom.chains.shares import shared
from arkloom.images import image
from arkloom.store import Store, open_store
from arkloom_pipelines import placement
from arkloom_pipelines.distill import distill_pipeline
from arkloom_pipelines.plan import Plan, plan

__all__ = ["s3"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Task .* have no effect:UserWarning"),
    pytest.mark.timeout(1200),
]
REGISTRY = os.environ.get("ARKLOOM_TEST_IMAGES", "ghcr.io/arkloom")
BASE = "localhost/base:bookworm"  # holds Python and nothing of ours
RUN = "kubeflow-run-{}"
# The gate of a chain this small may go either way; this one refuses for certain.
SETTINGS = ["gate.margin=1", "runtime.metrics_port=0", "runtime.threads=1"]
UI = {"summary": "## ", "page": "<"}


@pytest.fixture(scope="module")
def asked() -> Plan:
    return plan("smoke", overrides=SETTINGS)


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    """The images by parameter."""
    if not os.environ.get("DOCKER_HOST"):
        pytest.skip("no container daemon (set DOCKER_HOST)")
    found = {f"{name}_image": image(name, REGISTRY) for name in ("launcher", "serve", "train")}
    for full in found.values():
        if subprocess.run(["docker", "image", "inspect", full], capture_output=True, check=False).returncode:
            pytest.skip(f"{full} is not built (make images BASE={BASE})")
    return found


class Told:
    """A webhook that remembers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def webhook() -> Iterator[Told]:
    told = Told()
    yield told
    told.server.shutdown()
    told.server.server_close()


@pytest.fixture(scope="module")
def kubeflow(
    tmp_path_factory: pytest.TempPathFactory, s3: tuple[str, dict[str, str]], webhook: Told
) -> Iterator[LocalKubeflow]:
    root = tmp_path_factory.mktemp("kubeflow")
    root.chmod(0o777)  # Kubeflow's volumes belong to nobody; the containers are another user's
    environment = s3[1] | {"ARKLOOM_WEBHOOK_URL": f"http://127.0.0.1:{webhook.server.server_port}/hook"}
    started = LocalKubeflow(root, environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", print)  # kfp's threads may leave one that indents
        patch.setattr("kfp.local.docker_task_handler.run_docker_container", started.container)
        for name, value in s3[1].items():
            patch.setenv(name, value)
        yield started


def run(kubeflow: LocalKubeflow, asked: Plan, number: int, **arguments: Any) -> bool:
    kubeflow.started.clear()
    kubeflow.environment = {**kubeflow.environment, "ARKLOOM_RUN_ID": RUN.format(number)}
    given = {parameter.name: parameter.default for parameter in asked.parameters} | arguments
    return kubeflow.run(distill_pipeline(asked.config, asked.parameters), given)


@pytest.fixture(scope="module")
def smoke(
    kubeflow: LocalKubeflow, asked: Plan, images: dict[str, str], s3: tuple[str, dict[str, str]]
) -> tuple[bool, list[str]]:
    """The first run: whether it succeeded, and its steps as they ended."""
    succeeded = run(kubeflow, asked, 1, store=s3[0], enforce=False, **images)
    return succeeded, [each.step for each in kubeflow.started]


@pytest.fixture(scope="module")
def store(s3: tuple[str, dict[str, str]], kubeflow: LocalKubeflow) -> Store:
    return open_store(s3[0])


def report(store: Store, number: int) -> dict[str, Any]:
    uri = store.pointers(RUN.format(number))["evaluate"]["uri"]
    found: dict[str, Any] = json.loads(store.open(uri).file("report.json").read_text())
    return found


def test_the_chain_runs_to_its_report(
    smoke: tuple[bool, list[str]], kubeflow: LocalKubeflow, asked: Plan, store: Store
) -> None:
    succeeded, steps = smoke
    assert succeeded, [(each.step, each.log[-2000:]) for each in kubeflow.started if each.code]
    chain = shared(distill(asked.config), asked.config)
    assert steps[0] == "preflight"
    assert steps[-2:] == ["enforce", "notify"]
    pointers = store.pointers(RUN.format(1))
    assert {name for name in pointers if name != "run"} == {node.name for node in chain}
    found = report(store, 1)
    assert set(asked.config.evaluate.arms) <= set(found["arms"]) | set(found["absent"])
    document = pointers["run"]
    assert document["state"] == "SUCCEEDED"
    assert document["gate"]["promote"] is False
    assert document["accuracy"].keys() == found["arms"].keys()


def test_every_step_shows_itself_in_the_ui(
    smoke: tuple[bool, list[str]], kubeflow: LocalKubeflow, asked: Plan
) -> None:
    for node in distill(asked.config):
        told = kubeflow.told(node.name)
        assert told["artifact"]["stage"] == node.stage
        for name, start in UI.items():
            (*_, file) = kubeflow.output(node.name, name)
            assert file.read_text().lstrip().startswith(start), (node.name, name)
    assert kubeflow.told("evaluate")["metrics"]["accuracy_base"] >= 0
    assert "confidenceMetrics" in kubeflow.told("prm")["classification"]


def test_a_refusal_that_shall_fail_the_run_does_and_leaves_the_report(
    smoke: tuple[bool, list[str]],
    kubeflow: LocalKubeflow,
    asked: Plan,
    images: dict[str, str],
    s3: tuple[str, dict[str, str]],
    store: Store,
    webhook: Told,
) -> None:
    assert not run(kubeflow, asked, 2, store=s3[0], enforce=True, **images)
    again, first = (store.pointers(RUN.format(number)) for number in (2, 1))
    keys = [{node: made.get("key") for node, made in pointers.items()} for pointers in (again, first)]
    assert keys[0] == keys[1], "found, not made again"
    assert [each.step for each in kubeflow.started][-2:] == ["enforce", "notify"]
    assert kubeflow.of("enforce")[0].code == 3
    assert "refused: " in kubeflow.of("enforce")[0].log
    assert kubeflow.of("notify")[0].code == 0
    assert report(store, 2) == report(store, 1)
    assert store.pointers(RUN.format(2))["run"]["state"] == "FAILED"
    assert webhook.messages[-1]["state"] == "FAILED"
    assert "Gate: refused" in webhook.messages[-1]["text"]


def test_a_stage_that_fails_fails_the_run_and_the_end_is_told(
    smoke: tuple[bool, list[str]],
    kubeflow: LocalKubeflow,
    asked: Plan,
    images: dict[str, str],
    s3: tuple[str, dict[str, str]],
    store: Store,
    webhook: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for stage, patience in placement.PATIENCE.items():
        monkeypatch.setitem(placement.PATIENCE, stage, replace(patience, retries=0))
    wrong = images | {"train_image": BASE}
    assert not run(kubeflow, asked, 3, store=s3[0], enforce=False, **wrong)
    failed = [each for each in kubeflow.started if each.code]
    assert failed
    assert all("arkloom" in each.log for each in failed), "No module named 'arkloom'"
    assert kubeflow.started[-1].step == "notify"
    assert not {"evaluate", "gate", "enforce"} & {each.step for each in kubeflow.started}
    assert store.pointers(RUN.format(3))["run"]["state"] == "FAILED"
    assert webhook.messages[-1]["run"] == RUN.format(3)
