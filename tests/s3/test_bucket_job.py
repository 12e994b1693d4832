"""The script that makes the store's bucket (manifests/components/minio), against a real server."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Server

SCRIPT = Path(__file__).parents[2] / "manifests" / "components" / "minio" / "bucket.py"


def run(name: str, endpoint: str, keys: Path) -> subprocess.CompletedProcess[str]:
    """As its Job runs it: credentials from mounted files."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ARKLOOM_S3", "AWS_"))}
    mounted = {
        "ARKLOOM_S3_ENDPOINT": endpoint,
        "ARKLOOM_S3_ACCESS_KEY_FILE": str(keys / "access-key"),
        "ARKLOOM_S3_SECRET_KEY_FILE": str(keys / "secret-key"),
    }
    command = [sys.executable, SCRIPT, name]
    return subprocess.run(command, env=clean | mounted, capture_output=True, text=True, check=False)


@pytest.fixture
def keys(server: Server, tmp_path: Path) -> Path:
    (tmp_path / "access-key").write_text(f"{server.access}\n")
    (tmp_path / "secret-key").write_text(f"{server.secret}\n")
    return tmp_path


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    found = f"arkloom-test-{secrets.token_hex(6)}"
    yield found
    if server.client().bucket_exists(found):
        server.client().remove_bucket(found)


def test_a_bucket_is_made_and_may_be_asked_for_again(server: Server, name: str, keys: Path) -> None:
    for _ in range(2):
        done = run(name, server.endpoint, keys)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"bucket {name} is there, at {server.endpoint}\n"
    assert server.client().bucket_exists(name)


def test_a_wrong_key_is_told_at_once_in_a_line_without_it(server: Server, name: str, keys: Path) -> None:
    (keys / "secret-key").write_text("wrong-but-secret")
    done = run(name, server.endpoint, keys)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert name in done.stderr
    assert "wrong-but-secret" not in done.stderr
    assert not server.client().bucket_exists(name)
