"""Training examples of the tiny society, made by rule and rendered by the prompts it will be shown.

Two families. *Direct*: one persona alone states its own beliefs. *Debate*: an agent has answered and
sees others' answers; the target is what ``weigh`` makes of the values on the page. Half of the
debates have society peers; in the other half peers are wrong at random, partly in common, so that
only counting helps. A debate target never depends on the truth: it is a function of the stated values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from arkloom.prompts import LAYOUTS, Layout, Prompts, Shown, View, extractive
from arkloom.records import Message, Problem
from arkloom.tiny.society import (
    NEUTRAL,
    ORDERS,
    PERSONAS,
    Persona,
    Product,
    Statement,
    Sum,
    draw_problem,
    read_answer,
    read_statement,
    slip,
    trace,
    weigh_groups,
    weigh_statements,
)

PROMPTS: dict[Layout, Prompts] = {layout: Prompts("tiny", layout) for layout in LAYOUTS}
STUDENT_SHARE = 0.3  # of the direct examples
NEUTRAL_DEBATER_SHARE = 0.15
SUMMARY_SHARE = 0.15
SOLO_SHARE = 0.03
SUM_ERROR_SHARE = 0.03
UNIFORM_WRONG_SHARE = 0.7  # else a slip
BELIEVING_SHARE = 0.25  # of the agents at a noisy table
HIGHEST = 99
SIZES, SIZE_WEIGHTS = (2, 3, 4, 5), (0.04, 0.16, 0.25, 0.55)


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn from.

    Attributes:
        messages: The chat, the last message being the target.
        learned: Positions in ``messages`` of the assistant turns that the loss covers.
        kind: What it shows, for counting: ``direct`` or ``debate/<layout>/<round>/<peers>[/summary]``.
    """

    messages: tuple[Message, ...]
    learned: tuple[int, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """A debate on paper: who sits there and what each stated, round by round.

    Attributes:
        problem: What is debated.
        agents: Who debates, in agent order.
        stated: ``stated[r][i]`` = what agent i stated in round r.
        texts: ``texts[r][i]`` = how it wrote it.
        orders: ``orders[r][i]`` = in which order of operations.
        society: Whether round 0 is what the agents believe (else noise).
    """

    problem: Sum
    agents: tuple[Persona, ...]
    stated: tuple[tuple[Statement, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    orders: tuple[tuple[int, ...], ...]
    society: bool

    def view(self, agent: int, *, summarise: bool = False, layout: Layout = "chat") -> View:
        """What the agent sees after the rounds on the page."""
        others = [i for i in range(len(self.agents)) if i != agent]
        summaries: tuple[str | None, ...] = ()
        if summarise:
            counted = others if layout == "chat" else range(len(self.agents))
            summaries = tuple(extractive([_answered(texts[i]) for i in counted]) for texts in self.texts)
        return View(
            problem=as_problem(self.problem),
            agent=agent,
            persona=self.agents[agent].name,
            own=tuple(texts[agent] for texts in self.texts),
            peers=tuple(tuple(Shown(i, texts[i]) for i in others) for texts in self.texts),
            summaries=summaries,
        )


def as_problem(problem: Sum) -> Problem:
    """The problem as the prompts take it; the gold answer is never shown to them."""
    return Problem.model_construct(
        dataset="arithmetic", split="train", question=problem.question, options=(), gold=None,
        answer_type="number", meta={},
    )  # fmt: skip


def direct(random: Random, *, free: bool = True) -> Example:
    """One agent alone: the student, or a persona in either layout.

    Args:
        random: Decides everything.
        free: Each answer draws its order of operations; else every persona keeps to its own.
    """
    problem = draw_problem(random)
    if random.random() < STUDENT_SHARE:
        return _alone(problem, NEUTRAL, PROMPTS["chat"].student(as_problem(problem)), random, free)
    persona = _persona(random)
    view = View(as_problem(problem), agent=random.randrange(len(PERSONAS)), persona=persona.name)
    return _alone(problem, persona, PROMPTS[random.choice(LAYOUTS)].messages(view), random, free)


def _alone(
    problem: Sum, persona: Persona, prompt: tuple[Message, ...], random: Random, free: bool
) -> Example:
    text = trace(problem, persona.believe(problem, random), _order(persona, random, free))
    return Example((*prompt, Message(role="assistant", content=text)), (len(prompt),), "direct")


def debate(random: Random, *, free: bool = True) -> Example:
    """An agent that has answered sees what others answered and weighs; ``free`` as in ``direct``."""
    problem = draw_problem(random)
    layout = random.choice(LAYOUTS)
    rounds = random.choice((1, 2))
    if random.random() < SOLO_SHARE:
        return solo(problem, layout, rounds, random, free=free)
    table = sit(problem, rounds, random, society=random.random() < 0.5, free=free)
    agent = random.randrange(len(table.agents))
    return weighing(table, agent, layout, random, summarise=random.random() < SUMMARY_SHARE, free=free)


def sit(
    problem: Sum,
    rounds: int,
    random: Random,
    *,
    society: bool,
    size: int | None = None,
    free: bool = True,
) -> Table:
    """Debates ``rounds`` rounds on paper, by society peers or by peers that are wrong at random."""
    agents = _team(size or random.choices(SIZES, SIZE_WEIGHTS)[0], random)
    stated: list[tuple[Statement, ...]] = []
    for played in range(rounds):
        if played and (society or random.random() < 0.5):
            before = stated[-1]
            stated.append(tuple(weigh_statements(own, _without(before, i)) for i, own in enumerate(before)))
        elif society:
            stated.append(tuple(agent.believe(problem, random) for agent in agents))
        else:
            stated.append(noisy(problem, agents, random))
    orders = tuple(tuple(_order(agent, random, free) for agent in agents) for _ in stated)
    texts = tuple(
        tuple(
            trace(problem, statement, order, sum_error=0 if society else _sum_error(random))
            for order, statement in zip(written, statements, strict=True)
        )
        for written, statements in zip(orders, stated, strict=True)
    )
    return Table(problem, agents, tuple(stated), texts, orders, society)


def noisy(problem: Sum, agents: tuple[Persona, ...], random: Random) -> tuple[Statement, ...]:
    """Statements that are wrong about half the time, partly in common; few come from what agents know."""
    wrong_rate, common_rate = random.random(), random.random()
    common = {product: _wrong(product, random) for product in problem.products}

    def state(product: Product) -> int:
        if random.random() >= wrong_rate:
            return product[0] * product[1]
        return common[product] if random.random() < common_rate else _wrong(product, random)

    return tuple(
        agent.believe(problem, random)
        if random.random() < BELIEVING_SHARE
        else {product: state(product) for product in dict.fromkeys(problem.products)}
        for agent in agents
    )


def weighing(
    table: Table, agent: int, layout: Layout, random: Random, *, summarise: bool = False, free: bool = True
) -> Example:
    """The example in which ``agent`` weighs the last round on the table (chat: the earlier ones too)."""
    view = table.view(agent, summarise=summarise, layout=layout)
    prompt = PROMPTS[layout].messages(view)
    goal = target(table, agent, layout, random, summarise=summarise)
    order = _order(table.agents[agent], random, free)
    last = Message(role="assistant", content=trace(table.problem, goal, order))
    learned = [len(prompt)]
    alone = len(prompt) - 2 * view.round  # where round 0 stands in layout chat
    if layout == "chat" and table.society:
        learned.insert(0, alone)
    if layout == "chat" and view.round > 1:  # the turn before is a lesson too where it obeys the rule
        earlier = replace(table, stated=table.stated[:-1], texts=table.texts[:-1])
        before = target(earlier, agent, layout, random, summarise=summarise)
        if view.own[-1] == trace(table.problem, before, table.orders[-1][agent]):
            learned.insert(-1, len(prompt) - 2)
    kind = f"debate/{layout}/{view.round}/{len(table.agents) - 1}{'/summary' if summarise else ''}"
    return Example((*prompt, last), tuple(learned), kind)


def target(table: Table, agent: int, layout: Layout, random: Random, *, summarise: bool) -> Statement:
    """What the agent should state next: a function of what stands on the page and its own belief."""
    own = table.stated[-1][agent]
    if not summarise:
        return weigh_statements(own, _without(table.stated[-1], agent))
    counted = range(len(table.agents)) if layout == "shared" else _others(table, agent)
    groups = _groups([table.texts[-1][i] for i in counted])
    if layout == "chat":
        return weigh_groups(own, groups, votes=True)
    return weigh_groups(table.agents[agent].believe(table.problem, random), groups, votes=False)


def solo(problem: Sum, layout: Layout, rounds: int, random: Random, *, free: bool = True) -> Example:
    """Nobody else answers: what was stated is stated again."""
    persona = _persona(random)
    own = trace(problem, persona.believe(problem, random), _order(persona, random, free))
    view = View(
        as_problem(problem), agent=random.randrange(len(PERSONAS)), persona=persona.name,
        own=(own,) * rounds, peers=((),) * rounds,
    )  # fmt: skip
    prompt = PROMPTS[layout].messages(view)
    last = Message(role="assistant", content=own)
    return Example((*prompt, last), (len(prompt),), f"debate/{layout}/{rounds}/0")


def _groups(texts: list[str]) -> list[tuple[Statement, int]]:
    """The groups that ``extractive`` shows, read back: (statement of the trace shown, agents)."""
    grouped: dict[int | None, list[str]] = {}
    for text in texts:
        grouped.setdefault(read_answer(text), []).append(text)
    return [(read_statement(min(same, key=len)), len(same)) for same in grouped.values()]


def _answered(text: str) -> tuple[str, str | None]:
    answer = read_answer(text)
    return text, None if answer is None else str(answer)


def _team(size: int, random: Random) -> tuple[Persona, ...]:
    if random.random() < NEUTRAL_DEBATER_SHARE:
        return (NEUTRAL,) * size
    return tuple(random.sample(PERSONAS, size))


def _order(persona: Persona, random: Random, free: bool) -> int:
    return random.randrange(ORDERS) if free else persona.order


def _persona(random: Random) -> Persona:
    return NEUTRAL if random.random() < NEUTRAL_DEBATER_SHARE else random.choice(PERSONAS)


def _wrong(product: Product, random: Random) -> int:
    right = product[0] * product[1]
    if random.random() >= UNIFORM_WRONG_SHARE:
        return slip(right, random)
    return random.choice([value for value in range(HIGHEST + 1) if value != right])


def _sum_error(random: Random) -> int:
    return random.choice((-10, -1, 1, 10)) if random.random() < SUM_ERROR_SHARE else 0


def _without(statements: tuple[Statement, ...], agent: int) -> list[Statement]:
    return [statement for i, statement in enumerate(statements) if i != agent]


def _others(table: Table, agent: int) -> list[int]:
    return [i for i in range(len(table.agents)) if i != agent]
