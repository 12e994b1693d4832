"""The two layouts through the tiny profile: what each agent is shown, and what no agent may see."""

from __future__ import annotations

import pytest

from arkloom.errors import BadInputError
from arkloom.prompts import LAYOUTS, Prompts, Shown, View, extractive
from arkloom.records import Problem

PROBLEM = Problem(dataset="arithmetic", split="train", question="2+7*5+3-4*6", gold="16")
ANSWERS = ("7*5=35\n#### 16", "7*5=40\n#### 21", "7*5=30\n#### 11")
LATER = ("7*5=35\n#### 17", "7*5=35\n#### 18", "7*5=35\n#### 19")


def view(
    agent: int, rounds: int, *, summaries: tuple[str | None, ...] = (), persona: str | None = "p"
) -> View:
    played = (ANSWERS, LATER)[:rounds]
    return View(
        problem=PROBLEM,
        agent=agent,
        persona=None if persona is None else f"p{agent + 1}",
        own=tuple(texts[agent] for texts in played),
        peers=tuple(tuple(Shown(i, t) for i, t in enumerate(texts) if i != agent) for texts in played),
        summaries=summaries,
    )


def shape(messages: tuple) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def test_chat_is_append_only_and_heads_each_peer_with_its_number():
    assert shape(Prompts("tiny", "chat").messages(view(1, 2))) == [
        ("system", "p2"),
        ("user", "2+7*5+3-4*6"),
        ("assistant", ANSWERS[1]),
        ("user", f"agent 1:\n{ANSWERS[0]}\nagent 3:\n{ANSWERS[2]}"),
        ("assistant", LATER[1]),
        ("user", f"agent 1:\n{LATER[0]}\nagent 3:\n{LATER[2]}"),
    ]


def test_chat_of_a_round_is_a_prefix_of_the_next():
    prompts = Prompts("tiny", "chat")
    for rounds in (0, 1):
        earlier, later = prompts.messages(view(0, rounds)), prompts.messages(view(0, rounds + 1))
        assert later[: len(earlier)] == earlier


def test_shared_shows_all_answers_of_the_last_round_in_agent_order():
    assert shape(Prompts("tiny", "shared").messages(view(1, 2))) == [
        (
            "user",
            f"2+7*5+3-4*6\nagent 1:\n{LATER[0]}\nagent 2:\n{LATER[1]}\nagent 3:\n{LATER[2]}\nagent 2 p2",
        )
    ]


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_shared_differs_between_agents_in_the_last_line_alone(rounds):
    prompts = Prompts("tiny", "shared")
    bodies, tails = set(), set()
    for agent in range(3):
        (message,) = prompts.messages(view(agent, rounds))
        body, tail = message.content.rsplit("\n", 1)
        bodies.add(body)
        tails.add(tail)
    assert len(bodies) == 1
    assert tails == {"agent 1 p1", "agent 2 p2", "agent 3 p3"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_summary_stands_in_place_of_the_answers(layout):
    last = Prompts("tiny", layout).messages(view(0, 1, summaries=("THE SUMMARY",)))[-1].content
    assert "THE SUMMARY" in last
    assert ANSWERS[1] not in last
    assert ANSWERS[2] not in last


def test_a_summary_of_one_round_leaves_the_others_alone():
    messages = Prompts("tiny", "chat").messages(view(0, 2, summaries=(None, "LATE")))
    assert ANSWERS[1] in messages[3].content
    assert messages[5].content == "LATE"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_peers_the_agent_is_told_to_think_again(layout):
    alone = View(PROBLEM, agent=2, persona="p3", own=("#### 1",), peers=((),))
    last = Prompts("tiny", layout).messages(alone)[-1].content
    assert "think again" in last
    assert "think again" not in Prompts("tiny", layout).messages(view(2, 1))[-1].content


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_persona_leaves_no_trace_of_one(layout):
    messages = Prompts("tiny", layout).messages(view(0, 1, persona=None))
    assert all(message.role != "system" for message in messages)
    assert "None" not in "".join(message.content for message in messages)


def test_the_student_is_asked_the_same_whatever_the_layout():
    asked = {Prompts("tiny", layout).student(PROBLEM) for layout in LAYOUTS}
    assert [shape(messages) for messages in asked] == [[("user", "2+7*5+3-4*6")]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gold_is_never_shown(layout):
    hidden = PROBLEM.model_copy(update={"gold": "987654"})
    for rounds in range(3):
        shown = View(hidden, own=("x",) * rounds, peers=((Shown(1, "y"),),) * rounds)
        assert all("987654" not in message.content for message in Prompts("tiny", layout).messages(shown))


@pytest.mark.parametrize(("profile", "layout"), [("huge", "chat"), ("tiny", "loud"), ("../tiny", "chat")])
def test_unknown_profile_or_layout_is_bad_input(profile, layout):
    with pytest.raises(BadInputError, match="Known: "):
        Prompts(profile, layout)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([("a", "1")], "1 agent:\na"),
        ([("long one", "1"), ("b", "2"), ("a", "1")], "2 agents:\na\n1 agent:\nb"),
        ([("a", "1"), ("b", "2")], "1 agent:\na\n1 agent:\nb"),
        ([("mumble", None), ("a", "1"), ("b", "1")], "2 agents:\na\n1 agent:\nmumble"),
        ([], ""),
    ],
)
def test_extractive_summary(answers, expected):
    assert extractive(answers) == expected
