"""Which arms are compared with which, and how much of the debate's gain a student keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arkloom.evaluate.answers import Floats
from arkloom.evaluate.arms import BASE, DEBATE, PLAYED, VOTE
from arkloom.stats import compare, holm, ratio_of_differences

CONTROL = "rft"  # arms of this name, or that begin so, were taught by sampling instead of debate
UNCUT = "_uncut"

Pair = tuple[str, str]


def pairs(arms: Sequence[str]) -> dict[str, list[Pair]]:
    """Pairs to compare, first minus second, by family; Holm's correction runs within a family.

    Families: every arm against ``base``; students and the vote against the debate; students against
    the vote; debate-taught students against the controls of the same cut, and each ``_uncut`` arm
    against its cut one.
    """
    students = [arm for arm in arms if arm not in PLAYED]
    controls = [arm for arm in students if arm.startswith(CONTROL)]
    taught = [arm for arm in students if arm not in controls]
    return {
        BASE: [(arm, BASE) for arm in arms if arm != BASE and BASE in arms],
        DEBATE: [(arm, DEBATE) for arm in students if DEBATE in arms],
        VOTE: [(arm, VOTE) for arm in (DEBATE, *students) if {VOTE, arm} <= set(arms)],
        "controls": [
            (arm, control)
            for arm in taught
            for control in controls
            if arm.endswith(UNCUT) == control.endswith(UNCUT)
        ],
        "cut": [(arm, arm.removesuffix(UNCUT)) for arm in _cut_pairs(students)],
    }


def deltas(correct: Mapping[str, Floats], resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """``{a_vs_b: {diff, ci95, p, p_holm, n, family}}`` of every pair.

    Args:
        correct: arm -> [n] correctness on the same problems in the same order.
        resamples: Bootstrap resamples.
        seed: Seeds the bootstrap; all pairs share the resampled problems.
    """
    found: dict[str, dict[str, Any]] = {}
    for family, members in pairs(list(correct)).items():
        made = {
            f"{a}_vs_{b}": compare(correct[a], correct[b], resamples=resamples, seed=seed) for a, b in members
        }
        adjusted = holm([delta.p for delta in made.values()])
        for (name, delta), p_holm in zip(made.items(), adjusted, strict=True):
            found[name] = delta.json() | {"p_holm": p_holm, "family": family}
    return found


def gain_recovered(
    student: Floats, base: Floats, debate: Floats, debate_ci95: Sequence[float], resamples: int, seed: int
) -> dict[str, Any]:
    """(acc(student) - acc(base)) / (acc(debate) - acc(base)) with its interval.

    Args:
        student: [n] correctness of the student.
        base: [n] of the base model.
        debate: [n] of the debate.
        debate_ci95: Paired interval of debate minus base.
        resamples: Bootstrap resamples.
        seed: Seeds the bootstrap.

    Returns:
        ``{value, ci95, reason}``; value and interval are None with a reason where the debate's
        interval does not lie above 0: there is then no gain to keep.
    """
    low, high = debate_ci95
    if low <= 0:
        reason = f"the debate's gain over base is not above 0 (95 % interval {low:+.3f} to {high:+.3f})"
        return {"value": None, "ci95": None, "reason": reason}
    ratio, interval = ratio_of_differences(student - base, debate - base, resamples=resamples, seed=seed)
    return {"value": ratio, "ci95": interval.pair(), "reason": None}


def headlines(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The claims that decide, whatever they show: debate-taught arms minus their sampled controls."""
    wanted = [name for name, delta in found.items() if delta["family"] == "controls"]
    wanted += [name for name in (f"{DEBATE}_vs_{BASE}", f"{DEBATE}_vs_{VOTE}") if name in found]
    return [{"name": name, "text": _sentence(name, found[name]), **found[name]} for name in wanted]


def _sentence(name: str, delta: Mapping[str, Any]) -> str:
    first, _, second = name.partition("_vs_")
    low, high = delta["ci95"]
    verdict = "is better than" if low > 0 else "is worse than" if high < 0 else "is not told apart from"
    points = f"{100 * delta['diff']:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{first} {verdict} {second}: {points}"


def _cut_pairs(students: Sequence[str]) -> list[str]:
    return [arm for arm in students if arm.endswith(UNCUT) and arm.removesuffix(UNCUT) in students]
