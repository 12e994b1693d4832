"""The parts of the evaluation's page on what students learned from: traces, the PRM, and rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arkloom.evaluate.kinds import STACK, standing
from arkloom.reports.blocks import (
    Bar,
    Bars,
    Beside,
    Block,
    Card,
    Cards,
    Cell,
    Facts,
    Figure,
    Fold,
    Table,
    Tone,
)
from arkloom.reports.curves import Bin, Curve, curve_chart, known, reliability_chart
from arkloom.reports.terms import FLOORS, TRACE_CLASSES
from arkloom.reports.words import fixed, percent, percent_interval, points, points_interval, quantity

_MOST_POINTS = 40  # of a curve: more are averaged, since a step's figures are noisy
_REWARDS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("verifier_reward", "Reward of the verifier: right answers among rollouts", percent),
    ("prm_reward", "Reward of the PRM: steps that it takes for right", percent),
)
_WATCHED: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("kl", "KL to the start, nats a token", lambda value: fixed(value, 3)),
    ("entropy", "Entropy, nats a token", lambda value: fixed(value, 2)),
    ("completion_length", "Tokens a completion", quantity),
    ("dropped", "Groups dropped a step: all their rollouts alike", lambda value: fixed(value, 1)),
)


def shown(report: Mapping[str, Any]) -> list[Block]:
    """What became of the training debates: classes of trajectories, and traces left out."""
    told = report.get("filter") or {}
    blocks: list[Block] = []
    classes: Mapping[str, int] = told.get("classes") or {}
    if total := sum(classes.values()):
        bars = tuple(
            Bar(
                name.replace("_", " "),
                count,
                f"{quantity(count)} ({percent(count / total)})",
                *TRACE_CLASSES.get(name, ("", "")),
            )
            for name, count in sorted(classes.items(), key=lambda pair: -pair[1])
        )
        blocks.append(Bars(bars, "What became of each agent over the training debates"))
    rejected = {name: count for name, count in (told.get("rejected") or {}).items() if count}
    if rejected:
        bars = tuple(
            Bar(name.replace("_", " "), count, quantity(count))
            for name, count in sorted(rejected.items(), key=lambda pair: -pair[1])
        )
        blocks.append(Bars(bars, "Traces left out, by reason"))
    return [Beside(tuple(blocks))] if blocks else []


def learned(report: Mapping[str, Any]) -> list[Block]:
    """Rows, problems and tokens of every student beside what it then answered."""
    training: Mapping[str, Mapping[str, Any]] = report.get("training") or {}
    arms: Mapping[str, Mapping[str, Any]] = report.get("arms") or {}
    names = [name for name in training if name in arms and training[name]]
    if not names:
        return []
    precise = any(training[name].get("pseudo_label_precision") is not None for name in names)
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        told = training[name]
        precision = told.get("pseudo_label_precision")
        rows.append(
            (
                name,
                _count(told.get("rows")),
                _count(told.get("problems")),
                _count(told.get("trained_tokens")),
                _count(told.get("rollouts")),
                *((_none if precision is None else percent(precision, 1),) if precise else ()),
                f"{percent(arms[name]['accuracy'], 1)} {percent_interval(arms[name]['ci95'])}",
            )
        )
    columns = (
        "arm",
        "rows",
        "problems",
        "tokens",
        "rollouts",
        *(("labels right",) if precise else ()),
        "right",
    )
    foot = "Tokens: those under the loss."
    if precise:
        foot += " Labels right: share of the labels taken from a consensus, without gold, that are right."
    return [
        Table(
            columns, tuple(rows), numeric=frozenset(range(1, len(columns))), extra=frozenset({3}), foot=foot
        )
    ]


def prm(report: Mapping[str, Any]) -> list[Block]:
    """How well the PRM tells right steps from wrong, and whether it may reward anything."""
    told: Mapping[str, Any] = report.get("prm") or {}
    if not told:
        return []
    blocks: list[Block] = []
    figures = (
        ("step_auc", "step AUC"),
        ("pairwise_accuracy", "pairs in order"),
        ("ece", "calibration error"),
    )
    cards = [Card(label, fixed(told[name], 3)) for name, label in figures if told.get(name) is not None]
    if told.get("gate_passed") is not None:
        passed = bool(told["gate_passed"])
        note = str(told.get("gate_reason") or "")
        cards.append(Card("gate", "passed" if passed else "not passed", note, "good" if passed else "bad"))
    if cards:
        blocks.append(Cards(tuple(cards)))
    if drawn := [*_reliability(told), *_first_errors(told)]:
        blocks.append(Beside(tuple(drawn)))
    if best := _best_of(told):
        blocks.append(Facts(best))
    return blocks


def grpo(report: Mapping[str, Any]) -> list[Block]:
    """Accuracy over rollouts, the terms of the reward, and what is watched while a policy learns."""
    courses: Mapping[str, Mapping[str, Any]] = report.get("grpo") or {}
    rollouts: Mapping[str, Sequence[Mapping[str, Any]]] = report.get("rollouts") or {}
    blocks: list[Block] = []
    drawn = [*_over_rollouts(rollouts), *_quantities(courses, _REWARDS)]
    if drawn:
        blocks += [Beside(tuple(drawn[start : start + 2])) for start in range(0, len(drawn), 2)]
    if rows := [_course(name, told, rollouts.get(name) or ()) for name, told in courses.items()]:
        columns = ("arm", "rollouts", "best on validation", "mean over rollouts", "dropped groups", "ended")
        foot = "Mean over rollouts: accuracy on validation, averaged over the training; higher is sooner."
        blocks.append(Table(columns, tuple(rows), numeric=frozenset({1, 2, 3, 4}), foot=foot))
    if watched := _quantities(courses, _WATCHED):
        pairs = [Beside(tuple(watched[start : start + 2])) for start in range(0, len(watched), 2)]
        blocks.append(Fold("KL, entropy, length and dropped groups", tuple(pairs)))
    return blocks


_none = "–"


def _count(value: float | None) -> str:
    return _none if value is None else quantity(value)


def _reliability(told: Mapping[str, Any]) -> list[Block]:
    bins = [
        Bin(part["score"], part["right"], part["n"])
        for part in told.get("reliability") or []
        if part.get("n") and part.get("score") is not None and part.get("right") is not None
    ]
    if not bins:
        return []
    said = "; ".join(f"score {fixed(b.score, 2)}: {percent(b.right)} of {quantity(b.n)} right" for b in bins)
    return [
        reliability_chart(
            bins,
            name="reliability",
            title="What a step's score means",
            description=said,
            caption="Share of right steps against the PRM's mean score, in ten bins; larger points hold more"
            " steps. On the dashed line a score is the chance of being right.",
        )
    ]


def _first_errors(told: Mapping[str, Any]) -> list[Block]:
    own, floors = told.get("first_error_f1"), told.get("floors") or {}
    bars = [Bar("PRM", own, fixed(own, 3), "finds the first wrong step", "good")] if own is not None else []
    tone: Tone = ""
    for name, value in sorted(floors.items(), key=lambda pair: -(pair[1] or 0)):
        if value is not None:
            bars.append(Bar(name, value, fixed(value, 3), FLOORS.get(name, ""), tone))
    return [Bars(tuple(bars), "F1 of the first error, beside what needs no PRM")] if bars else []


def _best_of(told: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    best = told.get("best_of_n") or {}
    if best.get("prm") is not None and best.get("majority") is not None:
        by = f", {points(best['diff'])} points" if best.get("diff") is not None else ""
        sure = f" {points_interval(best['ci95'])}" if best.get("ci95") else ""
        pairs.append(
            (
                f"best of {best.get('n', 'several')} by the PRM",
                f"{percent(best['prm'], 1)} right; their majority {percent(best['majority'], 1)}{by}{sure}"
                + (f"; {percent(best['any'], 1)} hold a right one" if best.get("any") is not None else ""),
            )
        )
    for name, about in (
        ("score_length_correlation", "correlation of score and length"),
        ("with_negatives", "positives with a wrong step beside them"),
    ):
        if told.get(name) is not None:
            pairs.append((about, fixed(told[name], 2)))
    return tuple(pairs)


def _over_rollouts(rollouts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Figure]:
    curves = [
        Curve(name, [p["rollouts"] for p in run], [p["accuracy"] for p in run], *_look(name))
        for name, run in rollouts.items()
        if run
    ]
    return _drawn(curves, "rollouts", "Accuracy on validation over rollouts", percent)


def _quantities(
    courses: Mapping[str, Mapping[str, Any]], wanted: Sequence[tuple[str, str, Callable[[float], str]]]
) -> list[Figure]:
    figures: list[Figure] = []
    for quantity_name, title, write in wanted:
        curves = []
        for name, told in courses.items():
            run = [point for point in told.get("curve") or [] if point.get("rollouts") is not None]
            xs, ys = _thin([(p["rollouts"], p.get(quantity_name)) for p in run])
            curves.append(Curve(name, xs, ys, *_look(name)))
        figures += _drawn(curves, f"grpo-{quantity_name.replace('_', '-')}", title, write)
    return figures


def _drawn(curves: Sequence[Curve], name: str, title: str, write: Callable[[float], str]) -> list[Figure]:
    drawn = known(curves)
    if not drawn:
        return []
    ends = [(c.name, next((y for y in reversed(c.ys) if y is not None), None)) for c in drawn]
    said = "; ".join(f"{arm} ends at {write(end)}" for arm, end in ends if end is not None)
    return [
        curve_chart(drawn, name=name, title=title, description=said, caption="", over="rollouts", write=write)
    ]


def _look(name: str) -> tuple[str, bool]:
    return ("student" if standing(name) == "taught" else "control"), STACK in name


def _thin(run: Sequence[tuple[float, float | None]]) -> tuple[list[float], list[float | None]]:
    """A curve of at most ``_MOST_POINTS`` points, each the mean of its neighbours."""
    size = max(1, -(-len(run) // _MOST_POINTS))
    xs, ys = [], list[float | None]()
    for start in range(0, len(run), size):
        part = run[start : start + size]
        values = [value for _, value in part if value is not None]
        xs.append(part[-1][0])
        ys.append(sum(values) / len(values) if values else None)
    return xs, ys


def _course(name: str, told: Mapping[str, Any], run: Sequence[Mapping[str, Any]]) -> tuple[Cell, ...]:
    accuracies = [float(point["accuracy"]) for point in run]
    best, mean = (max(accuracies), sum(accuracies) / len(accuracies)) if accuracies else (None, None)
    ended = [f"alarm: {told['alarm']}"] if told.get("alarm") else []
    ended += [str(told["stopped"])] if told.get("stopped") else []
    return (
        name,
        _count(told.get("rollouts")),
        _none if best is None else percent(best, 1),
        _none if mean is None else percent(mean, 1),
        _count(told.get("dropped_groups")),
        "; ".join(ended) or "all steps done",
    )
