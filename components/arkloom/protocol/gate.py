"""Places in an engine, and who is let in next.

While problems keep coming, the debate that began first goes first. To how full the engine is, the order does
not matter; to its prefix cache it does: a chat is found again where its debate's next round comes soon. So no
debate begins while one that has begun waits, and hardly more are under way than places can hold turns of.

When the last problem has come, the engine runs empty while the longest debate ends alone: from then on every
debate's first answers come first, since they tell how long it will be, and then the debates with the longest
answers, each to its end. Recorded debates replayed on 128 places reach 0.76 of the bound without this and
0.98 with it (``benchmarks/debate_replay.py``).
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

_Rank = tuple[int, ...]


class Gate:
    """Lets so many in at once.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[tuple[_Rank, int, _Rank, asyncio.Future[None]]] = []
        self._numbers = count()
        self._last = False

    async def enter(self, debate: int, round_: int, longest: int) -> None:
        """Wait for a place.

        Args:
            debate: Number of the turn's debate; those that began earlier have lower ones.
            round_: Of the turn.
            longest: Tokens of the longest answer of its debate so far.
        """
        if self._free:
            self._free -= 1
            return
        last, place = (min(round_, 1), -longest, debate), asyncio.get_running_loop().create_future()
        entry = (last if self._last else (debate,), next(self._numbers), last, place)
        heapq.heappush(self._waiting, entry)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # let in and sent away in one moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to whoever is next."""
        while self._waiting:
            *_, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def last_came(self) -> None:
        """No debate begins any more but those that are known: order those who wait by their ranks."""
        self._last = True
        self._waiting = [(rank, number, rank, place) for _, number, rank, place in self._waiting]
        heapq.heapify(self._waiting)
