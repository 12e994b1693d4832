"""Every overlay and example is accepted by a real API server, which validates it and keeps nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import yaml
from kube import Kube

import rendered_manifests as rendered

BUILT_IN = {"", "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"}


@pytest.fixture(scope="module")
def namespace(kube: Kube) -> Iterator[str]:
    name = f"arkloom-accepted-{secrets.token_hex(3)}"
    kube.said("create", "namespace", name)
    yield name
    kube.said("delete", "namespace", name, "--wait=false")


def test_the_server_accepts_what_is_shipped(kube: Kube, namespace: str) -> None:
    """Custom resources need their operators, which this cluster does not have."""
    shipped = [one for documents in rendered.everything().values() for one in documents]
    given = [one for one in shipped if _group(one) in BUILT_IN]
    for document in given:
        if document["kind"] == "CronJob":
            document["apiVersion"] = "batch/v1beta1"  # before Kubernetes 1.21
        if document["kind"] != "Namespace":
            document["metadata"]["namespace"] = namespace
    # A server of 1.20 drops fields that are younger; test_manifests_policy looks at every field.
    texts = set(map(yaml.safe_dump, given))  # overlays share much
    command = ["apply", "--dry-run=server", "--validate=false", "--filename=-", f"--namespace={namespace}"]
    said = kube.said(*command, given="---\n".join(texts))
    assert len(said.splitlines()) == len(texts)


def test_the_server_refuses_what_is_wrong(kube: Kube, namespace: str) -> None:
    template = rendered.named(rendered.overlay("cpu"), "PodTemplate", "arkloom-serve")
    template["metadata"]["namespace"] = namespace
    template["template"]["spec"]["containers"][0]["volumeMounts"][0]["name"] = "nowhere"
    command = ["apply", "--dry-run=server", "--validate=false", "--filename=-", f"--namespace={namespace}"]
    done = kube.run(*command, given=yaml.safe_dump(template))
    assert done.returncode != 0
    assert "nowhere" in done.stderr


def _group(document: rendered.Document) -> str:
    return str(document["apiVersion"]).rpartition("/")[0]
