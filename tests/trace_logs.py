"""Debates for tests of traces and filter, written as what each agent said in each round."""

from __future__ import annotations

from collections.abc import Sequence

from arkloom.answers import extract, grade
from arkloom.canonical import digest
from arkloom.protocol.votes import decide, tally
from arkloom.records import Agent, Debate, ModelRef, Problem, Split, Stop, Turn, TurnRef

# An expression, a right and a wrong way to work it out, and another right one.
ASKED = "2+7*5+3-4*6"
RIGHT = "7*5=35\n4*6=24\n2+35=37\n37+3=40\n40-24=16\n#### 16"
WRONG = "7*5=33\n4*6=24\n2+33=35\n35+3=38\n38-24=14\n#### 14"
OTHER = "2+3=5\n7*5=35\n4*6=24\n5+35=40\n40-24=16\nso it is sixteen\n#### 16"


def debate(
    question: str,
    gold: str | None,
    said: Sequence[Sequence[str]],
    *,
    seed: int = 0,
    split: Split = "train",
    answer_type: str = "number",
    options: tuple[str, ...] = (),
    finish: str = "stop",
    stop: str = "rounds",
    dataset: str = "test-problems",
) -> Debate:
    """A debate from ``said[round][agent]``; every agent sees all others' last answers, graded for real."""
    problem = Problem(
        dataset=dataset, split=split, question=question, gold=gold, answer_type=answer_type, options=options
    )
    rounds = [
        [_turn(problem, number, agent, text, len(texts), finish) for agent, text in enumerate(texts)]
        for number, texts in enumerate(said)
    ]
    counted = [tally([turn.answer for turn in turns], answer_type) for turns in rounds]
    return Debate(
        id=problem.id,
        dataset=problem.dataset,
        split=split,
        question=question,
        options=options,
        gold=gold,
        answer_type=answer_type,
        seed=seed,
        protocol="debate" if len(said) > 1 else "vote",
        config_digest="0",
        models=(ModelRef(name="scripted"),),
        agents=tuple(Agent(id=i, model="scripted") for i in range(len(said[0]))),
        turns=tuple(turn for turns in rounds for turn in turns),
        rounds=tuple(counted),
        stop=Stop(round=len(said) - 1, reason="consensus" if stop == "consensus" else "rounds"),
        final=decide(counted[-1], rounds[-1], seed, problem.id),
    )


def _turn(problem: Problem, number: int, agent: int, text: str, agents: int, finish: str) -> Turn:
    answer = extract(text, problem.answer_type)
    return Turn(
        round=number,
        order=agent,
        agent=agent,
        seed=agent,
        prompt_digest=digest([number, agent]),
        source_turns=tuple(
            TurnRef(round=number - 1, agent=i) for i in range(agents) if number and i != agent
        ),
        text=text,
        answer_raw=answer,
        answer=answer,
        correct=None if problem.gold is None else grade(answer, problem.gold, problem.answer_type),
        finish_reason=finish,
        prompt_tokens=10,
        completion_tokens=len(text.split()),
    )
