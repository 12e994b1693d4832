"""What evidence says of a step: agreement, outcome."""

from __future__ import annotations

import pytest

from arkloom.label.stage import label_rows
from arkloom.records import StepRow
from arkloom.steps.ends import step_ends
from label_rows import CANCELLED, LATE, RIGHT, TAKEN, WORDS, row


def labels(*rows: StepRow, source: str = "agreement") -> list[tuple[int | None, ...]]:
    return [one.row.labels for group in label_rows(rows, source, "number") for one in group]


def basis(*rows: StepRow) -> list[str | None]:
    return [one.basis for group in label_rows(rows, "agreement", "number") for one in group]


# --- agreement, where the problem is an expression


def test_every_step_of_a_right_trace_is_right_up_to_the_answer_line() -> None:
    assert labels(row(RIGHT)) == [(1,) * 6]


@pytest.mark.parametrize(
    ("name", "text", "expected", "why"),
    [
        ("the first", "7*5=36\n4*6=24\n2+36=38\n38+3=41\n41-24=17\n#### 17", (0, *[None] * 5), "operation"),
        ("later", "7*5=35\n4*6=28\n2+35=37\n37+3=40\n40-28=12\n#### 12", (1, 0, *[None] * 4), "operation"),
        ("the last operation", LATE, (1, 1, 1, 1, 0, None), "operation"),
        ("the answer alone", RIGHT.replace("#### 16", "#### 61"), (1, 1, 1, 1, 1, 0), "answer"),
        ("cancelled by another", CANCELLED, (0, *[None] * 5), "operation"),
    ],
)  # fmt: skip
def test_the_error_is_where_the_operation_evaluates_otherwise(
    name: str, text: str, expected: tuple[int | None, ...], why: str
) -> None:
    """Right steps before it, nothing known behind it; a right answer does not mend a wrong step."""
    assert labels(row(text)) == [expected], name
    assert basis(row(text)) == [why]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("at once", "7*6=42\n4*6=24\n2+42=44\n44+3=47\n47-24=23\n#### 23", (None, 1, *[None] * 4)),
        ("a result taken up wrongly", "7*5=35\n4*6=24\n2+53=55\n#### 55", (1, 1, None, None)),
        ("late", TAKEN, (1, 1, 1, None, None, None)),
        ("another operation on its numbers", "7+5=12\n#### 12", (None, None)),
        ("cancelled", "7*5=35\n4*6=24\n2+36=38\n38+3=41\n41-25=16\n#### 16", (1, 1, *[None] * 3, 1)),
    ],
)
def test_right_arithmetic_on_the_wrong_numbers_is_no_step_of_an_expression(
    name: str, text: str, expected: tuple[int | None, ...]
) -> None:
    """No step is confirmed by it, neither this one nor another, and the answer is not the first error."""
    assert labels(row(text)) == [expected], name
    assert labels(row(RIGHT), row(text), row(text)) == [(1,) * 6, expected, expected]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("2+7*5+3-4*6", "4*6=24\n2-24=-22\n5*7=35\n-22+35=13\n13+3=16\n#### 16"),
        ("2+7*5+3-4*6", "2+7*5=37\n37+3=40\n3+37=40\n4*6=24\n40-24=16\n#### 16"),
        ("3*(2-5)", "2-5=-3\n3*-3=-9\n#### -9"),
        ("20-(3+4)", "3+4=7\n20-7=13\n#### 13"),
        ("-4*6+30", "-4*6=-24\n30-24=6\n#### 6"),
        ("2(3+4)/7", "3+4=7\n2*7=14\n14/7=2\n#### 2"),
        ("12/(2+4)+2^3", "2+4=6\n12/6=2\n2^3=8\n2+8=10\n#### 10"),
        ("(2+3)*4+(2+3)*5", "2+3=5\n5*4=20\n5*5=25\n20+25=45\n#### 45"),
        ("1,200 × 2 + 5", "1200*2=2400\n2400+5=2405\n#### 2405"),
    ],
)
def test_an_expression_may_be_worked_out_in_any_order(question: str, text: str) -> None:
    gold = text.rpartition(" ")[2]
    assert labels(row(text, question=question, gold=gold)) == [(1,) * len(step_ends(text, "number"))]


