"""A finished run of the smoke preset, and the command line that makes one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Whole:
    """A finished run: its folder holds ``out`` and ``store``."""

    root: Path
    seconds: float
    told: str


def smoke_command(root: Path) -> list[str]:
    """The command line of a smoke run under a folder of its own."""
    arguments = [
        "run",
        "--preset",
        "smoke",
        "--out",
        str(root / "out"),
        "--set",
        f"store.root={root / 'store'}",
    ]
    return [sys.executable, "-m", "arkloom", *arguments]
