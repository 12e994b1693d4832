"""Reasoning quality of every model alone: likelihood of correct traces, and self-correction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from arkloom.cgroups import cores
from arkloom.config import ModelConfig, RunConfig
from arkloom.evaluate.arms import DEBATE, Model
from arkloom.evaluate.play import Played
from arkloom.prompts import Prompts
from arkloom.stage import Context
from arkloom.store import Workspace
from arkloom.store.local import write_atomic

_UNKNOWN = {"nll": None, "ppl": None, "tokens": 0, "traces": 0}


def reasoning(
    config: RunConfig, played: Mapping[str, Played], outputs: Workspace, context: Context
) -> dict[str, dict[str, Any]]:
    """``{arm: {nll, ppl, tokens, traces, self_correction, cases}}`` of base and the students.

    Call it when no engine is open: each model is loaded once more, one after another. Models with equal
    weights are read once; what was computed before a stop is kept.

    Raises:
        ResumeError: Told to stop.
    """
    alone = {name: arm for name, arm in played.items() if arm.corrections is not None}
    likely = _likelihoods(config, {name: arm.model for name, arm in alone.items()}, played, outputs, context)
    return {
        name: likely[name] | arm.corrections.json()
        for name, arm in alone.items()
        if arm.corrections is not None
    }


def _likelihoods(
    config: RunConfig,
    models: Mapping[str, Model],
    played: Mapping[str, Played],
    outputs: Workspace,
    context: Context,
) -> dict[str, dict[str, Any]]:
    if config.engine == "scripted" or DEBATE not in played:  # a script has no weights
        return dict.fromkeys(models, _UNKNOWN)
    from arkloom.evaluate.likelihood import held_out_traces, likelihood  # noqa: PLC0415 - imports torch

    prompts = Prompts(config.prompts.profile, config.prompts.layout)
    rows = held_out_traces(played[DEBATE].debates, prompts)
    task = context.progress.add("likelihood", len(models))
    machine = config.runtime
    threads = machine.threads or cores()
    found = {}
    for name, model in models.items():
        path = outputs.scratch / "likelihood" / f"{model.digest[:16]}.json"
        if not rows or _adapted(model):
            found[name] = _UNKNOWN
        else:
            if not path.exists():
                context.check()
                made = likelihood(model.folder, rows, machine.device, threads)
                write_atomic(path, json.dumps(made.json()))
                outputs.checkpoint(path)
            found[name] = json.loads(path.read_text())
        task.advance()
    return found


def _adapted(model: Model) -> bool:
    """The folder of a model with an adapter holds other weights than those that answered."""
    return isinstance(model.source, ModelConfig) and model.source.adapter is not None
