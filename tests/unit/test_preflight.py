"""Pre-flight: a line for what is in the way, exit 2, and the cost; the cluster asked as a launcher would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from arkloom import config as configs
from arkloom.chains.distill import distill
from arkloom.chains.graph import fingerprint
from arkloom.preflight import rights
from arkloom.preflight.process import main

ROLE = Path(__file__).parents[2] / "manifests" / "base" / "role.yaml"


def check(tmp_path: Path, *arguments: str) -> int:
    return main(["--preset", "smoke", "--store", str(tmp_path / "store"), *arguments])


def test_a_sound_configuration_is_ready_and_costed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path) == 0
    told = capsys.readouterr()
    lines = {line[5:27].strip(): line[:5].strip() for line in told.out.splitlines()}
    assert {"problems", "model (teacher)", "model (student)", "store"} <= lines.keys()
    assert "24 train, 8 validation, 24 test" in told.out
    assert "GPU-hours" in told.out
    assert told.err == ""
    assert not (tmp_path / "store").exists()


BLOCKED = [
    (["--set", "problems.source=jsonl", "--set", "problems.path=/nowhere"], "problems.path: /nowhere"),
    (["--set", "models.student.name=/nowhere"], "model (student): no model '/nowhere'"),
    (["--set", "models.teacher.name=/nowhere"], "model (teacher): no model '/nowhere'"),
    (["--store", "/proc/nowhere"], "store: /proc/nowhere"),
    (["--set", "engine=openai"], "endpoint (teacher, student): config runtime.endpoints: no endpoint"),
    (
        ["--set=engine=openai", "--set=runtime.endpoints=[http://127.0.0.1:9]"],
        "endpoint (teacher, student): http://127.0.0.1:9/v1: no connection",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "line"), BLOCKED)
def test_what_is_in_the_way_is_a_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, *arguments) == 2
    told = capsys.readouterr().err
    assert f"arkloom preflight: {line}" in told
    assert "Traceback" not in told


def test_a_served_teacher_need_not_be_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served = ["engine=openai", "models.teacher={name: far, revision: r}"]
    assert check(tmp_path, *(word for text in served for word in ("--set", text))) == 2
    lines = capsys.readouterr().err.splitlines()
    named = [line.partition("preflight: ")[2].partition(":")[0] for line in lines]
    assert named == ["endpoint (teacher)", "endpoint (student)"]


def test_as_a_task_it_leaves_its_findings_for_the_ui(tmp_path: Path) -> None:
    outputs = {
        name: {"artifacts": [{"name": name, "uri": str(tmp_path / name)}]} for name in ("summary", "page")
    }
    given = {
        "inputs": {"parameterValues": {"config": "extends: smoke", "store": str(tmp_path / "store")}},
        "outputs": {"artifacts": outputs, "outputFile": str(tmp_path / "told.json")},
    }
    assert main(["--executor-input", json.dumps(given), "--node", "preflight"]) == 0
    assert "| store | ok: " in (tmp_path / "summary").read_text()
    assert "wrote, renamed, read and deleted" in (tmp_path / "page").read_text()
    assert set(json.loads((tmp_path / "told.json").read_text())["artifacts"]) == {"summary", "page"}


def test_a_task_refuses_a_configuration_of_another_chain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipeline's arms are compiled in, and its form lets anyone edit the configuration."""
    config = configs.load("smoke")
    parameters = {"store": str(tmp_path / "store"), "chain": fingerprint(distill(config))}
    for text, code in (("extends: smoke", 0), ("extends: smoke\nevaluate: {arms: [base, rsft]}", 2)):
        given = {"inputs": {"parameterValues": {**parameters, "config": text}}}
        assert main(["--executor-input", json.dumps(given)]) == code
    assert "chain: arms, source of labels or shares are not those" in capsys.readouterr().err


