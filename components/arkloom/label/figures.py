"""What the labels amount to: the report of the stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from arkloom.label.labelled import Labelled, step_texts
from arkloom.steps.first_error import known_error

_EXAMPLES = 2  # of each kind
_OUTCOMES = {True: "right", False: "wrong", None: "unknown"}


def report(source: str, labelled: Sequence[Labelled], dropped: int, overlapping: int = 0) -> dict[str, Any]:
    """Figures of labelled traces.

    Args:
        source: Where the labels come from.
        labelled: Traces with at least one label.
        dropped: Traces without any.
        overlapping: Traces left out because their question is evaluated.
    """
    steps = Counter(label for one in labelled for label in one.row.labels)
    traces = Counter((_state(one), _OUTCOMES[one.row.correct]) for one in labelled)
    total = sum(steps.values())
    return {
        "source": source,
        "rows": len(labelled),
        "dropped": dropped,
        "overlapping": overlapping,
        "problems": len({one.row.content_hash for one in labelled}),
        "steps": total,
        "labels": {"right": steps[1], "wrong": steps[0], "masked": steps[None]},
        "shares": {
            "right": _share(steps[1], total),
            "wrong": _share(steps[0], total),
            "masked": _share(steps[None], total),
        },
        "with_first_error": _share(sum(one.basis is not None for one in labelled), len(labelled)),
        "first_error_known": sum(known_error(one.row.labels) is not None for one in labelled),
        "with_both": _both(labelled),
        "basis": dict(sorted(Counter(one.basis for one in labelled if one.basis is not None).items())),
        "traces": {
            state: {outcome: traces[state, outcome] for outcome in _OUTCOMES.values()}
            for state in ("error", "no_error", "undecided")
        },
        "outcome_agreement": _agreement(traces),
        "examples": {name: _examples(labelled, wanted) for name, wanted in KINDS.items()},
    }


def _state(one: Labelled) -> str:
    if 0 in one.row.labels:
        return "error"
    return "no_error" if None not in one.row.labels else "undecided"


def _agreement(traces: Counter[tuple[str, str]]) -> float | None:
    """Share of decided traces of known outcome in which an error was found exactly where it is wrong."""
    agreeing = traces["error", "wrong"] + traces["no_error", "right"]
    return _share(agreeing, agreeing + traces["error", "right"] + traces["no_error", "wrong"])


def _both(labelled: Sequence[Labelled]) -> int:
    """Problems with right and wrong steps: a contrastive loss needs both."""
    kinds: dict[str, set[int]] = {}
    for one in labelled:
        kinds.setdefault(one.row.content_hash, set()).update(
            label for label in one.row.labels if label is not None
        )
    return sum(len(found) > 1 for found in kinds.values())


KINDS: dict[str, Callable[[Labelled], bool]] = {
    "wrong_step_in_wrong_trace": lambda one: one.row.correct is False and one.basis in ("operation", "human"),
    "contradicted_by_right_traces": lambda one: one.basis == "contradiction",
    "wrong_only_at_the_answer": lambda one: one.basis == "answer",
    "right_answer_with_a_wrong_step": lambda one: one.row.correct is True and one.basis is not None,
    "masked_steps": lambda one: one.basis is None and None in one.row.labels,
}


def _examples(labelled: Sequence[Labelled], wanted: Callable[[Labelled], bool]) -> list[dict[str, Any]]:
    found = []
    for one in labelled:
        if wanted(one):
            texts = [text.strip() for text in step_texts(one.row)]
            found.append(
                {
                    "question": one.row.messages[-2].content if len(one.row.messages) > 1 else "",
                    "correct": one.row.correct,
                    "steps": [list(pair) for pair in zip(texts, one.row.labels, strict=True)],
                }
            )
            if len(found) == _EXAMPLES:
                break
    return found


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
