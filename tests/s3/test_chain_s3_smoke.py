"""The smoke chain wholly on S3: its records are those of a run on a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from places import Server, forbid_listing

from arkloom.config import load
from arkloom.store import open_store
from arkloom.telemetry import read_events
from whole_run import records

pytestmark = [pytest.mark.chain, pytest.mark.slow, pytest.mark.timeout(1200)]

# Less than the preset, which takes minutes; all of it with ARKLOOM_TEST_S3_WHOLE=1.
LEAN = {
    "problems.train": "12",
    "problems.test": "8",
    "problems.validation": "4",
    "problems.ood": "0",
    "evaluate.arms": "[base,debate,rsft]",
    "evaluate.seeds": "0",
    "evaluate.latency_problems": "1",
    "sft.epochs": "1",
    "sft.checkpoint_steps": "1",
}


def command(out: Path, store: Mapping[str, str]) -> list[str]:
    settings = {**({} if os.environ.get("ARKLOOM_TEST_S3_WHOLE") else LEAN), **store}
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return [sys.executable, "-m", "arkloom", "run", "--preset", "smoke", "--out", str(out), *given]


def smoke(out: Path, store: Mapping[str, str]) -> str:
    done = subprocess.run(command(out, store), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_run_on_s3_has_the_records_of_a_run_on_a_folder(
    server: Server, bucket: str, s3: dict[str, str], tmp_path: Path
) -> None:
    """Under the least of policies, too: nothing is listed."""
    on_s3 = {**s3, "store.cache": str(tmp_path / "cache")}
    forbid_listing(server.client(), bucket)
    told = smoke(tmp_path / "out", on_s3)
    smoke(tmp_path / "file" / "out", {"store.root": str(tmp_path / "file" / "store")})
    expected = records(str(tmp_path / "file" / "store"))
    server.client().delete_bucket_policy(bucket)
    made = load(overrides=[f"{name}={value}" for name, value in on_s3.items()]).store
    assert records(made) == expected
    (run,) = open_store(made).runs()
    assert f"arkloom report {run} --store {on_s3['store.root']}" in told
    assert set(expected) >= {"prepare", "debate", "filter", "sft-rsft", "evaluate", "gate"}

    assert list(open_store(made).leftovers()) == [], "work in progress outlives its artifact"
    written = "".join(file.read_text() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert server.secret not in told + written

    shutil.rmtree(tmp_path / "cache")  # another machine finds it all
    smoke(tmp_path / "out", on_s3)
    events = [event["event"] for event, _ in read_events(tmp_path / "out" / "events.jsonl")]
    assert events.count("found") == events.count("published") == len(expected)
    assert records(made) == expected
