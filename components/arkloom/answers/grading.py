"""What the rest of Arkloom asks of answers: extract, score, grade, classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from arkloom.answers.protocol import AnswerType
from arkloom.answers.registry import get
from arkloom.errors import ArkloomError, BadInputError

_T = TypeVar("_T")


def extract(text: str, answer_type: str) -> str | None:
    r"""The answer stated in ``text``, or None when none can be read.

    >>> extract(r"So she pays \boxed{\$1,000}.", "number")
    '1000'
    """
    kind = get(answer_type)
    answer = _own(kind, "extract", lambda: kind.extract(text))
    if answer is not None and not isinstance(answer, str):
        raise BadInputError(f"extract returned {type(answer).__name__}, not text", where=_where(kind))
    return answer


def score(answer: str | None, gold: str, answer_type: str) -> float:
    """How right an answer is, in 0..1; no answer scores 0."""
    if answer is None:
        return 0.0
    kind = get(answer_type)
    points = _own(kind, "score", lambda: float(kind.score(answer, gold)))
    if not 0.0 <= points <= 1.0:
        raise BadInputError(f"score returned {points}, which is not within 0..1", where=_where(kind))
    return points


def grade(answer: str | None, gold: str, answer_type: str) -> bool:
    r"""Whether an answer is correct: its score reaches the type's threshold.

    >>> grade("0.5", r"\frac{1}{2}", "math")
    True
    """
    return score(answer, gold, answer_type) >= get(answer_type).threshold if answer is not None else False


def classes(answers: Sequence[str | None], answer_type: str) -> list[list[int]]:
    """Equivalence classes of answers, as positions; the first of each is its representative.

    Answers with a canonical key (rational, letter) meet by key; others are compared with the
    representatives in order. ``None`` abstains and is in no class.

    Args:
        answers: One answer per agent, in agent order.
        answer_type: Name of the type.

    Returns:
        Classes in order of their first member.

    Raises:
        BadInputError: The type is scored only; its answers cannot be voted on.
    """
    kind = get(answer_type)
    if not getattr(kind, "votes", True):
        raise BadInputError(
            f'answers of type "{kind.name}" are scored only, there is no vote over them',
            where="answer_type",
            mend="Use one agent, or a type that votes",
        )
    key_of: Callable[[str], str | None] = getattr(kind, "key", lambda _: None)
    found: list[tuple[str | None, str, list[int]]] = []
    for position, answer in enumerate(answers):
        if answer is None:
            continue
        key = _own(kind, "key", lambda answer=answer: key_of(answer))  # type: ignore[misc]
        for other_key, representative, members in found:
            if _equivalent(kind, key, answer, other_key, representative):
                members.append(position)
                break
        else:
            found.append((key, answer, [position]))
    return [members for _, _, members in found]


def check_gold(gold: str, answer_type: str) -> None:
    """Refuse a gold that could never be graded.

    Raises:
        BadInputError: Wrong gold type.
    """
    kind = get(answer_type)
    check: Callable[[str], str | None] | None = getattr(kind, "check_gold", None)
    fault = _own(kind, "check_gold", lambda: check(gold)) if check else None
    if fault:
        shown = gold if len(gold) <= 40 else gold[:37] + "..."
        raise BadInputError(
            f'wrong gold type: "{shown}" for answer type {kind.name}: {fault}',
            where="gold",
            mend="Correct the gold or choose another answer type",
        )


def version(answer_type: str) -> str:
    """Name and version, as keys of graded artifacts hold them: ``"number@1"``."""
    kind = get(answer_type)
    return f"{kind.name}@{kind.version}"


def instruction(answer_type: str) -> str:
    """Prompt text that asks for the form of answer that ``extract`` reads; may be empty."""
    return str(getattr(get(answer_type), "instruction", ""))


def _equivalent(kind: AnswerType, key: str | None, answer: str, other_key: str | None, other: str) -> bool:
    if key is not None and other_key is not None:
        return key == other_key
    return bool(_own(kind, "same", lambda: kind.same(other, answer)))


def _where(kind: AnswerType) -> str:
    return f"answer type {kind.name}"


def _own(kind: AnswerType, method: str, call: Callable[[], _T]) -> _T:
    """Run a method of an answer type; a fault in it (it may be a user's) becomes one clear line."""
    try:
        return call()
    except ArkloomError:
        raise
    except Exception as error:
        fault: Any = f"{type(error).__name__}: {error}"
        raise BadInputError(f"its {method}() failed with {fault}", where=_where(kind)) from error
