"""The command line teaches, and its light commands stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arkloom import cli


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["ask", "--help"], ["tiny", "check", "--help"]]
)
def test_help_is_there_for_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
    assert "usage: arkloom" in capsys.readouterr().out


def test_every_stage_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in cli.STAGES:
        with pytest.raises(SystemExit):
            cli.main([stage, "--help"])
        told = capsys.readouterr().out
        assert f"usage: arkloom {stage} " in told
        assert "--input" in told


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, arkloom.cli\n"
        "try: arkloom.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'scipy', 'sympy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_wrong_key_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--set", "debate.agnets=3"]) == 2
    assert capsys.readouterr().err == "arkloom: config debate.agnets: unknown key; did you mean 'agents'?\n"


def test_an_unknown_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "1+1", "--run", "nope", "--store", str(tmp_path)]) == 2
    assert "no finished run 'nope'. See: arkloom runs" in capsys.readouterr().err


def test_the_folder_of_a_run_is_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.yaml", "events.jsonl"):
        (tmp_path / name).touch()
    assert cli.main(["show", str(tmp_path), "--store", str(tmp_path / "store")]) == 2
    told = capsys.readouterr().err
    assert "the folder of a run" in told
    assert "report.html" in told
    assert "arkloom runs" in told


def test_run_names_its_default_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    assert "Without --preset and --config it runs the preset laptop" in " ".join(
        capsys.readouterr().out.split()
    )


def test_no_runs_yet_says_what_to_do(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", "--store", str(tmp_path)]) == 0
    assert "arkloom run --preset laptop" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--namespace=x", "--context=x", "--retries=1", "--waiting-minutes=1"])
def test_what_is_for_jobs_is_refused_without_them(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--preset", "smoke", option]) == 2
    name = option.partition("=")[0]
    assert capsys.readouterr().err.startswith(f"arkloom: {name} is for Jobs of a cluster. Add --runner jobs")
