"""The causal check of the tiny society: does a debater use its peers, and only its peers?

A debater that knew the answer whenever peers are shown would read 1.0 whatever they say; such a
debate is a fake. So one debater a problem keeps its own first answer and is shown, in turn: nobody
(``alone``), peers who are right, its society, peers who answer other problems, and peers who all
state the same wrong values, drawn three ways. The problems were held out of training.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from arkloom.errors import BadInputError
from arkloom.prompts import LAYOUTS, Layout, Shown, View
from arkloom.records import Message
from arkloom.tiny import weights
from arkloom.tiny.examples import HIGHEST, PROMPTS, as_problem, sit
from arkloom.tiny.report import table
from arkloom.tiny.society import (
    NEUTRAL,
    PERSONAS,
    Persona,
    Statement,
    Sum,
    draw_problem,
    read_answer,
    read_statement,
    slip,
    trace,
    weigh_statements,
    well_formed,
)
from arkloom.tiny.speak import Speaker

log = logging.getLogger(__name__)

TEMPERATURE = 0.3
ROUNDS = 3
UNTAUGHT = (7, 3)  # added to the two products: never taught as a slip, and they do not cancel out
KIND_PROBLEMS = 60
Chat = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Desk:
    """One debater with a problem, its own first answer and its society's first answers."""

    problem: Sum
    agent: int
    own: str
    society: tuple[str, ...]

    @property
    def peers(self) -> list[int]:
        """The other agents' numbers."""
        return [i for i in range(len(PERSONAS)) if i != self.agent]

    def chat(self, layout: Layout, texts: Sequence[str]) -> Chat:
        """What it is shown when its peers answered ``texts``."""
        shown = tuple(Shown(i, text) for i, text in zip(self.peers, texts, strict=True))
        return PROMPTS[layout].messages(
            View(
                problem=as_problem(self.problem), agent=self.agent, persona=PERSONAS[self.agent].name,
                own=(self.own,), peers=(shown,),
            )
        )  # fmt: skip


def check(model_dir: Path | None = None, problems: int = 500, seed: int = 11) -> dict[str, Any]:
    """Runs every check at temperature 0.3 in both layouts.

    Args:
        model_dir: The model to check; default: the shipped weights.
        problems: Held-out problems for the causal check and for the debates.
        seed: Of the problems, the lies and the sampling.

    Returns:
        ``{"problems", "temperature", "base", "layouts": {layout: {"alone", "right", "society",
        "other_problems", "lies": {how: {"accuracy", "follow_answer", "follow_products"}}, "debate":
        {"agents", "vote"}, "rule_obeyed"}}, "well_formed": {kind: share}}``;
        all shares of 1.

    Raises:
        BadInputError: ``model_dir`` holds no model, or no problem is asked for.
    """
    if problems < 1:
        raise BadInputError(f"{problems} problems", mend="Give at least 1")
    speaker = Speaker(model_dir or weights(), seed=seed, temperature=TEMPERATURE)
    random = Random(f"check/{seed}")  # noqa: S311  (no secret)
    drawn = distinct_problems(problems, random)
    log.info("checking on %d problems", problems)
    alone = speaker.answer([PROMPTS["chat"].student(as_problem(problem)) for problem in drawn])
    return {
        "problems": problems,
        "temperature": TEMPERATURE,
        "base": accuracy(drawn, alone),
        "layouts": {layout: _layout(speaker, drawn, layout, random) for layout in LAYOUTS},
        "well_formed": formedness(speaker, random),
    }


def print_check(result: dict[str, Any]) -> None:
    """Prints what ``check`` found, as plain tables."""
    print(table(result))


def distinct_problems(count: int, random: Random) -> list[Sum]:
    """Problems that training never saw, each once."""
    drawn: dict[Sum, None] = {}
    while len(drawn) < count:
        drawn[draw_problem(random, held_out=True)] = None
    return list(drawn)


