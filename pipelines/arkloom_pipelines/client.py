"""Runs of the pipeline on a Kubeflow Pipelines API: submit, look, cancel; logs come from Kubernetes.

Where the API is, and who asks, kfp's own client finds: the host given here or ``KF_PIPELINES_ENDPOINT``, else
the cluster that this process runs in or that kubectl would ask. A token is a secret, ``ARKLOOM_KFP_TOKEN`` or
the file that ``ARKLOOM_KFP_TOKEN_FILE`` names; in a pod, kfp reads the one at ``KF_PIPELINES_SA_TOKEN_PATH``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import kfp_server_api
from kfp.client import Client, ServiceAccountTokenVolumeCredentials
from urllib3.exceptions import HTTPError

from arkloom.cluster.api import ApiError, Cluster
from arkloom.errors import ArkloomError, BadInputError
from arkloom.secret import secret

TOKEN = "ARKLOOM_KFP_TOKEN"  # noqa: S105 - the name of a variable
_HOST, _TOKEN_PATH = "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH"
NAMESPACE = "kubeflow"
SUCCEEDED = "SUCCEEDED"
ENDED = frozenset({SUCCEEDED, "FAILED", "CANCELED", "SKIPPED"})
_LONGEST = 300  # characters of what is no document
_DRIVER = "-driver"  # Kubeflow's own pods, which only start others
_RUN, _NODE = "pipeline/runid", "arkloom.dev/node"


@dataclass(frozen=True)
class Step:
    """One task of a run: its name, Kubeflow's word for its state, seconds it took so far, what went wrong."""

    name: str
    state: str
    seconds: float | None
    error: str = ""


@dataclass(frozen=True)
class Status:
    """A run: id, name, Kubeflow's word for its state, and its steps in the order in which they began."""

    run: str
    name: str
    state: str
    steps: tuple[Step, ...]
    error: str = ""


