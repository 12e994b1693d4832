"""Which of several servers takes the next request, and how many each has at once.

The endpoint with the least outstanding work takes the next request; requests wait in the order of their
tickets, so one that is asked again keeps its place. How many an endpoint has at once is a window that grows
while the server keeps up (doubling at first, then one more a round) and shrinks by half when it says that it
is busy (429), or to what it works on and a few more when its own queue is longer than that: a turn that
waits here can still go to another endpoint. An endpoint that cannot be reached gets nothing until it answers.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from arkloom.errors import ArkloomError, ResumeError

_FIRST_WINDOW = 32.0
_REVIVED_WINDOW = 4.0
_REMEMBERED_S = 30.0  # after a refusal, how long a window grows by ones
_STRIKES = 3  # answers in a row that were none, before an endpoint counts as gone
_QUEUE_SHARE, _LEAST_QUEUE = 0.25, 2.0  # of what a server works on: as many may wait in it, so it never idles


@dataclass(eq=False)
class Endpoint:
    """One server.

    Attributes:
        url: Its address, up to and with ``/v1``.
        model: Its name for the model.
        most: The widest window.
        own: It is vLLM: it understands more settings than others.
        alive: It answered when last asked.
        outstanding: Requests under way.
        work: Their tokens, as far as they can be known before.
        window: How many requests it has at once.
        flights: The clocks of requests under way; set to now when the server is gone.
        reason: Why it is not alive.
        falls: How often it went since it last served a request.
    """

    url: str
    model: str
    most: int
    own: bool = False
    alive: bool = True
    outstanding: int = 0
    work: int = 0
    window: float = _FIRST_WINDOW
    flights: set[asyncio.Timeout] = field(default_factory=set)
    reason: str = ""
    falls: int = 0
    _crowded: bool = False
    _doubling: bool = True
    _narrowed: float = -_REMEMBERED_S
    _strikes: int = 0

    def __post_init__(self) -> None:
        self.window = min(self.window, float(self.most))

    @property
    def root(self) -> str:
        """Where what is not OpenAI's stands: ``/metrics``, ``/tokenize``."""
        return self.url.removesuffix("/v1")

    @property
    def open(self) -> bool:
        """Whether it may take one more request."""
        return self.alive and self.outstanding < max(1, int(self.window))

    def answered(self) -> None:
        """A request was served: the window may widen, if it was used."""
        self._strikes = self.falls = 0
        if self._crowded or self.outstanding + 1 < int(self.window):
            return
        self.window = min(float(self.most), self.window + (1.0 if self._doubling else 1.0 / self.window))

    def busy(self, sent: float) -> None:
        """The server refused a request sent at monotonic time ``sent``: half the window, once a round."""
        self._doubling = False
        if sent >= self._narrowed:
            self.window, self._narrowed = max(1.0, self.window / 2), time.monotonic()

    def queue(self, running: float, waiting: float) -> None:
        """What the server says of itself: requests that it works on, and that wait in it."""
        allowed = max(_LEAST_QUEUE, _QUEUE_SHARE * running)
        self._crowded = waiting > allowed
        if self._crowded:
            self._doubling = False
            asked = min(self.window, max(1.0, float(self.outstanding)))
            self.window = max(1.0, asked * max(0.5, (running + allowed) / (running + waiting)))
        elif waiting == 0 and time.monotonic() > self._narrowed + _REMEMBERED_S:
            self._doubling = True  # it has room: nothing to feel one's way for

    def failed(self, reason: str) -> None:
        """The server answered with a failure; it counts as gone after a few in a row."""
        self._strikes += 1
        if self._strikes >= _STRIKES:
            self.gone(reason)

    def gone(self, reason: str) -> None:
        """The server cannot be reached: what it has under way is asked elsewhere."""
        self.falls += self.alive
        self.alive, self.reason = False, reason
        for clock in self.flights:
            if not clock.expired():
                clock.reschedule(0.0)

    def back(self) -> None:
        """The server answers again."""
        self.alive, self.reason = True, ""
        self._strikes, self._crowded, self._doubling = _STRIKES - 1, False, True
        self.window = min(_REVIVED_WINDOW, float(self.most))


