"""What pods tell: tables of statuses as Kubernetes writes them."""

from __future__ import annotations

from typing import Any

import pytest

from arkloom.cluster.pods import complete, ended, failed, newest, pending, started, warning


def pod(phase: str = "Pending", **status: Any) -> dict[str, Any]:
    about = {"name": "debate-1", "creationTimestamp": "2026-11-21T20:00:00Z"}
    return {"metadata": about, "status": {"phase": phase, **status}}


def main(**state: Any) -> dict[str, Any]:
    aside = {"name": "aside", "state": {"running": {}}}
    return {"containerStatuses": [aside, {"name": "main", "state": state}]}


ENDS = [
    (pod("Running", **main(running={})), None),
    (pod("Running"), None),
    (pod("Succeeded", **main(terminated={"exitCode": 0, "reason": "Completed"})), "ended with exit code 0"),
    (pod("Failed", **main(terminated={"exitCode": 75, "reason": "Error"})), "ended with exit code 75"),
    (pod("Failed", **main(terminated={"exitCode": 137, "reason": "Error"})), "was killed by signal 9"),
    (
        pod("Failed", **main(terminated={"exitCode": 137, "reason": "OOMKilled"})),
        "ran out of memory (OOMKilled); its PodTemplate sets the limit",
    ),
    (
        pod("Failed", **main(terminated={"exitCode": 128, "reason": "StartError"})),
        "ended with exit code 128 (StartError)",
    ),
    (pod("Failed", reason="Evicted", message="low on disk"), "ended with exit code 1 (Evicted)"),
]


@pytest.mark.parametrize(("given", "told"), ENDS, ids=lambda value: value if isinstance(value, str) else "")
def test_how_a_pod_ended(given: dict[str, Any], told: str | None) -> None:
    found = ended(given)
    assert (found.told() if found else None) == told
    assert found is None or found.by_itself == (told in {"ended with exit code 0", "ended with exit code 75"})


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, "name": "main"}


SCHEDULED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes:\n  taint",
}
WAITS = [
    ({}, None, ("NoPod", False)),
    ({"suspend": True}, None, ("Suspended", False)),
    ({}, pod(), ("Starting", False)),
    ({}, pod(conditions=[SCHEDULED]), ("Unschedulable", False)),
    ({}, pod(containerStatuses=[waiting("ContainerCreating")]), ("Starting", False)),
    ({}, pod(containerStatuses=[waiting("ImagePullBackOff", "no such image")]), ("ImagePullBackOff", True)),
    (
        {},
        pod(containerStatuses=[waiting("CreateContainerConfigError")]),
        ("CreateContainerConfigError", True),
    ),
    ({}, pod(initContainerStatuses=[waiting("ErrImagePull")]), ("ErrImagePull", True)),
    ({}, pod("Running", **main(running={})), None),
    ({}, pod("Failed", **main(terminated={"exitCode": 1})), None),
]


@pytest.mark.parametrize(("spec", "last", "told"), WAITS)
def test_what_a_job_waits_for(
    spec: dict[str, Any], last: dict[str, Any] | None, told: tuple[str, bool] | None
) -> None:
    found = pending({"spec": spec}, last)
    assert (None if found is None else (found.reason, found.stuck)) == told
    assert found is None or "\n" not in found.what
    assert not found or not found.stuck or found.mend or found.reason == "RunContainerError"


def test_a_log_is_there_once_the_container_runs() -> None:
    assert not started(pod(containerStatuses=[waiting("ContainerCreating")]))
    assert started(pod("Running", **main(running={})))
    assert started(pod("Failed", **main(terminated={"exitCode": 1})))


def test_only_a_condition_that_holds_ends_a_job() -> None:
    def job(kind: str, status: str) -> dict[str, Any]:
        told = {"type": kind, "status": status, "reason": "BackoffLimitExceeded", "message": "too often"}
        return {"status": {"conditions": [told]}}

    assert failed(job("Failed", "True")) == "BackoffLimitExceeded: too often"
    assert complete(job("Complete", "True"))
    for begun in (
        job("Failed", "False"),
        job("FailureTarget", "True"),
        job("SuccessCriteriaMet", "True"),
        {},
    ):
        assert failed(begun) is None
        assert not complete(begun)


def test_the_newest_pod_and_the_last_warning() -> None:
    first, second = pod(), pod()
    second["metadata"] = {"name": "debate-2", "creationTimestamp": "2026-11-21T20:00:09Z"}
    assert newest([second, first]) is second
    assert newest([]) is None
    told = [
        {"type": "Warning", "reason": "FailedMount", "message": 'secret "arkloom-s3"\nnot found'},
        {"type": "Normal", "reason": "Pulled"},
    ]
    assert warning(told) == 'FailedMount: secret "arkloom-s3" not found'
    assert warning(told[1:]) == ""
