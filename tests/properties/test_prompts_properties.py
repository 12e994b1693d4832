"""What holds of every prompt of every debate, whatever is said in it."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom.canonical import derive_seed
from arkloom.engines.protocol import Request, Sampling
from arkloom.engines.scripted import ScriptedEngine
from arkloom.prompts import Prompts, profiles
from arkloom.protocol.scheduler import hold
from arkloom.protocol.society import Society
from arkloom.records import Agent, Message, ModelRef, Problem

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"), max_size=60)
PERSONA = st.none() | st.just("two\nlines") | TEXT.filter(str.strip)
PROBLEM = Problem(
    dataset="d", split="train", question="Which?", options=("x", "y"), gold="A", answer_type="mcq"
)
MARK = re.compile(r"<(\d),(\d)>")  # every answer begins with its round and agent

Prompts_ = dict[tuple[int, int], tuple[Message, ...]]


@st.composite
def debates(draw: st.DrawFn) -> dict[str, Any]:
    agents, rounds = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    turns = [(k, agent) for k in range(rounds) for agent in range(agents)]
    return {
        "profile": draw(st.sampled_from(profiles())),
        "personas": draw(st.lists(PERSONA, min_size=agents, max_size=agents)),
        "said": {(k, agent): f"<{k},{agent}> {draw(TEXT)}" for k, agent in turns},
        "rounds": rounds,
        "cap": draw(st.integers(1, 8)),
    }


def prompts_of(debate: dict[str, Any], layout: str) -> Prompts_:
    """Round and agent -> the messages that the protocol makes."""
    seen: Prompts_ = {}
    places = {derive_seed(0, PROBLEM.id, agent, k): (k, agent) for k, agent in debate["said"]}

    def speak(request: Request) -> str:
        place = places[request.seed]
        seen[place] = request.messages
        return str(debate["said"][place])

    society = Society(
        agents=tuple(Agent(id=i, model="m", persona=persona) for i, persona in enumerate(debate["personas"])),
        rounds=debate["rounds"],
        sampling=Sampling(max_tokens=100),
        prompts=Prompts(debate["profile"], layout),
        peer_token_cap=debate["cap"],
        models=(ModelRef(name="m"),),
        config_digest="0",
    )
    hold([PROBLEM], society, ScriptedEngine(speak), lambda *_: None)
    assert len(seen) == len(places)
    return seen


def marks(messages: tuple[Message, ...]) -> set[tuple[int, int]]:
    found = MARK.findall("\n".join(message.content for message in messages))
    return {(int(number), int(agent)) for number, agent in found}


@settings(max_examples=60, deadline=None)
@given(debates())
def test_shared_is_one_block_up_to_its_last_line(debate: dict[str, Any]) -> None:
    seen = prompts_of(debate, "shared")
    for number in range(debate["rounds"]):
        blocks = set()
        for agent in range(len(debate["personas"])):
            (message,) = seen[number, agent]
            block, _, tail = message.content.rpartition("\n")
            assert str(agent + 1) in tail
            blocks.add(block)
        assert len(blocks) == 1


@settings(max_examples=60, deadline=None)
@given(debates())
def test_nobody_reads_an_answer_of_the_round_being_spoken(debate: dict[str, Any]) -> None:
    agents = range(len(debate["personas"]))
    for (number, agent), messages in prompts_of(debate, "chat").items():
        assert marks(messages) == {(k, other) for k in range(number) for other in agents}, agent
    for (number, _), messages in prompts_of(debate, "shared").items():
        assert marks(messages) == {(number - 1, other) for other in agents if number}


@settings(max_examples=60, deadline=None)
@given(debates())
def test_a_chat_only_ever_grows(debate: dict[str, Any]) -> None:
    seen = prompts_of(debate, "chat")
    for (number, agent), messages in seen.items():
        if number:
            before = seen[number - 1, agent]
            assert messages[: len(before)] == before
            assert [message.role for message in messages[len(before) :]] == ["assistant", "user"]
