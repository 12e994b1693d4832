"""A process that counts: every declared metric gets a figure, counters go on; ``every_metric.py PORT``."""

from __future__ import annotations

import itertools
import sys
import time

from prometheus_client import Counter, Gauge

from arkloom.telemetry import Events, metrics
from arkloom.telemetry.serving import served

VALUES = {"state": ("done", "total"), "direction": ("prompt", "completion", "cached"), "term": ("reward",)}
"""Of the labels whose values panels and alerts name."""


def main() -> None:
    """Serve until the process is ended."""
    with served(int(sys.argv[1]), {"run_id": "r-1", "stage": "debate", "node": "debate"}, Events()):
        for beat in itertools.count(1):
            for metric in vars(metrics).values():
                if isinstance(metric, Counter | Gauge):
                    _move(metric, beat)
            time.sleep(0.2)


def _move(metric: Counter | Gauge, beat: int) -> None:
    names = metric._labelnames
    for values in itertools.product(*(VALUES.get(name, ("x",)) for name in names)):
        one = metric.labels(*values) if names else metric
        if isinstance(one, Counter):
            one.inc()
        else:
            one.set(beat % 7)


if __name__ == "__main__":
    main()
