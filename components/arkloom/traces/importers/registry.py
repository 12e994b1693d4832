"""Finds the format of a log and reads it as ``debate.v1`` records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from arkloom.errors import BadInputError
from arkloom.records import Debate, Split
from arkloom.traces.importers import llm_multiagent_debate, native, rounds

_HEAD = 1 << 16  # bytes that a format may look at


class Format(Protocol):
    """One way to write debates down."""

    NAME: str

    def fits(self, path: Path, head: str) -> bool:
        """Whether a file is of this format, by its name and its first 64 KiB."""

    def read(self, path: Path, split: Split) -> Iterator[Debate]:
        """Every debate of a file; ``split`` is what the log was made from, where it does not say."""


FORMATS: dict[str, Format] = {
    module.NAME: cast(Format, module) for module in (native, rounds, llm_multiagent_debate)
}


def read_log(path: Path, format_name: str | None = None, split: Split = "train") -> Iterator[Debate]:
    """Every debate of a log.

    Args:
        path: A file, or a folder with ``debates*.jsonl`` (else all its ``*.json`` and ``*.jsonl``).
        format_name: One of ``FORMATS``; recognised from the content where it is None.
        split: The split that foreign logs belong to; our own records say it themselves.

    Raises:
        BadInputError: Nothing there, an empty file, an unknown format, or a bad row.
    """
    if format_name is not None and format_name not in FORMATS:
        raise BadInputError(f"no format {format_name!r}", mend=f"Known: {', '.join(FORMATS)}")
    for file in _files(path):
        chosen = FORMATS[format_name] if format_name else _recognise(file)
        yield from chosen.read(file, split)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadInputError("no such file or folder", where=str(path))
    found = sorted(path.glob("debates*.jsonl")) or sorted([*path.glob("*.jsonl"), *path.glob("*.json")])
    if not found:
        raise BadInputError("no debates here", where=str(path), mend="Give a folder with debates*.jsonl")
    return found


def _recognise(path: Path) -> Format:
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD).decode("utf-8-sig", errors="ignore")
    except OSError as error:
        raise BadInputError(f"cannot read ({error.strerror})", where=str(path)) from error
    if not head.strip():
        raise BadInputError("the file is empty", where=str(path))
    for known in FORMATS.values():
        if known.fits(path, head):
            return known
    raise BadInputError("no known format of debates", where=str(path), mend=f"Known: {', '.join(FORMATS)}")
