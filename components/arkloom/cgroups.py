"""Cores and memory that this process may use: a container is often given less than its node has."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """Cores that we may keep busy, at least 1: more threads would only wait for each other."""
    allowed, quota = allowed_cores(), cpu_quota()
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def allowed_cores() -> int:
    """Cores that the scheduler's mask allows."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: Path = _CGROUPS, own: Path = _OWN) -> float | None:
    """Cores that the control group allows (both versions), or None without a limit."""
    found = []
    for folder in _groups(root, own, "cpu"):
        quota, period = (
            _words(folder / "cpu.max", 2)
            or (
                *_words(folder / "cpu.cfs_quota_us", 1),
                *_words(folder / "cpu.cfs_period_us", 1),
            )
            or ("max", "")
        )
        if quota.isdigit() and period.isdigit() and int(period):  # no limit is "max", or -1
            found.append(int(quota) / int(period))
    return min(found, default=None)


def memory_limit(root: Path = _CGROUPS, own: Path = _OWN) -> tuple[int | None, int]:
    """Bytes that the control group allows, and bytes it uses; None without a limit."""
    found: list[tuple[int, int]] = []
    for folder in _groups(root, own, "memory"):
        limit = _words(folder / "memory.max", 1) or _words(folder / "memory.limit_in_bytes", 1)
        used = _words(folder / "memory.current", 1) or _words(folder / "memory.usage_in_bytes", 1)
        if limit and limit[0].isdigit():
            found.append((int(limit[0]), int(used[0]) if used else 0))
    return min(found, default=(None, 0))


def _groups(root: Path, own: Path, controller: str) -> list[Path]:
    """Folders of our group and of those around it: the narrowest limit holds."""
    folders = [root, root / controller]  # inside a container its own group is mounted as the root
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = root / controller if names else root
        inside = Path(path.lstrip("/"))
        folders += [base / part for part in (inside, *inside.parents)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _words(path: Path, number: int) -> tuple[str, ...]:
    try:
        words = tuple(path.read_text().split())
    except OSError:
        return ()
    return words if len(words) == number else ()
