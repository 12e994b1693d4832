"""Model cards: what a checkpoint is, from what it was made, and how."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arkloom.config import RunConfig
from arkloom.store import Artifact


def card(
    title: str,
    base: str,
    summary: str,
    facts: Mapping[str, Mapping[str, Any]],
    license_: str | None = None,
    task: str = "text-generation",
) -> str:
    """A Hugging Face model card (README.md).

    Args:
        title: Heading.
        base: Name of the model that training began from.
        summary: What the model is, one paragraph.
        facts: Section heading -> table of name and value.
        license_: Of the base model, where known.
        task: What hubs list it under.
    """
    head = ["---", f"base_model: {base}", "library_name: transformers", f"pipeline_tag: {task}"]
    head += [f"license: {license_}"] if license_ else []
    head += ["tags:", "- arkloom", "---", "", f"# {title}", "", summary, ""]
    for heading, table in facts.items():
        head += [f"## {heading}", "", "| | |", "|---|---|"]
        head += [f"| {name} | {value} |" for name, value in table.items()]
        head.append("")
    return "\n".join(head)


def student_card(
    config: RunConfig, section: str, inputs: Mapping[str, Artifact], metrics: Mapping[str, Any], taught: str
) -> str:
    """The card of a student: its base (the folder's name, nothing of this machine), figures and lineage.

    Args:
        config: Of the run; ``models.student`` is the base.
        section: The stage's section of the configuration.
        inputs: What the stage read; ``start`` is named where training began from an artifact.
        metrics: Headline figures of the training.
        taught: "Trained by Arkloom ...": on what.
    """
    name = config.models.student.name
    base = Path(name).name if os.sep in name else name
    if "start" in inputs:
        base = f"{base} (from {inputs['start'].key[:12]})"
    return card(
        title=f"Student of {base}",
        base=base,
        summary=f"Trained by Arkloom {taught}. Loads with `AutoModelForCausalLM` and `AutoTokenizer`.",
        facts={
            "Training": metrics,
            "Settings": config.part(section) | {"seed": config.seed},
            "Lineage": {port: artifact.key for port, artifact in sorted(inputs.items())},
        },
    )
