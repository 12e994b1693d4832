"""Stage ``register``: an evaluation and the gate's decision in, a model card and a version out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from arkloom.canonical import digest
from arkloom.config import RunConfig
from arkloom.errors import BadInputError
from arkloom.register.card import base_of, card_of
from arkloom.registry import Registry, Version
from arkloom.stage import Context, Stage, StageReport, absent_port
from arkloom.store import Artifact, Manifest, Store, Workspace

KIND = "registration"


def run(
    config: RunConfig, inputs: Mapping[str, Artifact], outputs: Workspace, context: Context
) -> StageReport:
    """Write the card of the best arm; register it where the gate promoted it.

    Raises:
        BadInputError: The decision is another evaluation's, or the student is not in the store.
    """
    if reason := absent_port(inputs, "report", "decision"):
        return StageReport(kind=KIND, absent=reason)
    evaluation, gate = inputs["report"], inputs["decision"]
    if gate.manifest.parents.get("report") != evaluation.key:
        raise BadInputError("the decision is about another evaluation", where=gate.manifest.uri)
    decision, report = _json(gate, "gate.json"), _json(evaluation, "report.json")
    arm = decision["best_arm"]
    if arm is None:
        return StageReport(kind=KIND, absent=decision["reason"])
    student = _student(evaluation.manifest, arm, context.store)
    lineage = {"student": student.key, "evaluation": evaluation.key, "decision": gate.key, **student.parents}
    text = card_of(config, report, decision, lineage, _digest(config))
    (outputs.folder / "README.md").write_text(text, encoding="utf-8")
    if not decision["promote"]:
        return StageReport(kind=KIND, absent=decision["reason"])
    line = report["arms"][arm]
    version = Registry(context.store).register(
        Version(
            model=config.registry.model,
            key=student.key,
            uri=student.uri,
            arm=arm,
            base=base_of(config),
            accuracy=line["accuracy"],
            ci95=line["ci95"],
            token_ratio=decision["token_ratio"],
            reason=decision["reason"],
            lineage=lineage,
            config_digest=_digest(config),
            registered=time.time(),
            card=text,
        )
    )
    told = version.model_dump_json(by_alias=True, indent=1, exclude={"card"})
    (outputs.folder / "version.json").write_text(told + "\n", encoding="utf-8")
    return StageReport(
        kind=KIND, metrics={"model": version.model, "version": version.number, "arm": arm, "uri": student.uri}
    )


def _student(evaluation: Manifest, arm: str, store: Store) -> Manifest:
    """The artifact of an arm that was evaluated; its files stay where they are."""
    stage = evaluation.parent_uris.get(arm, "").rpartition("/")[0].rpartition("/")[2]
    found = store.find(stage, evaluation.parents[arm]) if stage else None
    if found is None:
        raise BadInputError(f"the student of arm {arm!r} is not in the store", where=evaluation.uri)
    return found


def _json(artifact: Artifact, name: str) -> dict[str, Any]:
    path = artifact.file(name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError("cannot be read as JSON", where=str(path)) from error
    if not isinstance(found, dict):
        raise BadInputError("not an object of JSON", where=str(path))
    return found


def _digest(config: RunConfig) -> str:
    """Of all that can change what is computed."""
    return digest(config.model_dump(mode="json", exclude={"engine", "store", "runtime"}))


STAGE = Stage(
    name="register",
    schema=1,
    sections=("seed", "registry", "debate.agents", "debate.rounds"),
    inputs=("report", "decision"),
    run=run,
    reads=lambda config: {"config": _digest(config)},
)
