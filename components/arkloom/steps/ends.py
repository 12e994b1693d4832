"""Where the steps of a text end, by the answer type's own splitter where it has one."""

from __future__ import annotations

from typing import Any

from arkloom.answers import get
from arkloom.errors import ArkloomError, BadInputError
from arkloom.steps.split import MAX_STEPS, split


def step_ends(text: str, answer_type: str) -> tuple[int, ...]:
    r"""Character ends of the steps: each just after the step's last character that is no space.

    Args:
        text: A trace, as it was written.
        answer_type: Name of its answer type; one with ``split_steps(text) -> parts`` decides itself.

    Returns:
        Strictly ascending offsets in 1..len(text), at most ``MAX_STEPS``; what is beyond joins the
        last step. Empty for a text without a word.

    Raises:
        BadInputError: The type's own splitter failed.

    Example:
        >>> step_ends("7*5=35\\n2+35=37\\n#### 37", "number")
        (6, 14, 22)
    """
    own: Any = getattr(get(answer_type), "split_steps", None)
    if own is None:
        return tuple(step.end for step in split(text))
    ends, position = [], 0
    for part in _parts(own, text, answer_type):
        found = text.find(part.strip(), position)
        if found >= 0 and part.strip():
            position = found + len(part.strip())
            ends.append(position)
    if len(ends) > MAX_STEPS:
        ends = [*ends[: MAX_STEPS - 1], ends[-1]]
    whole = len(text.rstrip())
    return tuple(ends) or ((whole,) if whole else ())


def _parts(split_steps: Any, text: str, answer_type: str) -> list[str]:
    """What a type's own splitter gives; a fault in it (it may be a user's) becomes one clear line."""
    try:
        parts = list(split_steps(text))
    except ArkloomError:
        raise
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        raise BadInputError(
            f"its split_steps() failed with {fault}", where=f"answer type {answer_type}"
        ) from error
    if not all(isinstance(part, str) for part in parts):
        raise BadInputError(
            "its split_steps() gives parts that are no texts", where=f"answer type {answer_type}"
        )
    return parts