def test_the_answer_line_is_labelled_by_what_the_filter_knew() -> None:
    wrong = RIGHT.replace("#### 16", "#### 61")
    assert labels(row(wrong, correct=True))[0][-1] == 1, "judged by the filter, which may use a consensus"
    assert labels(row(RIGHT, correct=False))[0][-1] == 0
    assert labels(row(RIGHT, gold=None))[0][-1] is None, "no gold, no judgement"


def test_a_step_is_a_step_and_never_a_whole_solution() -> None:
    """A wrong trace keeps the labels of its right steps; a right one may hold a wrong step."""
    found = labels(row(LATE))[0]
    assert found.count(1) == 4
    assert len(found) == len(step_ends(RIGHT, "number"))


def test_what_ends_a_trace_after_its_answer_is_left_alone() -> None:
    text = "2+7*5+3-4*6=16\n\nThe answer is \\boxed{16}.\n\nI hope that this helps!"
    assert labels(row(text, correct=True)) == [(1, 1, None)]
    assert labels(row(text, correct=False)) == [(1, 0, None)]


# --- agreement, where the problem is told in words


def word_problem(*steps: str, correct: bool) -> StepRow:
    return row("\n\n".join(steps), question=WORDS, gold="10", correct=correct)


def test_right_arithmetic_in_a_wrong_trace_is_no_proof() -> None:
    wrong = word_problem("There are 3*4=12 apples.", "With 2 more: 12+2=14.", "#### 14", correct=False)
    assert labels(wrong) == [(None, None, None)], "the error may lie before the answer"
    right = word_problem("There are 3*4=12 apples.", "12-2=10 are left.", "#### 10", correct=True)
    assert labels(right, wrong) == [(1, 1, 1), (1, None, None)], "the other trace has 12, not 14"
    taken = word_problem("There are 3*4=12 apples.", "#### 12", correct=False)
    assert labels(right, taken)[1] == (1, 0), "behind nothing but right steps the answer is the first error"


def test_wrong_arithmetic_is_wrong_in_every_trace() -> None:
    for correct in (True, False):
        found = labels(word_problem("3*4=13", "#### 13", correct=correct))
        assert found == [(0, None)]


def test_prose_without_a_result_is_masked() -> None:
    found = labels(word_problem("Let us count them.", "3*4=12", "12-2=10", "#### 10", correct=True))
    assert found == [(None, 1, 1, 1)]


def test_an_operation_in_words_is_judged_by_right_traces() -> None:
    told = "3 bags * 4 apples = {}"
    right = word_problem(told.format(12), "12-2=10", "#### 10", correct=True)
    wrong = word_problem(told.format(14), "14-2=12", "#### 12", correct=False)
    assert labels(right) == [(None, 1, 1)], "a trace does not confirm itself"
    assert labels(right, wrong)[1] == (0, None, None)
    assert basis(right, wrong)[1] == "contradiction"
    twice = word_problem(told.format(12), "So 12 less 2.", "#### 10", correct=True)
    assert labels(right, twice) == [(1, 1, 1), (1, None, 1)]


def test_behind_an_error_a_right_answer_vouches_for_nothing() -> None:
    lucky = word_problem("3+4=12", "5 pears * 2 = 14", "#### 10", correct=True)
    wrong = word_problem("5 pears * 2 = 14", "#### 14", correct=False)
    assert labels(lucky, wrong)[1] == (None, None), "14 stands behind the error of the trace that has it"


def test_other_problems_are_no_evidence() -> None:
    other = row("3 bags * 4 apples = 12\n\n#### 12", question="Another", gold="12", correct=True)
    assert labels(other, word_problem("3 bags * 4 apples = 14", "#### 14", correct=False))[1] == (None, None)


# --- outcome


def test_the_outcome_says_that_there_is_an_error_and_not_where() -> None:
    assert labels(row(RIGHT, correct=True), source="outcome") == [(1,) * 6]
    assert labels(row(RIGHT, correct=False), source="outcome") == [(*[None] * 5, 0)]
    assert labels(row(RIGHT), source="outcome") == [(None,) * 6]
