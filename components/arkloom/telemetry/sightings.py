"""What is seen of a run from outside: its events file, or the addresses that serve its metrics."""

from __future__ import annotations

import http.client
import time
import urllib.request
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from arkloom.errors import BadInputError
from arkloom.telemetry.events import read_events
from arkloom.telemetry.serving import series, told

TURNS = "arkloom_debate_turns_total"
_WINDOW = 30.0  # seconds over which a pace is taken
_SIGHTS = 60  # points of a curve
_ANSWER_S, _MOST_BYTES = 3.0, 8_000_000  # what an address may take and say
_WHOSE = {"run_id", "stage", "node"}


@dataclass
class Node:
    """One node of a run, as it was last seen.

    Attributes:
        name: Of the node.
        state: ``runs``, ``done`` or ``lost``.
        values: Series -> value, as ``serving.counted`` writes them.
        seen: When it last told anything, seconds since 1970.
        began: When its work began, 0 where that is not known.
        task, done, total, note: Its last progress.
        sights: (time, turns, prompt tokens, completion tokens) at the last sightings.
    """

    name: str
    state: str = "runs"
    values: Mapping[str, float] = field(default_factory=dict)
    seen: float = 0.0
    began: float = 0.0
    task: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    sights: deque[tuple[float, float, float, float]] = field(default_factory=lambda: deque(maxlen=_SIGHTS))
    _first: tuple[float, int] = (0.0, 0)

    def count(self, values: Mapping[str, float], at: float) -> None:
        """Take new values of its metrics; those of its end come after the word that it is done."""
        self.values, self.seen = values, at
        sight = (at, self.sum(TURNS), self.tokens("prompt"), self.tokens("completion"))
        if self.sights and sight[1] < self.sights[-1][1]:
            self.sights.clear()  # another process goes on, and counts from 0
        self.sights.append(sight)
        problems = (self.one("arkloom_debate_problems", state=state) for state in ("done", "total"))
        self.done, self.total = (int(number or 0) for number in problems) if self.debates else self.progress

    def move(self, task: str, done: int, total: int, note: str, at: float) -> None:
        """Take a progress event."""
        if self.state == "done":
            self.began = 0.0  # another process begins on other work under this name
        self.state, self.seen, self.began = "runs", at, self.began or at
        if (task, total) != (self.task, self.total) or done < self.done:
            self._first = (at, done)
        self.task, self.done, self.total, self.note = task, done, total, note

    def end(self, at: float) -> None:
        """Its artifact is there."""
        self.state, self.seen, self.began = "done", at, self.began or at

    @property
    def progress(self) -> tuple[int, int]:
        """Units done, of how many."""
        return self.done, self.total

    @property
    def debates(self) -> bool:
        """Whether it counts problems that are debated."""
        return self.one("arkloom_debate_problems", state="total") is not None

    @property
    def spoke(self) -> bool:
        """Whether it counted turns."""
        return self.sum(TURNS) > 0

    def one(self, name: str, **labels: str) -> float | None:
        """A series' value, where it is known."""
        return self.values.get(series(name, labels))

    def sum(self, name: str) -> float:
        """Over all series of a name."""
        return sum(value for key, value in self.values.items() if key.partition("{")[0] == name)

    def labelled(self, name: str, label: str) -> dict[str, float]:
        """Label's value -> the metric's, of series with this label alone."""
        start, end = f'{name}{{{label}="', '"}'
        found = {k[len(start) : -len(end)]: v for k, v in self.values.items() if k.startswith(start)}
        return dict(sorted(found.items()))

    def tokens(self, direction: str) -> float:
        """Tokens so far: ``prompt``, ``completion`` or ``cached``."""
        return self.one("arkloom_debate_tokens_total", direction=direction) or 0.0

    def pace(self) -> tuple[float, float, float] | None:
        """Turns, prompt tokens and completion tokens a second, lately."""
        if len(self.sights) < 2:
            return None
        last = self.sights[-1]
        first = next(sight for sight in self.sights if last[0] - sight[0] <= _WINDOW or sight is last)
        first = self.sights[-2] if first is last else first
        seconds = max(last[0] - first[0], 1e-9)
        return (
            (last[1] - first[1]) / seconds,
            (last[2] - first[2]) / seconds,
            (last[3] - first[3]) / seconds,
        )

    def curve(self) -> list[float]:
        """Turns a second between each two sightings."""
        sights = list(self.sights)
        return [
            (after[1] - before[1]) / max(after[0] - before[0], 1e-9) for before, after in pairwise(sights)
        ]

    def eta(self) -> float | None:
        """Seconds left, as the node itself says, else from the pace of its progress."""
        told = self.one("arkloom_debate_eta_seconds")
        if told is not None:
            return told
        at, done = self._first
        if self.done <= done or self.seen <= at or not self.total:
            return None
        return (self.total - self.done) * (self.seen - at) / (self.done - done)


