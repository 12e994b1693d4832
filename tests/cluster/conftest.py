"""A real cluster with the shipped overlay; everything here skips, visibly, where there is none."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube import BUCKET, NAMESPACE, REGISTRY, Kube, patch
from minio import Minio
from minio.deleteobjects import DeleteObject

from arkloom import __version__

_S3 = ("ARKLOOM_TEST_S3_ENDPOINT", "ARKLOOM_TEST_S3_ACCESS_KEY", "ARKLOOM_TEST_S3_SECRET_KEY")


@pytest.fixture(scope="session")
def kube() -> Kube:
    """kubectl, as the cluster's administrator."""
    config = os.environ.get("ARKLOOM_TEST_KUBECONFIG", "")
    if not config:
        pytest.skip("no cluster (set ARKLOOM_TEST_KUBECONFIG)")
    return Kube(Path(config))


@pytest.fixture(scope="session")
def s3(kube: Kube) -> Iterator[dict[str, str]]:
    """The S3 server's environment, as stages read it, with an empty bucket."""
    endpoint, access, secret = (os.environ.get(name, "") for name in _S3)
    if not (endpoint and access and secret):
        pytest.skip(f"no S3 server (set {', '.join(_S3)})")
    client = Minio(endpoint.partition("://")[2], access, secret, secure=False, region="us-east-1")

    def empty() -> None:
        if client.bucket_exists(BUCKET):
            names = [o.object_name for o in client.list_objects(BUCKET, recursive=True) if o.object_name]
            assert not list(client.remove_objects(BUCKET, [DeleteObject(name) for name in names]))
            client.remove_bucket(BUCKET)

    empty()
    yield {
        "ARKLOOM_S3_ENDPOINT": endpoint,
        "ARKLOOM_S3_ACCESS_KEY": access,
        "ARKLOOM_S3_SECRET_KEY": secret,
    }
    empty()


@pytest.fixture(scope="session")
def images(kube: Kube) -> None:
    """The real images are on the node."""
    if not os.environ.get("DOCKER_HOST"):
        pytest.skip("the node's container daemon is not known (set DOCKER_HOST)")
    for name in ("launcher", "serve", "train"):
        full = f"{REGISTRY}/arkloom-{name}:{__version__}"
        done = subprocess.run(["docker", "image", "inspect", full], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"{full} is not built (make images BASE=localhost/base:bookworm)")


@pytest.fixture(scope="session")
def overlay(s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the overlay cpu and what this cluster forces."""
    return patch(tmp_path_factory.mktemp("overlay"), s3["ARKLOOM_S3_ENDPOINT"], REGISTRY)


@pytest.fixture(scope="session")
def installed(kube: Kube, s3: dict[str, str], overlay: Path) -> Iterator[Kube]:
    """The overlay, accepted by the server, and the one Secret that a user brings."""
    kube.said("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    kube.said("create", "namespace", NAMESPACE)
    keys = {"access-key": s3["ARKLOOM_S3_ACCESS_KEY"], "secret-key": s3["ARKLOOM_S3_SECRET_KEY"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "arkloom-s3"}, "stringData": keys}
    kube.said("apply", "--filename=-", given=json.dumps(secret))
    kube.said("apply", f"--kustomize={overlay}")
    yield kube
    if not os.environ.get("ARKLOOM_TEST_KEEP"):
        kube.said("delete", "namespace", NAMESPACE, "--wait")
