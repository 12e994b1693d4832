"""Holds all debates at once, with no barrier between their rounds.

A debate's next round is asked for as soon as its last turn ends; at most ``engine.slots`` requests are in the
engine, the others wait at its gate, where debates that began earlier go first: those under way are few, and
the engine still knows their prompts. Problems are read as debates end, so memory does not grow with them.
A turn that takes too long is asked once more, then its debate fails: no turn can hold up the others.
"""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice

from arkloom.engines.protocol import Completion, Engine, Request
from arkloom.errors import ArkloomError, BadInputError, ResumeError
from arkloom.protocol.budget import Budget
from arkloom.protocol.gate import Gate
from arkloom.protocol.judging import judge
from arkloom.protocol.log import Timing, TurnTiming
from arkloom.protocol.shares import Ring, Share, rings
from arkloom.protocol.society import Society
from arkloom.protocol.speakers import voice
from arkloom.protocol.turns import Talk, finished_turn, turn_request
from arkloom.protocol.votes import decide, tally, unanimous
from arkloom.records import Agent, Debate, DebateError, Problem, Stop, Turn
from arkloom.telemetry.meters import TurnMeter, count_retry

Recorder = Callable[[Debate, Timing], None]
_POLL_S = 0.1  # how often a stop is looked for
_LEAST_OPEN = 16
_OPEN = 2  # debates for each slot: each has a turn to ask for, so that keeps every engine busy
_AHEAD = 4  # problems for each slot that are known before they are debated; the last ones begin together
_BETWEEN_COLLECTIONS = 50_000  # new objects
_ASKED = 2  # times that a turn is asked before its time is over for good