class Sightings(Protocol):
    """Where nodes are seen."""

    title: str

    def look(self) -> list[Node]:
        """The nodes as they are now, in the order in which they were first seen."""


class FromEvents:
    """Follows a run's ``events.jsonl``."""

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, 0
        self._nodes: dict[str, Node] = {}
        self.title = str(path.parent)

    def look(self) -> list[Node]:
        """Read what was told since the last call; a file that is begun anew is another run's."""
        if self._path.exists() and self._path.stat().st_size < self._place:
            self._place = 0
            self._nodes.clear()
        for event, place in read_events(self._path, self._place):
            self._place = place
            name = event.get("node")
            if isinstance(name, str):
                self._take(self._nodes.setdefault(name, Node(name)), event)
        return list(self._nodes.values())

    @staticmethod
    def _take(node: Node, event: Mapping[str, Any]) -> None:
        at = float(event.get("time", 0.0))
        match event.get("event"):
            case "progress":
                task = str(event["task"]).removeprefix(f"{node.name} ")
                node.move(task, int(event["done"]), int(event["total"]), str(event["note"]), at)
            case "metrics":
                node.began = node.began or at
                node.count(event["values"], at)
            case "published" | "found":
                node.end(at)


class FromAddresses:
    """Asks addresses that serve metrics.

    Args:
        addresses: ``http://host:9464``, ``host:9464`` or ``:9464``.

    Raises:
        BadInputError: One is no such address.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._urls = [_url(address) for address in addresses]
        self._nodes: dict[tuple[str, str], Node] = {}
        self.title = ", ".join(self._urls)
        # Metrics are near, and a proxy that is set for the world outside does not know these hosts.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def look(self) -> list[Node]:
        """Ask every address once; one that does not answer is lost until it does."""
        for url in self._urls:
            try:
                self._ask(url)
            except (OSError, ValueError, http.client.HTTPException) as error:
                mine = [node for (where, _), node in self._nodes.items() if where == url]
                for node in mine or [self._nodes.setdefault((url, ""), Node(urlsplit(url).netloc))]:
                    node.state, node.note = "lost", f"{urlsplit(url).netloc}: {_why(error)}"
        return list(self._nodes.values())

    def _ask(self, url: str) -> None:
        with self._opener.open(url, timeout=_ANSWER_S) as answer:
            text = answer.read(_MOST_BYTES).decode("utf-8")
        values: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("arkloom_"):
                    own = {label: value for label, value in sample.labels.items() if label not in _WHOSE}
                    found = values.setdefault(sample.labels.get("node", ""), {})
                    if told(sample.name, sample.value):
                        found[series(sample.name, own)] = sample.value
        if not values:
            raise ValueError("no metrics of Arkloom there")
        self._nodes.pop((url, ""), None)
        for name, found in values.items():
            node = self._nodes.setdefault((url, name), Node(name))
            node.state, node.note = "runs", ""
            node.count(found, time.time())


def _url(address: str) -> str:
    text = address if "://" in address else f"http://{'127.0.0.1' if address[:1] == ':' else ''}{address}"
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise BadInputError("no address of metrics", where=address, mend="Write http://HOST:PORT")
    return text if parts.path.strip("/") else f"{text.rstrip('/')}/metrics"


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return " ".join(str(getattr(reason, "strerror", None) or reason).split()) or type(error).__name__
