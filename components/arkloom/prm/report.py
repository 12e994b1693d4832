"""What the stage tells: report.json, the artifact's metrics, and the model card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arkloom.config import RunConfig
from arkloom.prm.judging import Gate, Judgement
from arkloom.prm.splitting import Split
from arkloom.telemetry.metrics import PRM_QUALITY
from arkloom.training.card import card

_HEADLINES = ("step_auc", "pairwise_accuracy", "first_error_f1", "ece", "score_length_correlation")


def assemble(
    config: RunConfig,
    split: Split,
    judged: Judgement,
    verdict: Gate,
    best_of: Mapping[str, Any],
    curve: list[dict[str, Any]],
) -> dict[str, Any]:
    """The whole report; ``rows`` and ``problems`` are what was learned from, ``validation`` what judged."""
    counted = (
        "rows",
        "problems",
        "steps_labelled",
        "steps_wrong",
        "rows_first_error_known",
        "rows_with_error",
    )
    figures = {name: value for name, value in judged.figures.items() if name not in counted}
    known = [label for trace in split.train for label in trace.known]
    return {
        **figures,
        "best_of_n": dict(best_of),
        "gate_passed": verdict.passed,
        "gate_reason": verdict.reason,
        "threshold": judged.threshold,
        "calibration": judged.calibration.json(),
        "judged_on": split.judged_on,
        "validation": {name: judged.figures[name] for name in counted},
        "rows": len(split.train),
        "problems": len({trace.problem for trace in split.train}),
        "steps_labelled": len(known),
        "steps_wrong": known.count(0),
        "too_long": split.found.too_long,
        "unlabelled": split.found.unlabelled,
        "with_negatives": _with_negatives(split),
        "settings": settings_of(config),
        "curve": curve,
    }


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Section ``prm`` and the seed, without what has no part in the PRM."""
    gate = config.prm.gate.model_dump(exclude={"enforce"})
    settings: dict[str, Any] = config.part("prm")
    return settings | {"gate": gate, "seed": config.seed}


def metrics_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Headline figures for the manifest; also told to Prometheus."""
    metrics = {name: report[name] for name in _HEADLINES}
    for name, value in metrics.items():
        if value is not None:
            PRM_QUALITY.labels(figure=name).set(value)
    floors = report["floors"]
    return metrics | {
        "best_floor": max(floors.values()) if floors else None,
        "gate_passed": report["gate_passed"],
        "rows": report["rows"],
        "problems": report["problems"],
        "with_negatives": report["with_negatives"],
        "too_long": report["too_long"],
        "steps": len(report["curve"]),
    }


def card_of(config: RunConfig, report: Mapping[str, Any], lineage: Mapping[str, str]) -> str:
    """The model card (README.md)."""
    base = (config.prm.init or config.models.student).name
    base = Path(base).name if os.sep in base else base
    if "start" in lineage and config.prm.init is None:
        base = f"{base} (from {lineage['start'][:12]})"
    return card(
        title=f"Process reward model of {base}",
        base=base,
        summary="Scores every step of a solution in one forward pass. Loads with "
        "`AutoModelForTokenClassification` (one label): the sigmoid of the logit at a step's last token is"
        " the chance that the solution is right up to there. Its calibration is part of the head.",
        facts={
            "Judged on validation": metrics_of(report)
            | {"gate": report["gate_reason"], "threshold": report["threshold"]},
            "Settings": settings_of(config),
            "Lineage": lineage,
        },
        task="token-classification",
    )


def _with_negatives(split: Split) -> float | None:
    """Share of right steps whose problem has a wrong one."""
    opposed = {trace.problem for trace in split.train if 0 in trace.labels}
    owners = [trace.problem for trace in split.train for label in trace.labels if label == 1]
    return sum(owner in opposed for owner in owners) / len(owners) if owners else None
