"""The model that learns: what opens, with its adapter merged, and what is saved."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from arkloom.config import ModelConfig, RuntimeConfig
from arkloom.config import load as load_config
from arkloom.engines import open_engine
from arkloom.engines.protocol import Completion, Request, Sampling
from arkloom.engines.transformers import TransformersEngine
from arkloom.errors import ArkloomError, BadInputError
from arkloom.prm.make import _begin as begin
from arkloom.steps.model import Prm
from arkloom.training.encode import encode
from arkloom.training.loss import rsft
from arkloom.training.packing import collate
from arkloom.training.quiet import quieten
from arkloom.training.student import adapt, load, open_student
from small_models import adapter_at, model, model_at, row, tokenizer


def asked() -> dict[str, torch.Tensor]:
    """Two rows as a forward pass takes them."""
    batch = collate([rsft(encode(tokenizer("tiny"), row(n))) for n in range(2)], "padded")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def test_a_merged_adapter_gives_what_the_adapter_gave(tmp_path: Path) -> None:
    student = load(model_at(tmp_path / "base"))
    frozen = {name: p.clone() for name, p in student.model.named_parameters()}
    adapt(student, rank=4, alpha=8)
    trained = [name for name, p in student.model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 7 * 2  # A and B of seven linear layers in each of two blocks
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in student.model.parameters():
            if p.requires_grad:
                p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    fields = asked()
    adapted = student.model(**fields).logits.detach()
    base = load(tmp_path / "base").model(**fields).logits.detach()
    student.save(tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(merged(**fields).logits, adapted, rtol=1e-3, atol=1e-3)
    assert (adapted - base).abs().max() > 0.1
    assert {name for name, _ in merged.named_parameters()} == set(frozen)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_student_is_saved_in_the_dtype_it_was_stored_in(tmp_path: Path, dtype: torch.dtype) -> None:
    student = load(model_at(tmp_path / "base", dtype=dtype))
    assert {p.dtype for p in student.model.parameters()} == {torch.float32}
    student.save(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert {p.dtype for p in again.parameters()} == {dtype}


def test_a_weight_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    student = load(model_at(tmp_path / "base"))
    with torch.no_grad():
        next(student.model.parameters())[0, 0] = float("nan")
    with pytest.raises(ArkloomError, match=r"embed_tokens\.weight is not finite"):
        student.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_model_folder_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BadInputError, match="no chat template"):
        load(folder)
    with pytest.raises(BadInputError, match="no model loads from here"):
        load(tmp_path)


def adapted(folder: Path) -> ModelConfig:
    base = model_at(folder / "base")
    return ModelConfig(name=str(base), adapter=str(adapter_at(folder / "adapter", base)))


def said(engine: TransformersEngine) -> list[Completion]:
    chats = [row(number).messages[:-1] for number in range(3)]
    return [asyncio.run(engine.generate(Request(chat, Sampling(max_tokens=12), 1))) for chat in chats]


def test_a_student_starts_as_an_engine_answers(tmp_path: Path) -> None:
    setting = adapted(tmp_path)
    student, plain = open_student(setting), load(Path(setting.name))
    engine = open_engine(load_config("smoke", None, ["runtime.threads=1"]), setting)
    own, without = (TransformersEngine(each.model.eval(), each.tokenizer) for each in (student, plain))
    answers = [said(each) for each in (engine, own, without)]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2], "the adapter changes what is said"
    names = [name for name, _ in plain.model.named_parameters()]
    assert [name for name, _ in student.model.named_parameters()] == names


def test_a_prm_begins_on_the_merged_weights(tmp_path: Path) -> None:
    setting = adapted(tmp_path)
    trunk = Prm.new(Path(setting.name), setting.adapter).model.base_model
    student = open_student(setting).model.base_model
    for (name, a), b in zip(trunk.named_parameters(), student.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("section", ["prm.init", "models.student"])
def test_the_stage_prm_begins_on_the_adapter_it_is_told(tmp_path: Path, section: str) -> None:
    setting = adapted(tmp_path)
    told = f"{{name: '{setting.name}', adapter: '{setting.adapter}'}}"
    trunk = begin(load_config("smoke", None, [f"{section}={told}"]), {}).model.base_model
    student = open_student(setting).model.base_model
    for (name, a), b in zip(trunk.named_parameters(), student.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_another_adapter_learns_on_a_merged_one(tmp_path: Path) -> None:
    setting = adapted(tmp_path)
    student, start = open_student(setting), open_student(setting).model
    adapt(student, rank=2, alpha=4)  # it begins as nothing
    student.save(tmp_path / "saved")
    saved = load(tmp_path / "saved").model
    for (name, a), b in zip(saved.named_parameters(), start.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not list((tmp_path / "saved").glob("adapter*"))


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_without_its_files_is_refused(tmp_path: Path, lost: str) -> None:
    setting = adapted(tmp_path)
    (tmp_path / "adapter" / lost).unlink()
    with pytest.raises(BadInputError, match=rf"no {lost} here"):
        open_student(setting)


def test_an_adapter_of_another_model_is_refused_in_one_line(tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    model(hidden=64).save_pretrained(wide)
    setting = ModelConfig(
        name=str(model_at(tmp_path / "base")), adapter=str(adapter_at(tmp_path / "a", wide))
    )
    with pytest.raises(BadInputError, match="the adapter does not fit") as caught:
        open_student(setting)
    assert "\n" not in str(caught.value)


def test_weights_in_a_pickle_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "base")
    torch.save(model().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInputError, match=r"no model loads from here.*safetensors") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_threads_are_as_configured_else_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr("arkloom.training.quiet.cores", lambda: 4)
    try:
        for runtime, threads in (({"threads": 3}, 3), ({}, 4), ({"parallel": 2}, 4)):
            quieten(RuntimeConfig(**runtime))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
