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
from fake_cluster import Act, FakeCluster, Pod, templates

from arkloom import config as configs
from arkloom.canonical import digest
from arkloom.chains.board import Board
from arkloom.chains.distill import distill
from arkloom.chains.graph import Chain, Node
from arkloom.cli import main
from arkloom.cluster.api import Cluster, connect
from arkloom.cluster.jobs import Policy, job_name
from arkloom.cluster.runner import LAUNCHER, JobsRunner
from arkloom.cluster.work import Waiting
from arkloom.errors import ArkloomError, BadInputError, ResumeError
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


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that suit a cluster are too long for a test."""
    monkeypatch.setattr("arkloom.cluster.runner._INTERVAL_S", 0.3)
    monkeypatch.setattr("arkloom.cluster.runner._SETTLE_S", 0.01)
    for name in ("_POLICY_S", "_EVENTS_S", "_QUIET_S"):
        monkeypatch.setattr(f"arkloom.cluster.work.{name}", 0.0)
    monkeypatch.setattr("arkloom.cluster.api._FIRST_S", 0.01)
    monkeypatch.delenv(LAUNCHER, raising=False)


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

    def stopped(self, when: Callable[[], bool]) -> str:
        """Walk, and be told to stop once ``when`` holds; what the runner says."""

        once(when, self.stop.set)
        with pytest.raises(ResumeError) as caught:
            self.walk()
        return caught.value.line()

    def tries(self) -> Counter[str]:
        return Counter(
            node
            for name in self.cluster.created
            for node in (name.removeprefix("arkloom-").rpartition("-")[0],)
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    open_ = []

    def make(act: Act = work, **given: Any) -> Bench:
        cluster = FakeCluster(act, **given)
        open_.append(cluster)
        cluster.__enter__()
        return Bench(tmp_path, cluster, monkeypatch)

    yield make
    for cluster in open_:
        cluster.__exit__()


ONCE = Counter(node.name for node in CHAIN)


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
    assert "kubectl -n work delete jobs -l arkloom.dev/run=smoke-1a2b3c4d" in told
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


@pytest.mark.parametrize("policy", [True, False], ids=["policy", "old server"])
def test_bad_input_is_told_and_the_run_ends(bench: Callable[..., Bench], policy: bool) -> None:
    go = threading.Event()

    def hang(pod: Pod) -> int:
        return work(pod) if pod.node == "prepare" else 0 if go.wait(60) else 1

    made_by = bench(fails({"debate": [2, 2, 2, 2, 2]}, then=hang), policy=policy, back_off=60)
    with pytest.raises(BadInputError) as caught:
        made_by.walk()
    go.set()
    line = caught.value.line()
    assert line.startswith("node debate: gone wrong for the ")
    assert line.endswith("Log: kubectl -n work logs job/" + job_name(made_by.root, RUN, "debate"))
    left = [name for name in made_by.cluster.jobs if "prepare" not in name]
    assert left == ([job_name(made_by.root, RUN, "debate")] if policy else []), (
        "what failed stays; the rest is ended"
    )


@pytest.mark.parametrize(("code", "kind"), [(1, ArkloomError), (75, ResumeError), (137, ArkloomError)])
def test_other_failures_are_tried_again_and_told_once_they_are_too_many(
    bench: Callable[..., Bench], code: int, kind: type[ArkloomError], capsys: pytest.CaptureFixture[str]
) -> None:
    made_by = bench(fails({"debate": [code, code], "filter": [code] * 3}))
    with pytest.raises(kind, match=r"node filter: .*gone wrong for the 3\. time") as caught:
        made_by.walk(policy=Policy(retries=2))
    assert type(caught.value) is kind
    assert "node debate" not in capsys.readouterr().err
    assert {"prepare", "debate", "debate-rft"} == set(made_by.store.pointers(RUN))
    assert made_by.walk()["filter"], "the same command makes the failed Job anew"
    assert made_by.tries() == ONCE + Counter({"filter": 1})


def test_logs_come_whole_and_once(bench: Callable[..., Bench]) -> None:
    def act(pod: Pod) -> int:
        for i in range(40):
            pod.say(json.dumps({"event": "progress", "task": "t", "done": i, "total": 40, "note": ""}))
            pod.say(f"line {i}")
            time.sleep(0.02)
        return work(pod)

    made_by = bench(act)
    made_by.walk(chain=CHAIN[:1])
    out = made_by.folder / "out"
    assert (out / "logs" / "prepare.log").read_text().splitlines() == [f"line {i}" for i in range(40)]
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [event["done"] for event in events] == list(range(40))


def test_a_server_that_fails_in_passing_costs_nothing(bench: Callable[..., Bench]) -> None:
    made_by = bench()
    made_by.cluster.faults, made_by.cluster.lost, made_by.cluster.tired = [503, 0, 429, 500, 0], 2, 3
    assert set(made_by.walk()) == set(ONCE)
    assert made_by.tries() == ONCE


def test_without_an_answer_for_long_the_launcher_leaves_and_the_jobs_go_on(
    bench: Callable[..., Bench],
) -> None:
    made_by = bench(lambda pod: 0 if pod.dead.wait(60) else 1)

    once(lambda: bool(made_by.cluster.pods), lambda: made_by.cluster.faults.extend([503] * 100_000))
    config = configs.load("smoke", overrides=[f"store.root={made_by.root}"])
    cluster = connect()
    cluster._patience = 0.5
    runner = JobsRunner(config, made_by.store, RUN, made_by.folder / "out", cluster=cluster)
    with (
        Board(["prepare"], runner.events) as board,
        pytest.raises(ResumeError, match="answers 503: the server is tired"),
    ):
        runner.walk(CHAIN[:1], board)
    assert len(made_by.cluster.jobs) == 1


RIGHTS = [("watch", "jobs"), ("get", "pods/log"), ("list", "events")]


@pytest.mark.parametrize("right", RIGHTS, ids=" ".join)
def test_what_only_tells_more_is_not_needed(bench: Callable[..., Bench], right: tuple[str, str]) -> None:
    made_by = bench(fails({"debate": [1]}))
    made_by.cluster.forbidden.add(right)
    assert set(made_by.walk()) == set(ONCE)


@pytest.mark.parametrize(
    "right", [("create", "jobs"), ("get", "jobs"), ("list", "pods"), ("get", "podtemplates")], ids=" ".join
)
def test_a_missing_right_is_told_in_a_line(bench: Callable[..., Bench], right: tuple[str, str]) -> None:
    made_by = bench()
    made_by.cluster.forbidden.add(right)
    with pytest.raises(BadInputError) as caught:
        made_by.walk()
    line = caught.value.line()
    assert f"{right[1]} is forbidden" in line
    assert "arkloom-runner" in line
    assert "t0ken" not in line


def test_a_job_without_room_waits_and_says_why_then_gives_up(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    made_by = bench()
    made_by.cluster.waiting["debate"] = (
        "Unschedulable",
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    )
    with pytest.raises(
        ArkloomError, match=r"node debate: gave up after \d+ s: Unschedulable: 0/3 nodes"
    ) as caught:
        made_by.walk("runtime.parallel=1", waiting=Waiting(place=1.0))
    assert "taints" in caught.value.line()
    assert capsys.readouterr().err.count("debate: Unschedulable: 0/3 nodes are available") == 1
    assert job_name(made_by.root, RUN, "debate") not in made_by.cluster.jobs, "nobody waits for it any more"


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CreateContainerConfigError"])
def test_what_time_alone_does_not_mend_is_given_up_sooner(bench: Callable[..., Bench], reason: str) -> None:
    made_by = bench()
    made_by.cluster.waiting["prepare"] = (reason, "no such thing")
    with pytest.raises(ArkloomError, match=f"{reason}: no such thing"):
        made_by.walk(waiting=Waiting(place=600, stuck=0.5))


def test_where_no_pod_may_be_made_the_event_tells_why(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    made_by = bench()
    made_by.cluster.no_pods = True
    quota = {"type": "Warning", "reason": "FailedCreate", "message": "exceeded quota: gpus"}
    made_by.cluster.events = [
        quota | {"about": job_name(made_by.root, RUN, "prepare"), "lastTimestamp": "2026"}
    ]
    with pytest.raises(ArkloomError, match=r"no pod yet \(FailedCreate: exceeded quota: gpus\)"):
        made_by.walk(waiting=Waiting(place=0.5))


def test_a_queued_job_may_wait(bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]) -> None:
    made_by = bench()
    add = made_by.cluster.add_job

    def queue(body: dict[str, Any]) -> None:
        add(body)
        job = made_by.cluster.jobs[body["metadata"]["name"]]
        job["spec"]["suspend"] = True
        threading.Timer(1.5, job["spec"].pop, ("suspend",)).start()

    made_by.cluster.add_job = queue  # type: ignore[method-assign]
    made_by.walk(chain=CHAIN[:1], waiting=Waiting(place=1.0, stuck=1.0))
    assert "prepare: queued: its Job is suspended" in capsys.readouterr().err


def test_a_job_deleted_by_hand_ends_the_run(bench: Callable[..., Bench]) -> None:
    def act(pod: Pod) -> int:
        if pod.node == "debate":
            made_by.cluster.drop_job(job_name(made_by.root, RUN, "debate"))
            return 143
        return work(pod)

    made_by = bench(act)
    with pytest.raises(ArkloomError, match="node debate: its Job was deleted"):
        made_by.walk("runtime.parallel=1")


def test_a_job_whose_artifact_is_gone_is_made_again(bench: Callable[..., Bench]) -> None:
    made_by = bench()
    made = made_by.walk()
    made_by.store.delete(made["debate"])
    again = made_by.walk()
    assert again["debate"].key == made["debate"].key
    assert made_by.tries() == ONCE + Counter({"debate": 1})


def test_a_stage_that_recorded_nothing_has_failed(bench: Callable[..., Bench]) -> None:
    with pytest.raises(ArkloomError, match="node prepare: the stage recorded no artifact"):
        bench(lambda pod: 0).walk()


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
