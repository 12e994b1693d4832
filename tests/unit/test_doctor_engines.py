"""`arkloom doctor` on endpoints and on interpreters for vLLM: each fault is a line that says what to do."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import openai_server as misbehaving
import pytest
from openai_bench import hurry, run, settings  # noqa: F401 - hurry is a fixture
from openai_server import Server, servers

from arkloom.cli import main
from arkloom.config import RunConfig, load
from arkloom.doctor import Finding
from arkloom.doctor.engines import engines
from arkloom.doctor.machine import TorchBuild
from arkloom.doctor.models import models

SMALL = ["debate.max_tokens=64", "evaluate.max_tokens=64"]


@pytest.fixture(autouse=True)
def patient(hurry: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 - the fixture
    """A busy machine's server may answer late; the tests of servers that never do wait less."""
    monkeypatch.setattr("arkloom.engines.openai_wire._PROBE_S", 60.0)
    monkeypatch.setattr("arkloom.engines.openai_probe._ANSWER_S", 60.0)


async def told(config: RunConfig) -> list[Finding]:
    return await asyncio.to_thread(lambda: list(engines(config)))


def of(*many: Server | str, overrides: tuple[str, ...] = ()) -> RunConfig:
    urls = [one if isinstance(one, str) else one.url for one in many]
    return settings(*urls).override([*SMALL, *overrides])


def test_a_living_endpoint_is_fine_and_is_asked_for_one_token() -> None:
    async def test() -> None:
        async with servers() as [server]:
            (found,) = await told(of(server))
            assert (found.name, found.state) == ("endpoint (teacher, student)", "ok")
            assert found.told == f"{server.url}: serves tiny, a context of 4,096 tokens"
            assert [(body["model"], body["max_tokens"]) for body in server.asked] == [("tiny", 1)]

    run(test())


def test_a_dead_endpoint_warns_beside_a_living_one_and_fails_alone() -> None:
    async def test() -> None:
        async with servers(2) as [one, other]:
            await other.stop()
            found = await told(of(one, other))
            assert [finding.state for finding in found] == ["ok", "warn"]
            assert "no connection" in found[1].told
            assert "runtime.endpoints" in found[1].mend
            await one.stop()
            assert [finding.state for finding in await told(of(one, other))] == ["fail", "fail"]

    run(test())


