"""Asks every endpoint of a configuration whether a run can debate on it, before the run depends on it.

Each is asked for its models and for one token, which tells what a list of models does not: whether the key
may speak, whether the model has a chat template, whether the engine behind the door is alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from arkloom.config import ModelConfig, RunConfig
from arkloom.engines.endpoints import Endpoint
from arkloom.engines.openai_open import ask, endpoint_urls, mend_of
from arkloom.engines.openai_wire import UnservedError, Wire, at_once
from arkloom.errors import BadInputError

_ANSWER_S = 10.0
_AWAY = "Start it, or take it out of runtime.endpoints"
_LONGER = "Serve the model with a longer context (arkloom serve --context), or lower max_tokens"
_REFUSED = "Look into the server's log: does its model have a chat template?"
_OF_STUDENT = ("base", "rft_self")  # arms that the untrained student speaks for


@dataclass(frozen=True)
class Probed:
    """What one endpoint said.

    Attributes:
        roles: Who speaks through it: ``teacher``, ``agents 1``, ``student``.
        where: Its url; ``config runtime.endpoints`` where none is named.
        state: ``fail``: a run would refuse it, or no endpoint of its model answers; ``warn``: a run goes on
            without it, or with answers cut.
        told: What was found.
        mend: What to do; empty where nothing is.
    """

    roles: str
    where: str
    state: Literal["ok", "warn", "fail"]
    told: str
    mend: str = ""


@dataclass(frozen=True)
class _Speaker:
    """A model that endpoints must serve.

    Attributes:
        roles: Who speaks with it.
        model: The model.
        tokens: Of its longest prompt, without the question, and its answer.
    """

    roles: str
    model: ModelConfig
    tokens: int


def probe(config: RunConfig) -> tuple[Probed, ...]:
    """Ask all endpoints of all models that ``config`` speaks with at once; takes seconds, never waits longer.

    An endpoint that does not answer fails its model only where no other answers.
    """

    async def asked(wire: Wire) -> list[tuple[Probed, ...]]:
        return await asyncio.gather(*(_probe(wire, config, speaker) for speaker in _speakers(config)))

    return tuple(one for some in at_once(asked) for one in some)


def _speakers(config: RunConfig) -> Iterator[_Speaker]:
    """Each model once, with all its roles."""
    debated = _debated(config)
    several = [(f"agents {number}", model, debated) for number, model in enumerate(config.models.agents)]
    wanted = several or [("teacher", config.models.teacher, debated)]
    if config.debate.voices == "student" or set(_OF_STUDENT) & set(config.evaluate.arms):
        wanted.append(("student", config.models.student, config.evaluate.max_tokens))
    found: dict[tuple[str, str | None], _Speaker] = {}
    for role, model, tokens in wanted:
        name = (model.name, model.adapter)
        known = found.get(name)
        found[name] = (
            _Speaker(role, model, tokens)
            if known is None
            else replace(known, roles=f"{known.roles}, {role}", tokens=max(known.tokens, tokens))
        )
    yield from found.values()


def _debated(config: RunConfig) -> int:
    """Tokens of a debate's last prompt, all answers as long as they may be, and of its answer."""
    rules, most = config.debate, config.debate.max_tokens
    shown = min(config.prompts.peer_token_cap, most)
    if rules.rounds == 1 or rules.protocol == "vote":
        return most
    peers = 0 if rules.peers == "none" else rules.agents - 1
    if config.prompts.layout == "shared":
        return (1 + peers) * shown + most
    return (rules.rounds - 1) * (most + peers * shown) + most


async def _probe(wire: Wire, config: RunConfig, speaker: _Speaker) -> tuple[Probed, ...]:
    try:
        urls = endpoint_urls(config.runtime.endpoints, speaker.model.name)
    except BadInputError as error:
        return (Probed(speaker.roles, error.where or "", "fail", error.what, error.mend),)
    found = await asyncio.gather(*(_ask(wire, url, speaker, config.runtime.context_tokens) for url in urls))
    if any(alive for _, alive in found):
        return tuple(one for one, _ in found)
    return tuple(replace(one, state="fail") for one, _ in found)


async def _ask(wire: Wire, url: str, speaker: _Speaker, most: int | None) -> tuple[Probed, bool]:
    """What an endpoint says, and whether it answers as it should."""
    endpoint, roles = Endpoint(url=url, model="", most=1), speaker.roles
    try:
        context = await ask(wire, endpoint, speaker.model)
    except BadInputError as error:
        return Probed(roles, url, "fail", error.what, error.mend), False
    if not endpoint.alive:
        return Probed(roles, url, "warn", endpoint.reason, _AWAY), False
    late = ""
    try:
        await _speak(wire, endpoint)
    except UnservedError as fault:
        if fault.kind in {"denied", "refused", "absent"}:
            mend = _REFUSED if fault.kind == "refused" else mend_of(fault)
            return Probed(roles, url, "fail", fault.told, mend), False
        if fault.kind in {"lost", "failed"}:
            return Probed(roles, url, "warn", fault.told, _AWAY), False
        late = f"; busy ({fault.told})"
    context = min(context or most or 0, most or context or 0)
    length = f"a context of {context:,} tokens" if context else "a context that it does not tell"
    told = f"serves {endpoint.model}, {length}{late}"
    if context and context <= speaker.tokens:
        told += (
            f", of which a prompt and an answer may take {speaker.tokens:,} beside the question: they are cut"
        )
        return Probed(roles, url, "warn", told, _LONGER), True
    return Probed(roles, url, "ok", told), True


async def _speak(wire: Wire, endpoint: Endpoint) -> None:
    """One token."""
    messages = [{"role": "user", "content": "?"}]
    body = {"model": endpoint.model, "messages": messages, "max_tokens": 1, "temperature": 0.0}
    await wire.complete(endpoint, body, _ANSWER_S)
