"""The report of an evaluation as one HTML page: what the student keeps, at what cost, how sure that is.

Reads the evaluation's ``report.json`` (``evaluate.report``) and, where a run adds them, ``seconds`` and
``keys``. A figure that is missing or null is left out, with its reason where the report has one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from arkloom.evaluate import drawings
from arkloom.evaluate.arms import BASE, DEBATE, VOTE
from arkloom.evaluate.comparisons import CONTROL
from arkloom.records import Debate
from arkloom.reports.blocks import (
    Bar,
    Bars,
    Beside,
    Block,
    Card,
    Cards,
    Cell,
    Facts,
    Page,
    Points,
    Section,
    Table,
    Tone,
    Whisker,
)
from arkloom.reports.debates import reader
from arkloom.reports.render import html
from arkloom.reports.words import (
    MINUS,
    duration,
    listing,
    p_value,
    percent,
    percent_interval,
    plural,
    points,
    points_interval,
    quantity,
)

_SHOWN_DEBATES = 3
_NEGATIVE = re.compile(r"-(?=\d)")

_ABOUT = {
    BASE: "the student's model before training, one answer",
    VOTE: "majority of the base model's answers, for the debate's tokens",
    DEBATE: "the agents after the last round, by majority",
    "answer_sft": "trained on bare answers",
    "rsft": "trained on traces of the debate",
    "rsft_uncut": "the same on all of its rows",
    "rft": "control: trained on independent answers of the same agents",
    "rft_uncut": "the same on all of its rows",
    "rft_self": "control: trained on the model's own answers",
    "rsft_free": "trained on the debate's consensus, gold unseen",
    "rft_free": "control: trained on a vote of independent answers, gold unseen",
}
_CLASSES: dict[str, tuple[str, Tone]] = {
    "corrective": ("wrong, then right", "good"),
    "stable": ("right throughout", "good"),
    "late": ("no answer, then right", ""),
    "corrupted": ("right, then wrong", "bad"),
    "wrong": ("never right", "bad"),
    "no_answer": ("no answer at the end", ""),
}


def render(report: Mapping[str, Any], debates: Sequence[Debate] = ()) -> str:
    """The page of a report, with up to three debates to read.

    Args:
        report: As written to ``report.json``; absent parts are left out.
        debates: Debates worth reading, best first.
    """
    sections = [
        Section("What an answer costs, and how often it is right", _cost(report)),
        Section("Who is better than whom", [*_claims(report), *_comparisons(report)]),
        Section("What the debate did", _beside(drawings.rounds(report)), _deliberation(report)),
        Section(
            "Debates to read",
            [reader(debate) for debate in debates[:_SHOWN_DEBATES]],
            "Agents down, rounds across. A line on a coloured ground is the first result that an agent"
            " revised when it turned; crossed out is what it had said before.",
        ),
        Section("What the student was shown", _rows(report)),
        Section("Not in this report", _absent(report)),
        Section("How this was computed", _method(report)),
    ]
    best = report.get("best_arm")
    return html(
        Page(
            kicker="Arkloom: a debate of many agents, distilled into one model",
            title="What the student keeps of the debate",
            lead=headline(report),
            remark=" ".join(report.get("notes") or []),
            opening=_cards(report, best),
            sections=sections,
            foot="Made by Arkloom. All figures are in report.json, beside this page.",
        )
    )


def headline(report: Mapping[str, Any]) -> Markup:
    """The finding in a sentence, whatever it is."""
    best, recovered, ratio = (report.get(name) for name in ("best_arm", "gain_recovered", "token_ratio"))
    if best is None:
        reason = report.get("best_arm_reason") or "no student was evaluated"
        return Markup("No student to report on: {}.").format(reason)
    subject = f"The control {best}" if best.startswith(CONTROL) else "The student"
    if recovered is None:
        arm = (report.get("arms") or {}).get(best)
        right = Markup(" answers {} of the problems right").format(percent(arm["accuracy"])) if arm else ""
        reason = report.get("gain_recovered_reason") or "the report does not say why"
        return Markup("{}{}; what it keeps of the debate’s gain cannot be told: {}.").format(
            subject, right, reason
        )
    bounds = report.get("gain_recovered_ci95")
    sure = Markup(" <small>{}</small>").format(percent_interval(bounds)) if bounds else ""
    cost = Markup(" at <em>{}</em> of its tokens").format(_share(ratio)) if ratio is not None else ""
    return Markup("{} keeps <em>{}</em>{} of the debate’s gain{}.").format(
        subject, percent(recovered), sure, cost
    )


def _choice(best: str) -> str:
    alone = best.startswith(CONTROL)
    among = "the controls: the debate taught no student" if alone else "the debate’s students"
    return f"chosen on the validation problems among {among}"


def _share(value: float) -> str:
    return percent(value, 0 if value >= 0.0995 else 1)


def _cards(report: Mapping[str, Any], best: str | None) -> list[Block]:
    arms = report.get("arms") or {}
    names = [name for name in (BASE, VOTE, DEBATE, best) if name is not None and name in arms]
    cards = [
        Card(
            f"{name} (best student)" if name == best else name,
            percent(arms[name]["accuracy"], 1),
            f"{percent_interval(arms[name]['ci95'])}, {quantity(arms[name]['tokens_per_problem'])} tokens",
        )
        for name in names
    ]
    gain = report.get("deliberation_gain")
    if gain is not None:
        bounds = report.get("deliberation_gain_ci95")
        note = f"points over the first vote{' ' + points_interval(bounds) if bounds else ''}"
        cards.append(Card("gain by talking", points(gain), note))
    return [Cards(tuple(cards))] if cards else []


def _cost(report: Mapping[str, Any]) -> list[Block]:
    arms = _ordered(report)
    return [*drawings.cost(arms), *([_arms_table(report, arms)] if arms else [])]


def _ordered(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Arms by accuracy, best first; of equals the cheaper first."""
    arms: Mapping[str, Mapping[str, Any]] = report.get("arms") or {}
    return sorted(arms.items(), key=lambda pair: (-pair[1]["accuracy"], pair[1]["tokens_per_problem"]))


