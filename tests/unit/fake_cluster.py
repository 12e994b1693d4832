"""An API server of a few objects with its Job controller, for faults that no real one can be asked for.

Pods are threads: what a pod does is a function of the test. Everything else (names, labels, versions,
watches, back-off, a policy for failures, deletion) is as far as the Jobs runner can see it.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

_PATH = re.compile(
    r"/(?:api/v1|apis/batch/v1)/namespaces/(?P<namespace>[^/]+)/(?P<kind>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)


@dataclass
class Pod:
    """A pod as its function sees it."""

    cluster: FakeCluster
    body: dict[str, Any]
    attempt: int
    dead: threading.Event = field(default_factory=threading.Event)
    lines: list[str] = field(default_factory=list)

    @property
    def node(self) -> str:
        return str(self.body["metadata"]["labels"]["arkloom.dev/node"])

    @property
    def args(self) -> list[str]:
        return list(next(c for c in self.body["spec"]["containers"] if c["name"] == "main")["args"])

    def given(self, option: str) -> list[str]:
        """The values of an option."""
        return [value for name, value in zip(self.args, self.args[1:], strict=False) if name == option]

    def say(self, line: str) -> None:
        self.lines.append(f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z {line}")


Act = Callable[[Pod], int]


class FakeCluster:
    """Serves on loopback. Use as a context manager.

    Args:
        act: What a pod does; returns its exit code. A killed pod's code is not asked for.
        policy: Whether ``podFailurePolicy`` is known (1.26 and later) or dropped.
        back_off: Seconds before a failed pod is replaced.
    """

    def __init__(self, act: Act, policy: bool = True, back_off: float = 0) -> None:
        self.act, self.policy, self.back_off = act, policy, back_off
        self.change = threading.Condition(threading.RLock())
        self.version, self.made = 1, 0
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, Pod] = {}
        self.templates: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.created: list[str] = []  # names of Jobs, in order
        self.forbidden: set[tuple[str, str]] = set()  # verb, kind
        self.waiting: dict[str, tuple[str, str]] = {}  # node -> reason, message of a pod that never starts
        self.no_pods = False  # as a quota makes it
        self.faults: list[int] = []  # statuses of the next answers; 0: the connection is cut
        self.tired = 0  # every so many-th request is answered by 503
        self.lost = 0  # so many creations happen, but their answers never arrive
        self.asked: list[tuple[str, str]] = []
        self._over = threading.Event()

    def __enter__(self) -> FakeCluster:
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        for target in (partial(self._server.serve_forever, 0.02), self._control):
            threading.Thread(target=target, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for pod in list(self.pods.values()):
            pod.dead.set()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads here."""
        path = folder / "kubeconfig"
        named = {"name": "fake", "context": {"cluster": "c", "user": "u", "namespace": "work"}}
        server = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [server],
                    "users": [{"name": "u", "user": {"token": "t0ken"}}],
                    "contexts": [named],
                    "current-context": "fake",
                }
            )
        )
        return path

    def kill(self, node: str) -> None:
        """Delete the pod of a node, as an eviction does."""
        with self.change:
            (pod,) = [pod for pod in self.pods.values() if pod.node == node and not _ended(pod)]
            pod.dead.set()
            del self.pods[pod.body["metadata"]["name"]]

    def job_of(self, node: str) -> dict[str, Any]:
        (job,) = [
            job for job in self.jobs.values() if job["metadata"]["labels"].get("arkloom.dev/node") == node
        ]
        return job

    def add_job(self, body: dict[str, Any]) -> None:
        with self.change:
            self.made += 1
            self.created.append(body["metadata"]["name"])
            body = copy.deepcopy(body)
            body["metadata"] |= {"uid": f"uid-{self.made}", "creationTimestamp": _now()}
            if not self.policy:
                body["spec"].pop("podFailurePolicy", None)
            self.jobs[body["metadata"]["name"]] = body | {"status": {}, "failures": 0, "tries": 0}
            self.touch(body["metadata"]["name"])

    def drop_job(self, name: str) -> None:
        with self.change:
            job = self.jobs.pop(name)
            for pod in [pod for pod in self.pods.values() if _owner(pod) == job["metadata"]["uid"]]:
                pod.dead.set()
                del self.pods[pod.body["metadata"]["name"]]
            self.version += 1
            self.change.notify_all()

    def touch(self, name: str) -> None:
        self.version += 1
        self.jobs[name]["metadata"]["resourceVersion"] = str(self.version)
        self.change.notify_all()

    def _control(self) -> None:
        while not self._over.wait(0.01):
            with self.change:
                for name, job in list(self.jobs.items()):
                    if not job["status"].get("conditions") and not job["spec"].get("suspend"):
                        self._steer(name, job)

    def _steer(self, name: str, job: dict[str, Any]) -> None:
        pods = [pod for pod in self.pods.values() if _owner(pod) == job["metadata"]["uid"]]
        codes = [_ended(pod)["exitCode"] for pod in pods if _ended(pod)]
        rules = (job["spec"].get("podFailurePolicy") or {}).get("rules", [])
        hopeless = {code for rule in rules for code in rule.get("onExitCodes", {}).get("values", [])}
        bad = [code for code in codes if code]
        if 0 in codes:
            self._end(name, job, "Complete", "")
        elif hopeless & set(bad):
            self._end(name, job, "Failed", "PodFailurePolicy")
        elif len(bad) > job["spec"]["backoffLimit"]:
            self._end(name, job, "Failed", "BackoffLimitExceeded")
        elif len(codes) == len(pods) and not self.no_pods:
            self._start(name, job)

    def _end(self, name: str, job: dict[str, Any], kind: str, reason: str) -> None:
        job["status"]["conditions"] = [{"type": kind, "status": "True", "reason": reason, "message": "told"}]
        self.touch(name)

    def _start(self, name: str, job: dict[str, Any]) -> None:
        if job["tries"] and time.monotonic() < job["began"] + self.back_off:
            return
        job["tries"], job["began"] = job["tries"] + 1, time.monotonic()
        body = copy.deepcopy(job["spec"]["template"])
        body["metadata"] |= {
            "name": f"{name}-{job['tries']}",
            "creationTimestamp": f"{_now()}.{job['tries']:03}",
            "ownerReferences": [{"uid": job["metadata"]["uid"]}],
        }
        pod = Pod(self, body, job["tries"])
        self.pods[body["metadata"]["name"]] = pod
        if pod.node in self.waiting:
            reason, message = self.waiting[pod.node]
            body["status"] = _unstarted(reason, message)
            return
        body["status"] = {"phase": "Running", "containerStatuses": [_main({"running": {}})]}
        threading.Thread(target=self._run, args=(pod,), daemon=True).start()

    def _run(self, pod: Pod) -> None:
        code = self.act(pod)
        with self.change:
            ended = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}}
            pod.body["status"] = {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [_main(ended)],
            }


