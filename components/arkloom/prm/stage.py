"""Stage ``prm``: labelled steps and a model in, a judged process reward model out."""

from __future__ import annotations

from collections.abc import Mapping

from arkloom.config import RunConfig
from arkloom.stage import Context, Stage, StageReport
from arkloom.store import Artifact, Workspace

KIND = "prm"


def run(
    config: RunConfig, inputs: Mapping[str, Artifact], outputs: Workspace, context: Context
) -> StageReport:
    """Train on ``steps``, judge on ``validation`` (or a fifth of the problems), publish with the verdict.

    Raises:
        BadInputError: A row or the model cannot be used.
        ResumeError: Told to stop; the last checkpoint is kept.
        ArkloomError: The loss or a weight is not finite.
    """
    for port in ("steps", "start"):
        if port in inputs and (reason := inputs[port].absent):
            return StageReport(kind=KIND, absent=f"{port} is absent: {reason}")
    from arkloom.prm.make import make  # noqa: PLC0415 - torch takes seconds, a finished artifact none

    return make(config, inputs, outputs, context)


STAGE = Stage(
    name="prm",
    schema=2,
    sections=(
        "seed",
        "models.student",
        "prm",
        "prompts",
        "debate.temperature",
        "debate.top_p",
        "debate.max_tokens",
    ),
    inputs=("steps", "own?", "validation?", "problems?", "start?"),
    run=run,
)
