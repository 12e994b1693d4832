"""The rows that a student learns from: read, encoded, and cut to the partner's number."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arkloom.canonical import derive_seed
from arkloom.errors import BadInputError
from arkloom.jsonl import read_lines, read_records
from arkloom.records import TrainingRow
from arkloom.training.encode import Example, encode

ROWS = "rsft.jsonl"


@dataclass(frozen=True)
class Rows:
    """Encoded rows that fit, with their problems, and how many were too long."""

    examples: tuple[Example, ...]
    problems: tuple[str, ...]
    too_long: int = 0

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def counts(self) -> dict[str, int]:
        """Rows, tokens (all and under the loss) and distinct problems."""
        return {
            "rows": len(self),
            "tokens": sum(map(len, self.examples)),
            "trained_tokens": sum(example.trained for example in self.examples),
            "problems": len(set(self.problems)),
        }


def read_rows(path: Path, tokenizer: Any, max_tokens: int) -> Rows:
    """Encode every row of a file; a row longer than ``max_tokens`` is left out, never cut.

    Raises:
        BadInputError: A row cannot be used; names file and line.
    """
    examples, problems, too_long = [], [], 0
    numbers = (number for number, _ in read_lines(path))
    for number, row in zip(numbers, read_records(path, TrainingRow), strict=True):
        try:
            example = encode(tokenizer, row)
        except BadInputError as error:
            raise BadInputError(error.what, where=f"{path} line {number}", mend=error.mend) from error
        if len(example) > max_tokens:
            too_long += 1
        else:
            examples.append(example)
            problems.append(row.problem_id)
    return Rows(tuple(examples), tuple(problems), too_long)


def cut(rows: Rows, number: int, seed: int) -> Rows:
    """A seeded choice of ``number`` rows in their own order; all of them where there are no more."""
    if number >= len(rows):
        return rows
    draw = random.Random(derive_seed(seed, "match"))  # noqa: S311 - a choice of rows, not a secret
    kept = sorted(draw.sample(range(len(rows)), number))
    return Rows(
        tuple(rows.examples[index] for index in kept),
        tuple(rows.problems[index] for index in kept),
        rows.too_long,
    )
