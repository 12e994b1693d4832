"""The Job of a node: its name, its labels, and its manifest, made from a PodTemplate of the cluster.

How a pod looks (image, resources, devices, tolerations, security, volumes) is the PodTemplate's business;
the runner adds what to do and whose work it is.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arkloom.canonical import digest
from arkloom.chains.graph import Node, fingerprint
from arkloom.cluster.api import Object
from arkloom.errors import EXIT_BAD_INPUT, BadInputError

CONTAINER = "main"
RUN_LABEL, NODE_LABEL, STAGE_LABEL = "arkloom.dev/run", "arkloom.dev/node", "arkloom.dev/stage"
STORE_LABEL = "arkloom.dev/store"
_COMMON = {"app.kubernetes.io/name": "arkloom", "app.kubernetes.io/part-of": "arkloom"}
# A stage goes on where it stood, but hours of a GPU may lie between its checkpoints: not for a tidier node.
_DO_NOT_DISRUPT = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_MOST_NAME = 52  # of 63: pods add a dash and five characters, and some tools more
_DIGEST = 10
_MILLI = 1_000


@dataclass(frozen=True)
class Policy:
    """What holds for every Job of a run.

    Attributes:
        retries: Pods that may fail before their Job does (``backoffLimit``); bad input is never tried again.
        keep_seconds: How long an ended Job, its pods and their logs stay.
    """

    retries: int = 3
    keep_seconds: int = 86_400


def job_name(root: str, run: str, node: Node) -> str:
    """A DNS label, the same for the same node of the same run of a store: who creates it twice finds it.

    A node is what it reads and how it is set, too: a run's id says nothing of the number of shards.
    """
    tail = digest([root, run, fingerprint([node])])[:_DIGEST]
    head = re.sub(r"[^a-z0-9-]+", "-", f"arkloom-{node.name}".lower())[: _MOST_NAME - _DIGEST - 1]
    return f"{head.strip('-')}-{tail}"


def run_label(run: str) -> str:
    """A run's id as a label's value: itself where it can be, else its beginning and its digest."""
    if _LABEL.fullmatch(run):
        return run
    head = re.sub(r"[^A-Za-z0-9._-]+", "-", run)[: _MOST_NAME - _DIGEST - 1].strip("-._")
    return f"{head}-{digest(run)[:_DIGEST]}".strip("-")


def store_label(root: str) -> str:
    """A store as a label's value: runs of one name in two stores are two runs."""
    return digest(root)[:_DIGEST]


def selector(root: str, run: str) -> str:
    """Selects all that belongs to the stages of a store's run."""
    return f"{STORE_LABEL}={store_label(root)},{RUN_LABEL}={run_label(run)},{NODE_LABEL}"


def cores(template: Object) -> int:
    """Threads that a stage should use: the CPU limit, rounded up; 0 where none is set.

    Decided by the template, never by the machine that a pod comes to: a resumed stage adds up its numbers
    in the same order.
    """
    limit = str(((_main(template).get("resources") or {}).get("limits") or {}).get("cpu", "0"))
    try:
        return math.ceil(int(limit[:-1]) / _MILLI) if limit.endswith("m") else math.ceil(float(limit))
    except ValueError:
        return 0


def job(
    template: Object,
    node: Node,
    root: str,
    run: str,
    arguments: Sequence[str],
    policy: Policy,
    owner: Object | None = None,
) -> Object:
    """The manifest of a node's Job.

    Args:
        template: PodTemplate of the stage's environment; it is not changed.
        node: Whose work it is.
        root: Of the store.
        run: Id of the run.
        arguments: Of ``python3 -m arkloom.<stage>``.
        policy: See there.
        owner: The launcher's own Job: with it, the nodes' Jobs are deleted.

    Raises:
        BadInputError: The template has no container ``main``.
    """
    labels = {
        **_COMMON,
        STORE_LABEL: store_label(root),
        RUN_LABEL: run_label(run),
        NODE_LABEL: node.name,
        STAGE_LABEL: node.stage,
    }
    about: dict[str, Any] = {
        "name": job_name(root, run, node),
        # A queue (Kueue) is asked for by a label of the PodTemplate itself.
        "labels": {**(template["metadata"].get("labels") or {}), **labels},
        "annotations": {RUN_LABEL: run},
    }
    if owner is not None:
        about["ownerReferences"] = [_reference(owner)]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": about,
        "spec": {
            "backoffLimit": policy.retries,
            "ttlSecondsAfterFinished": policy.keep_seconds,
            # Kubernetes before 1.26 does not know it and drops it: then the runner deletes the Job itself.
            "podFailurePolicy": _FAILURES,
            "template": _pod(template, node, labels, arguments),
        },
    }


_FAILURES = {
    "rules": [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_BAD_INPUT]},
        },
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
}


def _pod(template: Object, node: Node, labels: Mapping[str, str], arguments: Sequence[str]) -> dict[str, Any]:
    pod: dict[str, Any] = copy.deepcopy(template["template"])
    about = pod.get("metadata") or {}
    pod["metadata"] = {
        "labels": {**(about.get("labels") or {}), **labels},
        "annotations": {**_DO_NOT_DISRUPT, **(about.get("annotations") or {})},
    }
    pod["spec"]["restartPolicy"] = "Never"  # each try is a pod of its own, whose log and exit code stay
    main = _main({**template, "template": pod})
    main["command"] = ["python3", "-m", f"arkloom.{node.stage}"]
    main["args"] = list(arguments)
    named = {entry["name"] for entry in main.setdefault("env", [])}
    if "ARKLOOM_IMAGE" not in named:
        main["env"].append({"name": "ARKLOOM_IMAGE", "value": main.get("image", "")})
    return pod


def _main(template: Object) -> dict[str, Any]:
    containers = ((template.get("template") or {}).get("spec") or {}).get("containers") or []
    for container in containers:
        if container.get("name") == CONTAINER:
            found: dict[str, Any] = container
            return found
    name = template.get("metadata", {}).get("name", "")
    raise BadInputError(f"no container is named {CONTAINER!r}", where=f"PodTemplate {name}")


def _reference(owner: Object) -> dict[str, Any]:
    about = owner["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": about["name"],
        "uid": about["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }
