r"""Where a text states its answer: the last ``\boxed{}``, then ``####``, then "answer is …".

Every search looks at the last ``TAIL`` characters only and at a bounded number of marks, so its cost is
linear in what it reads, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

TAIL = 100_000
MAX_ANSWER = 2_000
_MAX_MARKS = 16

_BOX = re.compile(r"\\f?boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_SAYS = re.compile(
    r"\banswers?\b(?:[^.\n:=?]{0,60}?\b(?:is|are|was|be|remains)\b(?:[ \t]*[:=])?|[^.\n:=?]{0,60}?[:=])",
    re.IGNORECASE,
)
_LEAD = re.compile(r"(?:\s|\*\*|__|\$\$(?=\s)|\\\[(?=\s)|:)*")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")


def tail(text: str) -> str:
    """The part of ``text`` that is searched: its last ``TAIL`` characters."""
    return text[-TAIL:]


def boxed(text: str) -> Iterator[str]:
    r"""Contents of ``\boxed{…}``, last first, braces nested; a box that is never closed is left out."""
    starts = [match.end() for match in _BOX.finditer(text)][-_MAX_MARKS:]
    for start in reversed(starts):
        content = _closed(text, start)
        if content is not None:
            yield content


def _closed(text: str, start: int) -> str | None:
    depth = 1
    for match in _BRACE.finditer(text, start, start + MAX_ANSWER):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start : match.start()].strip()
    return None


def hashed(text: str) -> Iterator[str]:
    """What stands behind ``####`` on its line, last first."""
    lines = [match.group(1).strip() for match in _HASHES.finditer(text)][-_MAX_MARKS:]
    yield from (line[:MAX_ANSWER] for line in reversed(lines) if line)


def said(text: str) -> Iterator[str]:
    """The rest of the sentence after "answer is" (or "answer:"), last first."""
    ends = [match.end() for match in _SAYS.finditer(text)][-_MAX_MARKS:]
    for end in reversed(ends):
        lead = _LEAD.match(text, end, end + 64)
        start = lead.end() if lead else end
        rest = text[start : start + MAX_ANSWER]
        stop = _SENTENCE_END.search(rest)
        sentence = rest[: stop.start()] if stop else rest
        if sentence.strip():
            yield sentence.strip()


def statements(text: str) -> Iterator[str]:
    """Every marked statement of an answer, in the order of preference."""
    yield from boxed(text)
    yield from hashed(text)
    yield from said(text)
