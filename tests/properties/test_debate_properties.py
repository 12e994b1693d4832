"""What holds for every society, every engine's speed and every moment of a kill."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.canonical import digest_file
from arkloom.engines.protocol import Completion, Request
from arkloom.engines.scripted import ScriptedEngine
from arkloom.protocol.votes import decide, tally
from arkloom.records import Turn
from debates import by_seed, held, problems, small

SOME = st.sampled_from(["1", "2", "10", "9", "0.5", "1/2", None])


class Watched(ScriptedEngine):
    """Counts requests in flight; each takes a random number of turns of the event loop."""

    def __init__(self, slots: int, chance: random.Random) -> None:
        super().__init__(by_seed(), slots=slots)
        self.chance, self.flying, self.most = chance, 0, 0
        self.asked: list[Request] = []

    async def generate(self, request: Request) -> Completion:
        self.flying += 1
        self.most = max(self.most, self.flying)
        self.asked.append(request)
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)
        self.flying -= 1
        return await super().generate(request)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 9),
    agents=st.integers(1, 4),
    rounds=st.integers(1, 3),
    slots=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    stop=st.booleans(),
    layout=st.sampled_from(["chat", "shared"]),
)
def test_schedules(
    count: int, agents: int, rounds: int, slots: int, seed: int, stop: bool, layout: str
) -> None:
    from arkloom.config import load

    options = [f"prompts.layout={layout}", f"debate.agents={agents}", f"debate.rounds={rounds}"]
    rules = small(config=load("smoke", None, options), stop_on_consensus=stop)
    engine = Watched(slots, random.Random(seed))
    debates = held(problems(count), rules, engine)
    assert engine.most <= slots
    turns = {turn.seed: (debate.id, turn) for debate in debates for turn in debate.turns}
    spoken = Counter((debate.id, turn.agent, turn.round) for debate in debates for turn in debate.turns)
    assert set(spoken.values()) == {1}
    assert len(engine.asked) == len(turns)
    for debate in debates:
        held_rounds = len(debate.rounds)
        assert len(debate.turns) == agents * held_rounds
        assert stop or held_rounds == rounds
    for request in engine.asked:
        home, turn = turns[request.seed]
        text = "\n".join(message.content for message in request.messages)
        for shown in map(int, re.findall(r"turn (\d+) says", text)):
            assert turns[shown][0] == home
            assert turns[shown][1].round < turn.round
    assert debates == held(problems(count), rules, ScriptedEngine(by_seed(), slots=64))


@given(st.lists(SOME, min_size=1, max_size=7), st.integers(0, 99))
def test_votes(answers: list[str | None], seed: int) -> None:
    turns = [
        Turn(
            round=0,
            order=agent,
            agent=agent,
            seed=agent,
            prompt_digest="",
            text="",
            answer=answer,
            correct=answer == "1",
            finish_reason="stop",
            prompt_tokens=0,
            completion_tokens=0,
        )
        for agent, answer in enumerate(answers)
    ]
    round_ = tally(answers, "number")
    final = decide(round_, turns, seed)
    members = [agent for group in round_.classes for agent in group.agents]
    assert sorted(members) == [i for i, answer in enumerate(answers) if answer is not None]
    sizes = sorted((len(group.agents) for group in round_.classes), reverse=True)
    assert round_.agreement == (sizes[0] / len(answers) if sizes else 0)
    assert final.tie == (len(sizes) > 1 and sizes[0] == sizes[1])
    assert (final.answer is None) == (not members)
    if final.answer is not None:
        winner = next(group for group in round_.classes if group.answer == final.answer)
        assert len(winner.agents) == sizes[0]
        assert final.correct == turns[winner.agents[0]].correct


CHILD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from debates import by_seed, problems, small
    from arkloom.engines.scripted import ScriptedEngine
    from arkloom.protocol import DebateLog, hold

    folder = Path(sys.argv[1])
    log = DebateLog(folder / "out", folder / "scratch", 16)
    engine = ScriptedEngine(by_seed(), slots=8, latency=lambda request: request.seed % 7 / 1000)
    done = {problem for problem, _ in log.done}
    print("ready", flush=True)
    hold(problems(80), small(), engine, log.append, done=done)
    log.finish()
    """
)


@pytest.mark.timeout(600)
def test_kill_at_random_moments_then_resume_gives_the_same_files(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}

    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, str(folder)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole")
    began = time.monotonic()
    assert whole.wait(300) == 0
    limit = max(0.2, (time.monotonic() - began) / 6)
    chance, kills, codes = random.Random(7), 0, []
    while not codes or codes[-1] != 0:
        child = start(tmp_path / "killed")
        assert child.stdout is not None
        child.stdout.readline()
        try:
            codes.append(child.wait(chance.uniform(0, limit) if kills < 6 else 300))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            codes.append(child.wait())
            kills += 1
    assert kills >= 1
    files = {file.name: digest_file(file) for file in (tmp_path / "whole" / "out").glob("debates*")}
    assert files == {file.name: digest_file(file) for file in (tmp_path / "killed" / "out").glob("debates*")}
    assert len(files) == 5
