"""The card of the best arm: what it is, what it scored beside the others, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arkloom.config import RunConfig
from arkloom.reports.facts import shown
from arkloom.training.card import card

_DEBATE = "{arm}, distilled from a debate of {agents} agents over {rounds} rounds"


def card_of(
    config: RunConfig,
    report: Mapping[str, Any],
    decision: Mapping[str, Any],
    lineage: Mapping[str, str],
    digest: str,
) -> str:
    """A Hugging Face model card (README.md) of ``decision["best_arm"]``.

    Args:
        config: Of the run.
        report: Of the evaluation.
        decision: Of the gate.
        lineage: Keys of the artifacts behind it, by what they are.
        digest: Of the configuration.
    """
    base = base_of(config)
    arm, rules = decision["best_arm"], config.debate
    verdict = "promoted" if decision["promote"] else "refused"
    license_ = config.registry.license
    held = license_ or "not stated (registry.license)"
    return card(
        title=f"{config.registry.model}: {arm} of {base}",
        base=base,
        summary=f"{_DEBATE.format(arm=arm, agents=rules.agents, rounds=rules.rounds)} by Arkloom. Gate: "
        f"{verdict}, {decision['reason']}. Loads with `AutoModelForCausalLM` and `AutoTokenizer`.",
        facts={
            "Held-out accuracy": {name: _line(line) for name, line in report["arms"].items()},
            "Gate": {name: shown(value) for name, value in decision.items() if name != "reason"},
            "Licence": {"base model": held, "this model": f"whatever the licence of {base} asks for"},
            "Lineage": {**lineage, "configuration": digest, "seed": config.seed},
        },
        license_=license_,
    )


def base_of(config: RunConfig) -> str:
    """Name of the model that training began from: the folder's alone, nothing of this machine."""
    return config.models.student.name.rstrip("/").rpartition("/")[2]


def _line(arm: Mapping[str, Any]) -> str:
    """``0.712 (95 % interval 0.640 to 0.780), 41 tokens a problem``."""
    low, high = arm["ci95"]
    tokens = arm.get("tokens_per_problem")
    cost = "" if tokens is None else f", {tokens:.0f} tokens a problem"
    return f"{arm['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}){cost}"