def hold(
    problems: Iterable[Problem],
    society: Society,
    engine: Engine | Mapping[str, Engine],
    record: Recorder,
    *,
    stop: threading.Event | None = None,
    done: Collection[str] = (),
    stage: str = "debate",
    turn_seconds: float | None = None,
    budget: Budget | None = None,
    share: Share | None = None,
) -> None:
    """Debate every problem and give each debate to ``record`` as it ends, in no fixed order.

    Args:
        problems: Read one by one as debates end.
        society: Who debates, and how.
        engine: Serves every agent, or an engine for each ``voice``.
        record: Called in this thread.
        stop: Set from outside to end early; debates in flight are dropped.
        done: Ids of problems that have a record; they are not debated again.
        stage: Label of the metrics.
        turn_seconds: Time for a turn in the engine; None: as long as it takes.
        budget: Says whether another debate may begin, and afterwards whether one was refused.
        share: Hold the debates of this share alone.

    A turn that raises an ``ArkloomError`` ends its debate, whose record then carries the error.

    Raises:
        BadInputError: An agent has no engine, or there is no other problem to take shuffled peers from.
        ResumeError: An engine serves nobody any more; debates in flight are dropped.
    """
    wanted = {_voice(agent) for agent in society.agents}
    engines = engine if isinstance(engine, Mapping) else dict.fromkeys(wanted, engine)
    if missing := wanted - set(engines):
        raise BadInputError(f"no engine for the model {sorted(missing)[0]!r}")
    left = rings(problems, society, frozenset(done), share)
    floor = _Floor(society, engines, record, frozenset(done), TurnMeter(stage))
    floor.turn_seconds, floor.budget = turn_seconds, budget or floor.budget
    with _seldom_collected():
        asyncio.run(floor.run(left, stop or threading.Event()))


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for garbage in circles less often: debates make none, and looking takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Floor:
    """Where the debates of one call are held."""

    def __init__(
        self,
        society: Society,
        engines: Mapping[str, Engine],
        record: Recorder,
        done: frozenset[str],
        meter: TurnMeter,
    ) -> None:
        self.turn_seconds: float | None = None
        self.budget = Budget()
        self._meter = meter
        self._society, self._engines, self._record, self._done = society, engines, record, done
        self._gates = {name: Gate(engine.slots) for name, engine in engines.items()}
        self._slots = sum(engine.slots for engine in engines.values())
        self._last = False  # whether all problems are known
        self._numbers = count()
        self._open: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()  # a debate ended
        self._closing = False
        self._failure: BaseException | None = None

    async def run(self, left: Iterator[Ring], stop: threading.Event) -> None:
        watcher = asyncio.create_task(self._watch(stop))
        try:
            coming = deque(islice(left, _AHEAD * self._slots))
            while coming and await self._room() and not stop.is_set():
                task = asyncio.create_task(self._debate(coming.popleft()))
                self._open.add(task)
                task.add_done_callback(self._ended)
                coming.extend(islice(left, 1))
                if not self._last and len(coming) < _AHEAD * self._slots:
                    self._last = True
                    for gate in self._gates.values():
                        gate.last_came()
            while self._open and not self._closing:
                await self._one_ends()
        finally:
            watcher.cancel()
            self._close()
            await asyncio.gather(*self._open, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    async def _room(self) -> bool:
        """Wait until another debate may begin; False when none may any more."""
        most = max(_LEAST_OPEN, _OPEN * self._slots)
        while not self._closing:
            if self._last or len(self._open) < most:
                if self.budget.allows(len(self._open)):
                    return True
                if not self._open:
                    return False
            await self._one_ends()
        return False

    async def _watch(self, stop: threading.Event) -> None:
        while not stop.is_set() and not self.budget.late():
            await asyncio.sleep(_POLL_S)
        self._close()

    async def _one_ends(self) -> None:
        self._ending.clear()
        await self._ending.wait()

    def _close(self) -> None:
        self._closing = True
        for task in self._open:
            task.cancel()
        self._ending.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._close()
        self._ending.set()

    async def _debate(self, ring: tuple[Problem, ...]) -> None:
        started, clock = time.time(), time.monotonic()
        number = next(self._numbers)
        talks = [Talk(problem, problem.id, number) for problem in ring]
        society = self._society
        if society.protocol == "vote" and society.budgets is not None:
            await self._draw(talks[0], society.budgets.get(talks[0].id, 0))
        else:
            for _ in range(society.rounds):
                pairs = [(talk, talks[(i + 1) % len(talks)]) for i, talk in enumerate(talks)]
                await asyncio.gather(*(self._round(*pair) for pair in pairs if not pair[0].over))
        seconds = time.monotonic() - clock
        for talk in talks:
            if talk.id not in self._done:
                self._finish(talk, started, seconds)

    async def _round(self, talk: Talk, others: Talk) -> None:
        """Everyone speaks once, having seen complete rounds alone."""
        society = self._society
        try:
            if others.error is not None:
                kind = BadInputError if others.error.type == BadInputError.__name__ else ArkloomError
                raise kind("the debate that lends its answers failed", where=others.id[:12])
            spoken = await self._ask(talk, society.agents, others)
            turns, round_ = await judge(spoken, talk.problem)
        except ResumeError:  # not this debate's fault, and no other one would end better
            raise
        except ArkloomError as error:
            talk.error = _error(error)
            return
        talk.turns.append(turns)
        talk.rounds.append(round_)
        k = len(talk.turns) - 1
        self._meter.agreed(k, round_.agreement)
        if society.stop_on_consensus and unanimous(round_):
            talk.stop = Stop(round=k, reason="consensus")
        elif k + 1 == society.rounds:
            talk.stop = Stop(round=k, reason="rounds")

    async def _draw(self, talk: Talk, budget: int) -> None:
        """Independent answers, agents in turn, until their completion tokens reach the budget.

        An answer has ``max_tokens`` at most, so as many as must still come are asked for together.
        """
        society, most = self._society, self._society.sampling.max_tokens
        turns: list[Turn] = []
        spent = 0
        try:
            while not turns or (spent < budget and len(turns) < society.draws):
                count = min(max(1, math.ceil((budget - spent) / most)), society.draws - len(turns))
                agents = _cycle(society, len(turns), count)
                spoken, _ = await judge(await self._ask(talk, agents, talk), talk.problem)
                turns.extend(spoken)
                spent += sum(turn.completion_tokens for turn in spoken)
            round_ = tally([turn.answer for turn in turns], talk.problem.answer_type)
        except ResumeError:
            raise
        except ArkloomError as error:
            talk.error = _error(error)
            return
        talk.turns.append(tuple(turns))
        talk.rounds.append(round_)
        talk.stop = Stop(round=0, reason="rounds")

    async def _ask(self, talk: Talk, agents: Sequence[Agent], others: Talk) -> list[Turn]:
        """One turn of each agent; when one fails, the others end before its error is raised."""
        spoken = await asyncio.gather(
            *(self._speak(talk, agent, others) for agent in agents), return_exceptions=True
        )
        for turn in spoken:
            if isinstance(turn, BaseException):
                raise turn
        return [turn for turn in spoken if isinstance(turn, Turn)]

    async def _speak(self, talk: Talk, agent: Agent, others: Talk) -> Turn:
        engine, meter = self._engines[_voice(agent)], self._meter
        gate = self._gates[_voice(agent)]
        meter.wait()
        try:
            await gate.enter(talk.number, len(talk.turns), talk.longest)
        except BaseException:
            meter.wait(-1)
            raise
        meter.begin()
        try:
            request = turn_request(self._society, engine, talk, agent, others)
            completion, seconds = await self._generate(engine, request)
        finally:
            meter.end()
            gate.leave()
        turn = finished_turn(self._society, talk, agent, request, completion)
        talk.timings.append(
            TurnTiming(
                round=turn.round,
                agent=agent.id,
                seconds=round(seconds, 6),
                cached_tokens=completion.cached_tokens,
            )
        )
        talk.longest = max(talk.longest, completion.completion_tokens)
        talk.tokens += completion.prompt_tokens + completion.completion_tokens
        self.budget.spend(completion.prompt_tokens + completion.completion_tokens)
        self._meter.spoke(completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens)
        return turn

    async def _generate(self, engine: Engine, request: Request) -> tuple[Completion, float]:
        """What the engine answers, and after how many seconds; a request over its time is sent once more."""
        for _ in range(_ASKED):
            clock = time.monotonic()
            try:
                async with asyncio.timeout(self.turn_seconds):
                    completion = await engine.generate(request)
            except TimeoutError:
                count_retry("timeout")
                continue
            return completion, time.monotonic() - clock
        raise ArkloomError(
            f"no answer within {self.turn_seconds:g} s, asked {_ASKED} times",
            mend="Raise runtime.turn_seconds",
        )

    def _finish(self, talk: Talk, started: float, seconds: float) -> None:
        society, final = self._society, None
        agents: Sequence[Agent] = society.agents
        if talk.error is None:
            last = talk.turns[-1]
            final = decide(talk.rounds[-1], last, society.seed, talk.id)
            agents = agents if len(last) == len(agents) else _cycle(society, 0, len(last))
        unanswered = sum(turn.answer is None for turns in talk.turns for turn in turns)
        self._meter.debated("error" if talk.error else talk.stop.reason if talk.stop else "", unanswered)
        self.budget.settle(talk.tokens, seconds)
        timing = Timing(
            id=talk.id,
            seed=society.seed,
            tokens=talk.tokens,
            started=round(started, 3),
            seconds=round(seconds, 6),
            turns=tuple(sorted(talk.timings, key=lambda turn: (turn.round, turn.agent))),
        )
        self._record(talk.record(society, agents, final), timing)


def _cycle(society: Society, first: int, count: int) -> list[Agent]:
    """Draws ``first``.. as agents of their own: draw i speaks as agent i modulo their number."""
    agents = society.agents
    return [agents[i % len(agents)].model_copy(update={"id": i}) for i in range(first, first + count)]


def _voice(agent: Agent) -> str:
    return voice(agent.model, agent.adapter)


def _error(error: ArkloomError) -> DebateError:
    return DebateError(stage="debate", type=type(error).__name__, message=error.line())
