"""A trace with its labels and what they rest on, and the reading of rows that are to be labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from arkloom.errors import BadInputError
from arkloom.jsonl import read_lines
from arkloom.records import StepRow

# What a 0 rests on: its own operation evaluates otherwise; right traces give the operation another
# result; the answer that it states is wrong; the outcome alone; a person.
Basis = Literal["operation", "contradiction", "answer", "outcome", "human"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One trace, labelled.

    Attributes:
        row: With ``labels``: 1 before the first error, 0 at it, None after it and where nothing is known.
        basis: What the 0 rests on; None where there is none.
    """

    row: StepRow
    basis: Basis | None


def masked_after_error(labels: Sequence[int | None]) -> tuple[int | None, ...]:
    """The labels with everything behind the first 0 masked: after an error nothing is right or wrong."""
    if 0 not in labels:
        return tuple(labels)
    error = labels.index(0)
    return (*labels[: error + 1], *[None] * (len(labels) - error - 1))


def step_texts(row: StepRow) -> list[str]:
    """The text of each step."""
    text = row.messages[-1].content
    starts = (0, *row.step_ends[:-1])
    return [text[start:end] for start, end in zip(starts, row.step_ends, strict=True)]


def read_rows(path: Path) -> list[StepRow]:
    """The rows of a file of ``step.v1``.

    Raises:
        BadInputError: A line is no such row, or its steps do not fit its text; file and line are named.
    """
    return [step_row(line, f"{path} line {number}") for number, line in read_lines(path)]


def step_row(line: str, where: str) -> StepRow:
    """One ``step.v1`` row from its JSON.

    Raises:
        BadInputError: It is none, its ends do not lie in its last message in order, that message is not
            the assistant's, or there are labels but not one for each step.
    """
    try:
        row = StepRow.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadInputError(f"{field + ': ' if field else ''}{first['msg']}", where=where) from error
    if not row.messages or row.messages[-1].role != "assistant":
        raise BadInputError("the last message is not the assistant's", where=where)
    ends = row.step_ends
    rising = all(a < b for a, b in zip((0, *ends), ends, strict=False))
    if not rising or (ends and ends[-1] > len(row.messages[-1].content)):
        raise BadInputError("step_ends do not lie in the last message in order", where=where)
    if row.labels:
        check_labels(row.labels, len(ends), where)
    return row


def check_labels(labels: Sequence[object], steps: int, where: str) -> None:
    """Refuse labels that do not fit their steps.

    Raises:
        BadInputError: Another number of labels than steps, or one that is not 1, 0 or null.
    """
    if len(labels) != steps:
        raise BadInputError(
            f"{len(labels)} labels for {steps} steps", where=where, mend="Give one label a step"
        )
    for place, label in enumerate(labels):
        if label is not None and (isinstance(label, bool) or label not in (0, 1)):
            raise BadInputError(
                f"label {label!r} of step {place} is out of range", where=where, mend="Use 1, 0 or null"
            )
