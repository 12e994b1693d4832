"""The Job that makes the store's bucket: what it does where no server answers, or credentials are missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import ModuleType

import pytest
from ports import free_port
from urllib3.exceptions import HTTPError

import rendered_manifests as rendered

SCRIPT = rendered.MANIFESTS / "components" / "minio" / "bucket.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("ACCESS", "SECRET"):
        monkeypatch.setenv(f"ARKLOOM_S3_{name}_KEY", "twelve-signs")
    specification = importlib.util.spec_from_file_location("bucket", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_server_that_does_not_answer_is_given_up_after_a_while(script: ModuleType) -> None:
    with pytest.raises(HTTPError):
        script.make(f"http://127.0.0.1:{free_port()}", "arkloom", patience_s=0)


def test_missing_credentials_are_told_in_a_line() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARKLOOM_S3")}
    given = {"ARKLOOM_S3_ENDPOINT": "http://127.0.0.1:1", "ARKLOOM_S3_ACCESS_KEY": "a"}
    done = subprocess.run(
        [sys.executable, SCRIPT, "arkloom"], env=clean | given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "ARKLOOM_S3_SECRET_KEY" in done.stderr


def test_the_bucket_is_the_one_that_configurations_name() -> None:
    for overlay in ("cpu", "single-node"):
        documents = rendered.overlay(overlay)
        ((_, pod),) = rendered.pods([rendered.named(documents, "Job", "arkloom-bucket")])
        (container,) = rendered.containers(pod)
        config = rendered.named(documents, "ConfigMap", "arkloom-config")["data"]["config.yaml"]
        assert f"s3://{container['command'][-1]}/" in config
