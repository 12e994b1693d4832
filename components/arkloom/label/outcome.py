"""Labels from the outcome alone, the ablation: what a reward model learns that sees only answers."""

from __future__ import annotations

from arkloom.label.labelled import Labelled
from arkloom.records import StepRow


def by_outcome(row: StepRow) -> Labelled:
    """Every step of a right trace is right; of a wrong one only its last step is known to be wrong.

    The outcome tells that an error was made by the end, not where. So the steps before the last are
    left without a label: calling them wrong would be a claim that the outcome does not make.
    """
    steps = len(row.step_ends)
    if row.correct is None or not steps:
        return Labelled(row.model_copy(update={"labels": (None,) * steps}), None)
    labels = (1,) * steps if row.correct else (*[None] * (steps - 1), 0)
    return Labelled(row.model_copy(update={"labels": labels}), None if row.correct else "outcome")
