"""The Jobs runner where stages, the API or the cluster fail it: told in a line, and nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import Pod
from jobs_bench import CHAIN, ONCE, RUN, Bench, benches, fails, once, work

from arkloom import config as configs
from arkloom.chains.board import Board
from arkloom.cluster.api import connect
from arkloom.cluster.jobs import Policy
from arkloom.cluster.runner import JobsRunner
from arkloom.cluster.work import Waiting
from arkloom.errors import ArkloomError, BadInputError, ResumeError


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    with benches(tmp_path, monkeypatch) as make:
        yield make


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
    assert line.endswith("Log: kubectl -n work logs job/" + made_by.job_name("debate"))
    left = [name for name in made_by.cluster.jobs if "prepare" not in name]
    assert left == ([made_by.job_name("debate")] if policy else []), "what failed stays; the rest is ended"


@pytest.mark.parametrize(("code", "left"), [(1, {"debate"}), (75, {"debate", "debate-rft"})])
def test_what_failed_ends_the_jobs_beside_it_and_what_stopped_early_does_not(
    bench: Callable[..., Bench], code: int, left: set[str]
) -> None:
    go = threading.Event()

    def hang(pod: Pod) -> int:
        return work(pod) if pod.node != "debate-rft" or go.wait(60) else 1

    made_by = bench(fails({"debate": [code]}, then=hang))
    with pytest.raises(ArkloomError, match="node debate: "):
        made_by.walk(policy=Policy(retries=0))
    kept = {node for node in ONCE if made_by.job_name(node) in made_by.cluster.jobs} - {"prepare"}
    go.set()
    assert kept == left
    assert made_by.walk()["filter"]


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


@pytest.mark.parametrize("right", [("watch", "jobs"), ("get", "pods/log"), ("list", "events")], ids=" ".join)
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
    assert made_by.job_name("debate") not in made_by.cluster.jobs, "nobody waits for it any more"


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
    made_by.cluster.events = [quota | {"about": made_by.job_name("prepare"), "lastTimestamp": "2026"}]
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
            made_by.cluster.drop_job(made_by.job_name("debate"))
            return 143
        return work(pod)

    made_by = bench(act)
    with pytest.raises(ArkloomError, match="node debate: its Job was deleted"):
        made_by.walk("runtime.parallel=1")


def test_a_stage_that_recorded_nothing_has_failed(bench: Callable[..., Bench]) -> None:
    with pytest.raises(ArkloomError, match="node prepare: the stage recorded no artifact"):
        bench(lambda pod: 0).walk()
