"""The trainer on TRL: that its private hook holds, what reaches the loss, and the loss itself."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from arkloom.config import GrpoConfig, ModelConfig
from arkloom.engines.models import model_folder
from arkloom.errors import ArkloomError
from arkloom.grpo.advantages import Judged
from arkloom.grpo.judge import Judge, Rollout
from arkloom.grpo.rollouts import ask
from arkloom.grpo.trainer import Machine, StepGrpo, arguments
from arkloom.grpo.training import _adapter
from arkloom.prompts import Prompts
from arkloom.training.student import load, open_student
from grpo_bench import sums
from small_models import adapter_at

REPO = Path(__file__).parents[2]
BETA = 0.1
TINY = ModelConfig()


class Given(Judge):
    """A judge whose scores are given, so that every token's advantage differs."""

    def __init__(self, tokenizer: Any, alike: int = 0) -> None:
        super().__init__(tokenizer, None, verified=True)
        self._alike = alike

    def judge(self, rollouts: list[Rollout]) -> Judged:
        size = len(rollouts)
        ends = [
            [min(3, len(r.ids) - 1), len(r.ids) - 2 if len(r.ids) > 5 else len(r.ids) - 1] for r in rollouts
        ]
        correct = torch.arange(size) % 2.0
        scores = torch.linspace(0.1, 0.9, 2 * size).reshape(size, 2)
        correct[: self._alike], scores[: self._alike] = 1.0, 0.5
        everywhere = torch.ones(size, 2, dtype=torch.bool)
        return Judged(scores, everywhere, torch.tensor(ends), correct, torch.ones(size, dtype=torch.bool))


def trainer(scratch: Path, alike: int = 0, setting: ModelConfig = TINY, **change: Any) -> StepGrpo:
    torch.manual_seed(0)
    student = open_student(setting)
    defaults = {"method": "full", "learning_rate": 1e-3, "steps": 1, "prompts": 2, "completions": 3}
    settings = GrpoConfig(**(defaults | {"max_tokens": 40, "beta": BETA, "weight_decay": 0.1} | change))
    prompts = ask(sums(4), Prompts("tiny", "shared"), student.tokenizer)
    args = arguments(settings, Machine("cpu", False, 0), 80, scratch)
    return StepGrpo(
        student.model, student.tokenizer, args, settings, Given(student.tokenizer, alike), prompts, 0,
        _adapter(settings),
    )  # fmt: skip


def batch_of(made: StepGrpo) -> dict[str, Any]:
    rows = [made.train_dataset[index] for index in made._get_train_sampler()]
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made._generate_and_score_completions(rows)


