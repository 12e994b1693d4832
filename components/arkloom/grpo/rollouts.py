"""What the student is asked, and in which order: a plan that the seed alone decides."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from torch.utils.data import Sampler

from arkloom.canonical import derive_seed
from arkloom.engines.thinking import OPEN
from arkloom.errors import BadInputError
from arkloom.prompts import Prompts
from arkloom.records import Message, Problem


@dataclass(frozen=True, slots=True)
class Prompt:
    """A problem as the student reads it.

    Attributes:
        problem: The problem.
        messages: The chat that asks it.
        ids: The chat's token ids with the generation prompt, [T].
        opened: The generation prompt itself begins a hidden thought.
    """

    problem: Problem
    messages: tuple[Message, ...]
    ids: tuple[int, ...]
    opened: bool

    @property
    def name(self) -> str:
        """How errors name the problem: its id and the beginning of its question."""
        asked = " ".join(self.problem.question.split())
        return f"problem {self.problem.id[:12]} ({asked if len(asked) <= 60 else f'{asked[:59]}…'})"

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages as chat templates take them."""
        return [{"role": message.role, "content": message.content} for message in self.messages]


def ask(problems: Iterable[Problem], prompts: Prompts, tokenizer: Any) -> list[Prompt]:
    """Render every problem through the student's chat template.

    Raises:
        BadInputError: The template refuses the messages.
    """
    asked = []
    for problem in problems:
        messages = prompts.student(problem)
        chat = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise BadInputError(f"the chat template refuses these messages ({error})") from error
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        asked.append(Prompt(problem, messages, tuple(ids), text.rstrip().endswith(OPEN)))
    return asked


def plan(prompts: int, steps: int, each: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """The prompts of every optimiser step: all of them in a seeded order, then again in another.

    Args:
        prompts: How many there are, >= 1.
        steps: Optimiser steps.
        each: Prompts a step.
        seed: Decides the order.

    Returns:
        ``steps`` tuples of ``each`` indices; a resumed training goes on in the same plan.
    """
    order: list[int] = []
    passes = 0
    while len(order) < steps * each:
        fresh = list(range(prompts))
        random.Random(derive_seed(seed, "prompts", passes)).shuffle(fresh)  # noqa: S311 - an order, no secret
        order += fresh
        passes += 1
    return tuple(tuple(order[step * each : (step + 1) * each]) for step in range(steps))


class Planned(Sampler[int]):  # type: ignore[misc] # torch is not typed here
    """The rows of a plan: every prompt of a step G times, group by group, all of it once a forward pass.

    TRL reads the whole step's prompts again for each of its passes and generates at the first.
    """

    def __init__(self, steps: Sequence[Sequence[int]], group: int, passes: int) -> None:
        self._steps, self._group, self._passes = steps, group, passes

    def __iter__(self) -> Iterator[int]:
        for chosen in self._steps:
            for _ in range(self._passes):
                for prompt in chosen:
                    yield from [prompt] * self._group

    def __len__(self) -> int:
        return sum(map(len, self._steps)) * self._group * self._passes
