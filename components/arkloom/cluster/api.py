"""The Kubernetes API, as far as Jobs need it: plain JSON over the official client's connection.

Objects stay dictionaries: a PodTemplate may hold fields that are younger than any client's models, and
each must reach the Job untouched.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from arkloom.errors import BadInputError, ResumeError

Object: TypeAlias = dict[str, Any]  # of the API, as JSON

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NAMESPACE = "arkloom"
_JOBS, _CORE = "/apis/batch/v1", "/api/v1"
_REQUEST = urllib3.Timeout(connect=5, read=30)
_FIRST_S, _LONGEST_S = 0.5, 15.0  # the first and the longest pause between two tries
_QUICK_S = 15.0  # patience before anything was reached: a slip in an address must not cost ten minutes
_PASSING = frozenset({429, 500, 502, 503, 504})
_LIST_CHUNK = 500
_LOG_BYTES = 1 << 20


class ApiError(BadInputError):
    """The API refused a request: no rights, no such object, a Job that it does not accept.

    Args:
        status: The HTTP status.
        what: What the server said.
    """

    def __init__(self, status: int, what: str, **told: str) -> None:
        super().__init__(what, **told)
        self.status = status


class UnreachableError(ResumeError):
    """The API does not answer; what runs in the cluster goes on, and the same command goes on with it."""

    def __init__(self, what: str) -> None:
        super().__init__(what, where="kubernetes", mend="Run the same command to go on")


class Cluster:
    """One namespace of a cluster.

    Args:
        client: ``kubernetes.client.ApiClient``: address, certificates, and a token that may rotate.
        namespace: Where everything lives.
        stop: Set when this process was told to stop: nothing is tried again then.
        patience: Seconds for which a request that fails in passing is repeated.
    """

    def __init__(
        self, client: Any, namespace: str, stop: threading.Event | None = None, patience: float = 600
    ) -> None:
        self.namespace = namespace
        self._client, self._patience = client, patience
        self._stop = stop or threading.Event()
        self._reached = False
        self.tell: Callable[[str], None] = lambda _: None

    @property
    def host(self) -> str:
        """Address of the API."""
        return str(self._client.configuration.host)

    def until(self, stop: threading.Event) -> None:
        """Give up at once when ``stop`` is set."""
        self._stop = stop

    def pod_template(self, name: str) -> Object | None:
        """A PodTemplate, or None."""
        return self._found("GET", self._path(_CORE, "podtemplates", name))

    def job(self, name: str) -> Object | None:
        """A Job, or None."""
        return self._found("GET", self._path(_JOBS, "jobs", name))

    def create_job(self, body: Object) -> None:
        """Create a Job; one of that name that is there already (a try whose answer was lost) stays."""
        try:
            self._ask("POST", self._path(_JOBS, "jobs"), body=body)
        except ApiError as error:
            if error.status != 409:
                raise

    def delete_job(self, name: str) -> None:
        """Delete a Job and its pods, which get SIGTERM; nothing happens where there is none."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self._found("DELETE", self._path(_JOBS, "jobs", name), body=body)

    def jobs(self, selector: str) -> tuple[list[Object], str]:
        """The Jobs with these labels, and the version of the list, from which ``watch`` goes on."""
        return self._list(self._path(_JOBS, "jobs"), labelSelector=selector)

    def pods(self, selector: str) -> list[Object]:
        """The pods with these labels."""
        return self._list(self._path(_CORE, "pods"), labelSelector=selector)[0]

    def watch_jobs(self, selector: str, version: str, seconds: int) -> bool:
        """Wait until one of these Jobs changes after ``version``, at most some seconds; whether one did.

        Raises:
            ApiError: The server does not let us watch.
            UnreachableError: The connection broke.
        """
        query = {
            "labelSelector": selector,
            "resourceVersion": version,
            "watch": "true",
            "timeoutSeconds": str(seconds),
        }
        path = self._path(_JOBS, "jobs")
        timeout = urllib3.Timeout(connect=5, read=seconds + 5)
        answer = self._send("GET", path, query, timeout=timeout, stream=True)
        try:
            return any(True for _ in answer.stream(1))
        except HTTPError as error:
            raise UnreachableError(f"no answer from {self.host} ({_kind(error)})") from error
        finally:
            answer.close()

    def log(self, pod: str, container: str, after: str = "") -> Iterator[tuple[str, str]]:
        """Lines of a container's log that are later than ``after``, each with its time (RFC 3339).

        Raises:
            ApiError: There is no log (yet, or any more).
            UnreachableError: No answer.
        """
        path, most = f"{self._path(_CORE, 'pods', pod)}/log", _LOG_BYTES
        while True:
            query = {"container": container, "timestamps": "true", "limitBytes": str(most)}
            query |= {"sinceTime": after} if after else {}  # the server knows whole seconds
            data = self._send("GET", path, query).data
            more = len(data) >= most
            *lines, rest = data.split(b"\n")
            if rest and not more:  # else it is cut
                lines.append(rest)
            told = (line.decode(errors="replace").partition(" ") for line in lines)
            later = [(when, text) for when, _, text in told if when > after]
            yield from later
            if not more:
                return
            after = later[-1][0] if later else after
            most = _LOG_BYTES if later else 2 * most  # of one second there may be more than that

    def events(self, name: str) -> list[Object]:
        """Events about an object, oldest first; none where we may not read them."""
        query = {"fieldSelector": f"involvedObject.name={name}", "limit": "100"}
        try:
            answer = self._send("GET", self._path(_CORE, "events"), query)
        except (ApiError, UnreachableError):
            return []
        found: list[Object] = json.loads(answer.data).get("items") or []
        return sorted(
            found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")
        )

    def ask(self, method: str, path: str, body: Object | None = None) -> Object:
        """Any other request, by its path below the API's address; repeated while it fails in passing."""
        return self._ask(method, path, body=body)

    def _path(self, group: str, kind: str, name: str = "") -> str:
        return f"{group}/namespaces/{self.namespace}/{kind}{f'/{name}' if name else ''}"

    def _list(self, path: str, **query: str) -> tuple[list[Object], str]:
        found, version, more = list[Object](), "", ""
        while True:
            asked = {**query, "limit": str(_LIST_CHUNK), **({"continue": more} if more else {})}
            answer = self._ask("GET", path, asked)
            found += answer.get("items") or []
            about = answer.get("metadata") or {}
            version, more = version or str(about.get("resourceVersion", "")), about.get("continue", "")
            if not more:
                return found, version

    def _found(self, method: str, path: str, body: Object | None = None) -> Object | None:
        try:
            return self._ask(method, path, body=body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Object | None = None
    ) -> Object:
        """The answer's document; a request that fails in passing is repeated while patience lasts."""
        start, pause = time.monotonic(), _FIRST_S
        while True:
            try:
                document: Object = json.loads(self._send(method, path, query, body).data)
            except (UnreachableError, ValueError) as error:
                patience = self._patience if self._reached else min(self._patience, _QUICK_S)
                if self._stop.is_set() or time.monotonic() - start > patience:
                    raise
                told = error.what if isinstance(error, UnreachableError) else "an answer cut short"
                self.tell(f"kubernetes: {told}; trying again")
                self._stop.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret hangs on it
                pause = min(2 * pause, _LONGEST_S)
                continue
            self._reached = True
            return document

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        timeout: urllib3.Timeout = _REQUEST,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"])
        pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        try:
            answer = pool.request(
                method,
                f"{self.host}{path}{f'?{urlencode(query)}' if query else ''}",
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=timeout,
                retries=False,
                preload_content=not stream,
            )
        except HTTPError as error:
            raise UnreachableError(f"no answer from {self.host} ({_kind(error)})") from error
        if answer.status in _PASSING:
            raise UnreachableError(f"{self.host} answers {answer.status}: {_message(answer)}")
        if answer.status >= 300:
            raise _refusal(answer, method, path)
        return answer