def _unstarted(reason: str, message: str) -> dict[str, Any]:
    if reason == "Unschedulable":
        scheduled = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        return {"phase": "Pending", "conditions": [scheduled]}
    waiting = _main({"waiting": {"reason": reason, "message": message}})
    return {"phase": "Pending", "containerStatuses": [waiting]}


def _main(state: dict[str, Any]) -> dict[str, Any]:
    return {"name": "main", "state": state}


def _ended(pod: Pod) -> dict[str, Any]:
    statuses = pod.body.get("status", {}).get("containerStatuses") or [{"state": {}}]
    found: dict[str, Any] = statuses[0]["state"].get("terminated") or {}
    return found


def _owner(pod: Pod) -> str:
    return str(pod.body["metadata"]["ownerReferences"][0]["uid"])


def _selected(labels: dict[str, str], wanted: list[tuple[str, str, str]]) -> bool:
    """``name=value`` asks for that label, ``name`` for any value of it."""
    return all(name in labels and (not sign or labels[name] == value) for name, sign, value in wanted)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Handler(BaseHTTPRequestHandler):
    cluster: FakeCluster

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        kind, name, log = self._place(parts.path)
        verb = "watch" if query.get("watch") else "get" if name else "list"
        if self._stopped(verb, f"{kind}{'/log' if log else ''}"):
            return
        cluster = self.cluster
        with cluster.change:
            if verb == "watch":
                self._watch(query)
            elif log:
                pod = cluster.pods.get(name)
                since = query.get("sinceTime", "")[:19]
                lines = [line for line in pod.lines if line[:19] >= since] if pod else []
                text = "".join(f"{line}\n" for line in lines).encode()[: int(query["limitBytes"])]
                self._answer(200 if pod else 404, text.decode(errors="ignore"))
            elif name:
                kept = {"jobs": cluster.jobs, "podtemplates": cluster.templates}[kind]
                found = kept.get(name)
                self._answer(200, found) if found else self._refuse(404, f"{kind} {name!r} not found")
            else:
                self._answer(200, {"items": self._list(kind, query), "metadata": self._about()})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._stopped("create", "jobs"):
            return
        with self.cluster.change:
            if body["metadata"]["name"] in self.cluster.jobs:
                self._refuse(409, "already exists")
                return
            self.cluster.add_job(body)
        if self.cluster.lost:
            self.cluster.lost -= 1
            self.close_connection = True
            return
        self._answer(201, body)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, name, _ = self._place(self.path)
        if self._stopped("delete", "jobs"):
            return
        if name not in self.cluster.jobs:
            self._refuse(404, "not found")
            return
        self.cluster.drop_job(name)
        self._answer(200, {})

    def _place(self, path: str) -> tuple[str, str, bool]:
        found = _PATH.fullmatch(path)
        assert found, path
        assert found["namespace"] == "work"
        assert self.headers["Authorization"] == "Bearer t0ken"
        return found["kind"], found["name"] or "", bool(found["log"])

    def _stopped(self, verb: str, kind: str) -> bool:
        """Whether a fault or a missing right ends the request."""
        self.cluster.asked.append((verb, kind))
        if (verb, kind) in self.cluster.forbidden:
            self._refuse(403, f"{kind} is forbidden: User cannot {verb}")
            return True
        if self.cluster.tired and len(self.cluster.asked) % self.cluster.tired == 0:
            self.cluster.faults.append(503)
        if self.cluster.faults:
            status = self.cluster.faults.pop(0)
            if status:
                self._refuse(status, "the server is tired")
            self.close_connection = True
            return True
        return False

    def _list(self, kind: str, query: dict[str, str]) -> list[dict[str, Any]]:
        if kind == "events":
            about = query["fieldSelector"].partition("=")[2]
            return [event for event in self.cluster.events if about.startswith(event["about"])]
        wanted = [part.partition("=") for part in query["labelSelector"].split(",")]
        every = {
            "jobs": list(self.cluster.jobs.values()),
            "pods": [p.body for p in self.cluster.pods.values()],
        }
        return [entry for entry in every[kind] if _selected(entry["metadata"]["labels"], wanted)]

    def _about(self) -> dict[str, str]:
        return {"resourceVersion": str(self.cluster.version)}

    def _watch(self, query: dict[str, str]) -> None:
        start = int(query["resourceVersion"])
        end = time.monotonic() + float(query["timeoutSeconds"])
        self.send_response(200)
        self.end_headers()
        while self.cluster.version <= start and time.monotonic() < end:
            self.cluster.change.wait(end - time.monotonic())
        if self.cluster.version > start:
            self.wfile.write(b'{"type": "MODIFIED", "object": {}}\n')
        self.close_connection = True

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, {"kind": "Status", "message": message})

    def _answer(self, status: int, body: Any) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


def templates() -> Iterator[dict[str, Any]]:
    """The three PodTemplates, with a field that no client knows."""
    for name in ("launcher", "serve", "train"):
        main = {
            "name": "main",
            "image": f"registry/arkloom-{name}:1",
            "resources": {"limits": {"cpu": "1500m"}},
            "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}],
        }
        yield {
            "metadata": {"name": f"arkloom-{name}", "labels": {"kueue.x-k8s.io/queue-name": "gpus"}},
            "template": {
                "metadata": {"labels": {"team": "a"}, "annotations": {"note": "kept"}},
                "spec": {"containers": [{"name": "aside"}, main], "fieldOfTheFuture": {"a": 1}},
            },
        }
