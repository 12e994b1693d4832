"""Metrics served while a stage works: whose they are, what is left out, and faults that must not matter."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from arkloom import stage as stages
from arkloom.stage import Stage, StageReport
from arkloom.telemetry import Events, metrics, read_events
from arkloom.telemetry.meters import EndpointMeter, TurnMeter, count_retry, endpoint_name, reading
from arkloom.telemetry.serving import Labelled, served

pytestmark = pytest.mark.usefixtures("one_stage")

PROMETHEUS, PROMTOOL = (os.environ.get(f"ARKLOOM_TEST_{name}") for name in ("PROMETHEUS", "PROMTOOL"))
LABELS = {"run_id": "r-1", "stage": "debate", "node": "debate-0"}


@pytest.fixture
def port() -> int:
    return free_port()


def ask(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def test_every_sample_says_whose_it_is(port: int) -> None:
    TurnMeter("debate").spoke(10, 5, 3)
    with served(port, LABELS, Events()) as where:
        assert where == port
        found = samples(ask(port))
    own = {name: series for name, series in found.items() if name.startswith("arkloom")}
    assert own, "nothing is served"
    assert {label for series in own.values() for labels, _ in series for label in labels} >= set(LABELS)
    for series in own.values():
        for labels, _ in series:
            assert labels.items() >= LABELS.items()
    assert found["arkloom_debate_turns_total"][0][1] == reading(metrics.DEBATE_TURNS)


def test_a_label_of_its_own_wins_and_a_gauge_never_set_is_not_told() -> None:
    registry = CollectorRegistry()
    Counter("spoken", "Turns", ["stage"], registry=registry).labels("evaluate").inc(2)
    unset = Gauge("gain", "Gain", registry=registry)
    unset.set(float("nan"))
    assert dict(told_of(registry)) == {"spoken_total": ({**LABELS, "stage": "evaluate"}, 2)}
    unset.set(0)
    assert dict(told_of(registry))["gain"] == (LABELS, 0)


def told_of(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[dict[str, str], float]]]:
    for family in Labelled(LABELS, registry).collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                yield sample.name, (dict(sample.labels), sample.value)


FRESH = """
from arkloom.telemetry.serving import Labelled
gauges = [s.name for f in Labelled({}).collect() if f.type == "gauge" for s in f.samples]
print(gauges)
"""


def test_a_process_that_did_nothing_tells_no_figure() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_port_in_use_is_told_and_the_work_goes_on(
    port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(port, LABELS, Events()), served(port, LABELS, Events()) as second:
        assert second is None
    assert capsys.readouterr().err == "", "work that is over soon says nothing of it"
    monkeypatch.setattr("arkloom.telemetry.serving._SHORT_S", 0)
    TurnMeter("debate").spoke(10, 5, 3)
    with served(port, LABELS, Events()), served(port, LABELS, Events()) as second:
        assert second is None
        assert samples(ask(port))["arkloom_debate_turns_total"], "the first is served all the same"
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f":{port}" in told
    assert "in use" in told


def test_port_0_serves_nothing(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with served(0, LABELS, Events()) as where:
        assert where is None
    assert capsys.readouterr().err == ""


def test_the_port_is_free_again_and_a_client_that_says_nothing_holds_nobody(port: int) -> None:
    with served(port, LABELS, Events()), socket.create_connection(("127.0.0.1", port)):
        ask(port)
    with served(port, LABELS, Events()) as again:
        assert again == port


def test_what_was_counted_stands_in_the_events_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with served(0, LABELS, Events(path, node="debate-0")):
        count_retry("timeout")
        meter = EndpointMeter("http://user:secret@host:8000/v1")
        meter.healthy(False)
        meter.begin()
        meter.end(False)
    *_, (event, _) = read_events(path)
    assert (event["event"], event["node"]) == ("metrics", "debate-0")
    values = event["values"]
    assert values['arkloom_engine_retries_total{reason="timeout"}'] >= 1
    assert values['arkloom_endpoint_up{endpoint="host:8000"}'] == 0
    assert values['arkloom_endpoint_requests_total{endpoint="host:8000",outcome="failed"}'] == 1
    assert values['arkloom_endpoint_in_flight{endpoint="host:8000"}'] == 0
    assert "secret" not in path.read_text()
    json.loads(path.read_text().splitlines()[-1], parse_constant=pytest.fail)  # NaN is no JSON


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://10.0.0.1:8000/v1", "10.0.0.1:8000"),
        ("https://key@vllm.svc/v1/", "vllm.svc"),
        ("http://host:1/a/v1", "host:1/a"),
        ("host:8000", "host:8000"),
        ("http://[::1]:8000/v1", "[::1]:8000"),
    ],
)
def test_endpoints_are_named_without_credentials(url: str, name: str) -> None:
    assert endpoint_name(url) == name


def test_engines_that_share_an_endpoint_count_their_requests_together() -> None:
    one = EndpointMeter("http://shared:1/v1")
    one.begin()
    other = EndpointMeter("http://shared:1/v1")  # another adapter of the same server speaks later
    other.begin()
    assert reading(metrics.ENDPOINT_IN_FLIGHT, endpoint="shared:1") == 2
    one.end(True)
    other.end(True)
    assert reading(metrics.ENDPOINT_IN_FLIGHT, endpoint="shared:1") == 0


def test_turns_are_counted_in_and_out() -> None:
    meter = TurnMeter("debate")
    meter.wait(3)
    meter.begin()
    meter.begin()
    assert (reading(metrics.DEBATE_QUEUED), reading(metrics.DEBATE_IN_FLIGHT)) == (1, 2)
    meter.end()
    meter.wait(-1)
    assert (reading(metrics.DEBATE_QUEUED), reading(metrics.DEBATE_IN_FLIGHT)) == (0, 1)
    names = ("prompt", "completion", "cached")
    before = {name: reading(metrics.DEBATE_TOKENS, direction=name) for name in names}
    meter.spoke(100, 20, 64)
    after = {name: reading(metrics.DEBATE_TOKENS, direction=name) for name in before}
    assert [after[name] - before[name] for name in before] == [100, 20, 64]


def test_a_stage_is_served_while_it_works(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ARKLOOM_PARENT", raising=False)
    seen: list[str] = []

    def work(*_: Any) -> StageReport:
        seen.append(ask(port))
        return StageReport("nothing")

    stage = Stage(name="debate", schema=1, sections=("seed",), inputs=(), run=work)
    given = ["--store", str(tmp_path / "store"), "--run-id", "r-1", "--node", "debate-7"]
    assert stages.main(stage, [*given, "--set", f"runtime.metrics_port={port}"]) == 0
    (labels, _), *_ = samples(seen[0])["arkloom_debate_no_answer_total"]
    assert labels == {"run_id": "r-1", "stage": "debate", "node": "debate-7"}
    with pytest.raises(OSError, match="refused"):
        ask(port)


@pytest.fixture
def prometheus(tmp_path: Path, port: int) -> Iterator[str]:
    """A real Prometheus that looks at ``port`` every second; its address."""
    if not PROMETHEUS:
        pytest.skip("ARKLOOM_TEST_PROMETHEUS names no program")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: arkloom, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    own = free_port()
    command = [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{own}"], stdout=log, stderr=subprocess.STDOUT
        )
    yield f"http://127.0.0.1:{own}"
    process.terminate()
    process.wait(timeout=30)


def query(address: str, text: str) -> list[dict[str, Any]]:
    try:
        url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return list(json.load(answer)["data"]["result"])
    except OSError:
        return []


def test_prometheus_reads_them(prometheus: str, port: int) -> None:
    TurnMeter("debate").spoke(1, 1)
    with served(port, LABELS, Events()):
        end = time.monotonic() + 60
        while not (found := query(prometheus, "arkloom_debate_turns_total")) and time.monotonic() < end:
            time.sleep(0.2)
    (series,) = found
    assert series["metric"].items() >= {**LABELS, "job": "arkloom"}.items()
    assert float(series["value"][1]) == reading(metrics.DEBATE_TURNS)


@pytest.mark.skipif(not PROMTOOL, reason="ARKLOOM_TEST_PROMTOOL names no program")
def test_promtool_finds_nothing_to_mend(port: int) -> None:
    with served(port, LABELS, Events()):
        text = ask(port)
    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
