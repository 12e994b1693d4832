"""What the HTTP engine refuses, and what it makes of keys, models, contexts and thinking."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openai_server as misbehaving
import pytest
from openai_bench import asking, hurry, opened, run, settings, together, until  # noqa: F401 - hurry is a fixture
from openai_server import answered, servers

from arkloom.config import ModelConfig, RunConfig, load
from arkloom.engines import open_engine
from arkloom.engines.digests import model_digest
from arkloom.engines.endpoints import Endpoint
from arkloom.engines.openai_open import asker
from arkloom.errors import ArkloomError, BadInputError
from arkloom.records import Message


def test_the_key_comes_from_the_environment_and_stands_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        async with servers(key="s3cret-1") as [server]:
            with pytest.raises(BadInputError, match="ARKLOOM_OPENAI_API_KEY") as told:
                await opened(server)
            assert "s3cret" not in told.value.line()
            file = tmp_path / "key"
            file.write_text("s3cret-1\n")
            monkeypatch.setenv("ARKLOOM_OPENAI_API_KEY_FILE", str(file))
            engine = await opened(server)
            assert (await engine.generate(asking())).text == "said: hello"
            server.key = "s3cret-2"  # rotated while the run goes on
            file.write_text("s3cret-2\n")
            assert (await engine.generate(asking())).text == "said: hello"
            server.key = "s3cret-3"
            with pytest.raises(ArkloomError, match="wrong key"):
                await engine.generate(asking())
            await engine.close()

    run(test())
    assert "s3cret" not in "".join(capfd.readouterr())


def test_a_rotated_key_is_read_by_every_turn_and_by_the_watch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    monkeypatch.setenv("ARKLOOM_OPENAI_API_KEY_FILE", str(file))

    async def test() -> None:
        async with servers(key="old") as [server]:
            engine = await opened(server)
            server.key = "new"
            file.write_text("new")
            assert len(await asyncio.gather(*(engine.generate(asking(str(i))) for i in range(8)))) == 8
            await server.stop()
            turn = asyncio.create_task(engine.generate(asking()))
            await until(lambda: not engine.endpoints[0].alive)
            server.key = "newest"  # and nobody has asked for anything with it when the server is back
            file.write_text("newest")
            await server.start(server.port)
            assert (await turn).text == "said: hello"
            await engine.close()

    run(test())


def test_a_frozen_endpoint_holds_up_one_question_after_tokens_and_no_more() -> None:
    async def test() -> None:
        async with servers(2, counts=True) as [frozen, living]:
            frozen.frozen = True
            ask = asker([Endpoint(url=one.url, model="tiny", most=1) for one in (frozen, living)])
            for _ in range(2):
                assert await asyncio.to_thread(ask, "/tokenize", {"prompt": "abc"}) == {"count": 3}
            frozen.frozen = False
            assert (frozen.hits["tokenize"], living.hits["tokenize"]) == (1, 2)

    run(test())


def test_a_server_of_another_model_is_refused() -> None:
    async def test() -> None:
        async with servers(model="other") as [server]:
            with pytest.raises(BadInputError, match="it serves other, not tiny"):
                await opened(server)
            server.model = "tiny"
            engine = await opened(server)
            port = server.port
            await server.stop()
            server.model = "other"
            turn = asyncio.create_task(engine.generate(asking()))
            await server.start(port)
            await until(lambda: "it serves other" in engine.endpoints[0].reason)
            assert not turn.done()  # not spoken by another model
            server.model = "tiny"
            assert (await turn).text == "said: hello"
            await engine.close()

    run(test())


def test_a_server_that_comes_back_with_less_context_is_not_used() -> None:
    async def test() -> None:
        async with servers(2) as [one, other]:
            engine = await opened(one, other)
            port = one.port
            await one.stop()
            one.context = 100
            assert len(await together(engine, 5)) == 5
            await one.start(port)
            one.asked.clear()
            turns = [asyncio.create_task(engine.generate(asking(str(i)))) for i in range(5)]
            await asyncio.gather(*turns)
            await until(lambda: "context" in engine.endpoints[0].reason)
            assert not engine.endpoints[0].alive
            assert "its context is 100 tokens, not 4096" in engine.endpoints[0].reason
            assert not one.asked
            await engine.close()

    run(test())


def test_a_gateway_that_hides_the_metrics_is_alive() -> None:
    async def test() -> None:
        async with servers(metrics=False) as [server]:
            engine = await opened(server)
            await engine.generate(asking())
            await until(lambda: server.hits["metrics"] > 5)
            assert engine.endpoints[0].alive
            await engine.close()

    run(test())


@pytest.mark.parametrize(
    ("endpoints", "told"),
    [
        ([], "no endpoint"),
        (["localhost:8000"], "is no endpoint"),
        (["ftp://a/v1"], "is no endpoint"),
        (["http://user:pass@a/v1"], "an url with a password"),
        ({"other": ["http://a/v1"]}, "no endpoint for the model 'tiny'"),
    ],
)
def test_endpoints_that_are_none(endpoints: Any, told: str) -> None:
    config = load(None, None, ["engine=openai", f"runtime.endpoints={json.dumps(endpoints)}"])
    with pytest.raises(BadInputError, match=told) as error:
        open_engine(config, ModelConfig())
    assert "pass@" not in error.value.line()


def test_the_context_is_never_exceeded() -> None:
    async def test() -> None:
        async with servers(context=64) as [server]:
            engine = await opened(server)
            question = "7*8" * 8
            tokens = engine.count((Message(role="user", content=question),))
            await engine.generate(asking(question, max_tokens=1000))
            assert server.asked[0]["max_tokens"] == 64 - tokens
            with pytest.raises(BadInputError, match="fills the context"):
                await engine.generate(asking("7" * 100))
            await engine.close()

    run(test())


@pytest.mark.parametrize(
    ("message", "text", "thinking"),
    [
        ({"content": "<think>a</think>b"}, "b", "a"),
        ({"content": "b", "reasoning": "a"}, "b", "a"),
        ({"content": None, "reasoning_content": "a"}, "", "a"),
        ({"content": None}, "", None),
    ],
)
def test_thinking_is_kept_apart(message: dict[str, Any], text: str, thinking: str | None) -> None:
    async def think(_: Any, body: dict[str, Any]) -> Any:
        choice = {"message": message, "finish_reason": "length"}
        return misbehaving.web.json_response(answered(body, choices=[choice]))

    async def test() -> None:
        async with servers(behave=think) as [server]:
            engine = await opened(server)
            completion = await engine.generate(asking())
            await engine.close()
            assert (completion.text, completion.thinking) == (text, thinking)

    run(test())


def test_a_model_that_only_an_endpoint_has() -> None:
    far = ModelConfig(name="someone/far", revision="1f2e")

    async def test() -> None:
        async with servers(model="someone/far") as [server]:
            config = settings(server.url)
            engine = await asyncio.to_thread(open_engine, config, far)
            completion = await engine.generate(asking("Grüße, ×"))
            assert completion.text == "said: Grüße, ×"
            messages = asking("Grüße, ×").messages
            assert engine.count(messages) >= len("Grüße, ×".encode())  # this server counts nothing: a bound
            assert len(engine.truncate("Grüße, ×" * 9, 5).encode()) <= 15
            await engine.close()

    run(test())
    digests = {model_digest(far.model_copy(update={"revision": name}).model_dump()) for name in ("a", "b")}
    assert len(digests) == 2
    with pytest.raises(BadInputError, match="no model 'someone/far'"):
        model_digest(ModelConfig(name="someone/far").model_dump())


def test_a_revision_that_nobody_gives_changes_no_key() -> None:
    assert "revision" not in RunConfig().part("models.teacher")
