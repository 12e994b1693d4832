"""What the Jobs runner needs of a cluster: rights, PodTemplates, the secret, and devices that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arkloom.cluster.api import ApiError, Cluster, Object
from arkloom.doctor.findings import Finding, refused
from arkloom.errors import ArkloomError
from arkloom.images import Environment

SECRET, SECRET_KEYS = "arkloom-s3", ("access-key", "secret-key")
ENVIRONMENTS: Sequence[Environment] = ("launcher", "serve", "train")
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_QUEUE = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True)
class Right:
    """A verb on a kind of object, or on one object of a name, in the run's namespace."""

    verb: str
    resource: str
    group: str = ""
    name: str = ""

    def attributes(self, namespace: str) -> dict[str, str]:
        """As ``SelfSubjectAccessReview`` asks for it."""
        kind, _, part = self.resource.partition("/")
        asked = {"verb": self.verb, "group": self.group, "resource": kind, "subresource": part}
        return {"namespace": namespace, "name": self.name, **asked}

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f' {self.name}' if self.name else ''}"


NEEDED = (
    *(Right(verb, "jobs", "batch") for verb in ("create", "get", "list", "watch", "delete")),
    *(Right(verb, "pods") for verb in ("get", "list")),
    Right("get", "pods/log"),
    *(Right("get", "podtemplates", name=f"arkloom-{environment}") for environment in ENVIRONMENTS),
)
"""Without these no run gets to its end."""


def cluster(api: Cluster) -> Iterator[Finding]:
    """One line a question; a server that does not answer is one line."""
    try:
        yield _rights(api)
        templates = list(_templates(api))
        yield from (found for found in templates if isinstance(found, Finding))
        there = [found for found in templates if not isinstance(found, Finding)]
        yield _secret(api)
        yield from _devices(api, there)
        yield from _queue(api, there)
    except ArkloomError as error:
        yield refused("cluster", error)


def _rights(api: Cluster) -> Finding:
    lacking = [right for right in NEEDED if not _may(api, right)]
    if lacking:
        mend = "Give the ServiceAccount the Role arkloom-runner (manifests/base)"
        return Finding("rights", "fail", f"may not {', '.join(map(str, lacking))} in {api.namespace}", mend)
    return Finding("rights", "ok", f"all {len(NEEDED)} that a run needs in {api.namespace}")


def _may(api: Cluster, right: Right) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right.attributes(api.namespace)},
    }
    return bool((api.ask("POST", _REVIEW, review).get("status") or {}).get("allowed"))


def _templates(api: Cluster) -> Iterator[Object | Finding]:
    for environment in ENVIRONMENTS:
        name = f"arkloom-{environment}"
        try:
            found = api.pod_template(name)
        except ApiError as error:
            yield refused(f"template {name}", error)
            continue
        yield found or Finding(f"template {name}", "fail", "no such PodTemplate", "Apply an overlay")


def _secret(api: Cluster) -> Finding:
    """Whether both keys are there; what they are is none of our business. Pods wait for a missing one."""
    name = f"secret {SECRET}"
    try:
        found = api.ask("GET", f"/api/v1/namespaces/{api.namespace}/secrets/{SECRET}")
    except ApiError as error:
        if error.status == 404:
            mend = "Create it with the keys access-key and secret-key; pods wait for it"
            return Finding(name, "fail", f"not in {api.namespace}", mend)
        return Finding(name, "warn", "may not be read, so nobody knows whether it is there", error.mend)
    lacking = [key for key in SECRET_KEYS if not (found.get("data") or {}).get(key)]
    if lacking:
        return Finding(name, "fail", f"lacks {' and '.join(lacking)}", "Add the key")
    return Finding(name, "ok", f"holds {' and '.join(SECRET_KEYS)}")


def _devices(api: Cluster, templates: Sequence[Object]) -> Iterator[Finding]:
    """For each device that a PodTemplate asks for: whether one node has as many."""
    wanted: dict[str, int] = {}
    for limits in map(_limits, templates):
        for kind, count in limits.items():
            if "/" in kind and int(count) > 0:
                wanted[kind] = max(wanted.get(kind, 0), int(count))
    for kind, count in sorted(wanted.items()):
        try:
            nodes = api.ask("GET", "/api/v1/nodes").get("items") or []
        except ApiError:
            yield Finding(kind, "warn", f"{count} asked for; the nodes may not be listed, so nobody counted")
            continue
        have = [int(node["status"].get("allocatable", {}).get(kind, 0)) for node in nodes]
        told = f"{count} asked for, {sum(have)} on {sum(map(bool, have))} of {len(have)} nodes"
        enough = max(have, default=0) >= count
        mend = "" if enough else "Add such a node or its device plugin, or lower limits in the PodTemplate"
        yield Finding(kind, "ok" if enough else "fail", told, mend)


def _queue(api: Cluster, templates: Sequence[Object]) -> Iterator[Finding]:
    """A queue that nobody serves keeps nothing waiting: Jobs would start at once, or never."""
    if not any(_QUEUE in (template["metadata"].get("labels") or {}) for template in templates):
        return
    groups = {group["name"] for group in api.ask("GET", "/apis").get("groups") or []}
    if _QUEUE.partition("/")[0] in groups:
        yield Finding("kueue", "ok", "installed")
    else:
        mend = "Install Kueue, or leave the component kueue out of the overlay"
        yield Finding("kueue", "fail", "PodTemplates name a queue, but Kueue is not installed", mend)


def _limits(template: Object) -> Mapping[str, Any]:
    containers = template["template"]["spec"]["containers"]
    main: Object = next((one for one in containers if one["name"] == "main"), {})
    limits: Mapping[str, Any] = (main.get("resources") or {}).get("limits") or {}
    return limits
