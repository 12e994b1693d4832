"""All questions, in the order in which a run would meet them."""

from __future__ import annotations

from collections.abc import Iterator

from arkloom.config import RunConfig
from arkloom.doctor.engines import engines
from arkloom.doctor.files import files
from arkloom.doctor.findings import Finding
from arkloom.doctor.limits import cores, memory
from arkloom.doctor.machine import devices, disks, interpreters, packages, python, torch_build
from arkloom.doctor.models import models
from arkloom.doctor.stores import stores


def examine(config: RunConfig) -> Iterator[Finding]:
    """Look at everything that a run of ``config`` on this machine needs; slow answers come last.

    A probe of a few bytes is written under the store's root and deleted again; nothing else is changed. Every
    endpoint is asked for one token.
    """
    yield python()
    yield from interpreters(config)
    yield cores(config)
    yield memory()
    yield from disks(config)
    yield from files(config)
    yield from models(config)
    yield from engines(config)
    yield from packages()
    build = torch_build()
    yield build.finding
    yield devices(config, build)
    yield from stores(config)
