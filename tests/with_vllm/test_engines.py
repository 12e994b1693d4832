"""The engines on real vLLM: over HTTP, and in a process of the interpreter that has it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from relays import Relay
from speak import answers, asked
from vllm_servers import VllmServer

from arkloom.config import load
from arkloom.engines import open_engine
from arkloom.engines.openai import OpenAIEngine
from arkloom.engines.openai_tokens import FolderTokens
from arkloom.engines.protocol import Completion, Request, Sampling
from arkloom.errors import BadInputError
from arkloom.records import Message

COMPONENTS = Path(__file__).parents[2] / "components"


def opened(*urls: str, slots: int = 32, adapter: str | None = None, **runtime: Any) -> OpenAIEngine:
    settings = {"endpoints": list(urls), "slots": slots, "patience": 30, **runtime}
    config = load(
        "laptop", None, ["engine=openai", *(f"runtime.{k}={json.dumps(v)}" for k, v in settings.items())]
    )
    engine = open_engine(config, config.models.teacher.model_copy(update={"adapter": adapter}))
    assert isinstance(engine, OpenAIEngine)
    return engine


def spoken(engine: OpenAIEngine, *sets: list[Request]) -> list[list[Completion]]:
    async def all_of_them() -> list[list[Completion]]:
        return [await answers(engine, requests) for requests in sets]

    try:
        return asyncio.run(all_of_them())
    finally:
        asyncio.run(engine.close())


def texts(completions: list[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def test_what_the_server_says_when_ready_is_a_config(vllm_server: VllmServer, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(vllm_server.said)
    config = load(None, tmp_path / "config.yaml")
    assert config.engine == "openai"
    assert config.runtime.endpoints == (vllm_server.url,)
    assert yaml.safe_load(vllm_server.said).keys() == {"engine", "runtime"}


def test_greedy_and_seeded_answers_reproduce_whatever_their_company(vllm_server: VllmServer) -> None:
    for temperature in (0.0, 0.7):
        requests = asked(temperature)
        first, again, alone = spoken(opened(vllm_server.url), requests, requests[::-1], requests[:3])
        assert texts(first) == texts(again)[::-1]
        assert texts(alone) == texts(first)[:3]
        if temperature:
            other = [dataclasses.replace(request, seed=request.seed + 1) for request in requests]
            assert texts(spoken(opened(vllm_server.url), other)[0]) != texts(first)


def crowd(count: int = 64) -> list[Request]:
    """Seeded requests whose prompts together are many times what vLLM reads in a step."""
    long = "What is 2+3*4? " * 40
    return [
        Request((Message(role="user", content=f"{n}: {long}"),), Sampling(temperature=0.7, max_tokens=4), n)
        for n in range(count)
    ]


def test_a_crowd_of_long_seeded_prompts_is_answered(vllm_server: VllmServer) -> None:
    assert len(spoken(opened(vllm_server.url, slots=64), crowd())[0]) == 64


def test_counts_come_from_the_server_and_agree_with_the_models_own_tokenizer(vllm_server: VllmServer) -> None:
    engine = opened(vllm_server.url)
    long = Request((Message(role="user", content="What is 2+3*4? " * 20),), Sampling(max_tokens=4), seed=0)
    [[first], [again]] = spoken(engine, [long], [long])
    assert isinstance(engine._tokens, FolderTokens)
    assert first.prompt_tokens == engine.count(long.messages) > 64
    assert 0 < first.completion_tokens <= 4
    assert again.cached_tokens >= 32 * ((first.prompt_tokens - 1) // 32 - 1) > 0
    for request in asked(0, count=5):
        assert spoken(opened(vllm_server.url), [request])[0][0].prompt_tokens == engine.count(
            request.messages
        )


def test_without_the_models_folder_the_server_counts_the_same(
    vllm_server: VllmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(vllm_server.url)
    monkeypatch.setattr("arkloom.engines.openai_open._folder", lambda _: None)
    there = opened(vllm_server.url)
    assert type(there._tokens) is not type(here._tokens)
    assert there.context_length == here.context_length == 1024
    for request in asked(0, count=5):
        assert there.count(request.messages) == here.count(request.messages)
    for length in (0, 1, 5, 100):
        assert there.truncate("7*8=56\n5+56=61", length) == here.truncate("7*8=56\n5+56=61", length)


def test_what_leaves_no_room_is_cut_or_refused_and_never_the_servers_error(vllm_server: VllmServer) -> None:
    engine = opened(vllm_server.url)
    room = 1024 - engine.count((Message(role="user", content=""),))
    nearly = Request((Message(role="user", content="7" * (room - 3)),), Sampling(max_tokens=64), seed=0)
    too_long = Request((Message(role="user", content="7" * room),), Sampling(max_tokens=64), seed=0)
    [[completion]] = spoken(engine, [nearly])
    assert completion.completion_tokens <= 3
    with pytest.raises(BadInputError, match="fills the context"):
        spoken(opened(vllm_server.url), [too_long])


def test_two_endpoints_share_the_work_and_one_that_dies_loses_no_turn(
    vllm_server: VllmServer, relay: Callable[[], Relay]
) -> None:
    one, other = relay(), relay()
    requests = asked(0.7, count=200)
    expected = texts(spoken(opened(vllm_server.url), requests)[0])

    async def die_meanwhile(engine: OpenAIEngine) -> list[Completion]:
        turns = asyncio.gather(*(engine.generate(request) for request in requests))
        while engine.endpoints[0].outstanding < 4 or engine.endpoints[1].outstanding < 4:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(one.cut)
        said = await turns
        assert [endpoint.alive for endpoint in engine.endpoints] == [False, True]
        await asyncio.to_thread(one.mend)
        while not engine.endpoints[0].alive:
            await asyncio.sleep(0.05)
        await engine.close()
        return list(said)

    assert texts(asyncio.run(die_meanwhile(opened(one.url, other.url)))) == expected
    assert one.connections > 0
    assert other.connections > 0


def test_connections_that_the_server_closed_while_idle_are_no_failure(vllm_server: VllmServer) -> None:
    engine = opened(vllm_server.url)
    request = asked(0, count=1)

    async def with_a_pause() -> list[str]:
        before = await answers(engine, request)
        await asyncio.sleep(5.5)  # vLLM closes them after five seconds
        after = await answers(engine, request)
        await engine.close()
        return [before[0].text, after[0].text]

    first, second = asyncio.run(with_a_pause())
    assert first == second
    assert not engine.retries


def descendants(process: int) -> set[int]:
    found = set()
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            found |= {child} | descendants(child)
    return found


@pytest.fixture(scope="module")
def inside(
    vllm_python: Path, machine: None, adapters: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the in-process engine says, with and without adapters."""
    agents = json.dumps([{"name": "tiny", "dtype": "float32", "adapter": adapter} for adapter in adapters])
    runtime = ["runtime.slots=32", "runtime.batch=32", "runtime.context_tokens=1024"]
    asked_for = {
        "greedy": (None, 0.0),
        "again": (None, 0.0),
        "seeded": (None, 0.7),
        "seeded again": (None, 0.7),
        "one": (adapters[0], 0.0),
        "other": (adapters[1], 0.0),
    }
    folder = tmp_path_factory.mktemp("inside")
    (folder / "setup.json").write_text(
        json.dumps({"set": ["engine=vllm", f"models.agents={agents}", *runtime], "asked": asked_for})
    )
    with (folder / "vllm.log").open("w") as log:
        process = subprocess.Popen(
            [str(vllm_python), str(Path(__file__).with_name("speak.py")), str(folder / "setup.json")],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(COMPONENTS), "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        assert process.stdout is not None
        lines = list(itertools.islice((line for line in process.stdout if line.startswith("{")), 1))
        assert lines, (folder / "vllm.log").read_text()[-3000:]
        children = descendants(process.pid)
        process.kill()
    answered: dict[str, Any] = json.loads(lines[0])
    return answered | {"children": children}


def test_killed_outright_it_leaves_no_process_behind(vllm_python: Path, inside: dict[str, Any]) -> None:
    plugins = "from importlib.metadata import entry_points as e; print(e(group='vllm.general_plugins').names)"
    known = subprocess.run([str(vllm_python), "-c", plugins], capture_output=True, text=True, check=True)
    children: set[int] = inside["children"]
    assert children
    if "arkloom" not in known.stdout:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        pytest.skip("arkloom is not installed in vLLM's environment: it cannot be vLLM's plugin")
    while children := {child for child in children if Path(f"/proc/{child}").exists()}:
        time.sleep(0.1)  # the test's own limit ends this


def test_the_engine_in_process_says_what_the_server_says(
    inside: dict[str, Any], vllm_server: VllmServer
) -> None:
    said = {name: [one["text"] for one in many] for name, many in inside["said"].items()}
    assert said["greedy"] == said["again"]
    assert said["seeded"] == said["seeded again"]
    assert said["left"] == said["greedy"]  # closing the engines of the adapters closed no other
    engine = opened(vllm_server.url)
    assert inside["context"] == engine.context_length
    assert inside["counts"] == [engine.count(request.messages) for request in asked(0)]
    greedy, seeded = spoken(engine, asked(0.0), asked(0.7))
    assert said["greedy"] == texts(greedy)
    assert said["seeded"] == texts(seeded)
    for mine, theirs in zip(inside["said"]["greedy"], greedy, strict=True):
        assert mine["prompt_tokens"] == theirs.prompt_tokens
        assert mine["completion_tokens"] == theirs.completion_tokens
        assert mine["finish_reason"] == theirs.finish_reason


def test_each_agent_speaks_with_its_own_adapter(
    inside: dict[str, Any], adapters: list[str], vllm_server: VllmServer
) -> None:
    said = {name: [one["text"] for one in many] for name, many in inside["said"].items()}
    assert said["one"] != said["greedy"]
    assert said["other"] != said["greedy"]
    assert said["one"] != said["other"]
    for name, adapter in zip(("one", "other"), adapters, strict=True):
        assert texts(spoken(opened(vllm_server.url, adapter=adapter), asked(0.0))[0]) == said[name]
