"""The part of the evaluation's page on how its figures were computed, and what is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from arkloom.evaluate.kinds import standing
from arkloom.reports.blocks import Block, Facts, Table
from arkloom.reports.words import duration, listing, percent, plural, quantity


def absent(report: Mapping[str, Any]) -> list[Block]:
    """Arms that could not be played and a PRM that is not there, with their reasons."""
    reasons: dict[str, str] = dict(report.get("absent") or {})
    if report.get("prm") is None and report.get("prm_reason"):
        reasons["prm"] = report["prm_reason"]
    return [Facts(tuple(reasons.items()))] if reasons else []


def method(report: Mapping[str, Any]) -> list[Block]:
    """Problems, seeds, formulas, and the steps of the run with their times and keys."""
    arms: Mapping[str, Mapping[str, Any]] = report.get("arms") or {}
    pairs: list[tuple[str, str | Markup]] = []
    if sizes := sorted({int(arm["n"]) for arm in arms.values() if arm.get("n") is not None}):
        pairs.append(
            ("test problems", f"{listing([quantity(n) for n in sizes])}, never seen in training or choice")
        )
    if report.get("best_arm"):
        pairs.append(("best student", f"{report['best_arm']}, {_choice(report['best_arm'])}"))
    seeds = {int((arm.get("sampled") or {}).get("seeds") or 0) for arm in arms.values()} - {0}
    if seeds:
        pairs.append(("sampled runs", f"{listing([str(n) for n in sorted(seeds)])} seeds an arm"))
    if report.get("debate_errors"):
        pairs.append(("unfinished debates", f"{plural(report['debate_errors'], 'debate')}, counted as wrong"))
    pairs.append(
        (
            "gain kept",
            "(student − base) / (debate − base), a ratio of mean accuracies with a paired bootstrap interval;"
            " told only where the debate's own gain over base is above 0",
        )
    )
    for name, about in (
        ("token_ratio_all", "tokens read and written, student over debate"),
        ("flop_ratio", "the same, weighted by parameters"),
    ):
        if report.get(name) is not None:
            pairs.append((about, share(report[name])))
    blocks: list[Block] = [Facts(tuple(pairs))]
    if report.get("seconds") or report.get("keys"):
        blocks.append(_steps(report))
    return blocks


def _steps(report: Mapping[str, Any]) -> Table:
    seconds: Mapping[str, float | None] = report.get("seconds") or {}
    keys: Mapping[str, str] = report.get("keys") or {}
    rows = []
    for name in dict.fromkeys([*seconds, *keys]):
        took = seconds.get(name)
        rows.append(
            (
                name,
                "–" if took is None else duration(took),
                Markup("<code>{}</code>").format(keys.get(name, "")[:12]),
            )
        )
    total = sum(took for took in seconds.values() if took is not None)
    foot = f"Work in all: {duration(total)}. A step that was found finished shows the time it took when made."
    return Table(("step", "time", "key"), tuple(rows), numeric=frozenset({1}), foot=foot if seconds else "")


def _choice(best: str) -> str:
    taught = standing(best) == "taught"
    among = "the debate’s students" if taught else "the others: the debate taught no student"
    return f"chosen on the validation problems among {among}"


def share(value: float) -> str:
    """A share in percent, finer where it is small."""
    return percent(value, 0 if value >= 0.0995 else 1)
