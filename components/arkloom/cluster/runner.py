"""Runs a chain as Jobs: one a node, named by store, run and node, so that whoever comes later finds them.

The runner holds no state of its own. Killed and started again, it adopts the Jobs that are there; a Job
that has failed, or whose artifact is gone, is replaced. Pods that die are replaced by Kubernetes, and the
stage in the next one goes on where the last one stood.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from arkloom.chains.board import Board
from arkloom.chains.environments import ENVIRONMENT
from arkloom.chains.graph import Chain, Node
from arkloom.chains.limits import Limits
from arkloom.chains.runner import node_arguments
from arkloom.chains.walk import walk
from arkloom.cluster.api import ApiError, Cluster, Object, UnreachableError
from arkloom.cluster.jobs import NODE_LABEL, Policy, cores, job, selector
from arkloom.cluster.pods import complete, failed
from arkloom.cluster.work import JobWork, Waiting
from arkloom.config import RunConfig
from arkloom.errors import BadInputError, ResumeError
from arkloom.store import Manifest, Store

LAUNCHER = "ARKLOOM_LAUNCHER_JOB"  # names the Job that this process runs in
_EVENTS = Path("/dev/stdout")  # of a stage: among its log, which the launcher reads
_INTERVAL_S = 3  # between two looks, where nothing is heard
_SETTLE_S = 0.2  # one change is followed by others


@dataclass
class JobsRunner:
    """Walks a chain with at most ``config.runtime.parallel`` Jobs at once.

    Attributes:
        config: The run's configuration; nodes add their overrides.
        store: Where artifacts and run pointers live; every pod must reach it under the same name.
        run: Id of the run.
        folder: Where logs, events and the resolved configuration are written.
        stop: Set to end the walk; the Jobs go on.
        cluster: Where the Jobs run.
        policy: What holds for every Job.
        waiting: How long a Job may wait for a place, or for its image.
    """

    config: RunConfig
    store: Store
    run: str
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    cluster: Cluster = field(kw_only=True)
    policy: Policy = field(default_factory=Policy, kw_only=True)
    waiting: Waiting = field(default_factory=Waiting, kw_only=True)
    jobs: dict[str, Object] = field(default_factory=dict, init=False)
    looks: int = field(default=0, init=False)
    _pods: list[Object] = field(default_factory=list, init=False)
    _version: str = field(default="", init=False)
    _watches: bool = field(default=True, init=False)
    _templates: dict[str, Object] = field(default_factory=dict, init=False)
    _owner: Object | None = field(default=None, init=False)
    _limits: Limits = field(init=False)
    _spent: bool = field(default=False, init=False)

    @property
    def _ours(self) -> str:
        return selector(self.store.root, self.run)

    @property
    def events(self) -> Path:
        """The run's event log (JSONL)."""
        return self.folder / "events.jsonl"

    def walk(self, chain: Chain, board: Board) -> dict[str, Manifest]:
        """Run every node, parents first; returns the manifests by node.

        Raises:
            BadInputError: The store is a folder of this machine, a PodTemplate is missing, the API refuses
                us, or a stage ended with exit code 2.
            ResumeError: The run was told to stop, its budget is spent, or the API is away for too long.
            ArkloomError: A stage failed, or a Job waited too long.
        """
        root = self.config.store.root
        if "://" not in root:
            mend = "Give --set store.root=s3://bucket/prefix (or file:///folder, mounted in every pod)"
            raise BadInputError(
                "a folder of this machine, which no pod reaches", where=f"store.root {root}", mend=mend
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(self._config())
        self.cluster.until(self.stop)
        self.cluster.tell = lambda what: print(f"arkloom: {what}", file=sys.stderr, flush=True)
        self._templates = {name: self._template(name) for name in {ENVIRONMENT[node.stage] for node in chain}}
        self._owner = self._launcher()
        self._limits = Limits(self.config.runtime, chain, time.monotonic() - _age(self._owner))
        self._look()
        self._end_surplus(chain)
        return walk(chain, self, board, self.config.runtime.parallel)

    def check(self) -> None:
        """End the walk where it was told to stop, or the run's limits are reached.

        Raises:
            ResumeError: So it is.
        """
        if self.stop.is_set():
            end = f"kubectl -n {self.cluster.namespace} delete jobs -l {self._ours}"
            mend = f"The Jobs go on, and the same command goes on with them. To end them: {end}"
            raise ResumeError("stopped before the end", mend=mend)
        try:
            self._limits.check()
        except ResumeError:
            self._spent = True
            raise

    def start(self, node: Node, done: Mapping[str, Manifest]) -> JobWork:
        """The work of a node: its Job, made as soon as none is there that could be adopted."""
        template = self._templates[ENVIRONMENT[node.stage]]
        arguments = self._arguments(node, template, done)
        body = job(template, node, self.store.root, self.run, arguments, self.policy, self._owner)
        return JobWork(node, body, self)

    def pause(self) -> None:
        """Wait until a Job changes, at most some seconds; then look at all of them."""
        try:
            changed = self._watches and self.cluster.watch_jobs(self._ours, self._version, _INTERVAL_S)
            self.stop.wait(_SETTLE_S if changed else 0 if self._watches else _INTERVAL_S)
        except ApiError as error:
            self._watches = error.status != 403  # no right to watch: we look from time to time
            self.stop.wait(_INTERVAL_S)
        except UnreachableError:
            self.stop.wait(_INTERVAL_S)
        self._look()

    def leave(self, works: Sequence[JobWork], error: BaseException) -> None:
        """Delete the Jobs under way where a node failed or the budget is spent; else they go on."""
        if not self._spent and not any(work.failed for work in works):
            return
        for work in works:
            last = self.jobs.get(work.name)
            if last is None or failed(last) is None:  # what failed stays, with its log
                try:
                    self.cluster.delete_job(work.name)
                except (ApiError, UnreachableError) as left:
                    print(f"arkloom: the Job {work.name} stays: {left.line()}", file=sys.stderr)

    def pods(self, of: Object) -> list[Object]:
        """The pods of a Job, as last seen."""
        uid = of["metadata"]["uid"]
        return [
            pod
            for pod in self._pods
            if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or [])
        ]

    def _end_surplus(self, chain: Chain) -> None:
        """End Jobs of this run whose nodes this chain does not have, such as the third of now two shares."""
        wanted = {node.name for node in chain}
        for name, other in self.jobs.items():
            surplus = other["metadata"]["labels"][NODE_LABEL] not in wanted
            if surplus and not complete(other) and failed(other) is None:
                self.cluster.delete_job(name)

    def _look(self) -> None:
        found, self._version = self.cluster.jobs(self._ours)
        self.jobs = {str(entry["metadata"]["name"]): entry for entry in found}
        self._pods = self.cluster.pods(self._ours)
        self.looks += 1

    def _template(self, environment: str) -> Object:
        name = f"arkloom-{environment}"
        found = self.cluster.pod_template(name)
        if found is None:
            where, mend = (
                f"namespace {self.cluster.namespace}",
                "kubectl apply -k manifests/overlays/… makes it",
            )
            raise BadInputError(f"no PodTemplate {name}", where=where, mend=mend)
        return found

    def _launcher(self) -> Object | None:
        """The Job that this process runs in: the stages' Jobs are to be deleted with it."""
        name = os.environ.get(LAUNCHER)
        found = self.cluster.job(name) if name else None
        if name and found is None:
            raise BadInputError(f"no Job {name}", where=LAUNCHER, mend="Unset it, or name the launcher's Job")
        return found

    def _arguments(self, node: Node, template: Object, done: Mapping[str, Manifest]) -> list[str]:
        threads = self.config.runtime.threads or cores(template)
        settings = [f"runtime.threads={threads}", *self._limits.overrides(node, done)]
        told = node_arguments(node, done, settings, self.run, _EVENTS)
        return ["--config-text", self._config(), *told]

    def _config(self) -> str:
        tree = self.config.model_dump(mode="json")
        tree["runtime"]["python"] = {}  # interpreters of this machine; an image has its own
        return yaml.safe_dump(tree, sort_keys=False)


def _age(launcher: Object | None) -> float:
    """Seconds since the launcher's Job began: its pod may be the third, but hours count from the first."""
    begun = ((launcher or {}).get("status") or {}).get("startTime")
    return (datetime.now(UTC) - datetime.fromisoformat(begun)).total_seconds() if begun else 0.0
