"""The rule: surely better than the champion (or than base where there is none), at a bounded cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from arkloom.config import GateConfig
from arkloom.gate.evaluations import Evaluation, digest_of_test
from arkloom.stats import compare

BASE = "base"


@dataclass(frozen=True)
class Decision:
    """What the gate says, and from which figures.

    Attributes:
        promote: Whether the best arm is promoted.
        reason: Why, or why not; one line.
        best_arm: The arm that validation chose; None without any.
        against: What it was compared with: ``base``, or ``champion <arm>``.
        diff: Accuracy of the best arm minus that; a share.
        ci95: Paired interval of the difference.
        n: Test problems.
        token_ratio: The best arm's tokens over those of the full debate.
        margin: ``gate.margin``: the interval must lie above it.
        max_token_ratio: ``gate.max_token_ratio``.
        test_digest: Over the test problems.
        champion: Key of the champion's evaluation.
    """

    promote: bool
    reason: str
    best_arm: str | None = None
    against: str | None = None
    diff: float | None = None
    ci95: tuple[float, float] | None = None
    n: int | None = None
    token_ratio: float | None = None
    margin: float | None = None
    max_token_ratio: float | None = None
    test_digest: str | None = None
    champion: str | None = None

    def json(self) -> dict[str, Any]:
        """As ``gate.json`` holds it."""
        return asdict(self)


def decide(
    settings: GateConfig, new: Evaluation, champion: Evaluation | None, resamples: int, seed: int
) -> Decision:
    """Promote iff the paired interval lies above ``margin`` and the cost does not exceed its bound.

    Args:
        settings: Section ``gate``.
        new: The evaluation whose best arm may be promoted.
        champion: That of the arm in place; the comparison is with ``base`` where there is none.
        resamples: Bootstrap resamples.
        seed: Seeds the bootstrap, as in the evaluation.
    """
    known: dict[str, Any] = {
        "best_arm": new.best,
        "token_ratio": new.report.get("token_ratio"),
        "margin": settings.margin,
        "max_token_ratio": settings.max_token_ratio,
        "champion": champion.key if champion else None,
    }
    if new.best is None:
        return Decision(False, new.report.get("best_arm_reason") or "there is no best arm", **known)
    compared = _compare(new, new.best, champion, resamples, seed)
    if isinstance(compared, str):
        return Decision(False, compared, **known)
    known |= compared
    promote, reason = _judge(settings, known)
    return Decision(promote, reason, **known)


def _compare(
    new: Evaluation, arm: str, champion: Evaluation | None, resamples: int, seed: int
) -> dict[str, Any] | str:
    """The paired difference, or why there is none."""
    own = new.right(arm)
    if champion is None:
        if BASE not in new.report.get("arms", {}):
            return "there is neither a champion nor a base arm to compare with"
        against, other = BASE, new.right(BASE)
    elif champion.best is None:
        return "the champion's evaluation has no best arm"
    else:
        against, other = f"champion {champion.best}", champion.right(champion.best)
    if digest_of_test(own) != digest_of_test(other):
        return f"the {against} answered another test: {len(other)} problems, this one {len(own)}"
    delta = compare(list(own.values()), [other[problem] for problem in own], resamples=resamples, seed=seed)
    low, high = delta.interval.pair()
    figures = {"against": against, "diff": delta.diff, "ci95": (low, high), "n": delta.n}
    return figures | {"test_digest": digest_of_test(own)}


def _judge(settings: GateConfig, known: dict[str, Any]) -> tuple[bool, str]:
    low, high = known["ci95"]
    told = f"{known['best_arm']} minus {known['against']} {known['diff']:+.3f} [{low:+.3f}, {high:+.3f}]"
    ratio = known["token_ratio"]
    if ratio is None:
        return False, f"{told}, but the token ratio is not known: there is no debate arm"
    cost = f"token ratio {ratio:.3f}"
    if not low > settings.margin:
        return False, f"{told}: the lower end is not above gate.margin {settings.margin:g}; {cost}"
    if not ratio <= settings.max_token_ratio:
        return False, f"{told}, but {cost} is above gate.max_token_ratio {settings.max_token_ratio:g}"
    return True, f"{told}, {cost}"
