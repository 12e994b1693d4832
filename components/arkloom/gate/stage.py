"""Stage ``gate``: an evaluation in, a verdict out; it ends with 0 whatever the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping

from arkloom.config import RunConfig
from arkloom.gate.evaluations import read
from arkloom.gate.rule import Decision, decide
from arkloom.stage import Context, Stage, StageReport
from arkloom.store import Artifact, Workspace
from arkloom.telemetry.metrics import GATE_PROMOTE


def run(
    config: RunConfig, inputs: Mapping[str, Artifact], outputs: Workspace, context: Context
) -> StageReport:
    """Decide whether the best arm of ``report`` is promoted, and write ``gate.json``.

    Raises:
        BadInputError: A report or its answers cannot be read.
    """
    decision = _decide(config, inputs)
    GATE_PROMOTE.set(decision.promote)
    (outputs.folder / "gate.json").write_text(
        json.dumps(decision.json(), indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    return StageReport(kind="gate", metrics={"promote": decision.promote, "reason": decision.reason})


def _decide(config: RunConfig, inputs: Mapping[str, Artifact]) -> Decision:
    for port, artifact in inputs.items():
        if artifact.absent is not None:
            whose = "evaluation" if port == "report" else "champion's evaluation"
            return Decision(False, f"the {whose} is absent: {artifact.absent}")
    champion = read(inputs["champion"]) if "champion" in inputs else None
    return decide(config.gate, read(inputs["report"]), champion, config.evaluate.bootstrap, config.seed)


STAGE = Stage(
    name="gate",
    schema=1,
    sections=("seed", "gate", "evaluate.bootstrap"),
    inputs=("report", "champion?"),
    run=run,
)
