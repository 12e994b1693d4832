"""What a run needs from its store, files, models and endpoints; nothing of the machine that asks."""

from __future__ import annotations

from collections.abc import Iterator

from arkloom import problems
from arkloom.config import RunConfig
from arkloom.doctor.engines import endpoints
from arkloom.doctor.files import files
from arkloom.doctor.findings import Finding, refused
from arkloom.doctor.models import models
from arkloom.doctor.stores import stores
from arkloom.errors import ArkloomError


def examine(config: RunConfig) -> Iterator[Finding]:
    """One line a question, the quick ones first; a probe of a few bytes is written and deleted again."""
    yield from files(config)
    yield _problems(config)
    yield from models(config)
    yield from endpoints(config)
    yield from stores(config)


def _problems(config: RunConfig) -> Finding:
    """Draw them as the stage ``prepare`` will."""
    try:
        drawn = problems.draw(config.problems)
    except ArkloomError as error:
        return refused("problems", error)
    counts = {name: len(getattr(drawn, name)) for name in ("train", "validation", "test")}
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if empty := [name for name in ("train", "test") if not counts[name]]:
        mend = f"Set problems.{empty[0]}, or expect a run that ends early"
        return Finding("problems", "warn", f"{config.problems.source}: {told}", mend)
    return Finding("problems", "ok", f"{config.problems.source}: {told}")