@pytest.mark.parametrize(
    ("server", "environment", "words", "mend"),
    [
        ({"model": "other"}, None, "it serves other, not tiny", "--served-model-name"),
        ({"key": "right"}, None, "HTTP 401: wrong key", "ARKLOOM_OPENAI_API_KEY"),
        ({"key": "right"}, "wr0ng", "HTTP 401: wrong key", "ARKLOOM_OPENAI_API_KEY"),
        (
            {"behave": misbehaving.status(403, "no quota")},
            None,
            "HTTP 403: no quota",
            "ARKLOOM_OPENAI_API_KEY",
        ),
        ({"behave": misbehaving.status(400, "no template")}, None, "HTTP 400: no template", "chat template"),
        ({"behave": misbehaving.status(404, "no route")}, None, "HTTP 404: no route", "OpenAI"),
    ],
)
def test_an_endpoint_that_a_run_would_refuse_fails_even_beside_a_good_one(
    server: dict[str, Any], environment: str | None, words: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with servers() as [good], servers(**server) as [bad]:
            good_found, found = await told(of(good, bad))
            assert (good_found.state, found.state) == ("ok", "fail")
            assert words in found.told
            assert mend in found.mend
            assert "wr0ng" not in str(found)

    if environment is not None:
        monkeypatch.setenv("ARKLOOM_OPENAI_API_KEY", environment)
    run(test())


@pytest.mark.parametrize(
    ("behave", "state", "words"),
    [
        (misbehaving.status(500, "engine is dead"), "fail", "engine is dead"),
        (misbehaving.disconnect, "fail", ""),
        (misbehaving.status(429, "later"), "ok", "busy (HTTP 429: later)"),
        (misbehaving.silent, "ok", "busy (no answer in 0.2 s)"),
    ],
)
def test_one_token_tells_whether_the_engine_behind_the_door_is_alive(
    behave: misbehaving.Behaviour, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if behave is misbehaving.silent:
        monkeypatch.setattr("arkloom.engines.openai_probe._ANSWER_S", 0.2)

    async def test() -> None:
        async with servers(behave=behave) as [server]:
            (found,) = await told(of(server))
            assert found.state == state
            assert words in found.told

    run(test())


def test_a_server_that_freezes_is_told_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arkloom.engines.openai_wire._PROBE_S", 0.2)

    async def test() -> None:
        async with servers(frozen=True) as [server]:
            (found,) = await told(of(server))
            assert (found.state, "no answer" in found.told) == ("fail", True)
            server.frozen = False

    run(test())


@pytest.mark.parametrize(
    ("context", "overrides", "state"),
    [
        (4096, (), "ok"),
        (4096, ("runtime.context_tokens=128",), "warn"),
        (64, ("debate.rounds=1",), "warn"),
        (65, ("debate.rounds=1", "evaluate.arms=[rsft]"), "ok"),
        (65, ("debate.rounds=1", "evaluate.max_tokens=65"), "warn"),
        (384, ("prompts.layout=shared",), "warn"),  # five answers of 64 tokens shown, and one spoken
        (385, ("prompts.layout=shared",), "ok"),
        (704, ("prompts.layout=chat",), "warn"),  # two rounds of 64 + 4 * 64 tokens, and one answer
        (705, ("prompts.layout=chat",), "ok"),
        (129, ("debate.peers=none",), "ok"),
        (None, (), "ok"),
    ],
)
def test_a_context_too_short_for_a_debate_is_a_warning(
    context: int | None, overrides: tuple[str, ...], state: str
) -> None:
    async def test() -> None:
        async with servers(context=context) as [server]:
            (found,) = await told(of(server, overrides=overrides))
            assert (found.state, bool(found.mend)) == (state, state != "ok")
            assert ("they are cut" in found.told) == (state == "warn")

    run(test())


def test_each_model_is_asked_for_at_its_own_endpoints() -> None:
    async def test() -> None:
        async with servers(model="a") as [one], servers(model="b") as [other]:
            named = {"a": [one.url], "b": [other.url]}
            agents = "models.agents=[{name: a}, {name: b}, {name: a}]"
            config = load(None, None, ["engine=openai", f"runtime.endpoints={json.dumps(named)}", agents])
            first, second, student = await told(config)
            assert (first.name, second.name) == ("endpoint (agents 0, agents 2)", "endpoint (agents 1)")
            assert {first.state, second.state} == {"ok"}
            assert (student.name, student.state) == ("endpoint (student)", "fail")
            assert "no endpoint for the model 'tiny'" in student.told
            assert len(await told(config.override(["evaluate.arms=[rsft]"]))) == 2

    run(test())


def test_a_run_without_endpoints_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = engines(load(None, None, ["engine=openai"]))
    assert (found.state, "http://localhost:8000/v1" in found.mend) == ("fail", True)
    assert list(engines(load("laptop"))) == []


def test_a_model_that_endpoints_alone_have_need_not_be_here() -> None:
    teacher = ["engine=openai", "models.teacher.name=/no/model"]
    assert next(iter(models(load("smoke", None, teacher)))).state == "fail"
    found = next(iter(models(load("smoke", None, [*teacher, "models.teacher.revision=v1"]))))
    assert (found.state, found.told) == ("ok", "/no/model at v1: with its endpoints alone")


def test_vllm_must_be_where_models_speak(tmp_path: Path) -> None:
    here = tmp_path / "python"
    here.write_text("#!/bin/sh\necho 0.9.1\n")
    here.chmod(0o755)
    python = f"runtime.python={json.dumps({'debate': str(here), 'prm': '/no/python'})}"
    config = load("smoke", None, ["engine=vllm", python, "evaluate.arms=[rsft]"])
    found = {finding.name: finding for finding in engines(config)}
    assert set(found) == {"vllm (debate)", "vllm (evaluate)"}, "no PRM is trained for these arms"
    assert found["vllm (debate)"].told == f"{here}: vLLM 0.9.1"
    assert (found["vllm (evaluate)"].state, sys.executable in found["vllm (evaluate)"].told) == ("fail", True)
    assert "runtime.python.evaluate" in found["vllm (evaluate)"].mend


def test_the_command_looks_at_endpoints_and_says_so_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arkloom.doctor.examination.torch_build", lambda: TorchBuild(Finding("t", "ok", "")))
    arguments = ["--preset", "smoke", "--store", str(tmp_path), "--json", "--set", "engine=openai"]
    assert main(["doctor", *arguments, "--set", "runtime.endpoints=[http://127.0.0.1:1/v1]"]) == 1
    found = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert found["endpoint (teacher, student)"]["state"] == "fail"
