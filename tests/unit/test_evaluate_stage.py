"""The stage on the scripted engine: what it writes, what it refuses, and that stopping changes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arkloom import config as configs
from arkloom.config import RunConfig
from arkloom.engines.models import model_folder
from arkloom.errors import ArkloomError, BadInputError, ResumeError
from arkloom.evaluate.stage import STAGE
from arkloom.jsonl import read_records, write_records
from arkloom.protocol.log import read_debates
from arkloom.records import Problem, Score
from arkloom.stage import Context, execute
from arkloom.store import Artifact, Manifest, Store, open_store
from arkloom.telemetry import Events, Progress
from debates import MortalEngine


def problem(number: int, split: str, gold: str | None = "") -> Problem:
    made = {"dataset": "made", "split": split, "question": f"{number}+{number}"}
    return Problem.model_validate(made | {"gold": str(2 * number) if gold == "" else gold})


class Bench:
    """A store with problems and models, and a script that answers one in three questions right at most."""

    def __init__(self, root: Path, *settings: str) -> None:
        (root / "script.json").write_text(
            json.dumps(
                [
                    {"match": "1\\+1$", "answers": ["#### 2"]},
                    {"match": "2\\+2$", "answers": ["#### 4", "2+2=5\n#### 5", "no idea"]},
                    {"match": "", "answers": ["#### 9", "#### 8", "#### 7", "?"]},
                ]
            )
        )
        self.config: RunConfig = configs.load(
            "smoke",
            overrides=[
                "engine=scripted",
                f"runtime.scripted={root / 'script.json'}",
                f"store.root={root / 'store'}",
                "evaluate.bootstrap=200",
                "evaluate.seeds=2",
                "evaluate.arms=[base,vote,debate,rsft,rft]",
                *settings,
            ],
        )
        self.store: Store = open_store(self.config.store.root)

    def publish(
        self, kind: str, key: str, fill: Callable[[Path], object], absent: str | None = None
    ) -> Manifest:
        work = self.store.workspace(kind, key)
        fill(work.folder)
        return work.publish("absent" if absent else kind, parents={}, metrics={}, reason=absent)

    def problems(
        self, test: list[Problem], validation: list[Problem], key: str = "p", **beside: list[Problem]
    ) -> Manifest:
        def fill(folder: Path) -> None:
            write_records(folder / "test.jsonl", test)
            write_records(folder / "validation.jsonl", validation)
            for name, asked in beside.items():
                write_records(folder / f"{name.replace('_', '-')}.jsonl", asked)

        return self.publish("problems", key, fill)

    def model(self, key: str, weights: str = "", training: dict[str, Any] | None = None) -> Manifest:
        def fill(folder: Path) -> None:
            (folder / "config.json").write_text(json.dumps({"made": weights or key}))
            (folder / "model.safetensors").write_bytes(
                (model_folder("tiny") / "model.safetensors").read_bytes()
            )
            told = {"rows": 7, "curve": [key]} if training is None else training
            (folder / "training.json").write_text(json.dumps(told))

        return self.publish("model", key, fill)

    def usual(self, test: int = 12) -> dict[str, Manifest]:
        return {
            "problems": self.problems(
                [problem(number, "test") for number in range(test)],
                [problem(number + 50, "validation") for number in range(4)],
            ),
            "rsft": self.model("a"),
            "rft": self.model("b"),
        }

    def run(self, parents: dict[str, Manifest], stop: threading.Event | None = None) -> Artifact:
        with Progress(quiet=True) as progress:
            context = Context(progress, Events(), stop or threading.Event())
            return self.store.open(execute(STAGE, self.config, parents, self.store, context).uri)


def report_of(artifact: Artifact) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not strict JSON")

    report = json.loads(artifact.file("report.json").read_text(), parse_constant=refuse)
    assert isinstance(report, dict)
    return report


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    for path in report["timings"]:
        section, _, name = path.partition(".*.")
        for part in report[section].values() if name else ():
            part.pop(name)
    return report


def test_every_arm_is_played_on_every_problem(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    artifact = bench.run(bench.usual())
    report = report_of(artifact)
    assert list(report["arms"]) == ["base", "vote", "debate", "rsft", "rft"]
    assert {arm["n"] for arm in report["arms"].values()} == {12}
    assert report["absent"] == {}
    base, rsft = report["arms"]["base"], report["arms"]["rsft"]
    assert base["accuracy"] == rsft["accuracy"] >= 1 / 12  # one script speaks for every model
    assert base["sampled"]["seeds"] == 2
    assert report["deltas"]["rsft_vs_base"]["diff"] == 0.0
    assert report["deltas"]["rsft_vs_base"]["p"] == 1.0
    assert report["best_arm"] == "rsft"
    assert report["arms"]["debate"]["tokens_per_problem"] > base["tokens_per_problem"]
    assert report["training"] == {"rsft": {"rows": 7}, "rft": {"rows": 7}}
    assert report["keys"].keys() == {"problems", "rsft", "rft"}
    assert artifact.manifest.metrics["accuracy_base"] == base["accuracy"]


def test_the_names_that_others_rely_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    report = report_of(bench.run(bench.usual()))
    promised = {"absent", "arms", "deltas", "best_arm", "gain_recovered", "token_ratio"}
    assert promised | {"deliberation_gain", "filter", "keys"} <= report.keys()
    for arm in report["arms"].values():
        line = {"accuracy", "ci95", "n", "tokens_per_problem", "sampled", "latency_p50_s", "latency_p95_s"}
        assert line <= arm.keys()
        assert {"mean", "sd"} <= arm["sampled"].keys()
        assert arm["ci95"][0] <= arm["accuracy"] <= arm["ci95"][1]
    assert {"rsft_vs_base", "debate_vs_base", "rsft_vs_rft", "debate_vs_vote"} <= report["deltas"].keys()
    for delta in report["deltas"].values():
        assert {"diff", "ci95", "p", "p_holm", "n"} <= delta.keys()
        assert delta["ci95"][0] <= delta["diff"] <= delta["ci95"][1]
        assert delta["p"] <= delta["p_holm"] <= 1
    assert any("is built so" in note for note in report["notes"])


def test_scores_hold_one_row_an_arm_problem_and_seed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    artifact = bench.run(bench.usual())
    scores = list(read_records(artifact.file("scores.jsonl"), Score))
    keys = {(score.arm, score.problem_id, score.seed) for score in scores}
    assert len(keys) == len(scores) == 12 * (5 + 3 * 2)
    right = [score for score in scores if score.arm == "base" and score.correct]
    assert len(right) / 12 == report_of(artifact)["arms"]["base"]["accuracy"]


def test_test_debates_and_those_worth_reading_are_published(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    artifact = bench.run(bench.usual())
    debates = list(read_debates(artifact.folder, name="test-debates"))
    assert {debate.split for debate in debates} == {"test"}
    assert len(debates) == 12
    chosen = list(read_debates(artifact.folder, name="worth-reading"))
    assert 1 <= len(chosen) <= 3
    assert {debate.id for debate in chosen} <= {debate.id for debate in debates}
    assert "<html" in artifact.file("report.html").read_text()


def test_arms_that_cannot_be_played_are_absent_with_their_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "evaluate.arms=[base,vote,rsft,rft,da]")
    parents = bench.usual() | {
        "rft": bench.publish("model", "none", lambda _: None, absent="no trace was left"),
        "pad": bench.model("c"),
    }
    report = report_of(bench.run(parents))
    assert report["absent"] == {
        "rft": "no trace was left",
        "da": "not connected",
        "vote": "no debate arm to match its tokens with",
    }
    assert list(report["arms"]) == ["base", "rsft", "pad"]  # a connected model is an arm, listed or not
    assert report["gain_recovered"] is None
    assert report["token_ratio"] is None


def test_equal_weights_answer_test_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    parents = bench.usual() | {"rft": bench.model("b2", weights="a")}
    report = report_of(bench.run(parents))
    assert (
        report["arms"]["rsft"]["model"] == report["arms"]["rft"]["model"] != report["arms"]["base"]["model"]
    )
    other = Bench(tmp_path)
    report = report_of(other.run(parents | {"rft": other.model("b3")}))
    assert report["arms"]["rsft"]["model"] != report["arms"]["rft"]["model"]


def test_the_filters_classes_are_repeated(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    told = {"classes": {"corrective": 3}, "rejected": {"duplicate": 1}, "yield": 0.5}
    rows = bench.publish("rows", "r", lambda folder: (folder / "report.json").write_text(json.dumps(told)))
    report = report_of(bench.run(bench.usual() | {"rows": rows}))
    assert report["filter"] == {"classes": {"corrective": 3}, "rejected": {"duplicate": 1}}


def test_nothing_readable_is_a_report_of_zeros(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "script.json").write_text('[{"match": "", "answers": ["I would rather not say"]}]')
    report = report_of(bench.run(bench.usual()))
    assert {arm["accuracy"] for arm in report["arms"].values()} == {0.0}
    assert {arm["no_answer"] for arm in report["arms"].values()} == {1.0}
    assert report["gain_recovered"] is None
    assert "not above 0" in report["gain_recovered_reason"]


@pytest.mark.parametrize("lives", [0, 20, 60])
def test_a_dead_engine_is_never_an_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    bench = Bench(tmp_path)
    parents = bench.usual()
    with monkeypatch.context() as patch:
        patch.setattr("arkloom.evaluate.play.open_engine", lambda *_: MortalEngine(lives))
        with pytest.raises(ArkloomError, match="the model failed") as caught:
            bench.run(parents)
    assert caught.value.exit_code == 1
    resumed = report_of(bench.run(parents))
    assert list(resumed["arms"]) == ["base", "vote", "debate", "rsft", "rft"]


def test_an_engine_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    opened: list[MortalEngine] = []

    def open_engine(*_: object) -> MortalEngine:
        opened.append(MortalEngine(lives=5 if not opened else 100_000))
        return opened[-1]

    monkeypatch.setattr("arkloom.evaluate.play.open_engine", open_engine)
    report = report_of(bench.run(bench.usual()))
    assert report["arms"]["base"]["no_answer"] == 0.0


def test_the_vote_speaks_as_long_as_the_debate(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "debate.max_tokens=1", "evaluate.max_tokens=50", "evaluate.vote_cap=3")
    (tmp_path / "script.json").write_text('[{"match": "", "answers": ["one two three"]}]')
    arms = report_of(bench.run(bench.usual()))["arms"]
    assert arms["base"]["tokens_per_problem"] == 3
    assert arms["vote"]["tokens_per_problem"] <= 3  # three votes at most, of one token each


def test_shuffled_peers_are_evaluated(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "debate.peers=shuffled")
    report = report_of(bench.run(bench.usual()))
    assert report["arms"]["debate"]["latency_n"] > 0


def test_no_test_problem_is_absent_not_a_crash(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    parents = {"problems": bench.problems([], []), "rsft": bench.model("a")}
    artifact = bench.run(parents)
    assert artifact.absent == "no test problems"
    report = report_of(artifact)
    assert report["arms"] == {}
    assert report["absent"]["base"] == "no test problems"
    assert report["absent"]["rft"] == "not connected"


def test_no_validation_problem_means_no_best_arm(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    parents = bench.usual() | {"problems": bench.problems([problem(1, "test")], [], key="q")}
    report = report_of(bench.run(parents))
    assert report["best_arm"] is None
    assert report["best_arm_reason"] == "no validation problems to choose on"
    assert report["arms"]["rsft"]["accuracy"] == 1.0


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_problem_without_gold_is_named(tmp_path: Path, split: str) -> None:
    bench = Bench(tmp_path)
    splits = {name: [problem(1, name), problem(2, name)] for name in ("test", "validation")}
    splits[split][1] = problem(2, split, gold=None)
    parents = bench.usual() | {"problems": bench.problems(splits["test"], splits["validation"], key="g")}
    with pytest.raises(BadInputError, match=rf"{split}.jsonl row 2: the problem has no gold"):
        bench.run(parents)


def test_a_model_cannot_stand_in_for_what_evaluation_plays(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(BadInputError, match="'base' is played by evaluation"):
        bench.run(bench.usual() | {"base": bench.model("z")})


class StopAfter(threading.Event):
    """Set once it has been looked at so many times: a SIGTERM at a chosen moment."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize("looks", [5, 14, 38])
def test_stopping_anywhere_and_going_on_ends_the_same(tmp_path: Path, looks: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    whole_bench, bench = Bench(tmp_path / "whole"), Bench(tmp_path / "broken")
    whole = whole_bench.run(whole_bench.usual())
    parents, stops = bench.usual(), 0
    while True:
        assert stops < 100, "attempts make no progress"
        try:  # looking through what is done costs looks, too: a later attempt gets more
            broken = bench.run(parents, StopAfter(looks + 2 * stops))
            break
        except ResumeError:
            stops += 1
    assert stops > 1
    names = ("scores.jsonl", "test-debates-00000.jsonl", "worth-reading-00000.jsonl")
    assert all(whole.file(name).read_bytes() == broken.file(name).read_bytes() for name in names)
    assert without_times(report_of(whole)) == without_times(report_of(broken))
