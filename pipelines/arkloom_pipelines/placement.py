"""Where and how patiently a step runs: image, devices, memory, secrets, volumes, retries and time.

What differs between clusters comes from the pipeline's parameters. What kfp takes only while it compiles
(retries, time, sizes of volumes, labels) stands in the tables below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp import dsl, kubernetes

from arkloom.chains.environments import ENVIRONMENT
from arkloom.images import Environment
from arkloom.stage import RUN_ID
from arkloom.store.credentials import ACCESS, SECRET
from arkloom_pipelines.closing import WEBHOOK
from arkloom_pipelines.parameters import MODELS_PVC

Given = Mapping[str, Any]
"""The pipeline's parameters by name: channels of kfp, whose values a run brings."""

MODELS = "/models"
CACHE = "/var/cache/arkloom"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - what processes share, not a place for files
_HOUR = 3600
_EVICTION = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


@dataclass(frozen=True)
class Patience:
    """How often a step is tried again and how long one try may take.

    Attributes:
        retries: Tries after the first; a stage goes on where the last one stood.
        hours: Time of one try, pulling the image and waiting for a node included.
        wait: Seconds before the second try; each further one waits twice as long, ten minutes at most.
    """

    retries: int
    hours: float
    wait: int = 60


@dataclass(frozen=True)
class Room:
    """The volumes of an environment: scratch on the node's disk, and memory shared between processes."""

    cache: str
    shared_memory: str | None = None


PATIENCE: dict[str, Patience] = {
    "preflight": Patience(retries=0, hours=1),
    "prepare": Patience(retries=2, hours=2, wait=10),
    "debate": Patience(retries=5, hours=48),
    "filter": Patience(retries=2, hours=6, wait=10),
    "label": Patience(retries=3, hours=12),
    "sft": Patience(retries=5, hours=48),
    "prm": Patience(retries=5, hours=48),
    "grpo": Patience(retries=5, hours=72),
    "evaluate": Patience(retries=5, hours=24),
    "gate": Patience(retries=2, hours=1, wait=10),
    "register": Patience(retries=2, hours=1, wait=10),
    "enforce": Patience(retries=0, hours=1),
    "notify": Patience(retries=2, hours=1, wait=10),
}
"""By stage, and for the two steps that are none."""

ROOM: Mapping[Environment, Room] = {
    "launcher": Room(cache="8Gi"),
    "serve": Room(cache="200Gi", shared_memory="2Gi"),
    "train": Room(cache="200Gi", shared_memory="2Gi"),
}

WITH_MODELS = frozenset({"debate", "evaluate", "sft", "prm", "grpo"})
"""Stages whose models compute: they get the GPUs, and the nodes that have some."""


def place(
    task: dsl.PipelineTask, stage: str, node: str, given: Given, *, merges: bool = False
) -> dsl.PipelineTask:
    """Say where a task runs.

    Args:
        task: Of a stage, or of ``enforce`` or ``notify``.
        stage: Name of the stage or step.
        node: Name of the node in its chain.
        given: The pipeline's parameters.
        merges: The task only joins what others made: no model of the stage computes.
    """
    environment: Environment = ENVIRONMENT.get(stage, "launcher")
    task.set_container_image(given[f"{environment}_image"])
    # Kubeflow's cache knows a claim by its name, not what lies on it; the store knows contents.
    task.set_caching_options(stage in ENVIRONMENT and stage != "preflight" and MODELS_PVC not in given)
    _be_patient(task, PATIENCE[stage])
    _label(task, stage, node)
    _isolate(task, ROOM[environment])
    kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
    kubernetes.use_secret_as_env(
        task, given["s3_secret"], {"access-key": ACCESS, "secret-key": SECRET}, optional=True
    )
    if stage == "notify":
        kubernetes.use_secret_as_env(task, given["webhook_secret"], {"url": WEBHOOK}, optional=True)
    if environment == "launcher":
        task.set_cpu_request("250m").set_cpu_limit("2").set_memory_request("1Gi").set_memory_limit("4Gi")
    else:
        _equip(task, environment, given)
        if stage in WITH_MODELS and not merges:
            _accelerate(task, environment, given)
    if MODELS_PVC in given and stage in ENVIRONMENT:
        kubernetes.mount_pvc(task, given[MODELS_PVC], MODELS)
    return task


def _be_patient(task: dsl.PipelineTask, patience: Patience) -> None:
    kubernetes.set_timeout(task, int(patience.hours * _HOUR))
    if patience.retries:
        task.set_retry(
            patience.retries,
            backoff_duration=f"{patience.wait}s",
            backoff_factor=2.0,
            backoff_max_duration="600s",
        )


def _label(task: dsl.PipelineTask, stage: str, node: str) -> None:
    labels = {
        "app.kubernetes.io/name": "arkloom",
        "app.kubernetes.io/part-of": "arkloom",
        "arkloom.dev/stage": stage,
        "arkloom.dev/node": node,
    }
    for name, value in labels.items():
        kubernetes.add_pod_label(task, name, value)
    for name, value in _EVICTION.items():
        kubernetes.add_pod_annotation(task, name, value)


def _isolate(task: dsl.PipelineTask, room: Room) -> None:
    """The user is the image's, or the one that a cluster such as OpenShift assigns: anyone but root."""
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.empty_dir_mount(task, "cache", CACHE, size_limit=room.cache)
    if room.shared_memory:
        kubernetes.empty_dir_mount(
            task, "shared-memory", SHARED_MEMORY, medium="Memory", size_limit=room.shared_memory
        )


def _equip(task: dsl.PipelineTask, environment: Environment, given: Given) -> None:
    cpu, memory = given[f"{environment}_cpu"], given[f"{environment}_memory"]
    task.set_cpu_request(cpu).set_cpu_limit(cpu).set_memory_request(memory).set_memory_limit(memory)
    _hand_in(task, cpu, memory)


def _accelerate(task: dsl.PipelineTask, environment: Environment, given: Given) -> None:
    kind, count = given["gpu_type"], given[f"{environment}_gpus"]
    task.set_accelerator_type(kind).set_accelerator_limit(count)
    _hand_in(task, kind, count)
    kubernetes.add_node_selector_json(task, given["node_selector"])
    kubernetes.add_toleration_json(task, given["tolerations"])


def _hand_in(task: dsl.PipelineTask, *channels: Any) -> None:
    """Have parameters of resources reach the task: kfp 2.17 names them there, and hands them into no group.

    A task inside an exit handler or a loop would look for what its group was never given.
    """
    task.register_pipeline_channels(list(channels))
