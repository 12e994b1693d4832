"""The gate: surely better at a bounded cost, or a refusal that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from arkloom import config as configs
from arkloom.chains.history import describe
from arkloom.errors import BadInputError
from arkloom.gate.stage import STAGE
from arkloom.jsonl import write_records
from arkloom.records import Score
from arkloom.stage import Context, execute
from arkloom.stats import compare
from arkloom.store import Manifest, open_store
from arkloom.telemetry import Events, Progress

CASES = json.loads((Path(__file__).parents[1] / "cases" / "gate.json").read_text())
TEST = 40


def scores(arm: str, right: int, first: int = 0, total: int = TEST) -> list[Score]:
    """The arm solves the ``right`` problems from ``first`` on, in an order that is not that of the ids."""
    return [
        Score(
            problem_id=f"{(7 * number) % total:03d}",
            arm=arm,
            seed=0,
            answer="1",
            correct=first <= number < first + right,
            prompt_tokens=3,
            completion_tokens=5,
        )
        for number in range(total)
    ]


class Bench:
    """A store with evaluations."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.store = open_store(str(root / "store"))
        given = [f"gate.{name}={value}" for name, value in settings.items()]
        self.config = configs.load(
            overrides=[*given, "evaluate.bootstrap=1000", f"store.root={root / 'store'}"]
        )

    def evaluation(self, key: str, answers: list[Score], **report: Any) -> Manifest:
        told = {"arms": {arm: {} for arm in {s.arm for s in answers}}, "token_ratio": 0.1} | report
        workspace = self.store.workspace("evaluate", key * 64)
        (workspace.folder / "report.json").write_text(json.dumps(told))
        write_records(workspace.folder / "scores.jsonl", answers)
        return workspace.publish("report", parents={}, metrics={})

    def absent(self, key: str, reason: str) -> Manifest:
        return self.store.workspace("evaluate", key * 64).publish(
            "absent", parents={}, metrics={}, reason=reason
        )

    def decide(self, **parents: Manifest) -> dict[str, Any]:
        context = Context(Progress(quiet=True), Events())
        manifest = execute(STAGE, self.config, parents, self.store, context)
        decision = json.loads(self.store.open(manifest.uri).file("gate.json").read_text())
        assert manifest.kind == "gate"
        assert manifest.metrics == {name: decision[name] for name in ("promote", "reason")}
        assert "\n" not in decision["reason"]
        return decision


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_rule(case: dict[str, Any], tmp_path: Path) -> None:
    bench = Bench(tmp_path, **case.get("gate", {}))
    answers = scores("base", case["base"]) + scores("rsft", case["rsft"])
    report = {"best_arm": "rsft"} | case.get("report", {})
    decision = bench.decide(report=bench.evaluation("a", answers, **report))
    assert decision["promote"] is case["promote"], decision
    for words in case["says"]:
        assert words in decision["reason"]


def test_the_interval_is_the_paired_one_of_the_evaluation(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    base, best = scores("base", 9), scores("da", 30, first=5)
    sampled = [score.model_copy(update={"arm": "da@T=0.3", "correct": False}) for score in best]
    decision = bench.decide(report=bench.evaluation("a", base + best + sampled, best_arm="da"))
    columns = [[float(score.correct) for score in arm] for arm in (best, base)]
    delta = compare(*columns, resamples=1000, seed=0)
    assert decision["ci95"] == delta.interval.pair()
    assert (decision["diff"], decision["n"]) == (delta.diff, TEST)
    assert (decision["against"], decision["best_arm"]) == ("base", "da")


def test_a_champion_stands_in_the_place_of_base(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    new = bench.evaluation("a", scores("base", 2) + scores("pad", 30), best_arm="pad")
    better = bench.evaluation("b", scores("rsft", 31), best_arm="rsft")
    worse = bench.evaluation("c", list(reversed(scores("rsft", 9))), best_arm="rsft")
    refused = bench.decide(report=new, champion=better)
    assert (refused["promote"], refused["against"]) == (False, "champion rsft")
    assert refused["diff"] == pytest.approx(-1 / TEST)
    promoted = bench.decide(report=new, champion=worse)
    assert promoted["promote"]
    assert promoted["diff"] == pytest.approx(21 / TEST), "paired by problem, whatever the order of the lines"
    assert promoted["champion"] == "c" * 64
    assert bench.decide(report=new)["promote"], "and without a champion base counts"


CHAMPIONS: dict[str, tuple[Callable[[Bench], Manifest], str]] = {
    "another test": (
        lambda b: b.evaluation("b", scores("rsft", 3, total=39), best_arm="rsft"),
        "another test: 39",
    ),
    "no best arm": (lambda b: b.evaluation("b", scores("rsft", 3), best_arm=None), "has no best arm"),
    "absent": (
        lambda b: b.absent("b", "no test problems"),
        "champion's evaluation is absent: no test problems",
    ),
}


@pytest.mark.parametrize("case", CHAMPIONS)
def test_a_champion_that_cannot_be_compared_with_is_a_refusal(case: str, tmp_path: Path) -> None:
    make, says = CHAMPIONS[case]
    bench = Bench(tmp_path)
    new = bench.evaluation("a", scores("base", 2) + scores("pad", 30), best_arm="pad")
    decision = bench.decide(report=new, champion=make(bench))
    assert decision["promote"] is False
    assert says in decision["reason"]


def test_an_absent_evaluation_promotes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    decision = bench.decide(report=bench.absent("a", "no test problems"))
    assert decision["promote"] is False
    assert decision["reason"] == "the evaluation is absent: no test problems"


BROKEN: dict[str, tuple[Callable[[Bench], Manifest], str]] = {
    "double answers": (
        lambda b: b.evaluation("a", scores("base", 2) + 2 * scores("da", 3), best_arm="da"),
        "two answers",
    ),
    "no answers": (lambda b: b.evaluation("a", scores("base", 2), best_arm="da"), "no answers of arm 'da'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_evaluation_is_bad_input(case: str, tmp_path: Path) -> None:
    make, says = BROKEN[case]
    bench = Bench(tmp_path)
    with pytest.raises(BadInputError, match=says):
        bench.decide(report=make(bench))


def test_the_margin_enters_the_key_and_the_training_does_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    parents = {"report": bench.evaluation("a", scores("base", 2) + scores("da", 9), best_arm="da")}
    assert STAGE.key(bench.config.override(["gate.margin=0.1"]), parents) != STAGE.key(bench.config, parents)
    assert STAGE.key(bench.config.override(["sft.epochs=9"]), parents) == STAGE.key(bench.config, parents)


def test_show_tells_the_verdict(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    report = bench.evaluation("a", scores("base", 9) + scores("da", 9), best_arm="da")
    manifest = execute(
        STAGE, bench.config, {"report": report}, bench.store, Context(Progress(quiet=True), Events())
    )
    console = Console(width=200, record=True, file=(tmp_path / "shown").open("w"))
    console.print(describe(bench.store, manifest))
    assert "refused  da minus base +0.000" in console.export_text()
