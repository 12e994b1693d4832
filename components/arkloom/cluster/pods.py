"""What Jobs and their pods tell: whether they ended and how, and what they wait for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from arkloom.cluster.api import Object
from arkloom.cluster.jobs import CONTAINER

# Reasons that time alone does not mend; a pull may yet succeed once somebody pushes the image.
STUCK = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_MEND = {
    "ErrImagePull": "Is the image there, and may the node pull it (imagePullSecrets)?",
    "ImagePullBackOff": "Is the image there, and may the node pull it (imagePullSecrets)?",
    "InvalidImageName": "Correct the image in the PodTemplate",
    "ErrImageNeverPull": "Load the image on the node, or change imagePullPolicy",
    "CreateContainerConfigError": "Does the Secret or ConfigMap that the PodTemplate names exist?",
    "Unschedulable": "Does a node have what the PodTemplate asks for, and are its taints tolerated?",
}
_MOST = 300  # characters of a reason
_PLAIN = frozenset({"", "Error", "Completed"})  # reasons that say no more than the exit code
_SIGNALLED = 128  # and the number of the signal


@dataclass(frozen=True)
class Pending:
    """Why nothing works on a node yet.

    Attributes:
        reason: Of Kubernetes, such as ``Unschedulable``.
        what: In a line.
        stuck: Whether time alone will not mend it.
    """

    reason: str
    what: str
    stuck: bool = False

    @property
    def mend(self) -> str:
        """What the user can look at."""
        return _MEND.get(self.reason, "")


@dataclass(frozen=True)
class Ended:
    """How a pod's container ended: exit code, and the reason where it was killed."""

    pod: str
    code: int
    reason: str = ""

    @property
    def by_itself(self) -> bool:
        """Whether the stage ended by itself, and so said why."""
        return self.reason in _PLAIN and self.code < _SIGNALLED

    def told(self) -> str:
        """How, in a line."""
        if self.reason == "OOMKilled":
            return "ran out of memory (OOMKilled); its PodTemplate sets the limit"
        if self.reason in _PLAIN and self.code > _SIGNALLED:
            return f"was killed by signal {self.code - _SIGNALLED}"
        return f"ended with exit code {self.code}" + ("" if self.reason in _PLAIN else f" ({self.reason})")


def complete(job: Object) -> bool:
    """Whether a Job has succeeded."""
    return _condition(job, "Complete") is not None


def failed(job: Object) -> str | None:
    """Why a Job has failed, None where it has not."""
    condition = _condition(job, "Failed")
    if condition is None:
        return None
    return f"{condition.get('reason', 'Failed')}: {condition.get('message', '')}".strip(": ")


def deleted(job: Object) -> bool:
    """Whether a Job is on its way out."""
    return bool(job["metadata"].get("deletionTimestamp"))


def newest(pods: Iterable[Object]) -> Object | None:
    """The last pod of a Job."""
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def ended(pod: Object) -> Ended | None:
    """How the pod's container ended; None while it has not, or where the kubelet told nothing."""
    name = str(pod["metadata"]["name"])
    state = (_status(pod).get("state") or {}).get("terminated")
    if state:
        return Ended(name, int(state.get("exitCode", 1)), str(state.get("reason") or ""))
    if (pod.get("status") or {}).get("phase") == "Failed":  # evicted before its container could tell
        return Ended(name, 1, str(pod["status"].get("reason") or "Failed"))
    return None


def started(pod: Object) -> bool:
    """Whether the pod's container runs or ran: whether there is a log."""
    state = _status(pod).get("state") or {}
    return "running" in state or "terminated" in state


def pending(job: Object, pod: Object | None) -> Pending | None:
    """What a Job waits for; None once its container runs."""
    if pod is None:
        if (job.get("spec") or {}).get("suspend"):
            return Pending("Suspended", "queued: its Job is suspended")
        return Pending("NoPod", "its Job has no pod yet")
    if started(pod) or (pod.get("status") or {}).get("phase") not in {"Pending", None}:
        return None
    for status in [*(pod["status"].get("initContainerStatuses") or []), _status(pod)]:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if reason in STUCK:
            return Pending(reason, _line(reason, waiting.get("message")), stuck=True)
    for condition in pod["status"].get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            reason = str(condition.get("reason") or "Unschedulable")
            return Pending(reason, _line(reason, condition.get("message")))
    return Pending("Starting", "its pod starts")


def warning(events: Iterable[Object]) -> str:
    """The last warning among events, in a line; empty where there is none."""
    told = [event for event in events if event.get("type") == "Warning"]
    return _line(str(told[-1].get("reason", "")), told[-1].get("message")) if told else ""


def _status(pod: Object) -> Mapping[str, Any]:
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if status.get("name") == CONTAINER:
            found: Mapping[str, Any] = status
            return found
    return {}


def _condition(job: Object, kind: str) -> Mapping[str, Any] | None:
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == "True":
            found: Mapping[str, Any] = condition
            return found
    return None


def _line(reason: str, message: Any) -> str:
    text = " ".join(f"{reason}: {message or ''}".split()).rstrip(": ")
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."
