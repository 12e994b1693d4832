"""Model cards: what a checkpoint is, from what it was made, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
