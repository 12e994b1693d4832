"""Sets beside the splits: other data, options that speak of each other, and what prepare writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arkloom import problems
from arkloom.config import ProblemsConfig, PromptsConfig, RunConfig
from arkloom.errors import BadInputError
from arkloom.jsonl import read_records
from arkloom.prepare.stage import STAGE
from arkloom.problems.variants import reordered
from arkloom.records import Problem
from arkloom.stage import Context, execute
from arkloom.store import Artifact, open_store
from arkloom.telemetry import Events, Progress

NATURAL, TINY = PromptsConfig(profile="natural"), PromptsConfig(profile="tiny")


def prepared(config: RunConfig, root: Path) -> Artifact:
    context = Context(progress=Progress(quiet=True), events=Events(None, run="r", node="prepare"))
    store = open_store(str(root / "store"))
    return store.open(execute(STAGE, config, {}, store, context).uri)


def lines(path: Path, numbers: range) -> str:
    path.write_text("".join(json.dumps({"question": f"{n} + 1?", "gold": n + 1}) + "\n" for n in numbers))
    return str(path)


def choice(*options: str, gold: str = "A") -> Problem:
    return Problem(
        dataset="made", split="test", question="Which?", options=options, gold=gold, answer_type="mcq"
    )


@pytest.mark.parametrize(
    "options",
    [
        ("x", "All of the above"),
        ("x", "none of these"),
        ("x", "y", "Both A and B"),
        ("x", "y", "(A) or (B)"),
        ("x", "Both are correct"),
        ("x", "Neither of the others"),
        ("x", "The same as option A"),
    ],
)
def test_options_that_speak_of_others_stay_where_they_are(options: tuple[str, ...]) -> None:
    assert reordered(choice(*options), 0) is None


@pytest.mark.parametrize(
    "options", [("I and II only", "III"), ("a cat and a dog", "x"), ("Salt and water", "y"), ("3, 4", "4, 3")]
)
def test_other_options_move(options: tuple[str, ...]) -> None:
    moved = reordered(choice(*options), 0)
    assert moved is not None
    assert moved.gold == "B"


def test_a_right_option_that_stands_twice_is_not_moved() -> None:
    assert reordered(choice("x", "x", "y"), 0) is None
    assert reordered(choice("x", gold="A"), 0) is None


def test_another_data_set_without_what_the_splits_hold(tmp_path: Path) -> None:
    own, other = lines(tmp_path / "own.jsonl", range(20)), lines(tmp_path / "Other Set.jsonl", range(10, 40))
    config = ProblemsConfig(source="jsonl", path=own, ood_path=other, train=10, validation=5, test=5, ood=20)
    drawn = problems.draw(config)
    found = problems.outside(config, drawn)
    assert list(found.sets) == ["other-set"]
    assert found.shared == 10
    known = {p.content_hash for p in (*drawn.train, *drawn.validation, *drawn.test)}
    assert not known & {problem.content_hash for problem in found.sets["other-set"]}
    with pytest.raises(BadInputError, match="20 different problems that are in no split, 21 asked"):
        problems.outside(config.model_copy(update={"ood": 21}), drawn)


def test_a_changed_other_data_set_is_another_artifact(tmp_path: Path) -> None:
    own, other = lines(tmp_path / "own.jsonl", range(20)), lines(tmp_path / "other.jsonl", range(20, 40))
    config = ProblemsConfig(source="jsonl", path=own, ood_path=other, train=5, validation=5, test=5, ood=5)
    before = STAGE.key(RunConfig(problems=config), {})
    lines(tmp_path / "other.jsonl", range(20, 41))
    assert STAGE.key(RunConfig(problems=config), {}) != before
    unused = RunConfig(problems=config.model_copy(update={"ood": 0}))
    key = STAGE.key(unused, {})
    lines(tmp_path / "other.jsonl", range(20, 42))
    assert STAGE.key(unused, {}) == key, "a file that is not read has no say"


def test_more_than_there_are_is_refused() -> None:
    few = ProblemsConfig(train=0, validation=0, test=0, ood=5, low=0, high=0)
    with pytest.raises(BadInputError, match=r"5 problems asked, 1 of a\*b-c\+d\*e"):
        problems.outside(few, problems.draw(few))
    own = ProblemsConfig(train=0, validation=0, test=0, ood=1, ood_path="x.jsonl")
    with pytest.raises(BadInputError, match="makes its own"):
        problems.outside(own, problems.draw(own))
    with pytest.raises(BadInputError, match="12 problems asked"):
        problems.draw(ProblemsConfig(train=2, validation=0, test=5, robustness=5, low=0, high=1))


def test_prepare_writes_them_and_says_what_it_left_out(tmp_path: Path) -> None:
    asked = ProblemsConfig(train=5, validation=3, test=4, ood=6, robustness=2)
    artifact = prepared(RunConfig(problems=asked, prompts=TINY), tmp_path)
    beside = sorted(path.name for path in artifact.folder.glob("*-*.jsonl"))
    assert beside == [
        "ood-larger.jsonl",
        "ood-products.jsonl",
        "ood-shorter.jsonl",
        "robust-numbers.jsonl",
    ]
    assert len(list(read_records(artifact.file("ood-larger.jsonl"), Problem))) == 6
    metrics = artifact.manifest.metrics
    assert metrics["ood"] == {"shorter": 6, "products": 6, "larger": 6}
    assert metrics["robustness"] == {"numbers": 2}
    assert metrics["not_disturbed"] == {
        "distractor": "the prompt profile 'tiny' is no natural text",
        "reordered": "the problems have no options",
    }


def test_prepare_of_multiple_choice_in_natural_text(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("".join(f"Which {n}?,x{n},y{n},z{n},B\n" for n in range(9)))
    asked = ProblemsConfig(
        source="mcq", path=str(path), answer_type="mcq", train=2, validation=2, test=5, robustness=3
    )
    artifact = prepared(RunConfig(problems=asked, prompts=NATURAL), tmp_path)
    assert artifact.manifest.metrics["robustness"] == {"distractor": 3, "reordered": 3}
    assert list(artifact.manifest.metrics["not_disturbed"]) == ["numbers"]
    test = {problem.id: problem for problem in read_records(artifact.file("test.jsonl"), Problem)}
    for problem in read_records(artifact.file("robust-reordered.jsonl"), Problem):
        before = test[problem.meta["original"]]
        assert problem.options["ABC".index(problem.gold or "")] == before.options[1]
    for problem in read_records(artifact.file("robust-distractor.jsonl"), Problem):
        assert problem.question.endswith(test[problem.meta["original"]].question)


def test_the_prompt_profile_matters_only_to_a_distractor() -> None:
    def key(prompts: PromptsConfig, robustness: int) -> str:
        return STAGE.key(RunConfig(problems=ProblemsConfig(robustness=robustness), prompts=prompts), {})

    assert key(NATURAL, 0) == key(TINY, 0)
    assert key(NATURAL, 1) != key(TINY, 1)
