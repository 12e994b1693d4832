"""What a run needs from its store, files, models and endpoints; nothing of the machine that asks."""

from __future__ import annotations

from collections.abc import Iterator

from arkloom import problems
from arkloom.config import ModelConfig, RunConfig
from arkloom.doctor.files import files
from arkloom.doctor.findings import Finding, refused
from arkloom.doctor.models import models
from arkloom.doctor.stores import stores
from arkloom.engines import openai_open
from arkloom.errors import ArkloomError

_PATIENCE_S = 15.0  # for an endpoint: one that is still loading its model is told to be away


def examine(config: RunConfig) -> Iterator[Finding]:
    """One line a question, the quick ones first; a probe of a few bytes is written and deleted again."""
    yield from files(config)
    yield _problems(config)
    served = config.engine == "openai"
    for finding in models(config):
        # Who is served elsewhere need not be here; who learns must be.
        if not served or finding.name in {"model (student)", "model (prm)", "models"}:
            yield finding
    if served:
        named = config.models.agents or (config.models.teacher,)
        yield from (_endpoint(config, model) for model in dict.fromkeys(named))
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


def _endpoint(config: RunConfig, model: ModelConfig) -> Finding:
    """Meet the endpoints as a stage would, and see that they serve the model."""
    name = f"endpoint ({model.name})"
    try:
        hasty = config.override([f"runtime.patience={min(config.runtime.patience, _PATIENCE_S)}"])
        engine = openai_open.load(hasty, model)
    except ArkloomError as error:
        return refused(name, error)
    return Finding(name, "ok", f"serves it, with a context of {engine.context_length:,} tokens")
