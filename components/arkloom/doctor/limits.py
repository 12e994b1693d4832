"""What of the machine's cores and memory this process may really use, and whether it suffices."""

from __future__ import annotations

import os
from pathlib import Path

from arkloom.cgroups import allowed_cores, cpu_quota, memory_limit
from arkloom.config import RunConfig
from arkloom.doctor.findings import Finding

GIB = 1 << 30
LEAST_MEMORY = 4 * GIB  # what the laptop preset is held to
_MEMINFO = Path("/proc/meminfo")


def cores(config: RunConfig) -> Finding:
    """Cores by the scheduler's mask and the control group's quota, whichever is less."""
    present, allowed, quota = os.cpu_count() or 1, allowed_cores(), cpu_quota()
    usable = min(allowed, quota) if quota else float(allowed)
    told = f"{usable:g} usable of {present}"
    told += f" (limited to {quota:g} by the control group)" if quota and quota < allowed else ""
    wanted = config.runtime.parallel
    if wanted > usable:
        mend = f"Set runtime.parallel to {max(1, int(usable))}"
        return Finding("cores", "warn", f"{told}; runtime.parallel is {wanted}", mend)
    return Finding("cores", "ok", told)


def memory() -> Finding:
    """Memory in all and free, of the machine or of the control group, whichever is less."""
    total, free = _machine_memory()
    limit, used = memory_limit()
    told = f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB free"
    if limit is not None and limit < total:
        total, free = limit, min(free, max(0, limit - used))
        told = f"{total / GIB:.1f} GiB by the control group, {free / GIB:.1f} GiB free"
    if free < LEAST_MEMORY:
        mend = "Close other programs, or expect small models only"
        return Finding("memory", "warn", f"{told}; less than {LEAST_MEMORY / GIB:.0f} GiB", mend)
    return Finding("memory", "ok", told)


def _machine_memory() -> tuple[int, int]:
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    if not _MEMINFO.is_file():
        return total, total
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return total, int(lines.get("MemAvailable", "0 kB").split()[0]) * 1024