def accuracy(problems: Sequence[Sum], answers: Sequence[str]) -> float:
    """Share of answers whose final number is right."""
    right = [read_answer(text) == truth(problem) for problem, text in zip(problems, answers, strict=True)]
    return sum(right) / len(right)


def truth(problem: Sum) -> int:
    """The right result."""
    return problem.value(right_statement(problem))


def right_statement(problem: Sum) -> Statement:
    """The right products."""
    return {(left, right): left * right for left, right in problem.products}


def lie_slip(problem: Sum, random: Random) -> Statement:
    """Near misses of both products, as taught."""
    return {(left, right): slip(left * right, random) for left, right in problem.products}


def lie_untaught(problem: Sum, random: Random) -> Statement:
    """Both products moved by offsets that are never taught."""
    del random
    return {
        (left, right): left * right + offset
        for (left, right), offset in zip(problem.products, UNTAUGHT, strict=True)
    }


def lie_uniform(problem: Sum, random: Random) -> Statement:
    """Any other values in 0..99."""
    return {
        (left, right): random.choice([value for value in range(HIGHEST + 1) if value != left * right])
        for left, right in problem.products
    }


LIES: dict[str, Callable[[Sum, Random], Statement]] = {
    "slip": lie_slip,
    "untaught": lie_untaught,
    "uniform": lie_uniform,
}


def lie(problem: Sum, how: str, random: Random) -> Statement:
    """Wrong values whose final answer is wrong too (+7 on both products would cancel out).

    A problem whose two products are the same one is right whatever they are held to be.
    """
    while True:
        statement = LIES[how](problem, random)
        if problem.value(statement) != truth(problem):
            return statement


def _layout(speaker: Speaker, problems: Sequence[Sum], layout: Layout, random: Random) -> dict[str, Any]:
    rounds = debate(speaker, problems, layout)
    first = rounds[0]
    desks = [
        Desk(problem, i % len(PERSONAS), texts[i % len(PERSONAS)], tuple(texts))
        for i, (problem, texts) in enumerate(zip(problems, first, strict=True))
        if problem.products[0] != problem.products[1]
    ]
    asked = [desk.problem for desk in desks]

    def after(shown: Sequence[Sequence[str]]) -> list[str]:
        return speaker.answer([desk.chat(layout, texts) for desk, texts in zip(desks, shown, strict=True)])

    log.info("layout %s: debates played, now one debater with other peers", layout)
    society = [[desk.society[i] for i in desk.peers] for desk in desks]
    swayed = after(society)
    obeyed = [
        read_statement(text) == weigh_statements(read_statement(desk.own), [read_statement(t) for t in texts])
        for desk, text, texts in zip(desks, swayed, society, strict=True)
    ]
    lies: dict[str, dict[str, float]] = {}
    for how in LIES:
        told = [lie(desk.problem, how, random) for desk in desks]
        lies[how] = _lied(desks, told, after([unanimous(d, t) for d, t in zip(desks, told, strict=True)]))
    votes = [
        [vote(texts) == truth(p) for p, texts in zip(problems, played, strict=True)] for played in rounds
    ]
    return {
        "alone": accuracy(asked, [desk.own for desk in desks]),
        "right": accuracy(asked, after([unanimous(desk, right_statement(desk.problem)) for desk in desks])),
        "society": accuracy(asked, swayed),
        "other_problems": accuracy(asked, after([strangers(desk, desks, random) for desk in desks])),
        "lies": lies,
        "debate": {
            "agents": [
                sum(accuracy(problems, [texts[i] for texts in played]) for i in range(len(PERSONAS)))
                / len(PERSONAS)
                for played in rounds
            ],
            "vote": [sum(right) / len(right) for right in votes],
        },
        "rule_obeyed": sum(obeyed) / len(obeyed),
    }


def unanimous(desk: Desk, statement: Statement) -> list[str]:
    """The same values from every peer, each in its own order of operations."""
    return [trace(desk.problem, statement, PERSONAS[i].order) for i in desk.peers]


