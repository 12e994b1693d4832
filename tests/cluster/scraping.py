"""A Prometheus of the tests' own, told where to look by the shipped PodMonitor.

Debian's build cannot ask Kubernetes for pods: the test asks, and hands them over in a file under the names
that Prometheus itself gives them (``__meta_kubernetes_…``). The relabelling is the PodMonitor's own.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml
from kube import REPO, Kube, until

MONITOR = REPO / "manifests" / "components" / "monitoring" / "pod-monitor.yaml"
_NAMES = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
_EVERY_S = 1.0


class Scraping:
    """Scrapes the cluster's pods while the block runs.

    Args:
        program: The Prometheus binary.
        kube: Where the pods are.
        folder: For its configuration and its data.
    """

    def __init__(self, program: str, kube: Kube, folder: Path) -> None:
        self._program, self._kube, self._folder = program, kube, folder
        self._monitor = yaml.safe_load(MONITOR.read_text())["spec"]
        self._over = threading.Event()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def __enter__(self) -> Scraping:
        (self._folder / "pods.json").write_text("[]")
        config = self._folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config()))
        listen = f"127.0.0.1:{self._port}"
        command = [self._program, f"--config.file={config}", f"--storage.tsdb.path={self._folder / 'data'}"]
        self._process = subprocess.Popen(
            [*command, f"--web.listen-address={listen}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._ready, 30, "Prometheus starts")
        self._thread = threading.Thread(target=self._discover, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._process.terminate()
        self._process.wait()

    def series(self, name: str) -> list[dict[str, str]]:
        """Labels of every series of a metric that was ever seen."""
        query = urlencode({"match[]": name, "start": "0"})
        with urlopen(f"http://127.0.0.1:{self._port}/api/v1/series?{query}", timeout=10) as answer:
            found: list[dict[str, str]] = json.load(answer)["data"]
        return found

    def _config(self) -> dict[str, Any]:
        (endpoint,) = self._monitor["podMetricsEndpoints"]
        rules = [
            {_NAMES.get(name, name): value for name, value in rule.items()}
            for rule in endpoint["relabelings"]
        ]
        job = {
            "job_name": "arkloom",
            "metrics_path": endpoint["path"],
            "honor_labels": endpoint["honorLabels"],
            "file_sd_configs": [{"files": [str(self._folder / "pods.json")], "refresh_interval": "1s"}],
            "relabel_configs": rules,
        }
        # The shipped interval suits runs of hours; this one takes seconds a stage.
        return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}

    def _ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _discover(self) -> None:
        wanted = self._monitor["selector"]
        while not self._over.wait(_EVERY_S):
            pods = [
                pod
                for pod in self._kube.get("pods")
                if _selected(pod["metadata"].get("labels") or {}, wanted)
            ]
            targets = [{"targets": ["unknown"], "labels": labels} for pod in pods for labels in _found(pod)]
            part = self._folder / "pods.part"
            part.write_text(json.dumps(targets))
            part.replace(self._folder / "pods.json")


def _selected(labels: dict[str, str], wanted: dict[str, Any]) -> bool:
    there = [entry["key"] for entry in wanted.get("matchExpressions", ()) if entry["operator"] == "Exists"]
    assert len(there) == len(wanted.get("matchExpressions", ())), "an operator that this test does not know"
    same = all(labels.get(name) == value for name, value in wanted.get("matchLabels", {}).items())
    return same and all(name in labels for name in there)


def _found(pod: dict[str, Any]) -> list[dict[str, str]]:
    """What Prometheus would know of each container of a running pod."""
    if pod["status"].get("phase") != "Running" or not pod["status"].get("podIP"):
        return []
    labels = {
        f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value
        for name, value in pod["metadata"]["labels"].items()
    }
    about = {
        "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
        "__meta_kubernetes_pod_name": pod["metadata"]["name"],
        "__meta_kubernetes_pod_ip": pod["status"]["podIP"],
    }
    names = [container["name"] for container in pod["spec"]["containers"]]
    return [{**labels, **about, "__meta_kubernetes_pod_container_name": name} for name in names]
