"""What an answer type is: the one small object through which Arkloom reads and judges answers.

A user's own domain needs nothing else. The least that works::

    class Python:
        name, version, threshold = "python", "1", 1.0

        def extract(self, text):  # the answer as the model wrote it, or None
            ...

        def score(self, answer, gold):  # 0.0 .. 1.0
            ...

        def same(self, a, b):  # do two answers count as one in a vote?
            return a == b

Optional attributes, read with their defaults by the accessors of ``arkloom.answers``: ``instruction``
(prompt text that asks for the expected form), ``split_steps(text) -> list[str]``, ``votes`` (False where
answers are only scored), ``key(answer) -> str | None`` (a canonical form: two answers with keys are the
same exactly when their keys are equal) and ``check_gold(gold) -> str | None`` (what is wrong with a gold).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

REQUIRED = ("name", "version", "threshold", "extract", "score", "same")


@runtime_checkable
class AnswerType(Protocol):
    """Reads an answer from a text, scores it against gold, and says when two answers are one."""

    @property
    def name(self) -> str:
        """What configuration and records call it."""

    @property
    def version(self) -> str:
        """Raised whenever a verdict may change: it enters the keys of what was graded."""

    @property
    def threshold(self) -> float:
        """The least score that counts as correct, in 0..1."""

    def extract(self, text: str) -> str | None:
        """The answer stated in ``text``, or None when none can be read."""

    def score(self, answer: str, gold: str) -> float:
        """How right ``answer`` is, in 0..1."""

    def same(self, a: str, b: str) -> bool:
        """Whether two answers are equivalent."""
