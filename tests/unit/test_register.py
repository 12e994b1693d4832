"""The registry and the stage that fills it: a number a model, a card always, no version where refused."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from arkloom import cli
from arkloom import config as configs
from arkloom.chains.garbage import find_garbage
from arkloom.errors import BadInputError
from arkloom.register.stage import STAGE
from arkloom.registry import Registry, Version
from arkloom.stage import Context, execute
from arkloom.store import Manifest, open_store
from arkloom.telemetry import Events, Progress

ARMS = {
    "base": {"accuracy": 0.4, "ci95": [0.3, 0.5], "tokens_per_problem": 41.2},
    "rsft": {"accuracy": 0.9, "ci95": [0.8, 0.95], "tokens_per_problem": 40.0},
}
DECISION: dict[str, Any] = {
    "promote": True, "reason": "rsft minus base +0.500 [+0.4, +0.6]", "best_arm": "rsft", "token_ratio": 0.1,
}  # fmt: skip


def draft(**given: Any) -> Version:
    known = {
        "model": "student", "key": "a", "uri": "file:///a", "arm": "rsft", "base": "tiny", "accuracy": 0.9,
        "ci95": (0.8, 0.95), "token_ratio": 0.1, "reason": "better", "lineage": {}, "config_digest": "0",
        "registered": 1.0, "card": "# A",
    }  # fmt: skip
    return Version.model_validate(known | given)


class Bench:
    """A store with a student, its evaluation, and the gate's decision on it."""

    def __init__(self, root: Path, *overrides: str) -> None:
        self.store = open_store(str(root / "store"))
        self.config = configs.load("smoke", overrides=[*overrides, f"store.root={root / 'store'}"])
        self.registry = Registry(self.store)

    def student(self, key: str = "s") -> Manifest:
        workspace = self.store.workspace("sft", key * 64)
        (workspace.folder / "model.safetensors").write_text(key)
        return workspace.publish("model", parents={}, metrics={})

    def evaluation(self, student: Manifest, key: str = "e") -> Manifest:
        workspace = self.store.workspace("evaluate", key * 64)
        (workspace.folder / "report.json").write_text(json.dumps({"arms": ARMS}))
        return workspace.publish("report", parents={"rsft": student}, metrics={})

    def decision(self, report: Manifest, key: str = "d", **decision: Any) -> Manifest:
        workspace = self.store.workspace("gate", key * 64)
        (workspace.folder / "gate.json").write_text(json.dumps(DECISION | decision))
        return workspace.publish("gate", parents={"report": report}, metrics={})

    def register(self, report: Manifest, decision: Manifest) -> Manifest:
        context = Context(Progress(quiet=True), Events())
        return execute(STAGE, self.config, {"report": report, "decision": decision}, self.store, context)


def test_a_promoted_model_gets_a_card_and_the_next_number(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "registry.model=adder", "registry.license=apache-2.0")
    student = bench.student()
    report = bench.evaluation(student)
    made = bench.register(report, bench.decision(report))
    assert made.metrics == {"model": "adder", "version": 1, "arm": "rsft", "uri": student.uri}
    (version,) = bench.registry.versions("adder")
    assert (version.key, version.accuracy, version.ci95) == (student.key, 0.9, (0.8, 0.95))
    assert version.lineage["evaluation"] == report.key
    folder = bench.store.open(made.uri).folder
    card = (folder / "README.md").read_text()
    assert version.card == card
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == "tiny"
    assert head["license"] == "apache-2.0"
    assert "| rsft | 0.900 (95 % interval 0.800 to 0.950), 40 tokens a problem |" in card
    assert student.key in card
    assert "| promote | yes |" in card
    assert not re.search(r"\d\.\d{5}", card), "digits that mean nothing"
    assert json.loads((folder / "version.json").read_text())["number"] == 1


