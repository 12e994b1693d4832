"""A page for what has no report of its own: names with their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arkloom.reports.blocks import Facts, Page, Section
from arkloom.reports.render import html
from arkloom.reports.words import fixed, quantity

_DIGITS = 4


def facts_page(title: str, lead: str, facts: Mapping[str, Any]) -> str:
    """One HTML page.

    Args:
        title: What it is about.
        lead: The finding, in a sentence.
        facts: In reading order; a mapping among them is shown in a line.
    """
    pairs = tuple((name, shown(value)) for name, value in facts.items())
    return html(Page(kicker="Arkloom", title=title, lead=lead, sections=[Section("Figures", [Facts(pairs)])]))


def shown(value: Any) -> str:
    """A value as people read it: a few digits, ``yes`` or ``no``, lists and mappings in a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return fixed(value, _DIGITS)
    return quantity(value) if isinstance(value, int) else "none" if value is None else str(value)
