"""What watches a run: it names declared metrics alone, alerts fire and fall silent, panels show figures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port
from prometheus_client import Counter, Gauge

import rendered_manifests as rendered
from arkloom.telemetry import metrics

HERE, REPO = Path(__file__).parent, Path(__file__).parents[2]
MONITORING = rendered.MANIFESTS / "components" / "monitoring"
CASES = json.loads((HERE.parent / "cases" / "alerts.json").read_text())
RULES = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
BOARD = json.loads((MONITORING / "dashboard.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
MONITOR = yaml.safe_load((MONITORING / "pod-monitor.yaml").read_text())["spec"]
PROMETHEUS, PROMTOOL = (os.environ.get(f"ARKLOOM_TEST_{name}") for name in ("PROMETHEUS", "PROMTOOL"))
NAME = re.compile(r"\barkloom_[a-z0-9_]+")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool (set ARKLOOM_TEST_PROMTOOL)")
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None, reason="no Prometheus (set ARKLOOM_TEST_PROMETHEUS)"
)


def declared() -> set[str]:
    """Names as Prometheus stores them."""
    found = (metric for metric in vars(metrics).values() if isinstance(metric, Counter | Gauge))
    families = [(family.name, family.type) for metric in found for family in metric.describe()]
    return {f"{name}_total" if kind == "counter" else name for name, kind in families}


def expressions() -> list[tuple[str, str]]:
    """(panel, expression) of every panel, for any run."""
    return [(panel["title"], _filled(target["expr"])) for panel in PANELS for target in panel["targets"]]


def _filled(expression: str) -> str:
    return expression.replace("$namespace", ".*").replace("$run", ".*").replace("$__range", "5m")


def test_only_declared_metrics_are_named_and_every_one_is_shown() -> None:
    alerts = {name for rule in ALERTS.values() for name in NAME.findall(rule["expr"])}
    shown = {name for _, expression in expressions() for name in NAME.findall(expression)}
    assert alerts | shown <= declared()
    assert shown == declared()


def test_alerts_say_how_bad_it_is_and_where_help_stands() -> None:
    for name, rule in ALERTS.items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (REPO / file).read_text(), re.MULTILINE)
        assert anchor in {_anchor(heading) for heading in headings}, f"{name}: no section {anchor} in {file}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def test_every_alert_has_a_case_in_which_it_fires_and_falls_silent() -> None:
    fires = {case["alert"] for case in CASES if True in case["fires"].values()}
    ends = {case["alert"] for case in CASES if list(case["fires"].values())[-2:] == [True, False]}
    assert fires == ends == set(ALERTS)


@needs_promtool
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    assert "SUCCESS" in promtool(tmp_path, "check", "rules", _rules(tmp_path, annotations=True))


@needs_promtool
def test_alerts_fire_and_fall_silent(tmp_path: Path) -> None:
    _rules(tmp_path, annotations=False)  # what they say is checked by itself; promtool would compare it whole
    tests = [
        {
            "name": f"{case['alert']}: {case['why']}",
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in case["series"].items()],
            "alert_rule_test": [_expected(case, at, fires) for at, fires in case["fires"].items()],
        }
        for case in CASES
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in promtool(tmp_path, "test", "rules", file)


def _rules(folder: Path, *, annotations: bool) -> Path:
    spec = json.loads(json.dumps(RULES))
    for rule in (rule for group in spec["groups"] for rule in group["rules"]):
        if not annotations:
            del rule["annotations"]
    file = folder / "rules.yaml"
    file.write_text(json.dumps(spec))
    return file


def _expected(case: dict[str, Any], at: str, fires: bool) -> dict[str, Any]:
    labels = case.get("labels", {}) | ALERTS[case["alert"]]["labels"]
    expected = [{"exp_labels": labels}] if fires else []
    return {"eval_time": at, "alertname": case["alert"], "exp_alerts": expected}


def promtool(folder: Path, *arguments: str | Path) -> str:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real Prometheus with our rules, which reads a process of ours; its port."""
    assert PROMETHEUS is not None
    folder, port, told = tmp_path_factory.mktemp("prometheus"), free_port(), free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(_rules(folder, annotations=True))],
        "scrape_configs": [
            {
                "job_name": "arkloom",
                "honor_labels": MONITOR["podMetricsEndpoints"][0]["honorLabels"],
                "static_configs": [{"targets": [f"127.0.0.1:{told}"], "labels": {"namespace": "n"}}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    counting = subprocess.Popen([sys.executable, HERE / "every_metric.py", str(told)])
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield port
    finally:
        for process in (server, counting):
            process.terminate()
            process.wait(timeout=30)


def ask(port: int, path: str, **query: str) -> Any:
    """The data of an answer of Prometheus; None where it does not answer yet."""
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        if error.code != 503:  # it starts
            pytest.fail(error.read().decode())
    except OSError:
        pass
    return None


@needs_prometheus
def test_every_panel_shows_figures(prometheus: int) -> None:
    waiting, end = dict(enumerate(expressions())), time.monotonic() + 60
    while waiting and time.monotonic() < end:
        for number, (_, expression) in list(waiting.items()):
            answer = ask(prometheus, "query", query=expression)
            if answer and [one for one in answer["result"] if one["value"][1] != "NaN"]:
                del waiting[number]
        time.sleep(0.5)
    assert not waiting, f"no figures: {waiting}"


@needs_prometheus
def test_prometheus_evaluates_every_rule(prometheus: int) -> None:
    end, health = time.monotonic() + 60, dict[str, str]()
    while set(health.values()) != {"ok"} and time.monotonic() < end:
        groups = (ask(prometheus, "rules") or {"groups": []})["groups"]
        health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        time.sleep(0.5)
    assert health == dict.fromkeys(ALERTS, "ok")


@needs_prometheus
def test_whose_a_series_is_comes_from_the_stage_itself(prometheus: int) -> None:
    end, found = time.monotonic() + 60, list[dict[str, str]]()
    while not found and time.monotonic() < end:
        answer = ask(prometheus, "query", query="arkloom_debate_turns_total") or {"result": []}
        found = [one["metric"] for one in answer["result"]]
        time.sleep(0.5)
    (labels,) = found
    assert (labels["run_id"], labels["node"], labels["namespace"]) == ("r-1", "debate", "n")
    assert not [name for name in labels if name.startswith("exported_")]


def relabelled(labels: dict[str, str]) -> dict[str, str] | None:
    """What Prometheus makes of a discovered pod by the monitor's rules; None: not scraped."""
    found = dict(labels)
    for rule in MONITOR["podMetricsEndpoints"][0]["relabelings"]:
        value = ";".join(found.get(name, "") for name in rule["sourceLabels"])
        match = re.fullmatch(rule.get("regex", "(.*)"), value)
        if rule.get("action", "replace") == "keep":
            if match is None:
                return None
        elif match is not None:
            template = re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1"))
            if filled := match.expand(template):
                found[rule["targetLabel"]] = filled
            else:
                found.pop(rule["targetLabel"], None)
    return found


POD = "__meta_kubernetes_pod_"
JOB = {f"{POD}label_arkloom_dev_run": "r-1", f"{POD}label_arkloom_dev_stage": "debate"}


@pytest.mark.parametrize(
    ("pod", "address", "run"),
    [
        ({f"{POD}container_name": "main", f"{POD}ip": "10.1.2.3"} | JOB, "10.1.2.3:9464", "r-1"),
        ({f"{POD}container_name": "node", f"{POD}ip": "10.1.2.3"} | JOB, "10.1.2.3:9464", "r-1"),
        ({f"{POD}container_name": "main", f"{POD}ip": "fd00::7"} | JOB, "[fd00::7]:9464", "r-1"),
        (
            {
                f"{POD}container_name": "main",
                f"{POD}ip": "10.1.2.3",
                f"{POD}label_pipeline_runid": "5c1f",
                f"{POD}label_arkloom_dev_stage": "debate",
            },
            "10.1.2.3:9464",
            "5c1f",
        ),
    ],
    ids=["job", "trainjob", "ipv6", "kubeflow"],
)
def test_a_pod_is_scraped_at_its_address_without_a_port(pod: dict[str, str], address: str, run: str) -> None:
    found = relabelled(pod)
    assert found is not None
    assert (found["__address__"], found["run_id"], found["stage"]) == (address, run, "debate")


@pytest.mark.parametrize("container", ["wait", "init", "istio-proxy", "minio", ""])
def test_other_containers_are_not_scraped(container: str) -> None:
    assert relabelled({f"{POD}container_name": container, f"{POD}ip": "10.1.2.3"}) is None


def test_panels_are_of_the_chosen_namespace_and_run() -> None:
    assert [one["name"] for one in BOARD["templating"]["list"]] == ["datasource", "namespace", "run"]
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            for inside in re.findall(r"\barkloom_[a-z0-9_]+({[^}]*})?", target["expr"]):
                assert inside.startswith('{namespace=~"$namespace", run_id=~"$run"'), target["expr"]


def test_panels_do_not_overlap() -> None:
    taken = set[tuple[int, int]]()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