def _arms_table(report: Mapping[str, Any], arms: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    best, kept = report.get("best_arm"), report.get("gain_recovered_by_arm") or {}
    rows: list[tuple[Cell, ...]] = []
    for name, arm in arms:
        sampled = arm.get("sampled") or {}
        latency = arm.get("latency_p50_s")
        rows.append(
            (
                _arm_name(name),
                percent(arm["accuracy"], 1),
                percent_interval(arm["ci95"]),
                _sampled(sampled),
                quantity(arm["tokens_per_problem"]),
                _number(arm.get("tokens_per_correct")),
                duration(latency) if latency is not None else "–",
                _kept(kept.get(name) or {}),
            )
        )
    columns = ("arm", "right", "95 %", "sampled", "tokens", "per right answer", "median time", "gain kept")
    return Table(
        columns,
        tuple(rows),
        numeric=frozenset(range(1, len(columns))),
        extra=frozenset({3, 5, 6, 7}),
        strong=frozenset(i for i, (name, _) in enumerate(arms) if name == best),
        foot="Sampled: mean ± standard deviation over seeds. Tokens: completion tokens a problem. Median"
        " time: one problem at a time. Gain kept: share of the debate's gain over base."
        + (f" Bold: {best}, chosen on validation." if best else ""),
    )


def _arm_name(name: str) -> Markup:
    about = _ABOUT.get(name)
    text = Markup('{} <span class="about">{}</span>') if about else Markup("{}")
    return text.format(name, about) if about else text.format(name)


def _sampled(sampled: Mapping[str, Any]) -> str:
    mean, spread = sampled.get("mean"), sampled.get("sd")
    if mean is None:
        return "–"
    return percent(mean, 1) if spread is None else f"{percent(mean, 1)} ± {100 * spread:.1f}"


def _kept(gain: Mapping[str, Any]) -> str:
    return "–" if gain.get("value") is None else percent(gain["value"])


def _number(value: float | None) -> str:
    return "–" if value is None else quantity(value)


def _claims(report: Mapping[str, Any]) -> list[Block]:
    """The sentences that the report itself calls its headlines."""
    told = [str(entry["text"]) for entry in report.get("headlines") or [] if entry.get("text")]
    return [Points(tuple(_NEGATIVE.sub(MINUS, text) for text in told))] if told else []


def _comparisons(report: Mapping[str, Any]) -> list[Block]:
    deltas: Mapping[str, Mapping[str, Any]] = report.get("deltas") or {}
    if not deltas:
        return []
    ends = [end for delta in deltas.values() for end in delta["ci95"]]
    scale = (min(0.0, *ends), max(0.0, *ends))
    rows: list[tuple[Cell, ...]] = []
    for name, delta in sorted(deltas.items(), key=lambda pair: _place(pair[1])):
        first, _, second = name.partition("_vs_")
        low, high = delta["ci95"]
        tone: Tone = "good" if low > 0 else "bad" if high < 0 else "quiet"
        p = delta.get("p_holm", delta.get("p"))
        rows.append(
            (
                Markup('{} <span class="over">over</span> {}').format(first, second),
                points(delta["diff"]),
                Whisker(low, delta["diff"], high, scale, 0.0, tone),
                points_interval(delta["ci95"]),
                "–" if p is None else p_value(p),
                quantity(delta["n"]),
            )
        )
    return [
        Table(
            ("comparison", "points", "", "95 %", "p (Holm)", "problems"),
            tuple(rows),
            numeric=frozenset({1, 3, 4, 5}),
            extra=frozenset({4, 5}),
            foot="Differences on the same problems in percentage points: paired bootstrap intervals, exact"
            " McNemar test, Holm's correction within each family of comparisons. The thin line is no"
            " difference.",
        )
    ]


def _place(delta: Mapping[str, Any]) -> tuple[int, float]:
    """What decides comes first, the plainest last; within a family the greatest difference."""
    family = delta.get("family")
    known = ("controls", "debate", "vote", "base", "cut")
    return (known.index(family) if family in known else len(known), -delta["diff"])


def _beside(blocks: Sequence[Block]) -> list[Block]:
    return [Beside(tuple(blocks))] if blocks else []


def _deliberation(report: Mapping[str, Any]) -> str:
    gain = report.get("deliberation_gain")
    if gain is None:
        return ""
    bounds = report.get("deliberation_gain_ci95")
    sure = f" (95 % interval {points_interval(bounds)})" if bounds else ""
    verdict = "gains" if gain > 0 else "loses" if gain < 0 else "changes nothing"
    by = f" {points(gain)} points{sure}" if gain else sure
    known = not bounds or not bounds[0] <= 0 <= bounds[1]
    doubt = "" if known or not gain else " That is not told apart from no change."
    return f"Talking {verdict}{by} over a vote that is taken before anyone has seen the others.{doubt}"


def _rows(report: Mapping[str, Any]) -> list[Block]:
    told = report.get("filter") or {}
    blocks: list[Block] = []
    classes: Mapping[str, int] = told.get("classes") or {}
    if total := sum(classes.values()):
        bars = tuple(
            Bar(
                name.replace("_", " "),
                count,
                f"{quantity(count)} ({percent(count / total)})",
                *_CLASSES.get(name, ("", "")),
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
    return _beside(blocks)


def _absent(report: Mapping[str, Any]) -> list[Block]:
    absent: Mapping[str, str] = report.get("absent") or {}
    return [Facts(tuple((name, reason) for name, reason in absent.items()))] if absent else []


def _method(report: Mapping[str, Any]) -> list[Block]:
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
            pairs.append((about, _share(report[name])))
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
