"""The natural profile as models see it: golden renderings through two chat templates.

A golden file is a JSON document: per case the messages, and the text after each chat template, all
as lists of lines. Documents are compared, not bytes. After a wanted change of wording, write them
anew and read the difference: ``ARKLOOM_REGENERATE=1 pytest tests/golden/test_natural_prompts.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from arkloom import answers
from arkloom.canonical import derive_seed
from arkloom.config import RunConfig
from arkloom.engines.protocol import Sampling
from arkloom.engines.scripted import ScriptedEngine
from arkloom.prompts import LAYOUTS, Prompts, Shown, View, extractive
from arkloom.protocol.scheduler import hold
from arkloom.protocol.society import Society
from arkloom.records import Agent, Message, ModelRef, Problem

FOLDER = Path(__file__).parent
TEMPLATES = ("chatml", "instructions")
TASKS: dict[str, dict[str, Any]] = json.loads((FOLDER / "natural" / "tasks.json").read_text())
PERSONAS = ("You check every result\nby a second way.", None, "You prefer pictures to formulas.")
KINDS = [kind for kind in TASKS if kind in answers.names()]


@lru_cache
def chat_template(name: str) -> Any:
    """The template in a real tokenizer: what it accepts and refuses is what a model's would."""
    transformers = pytest.importorskip("transformers", reason="needs the extra train")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    empty = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    source = (FOLDER / "chat_templates" / f"{name}.jinja").read_text()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=empty, chat_template=source)


def rendered(messages: Sequence[Message], template: str) -> str:
    chat = [{"role": message.role, "content": message.content} for message in messages]
    return str(chat_template(template).apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def document(messages: Sequence[Message]) -> dict[str, Any]:
    shown = [{"role": message.role, "content": message.content.split("\n")} for message in messages]
    return {"messages": shown, **{name: rendered(messages, name).split("\n") for name in TEMPLATES}}


def compare(name: str, found: Mapping[str, Any]) -> None:
    path = FOLDER / "natural" / f"{name}.json"
    if os.environ.get("ARKLOOM_REGENERATE"):
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(path.read_text()), f"{path.name} differs; see the head of this file"


def problem(kind: str) -> Problem:
    task = TASKS[kind]
    return Problem(
        dataset="golden",
        split="train",
        question=task["question"],
        options=tuple(task.get("options", ())),
        gold=task["gold"],
        answer_type=kind,
    )


def view(kind: str, agent: int, number: int) -> View:
    """Agent ``agent`` before round ``number`` of the task's debate of three."""
    spoken = TASKS[kind]["spoken"]
    return View(
        problem=problem(kind),
        agent=agent,
        persona=PERSONAS[agent],
        own=tuple(spoken[k][agent] for k in range(number)),
        peers=tuple(
            tuple(Shown(other, spoken[k][other]) for other in range(3) if other != agent)
            for k in range(number)
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rounds(kind: str, layout: str) -> None:
    prompts = Prompts("natural", layout)
    found = {f"round {k}": document(prompts.messages(view(kind, 0, k))) for k in range(3)}
    compare(f"{kind}-{layout}", found)


@pytest.mark.parametrize("kind", KINDS)
def test_student(kind: str) -> None:
    found = {layout: document(Prompts("natural", layout).student(problem(kind))) for layout in LAYOUTS}
    assert found["chat"] == found["shared"]
    compare(f"{kind}-student", found["chat"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_alone_and_in_brief(layout: str) -> None:
    prompts = Prompts("natural", layout)
    base = view("number", 0, 1)
    solo = View(base.problem, 0, base.persona, own=base.own, peers=((),))
    brief = extractive([(text, answers.extract(text, "number")) for text in TASKS["number"]["spoken"][0]])
    summed = View(base.problem, 0, base.persona, own=base.own, peers=base.peers, summaries=(brief,))
    neutral = View(base.problem, 1, None, own=base.own, peers=((),))
    found = {
        name: document(prompts.messages(one))
        for name, one in (("alone", solo), ("summary", summed), ("neutral", neutral))
    }
    compare(f"special-{layout}", found)


def played(kind: str, layout: str, spoken: Sequence[Sequence[str]], **rules: Any) -> list[dict[str, Any]]:
    """Every prompt that the protocol itself makes for agent 0 of a debate in which ``spoken`` is said."""
    context = rules.pop("context_length", 1 << 20)
    seen: dict[tuple[Message, ...], None] = {}

    def speak(request: Any) -> str:
        number, agent = places[request.seed]
        if agent == 0:
            seen[request.messages] = None
        return spoken[number][agent]

    society = Society(
        agents=tuple(Agent(id=i, model="golden", persona=PERSONAS[i]) for i in range(3)),
        rounds=len(spoken),
        sampling=Sampling(max_tokens=200),
        prompts=Prompts("natural", layout),
        models=(ModelRef(name="golden"),),
        config_digest="0",
        **{"peer_token_cap": RunConfig().prompts.peer_token_cap, **rules},
    )
    asked = problem(kind)
    turns = [(k, agent) for k in range(len(spoken)) for agent in range(3)]
    places = {derive_seed(society.seed, asked.id, agent, k): (k, agent) for k, agent in turns}
    debates: list[Any] = []
    engine = ScriptedEngine(speak, context_length=context)
    hold([asked], society, engine, lambda debate, _: debates.append(debate))
    assert debates[0].error is None, debates[0].error
    return [document(messages) for messages in seen]


WORDS = " ".join(f"word{n}" for n in range(120))
LONG = [[f"Agent {i} says: {WORDS} \\boxed{{7}}" for i in range(3)]] * 2
THINKING = [
    ["<think>Hidden: is it 7?</think>\nIt is \\boxed{7}.", "<think>Secret doubts", "\\boxed{8}"],
    ["\\boxed{7}"] * 3,
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_long_answers_are_cut_for_others(layout: str) -> None:
    found = played("number", layout, LONG, peer_token_cap=12)
    compare(f"truncation-{layout}", dict(zip(("round 0", "round 1"), found, strict=True)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_short_context_is_kept_to(layout: str) -> None:
    found = played("number", layout, LONG, context_length=420)
    words = sum(1 + len(" ".join(m["content"]).split()) for m in found[1]["messages"])
    assert words <= 420 - 64
    compare(f"budget-{layout}", dict(zip(("round 0", "round 1"), found, strict=True)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hidden_thinking_is_shown_to_nobody(layout: str) -> None:
    found = played("number", layout, THINKING)
    text = json.dumps(found)
    assert "Hidden" not in text
    assert "Secret" not in text
    assert "(no answer)" in text
    compare(f"thinking-{layout}", dict(zip(("round 0", "round 1"), found, strict=True)))


def test_a_system_text_opens_the_first_instruction_where_there_is_no_system_role() -> None:
    text = rendered(Prompts("natural", "chat").messages(view("number", 0, 1)), "instructions")
    assert text.startswith(f"[INST] {PERSONAS[0]}\n\n{TASKS['number']['question']}")
    assert text.count("[INST]") == 2
    assert "system" not in text


def test_every_file_is_used() -> None:
    expected = {f"{kind}-{part}" for kind in KINDS for part in (*LAYOUTS, "student")}
    cases = ("special", "truncation", "budget", "thinking")
    expected |= {f"{case}-{layout}" for case in cases for layout in LAYOUTS}
    assert {path.stem for path in (FOLDER / "natural").glob("*.json")} - {"tasks"} == expected
