"""How much may be spent on debates: no debate is begun that would likely go beyond it."""

from __future__ import annotations

import time

from arkloom.errors import ResumeError

_MORE = "Run the same command with a larger --max-tokens-total to go on"


class Budget:
    """Tokens and time for debates. What is begun is ended, so nothing that was paid for is thrown away.

    Whether another debate fits is told by what a debate cost on average so far. Tokens may therefore be
    overspent by as much as the debates in flight cost more than that; time is not: those which are still
    under way at its end are dropped.

    Args:
        tokens: Of prompts and completions, all processes together; None: no bound.
        hours: From now on; None: no bound.
        spent: Tokens that earlier processes spent.
        debates: What they spent them on.
        guess: Tokens of a debate, as long as none has ended.

    Attributes:
        exhausted: Why a debate was not begun, or was dropped; None: none was.
        mend: What to do then.
    """

    def __init__(
        self,
        tokens: float | None = None,
        hours: float | None = None,
        *,
        spent: int = 0,
        debates: int = 0,
        guess: int = 0,
    ) -> None:
        self._tokens, self._hours = tokens, hours
        self._end = None if hours is None else time.monotonic() + 3600 * hours
        self._spent = self._settled = spent
        self._debates, self._guess = debates, guess
        self._seconds = 0.0
        self._timed = 0
        self.exhausted: str | None = None
        self.mend = "Run the same command to go on"

    def allows(self, under_way: int) -> bool:
        """Whether one debate more, beside those under way, likely ends within the budget."""
        if self._tokens is not None:
            each = self._settled / self._debates if self._debates else self._guess
            if not self._debates and not under_way:
                each = 0  # a guess must not forbid the one debate that would tell
            begun = max(self._settled + each * under_way, self._spent)
            if begun + each > self._tokens or self._spent >= self._tokens:
                self._refuse(f"the budget of {self._tokens:,.0f} tokens is spent", under_way, _MORE)
                return False
        if self._end is not None:
            usual = self._seconds / self._timed if self._timed else 0.0
            if time.monotonic() + usual >= self._end:
                self._refuse(f"{self._hours:g} hours are over", under_way)
                return False
        return True

    def late(self) -> bool:
        """Whether time is over, also for the debates under way."""
        if self._end is None or time.monotonic() < self._end:
            return False
        self.exhausted = f"{self._hours:g} hours are over"
        return True

    def check(self, held: int, total: int) -> None:
        """Raise where the budget ended the work; call it where everything done is committed.

        Raises:
            ResumeError: Exit code 75, "resume me".
        """
        if self.exhausted is not None:
            raise ResumeError(
                f"{self.exhausted}; {held} of {total} debates are held",
                mend=self.mend,
            )

    def spend(self, tokens: int) -> None:
        """A turn was spoken."""
        self._spent += tokens

    def settle(self, tokens: int, seconds: float) -> None:
        """A debate ended, after so many tokens and seconds in all."""
        self._settled += tokens
        self._debates += 1
        self._seconds += seconds
        self._timed += 1

    def _refuse(self, why: str, under_way: int, mend: str | None = None) -> None:
        if not under_way:  # else a debate that ends cheaply may yet make room
            self.exhausted, self.mend = why, mend or self.mend
