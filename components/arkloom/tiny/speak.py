"""Lets the tiny model answer many chats at once, for its checks (the stages use an engine)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from arkloom.errors import BadInputError
from arkloom.records import Message

MAX_NEW_TOKENS = 72
BATCH = 256


class Speaker:
    """A model folder in float32, sampled in batches of about the same length.

    Args:
        folder: Hugging Face model folder with a chat template.
        seed: Of all that it samples, in the order it is asked.
        temperature: Of the sampling; 0 is greedy.

    Raises:
        BadInputError: The folder holds no model or no tokenizer.
    """

    def __init__(self, folder: Path, *, seed: int, temperature: float) -> None:
        for needed in ("config.json", "tokenizer.json"):
            if not (folder / needed).is_file():
                raise BadInputError(f"model folder without {needed}", where=str(folder))
        self._words = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._temperature = temperature
        self._seed = seed

    def answer(self, chats: Sequence[tuple[Message, ...]]) -> list[str]:
        """One answer a chat, in the order of the chats."""
        torch.manual_seed(self._seed)
        self._seed += 1
        texts = [
            self._words.apply_chat_template(
                [message.model_dump() for message in chat], add_generation_prompt=True, tokenize=False
            )
            for chat in chats
        ]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        answers = [""] * len(texts)
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            for i, text in zip(chosen, self._batch([texts[i] for i in chosen]), strict=True):
                answers[i] = text
        return answers

    def _batch(self, texts: list[str]) -> list[str]:
        inputs = self._words(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
        with torch.inference_mode():
            drawn = self._model.generate(
                **inputs,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=self._temperature > 0,
                temperature=self._temperature or None,
                top_k=0,
            )
        answers: list[str] = self._words.batch_decode(
            drawn[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return answers
