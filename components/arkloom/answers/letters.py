"""Reading the letter of an option, A to J, out of prose that names several of them.

A letter counts by its place, in this order: what the answer's own statement gives (``stated``), an
option that the text calls the right one, the option at the head of the last line or sentence, the option
at the head of the text, and the last option named in one of the usual wrappings. Options listed or turned
down are passed over. A letter that merely stands alone in prose is mostly no option ("A, B, C or D",
"5 J", "C(10, 2)", "Part A"), so it counts in short texts and at the end alone.

All searches look at bounded pieces, so the cost is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_SHORT_WORDS = 5  # a text of so few words is an answer, not prose
_FEW_WORDS = 20  # in longer texts a small letter in brackets is a variable or a remark
_NEAR = 100  # characters around a letter that are looked at

# "A" before one of these words is an option, before any other lower-case word an article.
_AFTER_OPTION = (
    r"(?:because|since|as|is|was|for|and|or|but|with|by|due|which|rather|not|seems|in|from|given)\b"
)
_NO_ARTICLE = rf"(?!(?<=A)[ \t]+(?!{_AFTER_OPTION})[a-z]|(?<=I)(?![).:\]*\"”]|\s*$))"
_BRACKET = r"[(\[][ \t]{0,3}\*{0,2}([A-J])\*{0,2}[ \t]{0,3}[)\]]"  # (B) [B]
_HALF = r"(?<![^\s*])([A-J])\)(?=[\s*]|$)"  # B) text
_BOLD = rf"\*\*\(?([A-J])\b{_NO_ARTICLE}\)?(?=[^*\n]{{0,200}}\*\*)"  # **B** **B. text**
_LINE = r"(?:^|\n)[ \t]*(?:[-*][ \t]*)?([A-J])(?=[.:](?:\s|$)|[ \t]*[\r\n]|[ \t]*$)"  # a line "B." or "B"
_NAMED = r"(?i:\b(?:option|choice|letter)\b)[ \t]{0,3}[:\"'“(]?[ \t]?([A-J])\b(?!['’])"  # option B
_WRAPPED = re.compile("|".join((_NAMED, _BRACKET, _HALF, _BOLD, _LINE)))
_LOWER_BRACKET = re.compile(r"(?<![\w^_)])[(\[]([a-h])[)\]]")  # not f(a), and no (i), the imaginary unit
_BARE = re.compile(rf"(?<![\w'’\-\\/=^+*(])(?<!\d )([A-J])\b{_NO_ARTICLE}(?![\w'’\-/=^+(_]|\s?[=+^])")

_PLACEHOLDER = r"(?:\(?X\)[ \t.:]*)?"  # "(X) B) …": the prompt's own form taken literally
_HEAD = re.compile(
    rf"[ \t\"'“>#*\-]{{0,8}}{_PLACEHOLDER}[\"'“*]{{0,3}}"
    rf"(?:{_BRACKET}|([A-J])(?:\)|[.:](?=\s|\*|$)|\*\*|[\"”]?[ \t]*(?=\r?\n|$)|(?=[ \t]+\(X\)))"
    rf"|([A-HJ])(?=,[ \t]|[ \t]+[-–—][ \t])|(?i:option|choice)[ \t]+\(?([A-J])\b)"
)
_JOINED = r"[)\]*]{0,4}[ \t]*(?:,[ \t]*(?:and|or)?|/|&|\band\b|\bor\b)[ \t]*[(\[*]{0,4}"
_LISTED_AFTER = re.compile(rf"{_JOINED}[A-HJ]\b(?!['’])")
_LISTED_BEFORE = re.compile(rf"\b[A-HJ]{_JOINED}$")
_REFUSED_BEFORE = re.compile(
    r"\b(?:not|than|unlike|neither|nor|instead of|except)\s+(?:option\s+)?[(\[*]*$", re.I
)
_QUALITY = r"(?:correct|right|accurate|best|suitable|appropriate|plausible|answer|valid)\b"
_FAULT = (
    rf"incorrect|wrong|false|inaccurate|unrelated|irrelevant|less\b|too\b|not\s+(?:\w+\s+){{0,3}}?{_QUALITY}"
)
_REFUSED_AFTER = re.compile(
    r"[)\]*]{0,4}\s+(?:\w+\s+)?(?:do(?:es)?|did)(?:\s+not|n['’]t)\b"
    rf"|[^.\n]{{0,{_NEAR}}}?(?:\b(?:is|are|was|were|be)\b|n['’]t\b)\s+(?:\w+\s+)?(?:{_FAULT})"
)
_CALLED_RIGHT = re.compile(
    rf"(?:{_NAMED}|{_BRACKET}|{_HALF})\)?(?:[^.\n()]|\.(?=\d)){{0,150}}?\b(?:is|as|remains)\s+"
    r"(?:(?:the|a|our|my|most|more|only)\s+)*(?:\w+\s+(?:and\s+\w+\s+)?)?"
    rf"{_QUALITY}(?!\s+(?:if|but|only)\b)"
)
_SENTENCE = re.compile(r"[.!?:][)\"”*]{0,3}\s+(?=[(\[*\"“A-Z])|\n")
_NOT = re.compile(r"\W{0,4}(?:not|incorrect|wrong|neither)\b", re.I)
_ALL_OPTIONS = re.compile(
    r"[(\[*]{0,4}A(?:[)\]]?,[ \t]*|/)[(\[]?B(?:[)\]]?,[ \t]*(?:(?:and|or)\s+)?|/)[(\[]?C\b"
)
# "answer is: (X) 16 hours": the option's text without its letter.
_NAMELESS = re.compile(r"(?!.{0,80}\bform\b).{0,80}?\(X\)\s+\w", re.DOTALL)
_NO_CHOICE = re.compile(
    r"[^.\n]{0,40}?\b(?:not possible|cannot|can['’]t|undetermined|unable|none of)\b", re.I
)
_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_LONE_LOWER = re.compile(r"\s*[\"'“]?([a-h])[\"'”]?\s*[.)]?\s*$")
_START = re.compile(rf"[(\[\"'“*]{{0,4}}([A-J])(?![\w'’/^=])(?!-\w){_NO_ARTICLE}")


def letter(text: str, statements: Callable[[str], Iterator[str]]) -> str | None:
    """The letter of the option that ``text`` chooses, or None; ``statements`` gives its marked answers."""
    for statement in statements(text):
        if _ALL_OPTIONS.match(statement):
            continue
        several = _several(statement)
        if not several and (found := stated(statement)):
            return found
        if several or _NO_CHOICE.match(statement):
            return None
        if _NAMELESS.match(statement):
            return _only(_WRAPPED.finditer(text))
    return _short(text) or _called_right(text) or _closing(text) or _opening(text) or _named(text)


def stated(statement: str) -> str | None:
    """The letter that a marked statement gives: at its start, wrapped, or alone within its first words."""
    statement = _COMMAND.sub(r" \1 ", statement).replace("$", " ").strip()
    if _NOT.match(statement):
        return None
    start = _START.match(statement)
    if start and not _listed(start, statement):
        return _of(start)
    if lower := _LONE_LOWER.match(statement):
        return lower[1].upper()
    for found in _WRAPPED.finditer(statement):
        if not _listed(found, statement) and not _refused(found, statement):
            return _of(found)
    for found in _BARE.finditer(statement):
        first = len(statement[: found.start()].split()) < _SHORT_WORDS
        last = not statement[found.end() :].strip(" .*")
        if (first or last) and not _listed(found, statement):
            return _of(found)
    found_lower = _LOWER_BRACKET.search(statement)
    return found_lower[1].upper() if found_lower else None


def _only(found: Iterator[re.Match[str]]) -> str | None:
    """The letter on which all finds agree."""
    letters = {_of(each) for each in found}
    return letters.pop() if len(letters) == 1 else None


def _several(statement: str) -> bool:
    """Whether a statement begins with several options, "(C and D …": no single one is chosen."""
    start = _START.match(statement)
    return bool(start and _listed(start, statement))


def _short(text: str) -> str | None:
    """The only letter of a text of a few words."""
    if len(text) > 20 * _NEAR or len(text.split()) > _SHORT_WORDS or _WRAPPED.search(text):
        return None
    return _only(_BARE.finditer(text))


def _called_right(text: str) -> str | None:
    """The last option called the right one: "(C) is the most accurate answer"."""
    chosen = [f for f in _CALLED_RIGHT.finditer(text) if not re.search(r"\bnot\b|n['’]t\b", f.group())]
    return _of(chosen[-1]) if chosen else None


def _closing(text: str) -> str | None:
    """The option at the head of the last line or of the last sentence, or the letter that ends the text."""
    body = text.rstrip()
    starts = [0, *(found.end() for found in _SENTENCE.finditer(body))]
    for start in {body.rfind("\n") + 1: 0, starts[-1]: 0}:
        head = _HEAD.match(body, start)
        others = {_of(found) for found in _WRAPPED.finditer(body, head.end())} if head else set()
        if (
            head
            and others <= {_of(head)}
            and not _refused(head, body)
            and not _listed(head, body)
            and not _enumerated(body, head)
        ):
            return _of(head)
    bare = list(_BARE.finditer(body, starts[-1]))
    last = bare[-1] if bare and not body[bare[-1].end() :].strip(".*\"'”!") else None
    return _of(last) if last and len(bare) == 1 else None


def _opening(text: str) -> str | None:
    """The option that the text begins with."""
    text = text.lstrip()
    head = _HEAD.match(text)
    if not head or _listed(head, text) or _refused(head, text):
        return None
    following = _HEAD.match(text, text.find("\n") + 1) if "\n" in text else None
    listed = following is not None and ord(_of(following)) == ord(_of(head)) + 1
    return None if listed else _of(head)


def _named(text: str) -> str | None:
    """The last option in one of the usual wrappings that is neither listed nor turned down."""
    wrapped = list(_WRAPPED.finditer(text))
    if not wrapped and len(text.split(maxsplit=_FEW_WORDS)) < _FEW_WORDS:
        wrapped = list(_LOWER_BRACKET.finditer(text))
    for position in _outside_runs([_of(found) for found in wrapped])[::-1]:
        found = wrapped[position]
        if not _listed(found, text) and not _refused(found, text):
            return _of(found)
    return None


def _outside_runs(letters: list[str]) -> list[int]:
    """Positions of letters outside lists: runs of three or more in alphabetical order, "A … B … D"."""
    kept: list[int] = []
    start = 0
    for end in range(1, len(letters) + 1):
        if end == len(letters) or letters[end] <= letters[end - 1]:
            kept.extend(range(start, end) if end - start < 3 else ())
            start = end
    return kept


def _enumerated(text: str, head: re.Match[str]) -> bool:
    """Whether the line before also begins with a letter, the one before in the alphabet: a list."""
    before = text[: head.start()].rstrip()
    line = _HEAD.match(before, before.rfind("\n") + 1)
    return line is not None and _of(line) < _of(head)


def _listed(found: re.Match[str], text: str) -> bool:
    """Whether a letter is one of several in a row: "A, B and C", "(B) or (C)"."""
    end = found.end(found.lastindex or 0)
    start = found.start(found.lastindex or 0)
    before = text[max(0, start - _NEAR // 4) : start]
    return bool(_LISTED_AFTER.match(text, end) or _LISTED_BEFORE.search(before))


def _refused(found: re.Match[str], text: str) -> bool:
    """Whether a letter is turned down: "not (C)", "(C) 2% is incorrect"."""
    start = found.start(found.lastindex or 0)
    return bool(
        _REFUSED_BEFORE.search(text[max(0, start - _NEAR // 4) : start])
        or _REFUSED_AFTER.match(text, found.end())
    )


def _of(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group).upper()
