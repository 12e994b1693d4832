"""Models behind HTTP endpoints that speak OpenAI's chat completions: vLLM, one server or many.

What a server cannot do now is tried again: at once where a kept connection had been closed, at another
endpoint where one is gone, after a random pause that grows where it is busy or failed. A turn is lost only
when every try of it fails. When no endpoint answers for ``runtime.patience`` seconds, the work stops, to be
resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from arkloom.engines.chats import merged
from arkloom.engines.endpoints import Endpoint, Pool
from arkloom.engines.openai_tokens import Tokens
from arkloom.engines.openai_wire import KEY, UnservedError, Wire, is_vllm
from arkloom.engines.protocol import Completion, Request, most_tokens
from arkloom.engines.thinking import split_thinking
from arkloom.errors import ArkloomError, BadInputError
from arkloom.records import Message
from arkloom.telemetry.meters import EndpointMeter, count_retry

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0  # before jitter
# What a try without an answer weighs, and the most for one request: a server may be killed many times under
# it, but one that lives and fails will fail again.
_WEIGHT = {"failed": 3, "late": 3, "absent": 3, "lost": 1}
_MOST_WEIGHT = 24
_ASK_EVERY_S = 2.0
_MISSED = 3  # questions after its queue that were not answered, before a server counts as gone
_CHARACTERS_A_TOKEN = 4
# As metrics name them.
_REASONS = {"lost": "disconnect", "busy": "429", "failed": "5xx", "late": "timeout", "absent": "404"}


class OpenAIEngine:
    """Serves one model through endpoints (see the module).

    Args:
        endpoints: That serve the model; at least one.
        tokens: Counts what they will read.
        context_length: Tokens of prompt and completion.
        slots: Requests at once.
        seconds: Time for one answer.
        patience: Seconds without any endpoint, at most.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        tokens: Tokens,
        context_length: int,
        *,
        slots: int,
        seconds: float = 900,
        patience: float = 600,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.retries: Counter[str] = Counter()
        self._tokens, self._context, self._slots = tokens, context_length, slots
        self._seconds, self._patience = seconds, patience
        self._tickets = itertools.count()
        self._line: _Line | None = None

    @property
    def slots(self) -> int:
        """How many requests the engine works on at once; more only wait."""
        return self._slots

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and completion together."""
        return self._context

    def count(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the chat as the model sees it."""
        return self._tokens.count(messages)

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest prefix of ``text`` of at most ``max_tokens`` tokens."""
        return self._tokens.truncate(text, max_tokens)

    async def generate(self, request: Request) -> Completion:
        """Complete one chat; ``max_tokens`` is cut to what the context leaves.

        Raises:
            BadInputError: The prompt alone fills the context, or the server refuses it.
            ResumeError: No endpoint answers.
            ArkloomError: Every try failed.
        """
        line = self._here()
        room = await self._room(request)
        work = room + sum(len(m.content) for m in request.messages) // _CHARACTERS_A_TOKEN
        tries, ticket = _Tries(self._patience), next(self._tickets)
        endpoint: Endpoint | None = None
        while True:
            endpoint = await line.pool.enter(ticket, work, endpoint)
            sent, served = time.monotonic(), False
            line.meters[endpoint.url].begin()
            try:
                answer = await line.wire.complete(
                    endpoint, self._body(endpoint, request, room), self._seconds
                )
                completion = self._completion(answer)
                endpoint.answered()
                served = True
                return completion
            except UnservedError as fault:
                line.blame(endpoint, fault, sent)
                pause = tries.pause(fault, endpoint)
                self.retries[fault.kind] += 1
                count_retry(_REASONS.get(fault.kind, fault.kind))
            finally:
                line.meters[endpoint.url].end(served)
                line.pool.leave(endpoint, work)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the connections; requests in flight are dropped."""
        line, self._line = self._line, None
        if line is not None and line.loop is asyncio.get_running_loop():
            await line.close()

    def _here(self) -> _Line:
        """The connections of the running event loop: a stage may run one after another."""
        loop = asyncio.get_running_loop()
        if self._line is None or self._line.loop is not loop:
            self._line = _Line(loop, self.endpoints, self._slots, self._patience, self._context)
        return self._line

    async def _room(self, request: Request) -> int:
        asked = request.sampling.max_tokens
        if most_tokens(request.messages) + asked <= self._context:
            return asked
        prompt = await asyncio.to_thread(self._tokens.count, request.messages)
        room = min(asked, self._context - prompt)
        if room < 1:
            raise BadInputError("the prompt fills the context", where=f"{prompt} of {self._context} tokens")
        return room

    def _body(self, endpoint: Endpoint, request: Request, room: int) -> dict[str, Any]:
        messages = merged(request.messages) if self._tokens.merges else request.messages
        body = {
            "model": request.adapter or endpoint.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": room,
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "seed": request.seed,
        }
        if endpoint.own:  # or a model's generation_config.json would change how answers are drawn
            body |= {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
        return body

    def _completion(self, answer: Mapping[str, Any]) -> Completion:
        try:
            choice, usage = answer["choices"][0], answer["usage"]
            message, ending = choice["message"], choice["finish_reason"]
            if ending not in {"stop", "length"}:
                raise UnservedError("failed", f"it ended with {ending!r}")
            thought = message.get("reasoning") or message.get("reasoning_content")
            text, thinking = split_thinking(message.get("content") or "", self._tokens.opens and not thought)
            details = usage.get("prompt_tokens_details") or {}
            return Completion(
                text=text,
                finish_reason=ending,
                prompt_tokens=int(usage["prompt_tokens"]),
                completion_tokens=int(usage["completion_tokens"]),
                thinking=thought or thinking,
                cached_tokens=int(details.get("cached_tokens") or 0),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise UnservedError("failed", f"its answer lacks {error}") from error


class _Tries:
    """What has gone wrong with one request so far, and how long to wait before it is tried again."""

    def __init__(self, patience: float) -> None:
        self._patience, self._until = patience, 0.0
        self._weight = self._pauses = 0

    def pause(self, fault: UnservedError, endpoint: Endpoint) -> float:
        """Seconds to wait.

        Raises:
            BadInputError: The server will never serve this request.
            ArkloomError: Enough was tried.
        """
        where = endpoint.url
        if fault.kind == "refused":
            raise BadInputError(fault.told, where=where) from fault
        if fault.kind == "denied":
            raise ArkloomError(fault.told, where=where, mend=f"Set {KEY}, or {KEY}_FILE") from fault
        now = time.monotonic()
        self._until = self._until or now + self._patience
        self._weight += _WEIGHT.get(fault.kind, 0)
        if self._weight > _MOST_WEIGHT or (fault.kind == "busy" and now > self._until):
            raise ArkloomError(f"{fault.told} (tried {self._pauses + 1} times)", where=where) from fault
        self._pauses += 1
        if not endpoint.alive:
            return 0.0  # it waits for another one, or for this one to come back
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._pauses)
        return fault.pause + random.uniform(0, longest)  # noqa: S311 - jitter, no secret


class _Line:
    """What belongs to one event loop: connections, places, and a watch on each endpoint."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoints: Sequence[Endpoint],
        slots: int,
        patience: float,
        context: int,
    ) -> None:
        self.loop, self._patience, self._context = loop, patience, context
        self.wire, self.pool = Wire(), Pool(endpoints, slots)
        self.meters = {endpoint.url: EndpointMeter(endpoint.url) for endpoint in endpoints}
        for endpoint in endpoints:
            self.meters[endpoint.url].healthy(endpoint.alive)
        self._keeper = loop.create_task(self._keep())

    async def close(self) -> None:
        self._keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeper

    def blame(self, endpoint: Endpoint, fault: UnservedError, sent: float) -> None:
        """What a failed request says about its endpoint."""
        alive = endpoint.alive
        if fault.kind == "busy":
            endpoint.busy(sent)
        elif fault.kind in {"failed", "late"}:
            endpoint.failed(fault.told)
        elif fault.kind in {"lost", "absent"}:
            endpoint.gone(fault.told)
        if alive and not endpoint.alive:
            self.meters[endpoint.url].healthy(False)
            _tell(f"{endpoint.url} is gone: {fault.told}")

    async def _keep(self) -> None:
        """Watch until the loop ends, which cancels this; then the connections close with it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for endpoint in self.pool.endpoints:
                    tasks.create_task(self._watch(endpoint))
        except Exception as error:  # nobody would be told that an endpoint is back: do not wait for it
            self.pool.refuse(ArkloomError(f"the endpoints are watched no more ({error})"))
            raise
        finally:
            await self.wire.close()

    async def _watch(self, endpoint: Endpoint) -> None:
        """Ask a living endpoint after its queue, and a dead one whether it is back."""
        missed = 0
        while True:
            self.pool.give_up(self._patience)
            if endpoint.alive:
                await asyncio.sleep(_ASK_EVERY_S)
            else:
                longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (missed + endpoint.falls))
                await asyncio.sleep(random.uniform(0.5, 1) * longest)  # noqa: S311 - as above
            try:
                await self._ask(endpoint)
                missed = 0
            except UnservedError as fault:
                missed += 1
                if endpoint.alive and missed >= _MISSED:
                    self.blame(endpoint, UnservedError("lost", fault.told), 0.0)
                elif not endpoint.alive:
                    endpoint.reason = fault.told
            self.pool.admit()

    async def _ask(self, endpoint: Endpoint) -> None:
        if endpoint.alive and endpoint.own:
            try:
                endpoint.queue(*await self.wire.queue(endpoint))
                return
            except UnservedError as fault:
                if fault.kind == "lost":
                    raise
                # no metrics here, as behind a gateway: whether it answers at all is asked below
        served = await self.wire.models(endpoint.url)
        card = next((card for card in served if card["id"] == endpoint.model), None)
        if card is None:
            names = ", ".join(str(one["id"]) for one in served)
            raise UnservedError("absent", f"it serves {names}, not {endpoint.model}")
        length = card.get("max_model_len")
        if isinstance(length, int) and length < self._context:
            raise UnservedError("absent", f"its context is {length} tokens, not {self._context}")
        if not endpoint.alive:
            endpoint.own = is_vllm(card)
            endpoint.back()
            self.meters[endpoint.url].healthy(True)
            _tell(f"{endpoint.url} is back")


def _tell(line: str) -> None:
    sys.stderr.write(f"arkloom: {line}\n")
    sys.stderr.flush()