def _refusal(answer: urllib3.BaseHTTPResponse, method: str, path: str) -> ApiError:
    mend = {
        401: "Sign in again: the token is missing or has run out",
        403: "Give the ServiceAccount the Role arkloom-runner (manifests/base), or look at the quota",
    }.get(answer.status, "")
    what = _message(answer) or f"{method} {path}: HTTP {answer.status}"
    return ApiError(answer.status, what, where="kubernetes", mend=mend)


def _message(answer: urllib3.BaseHTTPResponse) -> str:
    """What the server says of a refusal, where it says anything."""
    try:
        return str(json.loads(answer.data)["message"])
    except (ValueError, KeyError, TypeError, HTTPError):
        return ""


def _kind(error: HTTPError) -> str:
    """What went wrong in a word; the text of urllib3's errors holds addresses of objects."""
    if isinstance(error, ReadTimeoutError):
        return "no answer in time"
    if isinstance(error, NewConnectionError):
        return "no connection"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "its certificate is not trusted"
    return "the connection broke"


def connect(namespace: str | None = None, context: str | None = None) -> Cluster:
    """The cluster that this pod runs in, or the one that the kubeconfig (``KUBECONFIG``) names.

    Args:
        namespace: None: the pod's own, else the context's, else ``arkloom``.
        context: Of the kubeconfig; None: its current one.

    Raises:
        BadInputError: The package ``kubernetes`` is missing, or there is no cluster to talk to.
    """
    try:
        client = importlib.import_module("kubernetes.client")
        config = importlib.import_module("kubernetes.config")
    except ImportError as error:
        mend = "Install it: pip install 'arkloom[orchestrate]'"
        raise BadInputError("Jobs need the package kubernetes", mend=mend) from error
    settings, home = client.Configuration(), None
    try:
        if context is None and _NAMESPACE_FILE.exists():
            config.load_incluster_config(client_configuration=settings)
            home = _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        else:
            file = os.environ.get("KUBECONFIG")  # the package reads it when imported, which may be long ago
            config.load_kube_config(file, context, client_configuration=settings, persist_config=False)
            contexts, current = config.list_kube_config_contexts(file)
            named = {entry["name"]: entry for entry in contexts}
            home = named[context or current["name"]]["context"].get("namespace")
    except (config.ConfigException, OSError, KeyError, TypeError) as error:
        told = " ".join(str(error).split())
        raise BadInputError(
            f"no cluster to talk to ({told})", where="kubernetes", mend="Set KUBECONFIG, or give --context"
        ) from error
    return Cluster(client.ApiClient(settings), namespace or home or _NAMESPACE)