class Pool:
    """Hands out places at endpoints; belongs to one event loop.

    Args:
        endpoints: All of them, alive or not.
        slots: Requests at once, over all of them.
    """

    def __init__(self, endpoints: Sequence[Endpoint], slots: int) -> None:
        self.endpoints, self._slots = endpoints, slots
        self._waiting: list[tuple[int, _Waiting]] = []
        self._busy = 0
        self._dead_since: float | None = None
        for endpoint in endpoints:
            endpoint.outstanding = endpoint.work = 0
            endpoint.flights.clear()

    @property
    def depth(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiting)

    async def enter(self, ticket: int, work: int, avoid: Endpoint | None = None) -> Endpoint:
        """Wait for a place; the lowest ticket goes first. What is entered must be left.

        Args:
            ticket: Place in the queue.
            work: Tokens that the request may take.
            avoid: An endpoint that failed this request; it is taken only if no other is alive.

        Raises:
            ArkloomError: No endpoint was alive for too long (``give_up``).
        """
        waiting = _Waiting(asyncio.get_running_loop().create_future(), work, avoid)
        heapq.heappush(self._waiting, (ticket, waiting))
        self.admit()
        try:
            return await waiting.place
        except asyncio.CancelledError:
            if waiting.place.done() and not waiting.place.cancelled() and waiting.place.exception() is None:
                self.leave(waiting.place.result(), work)
            raise

    def leave(self, endpoint: Endpoint, work: int) -> None:
        """Give the place back."""
        endpoint.outstanding -= 1
        endpoint.work -= work
        self._busy -= 1
        self.admit()

    def admit(self) -> None:
        """Let in who can be let in; called whenever a place may have become free."""
        while self._waiting and self._busy < self._slots:
            waiting = self._waiting[0][1]
            if waiting.place.done():  # cancelled
                heapq.heappop(self._waiting)
                continue
            chosen = self._least(waiting.avoid)
            if chosen is None:
                return
            heapq.heappop(self._waiting)
            chosen.outstanding += 1
            chosen.work += waiting.work
            self._busy += 1
            waiting.place.set_result(chosen)

    def give_up(self, patience: float) -> None:
        """Fail all who wait, once no endpoint was alive for ``patience`` seconds."""
        if any(endpoint.alive for endpoint in self.endpoints):
            self._dead_since = None
            return
        now = time.monotonic()
        self._dead_since = now if self._dead_since is None else self._dead_since
        if now - self._dead_since < patience:
            return
        self.refuse(no_endpoint(self.endpoints))

    def refuse(self, error: ArkloomError) -> None:
        """Fail all who wait."""
        waiting, self._waiting = self._waiting, []
        for _, one in waiting:
            if not one.place.done():
                one.place.set_exception(error)

    def _least(self, avoid: Endpoint | None) -> Endpoint | None:
        """The open endpoint with the least work for its window."""
        alive = [endpoint for endpoint in self.endpoints if endpoint.alive]
        others = [endpoint for endpoint in alive if endpoint is not avoid] or alive
        ready = [endpoint for endpoint in others if endpoint.open]
        return min(
            ready, key=lambda endpoint: (endpoint.work / endpoint.window, endpoint.outstanding), default=None
        )


@dataclass(eq=False)
class _Waiting:
    place: asyncio.Future[Endpoint]
    work: int
    avoid: Endpoint | None

    def __lt__(self, other: _Waiting) -> bool:  # equal tickets: in any order
        return False


def no_endpoint(endpoints: Sequence[Endpoint]) -> ResumeError:
    """What is said when nobody answers."""
    told = "; ".join(f"{endpoint.url}: {endpoint.reason}" for endpoint in endpoints)
    return ResumeError(f"no endpoint answers ({told})", mend="Start one, then run the same command to go on")
