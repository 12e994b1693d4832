"""The smoke chain as Jobs in the real images, its pods killed on the way, seen by a real Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube import BUCKET, EXAMPLE, REGISTRY, Kube, until
from scraping import Scraping

from arkloom.sections import StoreConfig
from arkloom.store import Store, open_store
from whole_run import records

pytestmark = [pytest.mark.chain, pytest.mark.slow, pytest.mark.timeout(1500)]

LAUNCHER = "first"  # the example's name
# Small batches make stages last long enough to be killed and scraped; nothing of it enters a record.
SETTINGS = {"runtime.parallel": "1", "runtime.batch": "16", "runtime.slots": "16", "runtime.shard_size": "4"}
# And these do: more to train, the same for the run on a folder.
WORK = {"sft.epochs": "6", "sft.checkpoint_steps": "1", "evaluate.seeds": "0"}


@dataclass
class Finished:
    """A run that came to its end, and what was seen on the way."""

    kube: Kube
    run: str
    told: str
    jobs: list[dict[str, Any]]
    pods: list[dict[str, Any]]
    killed: dict[str, str]
    seconds: float
    series: dict[str, list[dict[str, str]]] = field(default_factory=dict)


def launch(kube: Kube) -> None:
    """The shipped example, with the settings of a user and what this cluster forces."""
    (job,) = yaml.safe_load_all(EXAMPLE.read_text())
    spec = job["spec"]["template"]["spec"]
    spec["hostNetwork"] = True
    (main,) = spec["containers"]
    main["image"] = main["image"].replace("ghcr.io/arkloom", REGISTRY)
    main["args"] += [
        part for name, value in {**SETTINGS, **WORK}.items() for part in ("--set", f"{name}={value}")
    ]
    server = kube.said("config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}")
    host, _, port = server.partition("://")[2].partition(":")
    # Without a cluster network the API's own Service leads nowhere.
    main["env"] += [
        {"name": "KUBERNETES_SERVICE_HOST", "value": host},
        {"name": "KUBERNETES_SERVICE_PORT", "value": port},
    ]
    kube.said("apply", "--validate=false", "--filename=-", given=yaml.safe_dump(job))


def midway(kube: Kube, node: str, least: int, kill: Callable[[str], None]) -> str:
    """Kill the pod of a node when ``least`` of its work is done, but not all; its name."""
    running = "--field-selector=status.phase=Running"
    found = until(
        lambda: kube.get("pods", f"--selector=arkloom.dev/node={node}", running), 900, f"{node} runs"
    )
    name = str(found[0]["metadata"]["name"])
    with kube.follow(name) as log:
        assert log.stdout is not None
        for line in log.stdout:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "progress" and least <= event["done"] < event["total"]:
                kill(name)
                log.kill()
                return name
    raise AssertionError(f"{node} ended before it could be killed")


def kill_container(kube: Kube, pod: str) -> None:
    """SIGKILL to all that runs in a pod's container."""
    (found,) = kube.get("pod", pod)
    container = found["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
    subprocess.run(["docker", "kill", "--signal=KILL", container], check=True, capture_output=True)


@pytest.fixture(scope="session")
def reference(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """The same work on a folder of this machine, beside the cluster's: its store, and the process."""
    folder = tmp_path_factory.mktemp("reference")
    settings = WORK | {"store.root": str(folder / "store"), "runtime.threads": "2"}
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    out = ["--out", str(folder / LAUNCHER)]  # a run is called after it
    command = [sys.executable, "-m", "arkloom", "run", "--preset", "smoke", "--quiet", *out, *given]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        yield folder / "store", process
        process.terminate()


@pytest.fixture(scope="session")
def finished(installed: Kube, reference: object, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run: its debate is evicted, its training killed, its launcher killed, and it ends all the same."""
    kube, start, killed = installed, time.monotonic(), dict[str, str]()
    program = os.environ.get("ARKLOOM_TEST_PROMETHEUS", "")
    if not program:
        pytest.skip("no Prometheus (set ARKLOOM_TEST_PROMETHEUS)")

    def evict(pod: str) -> None:
        kube.said("delete", "pod", pod, "--wait=false")

    def die(pod: str) -> None:
        kill_container(kube, pod)
        launcher = kube.get(
            "pods", f"--selector=job-name={LAUNCHER}", "--field-selector=status.phase=Running"
        )
        kill_container(kube, launcher[0]["metadata"]["name"])
        killed["launcher"] = launcher[0]["metadata"]["name"]

    def strike(node: str, least: int, how: Callable[[str], None]) -> None:
        killed[node] = midway(kube, node, least, how)

    with Scraping(program, kube, tmp_path_factory.mktemp("prometheus")) as scraping:
        launch(kube)
        strikes = [
            threading.Thread(target=strike, args=pair, daemon=True)
            for pair in (("debate", 1, evict), ("sft-rsft", 4, die))
        ]
        for thread in strikes:
            thread.start()

        def over() -> bool:
            (job,) = kube.get("job", LAUNCHER)
            kinds = {entry["type"] for entry in job["status"].get("conditions") or []}
            assert "Failed" not in kinds, kube.run("logs", f"job/{LAUNCHER}", "--tail=50").stdout
            return "Complete" in kinds

        until(over, 1200, "the run ends")
        names = ("arkloom_debate_turns_total", "arkloom_grpo_reward")
        series = {name: scraping.series(name) for name in names}
    pods = kube.get("pods")
    told = "".join(
        kube.run("logs", pod["metadata"]["name"]).stdout
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        if pod["metadata"]["labels"].get("job-name") == LAUNCHER
    )
    jobs = kube.get("jobs", "--selector=arkloom.dev/node")
    run = jobs[0]["metadata"]["labels"]["arkloom.dev/run"]
    return Finished(kube, run, told, jobs, pods, killed, time.monotonic() - start, series)


@pytest.fixture(scope="session")
def store(
    finished: Finished, s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StoreConfig]:
    """The store that the run wrote to."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.items():
            patch.setenv(name, value)
        yield StoreConfig(root=f"s3://{BUCKET}/store", cache=str(tmp_path_factory.mktemp("cache")))


def test_every_node_is_a_job_that_completed_and_belongs_to_the_launcher(finished: Finished) -> None:
    (launcher,) = finished.kube.get("job", LAUNCHER)
    nodes = [job["metadata"]["labels"]["arkloom.dev/node"] for job in finished.jobs]
    assert len(nodes) == len(set(nodes))
    assert {"prepare", "debate", "sft-rsft", "prm", "grpo-pad", "evaluate", "gate"} <= set(nodes)
    for job in finished.jobs:
        assert "Complete" in {entry["type"] for entry in job["status"]["conditions"]}
        assert [owner["uid"] for owner in job["metadata"]["ownerReferences"]] == [launcher["metadata"]["uid"]]


def test_pods_that_were_killed_were_replaced_and_went_on(finished: Finished) -> None:
    assert set(finished.killed) == {"debate", "sft-rsft", "launcher"}
    last = {
        pod["metadata"]["labels"].get("arkloom.dev/node", "launcher"): str(pod["metadata"]["name"])
        for pod in finished.pods
        if pod["status"]["phase"] == "Succeeded"
    }
    for node, name in finished.killed.items():
        assert last[node] != name
    for node in ("debate", "sft-rsft"):
        assert begun_with(finished.kube.said("logs", last[node])) > 0, f"{node} began anew"


def begun_with(log: str) -> int:
    """What a pod found done of its longest task when it began."""
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    told = [event for event in events if event["event"] == "progress"]
    longest = max(told, key=lambda event: int(event["total"]))["task"]
    return int(next(event["done"] for event in told if event["task"] == longest))


def test_pods_were_restricted(finished: Finished) -> None:
    for pod in finished.pods:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
        if "arkloom.dev/node" in pod["metadata"]["labels"]:
            assert spec["serviceAccountName"] == "arkloom-stage"
            assert not [v for v in spec["volumes"] if "token" in v["name"] or "projected" in v], (
                "a token is mounted"
            )


def test_the_records_are_those_of_a_run_on_a_folder(
    finished: Finished, store: StoreConfig, reference: tuple[Path, Any]
) -> None:
    folder, process = reference
    _, told = process.communicate(timeout=900)
    assert process.returncode == 0, told
    expected, made = records(str(folder)), records(store)
    assert set(made) == set(expected)
    assert [node for node in expected if made[node] != expected[node]] == []


def test_the_report_is_fetched_from_the_store(finished: Finished, store: StoreConfig, tmp_path: Path) -> None:
    opened: Store = open_store(store)
    assert opened.runs() == [finished.run]
    command = [
        sys.executable,
        "-m",
        "arkloom",
        "report",
        finished.run,
        "--store",
        store.root,
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"base", "debate", "rsft"} <= set(report["arms"])
    assert "<html" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "stage"), [("arkloom_debate_turns_total", "debate"), ("arkloom_grpo_reward", "grpo")]
)
def test_prometheus_has_the_figures_with_run_and_stage(finished: Finished, name: str, stage: str) -> None:
    labels = {(found.get("run_id"), found.get("stage")) for found in finished.series[name]}
    assert (finished.run, stage) in labels, finished.series[name]
    assert {run for run, _ in labels} == {finished.run}


def test_no_secret_is_told(finished: Finished, s3: dict[str, str]) -> None:
    # The test server's key is a common word, so the object is searched rather than the text of logs.
    for job in finished.jobs:
        (main,) = job["spec"]["template"]["spec"]["containers"]
        assert s3["ARKLOOM_S3_SECRET_KEY"] not in json.dumps([main["command"], main["args"], main["env"]])
