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

PROMOTE = ["gate.margin=-2", "gate.max_token_ratio=1000"]
REFUSE = ["gate.margin=2"]
VERDICTS = [(PROMOTE, 0, "promoted"), (REFUSE, 3, "refused")]


@pytest.fixture(scope="module")
def copied(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole run's store, so that only the gate has anything left to do."""
    root = tmp_path_factory.mktemp("gate")
    shutil.copytree(whole.root / "store", root / "store")
    return root


def arkloom(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(("settings", "code", "said"), VERDICTS)
def test_enforce_ends_with_3_where_nothing_is_promoted(
    copied: Path, settings: list[str], code: int, said: str
) -> None:
    command = [*smoke_command(copied), *(part for text in settings for part in ("--set", text))]
    plain, enforced = arkloom(*command), arkloom(*command, "--enforce", "--quiet")
    assert plain.returncode == 0, plain.stderr
    assert f"Gate: {said}, " in plain.stdout
    report = json.loads((copied / "out" / "report.json").read_text())
    assert report["gate"].keys() == {"promote", "reason"}
    assert report["gate"]["promote"] is (code == 0)
    assert {"gate"} <= report["seconds"].keys() & report["keys"].keys()
    assert f"Gate: {said}, " in (copied / "out" / "report.html").read_text()
    assert enforced.returncode == code, enforced.stderr
    if code:
        (line,) = enforced.stderr.strip().splitlines()
        assert line.startswith(f"arkloom: gate: refused: {report['gate']['reason']}")
    shown = arkloom(sys.executable, "-m", "arkloom", "runs", "--store", str(copied / "store"))
    assert said in shown.stdout


def test_the_function_enforces_too(copied: Path) -> None:
    with pytest.raises(RefusedError, match="refused"):
        run(
            "smoke",
            overrides=[*REFUSE, f"store.root={copied / 'store'}"],
            out=copied / "out",
            quiet=True,
            enforce=True,
        )
