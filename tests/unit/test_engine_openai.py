"""The HTTP engine against servers that misbehave on purpose: no turn is lost, none is asked for in vain."""

from __future__ import annotations

import asyncio
from typing import Any

import openai_server as misbehaving
import pytest
from openai_bench import asking, hurry, opened, run, settings, together, until  # noqa: F401 - hurry is a fixture
from openai_server import Server, servers, status, times

from arkloom.engines.openai import OpenAIEngine
from arkloom.engines.protocol import Completion
from arkloom.errors import ArkloomError, BadInputError, ResumeError


def test_a_turn_carries_the_request_and_brings_text_and_counts() -> None:
    async def test() -> None:
        async with servers() as [server]:
            engine = await opened(server)
            completion = await engine.generate(asking("2+2", seed=2**63 - 1, temperature=0.7))
            await engine.close()
            assert completion == Completion("said: 2+2", "stop", 7, 3, None, 4)
            assert engine.context_length == 4096
            body = server.asked[0]
            assert body["seed"] == 2**63 - 1
            assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.7, 1.0, 8)
            assert (body["top_k"], body["repetition_penalty"]) == (0, 1.0)  # not the model's own defaults

    run(test())


def test_another_kind_of_server_is_asked_for_nothing_that_is_vllms_own() -> None:
    async def test() -> None:
        async with servers(owner="someone", context=None) as [server]:
            engine = await opened(server, context_tokens=300)
            await engine.generate(asking())
            await engine.close()
            assert engine.context_length == 300
            assert not {"top_k", "min_p", "repetition_penalty"} & server.asked[0].keys()

    run(test())


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (status(429), "busy"),
        (status(429, **{"Retry-After": "0.05"}), "busy"),
        (status(429, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), "busy"),
        (status(500), "failed"),
        (status(503), "failed"),
        (misbehaving.text("<html>"), "failed"),
        (misbehaving.text("[]"), "failed"),
        (misbehaving.text("{}"), "failed"),
        (misbehaving.text('{"choices": [], "usage": {}}'), "failed"),
        (misbehaving.text("[" * 100_000), "failed"),
    ],
)
def test_what_passes_is_tried_again(behaviour: misbehaving.Behaviour, kind: str) -> None:
    async def test() -> None:
        async with servers(behave=times(2, behaviour)) as [server]:
            engine = await opened(server)
            assert [c.text for c in await together(engine, 1)] == ["said: 0"]
            assert engine.retries == {kind: 2}
            assert len(server.asked) == 3

    run(test())


@pytest.mark.parametrize("behaviour", [misbehaving.disconnect, misbehaving.half])
def test_a_broken_connection_is_tried_at_once_on_a_fresh_one(behaviour: misbehaving.Behaviour) -> None:
    async def test() -> None:
        async with servers(behave=times(1, behaviour)) as [server]:
            engine = await opened(server)
            assert (await together(engine, 1))[0].text == "said: 0"
            assert not engine.retries  # no fault of the server: its connection was a kept one
            assert len(server.asked) == 2

    run(test())


def test_a_server_that_comes_back_gets_all_that_waited() -> None:
    async def test() -> None:
        async with servers(seconds=0.05) as [server]:
            engine = await opened(server, slots=8)
            turns = asyncio.create_task(together(engine, 40))
            await until(lambda: len(server.asked) >= 12)
            await server.stop()
            await asyncio.sleep(0.3)
            assert not turns.done()
            await server.start(server.port)
            assert [c.text for c in await turns] == [f"said: {i}" for i in range(40)]

    run(test())


def test_a_dead_endpoints_turns_move_to_the_others() -> None:
    async def test() -> None:
        async with servers(2, seconds=0.03) as [one, other]:
            engine = await opened(one, other, slots=8)
            turns = asyncio.create_task(together(engine, 60))
            await until(lambda: len(one.asked) >= 8)
            await one.stop()
            assert [c.text for c in await turns] == [f"said: {i}" for i in range(60)]
            assert len(other.asked) > 30
            assert not engine.endpoints[0].alive
            assert engine.endpoints[1].alive

    run(test())


def test_a_server_that_freezes_loses_its_turns_to_the_others() -> None:
    async def test() -> None:
        async with servers(2) as [one, other]:
            engine = await opened(one, other, slots=8)
            one.frozen = True
            assert [c.text for c in await together(engine, 20)] == [f"said: {i}" for i in range(20)]
            assert not engine.endpoints[0].alive
            one.frozen = False

    run(test())


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    async def test() -> None:
        async with servers(2) as [one, other]:
            one.behave = misbehaving.silent
            engine = await opened(one, other, request_seconds=0.1)
            assert [c.text for c in await together(engine, 10)] == [f"said: {i}" for i in range(10)]
            assert engine.retries["late"] > 0

    run(test())


