"""The log of a node's pods, copied piece by piece: events into the run's, other lines into the node's."""

from __future__ import annotations

import json
from pathlib import Path

from arkloom.chains.runner import store_waits
from arkloom.cluster.api import ApiError, Cluster, Object, UnreachableError
from arkloom.cluster.jobs import CONTAINER
from arkloom.telemetry import Events


class Tail:
    """Reads on where it stopped, at each call; what a pod said before it was deleted unread is lost.

    A log is a convenience: a server that does not give it stops nothing.

    Args:
        cluster: Where the pods are.
        log: File for the lines that are no events, as on one machine.
        events: The run's event log, shared by its nodes.
        told: Writes the node's events there.
    """

    def __init__(self, cluster: Cluster, log: Path, events: Path, told: Events) -> None:
        self._cluster, self._log, self._events, self._told = cluster, log, events, told
        self._pod, self._since = "", ""
        self._news: str | None = None
        self.last = ""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")

    def read(self, pod: Object) -> None:
        """Copy what the pod has said since the last call."""
        name = str(pod["metadata"]["name"])
        if name != self._pod:
            if self._pod:
                self._told.emit("replaced", pod=name)
            self._pod, self._since = name, ""
        try:
            lines = list(self._cluster.log(name, CONTAINER, self._since))
        except (ApiError, UnreachableError):
            return
        if not lines:
            return
        self._since = lines[-1][0]
        texts = [text for _, text in lines]
        told = [text for text in texts if _is_event(text)]
        said = [text for text in texts if not _is_event(text)]
        _append(self._events, told)
        _append(self._log, said)
        self.last = next((text for text in reversed(said) if text.strip()), self.last)
        self._news = next(filter(None, map(store_waits, reversed(said))), self._news)

    def waits(self) -> str | None:
        """What the stage says of a store that does not answer, where that is new."""
        news, self._news = self._news, None
        return news


def _is_event(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        return "event" in json.loads(text)
    except ValueError:
        return False


def _append(path: Path, lines: list[str]) -> None:
    if lines:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
