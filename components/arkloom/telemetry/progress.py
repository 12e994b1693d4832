"""Progress with an ETA: a live bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from arkloom.telemetry.events import Events

_LINE_EVERY = 15.0  # seconds between two lines of one task where there is no terminal
_EVENT_EVERY = 0.5  # seconds between two progress events of one task


class Progress:
    """Shows tasks on standard error, or tells them to ``events`` where a runner draws the picture.

    Use as a context manager; ``add`` one task per kind of work.
    """

    def __init__(self, prefix: str = "", quiet: bool = False, events: Events | None = None) -> None:
        self._prefix, self._events = prefix, events
        quiet = quiet or events is not None
        self._live = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._bars = Bars(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._live,
        )

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def add(self, name: str, total: int, done: int = 0) -> Task:
        """A task of ``total`` units, ``done`` of them before this process began."""
        return Task(
            self._bars, f"{self._prefix}{name}", total, done, lines=not self._live and not self._quiet
        )


class Task:
    """One kind of work under way."""

    def __init__(
        self, bars: Bars, name: str, total: int, done: int, lines: bool, events: Events | None = None
    ) -> None:
        self._bars, self._name, self._total, self._lines = bars, name, total, lines
        self._events = events
        self._done = self._first = done
        self._start = self._last = time.monotonic()
        self._id = bars.add_task(name, total=total, completed=done, note="")

    def advance(self, units: int = 1, note: str = "") -> None:
        """Units done since the last call; ``note`` stands beside the bar (a loss, tokens a second)."""
        self._done += units
        self._bars.update(self._id, advance=units, note=note)
        now = time.monotonic()
        finished = self._done >= self._total
        if self._events and (now - self._last >= _EVENT_EVERY or finished):
            self._last = now
            self._events.emit("progress", task=self._name, done=self._done, total=self._total, note=note)
        if self._lines and (now - self._last >= _LINE_EVERY or finished):
            self._last = now
            rate = (self._done - self._first) / max(now - self._start, 1e-9)
            left = "" if finished or rate <= 0 else f", eta {(self._total - self._done) / rate:.0f} s"
            text = f"{self._name}: {self._done}/{self._total} in {now - self._start:.0f} s{left} {note}"
            print(text.rstrip(), file=sys.stderr, flush=True)
