"""The transformers engine with the shipped tiny model."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from arkloom import config as configs
from arkloom.engines import open_engine
from arkloom.engines.models import model_folder
from arkloom.engines.protocol import Completion, Request, Sampling
from arkloom.engines.transformers import TransformersEngine
from arkloom.errors import ArkloomError, BadInputError
from arkloom.records import Message
from debates import held, problems, small

pytestmark = pytest.mark.chain
QUESTIONS = ["2+7*5+3-4*6", "1+1*1+1-1*1", "9+8*7+6-5*4", "3+3*3+3-3*3", "7+2*9+4-8*6"]


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    folder = model_folder("tiny")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def requests(sampling: Sampling, count: int = 24) -> list[Request]:
    """Prompts of many lengths."""
    made = []
    for seed in range(count):
        question = QUESTIONS[seed % len(QUESTIONS)] + "+1*1" * (seed % 11)
        made.append(Request((Message(role="user", content=question),), sampling, seed))
    return made


def spoken(
    tiny: tuple[Any, Any], asked: Sequence[Request], batch: int = 8, threads: int = 1
) -> list[Completion]:
    engine = TransformersEngine(*tiny, batch=batch, threads=threads)

    async def all_at_once() -> list[Completion]:
        try:
            return await asyncio.gather(*(engine.generate(request) for request in asked))
        finally:
            await engine.close()

    return asyncio.run(all_at_once())


def test_greedy_completions_equal_generate(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    asked = requests(Sampling(max_tokens=48), 6)
    for request, completion in zip(asked, spoken(tiny, asked), strict=True):
        chat = [message.model_dump() for message in request.messages]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
        length = prompt["input_ids"].shape[1]
        output = model.generate(**prompt, max_new_tokens=48, do_sample=False)[0, length:]
        assert completion.text == tokenizer.decode(output, skip_special_tokens=True).strip()
        assert completion.prompt_tokens == length
        assert completion.completion_tokens == len(output)
        assert completion.finish_reason == ("stop" if output[-1] == tokenizer.eos_token_id else "length")


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (3, 1), (24, 1), (16, 2), (7, 3)])
def test_completions_do_not_depend_on_batching(tiny: tuple[Any, Any], batch: int, threads: int) -> None:
    asked = requests(Sampling(max_tokens=12, temperature=1.0, top_p=0.95))
    together = spoken(tiny, asked, batch=8)
    assert spoken(tiny, asked[::-1], batch, threads)[::-1] == together
    assert len({completion.text for completion in together}) > len(QUESTIONS)


def test_seed_alone_decides_a_draw(tiny: tuple[Any, Any]) -> None:
    (request,) = requests(Sampling(max_tokens=24, temperature=1.0), 1)
    drawn = spoken(tiny, [replace(request, seed=seed) for seed in (1, 2, 1, 2**62)])
    assert drawn[0] == drawn[2]
    assert len({completion.text for completion in drawn}) > 1


def test_debates_do_not_depend_on_batching(tiny: tuple[Any, Any]) -> None:
    rules = small(agents=3, rounds=2)
    some = problems(6)
    first, second = (
        held(some, rules, TransformersEngine(*tiny, batch=batch, slots=slots, threads=threads))  # type: ignore[arg-type]
        for batch, slots, threads in ((4, 4, 1), (64, 64, 2))
    )
    assert first == second
    assert all(debate.error is None for debate in first)


def test_prompts_go_through_the_models_own_chat_template(tiny: tuple[Any, Any]) -> None:
    engine = TransformersEngine(*tiny)
    chat = (Message(role="system", content="p1"), Message(role="user", content="1+1"))
    expected = tiny[1].apply_chat_template(
        [message.model_dump() for message in chat], add_generation_prompt=True, tokenize=True
    )
    assert engine.count(chat) == len(expected["input_ids"])
    assert engine.truncate("12+34", 3) == "12+"
    assert engine.truncate("12+34", 0) == ""
    assert engine.truncate("12", 9) == "12"


def test_a_template_without_system_role_gets_it_in_the_first_question(tiny: tuple[Any, Any]) -> None:
    strict = AutoTokenizer.from_pretrained(model_folder("tiny"))
    refuse = "{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('no system') }}{%- endif -%}"
    strict.chat_template = refuse + strict.chat_template
    engine, plain = TransformersEngine(tiny[0], strict), TransformersEngine(*tiny)
    chat = (Message(role="system", content="p1"), Message(role="user", content="1+1"))
    assert engine.count(chat) == plain.count((Message(role="user", content="p1\n\n1+1"),))


def test_an_adapter_is_merged(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(model_folder("tiny"), dtype=torch.float32)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(base, settings)
    adapted.save_pretrained(tmp_path)
    config = configs.load("smoke", None, [f"models.teacher.adapter={tmp_path}", "runtime.threads=1"])
    engine = open_engine(config, config.models.teacher)
    (request,) = requests(Sampling(max_tokens=24), 1)
    (merged,) = spoken((adapted.merge_and_unload().eval(), tiny[1]), [request])
    assert asyncio.run(engine.generate(request)) == merged
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(BadInputError, match=r"no adapter_model\.safetensors"):
        open_engine(config, config.models.teacher)


def test_the_context_is_never_overrun(tiny: tuple[Any, Any]) -> None:
    engine = TransformersEngine(*tiny)
    length = engine.context_length
    shell = engine.count((Message(role="user", content=""),))
    fits, full = ((Message(role="user", content="1" * (length - shell - room)),) for room in (3, 0))
    (completion,) = spoken(tiny, [Request(fits, Sampling(max_tokens=99, temperature=1.0), 1)])
    assert completion.completion_tokens <= 3
    with pytest.raises(BadInputError, match="fills the context"):
        spoken(tiny, [Request(full, Sampling(max_tokens=1), 1)])


def test_a_failing_model_is_one_clear_error_for_all_who_wait(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(type(tiny[0]), "forward", broken)
    for debate in held(problems(5), small(), TransformersEngine(*tiny, threads=2)):  # type: ignore[arg-type]
        assert debate.error is not None
        assert debate.error.message == "the model failed: out of memory"


def test_requests_in_flight_end_when_the_engine_closes(tiny: tuple[Any, Any]) -> None:
    engine = TransformersEngine(*tiny, batch=2)

    async def close_early() -> list[Any]:
        asked = [asyncio.ensure_future(engine.generate(r)) for r in requests(Sampling(max_tokens=400), 6)]
        await asyncio.sleep(0)
        await engine.close()
        return await asyncio.gather(*asked, return_exceptions=True)

    assert all(isinstance(end, Completion | ArkloomError) for end in asyncio.run(close_early()))


def test_a_folder_that_cannot_serve_is_named(tmp_path: Path) -> None:
    config = configs.load("smoke")
    folder = tmp_path / "model"
    shutil.copytree(model_folder("tiny"), folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInputError, match="cannot load the model"):
        open_engine(config, folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}')
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(BadInputError, match="no chat template"):
        open_engine(config, folder)
