"""The Jobs runner against an API server that fails on command: nothing is lost, nothing is done twice."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_cluster import Pod
from jobs_bench import CHAIN, ONCE, RUN, Bench, benches, once, work

from arkloom import config as configs
from arkloom.chains.distill import distill
from arkloom.chains.graph import Chain, Node
from arkloom.cli import main
from arkloom.cluster.api import Cluster, connect
from arkloom.cluster.jobs import job_name
from arkloom.cluster.runner import LAUNCHER
from arkloom.errors import BadInputError, ResumeError
from arkloom.store import open_store


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    with benches(tmp_path, monkeypatch) as make:
        yield make


def test_the_smoke_chain_runs_parents_first_and_no_more_at_once_than_asked(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    at_once, most = [0], [0]
    lock = threading.Lock()

    def act(pod: Pod) -> int:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        code = work(pod)
        with lock:
            at_once[0] -= 1
        return code

    made_by = bench(act)
    chain = distill(configs.load("smoke"))
    made = made_by.walk("runtime.parallel=3", chain=chain)
    assert list(made) != []
    assert set(made) == {node.name for node in chain}
    assert most[0] <= 3
    assert made_by.tries() == Counter(node.name for node in chain)
    told = capsys.readouterr().err.splitlines()
    assert [line.partition("] ")[0] for line in told] == [
        f"[{i}/{len(chain)}" for i in range(1, len(chain) + 1)
    ]
    for node in chain:
        folder = made_by.store.open(made[node.name].uri)
        parents = {f"{port}={made[parent].uri}" for port, parent in node.inputs.items()}
        assert set(json.loads(folder.file("parents.json").read_text())) == parents


def test_a_stage_gets_the_whole_configuration_as_text(bench: Callable[..., Bench]) -> None:
    seen = dict[str, Pod]()

    def act(pod: Pod) -> int:
        seen[pod.node] = pod
        return work(pod)

    bench(act).walk("runtime.python={debate: /usr/bin/python3}", "debate.agents=4")
    pod = seen["debate-rft"]
    given = yaml.safe_load(pod.given("--config-text")[0])
    assert configs.build(given).debate.agents == 4
    assert given["runtime"]["python"] == {}, "an interpreter of this machine"
    assert pod.given("--set") == ["runtime.threads=2", "debate.protocol=vote"]
    assert (pod.given("--run-id"), pod.given("--node")) == ([RUN], ["debate-rft"])


def test_a_launcher_that_stops_leaves_its_jobs_and_the_next_adopts_them(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    go = threading.Event()

    def act(pod: Pod) -> int:
        assert pod.node in {"prepare", "filter"} or go.wait(60)
        return work(pod)

    made_by = bench(act)
    told = made_by.stopped(lambda: len(made_by.cluster.pods) == 3)
    assert "kubectl -n work delete jobs -l arkloom.dev/store=" in told
    assert ",arkloom.dev/run=smoke-1a2b3c4d,arkloom.dev/node" in told
    assert made_by.tries() == Counter({"prepare": 1, "debate": 1, "debate-rft": 1})
    made_by.cluster.asked.clear()
    once(lambda: made_by.cluster.asked.count(("get", "jobs")) >= 3, go.set)  # all three have been looked for
    assert set(made_by.walk()) == set(ONCE)
    assert made_by.tries() == ONCE, "a Job was made twice"
    said = capsys.readouterr().err
    assert "debate: its Job was there and goes on" in said
    assert "prepare: found" in said


def test_sigterm_ends_the_command_with_75_and_no_job(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    made_by = bench(lambda pod: 0 if pod.dead.wait(60) else 1)
    once(lambda: bool(made_by.cluster.pods), lambda: signal.raise_signal(signal.SIGTERM))
    command = ["run", "--runner", "jobs", "--preset", "smoke", "--out", str(made_by.folder / "x")]
    assert main([*command, "--set", f"store.root={made_by.root}"]) == 75
    assert "The Jobs go on" in capsys.readouterr().err
    assert [pod.dead.is_set() for pod in made_by.cluster.pods.values()] == [False]


class _Killed(BaseException):
    """As SIGKILL ends a process: nobody is asked."""


@pytest.mark.parametrize("seed", range(5))
def test_a_launcher_killed_at_any_request_does_nothing_twice(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw, send, left = random.Random(seed), Cluster._send, [0]

    def killed(self: Cluster, *given: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and draw.random() < 0.5:
            send(self, *given, **more)  # it arrived, and nobody heard the answer
        if left[0] <= 0:
            raise _Killed
        return send(self, *given, **more)

    made_by = bench()
    monkeypatch.setattr(Cluster, "_send", killed)
    for _ in range(6):
        left[0] = draw.randint(4, 30)
        with contextlib.suppress(_Killed):
            made_by.walk()
    left[0] = 1_000_000
    assert set(made_by.walk()) == set(ONCE)
    assert made_by.tries() == ONCE


def test_a_pod_that_is_killed_is_replaced(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    def act(pod: Pod) -> int:
        if pod.node == "debate" and pod.attempt == 1:
            pod.say(
                json.dumps(
                    {"event": "progress", "task": "t", "done": 0, "total": 9, "note": "", "node": "debate"}
                )
            )
            seen = len(made_by.cluster.asked) + 20
            while len(made_by.cluster.asked) < seen:  # the runner has read it
                time.sleep(0.01)
            made_by.cluster.kill("debate")
            return 137
        if pod.node == "debate":
            pod.say(
                json.dumps(
                    {"event": "progress", "task": "t", "done": 5, "total": 9, "note": "", "node": "debate"}
                )
            )
        return work(pod)

    made_by = bench(act)
    assert set(made_by.walk()) == set(ONCE)
    assert made_by.tries() == ONCE
    told = capsys.readouterr().err
    assert re.search(r"\] debate: done in \d+ s, went on at 5/9", told)


@pytest.mark.parametrize("piece", [1 << 20, 500], ids=["a megabyte", "a few lines"])
def test_logs_come_whole_and_once(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """However much the server gives at once, a line is never cut."""
    monkeypatch.setattr("arkloom.cluster.api._LOG_BYTES", piece)

    def act(pod: Pod) -> int:
        for i in range(40):
            pod.say(json.dumps({"event": "progress", "task": "t", "done": i, "total": 40, "note": ""}))
            pod.say(f"line {i}\rof 40")
            time.sleep(0.02)
        return work(pod)

    made_by = bench(act)
    made_by.walk(chain=CHAIN[:1])
    out = made_by.folder / "out"
    assert (out / "logs" / "prepare.log").read_bytes().decode().split("\n")[:-1] == [
        f"line {i}\rof 40" for i in range(40)
    ]
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [event["done"] for event in events] == list(range(40))


def test_a_job_whose_artifact_is_gone_is_made_again(bench: Callable[..., Bench]) -> None:
    made_by = bench()
    made = made_by.walk()
    made_by.store.delete(made["debate"])
    again = made_by.walk()
    assert again["debate"].key == made["debate"].key
    assert made_by.tries() == ONCE + Counter({"debate": 1})


def test_jobs_go_with_their_launcher_and_hours_count_from_its_start(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = bench()
    begun = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    launcher = {"metadata": {"name": "launch", "uid": "u1"}, "status": {"startTime": begun}}
    made_by.cluster.jobs["launch"] = launcher | {"spec": {"suspend": True}}
    launcher["metadata"]["labels"] = {}  # type: ignore[assignment]
    monkeypatch.setenv(LAUNCHER, "launch")
    with pytest.raises(ResumeError, match="1 hours are over"):
        made_by.walk("runtime.max_hours=1")
    made_by.walk("runtime.max_hours=3")
    owners = made_by.cluster.job_of("prepare")["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == ["u1"]
    monkeypatch.setenv(LAUNCHER, "another")
    with pytest.raises(BadInputError, match="no Job another"):
        made_by.walk()


def test_a_folder_of_this_machine_is_no_store_for_jobs(bench: Callable[..., Bench]) -> None:
    with pytest.raises(BadInputError, match="which no pod reaches"):
        bench().walk(f"store.root={Path('/tmp/store')}")


def test_a_missing_pod_template_is_told_before_anything_starts(bench: Callable[..., Bench]) -> None:
    made_by = bench()
    del made_by.cluster.templates["arkloom-serve"]
    with pytest.raises(BadInputError, match="namespace work: no PodTemplate arkloom-serve"):
        made_by.walk()
    assert not made_by.cluster.created


def test_without_a_cluster_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(BadInputError, match="no cluster to talk to") as caught:
        connect()
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(("first", "then"), [(2, 3), (3, 2)], ids=["more", "fewer"])
@pytest.mark.parametrize("at_work", [False, True], ids=["ended", "at work"])
def test_another_number_of_shards_is_other_work(
    bench: Callable[..., Bench], at_work: bool, first: int, then: int
) -> None:
    """A run's id says nothing of the shards: a Job that holds half of the problems is no Job for a third."""

    def shares(count: int) -> Chain:
        return tuple(
            Node(f"debate-{i}", "debate", overrides=(f"debate.share={i}/{count}",)) for i in range(count)
        )

    def act(pod: Pod) -> int:
        seen.append(next(text for text in pod.given("--set") if "share" in text))
        return 75 if at_work and len(seen) <= first and pod.dead.wait(60) else work(pod)

    seen: list[str] = []
    made_by = bench(act)
    if at_work:
        made_by.stopped(lambda: len(seen) == first, "runtime.parallel=3", chain=shares(first))
    else:
        made_by.walk("runtime.parallel=3", chain=shares(first))
    made_by.walk("runtime.parallel=3", chain=shares(then))
    assert sorted(seen) == [
        f"debate.share={i}/{count}" for i, count in [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    ]
    left = {job_name(made_by.root, RUN, node) for node in shares(first)} & set(made_by.cluster.jobs)
    surplus = 0 if at_work else max(first - then, 0)  # ended, its log stays; nobody will take it for another
    assert len(left) == surplus
    made_by.walk("runtime.parallel=3", chain=shares(first))
    assert len(seen) == 5 + first - surplus, "a node took another's artifact for its own"


def test_runs_of_one_name_in_two_stores_leave_each_other_alone(bench: Callable[..., Bench]) -> None:
    made_by = bench(lambda pod: 75 if pod.dead.wait(0.5) else work(pod))
    made_by.stopped(lambda: len(made_by.cluster.pods) == 1)
    (first,) = made_by.cluster.jobs
    made_by.root = (made_by.folder / "another").as_uri()
    made_by.store = open_store(made_by.root)
    assert set(made_by.walk()) == set(ONCE)
    assert first in made_by.cluster.jobs
    assert made_by.tries() == ONCE + Counter({"prepare": 1})
