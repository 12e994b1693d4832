"""Verified checkpoints: files first, then a seal with their digests, written last.

A folder without a seal, or whose bytes differ from it, does not exist: it is skipped, never loaded.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from arkloom.canonical import digest_file

SEAL = "seal.json"
PREFIX = "checkpoint-"
_FULL = 1 << 20  # bytes left on a disk that is as good as full


def seal(folder: Path) -> None:
    """Make every file of a checkpoint durable, then write what they must look like."""
    files = {f.relative_to(folder).as_posix(): f for f in sorted(folder.rglob("*")) if f.is_file()}
    files.pop(SEAL, None)
    for file in files.values():
        _sync(file)
    content = {
        name: {"sha256": digest_file(file), "size": file.stat().st_size} for name, file in files.items()
    }
    partial = folder / f".{SEAL}"
    partial.write_text(json.dumps({"files": content}, indent=1))
    _sync(partial)
    partial.replace(folder / SEAL)
    _sync(folder)


def intact(folder: Path) -> bool:
    """Whether a checkpoint is sealed and every file is as it was when it was sealed."""
    try:
        files = json.loads((folder / SEAL).read_text())["files"]
        return all(
            (folder / name).stat().st_size == entry["size"] and digest_file(folder / name) == entry["sha256"]
            for name, entry in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def step_of(folder: Path) -> int:
    """The optimiser step that a checkpoint was taken after."""
    return int(folder.name.removeprefix(PREFIX))


def latest(root: Path) -> Path | None:
    """The newest intact checkpoint under ``root``, or None; those that are not intact are removed."""
    found = [f for f in root.glob(f"{PREFIX}*") if f.is_dir() and f.name.removeprefix(PREFIX).isdigit()]
    for folder in sorted(found, key=step_of, reverse=True):
        if intact(folder):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
    return None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around code that writes weights: a full disk is an ``OSError``, whatever the library calls it.

    Raises:
        OSError: ``ENOSPC``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        full = "No space left" in str(error) or shutil.disk_usage(folder).free < _FULL
        if not full:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
