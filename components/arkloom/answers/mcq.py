"""Answers that are one letter: multiple choice, A to J."""

from __future__ import annotations

from dataclasses import dataclass

from arkloom.answers import letters, marked
from arkloom.answers.latex import plain, words


@dataclass(frozen=True)
class Mcq:
    """One letter; case and wrapping do not matter."""

    name: str = "mcq"
    version: str = "1"
    threshold: float = 1.0
    instruction: str = r"End with the letter of the right option in the form \boxed{letter}."

    def extract(self, text: str) -> str | None:
        r"""Last ``\boxed{}``, else ``####``, else "answer is …", else the option chosen by its place.

        The last is narrower than "the last standalone letter": see ``arkloom.answers.letters``. In recorded
        debates a letter that merely stood alone was an option in 2 of 28 texts, and the last letter in
        brackets was often one of the options that had just been turned down.
        """
        return letters.letter(marked.tail(text), marked.statements)

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
