"""Deadlines of turns, budgets of debates, and who goes first at the end."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from arkloom.canonical import derive_seed
from arkloom.engines.protocol import Completion, Request
from arkloom.engines.scripted import ScriptedEngine
from arkloom.errors import ResumeError
from arkloom.protocol import Budget, hold
from arkloom.protocol.gate import Gate
from arkloom.records import Debate, Problem
from debates import by_seed, held, problems, small


class Straggler(ScriptedEngine):
    """Never answers some requests, or not the first time."""

    def __init__(self, stuck: Callable[[Request], bool], times: int) -> None:
        super().__init__(by_seed(), slots=4)
        self._stuck, self._times = stuck, times
        self.asked: dict[int, int] = {}
        self.flying = 0

    async def generate(self, request: Request) -> Completion:
        self.asked[request.seed] = self.asked.get(request.seed, 0) + 1
        self.flying += 1
        try:
            if self._stuck(request) and self.asked[request.seed] <= self._times:
                await asyncio.Event().wait()
            return await super().generate(request)
        finally:
            self.flying -= 1


def first_turn(request: Request) -> bool:
    return request.seed == derive_seed(0, problems(1)[0].id, 0, 0)


def test_a_turn_over_its_time_is_asked_once_more_and_the_record_is_the_same() -> None:
    engine = Straggler(first_turn, times=1)
    assert held(problems(6), small(), engine, turn_seconds=0.2) == held(problems(6), small())
    assert sorted(engine.asked.values())[-2:] == [1, 2]


def test_a_turn_that_never_ends_fails_its_debate_alone() -> None:
    engine = Straggler(first_turn, times=9)
    debates = held(problems(30), small(), engine, turn_seconds=0.2)
    (failed,) = [debate for debate in debates if debate.error]
    assert failed.question == "0+1"
    assert failed.error is not None
    assert "no answer within 0.2 s, asked 2 times" in failed.error.message
    assert (len(debates), engine.flying) == (30, 0)


@pytest.mark.parametrize("protocol", ["debate", "vote"])
def test_an_engine_that_serves_nobody_any_more_ends_all_and_makes_no_errors_of_what_is_left(
    protocol: str,
) -> None:
    class Gone(ScriptedEngine):
        async def generate(self, request: Request) -> Completion:
            if self.asked == 250:
                raise ResumeError("no endpoint answers")
            self.asked += 1
            return await super().generate(request)

        asked = 0

    told: list[Debate] = []
    society = small(protocol=protocol)
    if protocol == "vote":  # draws until a budget is spent
        society = replace(society, draws=9, budgets={problem.id: 9_999 for problem in problems(40)})
    with pytest.raises(ResumeError, match="no endpoint answers"):
        hold(problems(40), society, Gone(by_seed(), slots=4), lambda debate, _: told.append(debate))
    assert 1 < len(told) < 40
    assert [debate.error for debate in told] == [None] * len(told)


def test_stragglers_leave_their_places_to_others() -> None:
    """More turns hang than there are places; without a deadline nothing would ever end."""
    engine = Straggler(lambda request: request.seed % 5 == 0, times=1)
    assert held(problems(8), small(), engine, turn_seconds=0.1) == held(problems(8), small())


def spent(debate: Debate) -> int:
    return sum(turn.prompt_tokens + turn.completion_tokens for turn in debate.turns)


@pytest.mark.parametrize("slots", [1, 4, 64])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_budget_of_tokens_is_kept_and_nothing_begun_is_thrown_away(slots: int, share: float) -> None:
    whole = held(problems(60), small())
    total, dearest = sum(map(spent, whole)), max(map(spent, whole))
    budget = Budget(share * total, guess=dearest)
    engine = ScriptedEngine(by_seed(), slots=slots)
    asked: list[int] = []
    speak = engine.generate

    async def generate(request: Request) -> Completion:
        asked.append(request.seed)
        return await speak(request)

    engine.generate = generate  # type: ignore[method-assign]
    debates = held(problems(60), small(), engine, budget=budget)
    assert budget.exhausted == f"the budget of {share * total:,.0f} tokens is spent"
    assert len(asked) == sum(len(debate.turns) for debate in debates), "a debate was begun and dropped"
    used = sum(map(spent, debates))
    assert share * total - 2 * dearest <= used <= share * total + dearest
    assert all(debate in whole for debate in debates)
    with pytest.raises(ResumeError, match=rf"{len(debates)} of 60 debates are held"):
        budget.check(len(debates), 60)


def test_a_budget_counts_what_was_spent_before() -> None:
    budget = Budget(100, spent=100, debates=4)
    assert held(problems(5), small(), budget=budget) == []
    assert budget.exhausted


def test_a_budget_that_suffices_ends_nothing() -> None:
    budget = Budget(10**9, 1.0)
    assert len(held(problems(5), small(), budget=budget)) == 5
    assert budget.exhausted is None
    budget.check(5, 5)


def test_after_its_hours_no_debate_begins_and_those_under_way_are_dropped() -> None:
    some, rules = problems(400), small(agents=2, rounds=2)
    stuck = {derive_seed(0, problem.id, 0, 1) for problem in some[::9]}
    engine = ScriptedEngine(
        by_seed(), slots=4, latency=lambda request: 900 if request.seed in stuck else 0.02
    )
    budget = Budget(hours=1.8 / 3600)
    debates = held(some, rules, engine, budget=budget)
    assert 0 < len(debates) < 400
    assert budget.exhausted == "0.0005 hours are over"


@pytest.mark.parametrize("last", [False, True])
def test_the_gate_lets_in_by_age_and_at_the_end_the_longest(last: bool) -> None:
    order: list[tuple[int, int, int]] = []

    async def visit(gate: Gate, *rank: int) -> None:
        await gate.enter(*rank)
        order.append(rank)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        gate.leave()

    async def all_of() -> None:
        gate = Gate(1)
        ranks = [(0, 0, 0), (5, 0, 0), (4, 2, 5), (1, 1, 3), (3, 1, 9), (2, 2, 8), (2, 2, 7)]
        visits = [asyncio.create_task(visit(gate, *rank)) for rank in ranks]
        await asyncio.sleep(0)
        visits[3].cancel()
        if last:
            gate.last_came()
        await asyncio.gather(*visits, return_exceptions=True)

    asyncio.run(all_of())
    by_age = [(2, 2, 8), (2, 2, 7), (3, 1, 9), (4, 2, 5), (5, 0, 0)]
    by_length = [(5, 0, 0), (3, 1, 9), (2, 2, 8), (2, 2, 7), (4, 2, 5)]
    assert order == [(0, 0, 0), *(by_length if last else by_age)]


class Stepping(ScriptedEngine):
    """Takes some steps of the event loop for a turn, no time, and knows which debates are under way."""

    def __init__(self, slots: int, some: list[Problem], agents: int, rounds: int) -> None:
        super().__init__(by_seed(), slots=slots)
        self._of = {
            derive_seed(0, problem.id, agent, k): problem.id
            for problem in some
            for agent in range(agents)
            for k in range(rounds)
        }
        self._left = Counter(self._of.values())
        self._begun: set[str] = set()
        self.under_way: list[int] = []

    async def generate(self, request: Request) -> Completion:
        debate = self._of[request.seed]
        self._begun.add(debate)
        self.under_way.append(len(self._begun))
        for _ in range(1 + request.seed % 50):
            await asyncio.sleep(0)
        self._left[debate] -= 1
        if not self._left[debate]:
            self._begun.remove(debate)
        return await super().generate(request)


@pytest.mark.parametrize(("slots", "agents"), [(16, 5), (32, 5), (32, 2)])
def test_few_debates_are_under_way_while_problems_keep_coming(slots: int, agents: int) -> None:
    some = problems(300)
    engine = Stepping(slots, some, agents, rounds=3)
    known: list[int] = []

    def stream() -> Iterator[Problem]:
        yield from some
        known.append(len(engine.under_way))

    hold(stream(), small(agents), engine, lambda *_: None)  # type: ignore[arg-type]
    most = max(engine.under_way[: known[0]])
    assert known[0] > 300 * agents, "they come for most of the time"
    assert most <= slots


def test_no_place_is_lost_where_visitors_leave_the_moment_they_are_let_in() -> None:
    async def visit(gate: Gate) -> None:
        await gate.enter(0, 0, 0)
        gate.leave()

    async def all_of() -> None:
        gate = Gate(1)
        await gate.enter(0, 0, 0)
        first, second = (asyncio.create_task(visit(gate)) for _ in range(2))
        await asyncio.sleep(0)
        gate.leave()
        first.cancel()
        await asyncio.wait_for(second, 30)
        await asyncio.wait_for(gate.enter(0, 0, 0), 30)
        assert first.cancelled()

    asyncio.run(all_of())


def test_a_stop_is_heeded_while_a_budget_waits_for_debates_to_end() -> None:
    stop = threading.Event()
    engine = ScriptedEngine(by_seed(), slots=2, latency=lambda _: 900.0)
    threading.Timer(0.3, stop.set).start()
    held: list[Debate] = []
    budget = Budget(10, guess=10)
    hold(problems(9), small(), engine, lambda debate, _: held.append(debate), stop=stop, budget=budget)
    assert (held, stop.is_set()) == ([], True), "none ends in a quarter of an hour"
