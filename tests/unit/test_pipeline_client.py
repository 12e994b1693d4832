"""Runs on a Kubeflow API: submitted as compiled, looked at, cancelled; and one line for whatever goes wrong.

No Kubeflow runs here: a server that speaks the few requests of its API stands for it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("kfp", reason="needs the extra orchestrate")

from fake_cluster import FakeCluster, Pod

from arkloom.cli import main
from arkloom_pipelines.compiling import compiled
from arkloom_pipelines.plan import plan
from compiled_pipelines import documents

API = "/apis/v2beta1"
SMALL = ["--preset", "smoke", "--set", "evaluate.arms=[base, debate]"]
RUN = "5d1f7f4e-0000-4000-8000-000000000001"


class FakeKubeflow:
    """The requests that the client makes, answered from memory."""

    def __init__(self) -> None:
        self.experiments: list[dict[str, Any]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.ended: list[str] = []
        self.tokens: list[str | None] = []
        self.refusal = 0
        self.states = ["RUNNING"]
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.host = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        if path == f"{API}/healthz":
            return {"multi_user": False}
        if path == f"{API}/experiments" and method == "GET":
            wanted = json.loads(query["filter"][0])["predicates"][0].get("stringValue", "")
            return {"experiments": [each for each in self.experiments if each["display_name"] == wanted]}
        if path == f"{API}/experiments":
            self.experiments.append(body | {"experiment_id": f"e{len(self.experiments)}"})
            return self.experiments[-1]
        if path == f"{API}/runs":
            self.runs[RUN] = body | {"run_id": RUN}
            return self.runs[RUN]
        run, _, verb = path.removeprefix(f"{API}/runs/").partition(":")
        if run not in self.runs:
            return None
        if verb == "terminate":
            self.ended.append(run)
            return {}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return self.runs[run] | {"state": state, "run_details": {"task_details": _tasks(state)}}


def _tasks(state: str) -> list[dict[str, Any]]:
    start, end = "2026-01-01T10:00:00Z", "2026-01-01T10:01:30Z"
    ended = {"create_time": start, "start_time": start, "end_time": end}
    last = {"display_name": "debate", "create_time": start, "start_time": start, "state": state}
    last |= {"end_time": end, "error": {"message": "exit code\n 2"}} if state == "FAILED" else {}
    return [
        {"display_name": "prepare-driver", "state": "SUCCEEDED", **ended},
        {"display_name": "prepare", "state": "SUCCEEDED", **ended},
        last,
    ]


class _Handler(BaseHTTPRequestHandler):
    api: FakeKubeflow

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        self.api.tokens.append(self.headers.get("authorization"))
        found = None if self.api.refusal else self.api.answer(
            self.command, parts.path, parse_qs(parts.query), body
        )  # fmt: skip
        status = self.api.refusal or (404 if found is None else 200)
        content = json.dumps(found if found is not None else {"error": "a long\nstory"}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kubeflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeKubeflow]:
    api = FakeKubeflow()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", api.host)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("ARKLOOM_KFP_TOKEN", "KF_PIPELINES_SA_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield api
    api.close()


def submitted(kubeflow: FakeKubeflow, *arguments: str) -> dict[str, Any]:
    assert main(["pipeline", "submit", *SMALL, *arguments]) == 0
    return kubeflow.runs[RUN]


def test_a_run_is_what_was_compiled(kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]) -> None:
    run = submitted(kubeflow, "--run-name", "mine", "--service-account", "arkloom-runner")
    assert capsys.readouterr().out == f"{RUN}\n", "alone on standard output, for scripts"
    assert (run["display_name"], run["service_account"]) == ("mine", "arkloom-runner")
    pipeline, platform = documents(compiled(plan("smoke", overrides=[SMALL[-1]])))
    sent = run["pipeline_spec"]
    assert sent["platform_spec"] == platform
    assert sent["pipeline_spec"]["root"] == pipeline["root"]
    assert set(sent["pipeline_spec"]["components"]) == set(pipeline["components"])
    assert [each["display_name"] for each in kubeflow.experiments] == ["arkloom"]


def test_parameters_travel_as_defaults_of_what_is_compiled(kubeflow: FakeKubeflow) -> None:
    run = submitted(kubeflow, "--parameter", "serve_gpus=2", "--set", "debate.rounds=1")
    given = run["pipeline_spec"]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    assert given["serve_gpus"]["defaultValue"] == "2"
    assert "rounds: 1" in given["config"]["defaultValue"]


def test_an_experiment_is_made_once(kubeflow: FakeKubeflow) -> None:
    submitted(kubeflow)
    submitted(kubeflow)
    assert len(kubeflow.experiments) == 1


@pytest.mark.parametrize("cached", [True, False])
def test_no_cache_holds_for_every_step_and_the_default_leaves_each_as_compiled(
    cached: bool, kubeflow: FakeKubeflow
) -> None:
    run = submitted(kubeflow, *([] if cached else ["--no-cache"]))
    components = run["pipeline_spec"]["pipeline_spec"]["components"]
    found = {
        name: task.get("cachingOptions", {}).get("enableCache", False)
        for component in components.values()
        for name, task in component.get("dag", {}).get("tasks", {}).items()
    }
    assert found["evaluate"] is cached
    assert found["preflight"] is False


def test_waiting_ends_with_the_run_and_says_whether_it_went_well(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("arkloom_pipelines.client.time.sleep", lambda _: None)
    kubeflow.states = ["PENDING", "RUNNING", "SUCCEEDED"]
    submitted(kubeflow, "--wait")
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines() if "debate" in line] == [
        "pending", "running", "succeeded",
    ]  # fmt: skip
    kubeflow.states = ["RUNNING", "FAILED"]
    assert main(["pipeline", "submit", *SMALL, "--wait"]) == 1
    assert "failed     debate exit code 2" in capsys.readouterr().err


def test_the_status_shows_steps_and_no_drivers(
    kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(kubeflow, "--run-name", "mine")
    capsys.readouterr()
    assert main(["pipeline", "status", RUN]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "mine: running"
    assert lines[2].split() == ["prepare", "succeeded", "90"]
    assert lines[3].split()[:2] == ["debate", "running"]
    assert len(lines) == 4
    assert main(["pipeline", "status", RUN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in found["steps"]] == ["prepare", "debate"]


def test_a_run_is_cancelled(kubeflow: FakeKubeflow) -> None:
    submitted(kubeflow)
    assert main(["pipeline", "cancel", RUN]) == 0
    assert kubeflow.ended == [RUN]


def test_the_token_is_a_secret_that_goes_along(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken\n")
    monkeypatch.setenv("ARKLOOM_KFP_TOKEN_FILE", str(file))
    submitted(kubeflow)
    assert set(kubeflow.tokens) == {"Bearer t0ken"}


REFUSALS = [(401, 2, "not signed in"), (403, 2, "not allowed"), (500, 1, "a long story")]


@pytest.mark.parametrize(("status", "code", "told"), REFUSALS)
def test_a_refusal_is_one_line(
    status: int, code: int, told: str, kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(kubeflow)
    capsys.readouterr()
    kubeflow.refusal = status
    assert main(["pipeline", "cancel", RUN, "--namespace", "team"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert kubeflow.host in line


def test_a_run_that_is_not_there(kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", "status", "other"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run other: not there" in line


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    command = ["pipeline", "status", RUN, "--host", "http://127.0.0.1:9", "--namespace", "team"]
    assert main(command) == 1
    assert "Kubeflow http://127.0.0.1:9: cannot be reached" in capsys.readouterr().err.splitlines()[-1]


def test_no_address_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["pipeline", "status", RUN]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no address. Give --host http://..., or set KF_PIPELINES_ENDPOINT" in line


def test_logs_are_those_of_the_runs_pods(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeCluster(lambda _: 0) as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path)))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for number, (node, run) in enumerate([("prepare", RUN), ("debate", RUN), ("debate", "another")]):
            labels = {"arkloom.dev/node": node, "pipeline/runid": run}
            about = {
                "name": f"p{number}",
                "labels": labels,
                "creationTimestamp": f"2026-01-01T00:00:0{number}Z",
            }
            pod = Pod(cluster, {"metadata": about, "spec": {"containers": [{"name": "main"}]}}, 1)
            pod.say(f"{node} of {run}")
            cluster.pods[about["name"]] = pod
        assert main(["pipeline", "logs", RUN, "--namespace", "work"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"prepare | prepare of {RUN}", f"debate | debate of {RUN}",
        ]  # fmt: skip
        assert main(["pipeline", "logs", RUN, "--namespace", "work", "--node", "debate"]) == 0
        assert capsys.readouterr().out == f"debate of {RUN}\n"
        assert main(["pipeline", "logs", "none", "--namespace", "work"]) == 2
        assert "run none in work: no pods" in capsys.readouterr().err


def test_compile_writes_a_file_or_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a" / "pipeline.yaml"
    assert main(["pipeline", "compile", *SMALL, "--out", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_text() == compiled(plan("smoke", overrides=[SMALL[-1]]))
    assert main(["pipeline", "compile", *SMALL, "--kubernetes", "--version", "1.2-abc"]) == 0
    kinds = [each["kind"] for each in documents(capsys.readouterr().out)]
    assert kinds == ["Pipeline", "PipelineVersion"]
    (tmp_path / "file").write_text("")
    assert main(["pipeline", "compile", *SMALL, "--out", str(tmp_path / "file" / "x")]) == 2
    assert "cannot write" in capsys.readouterr().err
