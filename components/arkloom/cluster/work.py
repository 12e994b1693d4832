"""One node's Job: made or adopted, looked at until it ends, its failure told in a line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from arkloom.chains.graph import Node
from arkloom.chains.runner import failure, recorded
from arkloom.cluster.api import Cluster, Object
from arkloom.cluster.jobs import NODE_LABEL
from arkloom.cluster.pods import (
    Ended,
    Pending,
    complete,
    deleted,
    ended,
    failed,
    newest,
    pending,
    started,
    warning,
)
from arkloom.cluster.tail import Tail
from arkloom.errors import EXIT_BAD_INPUT, EXIT_RESUME, ArkloomError
from arkloom.store import Manifest, Store
from arkloom.telemetry import Events

_POLICY_S = 10.0  # a server that knows podFailurePolicy fails a Job of bad input itself within this
_EVENTS_S = 15.0  # between two looks at the events of what does not start
_QUIET_S = 5.0  # every pod needs a moment to start: nothing to tell


@dataclass(frozen=True)
class Waiting:
    """How long a Job may wait.

    Attributes:
        place: Seconds for a node with room, for a quota, or for leave to make a pod; queued (suspended)
            Jobs may wait for ever.
        stuck: Seconds for what time alone does not mend: an image that cannot be pulled, a missing Secret.
    """

    place: float = 3600
    stuck: float = 300


class Jobs(Protocol):
    """What a node's work needs of the runner that began it."""

    store: Store
    run: str
    folder: Path
    cluster: Cluster
    waiting: Waiting
    jobs: dict[str, Object]
    looks: int

    @property
    def events(self) -> Path:
        """The run's event log."""

    def pods(self, of: Object) -> list[Object]:
        """The pods of a Job, as last seen."""


