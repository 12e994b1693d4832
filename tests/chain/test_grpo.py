"""The stage `grpo` as a process: prompts in, a better student out, whatever kills it on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from arkloom.canonical import digest_file
from arkloom.config import ModelConfig
from arkloom.engines.models import model_folder
from arkloom.errors import BadInputError
from arkloom.grpo.stage import STAGE, sections
from arkloom.records import Problem
from arkloom.steps.model import Prm
from arkloom.store import Manifest
from arkloom.store.local import LocalStore
from arkloom.training import checkpoints
from arkloom.training.student import open_student
from grpo_bench import QUICK, Bench, absent, bench, digits, files, process, sums
from small_models import adapter_at

pytestmark = pytest.mark.chain

KILLS = 5
EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_task"
LONG = QUICK | {"grpo.steps": "12", "grpo.validate_every": "3"}
TINY = model_folder("tiny")


def digests(folder: Path) -> dict[str, str]:
    return {f.name: digest_file(f) for f in sorted(folder.iterdir()) if f.name != "manifest.json"}


def training(manifest: Manifest) -> dict:
    return json.loads((files(manifest) / "training.json").read_text())


def place(root: Path) -> Bench:
    return bench(root / "store", sums(6), sums(6, seed=1))


def quick(root: Path) -> Bench:
    return bench(root / "store", digits(6), digits(6, seed=1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Path]:
    made = quick(tmp_path_factory.mktemp("whole"))
    return made, files(made.make(LONG))


def test_the_student_begins_with_its_adapter_merged(whole: tuple[Bench, Path], tmp_path: Path) -> None:
    adapter = str(adapter_at(tmp_path / "adapter", TINY))
    still = {"grpo.learning_rate": "1e-12", "grpo.steps": "1", "models.student.adapter": adapter}
    manifest = whole[0].make(QUICK | still)
    made = AutoModelForCausalLM.from_pretrained(files(manifest))
    start = open_student(ModelConfig(adapter=adapter)).model
    for (name, a), b in zip(made.named_parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a, b.to(a.dtype), rtol=0, atol=1e-8, msg=name)
    assert all((point["kl"] or 0.0) < 1e-6 for point in training(manifest)["curve"])


def test_the_student_loads_without_arkloom_and_its_way_is_told(whole: tuple[Bench, Path]) -> None:
    made, folder = whole
    student = AutoModelForCausalLM.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    start = AutoModelForCausalLM.from_pretrained(TINY)
    told = json.loads((folder / "training.json").read_text())
    moved = any(not torch.equal(a, b) for a, b in zip(start.parameters(), student.parameters(), strict=True))
    assert moved == (told["best_step"] > 0)
    assert (told["steps"], told["rollouts"], told["stopped"], told["alarm"]) == (12, 96, None, None)
    assert [point["step"] for point in told["curve"]] == list(range(1, 13))
    assert [check["step"] for check in told["validation"]] == [0, 3, 6, 9, 12]
    assert [check["rollouts"] for check in told["validation"]] == [0, 24, 48, 72, 96]
    best = max(check["accuracy"] for check in told["validation"])
    assert next(c["step"] for c in told["validation"] if c["accuracy"] == best) == told["best_step"]
    names = {"loss", "reward", "prm_reward", "verifier_reward", "kl", "entropy", "completion_length",
             "steps_per_completion", "dropped", "clipped"}  # fmt: skip
    assert names <= set(told["curve"][0])
    assert told["curve"][0]["kl"] == pytest.approx(0.0, abs=1e-6), "the start is its own reference"
    assert told["curve"][-1]["kl"] > 0
    assert told["dropped_groups"] == sum(point["dropped"] for point in told["curve"]) < told["groups"]
    card = (folder / "README.md").read_text()
    assert "base_model: tiny" in card
    published = card + (folder / "training.json").read_text() + (folder / "report.html").read_text()
    assert str(made.store) not in published, "nothing of this machine is published"
    assert not [f.name for f in folder.iterdir() if f.suffix in (".bin", ".pt", ".pth")]


def newest(store: Path) -> int:
    scratch = next((store / ".work").glob("grpo-*/.partial"), None)
    seals = scratch.glob(f"checkpoint-*/{checkpoints.SEAL}") if scratch else ()
    return max((checkpoints.step_of(seal.parent) for seal in seals), default=0)


@pytest.fixture(scope="module")
def start() -> Callable[[Bench], BaseProcess]:
    """Starts processes of the stage; what is slow to import is imported once."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["arkloom.grpo.stage", "transformers.models.llama.modeling_llama"])

    def begin(made: Bench) -> BaseProcess:
        started = server.Process(target=process, args=(made.arguments(LONG),))
        started.start()
        return started

    return begin


