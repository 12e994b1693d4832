"""Answers that are one letter: multiple choice, A to J."""

from __future__ import annotations

import re
from dataclasses import dataclass

from arkloom.answers import marked
from arkloom.answers.latex import plain, words

_RANGE = "A-J"
_WRAPPED = re.compile(
    rf"[(\[]\s*\**([{_RANGE}{_RANGE.lower()}])\**\s*[)\]]"  # (B) [b]
    rf"|(?<![^\s*])([{_RANGE}])\)(?=[\s*]|$)"  # B) text
    rf"|\*\*\s*\(?([{_RANGE}])\b\)?(?=[^*\n]{{0,200}}\*\*)"  # **B** **B. text**
    rf"|(?:^|\n)[ \t]*(?:[-*][ \t]*)?([{_RANGE}])(?=[.:](?:\s|$)|[ \t]*[\r\n]|[ \t]*$)"  # a line "B." or "B"
    rf"|(?i:\b(?:option|choice|letter)\b)\s*[:\"'“]?\s*([{_RANGE}])\b"  # option B
)
_BARE = re.compile(rf"(?<![\w'’\-\\])([{_RANGE}])(?![\w'’\-])")
_ARTICLE = re.compile(r"A\s+[a-z]|I\b")  # an article or a pronoun, not an option
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_LOWER = re.compile(rf"\s*[\"'“]?([{_RANGE.lower()}])[\"'”]?\s*[.)]?\s*$")


def _first(statement: str) -> str | None:
    """The letter that a marked statement gives: wrapped, at its start, or standing alone."""
    statement = _TEXT.sub(r" \1 ", statement).replace("$", " ").strip()
    start = re.match(rf"[(\[\"'“*]*([{_RANGE}])(?![\w'’])", statement)
    if start:
        return start[1]
    if lower := _LOWER.match(statement):
        return lower[1].upper()
    for pattern in (_WRAPPED, _BARE):
        for found in pattern.finditer(statement):
            if not (pattern is _BARE and _ARTICLE.match(statement, found.start())):
                return _letter(found)
    return None


def _last(text: str) -> str | None:
    """The last letter in one of the usual wrappings, else the last that stands alone."""
    wrapped = list(_WRAPPED.finditer(text))
    if wrapped:
        return _letter(wrapped[-1])
    bare = [found for found in _BARE.finditer(text) if not _ARTICLE.match(text, found.start())]
    return _letter(bare[-1]) if bare else None


def _letter(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group).upper()


@dataclass(frozen=True)
class Mcq:
    """One letter; case and wrapping do not matter."""

    name: str = "mcq"
    version: str = "1"
    threshold: float = 1.0
    instruction: str = r"End with the letter of the right option in the form \boxed{letter}."

    def extract(self, text: str) -> str | None:
        r"""Last ``\boxed{}``, else ``####``, else "answer is …", else the last standalone letter."""
        text = marked.tail(text)
        for statement in marked.statements(text):
            if letter := _first(statement):
                return letter
        return _last(text)

    def key(self, answer: str) -> str | None:
        """The capital letter, or None when the answer is not one letter."""
        letter = words(plain(answer[:100]))
        return letter.upper() if len(letter) == 1 and letter.isascii() and letter.isalpha() else None

    def score(self, answer: str, gold: str) -> float:
        """1.0 when both are the same letter."""
        return float(self.key(answer) is not None and self.key(answer) == self.key(gold))

    def same(self, a: str, b: str) -> bool:
        """Whether both are the same letter."""
        return self.score(a, b) >= self.threshold

    def check_gold(self, gold: str) -> str | None:
        """A gold must be one letter."""
        return None if self.key(gold) else "it is not the letter of an option"


MCQ = Mcq()
