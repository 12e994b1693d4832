"""``kill -9`` of a real ``evaluate`` process, at chosen points of its work: the scores do not show it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.chain

KILLS = 3
SETTINGS = (
    "evaluate.arms=[base,debate]",
    "problems.test=12",
    "problems.validation=2",
    "evaluate.latency_problems=1",
    "runtime.slots=8",  # few at once, so that work is committed bit by bit
    "runtime.threads=1",
)


def command(root: Path, stage: str, *inputs: str) -> list[str]:
    told = [part for setting in SETTINGS for part in ("--set", setting)]
    return [
        sys.executable,
        "-m",
        f"arkloom.{stage}",
        "--preset",
        "smoke",
        "--store",
        str(root),
        *told,
        *inputs,
    ]


def finish(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def committed(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob(".work/*/.partial/answers/**/*") if path.is_file())


def test_kill_9_leaves_no_trace_in_the_scores(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole_command, broken_command = (
        command(root, "evaluate", "--input", f"problems={finish(command(root, 'prepare'))}")
        for root in (whole, broken)
    )
    finish(whole_command)
    draw, died = random.Random(4), 0
    for _ in range(KILLS):
        enough = committed(broken) + draw.randint(2_000, 25_000)
        process = subprocess.Popen(broken_command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and committed(broken) < enough:
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            died += 1
        process.wait()
    assert died > 1, "the work was done before it could be killed"
    finish(broken_command)
    (expected,), (found,) = (list((root / "evaluate").glob("*/scores.jsonl")) for root in (whole, broken))
    assert found.read_bytes() == expected.read_bytes()
