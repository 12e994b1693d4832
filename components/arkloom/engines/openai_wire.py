"""Requests to servers that speak OpenAI's protocol, and what their failures mean.

Sessions belong to one event loop. A connection that was kept and that the server has closed meanwhile is no
failure of the server: its request is sent again at once, on a fresh one. So is a request whose key was
rotated while it was under way, with the new key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Literal, TypeVar

import aiohttp

from arkloom.engines.endpoints import Endpoint
from arkloom.secret import secret

KEY = "ARKLOOM_OPENAI_API_KEY"
_KEPT_S = 3.0  # vLLM closes idle connections after five seconds
_CONNECT_S = 10.0
_PROBE_S = 10.0
_MOST_BYTES = 64 << 20  # of one answer
_LONGEST_PAUSE_S = 60.0
_RUNNING, _QUEUED = "vllm:num_requests_running", "vllm:num_requests_waiting"

Kind = Literal["lost", "busy", "failed", "late", "refused", "denied", "absent"]
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)
_STATUS: Mapping[int, Kind] = {401: "denied", 403: "denied", 404: "absent", 408: "failed", 429: "busy"}
_Result = TypeVar("_Result")


class UnservedError(Exception):
    """A request was not served.

    Args:
        kind: ``lost``: no connection, or it broke; ``busy``: come later; ``failed``: the server's own
            failure; ``late``: no answer in time; ``refused``: the request is wrong; ``denied``: the key is;
            ``absent``: no such model.
        told: One line.
        pause: Seconds that the server asks to wait.
    """

    def __init__(self, kind: Kind, told: str, pause: float = 0.0) -> None:
        super().__init__(told)
        self.kind, self.told, self.pause = kind, " ".join(told.split())[:300], pause


class Wire:
    """The connections of one event loop; made and closed in it."""

    def __init__(self) -> None:
        self._key = secret(KEY)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
        pooled = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_S)
        fresh = aiohttp.TCPConnector(limit=0, force_close=True)
        self._sessions = tuple(
            aiohttp.ClientSession(connector=connector, timeout=limits) for connector in (pooled, fresh)
        )

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions:
            await session.close()

    async def complete(self, endpoint: Endpoint, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """One chat completion, as the server words it.

        Raises:
            UnservedError: It was not served within ``seconds``, or the endpoint was found to be gone.
        """
        try:
            async with asyncio.timeout(seconds) as clock:
                endpoint.flights.add(clock)
                try:
                    return await self.post(f"{endpoint.url}/chat/completions", body)
                finally:
                    endpoint.flights.discard(clock)
        except TimeoutError as error:
            told = f"no answer in {seconds:g} s" if endpoint.alive else endpoint.reason
            raise UnservedError("late" if endpoint.alive else "lost", told) from error

    async def post(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post JSON; the answer is a JSON object."""
        return _object(await self._send("POST", url, json.dumps(body).encode()))

    async def ask(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post what a server answers at once; one that is frozen counts as lost."""
        async with _short():
            return await self.post(url, body)

    async def models(self, url: str) -> list[dict[str, Any]]:
        """What the server at ``url`` serves."""
        async with _short():
            served = _object(await self._send("GET", f"{url}/models")).get("data")
        if not isinstance(served, list) or not all(isinstance(c, dict) and "id" in c for c in served):
            raise UnservedError("failed", "its list of models is none")
        return served

    async def queue(self, endpoint: Endpoint) -> tuple[float, float]:
        """Requests that vLLM works on, and that wait in it."""
        async with _short():
            text = (await self._send("GET", f"{endpoint.root}/metrics")).decode(errors="replace")
        return _total(text, _RUNNING), _total(text, _QUEUED)

    async def _send(self, method: str, url: str, payload: bytes | None = None) -> bytes:
        key = self._key
        try:
            return await self._sent(method, url, payload)
        except UnservedError as fault:
            if fault.kind == "denied":
                self._key = secret(KEY)  # it may have been rotated, and read by another request by now
            if fault.kind != "denied" or self._key == key:
                raise
        return await self._sent(method, url, payload)

    async def _sent(self, method: str, url: str, payload: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json"} if payload is not None else {}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        for session in self._sessions:
            try:
                async with session.request(
                    method, url, data=payload, headers=headers, allow_redirects=False
                ) as response:
                    answer = await _read(response)
                    if response.status != 200:
                        raise _fault(response, answer)
                    return answer
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                raise UnservedError("lost", _told(error)) from error
            except (
                aiohttp.ServerDisconnectedError,
                aiohttp.ClientOSError,
                aiohttp.ClientPayloadError,
            ) as error:
                if session is self._sessions[-1]:
                    raise UnservedError("lost", _told(error)) from error
            except (aiohttp.ClientError, ValueError) as error:
                raise UnservedError("failed", _told(error)) from error
        raise AssertionError("the last session returns or raises")


def is_vllm(card: Mapping[str, Any]) -> bool:
    """Whether vLLM signed what it serves."""
    return card.get("owned_by") == "vllm"


def at_once(work: Callable[[Wire], Coroutine[Any, Any, _Result]]) -> _Result:
    """Do ``work`` with connections of its own and wait for it, inside an event loop or not."""
    results: list[_Result] = []
    failures: list[BaseException] = []

    async def alone() -> _Result:
        wire = Wire()
        try:
            return await work(wire)
        finally:
            await wire.close()

    def run() -> None:
        try:
            results.append(asyncio.run(alone()))
        except BaseException as error:  # handed to who waits
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


@contextlib.asynccontextmanager
async def _short() -> AsyncIterator[None]:
    """A probe's time limit."""
    try:
        async with asyncio.timeout(_PROBE_S):
            yield
    except TimeoutError as error:
        raise UnservedError("lost", f"no answer in {_PROBE_S:g} s") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            raise UnservedError("failed", f"an answer of more than {_MOST_BYTES >> 20} MiB")
    return b"".join(parts)


def _object(answer: bytes) -> dict[str, Any]:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise UnservedError("failed", "its answer is not JSON") from error
    if not isinstance(value, dict):
        raise UnservedError("failed", "its answer is no JSON object")
    return value


def _fault(response: aiohttp.ClientResponse, answer: bytes) -> UnservedError:
    status = response.status
    kind: Kind = _STATUS.get(status, "failed" if status >= 500 else "refused")
    try:
        pause = min(_LONGEST_PAUSE_S, max(0.0, float(response.headers.get("Retry-After", 0))))
    except ValueError:  # a date: our own pause is as good
        pause = 0.0
    return UnservedError(kind, f"HTTP {status}: {_message(answer)}", pause)


def _message(answer: bytes) -> str:
    """The server's own words, wherever it put them."""
    text = answer[:10_000].decode(errors="replace")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    return str(value)


def _told(error: BaseException) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return f"TLS: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    return (
        "the connection broke"
        if isinstance(error, aiohttp.ClientOSError)
        else str(error) or type(error).__name__
    )


def _total(text: str, name: str) -> float:
    """Sum of a metric over its labels, in Prometheus' text."""
    found = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    try:
        return sum(float(line.rpartition(" ")[2]) for line in found)
    except ValueError as error:
        raise UnservedError("failed", "its metrics are none") from error
