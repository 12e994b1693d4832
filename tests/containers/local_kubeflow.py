"""Kubeflow on one machine: kfp's own local runner, each step in a container of the daemon at DOCKER_HOST.

Replaced is only how kfp starts a container and waits for it (it removes a container before its exit code is
read, and does not put parameters into images). What is started, with which inputs, in which order, and what
its outputs are, stays kfp's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from minio import Minio

_CHANNEL = re.compile(r"\{\{\$\.inputs\.parameters\['pipelinechannel--(\w+)'\]\}\}")
_EXECUTOR_INPUT = ("--executor-input", "--executor_input")
UID = "10001:0"


@dataclass
class Started:
    """One container that ran: the step, its image, its exit code, its log."""

    step: str
    image: str
    code: int
    log: str


@dataclass
class LocalKubeflow:
    """Runs compiled pipelines in containers.

    Attributes:
        root: Kubeflow's own folder of artifacts.
        environment: What a pod gets from secrets and from its own labels.
        started: Containers so far, as they ended.
    """

    root: Path
    environment: Mapping[str, str]
    started: list[Started] = field(default_factory=list)

    def run(self, pipeline: Any, arguments: Mapping[str, Any]) -> bool:
        """Run a pipeline to its end; whether it succeeded."""
        from kfp import local

        runner = local.DockerRunner(
            network_mode="host",
            environment=dict(self.environment),
            user=UID,
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            shm_size="1g",
            tmpfs={"/tmp": "exec,mode=1777", "/var/cache/arkloom": "exec,mode=1777"},
        )
        local.init(runner, str(self.root), raise_on_error=True)
        try:
            pipeline(**arguments)
        except RuntimeError as error:
            if "finished with status" not in str(error):
                raise
            return False
        return True

    def container(self, client: Any, image: str, command: list[str], volumes: Any, **options: Any) -> int:
        """Start a container, wait for it, keep its log: in the place of kfp's ``run_docker_container``."""
        given = _executor_input(command)
        image = _CHANNEL.sub(lambda found: str(given[f"pipelinechannel--{found[1]}"]), image)
        made = client.containers.create(image, command, volumes=volumes, **options)
        try:
            made.start()
            code = int(made.wait()["StatusCode"])
            log = made.logs().decode(errors="replace")
        finally:
            made.remove(force=True)
        self.started.append(Started(_step(command), image, code, log))
        print(log)
        return code

    def of(self, step: str) -> list[Started]:
        """The containers of a step."""
        return [each for each in self.started if each.step == step]

    def output(self, task: str, name: str) -> list[Path]:
        """The files of an output, one a time that the task ran."""
        return sorted(self.root.rglob(f"{task}/{name}"), key=lambda path: path.stat().st_mtime)

    def told(self, task: str) -> dict[str, Any]:
        """What the last run of a task told Kubeflow of its outputs: name -> metadata."""
        (*_, file) = self.output(task, "executor_output.json")
        artifacts = json.loads(file.read_text())["artifacts"]
        return {name: group["artifacts"][0]["metadata"] for name, group in artifacts.items()}


def _executor_input(command: list[str]) -> dict[str, Any]:
    text = next(after for name, after in pairwise(command) if name in _EXECUTOR_INPUT)
    values: dict[str, Any] = json.loads(text)["inputs"].get("parameterValues", {})
    return values


def _step(command: list[str]) -> str:
    if "--node" in command:
        return command[command.index("--node") + 1] if "arkloom.preflight" not in command else "preflight"
    return command[command.index("--function_to_execute") + 1]


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, dict[str, str]]]:
    """The root of a store in a bucket that is emptied afterwards, and the environment to reach it."""
    names = [f"ARKLOOM_TEST_S3_{name}" for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")]
    endpoint, access, secret = (os.environ.get(name, "") for name in names)
    if not (endpoint and access and secret):
        pytest.skip(f"no S3 server (set {', '.join(names)})")
    host = endpoint.partition("://")[2]
    client = Minio(host, access, secret, secure=endpoint.startswith("https"))
    bucket = f"arkloom-kubeflow-{os.getpid()}"
    client.make_bucket(bucket)
    keys = {"ARKLOOM_S3_ACCESS_KEY": access, "ARKLOOM_S3_SECRET_KEY": secret, "ARKLOOM_S3_ENDPOINT": endpoint}
    yield f"s3://{bucket}/store", keys
    for found in client.list_objects(bucket, recursive=True):
        client.remove_object(bucket, str(found.object_name))
    client.remove_bucket(bucket)
