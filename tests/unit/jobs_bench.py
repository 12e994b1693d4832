"""A store and an API server that fails on command, for runners that come and go."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_cluster import Act, FakeCluster, Pod, templates

from arkloom import config as configs
from arkloom.canonical import digest
from arkloom.chains.board import Board
from arkloom.chains.graph import Chain, Node
from arkloom.cluster.api import connect
from arkloom.cluster.jobs import job_name
from arkloom.cluster.runner import LAUNCHER, JobsRunner
from arkloom.errors import ResumeError
from arkloom.store import Manifest, Store, open_store

RUN = "smoke-1a2b3c4d"
CHAIN = (
    Node("prepare", "prepare"),
    Node("debate", "debate", {"problems": "prepare"}),
    Node("debate-rft", "debate", {"problems": "prepare"}, ("debate.protocol=vote",)),
    Node("filter", "filter", {"debates": "debate", "more": "debate-rft"}),
)


def work(pod: Pod) -> int:
    """What a stage does, as far as a runner can tell: an artifact, and a pointer to it."""
    (text,), (run,) = pod.given("--config-text"), pod.given("--run-id")
    store = open_store(yaml.safe_load(text)["store"]["root"])
    key = digest([run, pod.node])
    manifest = store.find("work", key)
    if manifest is None:
        space = store.workspace("work", key)
        (space.folder / "parents.json").write_text(json.dumps(pod.given("--input")))
        manifest = space.publish("rows", parents={}, metrics={"rows": 5})
    store.point(run, pod.node, manifest.model_dump(mode="json", by_alias=True))
    return 0


def fails(codes: dict[str, list[int]], then: Act = work) -> Act:
    """Pods of these nodes end with these codes, one after the other, and then work."""

    def act(pod: Pod) -> int:
        left = codes.get(pod.node, [])
        if not left:
            return then(pod)
        pod.say(
            json.dumps(
                {"event": "progress", "task": "x", "done": 1, "total": 2, "note": "", "node": pod.node}
            )
        )
        pod.say(f"arkloom {pod.node}: gone wrong for the {pod.attempt}. time")
        return left.pop(0)

    return act


def once(when: Callable[[], bool], do: Callable[[], None]) -> None:
    """Beside the test, do something once a condition holds."""

    def wait() -> None:
        while not when():
            time.sleep(0.01)
        do()

    threading.Thread(target=wait, daemon=True).start()


class Bench:
    """A store, a cluster, and runners that come and go."""

    def __init__(self, folder: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.cluster = folder, cluster
        self.root = (folder / "store").as_uri()
        self.store: Store = open_store(self.root)
        cluster.templates = {entry["metadata"]["name"]: entry for entry in templates()}
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(folder)))
        self.stop = threading.Event()

    def walk(self, *settings: str, chain: Chain = CHAIN, **given: Any) -> dict[str, Manifest]:
        config = configs.load("smoke", overrides=[f"store.root={self.root}", *settings])
        self.stop.clear()
        runner = JobsRunner(
            config, self.store, RUN, self.folder / "out", self.stop, cluster=connect(), **given
        )
        with Board([node.name for node in chain], runner.events) as board:
            return runner.walk(chain, board)

    def stopped(self, when: Callable[[], bool], *settings: str, chain: Chain = CHAIN) -> str:
        """Walk, and be told to stop once ``when`` holds; what the runner says."""

        once(when, self.stop.set)
        with pytest.raises(ResumeError) as caught:
            self.walk(*settings, chain=chain)
        return caught.value.line()

    def job_name(self, node: str) -> str:
        return job_name(self.root, RUN, next(entry for entry in CHAIN if entry.name == node))

    def tries(self) -> Counter[str]:
        return Counter(
            node
            for name in self.cluster.created
            for node in (name.removeprefix("arkloom-").rpartition("-")[0],)
        )


ONCE = Counter(node.name for node in CHAIN)


@contextlib.contextmanager
def benches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Makes benches; pauses that suit a cluster are too long for a test."""
    monkeypatch.setattr("arkloom.cluster.runner._INTERVAL_S", 0.3)
    monkeypatch.setattr("arkloom.cluster.runner._SETTLE_S", 0.01)
    for name in ("_POLICY_S", "_EVENTS_S", "_QUIET_S"):
        monkeypatch.setattr(f"arkloom.cluster.work.{name}", 0.0)
    monkeypatch.setattr("arkloom.cluster.api._FIRST_S", 0.01)
    monkeypatch.delenv(LAUNCHER, raising=False)
    with contextlib.ExitStack() as open_:

        def make(act: Act = work, **given: Any) -> Bench:
            return Bench(folder, open_.enter_context(FakeCluster(act, **given)), monkeypatch)

        yield make
