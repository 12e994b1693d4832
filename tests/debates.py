"""Small societies and problems that the debate tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from arkloom.config import RunConfig, load
from arkloom.engines.protocol import Completion, Request
from arkloom.engines.scripted import ScriptedEngine
from arkloom.errors import ArkloomError
from arkloom.protocol import Society, Timing, hold, society
from arkloom.records import Debate, Problem


def problems(count: int) -> list[Problem]:
    """Sums whose gold is known."""
    return [
        Problem(dataset="sums", split="train", question=f"{i}+{i + 1}", gold=str(2 * i + 1))
        for i in range(count)
    ]


def small(agents: int = 3, rounds: int = 3, config: RunConfig | None = None, **changes: Any) -> Society:
    """A society with the tiny prompts, each agent shown its own answer and the others' apart."""
    settings = [f"debate.agents={agents}", f"debate.rounds={rounds}", "prompts.layout=chat"]
    config = config or load("smoke", None, settings)
    return replace(society(config), **changes)


def by_seed(choices: int = 3) -> Callable[[Request], str]:
    """Says a number drawn from the request's seed, and which request it answers."""
    return lambda request: f"turn {request.seed} says\n#### {request.seed % choices}"


class MortalEngine(ScriptedEngine):
    """Answers so many requests, then fails for ever, as an engine whose model died does."""

    def __init__(self, lives: int) -> None:
        super().__init__(by_seed())
        self._lives = lives

    async def generate(self, request: Request) -> Completion:
        self._lives -= 1
        if self._lives < 0:
            raise ArkloomError("the model failed")
        return await super().generate(request)


def held(
    some: list[Problem], rules: Society, engine: ScriptedEngine | None = None, **options: Any
) -> list[Debate]:
    """All debates, sorted by id."""
    kept: list[Debate] = []

    def record(debate: Debate, _: Timing) -> None:
        kept.append(debate)

    hold(some, rules, engine or ScriptedEngine(by_seed()), record, **options)
    return sorted(kept, key=lambda debate: debate.id)