def strangers(desk: Desk, desks: Sequence[Desk], random: Random) -> list[str]:
    """What each peer said to another problem, drawn apart, that has no product in common."""
    texts: list[str] = []
    for i in desk.peers:
        while True:
            other = random.choice(desks)
            if set(other.problem.products).isdisjoint(desk.problem.products):
                texts.append(other.society[i])
                break
    return texts


def _lied(desks: Sequence[Desk], told: Sequence[Statement], answers: Sequence[str]) -> dict[str, float]:
    asked = [desk.problem for desk in desks]
    answer = [read_answer(text) == p.value(s) for p, s, text in zip(asked, told, answers, strict=True)]
    products = [read_statement(text) == s for s, text in zip(told, answers, strict=True)]
    return {
        "accuracy": accuracy(asked, answers),
        "follow_answer": sum(answer) / len(answer),
        "follow_products": sum(products) / len(products),
    }


def debate(speaker: Speaker, problems: Sequence[Sum], layout: Layout) -> list[list[list[str]]]:
    """Plays debates of the five personas: ``[round][problem][agent]`` = text."""
    rounds: list[list[list[str]]] = []
    size = len(PERSONAS)
    for _ in range(ROUNDS):
        chats = [
            PROMPTS[layout].messages(_seen(problem, PERSONAS[agent], agent, [r[p] for r in rounds]))
            for p, problem in enumerate(problems)
            for agent in range(size)
        ]
        texts = speaker.answer(chats)
        rounds.append([texts[p * size : (p + 1) * size] for p in range(len(problems))])
    return rounds


def _seen(problem: Sum, persona: Persona, agent: int, played: Sequence[Sequence[str]]) -> View:
    return View(
        problem=as_problem(problem), agent=agent, persona=persona.name,
        own=tuple(texts[agent] for texts in played),
        peers=tuple(tuple(Shown(i, t) for i, t in enumerate(texts) if i != agent) for texts in played),
    )  # fmt: skip


def vote(texts: Sequence[str]) -> int | None:
    """The most frequent answer, the first of those that tie."""
    counts = Counter(answer for text in texts if (answer := read_answer(text)) is not None)
    return counts.most_common(1)[0][0] if counts else None


def formedness(speaker: Speaker, random: Random) -> dict[str, float]:
    """Share of well-formed answers for each kind of turn that training showed."""
    kinds: dict[str, list[Chat]] = {"student": []}
    for _ in range(KIND_PROBLEMS):
        problem = draw_problem(random, held_out=True)
        kinds["student"].append(PROMPTS["chat"].student(as_problem(problem)))
        for layout in LAYOUTS:
            for kind, view in _views(problem, layout, random):
                kinds.setdefault(f"{layout}/{kind}", []).append(PROMPTS[layout].messages(view))
    answers = speaker.answer([chat for chats in kinds.values() for chat in chats])
    shares: dict[str, float] = {}
    for position, kind in enumerate(kinds):
        texts = answers[position * KIND_PROBLEMS : (position + 1) * KIND_PROBLEMS]
        shares[kind] = sum(map(well_formed, texts)) / len(texts)
    return shares


def _views(problem: Sum, layout: Layout, random: Random) -> list[tuple[str, View]]:
    persona = random.choice((NEUTRAL, *PERSONAS))
    views = [("round 0", View(as_problem(problem), agent=random.randrange(5), persona=persona.name))]
    for played in (1, 2):
        own = trace(problem, persona.believe(problem, random), persona.order)
        views.append(
            (
                f"round {played}, no peers",
                View(as_problem(problem), 0, persona.name, own=(own,) * played, peers=((),) * played),
            )
        )
        for peers in (2, 3, 4):
            table = sit(problem, played, random, society=True, size=peers + 1)
            agent = random.randrange(peers + 1)
            for summarise in (False, True):
                name = f"round {played}, {peers} peers{', summary' if summarise else ''}"
                views.append((name, table.view(agent, summarise=summarise, layout=layout)))
    return views
