"""The cluster of these tests, through kubectl, and the shipped overlay as it is applied there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).parents[2]
OVERLAY = REPO / "manifests" / "overlays" / "cpu"
EXAMPLE = REPO / "manifests" / "examples" / "01-run-as-jobs.yaml"
NAMESPACE = "arkloom"
BUCKET = "arkloom"  # as the overlay's configuration names it
REGISTRY = os.environ.get("ARKLOOM_TEST_IMAGES", "ghcr.io/arkloom")
# Kubernetes 1.20 with pods on the host's network, since the S3 server listens on loopback alone.
PATCH = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{overlay}]
patches:
  - target: {{kind: PodTemplate}}
    patch: |
      - {{op: add, path: /template/spec/hostNetwork, value: true}}
  - target: {{kind: Job}}
    patch: |
      - {{op: add, path: /spec/template/spec/hostNetwork, value: true}}
  - target: {{kind: Deployment, name: arkloom-minio}}
    patch: |
      $patch: delete
      apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: arkloom-minio}}
  - target: {{kind: ConfigMap, name: arkloom-config}}
    patch: |
      - {{op: replace, path: /data/ARKLOOM_S3_ENDPOINT, value: "{endpoint}"}}
images:
{images}
"""


@dataclass(frozen=True)
class Kube:
    """kubectl with a kubeconfig."""

    config: Path

    def run(
        self, *arguments: str, given: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """One command in the namespace; whatever its exit code."""
        command = ["kubectl", f"--kubeconfig={self.config}", f"--namespace={NAMESPACE}", *arguments]
        return subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, timeout=timeout
        )

    def said(self, *arguments: str, given: str | None = None) -> str:
        """What a command that must succeed says."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """Objects."""
        found: dict[str, Any] = json.loads(self.said("get", *arguments, "--output=json"))
        return list(found["items"]) if "items" in found else [found]

    def follow(self, pod: str) -> subprocess.Popen[str]:
        """A pod's log as it grows."""
        command = ["kubectl", f"--kubeconfig={self.config}", f"--namespace={NAMESPACE}", "logs", "-f", pod]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def patch(folder: Path, endpoint: str, registry: str) -> Path:
    """Write the overlay as the tests apply it into a folder; the folder."""
    names = ("launcher", "serve", "train")
    images = "\n".join(
        f"  - {{name: ghcr.io/arkloom/arkloom-{name}, newName: {registry}/arkloom-{name}}}" for name in names
    )
    overlay = os.path.relpath(OVERLAY, folder)
    text = PATCH.format(overlay=overlay, endpoint=endpoint, images=images)
    (folder / "kustomization.yaml").write_text(text)
    return folder


def rendered(folder: Path) -> str:
    """What ``kubectl apply -k`` would send."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_title(text: str) -> dict[str, Any]:
    """Documents by kind and name."""
    return {f"{doc['kind']}/{doc['metadata']['name']}": doc for doc in yaml.safe_load_all(text)}


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value with its path; an entry of a list goes by its name where it has one."""
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from leaves(value, f"{path}/{name}")
    elif isinstance(tree, list) and tree:
        for i, value in enumerate(tree):
            name = value.get("name", i) if isinstance(value, dict) else i
            yield from leaves(value, f"{path}/{name}")
    else:
        yield path, tree


def until(what: Callable[[], Any], seconds: float, told: str) -> Any:
    """What ``what`` returns once it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{told}: not within {seconds:.0f} s"
        time.sleep(0.5)
    return found
