"""Splits a trace into steps and says what each computes.

A step is a paragraph (blank line), or starts at "Step n" or "n.", or is one line where a line holds
one operation each. Offsets are characters of the text; tokens belong to the trainer.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

MAX_STEPS = 32

_BLANK = re.compile(r"\n[ \t]*\n\s*")
_NUMBERED = re.compile(r"\n[ \t]*(?=(?:\*\*|#+ )?(?:step\s+\d+|\d{1,2}[.)])(?!\d))", re.IGNORECASE)
_NUMBER = r"[-+]?\d[\d,]{0,40}(?:\.\d{1,40})?"
# "left = result": the result is found first, then its left side in the little that stands before it, so
# that the cost is linear whatever the text. A currency sign may stand before the result.
_RESULT = re.compile(rf"=\s{{0,8}}[$€£]?\s?(?P<right>{_NUMBER})")
_LEFT = re.compile(r"(?:(?<![\w)])-)?[\d(][\d\s.,+\-*/×÷x^()%$]*[\d)%]\s*$", re.IGNORECASE)
_REACH = 120  # characters before the sign of equality in which the left side is looked for
_OPERATOR = re.compile(r"[+\-*/×÷x^]", re.IGNORECASE)
_LATEX = (
    (re.compile(r"\\(?:times|cdot)"), "*"),
    (re.compile(r"\\div"), "/"),
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\(?:text|mathrm|mathbf|boxed)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[,;! ]|[$\\]"), ""),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its text, the end offset in the trace, and the operations it states.

    Attributes:
        text: The step, stripped.
        end: Offset in the trace just after the step's last character.
        operations: (left side, result) of every equation in it, normalised; often empty.
    """

    text: str
    end: int
    operations: tuple[tuple[str, str], ...]

    @property
    def result(self) -> str | None:
        """Result of the last operation, or None."""
        return self.operations[-1][1] if self.operations else None


def split(text: str) -> tuple[Step, ...]:
    r"""The steps of a trace, at most ``MAX_STEPS``: what is beyond joins the last one.

    Example:
        >>> [step.result for step in split("7*5=35\\n2+35=37\\n#### 37")]
        ['35', '37', None]
    """
    cuts = {match.end() for match in _BLANK.finditer(text)} | {m.end() for m in _NUMBERED.finditer(text)}
    if not cuts:
        cuts = _line_cuts(text)
    bounds = sorted({0, *cuts, len(text)})
    spans = [(a, b) for a, b in itertools.pairwise(bounds) if text[a:b].strip()]
    if len(spans) > MAX_STEPS:
        spans = [*spans[: MAX_STEPS - 1], (spans[MAX_STEPS - 1][0], spans[-1][1])]
    return tuple(_step(text, start, end) for start, end in spans)


def signature(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The operations of a trace in order, ``left=right`` each."""
    return tuple(f"{left}={right}" for step in steps for left, right in step.operations)


def without_latex(text: str) -> str:
    r"""The text with its usual LaTeX written plainly: ``\frac{1}{3} \times 6`` is ``(1)/(3) * 6``."""
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    return text


def _line_cuts(text: str) -> set[int]:
    """Line starts, where most lines hold one operation; a paragraph of prose stays whole."""
    lines = [line for line in text.split("\n") if line.strip()]
    holding = sum(bool(_operations(line)) for line in lines)
    if len(lines) < 2 or holding * 2 < len(lines):
        return set()
    return {match.end() for match in re.finditer(r"\n", text)}


def _step(text: str, start: int, end: int) -> Step:
    part = text[start:end]
    return Step(part.strip(), start + len(part.rstrip()), _operations(part))


def _operations(text: str) -> tuple[tuple[str, str], ...]:
    text = without_latex(text)
    found = []
    start = 0
    for match in _RESULT.finditer(text):
        before = _LEFT.search(text, max(start, match.start() - _REACH), match.start())
        start = match.end()
        left = _normal(before.group()) if before else ""
        if _OPERATOR.search(left[1:]):
            found.append((left, _plain(match["right"])))
    return tuple(found)


def _normal(expression: str) -> str:
    plain = re.sub(r"[\s,$]", "", expression).casefold()
    return plain.replace("×", "*").replace("÷", "/").replace("x", "*")


def _plain(number: str) -> str:
    digits = number.replace(",", "").removeprefix("+")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
