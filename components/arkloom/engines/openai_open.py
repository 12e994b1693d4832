"""Finds out what endpoints serve, and opens an engine on those that serve the model."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arkloom.config import ModelConfig, RunConfig
from arkloom.engines.endpoints import Endpoint, no_endpoint
from arkloom.engines.models import is_here, model_folder
from arkloom.engines.openai import OpenAIEngine
from arkloom.engines.openai_tokens import Ask, ByteTokens, FolderTokens, ServerTokens, Tokens
from arkloom.engines.openai_wire import KEY, UnservedError, Wire, at_once, is_vllm
from arkloom.errors import ArkloomError, BadInputError

_ASK_EVERY_S = 2.0
_UNKNOWN_CONTEXT = 4096


def load(config: RunConfig, model: ModelConfig) -> OpenAIEngine:
    """An engine on the endpoints that ``config.runtime`` names for the model.

    Waits ``runtime.patience`` seconds for the first endpoint; others may come later.

    Raises:
        BadInputError: No endpoint is named, an url is none, one serves another model, or denies the key.
        ResumeError: No endpoint answers.
    """
    runtime = config.runtime
    urls = endpoint_urls(runtime.endpoints, model.name)
    endpoints = [Endpoint(url=url, model="", most=runtime.slots) for url in urls]
    contexts = at_once(lambda wire: _meet(wire, endpoints, model, runtime.patience))
    known = next(endpoint.model for endpoint in endpoints if endpoint.model)
    for endpoint in endpoints:
        endpoint.model = endpoint.model or known  # asked for when it comes
    folder = _folder(model)
    context = min(contexts) if contexts else _configured(folder)
    if runtime.context_tokens is not None:
        context = min(context or runtime.context_tokens, runtime.context_tokens)
    return OpenAIEngine(
        endpoints,
        _tokens(folder, endpoints),
        context or _UNKNOWN_CONTEXT,
        slots=runtime.slots,
        seconds=runtime.request_seconds,
        patience=runtime.patience,
    )


def endpoint_urls(endpoints: Sequence[str] | Mapping[str, Sequence[str]], name: str) -> list[str]:
    """The urls that ``runtime.endpoints`` names for a model, each once, up to and with ``/v1``.

    Raises:
        BadInputError: There are none, or one is no url of an endpoint.
    """
    where = "config runtime.endpoints"
    if isinstance(endpoints, Mapping):
        if name not in endpoints:
            raise BadInputError(f"no endpoint for the model {name!r}", where=where)
        where, endpoints = f"{where}.{name}", endpoints[name]
    if not endpoints:
        raise BadInputError("no endpoint", where=where, mend="Give urls such as http://localhost:8000/v1")
    urls = [url.rstrip("/") for url in endpoints]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise BadInputError(f"{url!r} is no endpoint", where=where, mend="Write http(s)://host:port/v1")
        if parts.username is not None or parts.password is not None:
            raise BadInputError("an url with a password", where=where, mend=f"Set {KEY} instead")
    return list(dict.fromkeys(url if url.endswith("/v1") else f"{url}/v1" for url in urls))


async def _meet(wire: Wire, endpoints: Sequence[Endpoint], model: ModelConfig, patience: float) -> list[int]:
    """Ask every endpoint what it serves until one answers; their context lengths, where they tell."""
    until = time.monotonic() + patience
    while True:
        found = await asyncio.gather(*(ask(wire, endpoint, model) for endpoint in endpoints))
        if any(endpoint.alive for endpoint in endpoints):
            return [context for context in found if context is not None]
        if time.monotonic() > until:
            raise no_endpoint(endpoints)
        await asyncio.sleep(_ASK_EVERY_S)


async def ask(wire: Wire, endpoint: Endpoint, model: ModelConfig) -> int | None:
    """Learn what an endpoint serves; one that does not answer is not alive afterwards, and says why.

    Returns:
        Its context length in tokens, where it tells.

    Raises:
        BadInputError: It serves another model, denies the key, or is no OpenAI server.
    """
    try:
        served = await wire.models(endpoint.url)
    except UnservedError as fault:
        endpoint.alive, endpoint.reason = False, fault.told
        if fault.kind in {"denied", "refused", "absent"}:
            raise BadInputError(fault.told, where=endpoint.url, mend=mend_of(fault)) from fault
        return None
    card = _card(served, model)
    if card is None:
        names = ", ".join(str(one["id"]) for one in served) or "nothing"
        raise BadInputError(
            f"it serves {names}, not {model.adapter or model.name}",
            where=endpoint.url,
            mend="Start the server with --served-model-name, or name its model",
        )
    endpoint.alive, endpoint.model = True, str(card["id"])
    endpoint.own = is_vllm(card)
    base = next(
        (one for one in served if one["id"] == card.get("parent")), card
    )  # an adapter's card tells less
    length = card.get("max_model_len") or base.get("max_model_len")
    return int(length) if isinstance(length, int) and length > 0 else None


def mend_of(fault: UnservedError) -> str:
    """What to do where an endpoint will not serve."""
    return f"Set {KEY}, or {KEY}_FILE" if fault.kind == "denied" else "Is it an OpenAI server?"


def _card(served: Sequence[Mapping[str, Any]], model: ModelConfig) -> Mapping[str, Any] | None:
    """The served model that is meant: by its name, by the folder it was loaded from, by the folder's name."""
    wanted = model.adapter or model.name
    named = [card for card in served if card["id"] == wanted]
    loaded = [card for card in served if card.get("root") == wanted or card["id"] == Path(wanted).name]
    return next(iter((*named, *loaded)), None)


def _folder(model: ModelConfig) -> Path | None:
    return model_folder(model.name) if is_here(model.name) else None  # the server alone has it


def _tokens(folder: Path | None, endpoints: Sequence[Endpoint]) -> Tokens:
    if folder is not None:
        try:
            return FolderTokens(folder)
        except (ImportError, ValueError, OSError, KeyError):
            pass  # the server knows its own tokenizer

    try:
        return ServerTokens(asker(endpoints), next(one.model for one in endpoints if one.alive))
    except (ArkloomError, KeyError, TypeError, ValueError):
        return ByteTokens()


def asker(endpoints: Sequence[Endpoint]) -> Ask:
    """Posts to one endpoint or another; one that was lost is asked last from then on.

    Every question holds its caller up: an endpoint that is frozen may do so once, not for every prompt.
    """
    order = tuple(sorted(endpoints, key=lambda one: not one.alive))

    def post(path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal order
        fault: UnservedError | None = None
        for endpoint in order:
            try:
                return at_once(partial(Wire.ask, url=endpoint.root + path, body=body))
            except UnservedError as one:
                fault = fault or one
                if one.kind == "lost":
                    order = (*(other for other in order if other is not endpoint), endpoint)
        raise ArkloomError(fault.told if fault else "", where=path) from fault

    return post


def _configured(folder: Path | None) -> int | None:
    """The context length in a model's ``config.json``."""
    if folder is None:
        return None
    try:
        shape = json.loads((folder / "config.json").read_text("utf-8"))
        return int((shape.get("text_config") or shape)["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
