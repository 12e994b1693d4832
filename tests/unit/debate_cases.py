"""Debates written for the report's tests: a wrong vote that is turned, hostile text, long prose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from arkloom.records import Agent, AnswerClass, Debate, Final, ModelRef, Problem, Round, Turn, TurnRef

PERSONAS = ("p1", "p2", "p3", "p4", "p5")


def debate(
    question: str, gold: str | None, spoken: Sequence[Sequence[tuple[str, str | None]]], seed: int = 0
) -> Debate:
    """A debate from ``spoken[round][agent] = (text, answer)``, graded by equality with the gold."""
    problem = Problem(dataset="arithmetic", split="test", question=question, gold=gold)
    turns, rounds = [], []
    for number, answers in enumerate(spoken):
        for agent, (text, answer) in enumerate(answers):
            shown = tuple(TurnRef(round=number - 1, agent=i) for i in range(len(answers)) if i != agent)
            turns.append(
                Turn(
                    round=number,
                    order=agent,
                    agent=agent,
                    seed=agent,
                    prompt_digest="0",
                    source_turns=shown if number else (),
                    text=text,
                    answer_raw=answer,
                    answer=answer,
                    correct=None if gold is None or answer is None else answer == gold,
                    finish_reason="stop",
                    prompt_tokens=20,
                    completion_tokens=40,
                )
            )
        rounds.append(_round([answer for _, answer in answers]))
    best = rounds[-1].classes[0].answer if rounds[-1].classes else None
    return Debate(
        id=problem.id,
        dataset="arithmetic",
        split="test",
        question=question,
        gold=gold,
        answer_type="number",
        seed=seed,
        config_digest="0",
        models=(ModelRef(name="tiny"),),
        agents=tuple(Agent(id=i, model="tiny", persona=PERSONAS[i]) for i in range(len(spoken[0]))),
        turns=tuple(turns),
        rounds=tuple(rounds),
        final=Final(answer=best, correct=None if gold is None else best == gold),
    )


def _round(answers: Sequence[str | None]) -> Round:
    counts = Counter(answer for answer in answers if answer is not None)
    classes = tuple(
        AnswerClass(answer=name, agents=tuple(i for i, held in enumerate(answers) if held == name))
        for name, _ in counts.most_common()
    )
    return Round(classes=classes, agreement=max(counts.values(), default=0) / len(answers))


def work(
    a: int, bc: tuple[int, int], d: int, ef: tuple[int, int], first: int, second: int
) -> tuple[str, str]:
    """``a+b*c+d-e*f`` worked out with the two products taken for ``first`` and ``second``."""
    lines = [f"{bc[0]}*{bc[1]}={first}", f"{ef[0]}*{ef[1]}={second}", f"{a}+{first}={a + first}"]
    lines.append(f"{a + first}+{d}={a + first + d}")
    result = a + first + d - second
    return "\n".join([*lines, f"{a + first + d}-{second}={result}", f"#### {result}"]), str(result)


def society_debate(
    products: Sequence[Sequence[tuple[int, int]]], terms: Sequence[int] = (2, 7, 5, 3, 4, 6)
) -> Debate:
    """A debate on one problem from the products that each agent states in each round."""
    a, b, c, d, e, f = terms
    gold = str(a + b * c + d - e * f)
    spoken = [[work(a, (b, c), d, (e, f), *stated) for stated in number] for number in products]
    return debate(f"{a}+{b}*{c}+{d}-{e}*{f}", gold, spoken)


def three_debates() -> list[Debate]:
    """A wrong first vote that is turned; a plain correction; a debate that loses the right answer."""
    return [
        society_debate(
            [
                [(35, 24), (42, 24), (35, 32), (35, 36), (42, 24)],
                [(35, 24), (35, 24), (35, 24), (35, 24), (42, 24)],
                [(35, 24)] * 5,
            ]
        ),
        society_debate(
            [
                [(48, 18), (48, 20), (40, 18), (48, 18), (54, 18)],
                [(48, 18)] * 5,
                [(48, 18)] * 5,
            ],
            (4, 6, 8, 1, 9, 2),
        ),
        society_debate(
            [
                [(63, 15), (56, 15), (70, 12), (56, 18), (63, 10)],
                [(56, 15), (56, 15), (56, 15), (56, 15), (63, 15)],
                [(56, 15)] * 5,
            ],
            (1, 7, 9, 0, 3, 5),
        ),
    ]
