"""Labels from evidence: each step's own arithmetic, other traces of the same problem, the known answer.

A step is wrong (0) only where its own operation evaluates otherwise, where right traces of the problem
give the same operation another result, or where it states a wrong answer behind nothing but right steps:
behind a step of which nothing is known, the error may have been made there. It is right (1) where every
result that it states is confirmed: another right trace has it, or it is the right answer. That an operation
evaluates as stated confirms it in a trace that ends right; in one that ends wrong it does not, since right
arithmetic on the wrong numbers is the usual error there. Where the problem is itself an expression, it
confirms exactly the operations that are steps of it, however the trace ends. Anything else is left
without a label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arkloom.answers import extract, grade
from arkloom.label.labelled import Basis, Labelled, masked_after_error, step_texts
from arkloom.label.reduction import Reduction
from arkloom.records import StepRow
from arkloom.steps.operations import Equation, equations, value


@dataclass(frozen=True, slots=True)
class _Trace:
    """A row as it was read.

    Attributes:
        row: The row.
        steps: The equations of each step.
        answer_step: The step that states the answer.
        right: Whether that answer is right, where it is known.
        confirmed: For each equation of each step, whether its own arithmetic confirms it.
        expression: Whether the problem is an expression, so that arithmetic is all there is to it.
    """

    row: StepRow
    steps: tuple[tuple[Equation, ...], ...]
    answer_step: int | None
    right: bool | None
    confirmed: tuple[tuple[bool, ...], ...]
    expression: bool


class Evidence:
    """What the right traces of one problem state, each up to the first error of its own."""

    def __init__(self, traces: Sequence[_Trace]) -> None:
        self._results: dict[str, set[int]] = defaultdict(set)
        self._operations: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for number, trace in enumerate(traces):
            if trace.right:
                for equation in _sound(trace):
                    if equation.result is not None:
                        self._results[equation.result].add(number)
                        self._operations[equation.operation][equation.result].add(number)

    def confirms(self, number: int, equation: Equation) -> bool | None:
        """Whether other right traces than ``number`` confirm (True) or contradict (False) an equation."""
        if equation.result is None:
            return None
        given = self._operations.get(equation.operation, {})
        others = {result for result, traces in given.items() if traces - {number}}
        if equation.result in others or self._results.get(equation.result, set()) - {number}:
            return True
        return False if others else None


def by_agreement(rows: Sequence[StepRow], answer_type: str) -> Iterator[Labelled]:
    """Label the traces of *one* problem.

    Args:
        rows: All its traces, right and wrong.
        answer_type: Reads the answer that a step states.
    """
    traces = [_read(row, answer_type) for row in rows]
    evidence = Evidence(traces)
    for number, trace in enumerate(traces):
        yield _label(number, trace, evidence)


def _read(row: StepRow, answer_type: str) -> _Trace:
    texts = step_texts(row)
    asked = row.messages[-2].content if len(row.messages) > 1 else ""
    answer = extract(row.messages[-1].content, answer_type)
    right = row.correct
    if right is None and row.gold is not None:
        right = grade(answer, row.gold, answer_type)
    steps = tuple(equations(text, asked + "".join(texts[:place])) for place, text in enumerate(texts))
    question = asked.split("\n")[0]
    expression = value(question) is not None
    return _Trace(
        row=row,
        steps=steps,
        answer_step=_answer_step(texts, answer, answer_type),
        right=right,
        confirmed=_worked(question, steps) if expression else _evaluated(steps, confirms=bool(right)),
        expression=expression,
    )


def _worked(question: str, steps: Sequence[Sequence[Equation]]) -> tuple[tuple[bool, ...], ...]:
    """Which equations are right steps of an expression; what follows a wrong one is none."""
    reduction = Reduction(question)
    return tuple(
        tuple(bool(each.right) and reduction.takes(each.operation, each.result) for each in step)
        for step in steps
    )


def _evaluated(steps: Sequence[Sequence[Equation]], *, confirms: bool) -> tuple[tuple[bool, ...], ...]:
    return tuple(tuple(confirms and bool(each.right) for each in step) for step in steps)


def _answer_step(texts: Sequence[str], answer: str | None, answer_type: str) -> int | None:
    """The last step that states what the whole trace answers."""
    if answer is None:
        return None
    return next((i for i in reversed(range(len(texts))) if extract(texts[i], answer_type) == answer), None)


def _sound(trace: _Trace) -> Iterator[Equation]:
    """The equations up to the first error; of an expression, those that are steps of it."""
    for step, confirmed in zip(trace.steps, trace.confirmed, strict=True):
        if any(equation.right is False for equation in step):
            return
        for equation, own in zip(step, confirmed, strict=True):
            if own or not trace.expression:
                yield equation


def _label(number: int, trace: _Trace, evidence: Evidence) -> Labelled:
    labels: list[int | None] = []
    basis: Basis | None = None
    for place in range(len(trace.steps)):
        label, why = _step(number, trace, place, evidence)
        if why == "answer" and labels.count(1) < place:
            label, why = None, None  # the answer is wrong for sure, and the error may lie before it
        labels.append(label)
        if label == 0 or (place == trace.answer_step and trace.right is False):
            basis = why
            labels += [None] * (len(trace.steps) - place - 1)
            break
    return Labelled(trace.row.model_copy(update={"labels": masked_after_error(labels)}), basis)


def _step(number: int, trace: _Trace, place: int, evidence: Evidence) -> tuple[int | None, Basis | None]:
    found = trace.steps[place]
    if any(equation.right is False for equation in found):
        return 0, "operation"
    own = trace.confirmed[place]
    verdicts = [_verdict(number, trace, *each, evidence) for each in zip(found, own, strict=True)]
    if False in verdicts:
        return 0, "contradiction"
    if place == trace.answer_step and trace.right is not None:
        return (1, None) if trace.right else (0, "answer")
    return (1, None) if verdicts and all(verdicts) else (None, None)


def _verdict(
    number: int, trace: _Trace, equation: Equation, confirmed: bool, evidence: Evidence
) -> bool | None:
    if not equation.right:
        return evidence.confirms(number, equation)
    if confirmed or trace.expression:  # the expression itself says it: an equal result is a coincidence
        return confirmed or None
    # Arithmetic is certain: a trace that rounds otherwise does not contradict it.
    return evidence.confirms(number, equation) or None
