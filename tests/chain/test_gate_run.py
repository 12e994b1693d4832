"""The gate at the end of a run: its verdict is told, and `--enforce` makes a refusal an exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arkloom import run
from arkloom.errors import RefusedError
from whole_run import Whole, smoke_command

pytestmark = [pytest.mark.chain, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def copied(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole run's store, so that only the gate has anything left to do."""
    root = tmp_path_factory.mktemp("gate")
    shutil.copytree(whole.root / "store", root / "store")
    return root


def test_a_refusal_is_told_everywhere_and_exit_code_3_where_it_is_enforced(copied: Path) -> None:
    command = [*smoke_command(copied), "--set", "gate.margin=2", "--enforce"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 3, done.stderr
    report = json.loads((copied / "out" / "report.json").read_text())
    assert report["gate"].keys() == {"promote", "reason"}
    assert report["gate"]["promote"] is False
    assert {"gate"} <= report["seconds"].keys() & report["keys"].keys()
    assert "Gate: refused, " in done.stdout
    assert "Gate: refused, " in (copied / "out" / "report.html").read_text()
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"arkloom: gate: refused: {report['gate']['reason']}")
    runs = [sys.executable, "-m", "arkloom", "runs", "--store", str(copied / "store")]
    assert "refused" in subprocess.run(runs, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_function_returns_what_is_promoted_and_raises_what_is_refused(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = [f"store.root={copied / 'store'}", "gate.max_token_ratio=1000"]
    promoted = run("smoke", overrides=[*shared, "gate.margin=-2"], out=copied / "promoted", enforce=True)
    assert promoted["gate"]["promote"] is True
    assert promoted["registered"] == {"model": "student", "version": 1}
    told = capsys.readouterr().out
    assert "Gate: promoted, " in told
    assert "Registered: student, version 1" in told
    with pytest.raises(RefusedError, match="refused"):
        run("smoke", overrides=[*shared, "gate.margin=2"], out=copied / "refused", quiet=True, enforce=True)
