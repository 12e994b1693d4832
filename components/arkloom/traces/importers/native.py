"""Our own records, ``debate.v1`` JSONL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from arkloom.jsonl import read_records
from arkloom.records import Debate, Split

NAME = "debate.v1"

_SCHEMA = re.compile(r'"schema"\s*:\s*"debate\.v1"')


def fits(path: Path, head: str) -> bool:
    """Whether the first line says that it is one."""
    return bool(_SCHEMA.search(head.split("\n", 1)[0]))


def read(path: Path, split: Split) -> Iterator[Debate]:
    """The records as they are; their own split stands."""
    return read_records(path, Debate)
