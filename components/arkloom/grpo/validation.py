"""Greedy accuracy on the validation problems: what chooses the best checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from arkloom.answers import extract, grade
from arkloom.engines.thinking import split_thinking
from arkloom.grpo.rollouts import Prompt
from arkloom.steps.tokens import decode

_PASS_ROWS = 128
_PASS_TOKENS = 65_536  # of prompts and completions that are decoded together


class Validation:
    """Problems with a gold, answered greedily.

    Args:
        prompts: The validation problems; those without gold are left out.
        tokenizer: The student's.
        max_tokens: New tokens of an answer.
        stops: Ids of the tokens that end an answer.
    """

    def __init__(self, prompts: Sequence[Prompt], tokenizer: Any, max_tokens: int, stops: list[int]) -> None:
        self._prompts = sorted((p for p in prompts if p.problem.gold is not None), key=lambda p: len(p.ids))
        self._tokenizer, self._most = tokenizer, max_tokens
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stops[0]
        self._pad, self._stops = pad, frozenset(stops)
        self._greedy = GenerationConfig(
            do_sample=False, max_new_tokens=max_tokens, pad_token_id=pad, eos_token_id=stops
        )

    def __len__(self) -> int:
        return len(self._prompts)

    def accuracy(self, model: Any) -> float:
        """Share of right answers; draws nothing, so training goes on as if nobody had asked."""
        was_training = model.training
        model.eval()
        right = 0
        with torch.no_grad():
            for group in self._groups():
                for prompt, ids in zip(group, self._complete(model, group), strict=True):
                    right += self._right(prompt, ids)
        model.train(was_training)
        return right / len(self._prompts)

    def _groups(self) -> Iterator[list[Prompt]]:
        group: list[Prompt] = []
        for prompt in self._prompts:
            full = (len(group) + 1) * (len(prompt.ids) + self._most) > _PASS_TOKENS
            if group and (full or len(group) == _PASS_ROWS):
                yield group
                group = []
            group.append(prompt)
        if group:
            yield group

    def _complete(self, model: Any, group: Sequence[Prompt]) -> list[list[int]]:
        widest = max(len(prompt.ids) for prompt in group)
        ids = torch.full((len(group), widest), self._pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(group):
            ids[row, widest - len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask[row, widest - len(prompt.ids) :] = 1
        told = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=self._greedy,
        )
        return [self._until_stop(row) for row in told[:, widest:].tolist()]

    def _until_stop(self, ids: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(ids) if token in self._stops), len(ids))
        return ids[:end]

    def _right(self, prompt: Prompt, ids: list[int]) -> bool:
        problem = prompt.problem
        said, _ = split_thinking(decode(self._tokenizer, ids), prompt.opened)
        return grade(extract(said, problem.answer_type), problem.gold or "", problem.answer_type)
