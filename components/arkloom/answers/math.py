"""Answers in mathematical notation: expressions, tuples, intervals, sets, matrices, words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from arkloom.answers import equality, marked, symbolic
from arkloom.answers.exact import exact
from arkloom.answers.latex import plain, strip_math
from arkloom.answers.number import last_number

_INLINE = re.compile(r"\$\$?([^$\n]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_DISPLAY_END = re.compile(r"\s*(?:\$\$?|\\\]|\\\)|\*\*)\s*$")


def _statement(sentence: str) -> str:
    """The mathematics of a sentence: its first inline formula, else the sentence itself."""
    inline = _INLINE.search(sentence)
    if inline:
        return next(part for part in inline.groups() if part is not None).strip()
    return strip_math(_DISPLAY_END.sub("", sentence)).strip().rstrip(".").strip()


@dataclass(frozen=True)
class Math:
    """An expression in LaTeX; equality is exact for numbers and symbolic for all else."""

    name: str = "math"
    version: str = "1"
    threshold: float = 1.0
    instruction: str = r"End with the final answer in the form \boxed{answer}."

    def extract(self, text: str) -> str | None:
        r"""Last ``\boxed{}``, else ``####``, else "answer is …", else the last number."""
        text = marked.tail(text)
        for content in marked.boxed(text):
            if content:
                return content
        for source in (marked.hashed, marked.said):
            for sentence in source(text):
                if statement := _statement(sentence):
                    return statement
        return last_number(text)

    def key(self, answer: str) -> str | None:
        """The canonical rational of a plain number, else None."""
        number = exact(answer)
        return str(number.value) if number else None

    def score(self, answer: str, gold: str) -> float:
        """1.0 when both denote the same object."""
        return float(equality.same(answer, gold))

    def same(self, a: str, b: str) -> bool:
        """Whether both denote the same object."""
        return self.score(a, b) >= self.threshold

    def check_gold(self, gold: str) -> str | None:
        """A gold must fit the limits of grading, with its braces closed."""
        if not plain(gold):
            return "it is empty"
        if symbolic.refused(gold):
            return "it is too long or too deep to be graded"
        return None if gold.count("{") == gold.count("}") else "its braces do not match"


MATH = Math()