def until(started: BaseProcess, store: Path, step: int) -> None:
    while newest(store) < step:
        assert started.is_alive(), "it ended before it could be killed"
        time.sleep(0.005)


def finish(started: BaseProcess) -> int | None:
    started.join(240)
    return started.exitcode


def student(made: Bench) -> Path:
    (found,) = (made.store / "grpo").iterdir()
    return found


@pytest.mark.slow
def test_kill_9_goes_on_from_the_last_intact_checkpoint_to_the_same_bits(
    whole: tuple[Bench, Path], tmp_path: Path, start: Callable[[Bench], BaseProcess]
) -> None:
    _, folder = whole
    other, moments = quick(tmp_path), random.Random(4)
    for step in range(2, 2 * KILLS + 1, 2):
        started = start(other)
        until(started, other.store, step)
        time.sleep(moments.uniform(0, 0.1))  # within a step, or while a checkpoint is written
        os.kill(started.pid or 0, signal.SIGKILL)
        assert finish(started) == -signal.SIGKILL
        assert newest(other.store) >= step, "what was sealed is lost"
        if step == 6:  # as a kill in the middle of its writing would leave it
            (torn,) = other.store.glob(f".work/grpo-*/.partial/checkpoint-{newest(other.store)}")
            content = (torn / "model.safetensors").read_bytes()
            (torn / "model.safetensors").write_bytes(content[:-9])
    assert finish(start(other)) == 0
    assert digests(student(other)) == digests(folder)


def test_sigterm_writes_a_checkpoint_and_exits_75(
    whole: tuple[Bench, Path], tmp_path: Path, start: Callable[[Bench], BaseProcess]
) -> None:
    _, folder = whole
    other = quick(tmp_path)
    started = start(other)
    until(started, other.store, 4)
    os.kill(started.pid or 0, signal.SIGTERM)
    assert finish(started) == 75
    assert newest(other.store) >= 4
    assert finish(start(other)) == 0
    assert digests(student(other)) == digests(folder)


def test_a_stop_at_too_much_kl_keeps_the_best_and_says_why(tmp_path: Path) -> None:
    settings = {"grpo.steps": "8", "grpo.max_kl": "1e-6", "grpo.warmup_ratio": "0"}
    told = training(place(tmp_path).make(settings))
    assert told["steps"] < 8
    assert told["stopped"] == (
        f"KL {told['curve'][-1]['kl']:.4f} per token at step {told['steps']} is above grpo.max_kl (1e-06)"
    )
    assert told["validation"][-1]["step"] == told["steps"]


def test_the_verifiers_reward_alone_runs_on_the_example_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    kind, gold = "code_answers:CODE", "add(2, 3) -> 5\nadd(1, 1) -> 2"
    tasks = [
        Problem(dataset="c", split="train", question=f"Write add, {n}.", gold=gold, answer_type=kind)
        for n in range(3)
    ]
    told = training(bench(tmp_path / "store", tasks, tasks[:1]).make({"prompts.profile": "natural"}))
    assert told["steps"] == 2
    assert {point["verifier_reward"] for point in told["curve"]} == {0.0}, "the tiny model writes no code"
    assert told["skipped_steps"] == 2


def test_a_score_of_ones_own_is_what_the_student_learns(whole: tuple[Bench, Path]) -> None:
    told = json.loads((whole[1] / "training.json").read_text())
    rewards = [point["verifier_reward"] for point in told["curve"]]
    assert sum(rewards[-4:]) > 1.1 * sum(rewards[:4])


