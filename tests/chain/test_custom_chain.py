"""A domain of the user's own through prepare, debate, filter and evaluate, on the scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arkloom import answers, problems
from arkloom.config import RunConfig, load
from arkloom.debate.stage import STAGE as DEBATE
from arkloom.evaluate.stage import STAGE as EVALUATE
from arkloom.filter.stage import STAGE as FILTER
from arkloom.jsonl import read_records
from arkloom.prepare.stage import STAGE as PREPARE
from arkloom.protocol import read_debates
from arkloom.records import Problem, TrainingRow
from arkloom.stage import Context, Stage, execute
from arkloom.store import Manifest, open_store
from arkloom.telemetry import Events, Progress

pytestmark = pytest.mark.chain

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_task"
WRONG = "def {name}(*values):\n    return 'no'"
HANGS = "def {name}(*values):\n    while True:\n        pass"
BOASTS = 'def {name}(*values):\n    print(\'["True", "True", "True"]\')\n    return \'passed\''


def name_of(problem: Problem) -> str:
    return problem.question.split("`")[1].partition("(")[0]


def right(problem: Problem) -> str:
    """The right function, from the dry run's answers."""
    for rule in json.loads((EXAMPLE / "dry_run.json").read_text()):
        for text in rule["answers"]:
            code = answers.extract(text, problem.answer_type)
            if f"def {name_of(problem)}(" in text and answers.grade(
                code, problem.gold or "", problem.answer_type
            ):
                return str(code)
    raise AssertionError(f"dry_run.json has no right answer to {problem.question}")


def rules(problem: Problem, third: str) -> list[dict[str, Any]]:
    """Agent 1 is right, agent 2 wrong, agent 3 says ``third``; after reading each other all are right.

    Alone (no agent is named) the model is wrong.
    """

    def say(code: str) -> list[str]:
        return [f"This is it.\n```python\n{code}\n```"] if code else ["I do not know."]

    name = name_of(problem)
    asked, correct = rf"`{name}\([\s\S]*", right(problem)
    spoken = (correct, WRONG.format(name=name), third.format(name=name))
    alone = [
        {"match": rf"{asked}You are agent {number}\.", "answers": say(code)}
        for number, code in enumerate(spoken, start=1)
    ]
    later = {"match": rf"{asked}agents answered:", "answers": say(correct)}
    return [later, *alone, {"match": asked, "answers": say(WRONG.format(name=name))}]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    script = tmp_path / "script.json"
    overrides = [f"problems.path={EXAMPLE / 'problems.csv'}", f"runtime.scripted={script}"]
    config = load(file=EXAMPLE / "config.yaml", overrides=overrides)
    drawn = problems.draw(config.problems)
    thirds = {problem.id: said for problem, said in zip(drawn.train, (HANGS, BOASTS, ""), strict=False)}
    every = (*drawn.train, *drawn.validation, *drawn.test)
    said = [(problem, thirds.get(problem.id, WRONG)) for problem in every]
    script.write_text(json.dumps([rule for problem, third in said for rule in rules(problem, third)]))
    return config


def test_from_problems_to_report(config: RunConfig, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    context = Context(progress=Progress(quiet=True), events=Events(None, run="r", node="n"))

    def made(stage: Stage, **parents: Manifest) -> tuple[Manifest, Path]:
        manifest = execute(stage, config, parents, store, context)
        return manifest, store.open(manifest.uri).folder

    source, folder = made(PREPARE)
    train = [name_of(problem) for problem in read_records(folder / "train.jsonl", Problem)]
    debates, folder = made(DEBATE, problems=source)
    held = {debate.question.split("`")[1].partition("(")[0]: debate for debate in read_debates(folder)}
    assert sorted(held) == sorted(train)
    judged = {name: [turn.correct for turn in held[name].turns] for name in train}
    assert judged[train[0]] == [True, False, False, True, True, True]  # an endless loop is wrong
    assert judged[train[1]] == [True, False, False, True, True, True]  # so is one that prints a verdict
    assert [turn.answer is None for turn in held[train[2]].turns] == [False, False, True, False, False, False]
    assert all(debate.final is not None and debate.final.correct for debate in held.values())

    rows, folder = made(FILTER, debates=debates, problems=source)
    counted = json.loads((folder / "report.json").read_text())
    assert {name: count for name, count in counted["classes"].items() if count} == {
        "stable": 6,
        "corrective": 11,
        "late": 1,
    }
    kept = list(read_records(folder / "rsft.jsonl", TrainingRow))
    assert len(kept) == 6
    assert {row.trace_class for row in kept} == {"corrective"}

    report, folder = made(EVALUATE, problems=source, debates=debates, rows=rows)
    document = json.loads((folder / "report.json").read_text())
    assert document["arms"]["base"]["accuracy"] == 0.0
    assert document["arms"]["debate"]["accuracy"] == 1.0
    assert document["deltas"]["debate_vs_base"]["diff"] == 1.0
    assert report.metrics["accuracy_debate"] == 1.0
