"""The stage `prm` as a whole: labelled steps in, a judged reward model out, whatever kills it on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from arkloom.canonical import digest_file
from arkloom.config import load
from arkloom.errors import ArkloomError, ResumeError
from arkloom.jsonl import write_records
from arkloom.prm.stage import STAGE
from arkloom.prm.traces import Trace, by_problem
from arkloom.prm.training import train
from arkloom.records import Problem, StepRow
from arkloom.stage import Context, execute
from arkloom.steps.model import Prm
from arkloom.store import ABSENT, Manifest
from arkloom.store.local import LocalStore
from arkloom.telemetry import Events, Progress
from arkloom.training import checkpoints
from small_models import model_at
from step_rows import step_row

pytestmark = pytest.mark.chain

KILLS = int(os.environ.get("ARKLOOM_TEST_KILLS", "2"))
LEARNED, JUDGED = range(24), range(60, 84)  # numbers of traces, three a problem
PHASE = "{learning_rate: 1.0e-2, epochs: 6}"
SETTINGS = {
    "prompts.profile": "tiny",
    "prm.head": PHASE,
    "prm.full": PHASE,
    "prm.batch_problems": "4",
    "prm.checkpoint_steps": "1",
    "prm.max_tokens": "128",
    "prm.best_of": "3",
    "debate.max_tokens": "8",
    "runtime.threads": "1",
}
FEW = "{learning_rate: 1.0e-2, epochs: 3}"
TOTAL = 24  # optimiser steps: 8 problems, 4 a step, 6 epochs, 2 phases


def steps_artifact(root: Path, rows: list[StepRow], key: str) -> str:
    workspace = LocalStore(root).workspace("label", key * 64)
    write_records(workspace.folder / "steps.jsonl", rows)
    return workspace.publish("steps", parents={}, metrics={}).uri


def nothing(root: Path, key: str = "d") -> str:
    workspace = LocalStore(root).workspace("label", key * 64)
    return workspace.publish(ABSENT, parents={}, metrics={}, reason="no step got a label").uri


@dataclass(frozen=True)
class Bench:
    """A store with labelled steps, and a model folder."""

    store: Path
    model: Path
    ports: dict[str, str]

    def settings(self, overrides: Mapping[str, str]) -> list[str]:
        settings = {"models.student.name": str(self.model), "store.root": str(self.store)}
        return [f"{name}={value}" for name, value in (settings | SETTINGS | dict(overrides)).items()]

    def command(self) -> list[str]:
        given = [part for port, uri in self.ports.items() for part in ("--input", f"{port}={uri}")]
        settings = [part for setting in self.settings({}) for part in ("--set", setting)]
        return [sys.executable, "-m", "arkloom.prm", *given, *settings]

    def make(self, overrides: Mapping[str, str] | None = None, **ports: str) -> Manifest:
        """In this process, which has torch loaded."""
        config, store = load(overrides=self.settings(overrides or {})), LocalStore(self.store)
        parents = {port: store.open(uri).manifest for port, uri in (self.ports | ports).items()}
        return execute(STAGE, config, parents, store, Context(Progress(quiet=True), Events()))


def bench(root: Path, model: Path | None = None) -> Bench:
    store = root / "store"
    ports = {
        "steps": steps_artifact(store, [step_row(n) for n in LEARNED], "a"),
        "validation": steps_artifact(store, [step_row(n) for n in JUDGED], "b"),
    }
    return Bench(store, model or model_at(root / "model"), ports)


def artifact(place: Bench) -> Path:
    done = subprocess.run(place.command(), capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip().removeprefix("file://"))


def files(manifest: Manifest) -> Path:
    assert not manifest.absent, manifest.reason
    return Path(manifest.uri.removeprefix("file://"))


def told(manifest: Manifest, name: str = "report.json") -> dict[str, object]:
    return json.loads((files(manifest) / name).read_text())


def digests(folder: Path) -> dict[str, str]:
    return {f.name: digest_file(f) for f in sorted(folder.iterdir()) if f.name != "manifest.json"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Path]:
    place = bench(tmp_path_factory.mktemp("whole"))
    return place, artifact(place)


def test_the_prm_loads_without_arkloom_and_scores_the_same(whole: tuple[Bench, Path]) -> None:
    _, folder = whole
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    coder = AutoTokenizer.from_pretrained(folder)
    row = step_row(61)
    prompt = coder.apply_chat_template(
        [row.messages[0].model_dump()], tokenize=False, add_generation_prompt=True
    )
    ends = [len(prompt) + end for end in row.step_ends]
    coded = coder(prompt + row.messages[-1].content, add_special_tokens=False, return_offsets_mapping=True)
    last = [max(i for i, (start, _) in enumerate(coded["offset_mapping"]) if start < end) for end in ends]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([coded["input_ids"]])).logits
    assert logits.shape[-1] == 1
    scores = torch.sigmoid(logits[0, last, 0]).tolist()
    assert Prm.load(folder).scores_of_rows([row])[0] == pytest.approx(scores, abs=1e-6)


def test_what_was_learned_is_told(whole: tuple[Bench, Path]) -> None:
    place, folder = whole
    report = json.loads((folder / "report.json").read_text())
    assert [point["step"] for point in report["curve"]] == list(range(1, TOTAL + 1))
    assert report["curve"][-1]["loss"] < report["curve"][0]["loss"] / 2
    assert (report["rows"], report["problems"], report["with_negatives"]) == (24, 8, 1.0)
    assert report["validation"]["rows"] == 24
    assert report["validation"]["rows_with_error"] == 16
    assert set(report["floors"]) == {"constant", "position", "length", "outcome"}
    assert report["best_of_n"] == {"reason": "no problems are connected"}
    prm = json.loads((folder / "prm.json").read_text())
    assert prm["gate"]["passed"] == report["gate_passed"]
    assert prm["gate"]["reason"] == report["gate_reason"]
    assert prm["threshold"] == report["threshold"]
    card = (folder / "README.md").read_text()
    assert "base_model: model" in card
    assert "pipeline_tag: token-classification" in card
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "floor: outcome" in page
    for text in (card, page, json.dumps(report), json.dumps(prm)):
        assert str(place.store) not in text, "nothing of this machine is published"


def newest(store: Path) -> int:
    """The last sealed checkpoint of a stage under way."""
    found = store.glob(f".work/prm-*/.partial/{checkpoints.PREFIX}*/{checkpoints.SEAL}")
    return max((checkpoints.step_of(seal.parent) for seal in found), default=0)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bits(whole: tuple[Bench, Path], tmp_path: Path) -> None:
    place, folder = whole
    other = bench(tmp_path, place.model)
    moments = random.Random(4)
    for step in sorted(moments.sample(range(1, TOTAL - 6), KILLS)):
        before = newest(other.store)
        with subprocess.Popen(
            other.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while newest(other.store) < step:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.03))  # within a step, or while a checkpoint is written
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert newest(other.store) >= max(before, step), "what was sealed is lost"
    assert digests(artifact(other)) == digests(folder)


def traces(prm: Prm) -> tuple[tuple[Trace, ...], ...]:
    rows = [step_row(number) for number in LEARNED]
    return by_problem(Trace(r.content_hash, prm.encode(r), r.labels, r.correct) for r in rows)


def weights(prm: Prm) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in prm.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_stopped_after_every_step_and_with_torn_checkpoints_it_learns_the_same(
    whole: tuple[Bench, Path], tmp_path: Path
) -> None:
    place, _ = whole
    config = load(overrides=place.settings({"prm.head": FEW, "prm.full": FEW})).prm
    straight = Prm.new(place.model)
    curve = train(
        straight, traces(straight), config, 0, tmp_path / "a", Context(Progress(quiet=True), Events())
    )
    scratch, stops = tmp_path / "b", 0
    while True:
        prm, context = Prm.new(place.model), Context(Progress(quiet=True), Events())
        context.stop.set()
        try:
            resumed = train(prm, traces(prm), config, 0, scratch, context)
            break
        except ResumeError:
            stops += 1
        if stops in (2, 5, 9):  # a kill tore the newest checkpoint: the one before counts
            torn = scratch / f"{checkpoints.PREFIX}{checkpoints.step_of(checkpoints.latest(scratch))}"
            file = torn / random.Random(stops).choice(["model.safetensors", "optimizer.safetensors"])
            file.write_bytes(file.read_bytes()[:-40])
    assert stops == len(curve) + 3
    assert same(weights(straight), weights(prm))
    assert resumed == curve


def test_the_student_answers_and_the_prm_chooses(tmp_path: Path) -> None:
    place = bench(tmp_path)
    store = LocalStore(place.store)
    workspace = store.workspace("prepare", "e" * 64)
    asked = [
        Problem(dataset="own", split="validation", question=f"{n}+2*3+4-1*5", gold=str(n + 5))
        for n in range(3)
    ]
    write_records(workspace.folder / "validation.jsonl", asked)
    problems = workspace.publish("problems", parents={}, metrics={}).uri
    quick = {"prm.head": "{learning_rate: 0.01, epochs: 1}", "prm.full": "{learning_rate: 0.01, epochs: 0}"}
    best = told(place.make(quick, problems=problems))["best_of_n"]
    assert (best["n"], best["problems"]) == (3, 3)
    assert 0 <= best["prm"] <= best["any"] <= 1
    assert best["ci95"][0] <= best["diff"] <= best["ci95"][1]


def test_questions_that_nobody_can_answer_leave_a_prm_without_that_comparison(tmp_path: Path) -> None:
    place = bench(tmp_path)
    workspace = LocalStore(place.store).workspace("prepare", "e" * 64)
    endless = Problem(dataset="own", split="validation", question="1+" * 5000 + "1", gold="5001")
    write_records(workspace.folder / "validation.jsonl", [endless])
    problems = workspace.publish("problems", parents={}, metrics={}).uri
    best = told(place.make(QUICK, problems=problems))["best_of_n"]
    assert list(best) == ["reason"]
    assert "no validation problem was answered: " in best["reason"]


QUICK = {"prm.head": "{learning_rate: 0.01, epochs: 0}", "prm.full": "{learning_rate: 0.01, epochs: 1}"}


def test_without_validation_rows_a_fifth_of_the_problems_is_held_out(tmp_path: Path) -> None:
    place = bench(tmp_path)
    alone = Bench(place.store, place.model, {"steps": place.ports["steps"]})
    report = told(alone.make(QUICK))
    assert (report["problems"], report["validation"]["problems"]) == (7, 1)
    assert "held out" in report["judged_on"]
    lost = told(place.make(QUICK, validation=nothing(place.store)))
    assert "validation is absent: no step got a label" in lost["judged_on"]


def test_problems_of_validation_are_never_learned_from(tmp_path: Path) -> None:
    place = bench(tmp_path)
    both = steps_artifact(place.store, [step_row(n) for n in range(12)], "c")
    report = told(place.make(QUICK, validation=both))
    assert (report["problems"], report["rows"]) == (4, 12)


def test_the_students_own_answers_are_learned_from_and_never_judged_on(tmp_path: Path) -> None:
    place = bench(tmp_path)
    own = [step_row(n) for n in (*range(30, 36), *range(60, 66))]  # two problems more, two of validation
    report = told(place.make(QUICK, own=steps_artifact(place.store, own, "c")))
    assert (report["problems"], report["rows"]) == (10, 30)
    assert report["validation"]["rows"] == len(JUDGED)
    assert told(place.make(QUICK, own=nothing(place.store)))["rows"] == len(LEARNED)


def test_whether_the_gate_is_enforced_has_no_part_in_the_prm(tmp_path: Path) -> None:
    place = bench(tmp_path)
    limits = QUICK | {"prm.gate.auc": "1", "prm.gate.f1_margin": "2"}
    manifest = place.make(limits | {"prm.gate.enforce": "false"})
    assert not manifest.absent
    assert manifest.metrics["gate_passed"] is False
    written = "".join(path.read_text() for path in files(manifest).glob("*.json"))
    assert '"enforce"' not in written
    assert "It may not reward, unless" in (files(manifest) / "report.html").read_text()
    assert place.make(limits).key == manifest.key, "found, not trained again"
    keys = {
        STAGE.key(load(overrides=place.settings(limits | other)), {})
        for other in (
            {},
            {"prm.gate.auc": "0"},
            {"prm.best_of": "4"},
            {"prm.init": f"{{name: {place.model}}}"},
        )
    }
    assert len(keys) == 4


def test_ports_and_rows_that_give_nothing_are_an_absent_prm(tmp_path: Path) -> None:
    place = bench(tmp_path)
    gone = place.make(QUICK, steps=nothing(place.store))
    assert (gone.absent, gone.reason) == (True, "steps is absent: no step got a label")
    long = place.make(QUICK | {"prm.max_tokens": "8"})
    assert long.reason == "all 24 labelled rows are longer than prm.max_tokens (8)"
    bare = [step_row(n).model_copy(update={"labels": ()}) for n in range(3)]
    unknown = place.make(QUICK, steps=steps_artifact(place.store, bare, "f"))
    assert unknown.reason == "no row has a labelled step"


def test_weights_that_are_not_finite_end_in_one_line(tmp_path: Path) -> None:
    place = bench(tmp_path)
    wild = QUICK | {"prm.full": "{learning_rate: 1.0e+30, epochs: 4}", "prm.warmup_ratio": "0"}
    with pytest.raises(ArkloomError) as caught:
        place.make(wild)
    assert "at step" in caught.value.line() or "not finite" in caught.value.line()
    assert "\n" not in caught.value.line()
    shutil.rmtree(place.store)
