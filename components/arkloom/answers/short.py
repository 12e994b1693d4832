"""Short free-text answers, scored by the overlap of their words."""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass

from arkloom.answers import marked

_MAX_TOKENS = 1_000
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|emph)\s*\{([^{}]*)\}")
_WRAPPING = " \t*_\"'“”`"


def tokens(text: str) -> list[str]:
    """Words without case, punctuation and articles (SQuAD's normalisation), at most 1,000 of them."""
    bare = text[: marked.TAIL].casefold().translate(_PUNCTUATION).split()
    return [word for word in bare if word not in _ARTICLES][:_MAX_TOKENS]


def token_f1(answer: str, gold: str) -> float:
    """Token F1 as SQuAD defines it (Rajpurkar et al., 2016): 2·P·R / (P + R), in 0..1.

    Two texts without any word left agree only when both are empty.
    """
    left, right = tokens(answer), tokens(gold)
    if not left or not right:
        return float(left == right and bool(answer.strip()) == bool(gold.strip()))
    common = sum((Counter(left) & Counter(right)).values())
    return 2 * common / (len(left) + len(right))


@dataclass(frozen=True)
class Short:
    """A few words; right when the token F1 reaches 0.8."""

    name: str = "short"
    version: str = "1"
    threshold: float = 0.8
    instruction: str = 'End with a line "The answer is: " followed by the answer in as few words as possible.'

    def extract(self, text: str) -> str | None:
        r"""Last ``\boxed{}``, else ``####``, else "answer is …", else the last line that says something."""
        text = marked.tail(text)
        for statement in marked.statements(text):
            if answer := _bare(statement):
                return answer
        lines = [line for line in (_bare(line) for line in text.splitlines()[-50:]) if line]
        return lines[-1][: marked.MAX_ANSWER] if lines else None

    def key(self, answer: str) -> str | None:
        """None: short answers have no canonical form, only degrees of overlap."""
        return None

    def score(self, answer: str, gold: str) -> float:
        """Token F1, in 0..1."""
        return token_f1(answer, gold)

    def same(self, a: str, b: str) -> bool:
        """Whether two answers overlap as much as an answer must overlap with gold."""
        return token_f1(a, b) >= self.threshold

    def check_gold(self, gold: str) -> str | None:
        """A gold must hold at least one word."""
        return None if tokens(gold) else "it has no words"


def _bare(text: str) -> str:
    """One line without quotes, emphasis, formatting commands and closing dot; empty if no word is left."""
    line = _COMMAND.sub(r"\1", re.sub(r"\s+", " ", text))
    line = line.strip(_WRAPPING).rstrip(".").strip(_WRAPPING)
    return line if any(character.isalnum() for character in line) else ""


SHORT = Short()
