"""On arithmetic every step can be checked: labels by agreement are exact, and never take a copying error."""

from __future__ import annotations

import random
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.label.labelled import masked_after_error
from arkloom.label.stage import label_rows
from arkloom.records import Message, Source, StepRow
from arkloom.steps.ends import step_ends

SLIPS = st.dictionaries(st.integers(0, 5), st.integers(-40, 40).filter(bool), max_size=2)
LABELS = st.lists(st.sampled_from([1, 0, None]), max_size=8)


def trace(
    numbers: list[int], slips: dict[int, int], rng: random.Random, copied: dict[int, int] | None = None
) -> tuple[str, list[int], int]:
    """A worked sum a+b*c+d-e*f in a drawn order: its text, whether each line is right in itself, its answer.

    ``slips`` are added to the results of lines, ``copied`` to the second operands of lines.
    """
    a, b, c, d, e, f = numbers
    lines: list[str] = []
    truth: list[int] = []

    def work(left: int, sign: str, right: int) -> int:
        wrong = (copied or {}).get(len(lines), 0)
        right += wrong
        exact = {"*": left * right, "+": left + right, "-": left - right}[sign]
        stated = exact + slips.get(len(lines), 0)
        lines.append(f"{left}{sign}{right}={stated}")
        truth.append(int(stated == exact and not wrong))
        return stated

    if rng.random() < 0.5:
        first, second = work(b, "*", c), work(e, "*", f)
    else:
        second, first = work(e, "*", f), work(b, "*", c)
    if rng.random() < 0.5:  # what is taken off first may leave a negative number to go on with
        total = work(work(a, "-", second), "+", first)
        total = work(total, "+", d)
    else:
        total = work(a, "+", first) if rng.random() < 0.5 else work(first, "+", a)
        total = work(total, "+", d) if rng.random() < 0.5 else work(d, "+", total)
        total = work(total, "-", second)
    answer = total + slips.get(len(lines), 0)
    lines.append(f"#### {answer}")
    # The answer line is right where the answer is: a line before it decides, where one is wrong.
    truth.append(int(answer == a + b * c + d - e * f))
    return "\n".join(lines), truth, answer


def step_row(text: str, question: str, gold: Fraction, answer: int, number: int) -> StepRow:
    return StepRow(
        problem_id=question,
        content_hash=question,
        messages=(Message(role="user", content=question), Message(role="assistant", content=text)),
        step_ends=step_ends(text, "number"),
        correct=answer == gold,
        gold=str(gold),
        source=Source(debate="d", seed=0, agent=number, round=0),
    )


@given(
    st.lists(st.integers(0, 9), min_size=6, max_size=6),
    st.lists(
        st.dictionaries(st.integers(0, 5), st.integers(-9, 9).filter(bool), max_size=2),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_labels_by_agreement_are_the_exact_truth(
    numbers: list[int], slips: list[dict[int, int]], rng: random.Random
) -> None:
    a, b, c, d, e, f = numbers
    question, gold = f"{a}+{b}*{c}+{d}-{e}*{f}", Fraction(a + b * c + d - e * f)
    rows, truths = [], []
    for number, slip in enumerate(slips):
        text, truth, answer = trace(numbers, slip, rng)
        truths.append(masked_after_error(truth))
        rows.append(step_row(text, question, gold, answer, number))
    found = [one.row.labels for group in label_rows(rows, "agreement", "number") for one in group]
    assert found == truths


@given(
    st.lists(st.integers(0, 9), min_size=6, max_size=6),
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 5), st.integers(-9, 9).filter(bool), max_size=1),
            st.dictionaries(st.integers(0, 4), st.integers(1000, 9000), min_size=1, max_size=2),
        ),
        min_size=1,
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_a_copying_error_is_never_called_right_and_nothing_else_wrong(
    numbers: list[int], errors: list[tuple[dict[int, int], dict[int, int]]], rng: random.Random
) -> None:
    """Exact up to the first wrong operand; that line is masked, whatever the other traces say."""
    a, b, c, d, e, f = numbers
    question, gold = f"{a}+{b}*{c}+{d}-{e}*{f}", Fraction(a + b * c + d - e * f)
    rows, truths = [], []
    for number, (slips, copied) in enumerate([*errors, ({}, {})]):
        text, truth, answer = trace(numbers, slips, rng, copied)
        truths.append((truth, min(copied, default=len(truth)), slips))
        rows.append(step_row(text, question, gold, answer, number))
    found = [one.row.labels for group in label_rows(rows, "agreement", "number") for one in group]
    for labels, (truth, first, slips) in zip(found, truths, strict=True):
        assert labels[:first] == masked_after_error(truth)[:first]
        assert labels[first : first + 1] in ((None,), (0,) if first in slips else (None,), ())
        assert all(right for label, right in zip(labels, truth, strict=True) if label == 1)
        assert not any(right for label, right in zip(labels, truth, strict=True) if label == 0)


@given(LABELS)
def test_nothing_is_known_behind_an_error(labels: list[int | None]) -> None:
    masked = masked_after_error(labels)
    assert len(masked) == len(labels)
    assert masked.count(0) <= 1
    if 0 in labels:
        error = labels.index(0)
        assert masked[: error + 1] == tuple(labels[: error + 1])
        assert set(masked[error + 1 :]) <= {None}
