"""A process's metrics while it works: served to Prometheus, and written into the run's events."""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from prometheus_client import CollectorRegistry, Metric, MetricsHandler
from prometheus_client.registry import Collector

from arkloom.errors import BadInputError
from arkloom.telemetry.events import Events
from arkloom.telemetry.metrics import REGISTRY

STAY = "ARKLOOM_METRICS_STAY_S"

_EVERY, _RARELY = 1.0, 15.0  # seconds between two events: of a young run, of an old one
_YOUNG = 120.0  # seconds; then the pause grows with the age, so that a long run writes little
_END_S = 0.05  # a stage's end may wait so long for the server's
_SHORT_S = 20.0  # work that ends sooner is over before anyone would look
_LONGEST_STAY_S = 3600.0
_REQUEST_S = 10.0  # a client that asks for nothing is hung up on


class Labelled(Collector):
    """The metrics of a registry, each with labels that say whose they are; a metric's own labels win.

    A gauge that was never set is left out: 0 would be read as a figure.

    Args:
        labels: Such as run_id, stage and node.
        registry: Whose metrics.
    """

    def __init__(self, labels: Mapping[str, str], registry: CollectorRegistry = REGISTRY) -> None:
        self._labels, self._registry = dict(labels), registry

    def collect(self) -> Iterator[Metric]:
        """The metrics with these labels."""
        for family in self._registry.collect():
            copy = Metric(family.name, family.documentation, family.type, family.unit)
            copy.samples = [
                sample._replace(labels={**self._labels, **sample.labels})
                for sample in family.samples
                if told(sample.name, sample.value)
            ]
            yield copy


@contextmanager
def served(port: int, labels: Mapping[str, str], events: Events) -> Iterator[int | None]:
    """Serve the metrics and tell them as events while the block runs.

    A stage sets much of what it tells at its end. Where ``ARKLOOM_METRICS_STAY_S`` says so, the end waits for
    one more look, so many seconds at most.

    Args:
        port: Where Prometheus finds them, on every interface; 0 serves none. A port that is taken
            (another stage of this machine is served there) is told once the work lasts, no more.
        labels: See ``Labelled``.
        events: Told what was counted, often at first and seldom in a long run.

    Yields:
        The port, or None where nothing is served.

    Raises:
        BadInputError: That variable is no number of seconds.
    """
    stop, stay = threading.Event(), _stay()
    server, why = _listen(port, labels)
    threads = [threading.Thread(target=_tell, args=(events, stop), name="metrics")] if events.kept else []
    threads += [threading.Thread(target=server.serve_forever, args=(_END_S,))] if server else []
    threads += [threading.Thread(target=_tell_taken, args=(port, why, stop))] if why else []
    for thread in threads:
        thread.daemon = True
        thread.start()
    try:
        yield port if server else None
        if server and stay:
            server.asked.clear()
            server.asked.wait(stay)
    finally:
        stop.set()
        if server:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def counted(registry: CollectorRegistry = REGISTRY) -> dict[str, float]:
    """Every sample by its series."""
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            if told(sample.name, sample.value):
                found[series(sample.name, sample.labels)] = sample.value
    return found


def told(name: str, value: float) -> bool:
    """Whether a sample says anything: a gauge that was never set is no number, a birthday no figure."""
    return not math.isnan(value) and not name.endswith("_created")


def series(name: str, labels: Mapping[str, str]) -> str:
    """A sample's name with its labels: ``arkloom_debate_tokens_total{direction="prompt"}``."""
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


class _Handler(MetricsHandler):
    """Answers with the metrics, whatever the path."""

    timeout = _REQUEST_S

    def do_GET(self) -> None:  # noqa: N802 - the name is the protocol's
        """Answer, and remember that somebody looked."""
        super().do_GET()
        if isinstance(self.server, _Server):
            self.server.asked.set()


class _Server(ThreadingHTTPServer):
    """On every interface, of IPv4 and, where there is any, IPv6."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(self, *arguments: Any) -> None:
        self.asked = threading.Event()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Bind without asking a name server who we are: a broken one takes seconds."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no news."""


def _listen(port: int, labels: Mapping[str, str]) -> tuple[_Server | None, str]:
    """The server, or why there is none."""
    if port == 0:
        return None, ""
    registry = CollectorRegistry()
    registry.register(Labelled(labels))
    try:
        return _Server(("", port), _Handler.factory(registry)), ""
    except OSError as error:
        return None, error.strerror or type(error).__name__


def _stay() -> float:
    """Seconds that the end may wait for one more look; 0 where nobody asked for it."""
    given = os.environ.get(STAY) or "0"
    try:
        return min(max(0.0, float(given)), _LONGEST_STAY_S)
    except ValueError as error:
        raise BadInputError(f"{given!r} is no number of seconds", where=STAY) from error


def _tell_taken(port: int, why: str, stop: threading.Event) -> None:
    """Say that nothing is served, once the work lasts: of a short stage nobody would miss it."""
    if not stop.wait(_SHORT_S):
        print(f"arkloom: metrics are not served at :{port} ({why}); the work goes on", file=sys.stderr)


def _tell(events: Events, stop: threading.Event) -> None:
    """Write what is counted into the events until ``stop``, and once more then."""
    start, over = time.monotonic(), False
    while not over:
        age = time.monotonic() - start
        over = stop.wait(min(_RARELY, max(_EVERY, _EVERY * age / _YOUNG)))
        if values := counted():
            events.emit("metrics", values={name: round(value, 6) for name, value in values.items()})
