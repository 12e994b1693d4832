"""Random models and two unlike tokenizers, small enough to make in every test process."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from arkloom.jsonl import write_records
from arkloom.records import Message, Source, TrainingRow
from arkloom.store.local import LocalStore
from arkloom.tiny import tokenizer as tiny

# Unlike the tiny one: trims messages, opens a thought in the generation prompt, writes a line break after a
# turn, and ends turns with a token that is not the one generation stops at.
OTHER_TEMPLATE = (
    "{%- for m in messages -%}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n<think>\n\n</think>\n\n{%- endif -%}"
)
TEXT = "First 7 * 5 = 35, then 3 * 4 = 24.\nSo 2 + 35 + 3 is 40 and 40 - 24 is the answer: 16 <think> #### "


@lru_cache
def other_tokenizer() -> Any:
    """Byte-level BPE with merges across several characters."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [TEXT] * 4, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=special[0],
        pad_token=special[0],
        additional_special_tokens=special[1:],
        chat_template=OTHER_TEMPLATE,
    )


@lru_cache
def tokenizer(name: str) -> Any:
    """``tiny`` or ``other``."""
    return tiny.build(512) if name == "tiny" else other_tokenizer()


def model(name: str = "tiny", seed: int = 0, hidden: int = 32) -> Any:
    """A Llama of two layers with random weights, in float32."""
    coder = tokenizer(name)
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(coder),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=coder.eos_token_id,
            pad_token_id=coder.pad_token_id,
        )
    )


def model_at(folder: Path, name: str = "tiny", dtype: torch.dtype = torch.float32) -> Path:
    """A checkpoint folder of such a model."""
    model(name).to(dtype).save_pretrained(folder)
    tokenizer(name).save_pretrained(folder)
    return folder


def adapter_at(folder: Path, base: Path) -> Path:
    """A LoRA adapter folder for the model in ``base``, with random weights that change what it says."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    network = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings = LoraConfig(r=2, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)
    get_peft_model(network, settings).save_pretrained(folder)
    return folder


def row(number: int) -> TrainingRow:
    """A row of the shape that the filter writes: an arithmetic problem worked out."""
    a, b, c, d, e, f = random.Random(number).choices(range(10), k=6)
    work = f"{b}*{c}={b * c}\n{e}*{f}={e * f}\n{a}+{b * c}={a + b * c}\n"
    return TrainingRow(
        problem_id=f"problem-{number}",
        content_hash=f"hash-{number}",
        messages=(
            Message(role="user", content=f"{a}+{b}*{c}+{d}-{e}*{f}"),
            Message(role="assistant", content=f"{work}#### {a + b * c + d - e * f}"),
        ),
        answer_from=len(work),
        trace_class="stable",
        source=Source(debate=f"debate-{number}", seed=0, agent=0, round=0),
    )


def rows_artifact(
    root: Path,
    rows: list[TrainingRow],
    key: str = "a" * 64,
    ways: Sequence[TrainingRow] = (),
    precision: float | None = None,
) -> str:
    """Publish rows (and ``da`` rows) as the filter would; returns the artifact's uri."""
    workspace = LocalStore(root).workspace("filter", key)
    write_records(workspace.folder / "rsft.jsonl", rows)
    write_records(workspace.folder / "da.jsonl", ways)
    return workspace.publish("rows", parents={}, metrics={"pseudo_label_precision": precision}).uri
