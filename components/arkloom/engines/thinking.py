"""Hidden thinking: what a model writes between think tags is kept apart from what it says."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


def split_thinking(text: str, opened: bool = False) -> tuple[str, str | None]:
    r"""Split a completion into (what it says, its hidden thinking or None).

    Args:
        text: The completion.
        opened: The prompt itself ended with an open think tag.

    A thought that was cut before its end is all thinking: there is no answer after it.

    >>> split_thinking("<think>2+2</think>\n4")
    ('4', '2+2')
    >>> split_thinking("4")
    ('4', None)
    """
    head, close, said = text.rpartition(CLOSE)
    if close:
        return said.strip(), head.replace(OPEN, "").replace(CLOSE, "").strip()
    head, begun, thought = text.partition(OPEN)
    if begun:
        return head.strip(), thought.strip()
    return ("", text.strip()) if opened else (text.strip(), None)