def test_the_same_model_again_is_the_same_version_and_another_the_next(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    student, other = bench.student(), bench.student("t")
    for number, (key, trained) in enumerate([("e", student), ("f", student), ("g", other)]):
        report = bench.evaluation(trained, key)
        made = bench.register(report, bench.decision(report, key=f"{number}"))
        assert made.metrics["version"] == (1 if trained is student else 2)
    assert [version.key for version in bench.registry.versions("student")] == [student.key, other.key]
    assert bench.registry.models() == ["student"]


def test_a_refusal_leaves_a_card_its_reason_and_no_version(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    report = bench.evaluation(bench.student())
    made = bench.register(report, bench.decision(report, promote=False, reason="not surely better"))
    artifact = bench.store.open(made.uri)
    assert artifact.absent == "not surely better"
    assert "refused, not surely better" in artifact.file("README.md").read_text()
    assert bench.registry.models() == []


def test_without_a_best_arm_there_is_nothing_to_write_a_card_of(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    report = bench.evaluation(bench.student())
    made = bench.register(report, bench.decision(report, promote=False, best_arm=None, reason="no arm"))
    assert (made.absent, made.reason, made.files) == (True, "no arm", ())


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    student = bench.student()
    report = bench.evaluation(student)
    with pytest.raises(BadInputError, match="about another evaluation"):
        bench.register(bench.evaluation(student, "f"), bench.decision(report))
    bench.store.delete(student)
    with pytest.raises(BadInputError, match="the student of arm 'rsft' is not in the store"):
        bench.register(report, bench.decision(report, key="g"))
    assert bench.registry.models() == []


def test_a_moved_store_registers_where_the_model_stands_now(tmp_path: Path) -> None:
    old = Bench(tmp_path / "old")
    report = old.evaluation(old.student())
    decision = old.decision(report)
    (tmp_path / "old").rename(tmp_path / "new")
    new = Bench(tmp_path / "new")
    found = [new.store.find(one.stage, one.key) for one in (report, decision)]
    assert found[0] is not None
    assert found[1] is not None
    made = new.register(found[0], found[1])
    assert new.store.open(made.metrics["uri"]).file("model.safetensors").read_text() == "s"


def test_writers_at_once_share_no_number_and_leave_no_gap(tmp_path: Path) -> None:
    registry = Registry(open_store(str(tmp_path)))
    keys = [f"{number % 5}" for number in range(15)]  # each model by three writers
    start = threading.Barrier(len(keys))
    found: list[tuple[str, int]] = []

    def write(key: str) -> None:
        start.wait()
        found.append((key, registry.register(draft(key=key)).number))

    threads = [threading.Thread(target=write, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(keys)
    assert sorted(number for _, number in set(found)) == [1, 2, 3, 4, 5]
    assert {version.key: version.number for version in registry.versions("student")} == dict(found)


def test_a_version_is_never_changed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    registry = Registry(store)
    first = registry.register(draft())
    assert registry.register(draft(reason="another word", registered=9.0)) == first
    assert not store.write_once(b"{}", "registry", "student", "versions", "1.json")
    assert registry.version("student", 1) == first


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "x" * 300])
def test_a_name_never_leaves_the_registry(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError, match="no name of a model"):
        Registry(open_store(str(tmp_path))).version(name, 1)
    with pytest.raises(BadInputError, match=r"registry\.model"):
        configs.load(overrides=[f"registry.model='{name}'"])


def test_a_damaged_version_is_one_line(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write_once(b"{", "registry", "student", "versions", "1.json")
    with pytest.raises(BadInputError, match="not a version"):
        Registry(store).register(draft())


def test_what_is_registered_is_no_garbage(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    report = bench.evaluation(bench.student())
    decision = bench.decision(report)
    bench.register(report, decision)
    unneeded = bench.student("t")
    garbage = find_garbage(bench.store, older_than=0.0)
    assert {manifest.key for manifest in garbage.kept} >= {"s" * 64, report.key, decision.key}
    assert unneeded.key in {manifest.key for manifest, _ in garbage.artifacts}


def test_the_command_lists_versions_and_prints_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, store = Bench(tmp_path), ["--store", str(tmp_path / "store")]
    assert cli.main(["models", *store]) == 0
    assert "no model was promoted yet" in capsys.readouterr().out
    student = bench.student()
    report = bench.evaluation(student)
    bench.register(report, bench.decision(report))
    for arguments in ([], ["student"]):
        assert cli.main(["models", *arguments, *store]) == 0
        _, line = capsys.readouterr().out.splitlines()
        assert line.split()[:2] == ["student", "1"]
        assert line.split()[-1] == student.uri
    assert cli.main(["models", "student", "1", *store]) == 0
    told = capsys.readouterr().out
    assert "base_model: tiny" in told
    assert told.splitlines()[-1] == f"weights: {student.uri}"
    (tmp_path / "store").rename(tmp_path / "moved")
    assert cli.main(["models", "student", "1", "--store", str(tmp_path / "moved")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"weights: {student.uri.replace('/store/', '/moved/')}"
    assert cli.main(["models", "student", "2", *store]) == 2
    assert capsys.readouterr().err == "arkloom: no version 2 of student. See arkloom models student\n"