def moved(model: torch.nn.Module, seed: int = 1) -> None:
    """Another policy than the start, so that KL and its gradient are not zero."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.01 * torch.randn(weight.shape, generator=noise))


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def log_probs(model: torch.nn.Module, prompt: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=torch.cat([prompt, answer])[None]).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, dim=-1).gather(1, answer[:, None])[:, 0]


def row_by_row(made: StepGrpo, batch: Mapping[str, Any], start: torch.nn.Module) -> torch.Tensor:
    """The loss of METHODS 6, one completion after the other, without padding."""
    total = torch.zeros(())
    size = len(batch["completion_ids"])
    for row in range(size):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        answer = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        if not batch["tool_mask"][row].any():
            continue
        policy = log_probs(made.model, prompt, answer)
        reference = log_probs(start, prompt, answer).detach()
        ratio = torch.exp(policy - policy.detach())
        advantage = batch["advantages"][row, : len(answer)]
        clipped = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        kl = torch.exp(reference - policy) - (reference - policy) - 1
        total = total + (-clipped + BETA * kl).mean() / size
    return total


def test_trl_is_pinned_to_the_version_whose_private_hook_is_used() -> None:
    declared = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"][
        "train"
    ]
    (pin,) = [line for line in declared if re.match(r"trl\b", line)]
    assert pin == f"trl=={version('trl')}"


def test_the_private_hook_is_there_and_is_used() -> None:
    hook = "_generate_and_score_completions"
    assert list(inspect.signature(getattr(GRPOTrainer, hook)).parameters) == ["self", "inputs"]
    assert f"self.{hook}(generation_batch)" in inspect.getsource(GRPOTrainer._prepare_inputs)
    source = inspect.getsource(GRPOTrainer._compute_loss)
    assert 'inputs["advantages"]' in source
    assert 'completion_mask * inputs["tool_mask"]' in source
    for name in (hook, "_get_train_sampler", "_send_telemetry", "create_model_card", "compute_loss"):
        assert name in StepGrpo.__dict__
        assert hasattr(GRPOTrainer, name), f"{name} overrides nothing"


def test_an_advantage_for_every_token_reaches_the_loss(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    batch = batch_of(made)
    assert batch["advantages"].shape == batch["completion_ids"].shape
    assert any(len(set(row.tolist())) > 2 for row in batch["advantages"]), (
        "one number a row would be sequence mode"
    )
    before = gradients(made.model, made.compute_loss(made.model, batch))
    late = batch["advantages"].clone()
    late[:, -3:] += 1.0
    other = gradients(made.model, made.compute_loss(made.model, batch | {"advantages": late}))
    assert any(not torch.allclose(before[name], other[name]) for name in before)


@pytest.mark.parametrize("alike", [0, 3])
def test_the_batched_loss_and_its_gradient_equal_the_row_by_row_reference(tmp_path: Path, alike: int) -> None:
    made = trainer(tmp_path, alike=alike)
    batch = batch_of(made)
    assert int((~batch["tool_mask"].any(dim=1)).sum()) == alike
    moved(made.model)
    start = load(model_folder("tiny")).model
    wanted = row_by_row(made, batch, start)
    expected = gradients(made.model, wanted)
    found = made.compute_loss(made.model, batch)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients(made.model, found).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_kl_has_a_gradient_of_its_own(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    batch = batch_of(made)
    batch["advantages"] = torch.zeros_like(batch["advantages"])
    still = gradients(made.model, made.compute_loss(made.model, batch))
    assert max(float(g.abs().max()) for g in still.values()) < 1e-5, "at the start KL is at its minimum"
    moved(made.model)
    loss = made.compute_loss(made.model, batch)
    assert loss.item() > 0
    assert max(float(g.abs().max()) for g in gradients(made.model, loss).values()) > 1e-4


def test_without_beta_no_reference_is_computed(tmp_path: Path) -> None:
    made = trainer(tmp_path, beta=0.0)
    assert made.ref_model is None
    assert "ref_per_token_logps" not in batch_of(made)


def test_an_adapter_switched_off_is_the_merged_start(tmp_path: Path) -> None:
    made = trainer(tmp_path, method="lora", lora_rank=4, lora_alpha=8)
    assert made.ref_model is None
    moved(made.model)
    batch = batch_of(made)
    start = load(model_folder("tiny")).model
    for row in range(len(batch["completion_ids"])):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        answer = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        found = batch["ref_per_token_logps"][row, : len(answer)]
        torch.testing.assert_close(found, log_probs(start, prompt, answer), rtol=1e-4, atol=1e-4)


def test_sequence_mode_gives_what_trl_itself_computes(tmp_path: Path) -> None:
    made = trainer(tmp_path, advantage="sequence")
    batch = batch_of(made)
    own = batch["advantages"][:, 0]
    torch.testing.assert_close(own, torch.tensor(list(made._logs["advantages"])), rtol=1e-3, atol=1e-3)
    assert (batch["advantages"] == own[:, None]).all()


def test_a_step_without_any_group_moves_no_weight(tmp_path: Path) -> None:
    made = trainer(tmp_path / "none", alike=6)
    before = {name: p.clone() for name, p in made.model.named_parameters()}
    made.train()
    told = made.state.log_history[0]
    assert told["arkloom/dropped"] == 2
    assert (told["kl"], told["entropy"]) == (None, None), "of no row nothing is known"
    assert all(torch.equal(p, before[name]) for name, p in made.model.named_parameters())
    other = trainer(tmp_path / "some", alike=3)
    other.train()
    assert any(not torch.equal(p, before[name]) for name, p in other.model.named_parameters())


@pytest.mark.parametrize("alike", [0, 3])
def test_passes_of_a_step_change_neither_loss_nor_weights_nor_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: int
) -> None:
    one = trainer(tmp_path / "one", alike=alike)
    monkeypatch.setattr("arkloom.grpo.trainer.PASS_TOKENS", 80)
    many = trainer(tmp_path / "many", alike=alike)
    assert (one.args.gradient_accumulation_steps, many.args.gradient_accumulation_steps) == (1, 6)
    for each in (one, many):
        moved(each.model)
        each.train()
    a, b = (each.state.log_history[0] for each in (one, many))
    assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    assert a["kl"] > 1e-3
    for name in ("kl", "entropy", "clip_ratio/region_mean"):
        assert a[name] == pytest.approx(b[name], rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("method", ["full", "lora"])
def test_kl_is_measured_against_the_merged_start(tmp_path: Path, method: str) -> None:
    setting = ModelConfig(adapter=str(adapter_at(tmp_path / "adapter", model_folder("tiny"))))
    made = trainer(tmp_path, setting=setting, method=method)
    batch = batch_of(made)
    made.compute_loss(made.model, batch)
    (kl, _) = made._measured["kl"][0]
    assert kl == pytest.approx(0.0, abs=1e-6), "nothing has been learned yet"


def test_a_loss_that_is_not_finite_ends_with_one_line(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    batch = batch_of(made)
    batch["advantages"][0, 0] = float("nan")
    with pytest.raises(
        ArkloomError, match=r"^training: the loss is nan at step 1\. Lower grpo.learning_rate"
    ):
        made.compute_loss(made.model, batch)


def test_logits_that_are_not_finite_end_with_one_line(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    with torch.no_grad():
        next(made.model.parameters()).fill_(float("nan"))
    with pytest.raises(ArkloomError, match=r"^training: the student gives no finite logits at step 1"):
        batch_of(made)