def test_without_validation_the_last_step_and_without_beta_no_kl(tmp_path: Path) -> None:
    told = training(bench(tmp_path / "store", digits(3)).make(QUICK | {"grpo.beta": "0"}))
    assert (told["validation"], told["best_step"], told["accuracy_best"]) == ([], 2, None)
    assert {point["kl"] for point in told["curve"]} == {None}


def prm_at(store: Path, gate: dict[str, object]) -> str:
    workspace = LocalStore(store).workspace("prm", "d" * 64)
    Prm.new(TINY).save(workspace.folder)
    (workspace.folder / "prm.json").write_text(json.dumps({"threshold": 0.5, "gate": gate}))
    return workspace.publish("prm", parents={}, metrics={}).uri


PAD = {"grpo.prm_weight": "0.5", "grpo.verifier_weight": "0.5"}


def test_pad_is_rewarded_by_steps_and_starts_from_another_arm(
    whole: tuple[Bench, Path], tmp_path: Path
) -> None:
    made = place(tmp_path)
    prm = prm_at(made.store, {"passed": True, "reason": None})
    lora = {"grpo.method": "lora", "grpo.lora_rank": "4", "grpo.lora_alpha": "8"}
    manifest = made.make(PAD | lora, prm=prm, start=str(whole[1]))
    told = training(manifest)
    assert all(0 < point["prm_reward"] < 1 for point in told["curve"])
    assert all(point["steps_per_completion"] > 1 for point in told["curve"])
    for point in told["curve"]:
        mixed = 0.5 * point["prm_reward"] + 0.5 * point["verifier_reward"]
        assert point["reward"] == pytest.approx(mixed, abs=1e-4)
    assert told["curve"][0]["kl"] == pytest.approx(0.0, abs=1e-5), "the merged start is the reference"
    assert not [f.name for f in files(manifest).iterdir() if "adapter" in f.name]
    AutoModelForCausalLM.from_pretrained(files(manifest))


def test_what_is_not_there_makes_an_absent_student_with_its_reason(tmp_path: Path) -> None:
    made = place(tmp_path)
    nothing = absent(made.store, "sft", "no rows to learn from")
    assert made.make(start=nothing).reason == "start is absent: no rows to learn from"
    assert made.make(PAD, prm=nothing).reason == "prm is absent: no rows to learn from"
    assert made.make(prompts=nothing).reason == "prompts is absent: no rows to learn from"
    prm = prm_at(made.store, {"passed": False, "reason": "step AUC 0.55 is below 0.70"})
    refused = made.make(PAD, prm=prm)
    assert (refused.absent, refused.reason) == (
        True,
        "the PRM did not pass its gate: step AUC 0.55 is below 0.70",
    )
    assert not made.make(PAD | {"prm.gate.enforce": "false", "grpo.steps": "1"}, prm=prm).absent
    empty = bench(tmp_path / "other", [])
    assert empty.make().reason == "no prompts to sample on"
    narrow = made.make({"grpo.max_tokens": "2000"})
    assert narrow.reason == "no prompt leaves room for grpo.max_tokens (2000)"


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    made = place(tmp_path)
    with pytest.raises(BadInputError, match="are both 0: nothing rewards"):
        made.make({"grpo.verifier_weight": "0"})
    with pytest.raises(BadInputError, match=r"input 'prm' is not connected and grpo\.prm_weight is above 0"):
        made.make(PAD)
    free = bench(tmp_path / "free", [sums(1)[0].model_copy(update={"gold": None})])
    with pytest.raises(BadInputError, match=r"problem \w{12} \(.*\): no gold to verify answers by"):
        free.make()


def test_the_gate_enters_the_key_only_where_a_prm_rewards(tmp_path: Path) -> None:
    made = place(tmp_path)
    alone, pad = made.config(), made.config(**PAD)
    assert "prm.gate.enforce" not in sections(alone)
    assert "prm.gate.enforce" in sections(pad)
    assert STAGE.key(alone, {}) == STAGE.key(made.config(**{"prm.gate.enforce": "false"}), {})
    assert STAGE.key(pad, {}) != STAGE.key(made.config(**PAD, **{"prm.gate.enforce": "false"}), {})
