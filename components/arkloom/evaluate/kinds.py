"""What an arm's name says of it: who taught it, by which method, from which start."""

from __future__ import annotations

from typing import Literal

CONTROL = "rft"  # arms of this name, or that begin so, were taught by sampling instead of debate
VERIFIER = "verifier_grpo"  # the same prompts and rollouts as PAD, without the debate's step rewards
PAD = "pad"
ANSWER_SFT = "answer_sft"  # trained on bare answers: neither taught by a debate nor a control of one
UNCUT = "_uncut"
FREE = "_free"  # the gold was not seen
STACK = "+"

Standing = Literal["taught", "control", "baseline"]


def standing(arm: str) -> Standing:
    """Whether the debate taught an arm, or it stands for what is learned without one.

    A stack is taught by the debate where any of its parts is, and a control where a part is one.

    Example:
        >>> [standing(arm) for arm in ("rsft+pad", "rft_self", "verifier_grpo", "answer_sft")]
        ['taught', 'control', 'control', 'baseline']
    """
    parts = [part.removesuffix(UNCUT) for part in arm.split(STACK)]
    if not all(_control(part) or part == ANSWER_SFT for part in parts):
        return "taught"
    return "control" if any(_control(part) for part in parts) else "baseline"


def sampled(arm: str) -> bool:
    """Whether sampling alone taught the arm, in one stage: the control of a debate's traces."""
    return arm.startswith(CONTROL) and STACK not in arm


def free(arm: str) -> bool:
    """Whether the arm's traces were chosen without gold."""
    return arm.endswith(FREE)


def last(arm: str) -> str:
    """The last stage of an arm: ``pad`` of ``rsft+pad``."""
    return arm.rpartition(STACK)[2]


def start(arm: str) -> str:
    """The arm that a stack starts from: ``rsft`` of ``rsft+pad``; empty where it starts from base."""
    return arm.rpartition(STACK)[0]


def _control(part: str) -> bool:
    return part.startswith((CONTROL, VERIFIER))
