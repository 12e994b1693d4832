"""JSONL with ``rounds[round][agent]`` = text, ``question``, ``gold``, ``task``, ``model``, ``agent_spec``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arkloom.errors import BadInputError
from arkloom.jsonl import read_lines
from arkloom.records import Debate, Split
from arkloom.traces.importers.recording import Recording, debate_of, parse_question

NAME = "rounds"

_ROUNDS = re.compile(r'"rounds"\s*:\s*\[\s*\[\s*"')
_NEEDED = ("id", "task", "question", "gold", "rounds")


def fits(path: Path, head: str) -> bool:
    """Whether the first line holds rounds of texts."""
    return path.suffix == ".jsonl" and bool(_ROUNDS.search(head))


def read(path: Path, split: Split) -> Iterator[Debate]:
    """One debate a line."""
    for number, line in read_lines(path):
        yield debate_of(_recording(line, f"{path} line {number}"), split)


def _recording(line: str, where: str) -> Recording:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadInputError(f"not JSON ({error.msg})", where=where) from error
    if not isinstance(row, dict) or (missing := [name for name in _NEEDED if name not in row]):
        raise BadInputError(f"no field {missing[0]!r}" if isinstance(row, dict) else "no object", where=where)
    rounds = row["rounds"]
    if not _rectangular(rounds):
        raise BadInputError("rounds is not a list of rounds with one text an agent", where=where)
    question, options = parse_question(str(row["question"]))
    return Recording(
        name=str(row["id"]),
        task=str(row["task"]),
        model=str(row.get("model", "unknown")),
        personas=tuple(str(name) for name in row.get("agent_spec", ())),
        question=question,
        options=options,
        gold=None if row["gold"] is None else str(row["gold"]),
        rounds=tuple(tuple(texts) for texts in rounds),
    )


def _rectangular(rounds: Any) -> bool:
    return (
        isinstance(rounds, list)
        and bool(rounds)
        and all(isinstance(texts, list) and len(texts) == len(rounds[0]) > 0 for texts in rounds)
        and all(isinstance(text, str) for texts in rounds for text in texts)
    )
