"""Which traces a PRM learns from and which it is judged on; no problem is in both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from arkloom.prm.traces import STEPS, Trace, Traces, held_out, read_traces
from arkloom.steps.model import Prm
from arkloom.store import Artifact


@dataclass(frozen=True)
class Split:
    """Traces to learn from and to judge on.

    Attributes:
        train: Learned from.
        validation: Judged on.
        found: All training rows, with what was left out of them.
        judged_on: Where the validation rows come from, in words.
    """

    train: tuple[Trace, ...]
    validation: tuple[Trace, ...]
    found: Traces
    judged_on: str


def split(inputs: Mapping[str, Artifact], prm: Prm, max_tokens: int, seed: int) -> Split:
    """Validation rows from their port; without them a seeded fifth of the problems is held out.

    Rows of the optional port ``own``, the student's own answers, are learned from and never judged on.

    Raises:
        BadInputError: A row cannot be used; names file and line.
    """
    found = read_traces(inputs["steps"].file(STEPS), prm, max_tokens)
    own = Traces(())
    if "own" in inputs and inputs["own"].absent is None:
        own = read_traces(inputs["own"].file(STEPS), prm, max_tokens)
    port = inputs.get("validation")
    if port is not None and port.absent is None:
        validation = read_traces(port.file(STEPS), prm, max_tokens).traces
        known = frozenset(trace.problem for trace in validation)
        told = "the validation problems"
    else:
        known = held_out((trace.problem for trace in found.traces), seed)
        validation = tuple(trace for trace in found.traces if trace.problem in known)
        told = "a fifth of the training problems, held out"
        told += f" (validation is absent: {port.absent})" if port is not None else ""
    every = found + own
    train = tuple(trace for trace in every.traces if trace.problem not in known)
    return Split(train, validation, every, told)


def why_none(found: Traces, max_tokens: int) -> str:
    """Why nothing is left to learn from."""
    if found.traces:
        return "every problem with labelled steps is needed to judge by; none is left to learn from"
    if found.too_long:
        return f"all {found.too_long} labelled rows are longer than prm.max_tokens ({max_tokens})"
    return "no row has a labelled step"
