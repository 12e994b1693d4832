r"""LaTeX as models write it, brought to one plain form (no meaning is decided here)."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\f?boxed\s*\{(.*)\}", re.DOTALL)
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_PLAIN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[−–]", "-"),
        (r"[\u00a0\u2009\u202f]|(?<!\\)\\[,;:> ]|(?<!\\)~", " "),
        (r"\{,\}", ","),
        (r",\s*\\!\s*", ","),
        (r"\\!", ""),
        (r"\\(?:left|right)(?![a-zA-Z])\.?|\\[bB]igg?[lr]?(?![a-zA-Z])", ""),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\(?:displaystyle|limits)(?![a-zA-Z])", ""),
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|°|\\degree(?![a-zA-Z])", ""),
        (r"\\?[$€£¥₹]", ""),
        (r"\\%", "%"),
        (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])|π", r"\\pi "),
        (r"(?<![\\a-zA-Z])(?:oo|infinity)(?![a-zA-Z])|∞", r"\\infty "),
        (r"√\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
        (r"√\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    )
)
# \frac43, \frac 59, \frac{270}7 and \frac4{3}: TeX takes one character where braces are left out.
_ARGUMENT = r"(\{[^{}]*\}|[0-9a-zA-Z]|\\[a-zA-Z]+)"
_FRAC = re.compile(rf"\\frac\s*{_ARGUMENT}\s*{_ARGUMENT}")
_TEXT_COMMAND = r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}"
_WHOLE_TEXT = re.compile(rf"(?:{_TEXT_COMMAND}\s*)+")
_TEXT = re.compile(_TEXT_COMMAND)
_UNIT = re.compile(rf"(?<=[0-9)}}%a-zA-Z])\s*{_TEXT_COMMAND}\s*(?:\^\s*\{{?\d\}}?)?\s*$")
# "18 dollars", "5 square units": words of three letters or more behind a number, but no scale.
_WORD_UNIT = re.compile(
    r"(?<=[0-9%])\s(?!(?:hundred|thousand|[mbtr]illion)\b)[a-zA-Z]{3,}(?:\s[a-zA-Z]{2,}){0,4}$"
)
_EMPTY_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\s*\{\s*\}")


def _braced(argument: str) -> str:
    return argument if argument.startswith("{") else f"{{{argument}}}"


def _unwrapped(text: str) -> str:
    """Without one layer of delimiters, box and closing dot around the whole text."""
    text = strip_math(text.strip().rstrip(".").strip())
    box = _BOX.fullmatch(text)
    return (box[1] if box else text).strip().rstrip(".").strip()


def strip_math(text: str) -> str:
    r"""Remove one pair of math delimiters around the whole text: ``$…$``, ``\(…\)``, ``\[…\]``."""
    text = text.strip()
    for opening, closing in _DELIMITERS:
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner:
            return inner.strip()
    return text


def plain(text: str) -> str:
    r"""One plain form: no sizing, spacing, currency, degrees, closing dot or trailing unit in ``\text``.

    >>> plain(r"$\left( 3, \dfrac{1}{2} \right)$.")
    '( 3, \\frac{1}{2} )'
    """
    text = _unwrapped(_unwrapped(text))
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    text = _FRAC.sub(lambda found: rf"\frac{_braced(found[1])}{_braced(found[2])}", text)
    text = _EMPTY_TEXT.sub("", text).strip()
    if not _WHOLE_TEXT.fullmatch(text):
        text = _UNIT.sub("", text)
    return _WORD_UNIT.sub("", re.sub(r"\s+", " ", text).strip())


def is_text(text: str) -> bool:
    r"""Whether a plain form is words alone, set in ``\text{…}``."""
    return _WHOLE_TEXT.fullmatch(text) is not None


def words(text: str) -> str:
    r"""The words of an answer, case, ``\text{…}`` and outer punctuation removed."""
    bare = _TEXT.sub(lambda found: found[1], text)
    spaced = re.sub(r"\s*([,;])\s*", r"\1 ", bare)
    return re.sub(r"\s+", " ", spaced).strip(" .,;:!()\"'").casefold()
