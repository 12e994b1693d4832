"""Draws the problems and writes the three splits, and sets beside them, as an artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from arkloom import problems
from arkloom.config import RunConfig
from arkloom.jsonl import write_records
from arkloom.problems import Draw
from arkloom.records import Problem
from arkloom.stage import Context, Stage, StageReport
from arkloom.store import Artifact, Workspace


def run(
    config: RunConfig, inputs: Mapping[str, Artifact], outputs: Workspace, context: Context
) -> StageReport:
    """Write ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``, and the sets that are asked beside test.

    Raises:
        BadInputError: A row cannot be used, or there are too few.
    """
    drawn = problems.draw(config.problems)
    splits = {"train": drawn.train, "validation": drawn.validation, "test": drawn.test}
    if not any(splits.values()):
        return StageReport(kind="problems", absent="no problems asked: all three splits have size 0")
    counts = {
        split: write_records(outputs.folder / f"{split}.jsonl", found) for split, found in splits.items()
    }
    types = Counter(problem.answer_type for found in splits.values() for problem in found)
    if drawn.dropped:
        context.events.emit("duplicates dropped", count=drawn.dropped)
    metrics = {**counts, "answer_types": dict(types), "duplicates_dropped": drawn.dropped}
    return StageReport(kind="problems", metrics=metrics | _beside(config, drawn, outputs))


def _beside(config: RunConfig, drawn: Draw, outputs: Workspace) -> dict[str, Any]:
    """Write the out-of-distribution and the disturbed sets; metrics of those that were asked for."""
    metrics: dict[str, Any] = {}
    if config.problems.ood:
        beyond = problems.outside(config.problems, drawn)
        metrics["ood"] = _sets(beyond.sets, "ood", outputs)
        metrics["ood_shared"] = beyond.shared
    if config.problems.robustness:
        disturbed = problems.disturb(config.problems, drawn, config.prompts.profile)
        metrics["robustness"] = _sets(disturbed.sets, "robust", outputs)
        metrics["not_disturbed"] = disturbed.left_out
    return metrics


def _sets(sets: Mapping[str, Sequence[Problem]], kind: str, outputs: Workspace) -> dict[str, int]:
    return {
        name: write_records(outputs.folder / f"{kind}-{name}.jsonl", found) for name, found in sets.items()
    }


def _sections(config: RunConfig) -> tuple[str, ...]:
    """Who reads the problems matters only to a sentence that is put before them."""
    return ("problems", "prompts.profile") if config.problems.robustness else ("problems",)


STAGE = Stage(
    name="prepare",
    schema=2,
    sections=_sections,
    inputs=(),
    run=run,
    reads=lambda config: problems.digests(config.problems),
)
