"""The manifests as ``kubectl kustomize`` renders them, and their pods, wherever they stand."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[1] / "manifests"
OVERLAYS = sorted(path.parent.name for path in (MANIFESTS / "overlays").glob("*/kustomization.yaml"))
EXAMPLES = sorted(path.name for path in (MANIFESTS / "examples").glob("*.yaml"))
POD_PATHS = {
    "PodTemplate": ("template",),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

Document = dict[str, Any]


@functools.cache
def text(folder: Path) -> str:
    """What ``kubectl apply -k`` would send; skips where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl on this machine")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def parsed(documents: str) -> list[Document]:
    """Documents of YAML; libyaml reads ten times as fast."""
    return list(yaml.load_all(documents, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def overlay(name: str) -> list[Document]:
    """The documents of an overlay."""
    return parsed(text(MANIFESTS / "overlays" / name))


def example(name: str) -> list[Document]:
    """The documents of an example."""
    return parsed((MANIFESTS / "examples" / name).read_text())


def everything() -> dict[str, list[Document]]:
    """Every overlay and example, by name."""
    return {name: overlay(name) for name in OVERLAYS} | {name: example(name) for name in EXAMPLES}


def title(document: Document) -> str:
    """``Job/first``."""
    return f"{document['kind']}/{document['metadata']['name']}"


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod template: whose it is, and its metadata and spec."""
    for document in documents:
        if path := POD_PATHS.get(document["kind"]):
            found = document
            for key in path:
                found = found[key]
            yield title(document), found


def containers(pod: Document) -> list[Document]:
    """All containers of a pod template, those that run before the others too."""
    spec = pod["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def images(documents: list[Document]) -> set[str]:
    """Every image that a pod of these documents runs."""
    return {container["image"] for _, pod in pods(documents) for container in containers(pod)}


def named(documents: list[Document], kind: str, name: str | None = None) -> Document:
    """The one document of a kind (and name)."""
    found = [each for each in documents if each["kind"] == kind and name in {None, each["metadata"]["name"]}]
    assert len(found) == 1, f"{len(found)} documents of kind {kind} {name or ''}"
    return found[0]


def mirrored() -> dict[str, str]:
    """Image of an own registry, as the overlay air-gapped names it -> the image that it is a copy of."""
    tree = yaml.safe_load((MANIFESTS / "overlays" / "air-gapped" / "kustomization.yaml").read_text())
    return {entry["newName"]: entry["name"] for entry in tree["images"]}


def original(image: str) -> str:
    """An image under the name that it was published under."""
    name, sign, tag = image.rpartition(":")
    return f"{mirrored().get(name, name)}{sign}{tag}"
