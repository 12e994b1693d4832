"""What foreign logs have in common, and how it becomes a ``debate.v1`` record.

Answers are read and graded here, as the debate stage does for its own turns. What a log does not tell
stays visibly unknown: token counts are 0, ``finish_reason`` is "unknown".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from arkloom.answers import extract, grade
from arkloom.canonical import derive_seed, digest
from arkloom.engines.thinking import CLOSE, split_thinking
from arkloom.protocol.votes import decide, tally
from arkloom.records import Agent, Debate, ModelRef, Problem, Split, Stop, Turn, TurnRef

_ASKED = re.compile(
    r"\s*(?:Can you answer the following question as accurately as possible\?)?\s*(?P<question>.+?)\s*:\s*"
    r"A\)\s(?P<options>.+, B\)\s.+?)\s*"
    r"(?:Answer in English only\.)?\s*(?:Explain your answer, putting the answer in the form .*)?",
    re.DOTALL,
)
_NEXT_OPTION = re.compile(r",\s+[B-J]\)\s")


@dataclass(frozen=True, slots=True)
class Recording:
    """One debate as another project wrote it down.

    Attributes:
        name: Its name in that log; the record's seed is derived from it, so that several recordings
            of one problem keep keys of their own.
        rounds: ``rounds[k][i]`` = text of agent i in round k; every agent saw all the others' last round.
    """

    name: str
    task: str
    model: str
    personas: tuple[str, ...]
    question: str
    options: tuple[str, ...]
    gold: str | None
    rounds: tuple[tuple[str, ...], ...]


def parse_question(text: str) -> tuple[str, tuple[str, ...]]:
    """Question and options of "... the question: A) x, B) y ..."; any other text is all question."""
    match = _ASKED.fullmatch(text)
    if match is None:
        return text.strip(), ()
    return match["question"], tuple(part.strip() for part in _NEXT_OPTION.split(match["options"]))


def answer_type_of(task: str, options: Sequence[str]) -> str:
    """Letters where there are options; else by the name of the task."""
    if options or task.startswith("mmlu"):
        return "mcq"
    return "math" if task.startswith("math") else "number"


def debate_of(recording: Recording, split: Split) -> Debate:
    """The record, with answers read, graded and counted."""
    kind = answer_type_of(recording.task, recording.options)
    problem = Problem(
        dataset=recording.task,
        split=split,
        question=recording.question,
        options=recording.options,
        gold=recording.gold,
        answer_type=kind,
    )
    seed = derive_seed("recording", recording.name)
    turns = [
        _turn(recording, problem, number, agent, seed)
        for number, texts in enumerate(recording.rounds)
        for agent in range(len(texts))
    ]
    count = len(recording.rounds[0])
    played = [[t for t in turns if t.round == number] for number in range(len(recording.rounds))]
    rounds = tuple(tally([turn.answer for turn in texts], kind) for texts in played)
    return Debate(
        id=problem.id,
        dataset=problem.dataset,
        split=split,
        question=problem.question,
        options=problem.options,
        gold=problem.gold,
        answer_type=kind,
        seed=seed,
        config_digest=digest(["recording", recording.model, list(recording.personas), count, len(rounds)]),
        models=(ModelRef(name=recording.model),),
        agents=tuple(
            Agent(
                id=agent,
                model=recording.model,
                persona=recording.personas[agent] if agent < len(recording.personas) else None,
            )
            for agent in range(count)
        ),
        turns=tuple(turns),
        rounds=rounds,
        stop=Stop(round=len(rounds) - 1, reason="rounds"),
        final=decide(rounds[-1], played[-1], seed, problem.id),
    )


def _turn(recording: Recording, problem: Problem, number: int, agent: int, seed: int) -> Turn:
    said = recording.rounds[number][agent]
    text, thinking = split_thinking(said)
    cut = thinking is not None and CLOSE not in said  # the thought never ended: it was cut
    answer = extract(text, problem.answer_type)
    return Turn(
        round=number,
        order=agent,
        agent=agent,
        seed=derive_seed(seed, problem.id, agent, number),
        prompt_digest=digest(["recording", recording.name, number, agent]),
        source_turns=tuple(
            TurnRef(round=number - 1, agent=peer)
            for peer in range(len(recording.rounds[number]))
            if number > 0 and peer != agent
        ),
        text=text,
        thinking=thinking,
        answer_raw=answer,
        answer=answer,
        correct=None if problem.gold is None else grade(answer, problem.gold, problem.answer_type),
        finish_reason="length" if cut else "unknown",
        prompt_tokens=0,
        completion_tokens=0,
    )
