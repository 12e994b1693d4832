"""The drawings of the evaluation's page, from the parts of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arkloom.evaluate.arms import BASE, DEBATE, VOTE
from arkloom.evaluate.kinds import standing
from arkloom.reports.blocks import Block, Figure
from arkloom.reports.charts import Line, Moves, flow_chart, rounds_chart
from arkloom.reports.cost import Gap, Point, cost_chart
from arkloom.reports.words import listing, percent, points, quantity

Arm = tuple[str, Mapping[str, Any]]


def cost(arms: Sequence[Arm]) -> list[Block]:
    """Accuracy against tokens per problem, with the debate's gain over base marked; none without arms."""
    drawn = [
        Point(
            name, arm["tokens_per_problem"], arm["accuracy"], (arm["ci95"][0], arm["ci95"][1]), *_look(name)
        )
        for name, arm in arms
        if arm["tokens_per_problem"] > 0
    ]
    if not drawn:
        return []
    told = "; ".join(f"{p.name}: {percent(p.accuracy, 1)} for {quantity(p.tokens)} tokens" for p in drawn)
    return [
        cost_chart(
            drawn,
            gap=_gain({point.name: point for point in drawn}),
            name="cost",
            title="Accuracy against completion tokens per problem",
            description=told,
            caption="Accuracy on held-out problems with 95 % intervals; up and to the left is better. Hollow"
            " points were not taught by the debate. Arms of about the same cost whose intervals would hide"
            " each other stand side by side.",
        )
    ]


def rounds(report: Mapping[str, Any]) -> list[Block]:
    """Accuracy by round and the moves between rounds, as far as the report has them."""
    drawn: list[Block] = []
    if lines := _lines(report.get("accuracy_per_round") or []):
        drawn.append(_accuracy(lines))
    if moves := [_moves(entry) for entry in report.get("transitions") or []]:
        drawn.append(_flow(moves))
    return drawn


def _look(name: str) -> tuple[str, bool]:
    """Colour of an arm, and whether its point is hollow."""
    if name == BASE:
        return "muted", False
    if name in (VOTE, DEBATE):
        return "group", False
    return ("student", False) if standing(name) == "taught" else ("control", True)


def _gain(drawn: Mapping[str, Point]) -> Gap | None:
    if BASE not in drawn or DEBATE not in drawn:
        return None
    base, debate = drawn[BASE], drawn[DEBATE]
    gain = debate.accuracy - base.accuracy
    return Gap(base, debate, f"the debate’s gain: {points(gain)} points") if gain > 0 else None


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    lines = [
        Line("vote", [row.get("vote") for row in rows], "group"),
        Line("each agent", [row.get("agents") for row in rows], "student"),
        Line("agreement", [row.get("agreement") for row in rows], "none", dashed=True),
    ]
    return [line for line in lines if any(value is not None for value in line.values)]


def _accuracy(lines: Sequence[Line]) -> Figure:
    told = "; ".join(
        f"{line.name}: {', '.join('–' if value is None else percent(value, 1) for value in line.values)}"
        for line in lines
    )
    return rounds_chart(
        lines,
        name="rounds",
        title="Accuracy and agreement by round",
        description=told,
        caption="Right answers of the vote and of the mean agent. Agreement is the share of agents who hold"
        " the most common answer, right or wrong.",
    )


def _moves(entry: Mapping[str, Any]) -> Moves:
    counts: Mapping[str, Mapping[str, int]] = entry["counts"]
    return Moves({(before, after): n for before, row in counts.items() for after, n in row.items()})


def _flow(moves: Sequence[Moves]) -> Figure:
    corrected = listing([quantity(move.counts.get(("wrong", "right"), 0)) for move in moves])
    corrupted = listing([quantity(move.counts.get(("right", "wrong"), 0)) for move in moves])
    return flow_chart(
        moves,
        name="moves",
        title="Agents between right, wrong and no answer",
        description=f"From round to round, wrong to right: {corrected}; right to wrong: {corrupted}.",
        caption=f"Every agent’s answer: right on top, wrong at the bottom, no answer between. From round to"
        f" round {corrected} turned from wrong to right and {corrupted} from right to wrong.",
    )