class Api:
    """An API server that answers what it was told to, and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.denied: set[str] = set()
        self.reviewed: list[dict[str, str]] = []
        handler = type("Handler", (_Handler,), {"api": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.kubeconfig = folder / "kubeconfig"
        address = f"http://127.0.0.1:{self.server.server_port}"
        context = {"cluster": "c", "user": "u", "namespace": "work"}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "k",
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "k", "context": context}],
        }  # fmt: skip
        self.kubeconfig.write_text(yaml.safe_dump(document))

    def template(self, environment: str, limits: dict[str, str], labels: dict[str, str]) -> None:
        self.answers[f"/api/v1/namespaces/work/podtemplates/arkloom-{environment}"] = (
            200,
            {
                "metadata": {"name": f"arkloom-{environment}", "labels": labels},
                "template": {"spec": {"containers": [{"name": "main", "resources": {"limits": limits}}]}},
            },
        )

    def ready(self) -> None:
        """Everything a run needs, with two GPUs on one node and a queue."""
        for environment in rights.ENVIRONMENTS:
            gpus = {} if environment == "launcher" else {"nvidia.com/gpu": "2"}
            self.template(environment, {"cpu": "2"} | gpus, {"kueue.x-k8s.io/queue-name": "arkloom"})
        secret = {"data": {"access-key": "YQ==", "secret-key": "Yg=="}}
        nodes = [{"status": {"allocatable": {"nvidia.com/gpu": "2"}}}, {"status": {"allocatable": {}}}]
        self.answers |= {
            "/api/v1/namespaces/work/secrets/arkloom-s3": (200, secret),
            "/api/v1/nodes": (200, {"items": nodes}),
            "/apis": (200, {"groups": [{"name": "kueue.x-k8s.io"}]}),
        }


class _Handler(BaseHTTPRequestHandler):
    api: Api

    def do_GET(self) -> None:
        self._say(*self.api.answers.get(self.path, (404, {"message": f"{self.path} not found"})))

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["spec"]["resourceAttributes"]
        self.api.reviewed.append(asked)
        self._say(201, {"status": {"allowed": asked["verb"] not in self.api.denied}})

    def _say(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    pytest.importorskip("kubernetes", reason="needs the extra orchestrate")
    api = Api(tmp_path)
    api.ready()
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    threading.Thread(target=api.server.serve_forever, daemon=True).start()
    yield api
    api.server.shutdown()
    api.server.server_close()


def test_a_cluster_that_has_all_is_ready(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, "--jobs") == 0
    told = capsys.readouterr().out
    for line in ("ok   rights", "ok   secret arkloom-s3", "ok   kueue", "2 asked for, 2 on 1 of 2 nodes"):
        assert line in told
    assert {review["namespace"] for review in api.reviewed} == {"work"}


LACKING = [
    ({"nodes": (200, {"items": []})}, (), "nvidia.com/gpu: 2 asked for, 0 on 0 of 0 nodes"),
    ({"secrets/arkloom-s3": (404, {})}, (), "secret arkloom-s3: not in work"),
    ({"secrets/arkloom-s3": (200, {"data": {"access-key": "YQ=="}})}, (), "secret arkloom-s3: lacks sec"),
    ({"podtemplates/arkloom-serve": (404, {})}, (), "template arkloom-serve: no such PodTemplate"),
    ({"apis": (200, {"groups": []})}, (), "kueue: PodTemplates name a queue"),
    ({}, ("create", "watch"), "rights: may not create jobs, watch jobs in work"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "denied", "line"), LACKING)
def test_what_a_cluster_lacks_is_a_line_and_exit_code_2(
    api: Api,
    tmp_path: Path,
    answers: dict[str, tuple[int, dict[str, Any]]],
    denied: tuple[str, ...],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for end, answer in answers.items():
        (path,) = [path for path in api.answers if path.endswith(f"/{end}")]
        api.answers[path] = answer
    api.denied = set(denied)
    assert check(tmp_path, "--jobs") == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"arkloom preflight: {line}")


@pytest.mark.parametrize("end", ["nodes", "secrets/arkloom-s3"])
def test_what_may_not_be_looked_at_is_a_warning(
    api: Api, tmp_path: Path, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = [path for path in api.answers if path.endswith(f"/{end}")]
    api.answers[path] = 403, {"message": "forbidden"}
    assert check(tmp_path, "--jobs") == 0
    assert "nobody" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("warn"))


def test_no_cluster_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert check(tmp_path, "--jobs") == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("arkloom preflight: cluster: ")


def test_what_is_needed_is_what_the_role_allows() -> None:
    role = next(each for each in yaml.safe_load_all(ROLE.read_text()) if each["kind"] == "Role")
    allowed = {
        (verb, resource, group, name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
        for name in rule.get("resourceNames", [""])
    }
    assert {(each.verb, each.resource, each.group, each.name) for each in rights.NEEDED} <= allowed
