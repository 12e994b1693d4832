"""Draws the problems and writes the three splits as an artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from arkloom import problems
from arkloom.config import RunConfig
from arkloom.jsonl import write_records
from arkloom.stage import Context, Stage, StageReport
from arkloom.store import Artifact, Workspace


def run(
    config: RunConfig, inputs: Mapping[str, Artifact], outputs: Workspace, context: Context
) -> StageReport:
    """Write ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl``; raises BadInputError on a bad row."""
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
    return StageReport(kind="problems", metrics=metrics)


STAGE = Stage(
    name="prepare",
    schema=1,
    sections=("problems",),
    inputs=(),
    run=run,
    reads=lambda config: problems.digests(config.problems),
)