class Kubeflow:
    """A Kubeflow Pipelines API.

    Args:
        host: Its address, http(s)://host:port; None leaves it to kfp (see the module).
        namespace: Of the user, where Kubeflow serves several; else the one it is installed in.

    Raises:
        BadInputError: It is nowhere to be found, or refuses us.
        ArkloomError: It does not answer.
    """

    def __init__(self, host: str | None = None, namespace: str = NAMESPACE) -> None:
        self._host, self._namespace = host or os.environ.get(_HOST) or "", namespace
        if not self._host and not _in_reach():
            mend = f"Give --host http://..., or set {_HOST}"
            raise BadInputError("no address", where="Kubeflow", mend=mend)
        path = os.environ.get(_TOKEN_PATH)
        with self._explained("the API"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client = Client(
                host=self._host or None,
                namespace=namespace,
                existing_token=secret(TOKEN) or None,
                credentials=ServiceAccountTokenVolumeCredentials(path) if path else None,
            )

    def submit(
        self,
        pipeline: str,
        arguments: Mapping[str, Any],
        *,
        name: str,
        experiment: str,
        service_account: str | None = None,
    ) -> str:
        """Start a run; returns its id.

        Args:
            pipeline: The compiled pipeline (YAML).
            arguments: Values of its parameters; its defaults hold for the rest.
            name: Shown in the UI.
            experiment: The UI's folder of runs; made where there is none of this name.
            service_account: That the steps run as; None is Kubeflow's default.
        """
        with tempfile.TemporaryDirectory() as folder, self._explained("the run"):
            file = Path(folder) / "pipeline.yaml"
            file.write_text(pipeline, encoding="utf-8")
            with redirect_stdout(sys.stderr):  # kfp prints links
                started = self._client.create_run_from_pipeline_package(
                    str(file),
                    arguments=dict(arguments),
                    run_name=name,
                    experiment_name=experiment,
                    namespace=self._user,
                    service_account=service_account,
                )
        return str(started.run_id)

    def status(self, run: str) -> Status:
        """How a run stands."""
        with self._explained(f"run {run}"):
            found = self._client.get_run(run)
        details = (found.run_details.task_details if found.run_details else None) or []
        steps = [_step(task) for task in details if not str(task.display_name).endswith(_DRIVER)]
        error = _line(found.error.message) if found.error else ""
        return Status(run, found.display_name or "", found.state or "PENDING", tuple(steps), error)

    def cancel(self, run: str) -> None:
        """Ask Kubeflow to end a run: its pods are stopped, its exit handler is not run."""
        with self._explained(f"run {run}"):
            self._client.terminate_run(run)

    def wait(self, run: str, tell: Callable[[Status], None], pause: float = 10) -> Status:
        """Look until a run has ended; ``tell`` is given every status on the way.

        A server that is away for a while is waited for; one that refuses is not.
        """
        while True:
            try:
                status = self.status(run)
            except BadInputError:
                raise
            except ArkloomError as error:
                print(f"arkloom: {error.line()}; looking again", file=sys.stderr)
            else:
                tell(status)
                if status.state in ENDED:
                    return status
            time.sleep(pause)

    @property
    def _user(self) -> str | None:
        return None if self._namespace == NAMESPACE else self._namespace

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """One clear line for whatever the API, or the way to it, does."""
        where = f"Kubeflow {self._host}".strip()
        try:
            yield
        except kfp_server_api.ApiException as error:
            told = _MENDS.get(error.status, ("", ""))
            said = told[0] or _said(error.body) or _line(error.reason)
            kind = BadInputError if error.status in range(400, 500) else ArkloomError
            raise kind(f"{what}: {said}", where=where, mend=told[1]) from error
        except (HTTPError, OSError) as error:  # TimeoutError is one
            raise ArkloomError(f"cannot be reached ({type(error).__name__})", where=where) from error
        except ValueError as error:
            raise BadInputError(_line(str(error)), where=where) from error


_MENDS = {
    401: ("not signed in", f"Set {TOKEN} or {TOKEN}_FILE"),
    403: ("not allowed", "Give --namespace where Kubeflow serves several users"),
    404: ("not there", "See arkloom pipeline submit, which prints a run's id"),
}


def logs(cluster: Cluster, run: str, node: str = "") -> Iterator[tuple[str, str]]:
    """The log lines of a run's pods that are still there, each with its node, pod by pod as they began.

    Args:
        cluster: The namespace where the steps run.
        run: Id of the run.
        node: Of this node alone; "" for all.

    Raises:
        BadInputError: There is no such pod, or its log may not be read.
    """
    labels = [f"{_RUN}={run}", *([f"{_NODE}={node}"] if node else [_NODE])]
    pods = sorted(cluster.pods(",".join(labels)), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    if not pods:
        mend = "Pods are deleted some time after a run: see the UI, or arkloom runs for what it made"
        raise BadInputError("no pods", where=f"run {run} in {cluster.namespace}", mend=mend)
    for pod in pods:
        about = pod["metadata"]
        try:
            for _, text in cluster.log(about["name"], "main"):
                yield about["labels"][_NODE], text
        except ApiError as error:
            if error.status != 400:  # it has not begun
                raise


def _in_reach() -> bool:
    """Whether kfp's client can find a cluster by itself."""
    found = os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config")).split(os.pathsep)
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(Path(file).is_file() for file in found)


def _step(task: Any) -> Step:
    start, end = task.start_time or task.create_time, task.end_time
    known = isinstance(start, datetime)
    until = end if isinstance(end, datetime) else datetime.now(start.tzinfo) if known else None
    seconds = (until - start).total_seconds() if known and until is not None else None
    error = _line(task.error.message) if task.error else ""
    return Step(task.display_name or task.task_id or "", task.state or "PENDING", seconds, error)


def _said(body: object) -> str:
    """What the API says of an error: the message of a document, or the text itself."""
    try:
        document = json.loads(str(body or ""))
        return _line(document.get("message") or document.get("error"))
    except (ValueError, AttributeError):
        return _line(body)[:_LONGEST]


def _line(text: object) -> str:
    return " ".join(str(text or "").split())
