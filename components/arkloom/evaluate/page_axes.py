"""The parts of the evaluation's page beside the test split: other problems, disturbed ones, reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arkloom.evaluate.reasoning import LEAST_CASES
from arkloom.reports.blocks import Block, Cell, Table
from arkloom.reports.words import fixed, percent, percent_interval, points, points_interval, quantity

_NONE = "–"
_SETS = {
    "shorter": "a*b-c+d*e",
    "products": "a*b+c*d-e*f",
    "larger": "larger numbers",
    "distractor": "an idle sentence before it",
    "reordered": "options in another order",
    "numbers": "other numbers",
}


def beyond(report: Mapping[str, Any]) -> list[Block]:
    """Accuracy on the out-of-distribution and on the disturbed sets, arm by arm."""
    axes = report.get("axes") or {}
    arms: Mapping[str, Mapping[str, Any]] = report.get("arms") or {}
    blocks: list[Block] = []
    if ood := _sets(axes, "ood"):
        blocks.append(_table(ood, arms, "Problems of another kind", lost=False))
    if robust := _sets(axes, "robustness"):
        blocks.append(_table(robust, arms, "Test problems asked again, disturbed", lost=True))
    return blocks


def reasoning(report: Mapping[str, Any]) -> list[Block]:
    """Likelihood of correct traces and self-correction, arm by arm."""
    told: Mapping[str, Mapping[str, Any]] = {
        name: line for name, line in (report.get("reasoning") or {}).items() if line
    }
    if not any(line.get("nll") is not None or line.get("cases") for line in told.values()):
        return []
    rows = tuple(
        (
            name,
            _NONE if line.get("nll") is None else fixed(line["nll"], 3),
            _NONE if line.get("ppl") is None else quantity(line["ppl"]),
            _NONE if line.get("self_correction") is None else percent(line["self_correction"], 1),
            _NONE if line.get("cases") is None else quantity(line["cases"]),
        )
        for name, line in told.items()
    )
    traces = max((int(line.get("traces") or 0) for line in told.values()), default=0)
    on = f", over {quantity(traces)} of them" if traces else ""
    foot = (
        f"NLL and perplexity: a token of the debate's correct solutions of test problems{on}, written as the"
        " model's own answer; lower is more expected. Self-correction: share of answers that state a wrong"
        f" result on the way and end right all the same, told from {LEAST_CASES} such answers on."
    )
    columns = ("arm", "NLL", "perplexity", "self-correction", "wrong results stated in")
    return [Table(columns, rows, numeric=frozenset(range(1, len(columns))), foot=foot)]


def _sets(axes: Mapping[str, Any], axis: str) -> dict[str, Mapping[str, Any]]:
    return {name: lines for name, lines in (axes.get(axis) or {}).items() if lines}


def _table(
    sets: Mapping[str, Mapping[str, Any]], arms: Mapping[str, Mapping[str, Any]], caption: str, *, lost: bool
) -> Table:
    names = list(dict.fromkeys(arm for lines in sets.values() for arm in lines))
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        cells: list[Cell] = [name, _right(arms.get(name))]
        for lines in sets.values():
            cells.append(_right(lines.get(name)))
            if lost:
                cells.append(_lost(lines.get(name)))
        rows.append(tuple(cells))
    heads = [head for name in sets for head in (_SETS.get(name, name), *(("lost",) if lost else ()))]
    sizes = ", ".join(f"{_SETS.get(name, name)} {quantity(_size(lines))}" for name, lines in sets.items())
    foot = f"Share right with 95 % intervals; number of problems: {sizes}. Models alone, greedily."
    if lost:
        foot += " Lost: points against the same problems undisturbed, with a paired interval."
    columns = ("arm", "test", *heads)
    return Table(columns, tuple(rows), numeric=frozenset(range(1, len(columns))), caption=caption, foot=foot)


def _right(line: Mapping[str, Any] | None) -> str:
    return f"{percent(line['accuracy'], 1)} {percent_interval(line['ci95'])}" if line else _NONE


def _lost(line: Mapping[str, Any] | None) -> str:
    if not line or line.get("drop") is None:
        return _NONE
    sure = f" {points_interval(line['drop_ci95'])}" if line.get("drop_ci95") else ""
    return f"{points(line['drop'])}{sure}"


def _size(lines: Mapping[str, Mapping[str, Any]]) -> int:
    return max((int(line["n"]) for line in lines.values()), default=0)
