"""The model that learns: loading it, its adapter, and saving it as a plain checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from arkloom.config import ModelConfig
from arkloom.engines.models import model_folder
from arkloom.errors import ArkloomError, BadInputError
from arkloom.training import checkpoints
from arkloom.training.packing import Layout

_MOST = 200  # letters of a library's message that are passed on


@dataclass
class Student:
    """A causal language model with its tokenizer, in training.

    Attributes:
        model: The module that is trained; with LoRA, the adapted one.
        tokenizer: Fast tokenizer with a chat template.
        stored: The dtype of the checkpoint it came from, in which it is saved again.
    """

    model: Any
    tokenizer: Any
    stored: torch.dtype

    @property
    def layout(self) -> Layout:
        """Flat where the attention kernel skips other rows; elsewhere it would only mask them."""
        return "flat" if "flash" in str(self.model.config._attn_implementation) else "padded"

    def computed(self, dtype: str) -> torch.dtype:
        """The dtype of the forward pass: as configured, or (``auto``) as stored; weights stay float32."""
        return self.stored if dtype == "auto" else getattr(torch, dtype)

    def save(self, folder: Path) -> None:
        """Write a checkpoint that loads without Arkloom; an adapter is merged first.

        Raises:
            ArkloomError: A weight is not finite.
        """
        model = self.model.merge_and_unload() if hasattr(self.model, "merge_and_unload") else self.model
        for name, weight in model.named_parameters():
            if not torch.isfinite(weight).all():
                raise ArkloomError(
                    f"weight {name} is not finite after training", mend="Lower the learning rate"
                )
        model.config.use_cache = True
        with checkpoints.writing(folder):
            model.to(self.stored).save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def open_student(setting: ModelConfig) -> Student:
    """Open a configured model for training, its adapter merged: the weights that an engine answers with.

    Raises:
        BadInputError: As ``load`` says, or the adapter does not fit.
    """
    student = load(model_folder(setting.name))
    if setting.adapter is not None:
        student.model = _merged(student.model, Path(setting.adapter).expanduser())
    return student


def load(folder: Path) -> Student:
    """Open a checkpoint folder for training; its weights are read from safetensors alone.

    Weights are held in float32 whatever the storage: small updates vanish in bfloat16.

    Raises:
        BadInputError: It does not load, or has no fast tokenizer with a chat template.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BadInputError(f"no model loads from here ({_line(error)})", where=str(folder)) from error
    if not tokenizer.is_fast or not tokenizer.chat_template:
        raise BadInputError(
            "the tokenizer has no chat template" if tokenizer.is_fast else "the tokenizer is not a fast one",
            where=str(folder),
            mend="Training needs tokenizer.json with a chat_template",
        )
    config = json.loads((folder / "config.json").read_text())
    stored = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    return Student(model, tokenizer, stored)


def adapt(student: Student, rank: int, alpha: int) -> None:
    """Put a LoRA adapter on every linear layer but the head; only the adapter learns."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - only adapters need it, and it is slow

    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    student.model = get_peft_model(student.model, settings)


def _merged(model: Any, folder: Path) -> Any:
    """The model with the adapter in ``folder`` merged into its weights."""
    from peft import PeftModel  # noqa: PLC0415 - only adapters need it, and it is slow

    for file in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / file).is_file():  # peft would look for it on the hub, or for a pickle
            raise BadInputError(f"no {file} here", where=str(folder), mend="Save the adapter as safetensors")
    try:
        merged = PeftModel.from_pretrained(model, folder, local_files_only=True).merge_and_unload()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BadInputError(f"the adapter does not fit ({_line(error)})", where=str(folder)) from error
    return merged.requires_grad_(True)  # peft froze it beside its adapter


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST]
