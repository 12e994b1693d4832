"""Problems that cannot be used: one line that names file, line, field and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arkloom import problems
from arkloom.config import ProblemsConfig
from arkloom.errors import EXIT_BAD_INPUT, BadInputError

CASES = json.loads((Path(__file__).parents[1] / "cases" / "problems_bad.json").read_text())


def content(written: str | dict[str, Any]) -> bytes:
    """A file's bytes; characters stand for bytes (é is 0xe9, so not UTF-8)."""
    if isinstance(written, dict):
        body = written["repeat"] * written["times"]
        written = written.get("before", "") + body + written.get("after", "")
    return written.encode("latin-1")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_one_clear_line(case: dict[str, Any], tmp_path: Path) -> None:
    for name, written in case["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content(written))
    config = {"train": 2, "validation": 2, "test": 2, "path": "p.jsonl"} | case["config"]
    if "p.csv" in case["files"]:
        config["path"] = "p.csv"
    for key in ("path", "test_path"):
        if config.get(key):
            config[key] = str(tmp_path / config[key])
    with pytest.raises(BadInputError) as told:
        problems.draw(ProblemsConfig(**config))
    line = told.value.line()
    assert told.value.exit_code == EXIT_BAD_INPUT
    assert "\n" not in line
    assert len(line) < 500
    for word in case["told"]:
        assert word in line


def test_names_of_the_cases_are_their_own() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) >= 50
