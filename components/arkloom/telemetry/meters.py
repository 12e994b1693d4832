"""What schedulers and engines count while debates are held; a call costs about a microsecond."""

from __future__ import annotations

from urllib.parse import urlsplit

from prometheus_client import Counter, Gauge

from arkloom.telemetry import metrics


class TurnMeter:
    """Counts the turns of one scheduler: asked, begun, ended, spoken.

    Args:
        stage: Label of the turns.
    """

    def __init__(self, stage: str) -> None:
        self._turns = metrics.DEBATE_TURNS.labels(stage)
        self._prompt = metrics.DEBATE_TOKENS.labels("prompt")
        self._completion = metrics.DEBATE_TOKENS.labels("completion")
        self._cached = metrics.DEBATE_TOKENS.labels("cached")
        metrics.DEBATE_QUEUED.set(0)
        metrics.DEBATE_IN_FLIGHT.set(0)

    def wait(self, turns: int = 1) -> None:
        """Turns wait for a place in the engine; negative where they wait no longer and never begin."""
        metrics.DEBATE_QUEUED.inc(turns)

    def begin(self) -> None:
        """A waiting turn is given to the engine."""
        metrics.DEBATE_QUEUED.dec()
        metrics.DEBATE_IN_FLIGHT.inc()

    def end(self) -> None:
        """The engine is done with a turn, however it ended."""
        metrics.DEBATE_IN_FLIGHT.dec()

    def spoke(self, prompt: int, completion: int, cached: int = 0) -> None:
        """A turn was spoken; its tokens, and how many of the prompt's were found computed."""
        self._turns.inc()
        self._prompt.inc(prompt)
        self._completion.inc(completion)
        if cached:
            self._cached.inc(cached)

    def agreed(self, index: int, agreement: float) -> None:
        """Round ``index`` of a debate was spoken and graded; the share of its largest class."""
        metrics.DEBATE_ROUNDS.labels(str(index)).inc()
        metrics.DEBATE_AGREED.labels(str(index)).inc(agreement)

    def debated(self, outcome: str, unanswered: int) -> None:
        """A debate ended: ``consensus``, ``rounds`` or ``error``; its turns without an answer."""
        metrics.DEBATE_DONE.labels(outcome).inc()
        if unanswered:
            metrics.DEBATE_NO_ANSWER.inc(unanswered)


class EndpointMeter:
    """Counts what one endpoint is asked and how it does.

    Args:
        url: Of the endpoint; a user and password in it are never told.
    """

    def __init__(self, url: str) -> None:
        name = endpoint_name(url)
        self._up = metrics.ENDPOINT_UP.labels(name)
        self._in_flight = metrics.ENDPOINT_IN_FLIGHT.labels(name)
        self._good = metrics.ENDPOINT_REQUESTS.labels(name, "ok")
        self._failed = metrics.ENDPOINT_REQUESTS.labels(name, "failed")

    def healthy(self, up: bool) -> None:
        """Whether the endpoint answers."""
        self._up.set(up)

    def begin(self) -> None:
        """A request is sent."""
        self._in_flight.inc()

    def end(self, good: bool) -> None:
        """The request ended: with an answer, or not."""
        self._in_flight.dec()
        (self._good if good else self._failed).inc()


def count_retry(reason: str) -> None:
    """A request is sent again; ``reason`` is one of a few words (429, 5xx, 404, timeout, disconnect)."""
    metrics.ENGINE_RETRIES.labels(reason).inc()


def reading(metric: Counter | Gauge, **labels: str) -> float:
    """What a metric stands at in this process, summed over the series that have these labels."""
    return sum(
        sample.value
        for family in metric.collect()
        for sample in family.samples
        if not sample.name.endswith("_created") and labels.items() <= sample.labels.items()
    )


def readings(metric: Counter | Gauge, label: str) -> dict[str, float]:
    """What a metric stands at in this process, by the values of a label."""
    values = {sample.labels[label] for family in metric.collect() for sample in family.samples}
    return {value: reading(metric, **{label: value}) for value in sorted(values)}


def endpoint_name(url: str) -> str:
    """An endpoint as metrics name it: host, port and path, without credentials."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    host = parts.netloc.rpartition("@")[2]
    return f"{host}{parts.path}".rstrip("/").removesuffix("/v1") or url
