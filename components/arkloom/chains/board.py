"""The run's own screen: a line a node, with its progress and ETA; plain lines where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from arkloom.store import Manifest
from arkloom.telemetry import read_events

_HEADLINES = (
    "deliberation_gain", "final_accuracy", "rows", "loss_last", "step_auc", "first_error_f1",
    "accuracy_start", "accuracy_best", "gain_recovered", "token_ratio",
)  # fmt: skip
_ENDED = ("done", "found", "absent")


@dataclass
class _Line:
    """What is known of one node."""

    state: str = "waits"
    started: float = 0.0
    seconds: float = 0.0
    done: int = 0
    total: int = 0
    first: float = 0.0
    first_done: int = 0
    note: str = ""
    left: float | None = None
    found: bool = False
    resumed: str = ""
    tasks: set[str] = field(default_factory=set)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take in the progress of a task; one that begins with units done goes on where another stopped."""
        task, done, total = event["task"], event["done"], event["total"]
        if task not in self.tasks and done > 0 and (done < total or not self.resumed):
            self.resumed = f", went on at {done}/{total}"
        self.tasks.add(task)
        if total != self.total or done < self.done:
            self.first, self.first_done = time.monotonic(), done
        self.done, self.total, self.left = done, total, event.get("eta")
        self.note = f"{task.split(' ', 1)[-1]} {event['note']}".strip()

    def eta(self) -> str:
        """Seconds left of the task under way: as it says, else from the pace of its units."""
        if self.state == "runs" and self.left is not None:
            return f"{self.left:.0f} s"
        worked = time.monotonic() - self.first
        if self.state != "runs" or self.done <= self.first_done or worked < 1:
            return ""
        return f"{(self.total - self.done) * worked / (self.done - self.first_done):.0f} s"


class Board:
    """Shows the nodes of a chain while they run. Use as a context manager."""

    def __init__(self, nodes: Iterable[str], events: Path, quiet: bool = False) -> None:
        self._lines = {name: _Line() for name in nodes}
        self._quiet = quiet
        self._events = events
        self._read = events.stat().st_size if events.exists() else 0  # what an earlier process told is past
        self._console = Console(stderr=True)
        live = sys.stderr.isatty() and not quiet
        self._live = Live(self._table(), console=self._console, refresh_per_second=4) if live else None

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def start(self, node: str) -> None:
        """A node's process began."""
        self._lines[node].state, self._lines[node].started = "runs", time.monotonic()

    def wait(self, node: str, what: str) -> None:
        """A node waits for its store: a run must not stand still in silence."""
        self._lines[node].note = what
        if self._live is None and not self._quiet:
            print(f"{node}: {what}", file=sys.stderr, flush=True)

    def finish(self, node: str, manifest: Manifest) -> None:
        """A node's artifact is there (made now, or found)."""
        self.refresh()  # whether it was found or went on, and nothing that it told comes after its end
        line = self._lines[node]
        line.state = "absent" if manifest.absent else "found" if line.found else "done"
        line.seconds = time.monotonic() - line.started
        line.note = manifest.reason if manifest.absent and manifest.reason else _headline(manifest.metrics)
        if self._live is None and not self._quiet:
            finished = sum(entry.state in _ENDED for entry in self._lines.values())
            took = line.state if line.found else f"{line.state} in {line.seconds:.0f} s{line.resumed}"
            text = f"[{finished}/{len(self._lines)}] {node}: {took}  {line.note}"
            print(text.rstrip(), file=sys.stderr, flush=True)

    def refresh(self) -> None:
        """Read the progress that the stages told since the last call."""
        for event, place in read_events(self._events, self._read):
            self._read = place
            line = self._lines.get(event.get("node", ""))
            if line is not None and event.get("event") == "found":
                line.found = True
            if line is not None and event.get("event") == "replaced":
                line.tasks.clear()  # another process: what it begins with done is what it went on from
            if line is not None and event.get("event") == "progress":
                line.tell(event)
        if self._live:
            self._live.update(self._table())

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1), show_header=False)
        styles = {"waits": "dim", "runs": "bold cyan", "done": "green", "found": "green", "absent": "yellow"}
        for name, line in self._lines.items():
            seconds = time.monotonic() - line.started if line.state == "runs" else line.seconds
            bar = (
                ProgressBar(line.total or 1, line.done, width=20)
                if line.state == "runs" and line.total
                else ""
            )
            clock = f"{seconds:.0f} s" if line.started and not line.found else ""
            eta = f"eta {line.eta()}" if line.eta() else ""
            note = f"{line.resumed[2:]}  {line.note}".strip()
            table.add_row(name, f"[{styles[line.state]}]{line.state}[/]", bar, clock, eta, note)
        return table


def _headline(metrics: dict[str, Any]) -> str:
    if "promote" in metrics:
        return f"{'promoted' if metrics['promote'] else 'refused'}: {metrics['reason']}"
    shown = [
        f"{name} {metrics[name]:.3g}" for name in _HEADLINES if isinstance(metrics.get(name), int | float)
    ]
    return ", ".join(shown[:3])
