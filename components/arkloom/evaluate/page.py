"""The report of an evaluation as one HTML page: what the student keeps, at what cost, how sure that is.

Reads the evaluation's ``report.json`` (``evaluate.report``) and, where a run adds them, ``seconds`` and
``keys``. A figure that is missing or null is left out, with its reason where the report has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from arkloom.evaluate import drawings, page_arms, page_axes, page_method, page_training
from arkloom.evaluate.arms import BASE, DEBATE, VOTE
from arkloom.evaluate.kinds import standing
from arkloom.records import Debate
from arkloom.reports.blocks import Beside, Block, Card, Cards, Page, Section
from arkloom.reports.debates import reader
from arkloom.reports.render import html
from arkloom.reports.words import percent, percent_interval, points, points_interval, quantity

_SHOWN_DEBATES = 3


def render(report: Mapping[str, Any], debates: Sequence[Debate] = ()) -> str:
    """The page of a report, with up to three debates to read.

    Args:
        report: As written to ``report.json``; absent parts are left out.
        debates: Debates worth reading, best first.
    """
    sections = [
        Section("What an answer costs, and how often it is right", page_arms.cost(report)),
        Section("Who is better than whom", [*page_arms.claims(report), *page_arms.comparisons(report)]),
        Section("Beyond the problems of training", page_axes.beyond(report)),
        Section("How the models reason", page_axes.reasoning(report)),
        Section("What the debate did", _beside(drawings.rounds(report)), _deliberation(report)),
        Section(
            "Debates to read",
            [reader(debate) for debate in debates[:_SHOWN_DEBATES]],
            "Agents down, rounds across. A line on a coloured ground is the first result that an agent"
            " revised when it turned; crossed out is what it had said before.",
        ),
        Section("What the student was shown", [*page_training.shown(report), *page_training.learned(report)]),
        Section("How well the PRM judges steps", page_training.prm(report)),
        Section("Learning from rewards", page_training.grpo(report)),
        Section("Not in this report", page_method.absent(report)),
        Section("How this was computed", page_method.method(report)),
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
    kind = standing(best)
    subject = "The student" if kind == "taught" else f"The {kind} {best}"
    if recovered is None:
        arm = (report.get("arms") or {}).get(best)
        right = Markup(" answers {} of the problems right").format(percent(arm["accuracy"])) if arm else ""
        reason = report.get("gain_recovered_reason") or "the report does not say why"
        return Markup("{}{}; what it keeps of the debate’s gain cannot be told: {}.").format(
            subject, right, reason
        )
    bounds = report.get("gain_recovered_ci95")
    sure = Markup(" <small>{}</small>").format(percent_interval(bounds)) if bounds else ""
    cost = (
        Markup(" at <em>{}</em> of its tokens").format(page_method.share(ratio)) if ratio is not None else ""
    )
    return Markup("{} keeps <em>{}</em>{} of the debate’s gain{}.").format(
        subject, percent(recovered), sure, cost
    )


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
