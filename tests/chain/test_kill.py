"""A run killed at random moments goes on where it stood, and its records equal an uninterrupted run's."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from arkloom.canonical import digest_rows
from arkloom.protocol.log import read_debates
from arkloom.store.local import LocalStore
from whole_run import Whole, smoke_command

pytestmark = [pytest.mark.chain, pytest.mark.slow, pytest.mark.timeout(1200)]

KILLS = 5  # a round; each round begins anew
ROUNDS = -(-int(os.environ.get("ARKLOOM_TEST_KILLS", "5")) // KILLS)


def command(root: Path) -> list[str]:
    return [*smoke_command(root), "--quiet"]


def finish(root: Path) -> None:
    done = subprocess.run(command(root), capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr


def records(root: Path) -> dict[str, str]:
    """Digest of every record of a run, by node; times are not records."""
    store = LocalStore(root / "store")
    (run,) = store.runs()
    found = {}
    for node, pointer in store.pointers(run).items():
        if node == "run":
            continue
        artifact = store.open(pointer["uri"])
        assert store.verify(artifact.manifest) == []
        if node.startswith("debate"):
            rows = [debate.model_dump(mode="json", by_alias=True) for debate in read_debates(artifact.folder)]
            assert len({(row["id"], row["seed"]) for row in rows}) == len(rows)
            found[node] = digest_rows(rows, ("id", "seed"))
        elif node == "evaluate":
            lines = artifact.file("scores.jsonl").read_text().splitlines()
            found[node] = digest_rows([json.loads(line) for line in lines], ("problem_id", "arm", "seed"))
        elif node == "gate":
            found[node] = artifact.file("gate.json").read_text()
        else:
            found[node] = json.dumps(
                sorted(
                    (e.path, e.sha256)
                    for e in artifact.manifest.files
                    if e.path.endswith((".jsonl", ".safetensors"))
                )
            )
    return found


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_9_at_random_moments(whole: Whole, tmp_path: Path, number: int) -> None:
    expected, seconds = records(whole.root), whole.seconds
    moments = random.Random(20 + number).choices(range(5, 95), k=KILLS)
    died = 0
    for moment in moments:
        process = subprocess.Popen(
            command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        # a resumed run has less left to do, so the clock of each kill is a share of what a whole run takes,
        # shortened as the work shrinks
        time.sleep(seconds * moment / 100 / (1 + died))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            died += 1
        process.wait()
    assert died > 0, "no run was killed: the moments are all too late"
    finish(tmp_path)
    assert records(tmp_path) == expected


def test_sigterm_ends_with_75_and_the_same_command_goes_on(whole: Whole, tmp_path: Path) -> None:
    expected, seconds = records(whole.root), whole.seconds
    process = subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds / 3)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 75, told
    assert "Run the same command to go on" in told
    finish(tmp_path)
    assert records(tmp_path) == expected