def test_a_server_that_only_fails_does_not_swallow_the_work() -> None:
    async def test() -> None:
        async with servers(2, seconds=0.02) as [one, other]:
            one.behave = status(500)
            engine = await opened(one, other, slots=8)
            assert len(await together(engine, 200)) == 200
            assert len(other.asked) == 200
            assert len(one.asked) < 100  # fast failures look like an idle server

    run(test())


def test_the_window_follows_429_down_and_grows_again() -> None:
    async def test() -> None:
        async with servers(seconds=0.01) as [server]:

            async def limited(request: Any, body: Any) -> Any:
                return await status(429)(request, body) if server.running > 6 else None

            server.behave = limited
            engine = await opened(server, slots=64)
            assert len(await together(engine, 300)) == 300
            assert engine.endpoints[0].window < 24
            refused = engine.retries["busy"]
            assert refused < 200

    run(test())


def test_the_window_follows_the_servers_own_queue() -> None:
    async def test() -> None:
        async with servers(seconds=0.05, queue=(8, 24)) as [server]:
            engine = await opened(server, slots=32)
            turns = [asyncio.create_task(engine.generate(asking(str(i)))) for i in range(150)]
            await until(lambda: engine.endpoints[0].window < 12)
            server.queue = (8, 0)
            await asyncio.gather(*turns)
            assert engine.endpoints[0].window > 12
            await engine.close()

    run(test())


def test_never_more_than_the_slots_are_under_way() -> None:
    async def test() -> None:
        async with servers(2, seconds=0.01) as many:
            engine = await opened(*many, slots=5)
            assert len(await together(engine, 60)) == 60
            assert max(server.most for server in many) <= 5
            assert abs(len(many[0].asked) - len(many[1].asked)) < 20  # least outstanding work first

    run(test())


def test_a_cancelled_turn_gives_its_place_back() -> None:
    async def test() -> None:
        async with servers() as [server]:
            server.behave = times(2, misbehaving.silent)
            engine = await opened(server, slots=2)
            hung = [asyncio.create_task(engine.generate(asking("hung"))) for _ in range(6)]
            await until(lambda: len(server.asked) >= 2)
            for task in hung:
                task.cancel()
            await asyncio.gather(*hung, return_exceptions=True)
            assert [c.text for c in await together(engine, 3)] == ["said: 0", "said: 1", "said: 2"]

    run(test())


def test_one_engine_serves_one_event_loop_after_another() -> None:
    async def begin() -> tuple[Server, OpenAIEngine]:
        server = Server()
        await server.start()
        return server, await opened(server)

    with asyncio.Runner() as runner:  # the server's loop; the engine's loops run in other threads

        async def ask(engine: OpenAIEngine) -> str:
            return (await engine.generate(asking())).text

        server, engine = runner.run(begin())

        async def test() -> None:
            for _ in range(3):
                assert await asyncio.to_thread(asyncio.run, ask(engine)) == "said: hello"
            await asyncio.to_thread(asyncio.run, engine.close())
            await server.stop()

        runner.run(test())


@pytest.mark.parametrize(
    ("code", "error", "tries"),
    [(400, BadInputError, 1), (422, BadInputError, 1), (404, ArkloomError, 9), (500, ArkloomError, 9)],
)
def test_what_does_not_pass_is_told_in_one_line(code: int, error: type[ArkloomError], tries: int) -> None:
    async def test() -> None:
        async with servers(behave=status(code, "the prompt\nis odd")) as [server]:
            engine = await opened(server)
            with pytest.raises(error, match=f"HTTP {code}: the prompt is odd"):
                await engine.generate(asking())
            await engine.close()
            assert len(server.asked) == tries

    run(test())


def test_when_nobody_answers_patience_ends() -> None:
    async def test() -> None:
        async with servers() as [server]:
            engine = await opened(server, patience=0.3)
            await server.stop()
            with pytest.raises(ResumeError, match="no endpoint answers"):
                await engine.generate(asking())
            with pytest.raises(ResumeError, match="no endpoint answers"):
                await engine.generate(asking())
            await engine.close()
            with pytest.raises(ResumeError, match="no endpoint answers"):
                await opened(server, patience=0.3)

    run(test())
