"""The stage `label`: what evidence says of a step, labels from people, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from arkloom.config import RunConfig, load
from arkloom.errors import BadInputError
from arkloom.jsonl import dump, read_records, write_records
from arkloom.label.stage import STAGE, label_rows
from arkloom.records import Message, Problem, Source, StepRow
from arkloom.stage import Context, execute
from arkloom.steps.ends import step_ends
from arkloom.steps.split import MAX_STEPS
from arkloom.store import Manifest, Store, open_store
from arkloom.telemetry import Events, Progress

BARE = "2+7*5+3-4*6"
WORDS = "Tom has 3 bags of 4 apples and eats 2. How many are left?"
RIGHT = "7*5=35\n4*6=24\n2+35=37\n37+3=40\n40-24=16\n#### 16"
LATE = RIGHT.replace("=16\n#### 16", "=15\n#### 15")
TAKEN = RIGHT.replace("37+3=40\n40-24=16\n#### 16", "37+4=41\n41-24=17\n#### 17")
CANCELLED = "7*5=36\n4*6=25\n2+36=38\n38+3=41\n41-25=16\n#### 16"


def row(text: str, *, question: str = BARE, gold: str | None = "16", correct: bool | None = None) -> StepRow:
    return StepRow(
        problem_id=question,
        content_hash=question,
        messages=(Message(role="user", content=question), Message(role="assistant", content=text)),
        step_ends=step_ends(text, "number"),
        correct=correct,
        gold=gold,
        source=Source(debate="d", seed=0, agent=0, round=0),
    )


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


# --- the stage


def context() -> Context:
    return Context(progress=Progress(quiet=True), events=Events(None))


def labelled(tmp_path: Path, rows: Sequence[StepRow], *overrides: str) -> tuple[Store, Manifest]:
    store = open_store(str(tmp_path / "store"))
    parent = store.workspace("filter", "0" * 8)
    write_records(parent.folder / "prm.jsonl", rows)
    rows_manifest = parent.publish("rows", parents={}, metrics={})
    config = load("smoke", overrides=overrides)
    return store, execute(STAGE, config, {"rows": rows_manifest}, store, context())


def test_the_stage_labels_what_it_can_and_counts_the_rest(tmp_path: Path) -> None:
    rows = [
        row(RIGHT, correct=True),
        row(LATE, correct=False),
        row("Hm.", question="Who?", gold=None),
    ]
    store, manifest = labelled(tmp_path, rows)
    artifact = store.open(manifest.uri)
    written = list(read_records(artifact.file("steps.jsonl"), StepRow))
    assert [one.labels for one in written] == [(1,) * 6, (1, 1, 1, 1, 0, None)]
    report = json.loads(artifact.file("report.json").read_text())
    assert (report["rows"], report["dropped"], report["problems"], report["steps"]) == (2, 1, 1, 12)
    assert report["labels"] == {"right": 10, "wrong": 1, "masked": 1}
    assert report["with_first_error"] == 0.5
    assert report["outcome_agreement"] == 1.0
    assert report["basis"] == {"operation": 1}
    assert report["with_both"] == 1
    (example,) = report["examples"]["wrong_step_in_wrong_trace"]
    assert example["steps"][4] == ["40-24=15", 0]
    assert manifest.metrics["labels"] == report["labels"]


def test_an_absent_parent_and_nothing_to_label_leave_an_absent_artifact(tmp_path: Path) -> None:
    _, manifest = labelled(tmp_path / "none", [])
    assert manifest.absent
    assert "there are no traces" in str(manifest.reason)
    _, manifest = labelled(tmp_path / "unknown", [row("Hm.", question="Who?", gold=None)])
    assert "none of 1 traces got a label" in str(manifest.reason)
    store = open_store(str(tmp_path / "store"))
    parent = store.workspace("filter", "0" * 8).publish(
        "absent", parents={}, metrics={}, reason="all rejected"
    )
    gone = execute(STAGE, load("smoke"), {"rows": parent}, store, context())
    assert gone.reason == "rows is absent: all rejected"


@pytest.mark.parametrize("wrong", [[], [row(LATE, correct=False)]])
def test_a_filter_without_a_right_trace_still_gives_its_wrong_ones(
    wrong: list[StepRow], tmp_path: Path
) -> None:
    """What a student only gets wrong is what the reward model that will judge it must see."""
    store = open_store(str(tmp_path / "store"))
    parent = store.workspace("filter", "0" * 8)
    write_records(parent.folder / "prm.jsonl", wrong)
    rejected = parent.publish("absent", parents={}, metrics={}, reason="all rejected")
    manifest = execute(STAGE, load("smoke"), {"rows": rejected}, store, context())
    if not wrong:
        assert manifest.reason == "rows is absent: all rejected"
        return
    written = list(read_records(store.open(manifest.uri).file("steps.jsonl"), StepRow))
    assert [one.labels for one in written] == [(1, 1, 1, 1, 0, None)]


def test_labels_need_rows_unless_people_gave_them(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="'rows' is not connected"):
        execute(STAGE, load("smoke"), {}, open_store(str(tmp_path)), context())


# --- people

SOLUTION: dict[str, Any] = {
    "id": "gsm8k-0",
    "problem": WORDS,
    "steps": ["3*4=12", "12+2=14\n\nwhich is a lot", "The answer is 14."],
    "final_answer_correct": False,
    "label": 1,
}


def human(path: Path) -> RunConfig:
    return load("smoke", overrides=["label.source=human", f"label.path={path}", "prompts.profile=natural"])


def from_people(tmp_path: Path, content: str | bytes, name: str = "labels.json") -> list[StepRow]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    store = open_store(str(tmp_path / "store"))
    manifest = execute(STAGE, human(path), {}, store, context())
    return list(read_records(store.open(manifest.uri).file("steps.jsonl"), StepRow))


def test_processbench_labels_become_steps_of_one_message(tmp_path: Path) -> None:
    right = {**SOLUTION, "id": "b", "label": -1, "final_answer_correct": True}
    first, second = from_people(tmp_path, json.dumps([SOLUTION, right]))
    assert (first.labels, second.labels) == ((1, 0, None), (1, 1, 1))
    assert (first.correct, first.source.debate) == (False, "gsm8k-0")
    text, starts = first.messages[-1].content, (0, *first.step_ends)
    steps = [text[a:b].strip() for a, b in zip(starts, first.step_ends, strict=False)]
    assert steps == SOLUTION["steps"], "the steps are those that people saw, whatever blank lines they hold"
    assert first.messages[0].content.startswith(WORDS)
    assert first.content_hash == second.content_hash


@pytest.mark.parametrize("name", ["test", "validation", "ood-svamp", "robust-natural", "train"])
def test_labels_of_people_never_touch_what_is_evaluated(name: str, tmp_path: Path) -> None:
    path, store = tmp_path / "labels.json", open_store(str(tmp_path / "store"))
    other = {**SOLUTION, "problem": "What is twice 7?"}
    path.write_text(json.dumps([SOLUTION, other, SOLUTION]))
    parent = store.workspace("prepare", "0" * 8)
    asked = [Problem(dataset="d", split="test", question=f"  {WORDS.upper()} ", answer_type="number")]
    write_records(parent.folder / f"{name}.jsonl", asked)
    problems = parent.publish("problems", parents={}, metrics={})
    manifest = execute(STAGE, human(path), {"problems": problems}, store, context())
    questions = [
        one.messages[0].content.split("\n")[0]
        for one in read_records(store.open(manifest.uri).file("steps.jsonl"), StepRow)
    ]
    learned = name == "train"
    assert (WORDS in questions, other["problem"] in questions) == (learned, True)
    assert manifest.metrics["overlapping"] == (0 if learned else 2)


def test_labels_of_evaluated_questions_alone_are_none(tmp_path: Path) -> None:
    path, store = tmp_path / "labels.json", open_store(str(tmp_path / "store"))
    path.write_text(json.dumps([SOLUTION]))
    parent = store.workspace("prepare", "0" * 8)
    asked = [Problem(dataset="d", split="test", question=WORDS, answer_type="number")]
    write_records(parent.folder / "test.jsonl", asked)
    problems = parent.publish("problems", parents={}, metrics={})
    manifest = execute(STAGE, human(path), {"problems": problems}, store, context())
    assert "none of 1 traces (1 are of questions that are evaluated) got" in str(manifest.reason)


def test_labels_of_each_step_lines_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    each = {name: value for name, value in SOLUTION.items() if name not in ("label", "final_answer_correct")}
    (folder / "a.jsonl").write_text(json.dumps({**each, "labels": [1, None, 0]}) + "\n")
    by_hand = row(RIGHT).model_copy(update={"labels": (1, 0, 1, 1, None, 0)})
    (folder / "b.jsonl").write_text(dump(by_hand) + "\n")
    (folder / "notes.txt").write_text("not a label file")
    store = open_store(str(tmp_path / "store"))
    manifest = execute(STAGE, human(folder), {}, store, context())
    found = list(read_records(store.open(manifest.uri).file("steps.jsonl"), StepRow))
    assert [one.labels for one in found] == [(1, None, 0), (1, 0, None, None, None, None)]
    assert found[0].correct is None


def test_more_steps_than_may_be_join_the_last_with_their_label(tmp_path: Path) -> None:
    many = {**SOLUTION, "steps": [f"step {n}" for n in range(40)]}
    (late,) = from_people(tmp_path, json.dumps([{**many, "label": 35}]))
    assert late.labels == (*[1] * (MAX_STEPS - 1), 0)
    assert late.step_ends[-1] == len(late.messages[-1].content)
    (early,) = from_people(tmp_path, json.dumps([{**many, "label": 3}]))
    assert (early.labels[3], early.labels[-1]) == (0, None)


def test_other_labels_make_another_artifact(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    keys = set()
    for label in (1, 2):
        path.write_text(json.dumps([{**SOLUTION, "label": label}]))
        keys.add(STAGE.key(human(path), {}))
    assert len(keys) == 2
    assert STAGE.key(load("smoke"), {}) == STAGE.key(load("smoke", overrides=["prompts.profile=natural"]), {})


def without(*names: str) -> str:
    return json.dumps([{name: value for name, value in SOLUTION.items() if name not in names}])


def changed(**values: Any) -> str:
    return json.dumps([{**SOLUTION, **values}])


BAD: dict[str, tuple[str | bytes, str]] = {
    "another number of labels": (changed(labels=[1, 0]), "2 labels for 3 steps"),
    "a label of neither kind": (changed(labels=[1, 2, 0]), "label 2 of step 1 is out of range"),
    "a label beyond its steps": (changed(label=3), "label 3 is out of range for 3 steps"),
    "a label below none": (changed(label=-2), "label -2 is out of range"),
    "a label that is a truth value": (changed(label=True), "label True is out of range"),
    "no label": (without("label"), "no column 'label'"),
    "no steps": (without("steps"), "no column 'steps'"),
    "no question": (without("problem"), "no column 'problem'"),
    "steps that are one text": (changed(steps="3*4=12"), "steps is no list"),
    "an empty step": (changed(steps=["a", " "]), "step 1 is no text, or an empty one"),
    "half a character": (changed(steps=["a\ud800"], label=0), "half a character"),
    "an outcome that is a text": (changed(final_answer_correct="yes"), "neither true nor false"),
    "half-written": (json.dumps([SOLUTION])[:-20], "half-written"),
    "torn inside": ('[{"id": 1,, "a": 2}]', "not JSON"),
    "no array": (json.dumps(SOLUTION), "not an array"),
    "no objects": ("[1]", "entry 0: not an object"),
    "empty": ("", "the file is empty"),
    "not UTF-8": (b'[{"id": "\xff"}]', "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_label_file_that_cannot_be_used_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    content, said = BAD[name]
    with pytest.raises(BadInputError) as error:
        from_people(tmp_path, content)
    assert said in error.value.line()
    assert "labels.json" in error.value.line()
    assert "\n" not in error.value.line()


def test_a_half_written_line_is_told_with_its_number(tmp_path: Path) -> None:
    line = json.dumps(SOLUTION)
    with pytest.raises(BadInputError, match=r"labels.jsonl line 2: half-written"):
        from_people(tmp_path, f"{line}\n{line[:40]}", "labels.jsonl")


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"labels": [1, 0]}, "2 labels for 6 steps"),
        ({"step_ends": [5, 3]}, "do not lie"),
        ({"step_ends": [5, 500]}, "do not lie"),
        ({"step_ends": [0, 5]}, "do not lie"),
        ({"messages": [{"role": "user", "content": "x"}]}, "not the assistant's"),
        ({"messages": []}, "not the assistant's"),
        ({"step_ends": "x"}, "step_ends"),
    ],
)
def test_a_row_that_does_not_fit_its_text_is_told_with_its_line(
    update: dict[str, Any], said: str, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "store"))
    parent = store.workspace("filter", "0" * 8)
    bad = json.dumps({**row(RIGHT).model_dump(mode="json", by_alias=True), **update})
    (parent.folder / "prm.jsonl").write_text(dump(row(RIGHT)) + "\n" + bad + "\n")
    manifest = parent.publish("rows", parents={}, metrics={})
    with pytest.raises(BadInputError, match=r"prm.jsonl line 2") as error:
        execute(STAGE, load("smoke"), {"rows": manifest}, store, context())
    assert said in error.value.line()


@pytest.mark.parametrize(
    ("path", "said"), [(None, "label.path"), ("nowhere", "no such file"), (".", "no .json")]
)
def test_a_path_without_labels(path: str | None, said: str, tmp_path: Path) -> None:
    config = load("smoke", overrides=["label.source=human"])
    if path is not None:
        config = human(tmp_path / path)
    with pytest.raises(BadInputError, match=said):
        execute(STAGE, config, {}, open_store(str(tmp_path / "store" / "deeper")), context())


def test_the_command_exits_with_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(changed(label=9))
    settings = ["label.source=human", f"label.path={tmp_path / 'labels.json'}"]
    command = [sys.executable, "-m", "arkloom.label", "--store", str(tmp_path / "store")]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "entry 0: label 9 is out of range for 3 steps" in done.stderr


# --- real solutions


def test_people_and_evidence_on_real_solutions(shared_data: Path, tmp_path: Path) -> None:
    """Hardly any problem has another trace: little is labelled, and what is agrees with people."""
    content = (shared_data / "processbench" / "gsm8k.json").read_bytes()
    rows = from_people(tmp_path, content)
    assert (len(rows), len({one.content_hash for one in rows})) == (400, 375)
    known = [one.labels for one in sorted(rows, key=lambda one: one.source.round)]
    blank = sorted((one.model_copy(update={"labels": ()}) for one in rows), key=lambda one: one.source.round)
    given = {one.row.source.round: one for group in label_rows(blank, "agreement", "number") for one in group}
    right = {1: 0, 0: 0}
    operations = []
    for number, truth in enumerate(known):
        error = truth.index(0) if 0 in truth else len(truth)
        for place, label in enumerate(given[number].row.labels):
            if label is not None and place < error:
                right[label] += 1
            if label == 0 and given[number].basis == "operation":
                operations.append(place == error)
    called_right = sum(one.row.labels.count(1) for one in given.values())
    assert right[0] == 0, "no step that people call right is called wrong"
    assert right[1] / called_right > 0.97
    assert (len(operations), sum(operations)) == (15, 14)