class JobWork:
    """The work of a node.

    Args:
        node: The node.
        body: The manifest of its Job.
        site: The runner.
    """

    def __init__(self, node: Node, body: Object, site: Jobs) -> None:
        self.node, self.name = node, str(body["metadata"]["name"])
        self.failed = False  # for good: not a launcher that must stop, nor a store that is away
        self._body, self._site = body, site
        self._begun: int | None = None  # the runner's looks when the Job was there
        self._found: Manifest | None = None  # what an earlier launcher's Job made
        self._events = Events(site.events, run=site.run, node=node.name)
        log = site.folder / "logs" / f"{node.name}.log"
        self._tail = Tail(site.cluster, log, site.events, self._events)
        self._refused: float | None = None
        self._since: float | None = None
        self._warned, self._warning = 0.0, ""
        self._pod = ""
        self._told, self._news = "", list[str]()

    def made(self) -> Manifest | None:
        """The artifact once the Job is complete.

        Raises:
            BadInputError: The stage ended with exit code 2; it is not tried again.
            ResumeError: It stopped early, again and again.
            ArkloomError: It failed, was deleted, or waited for too long.
        """
        if self._begun is None and not self._begin():
            return self._found
        if self._begun is None or self._site.looks <= self._begun:
            return None  # what was seen last may be a former Job of this name
        found = self._site.jobs.get(self.name)
        if found is None:
            return self._vanished()
        pods = self._site.pods(found)
        last = newest(pods)
        if last is not None and started(last):
            self._tail.read(last)
        if complete(found):
            if (manifest := self._published()) is None:
                raise self._fail("the stage recorded no artifact", self._log)
            return manifest
        if (why := failed(found)) is not None:
            raise self._failure(why, pods)
        self._end_bad_input(pods)
        self._tell_replaced(last)
        self._check_waiting(pending(found, last), last)
        return None

    def waits(self) -> str | None:
        """What there is to tell since the last call: what it waits for, that a pod was replaced."""
        return self._news.pop(0) if self._news else self._tail.waits()

    def _begin(self) -> bool:
        """Make the Job, or adopt the one that is there; False where one of its name has ended."""
        found = self._site.cluster.job(self.name)
        if found is None:
            self._end_others()
            self._site.cluster.create_job(self._body)
        elif not deleted(found) and complete(found) and (manifest := self._published()) is not None:
            self._found = manifest
            self._events.emit("found", stage=manifest.stage, key=manifest.key)
            return False
        elif deleted(found) or complete(found) or failed(found) is not None:
            if not deleted(found):  # failed, or its artifact is gone: the work is to be done again
                self._site.cluster.delete_job(self.name)
            self._tell("waits for the end of a former Job of this name")
            return False
        else:
            self._news.append("its Job was there and goes on")
        self._begun = self._site.looks
        return True

    def _end_others(self) -> None:
        """Delete Jobs that do, or did, other work under this node's name, such as a share of another number.

        What they record under the run is not what this node makes, and whoever asks for that work again
        must not take the one for the other.
        """
        for name, other in self._site.jobs.items():
            if name != self.name and other["metadata"]["labels"].get(NODE_LABEL) == self.node.name:
                self._site.cluster.delete_job(name)

    def _published(self) -> Manifest | None:
        """What the node recorded, where the store still has it."""
        store = self._site.store
        manifest = recorded(store, self._site.run, self.node)
        return manifest and store.find(manifest.stage, manifest.key)

    def _vanished(self) -> Manifest | None:
        if (manifest := self._published()) is not None:
            return manifest
        raise self._fail("its Job was deleted", "Run the same command to go on")

    def _end_bad_input(self, pods: Sequence[Object]) -> None:
        """Old servers would try bad input again: then we end it."""
        if not any(end.code == EXIT_BAD_INPUT for end in _ends(pods)):
            return
        now = time.monotonic()
        self._refused = self._refused or now
        if now - self._refused > _POLICY_S:
            raise self._failure("", pods)

    def _failure(self, why: str, pods: Sequence[Object]) -> ArkloomError:
        """The error that the Job's end stands for, with the last line of the log."""
        by_name = {str(pod["metadata"]["name"]): pod for pod in pods}
        ends = sorted(_ends(pods), key=lambda end: str(by_name[end.pod]["metadata"].get("creationTimestamp")))
        bad = [end for end in ends if end.code == EXIT_BAD_INPUT]
        end = (bad or ends)[-1] if ends else None
        if end is None or end.code == 0:
            told = warning(self._site.cluster.events(self.name))
            return self._fail(f"{why}. {told}".strip(". "), self._log)
        self._tail.read(by_name[end.pod])
        if end.by_itself:
            self.failed = end.code != EXIT_RESUME  # it can go on, and so can the others
            return failure(self.node, end.code, self._tail.last, self._log)
        said = f"; it last said: {self._tail.last}" if self._tail.last else ""
        return self._fail(f"{end.told()}{said}", self._log)

    def _fail(self, what: str, mend: str) -> ArkloomError:
        self.failed = True
        return ArkloomError(what, where=f"node {self.node.name}", mend=mend)

    @property
    def _log(self) -> str:
        return f"Log: kubectl -n {self._site.cluster.namespace} logs job/{self.name}"

    def _tell_replaced(self, last: Object | None) -> None:
        """Say that a pod died and another goes on."""
        name = str(last["metadata"]["name"]) if last else ""
        if last is not None and (end := ended(last)) is not None and end.code not in {0, EXIT_BAD_INPUT}:
            self._tell(f"pod {name} {end.told()}; it is tried again")
        elif self._pod and name and name != self._pod:
            self._news.append(f"goes on in another pod, {name}")
        self._pod = name or self._pod

    def _check_waiting(self, waiting: Pending | None, last: Object | None) -> None:
        now = time.monotonic()
        if waiting is None or waiting.reason == "Suspended":
            self._since = None
            if waiting is not None:
                self._tell(waiting.what)
            return
        self._since = self._since or now
        waited = now - self._since
        if waited < _QUIET_S:
            return
        what = waiting.what
        if waiting.reason in {"NoPod", "Starting"}:  # why, only events tell
            what = f"{what} ({told})" if (told := self._warned_of(last)) else what
        self._tell(what)
        if waited > (self._site.waiting.stuck if waiting.stuck else self._site.waiting.place):
            raise self._fail(f"gave up after {waited:.0f} s: {what}", waiting.mend)

    def _warned_of(self, last: Object | None) -> str:
        now = time.monotonic()
        if now - self._warned > _EVENTS_S:
            about = str(last["metadata"]["name"]) if last else self.name
            self._warned, self._warning = now, warning(self._site.cluster.events(about))
        return self._warning

    def _tell(self, what: str) -> None:
        """Tell what is not what was told last."""
        if what != self._told:
            self._told = what
            self._news.append(what)


def _ends(pods: Sequence[Object]) -> list[Ended]:
    return [end for pod in pods if (end := ended(pod)) is not None]
