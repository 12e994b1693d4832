"""Where the answer part of a text begins, in characters."""

from __future__ import annotations

import re

_BOXED = re.compile(r"\$*\\f?boxed\s*\{")
_OPENING = "([{*$€£\"“'"
_SAID = re.compile(r"(?:the |my )?(?:final |correct )?answer\s*(?:is|:)", re.IGNORECASE)


def answer_offset(text: str, answer: str | None) -> int:
    r"""Offset of the last ``\boxed{``, else ``####``, else "answer is", else the answer itself.

    Where none of them stands in the text, the last line is the answer part.

    Example:
        >>> answer_offset("7*5=35\\n#### 35", "35")
        7
    """
    if found := list(_BOXED.finditer(text)):
        return found[-1].start()
    if (marked := text.rfind("####")) >= 0:
        return marked
    if found := list(_SAID.finditer(text)):
        return found[-1].start()
    if answer and (stated := _standing(text, answer)) is not None:
        return stated
    return text.rfind("\n", 0, len(text.rstrip())) + 1


def _standing(text: str, answer: str) -> int | None:
    """Where the answer last stands alone, with the brackets, stars or currency signs before it."""
    found = list(re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", text))
    if not found:
        return None
    return len(text[: found[-1].start()].rstrip(_OPENING))
