"""Summaries: scored by ROUGE-L against a reference, never voted on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from arkloom.answers import marked
from arkloom.errors import ArkloomError

_MARK = re.compile(r"^\W{0,4}(?:final )?summary\W{0,4}:\W{0,3}", re.IGNORECASE | re.MULTILINE)
_MAX_CHARACTERS = 20_000


@lru_cache(maxsize=1)
def _scorer() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415  an extra; only summaries need it
    except ImportError as error:
        raise ArkloomError(
            "scoring summaries needs the package rouge-score, which is not installed",
            mend="Install it with: pip install 'arkloom[train]'",
        ) from error
    return RougeScorer(["rougeL"], use_stemmer=True)


@dataclass(frozen=True)
class Summary:
    """A summary; the threshold is a default for reports, the filter's own stands in the configuration."""

    name: str = "summary"
    version: str = "1"
    threshold: float = 0.3
    votes: bool = False
    instruction: str = 'Write the summary after the line "Summary:".'

    def extract(self, text: str) -> str | None:
        """What follows the last "Summary:", else the whole text; None when nothing is left."""
        text = marked.tail(text)
        found = list(_MARK.finditer(text))
        body = text[found[-1].end() :] if found else text
        return body.strip() or None

    def score(self, answer: str, gold: str) -> float:
        """ROUGE-L F1 with stemming (Lin, 2004, as implemented by ``rouge_score``), in 0..1."""
        rouge = _scorer().score(gold[:_MAX_CHARACTERS], answer[:_MAX_CHARACTERS])
        return float(rouge["rougeL"].fmeasure)

    def same(self, a: str, b: str) -> bool:
        """Summaries have no classes: only a text that says the same words is the same."""
        return a.split() == b.split()

    def check_gold(self, gold: str) -> str | None:
        """A reference must hold words."""
        return None if re.search(r"\w", gold) else "it has no words"


SUMMARY = Summary()
