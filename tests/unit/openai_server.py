"""A real HTTP server that speaks OpenAI's protocol and misbehaves as it is told, for tests."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]]


@dataclass
class Server:
    """Answers ``said: <last message>``, unless ``behave`` answers in its place.

    Attributes:
        behave: Called before every completion; what it returns is the answer.
        asked: Bodies of the completions asked for.
        running: Completions under way; ``most`` is the largest number of them so far.
        queue: What ``/metrics`` says of requests running and waiting.
        frozen: Takes requests and never answers.
        counts: Has ``/tokenize``: a token a character of a prompt.
    """

    behave: Behaviour | None = None
    model: str = "tiny"
    owner: str = "vllm"
    context: int | None = 4096
    key: str = ""
    seconds: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    running: int = 0
    most: int = 0
    queue: tuple[int, int] = (0, 0)
    port: int = 0
    frozen: bool = False
    metrics: bool = True
    counts: bool = False
    _runner: web.AppRunner | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, port: int = 0) -> None:
        application = web.Application(client_max_size=1 << 26)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_post("/v1/chat/completions", self._complete)
        if self.counts:
            application.router.add_post("/tokenize", self._tokenize)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0, keepalive_timeout=5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Gone, with every connection."""
        if self._runner is not None:
            for connection in list(self._runner.server.connections if self._runner.server else ()):
                connection.force_close()
                if getattr(connection, "transport", None) is not None:
                    connection.transport.abort()
            for task in self._tasks:
                task.cancel()
            await self._runner.cleanup()
        self._runner = None

    def allowed(self, request: web.Request) -> bool:
        return not self.key or request.headers.get("Authorization") == f"Bearer {self.key}"

    async def _thaw(self) -> None:
        while self.frozen:
            await asyncio.sleep(0.01)

    async def _models(self, request: web.Request) -> web.Response:
        self.hits["models"] += 1
        await self._thaw()
        if not self.allowed(request):
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        card = {"id": self.model, "object": "model", "owned_by": self.owner}
        return web.json_response({"data": [card | ({"max_model_len": self.context} if self.context else {})]})

    async def _metrics(self, _: web.Request) -> web.Response:
        self.hits["metrics"] += 1
        await self._thaw()
        if not self.metrics:
            return web.json_response({"detail": "Not Found"}, status=404)
        lines = [f'vllm:num_requests_running{{engine="0"}} {self.queue[0]}.0']
        lines += [f'vllm:num_requests_waiting{{engine="0"}} {self.queue[1]}.0']
        lines += ['vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 1000.0']
        return web.Response(text="\n".join(lines))

    async def _tokenize(self, request: web.Request) -> web.Response:
        self.hits["tokenize"] += 1
        await self._thaw()
        return web.json_response({"count": len((await request.json())["prompt"])})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        body = await request.json()
        self.asked.append(body)
        if not self.allowed(request):
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._thaw()
            if self.behave is not None and (answer := await self.behave(request, body)) is not None:
                return answer
            if self.seconds:
                await asyncio.sleep(self.seconds)
            return web.json_response(answered(body))
        finally:
            self.running -= 1


def answered(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A completion as vLLM words it."""
    said = f"said: {body['messages'][-1]['content']}"
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    return {"choices": [choice], "usage": usage, "model": body["model"]} | changes


@asynccontextmanager
async def servers(count: int = 1, **settings: Any) -> AsyncIterator[list[Server]]:
    """Some servers, stopped at the end."""
    started = [Server(**settings) for _ in range(count)]
    try:
        for server in started:
            await server.start()
        yield started
    finally:
        for server in started:
            await server.stop()


def times(count: int, behaviour: Behaviour) -> Behaviour:
    """``behaviour`` for the first ``count`` completions, then none."""
    left = [count]

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if left[0] <= 0:
            return None
        left[0] -= 1
        return await behaviour(request, body)

    return behave


def status(code: int, message: str = "no", **headers: str) -> Behaviour:
    async def behave(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": message}}, status=code, headers=headers)

    return behave


async def disconnect(request: web.Request, _: dict[str, Any]) -> web.StreamResponse | None:
    assert request.transport is not None
    request.transport.abort()
    return None


async def half(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
    """The beginning of an answer, then nothing."""
    response = web.StreamResponse()
    response.content_length = 10_000
    await response.prepare(request)
    await response.write(json.dumps(answered(body)).encode()[:50])
    return await disconnect(request, body)  # type: ignore[return-value]


def text(content: str) -> Behaviour:
    async def behave(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text=content, content_type="application/json")

    return behave


async def silent(_: web.Request, __: dict[str, Any]) -> web.StreamResponse | None:
    await asyncio.sleep(3600)
    return None
