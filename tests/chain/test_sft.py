"""The stage `sft` as a process: rows in, a checkpoint out, whatever kills it on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from arkloom.canonical import digest_file
from arkloom.config import ModelConfig, load
from arkloom.errors import BadInputError
from arkloom.jsonl import dump
from arkloom.sft.rows import read_rows
from arkloom.sft.stage import STAGE
from arkloom.stage import Context, execute
from arkloom.store import ABSENT, Manifest
from arkloom.store.local import LocalStore
from arkloom.telemetry import Events, Progress
from arkloom.training import checkpoints
from arkloom.training.encode import encode
from arkloom.training.student import open_student
from small_models import adapter_at, model_at, row, rows_artifact, tokenizer

pytestmark = pytest.mark.chain

KILLS = 5
SETTINGS = {
    "sft.method": "full",
    "sft.learning_rate": "1e-2",
    "sft.batch_size": "8",
    "sft.max_tokens": "128",
    "sft.epochs": "4",
    "sft.checkpoint_steps": "2",
    "runtime.threads": "1",
}


@dataclass(frozen=True)
class Bench:
    """A store with rows, and a model folder."""

    store: Path
    model: Path
    rows: str

    def settings(self, overrides: Mapping[str, str]) -> list[str]:
        settings = {"models.student.name": str(self.model), "store.root": str(self.store)}
        return [f"{name}={value}" for name, value in (settings | SETTINGS | dict(overrides)).items()]

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "arkloom.sft", "--input", f"rows={self.rows}"]
        return command + [part for setting in self.settings({}) for part in ("--set", setting)]

    def run(self) -> subprocess.CompletedProcess[str]:
        """In a process of its own, as a runner starts it."""
        return subprocess.run(self.command(), capture_output=True, text=True, check=False, timeout=240)

    def make(self, overrides: Mapping[str, str], **ports: str) -> Manifest:
        """In this process, which has torch loaded."""
        config, store = load(overrides=self.settings(overrides)), LocalStore(self.store)
        parents = {port: store.open(uri).manifest for port, uri in {"rows": self.rows, **ports}.items()}
        return execute(STAGE, config, parents, store, Context(Progress(quiet=True), Events()))


def bench(root: Path, model: Path | None = None, count: int = 40) -> Bench:
    rows = rows_artifact(root / "store", [row(n) for n in range(count)])
    return Bench(root / "store", model or model_at(root / "model"), rows)


def artifact(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip().removeprefix("file://"))


def files(manifest: Manifest) -> Path:
    assert not manifest.absent, manifest.reason
    return Path(manifest.uri.removeprefix("file://"))


def digests(folder: Path) -> dict[str, str]:
    return {f.name: digest_file(f) for f in sorted(folder.iterdir()) if f.name != "manifest.json"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Path]:
    place = bench(tmp_path_factory.mktemp("whole"))
    return place, artifact(place.run())


def test_the_student_begins_with_its_adapter_merged(whole: tuple[Bench, Path], tmp_path: Path) -> None:
    place, _ = whole
    adapter = str(adapter_at(tmp_path / "adapter", place.model))
    still = {"sft.learning_rate": "1e-12", "sft.epochs": "1", "models.student.adapter": adapter}
    made = AutoModelForCausalLM.from_pretrained(files(place.make(still)))
    start = open_student(ModelConfig(name=str(place.model), adapter=adapter)).model
    for (name, a), b in zip(made.named_parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8, msg=name)


def test_the_student_loads_without_arkloom_and_has_learned(whole: tuple[Bench, Path]) -> None:
    place, folder = whole
    model = AutoModelForCausalLM.from_pretrained(folder)
    coder = AutoTokenizer.from_pretrained(folder)
    made = row(3)
    chat = [message.model_dump() for message in made.messages]
    ids = coder.apply_chat_template(chat, return_tensors="pt", return_dict=False)
    start = AutoModelForCausalLM.from_pretrained(place.model)
    with torch.no_grad():
        before, after = (m(ids, labels=ids).loss.item() for m in (start, model))
    assert after < before / 2
    training = json.loads((folder / "training.json").read_text())
    assert training["rows"] == training["rows_before"] == training["problems"] == 40
    assert training["loss_last"] < training["loss_first"] / 2
    assert [point["step"] for point in training["curve"]] == list(range(1, 21))
    card = (folder / "README.md").read_text()
    assert "base_model: model" in card
    assert "a" * 64 in card, "the card names the rows it was trained on"
    assert str(place.store) not in card + json.dumps(training), "nothing of this machine is published"


def test_the_same_rows_and_seed_give_the_same_bits_and_another_seed_others(
    whole: tuple[Bench, Path], tmp_path: Path
) -> None:
    place, folder = whole
    other = bench(tmp_path, place.model)
    assert digests(files(other.make({}))) == digests(folder), "a process of its own changes nothing"
    changed = digests(files(other.make({"seed": "1"})))
    assert changed["model.safetensors"] != digests(folder)["model.safetensors"]


def scratch_of(store: Path) -> Path | None:
    return next((store / ".work").glob("sft-*/.partial"), None)


def newest(store: Path) -> int:
    scratch = scratch_of(store)
    seals = scratch.glob(f"checkpoint-*/{checkpoints.SEAL}") if scratch else ()
    return max((checkpoints.step_of(seal.parent) for seal in seals), default=0)


@pytest.mark.slow
def test_kill_9_goes_on_from_the_last_checkpoint_to_the_same_bits(
    whole: tuple[Bench, Path], tmp_path: Path
) -> None:
    place, folder = whole
    other = bench(tmp_path, place.model)
    store = other.store
    moments = random.Random(4)
    steps = sorted(moments.sample(range(2, 19, 2), KILLS))
    for step in steps:
        before = newest(store)
        with subprocess.Popen(
            other.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while newest(store) < step:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.05))  # within a step, or while a checkpoint is written
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert newest(store) >= max(before, step), "what was sealed is lost"
    assert digests(artifact(other.run())) == digests(folder)
    assert scratch_of(store) is None, "checkpoints outlive the artifact"


def test_sigterm_writes_a_checkpoint_and_exits_75(whole: tuple[Bench, Path], tmp_path: Path) -> None:
    place, folder = whole
    other = bench(tmp_path, place.model)
    store = other.store
    with subprocess.Popen(other.command(), stderr=subprocess.PIPE, text=True) as process:
        while newest(store) < 4:
            assert process.poll() is None
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert said.strip().splitlines()[-1].startswith("arkloom sft: stopped before the end")
    assert digests(artifact(other.run())) == digests(folder)


def training(manifest: Manifest) -> dict[str, int]:
    return json.loads((files(manifest) / "training.json").read_text())


def test_matched_arms_learn_from_the_same_number_of_rows(tmp_path: Path) -> None:
    place = bench(tmp_path, count=12)
    partner = rows_artifact(place.store, [row(n) for n in range(100, 107)], key="b" * 64)
    quick = {"sft.epochs": "1", "sft.match": "true"}
    cut = training(place.make(quick, match=partner))
    assert (cut["rows"], cut["rows_before"]) == (7, 12)
    kept = training(Bench(place.store, place.model, partner).make(quick, match=place.rows))
    assert (kept["rows"], kept["rows_before"]) == (7, 7)
    uncut = training(place.make(quick | {"sft.match": "false"}, match=partner))
    assert uncut["rows"] == 12


def test_lora_starts_from_an_artifact_and_leaves_a_plain_checkpoint(
    whole: tuple[Bench, Path], tmp_path: Path
) -> None:
    place, folder = whole
    lora = {"sft.method": "lora", "sft.lora_rank": "4", "sft.lora_alpha": "8", "sft.epochs": "1"}
    student = files(place.make(lora, start=str(folder)))
    assert not [f.name for f in student.iterdir() if "adapter" in f.name]
    first, second = (AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (folder, student))
    assert first.keys() == second.keys()
    moved = {name.split(".")[-2] for name in first if not torch.equal(first[name], second[name])}
    assert moved == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize(
    ("count", "reason"),
    [(6, "all 6 rows are longer than sft.max_tokens (8)"), (0, "no rows to learn from")],
)
def test_nothing_to_learn_from_is_an_absent_student(tmp_path: Path, count: int, reason: str) -> None:
    manifest = bench(tmp_path, count=count).make({"sft.max_tokens": "8"})
    assert manifest.absent
    assert manifest.reason == reason


def test_absent_rows_are_an_absent_student_with_their_reason(tmp_path: Path) -> None:
    place = bench(tmp_path, count=1)
    workspace = LocalStore(place.store).workspace("filter", "d" * 64)
    nothing = workspace.publish(ABSENT, parents={}, metrics={}, reason="no trace was right").uri
    manifest = place.make({}, rows=nothing)
    assert (manifest.absent, manifest.reason) == (True, "rows is absent: no trace was right")


def test_an_absent_partner_cuts_nothing(tmp_path: Path) -> None:
    place = bench(tmp_path, count=5)
    workspace = LocalStore(place.store).workspace("filter", "d" * 64)
    nothing = workspace.publish(ABSENT, parents={}, metrics={}, reason="no trace was right").uri
    assert training(place.make({"sft.match": "true", "sft.epochs": "1"}, match=nothing))["rows"] == 5


def test_da_learns_from_its_own_rows_and_every_problem_weighs_the_same(tmp_path: Path) -> None:
    place = bench(tmp_path, count=3)
    ways = [row(n).model_copy(update={"problem_id": f"p{n // 2}", "k": 2}) for n in range(5)]
    uri = rows_artifact(place.store, [row(n) for n in range(9)], "b" * 64, ways, precision=0.75)
    quick = {"sft.epochs": "1", "sft.objective": "da", "sft.checkpoint_steps": "50"}
    told = training(place.make(quick, rows=uri))
    assert (told["objective"], told["rows"], told["problems"]) == ("da", 5, 3)
    assert told["pseudo_label_precision"] == 0.75
    net = AutoModelForCausalLM.from_pretrained(place.model)
    total = 0.0
    for way in ways:
        one = encode(tokenizer("tiny"), way)
        log_p = torch.log_softmax(net(torch.tensor([one.ids])).logits[0], dim=-1)
        taught = [t for t in range(1, len(one)) if one.reasoning[t] or one.answer[t]]
        share = 0.5 if way.problem_id != "p2" else 1.0  # its second way is not among the rows
        total -= share * sum(log_p[t - 1, one.ids[t]].item() for t in taught) / len(taught)
    assert told["loss_first"] == pytest.approx(total / 3, rel=1e-4)


def test_answer_only_training_sees_no_reasoning(tmp_path: Path) -> None:
    place = bench(tmp_path, count=6)
    quick = {"sft.epochs": "1"}
    answers, whole = (training(place.make(quick | {"sft.objective": name})) for name in ("answer", "rsft"))
    assert (answers["objective"], whole["objective"]) == ("answer", "rsft")
    assert answers["rows"] == whole["rows"]
    assert answers["trained_tokens"] < whole["trained_tokens"] / 2
    assert "pseudo_label_precision" not in whole


def test_da_without_two_right_traces_is_absent_and_so_is_what_starts_from_it(tmp_path: Path) -> None:
    place = bench(tmp_path, count=4)
    nothing = place.make({"sft.objective": "da"})
    assert (nothing.absent, nothing.reason) == (True, "no problem has two right traces to tell apart")
    stacked = place.make({}, start=nothing.uri)
    assert stacked.reason == "start is absent: no problem has two right traces to tell apart"


def test_a_stack_starts_from_the_weights_of_the_arm_below(whole: tuple[Bench, Path], tmp_path: Path) -> None:
    place, folder = whole
    told = training(place.make({"sft.epochs": "1"}, start=str(folder)))
    assert told["loss_first"] < training(place.make({"sft.epochs": "1"}))["loss_first"] / 2


BAD_ROWS = {
    "not JSON": ("{", "Invalid JSON"),
    "half-written": (dump(row(1))[:50], "Invalid JSON"),
    "no messages": (dump(row(1)).replace('"messages"', '"massages"'), "messages: Field required"),
    "an offset outside": (dump(row(1)).replace('"answer_from":', '"answer_from":9'), "answer_from 9"),
}


@pytest.mark.parametrize(("line", "says"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "rsft.jsonl"
    path.write_text(f"{dump(row(0))}\n\n{line}\n")
    with pytest.raises(BadInputError) as caught:
        read_rows(path, tokenizer("tiny"), 128)
    assert caught.value.line().startswith(f"{path} line 3: ")
    assert says in caught.value.line()
