"""Watches debates while they are held: sets the metrics, writes the note beside the bar, sums what it saw."""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from arkloom.debate.figures import Figures
from arkloom.errors import ArkloomError
from arkloom.jsonl import read_lines
from arkloom.records import Debate
from arkloom.store.local import write_atomic
from arkloom.telemetry import Task, metrics
from arkloom.telemetry.meters import reading, readings

SEEN = "seen.json"  # in the stage's scratch folder
_LOOK_EVERY = 0.5  # seconds
_KEEP_EVERY = 10.0  # a killed process loses the sums of so many seconds, and no record
_WINDOW = 30.0  # seconds over which the pace is taken that is shown

Rounds: TypeAlias = dict[str, tuple[float, float]]


@dataclass
class Seen:
    """What all processes that held these debates saw, beside the records.

    Attributes:
        seconds: Spent holding debates.
        retries: Requests sent again.
        rounds: Round -> how many were graded, and the sum of their agreements; also of debates under way.
        figures: Sums over the debates that ended.
    """

    seconds: float = 0.0
    retries: int = 0
    rounds: Rounds = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)

    @classmethod
    def read(cls, path: Path) -> Seen:
        """What earlier processes kept; nothing where there is no such file, or none that can be read."""
        try:
            kept = json.loads(path.read_text("utf-8"))
            sums = Figures(**kept["figures"])
            pairs = {int(index): pair for index, pair in sums.agreement.items()}
            sums.agreement = defaultdict(list, pairs)
            rounds = {
                str(index): (float(many), float(sum_)) for index, (many, sum_) in kept["rounds"].items()
            }
            return cls(float(kept["seconds"]), int(kept["retries"]), rounds, sums)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()  # only what is shown while work goes on hangs on it

    def written(self) -> str:
        """As ``read`` reads it."""
        return json.dumps({**vars(self), "figures": vars(self.figures)})


class Watch:
    """Sees every debate end. Use as a context manager around the holding.

    A thread looks at what was seen twice a second: turns are spoken, and requests fail, long before a
    debate ends, and the scheduler's time is not spent on it.

    Args:
        task: The bar to move.
        path: Where the sums are kept for a process that goes on with these debates.
        total: Problems in all.
        done: Of them, those that were debated before this process began.
        turns: Turns that a debate is expected to have, until some have ended.
    """

    def __init__(self, task: Task, path: Path, *, total: int, done: int, turns: int) -> None:
        self._task, self._path, self._total, self._expected = task, path, total, turns
        self._before = self._done = self._shown = done
        self.seen = Seen.read(path)
        self._ended = self._turns = 0
        self._start = self._kept = time.monotonic()
        self._earlier = (self.seen.seconds, self.seen.retries - _retries())
        self._earlier_rounds, self._first_rounds = self.seen.rounds, _rounds()
        self._spoken = _spoken()
        self._pace = deque([(self._start, self._spoken)])
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        metrics.DEBATE_PROBLEMS.labels("total").set(self._total)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def ended(self, debate: Debate) -> None:
        """A debate ended and is recorded."""
        with self._lock:
            self.seen.figures.add(debate)
            self._ended += 1
            self._turns += len(debate.turns)
            self._done += debate.error is None

    def _look(self) -> None:
        over = False
        while not over:
            over = self._stop.wait(_LOOK_EVERY)
            now = time.monotonic()
            note, eta = self._tell(now)
            done = self._done
            if done > self._shown or done < self._total:
                self._task.advance(done - self._shown, note, eta)
                self._shown = done
            if over or now - self._kept >= _KEEP_EVERY:
                self._kept = now
                with self._lock:
                    text = self.seen.written()
                with suppress(ArkloomError):  # a full disk is the log's to tell; a slow one holds nobody up
                    write_atomic(self._path, text)

    def _tell(self, now: float) -> tuple[str, float | None]:
        """Set the gauges; returns the note and the seconds left."""
        spoken = _spoken()
        self._pace.append((now, spoken))
        while len(self._pace) > 2 and now - self._pace[0][0] > _WINDOW:
            self._pace.popleft()
        with self._lock:
            self.seen.seconds = self._earlier[0] + now - self._start
            self.seen.retries = self._earlier[1] + _retries()
            self.seen.rounds = _joined(self._earlier_rounds, _rounds(), self._first_rounds)
            told = self.seen.figures.metrics()
            metrics.DEBATE_PROBLEMS.labels("done").set(self._done)
            eta = self._eta(now, spoken)
            metrics.DEBATE_ETA.set(float("nan") if eta is None else eta)
        metrics.DEBATE_NO_ANSWER_SHARE.set(told["no_answer"] if told["turns"] else float("nan"))
        for index, (many, agreed) in self.seen.rounds.items():
            metrics.DEBATE_AGREEMENT.labels(index).set(agreed / many)
        for answer in ("vote_round0", "final"):
            if (accuracy := told[f"{answer}_accuracy"]) is not None:
                metrics.DEBATE_ACCURACY.labels(answer).set(accuracy)
        if told["deliberation_gain"] is not None:
            metrics.DEBATE_GAIN.set(told["deliberation_gain"])
        return self._note(told), eta

    def _eta(self, now: float, spoken: float) -> float | None:
        """Seconds left at this process's own pace, in turns: debates end late, turns from the start."""
        if self._done >= self._total:
            return 0.0
        each = self._turns / self._ended if self._turns else self._expected
        asked, new = (self._total - self._before) * each, spoken - self._spoken
        return max(asked - new, 0.0) * (now - self._start) / new if new else None

    def _note(self, told: dict[str, Any]) -> str:
        (then, before), (now, spoken) = self._pace[0], self._pace[-1]
        parts = [f"{(spoken - before) / max(now - then, 1e-9):.0f} turns/s"]
        if (queued := reading(metrics.DEBATE_QUEUED)) >= 1:
            parts.append(f"queue {queued:.0f}")
        prompt, cached = (reading(metrics.DEBATE_TOKENS, direction=name) for name in ("prompt", "cached"))
        if cached:
            parts.append(f"cached {cached / prompt:.0%}")
        if means := [f"{agreed / many:.2f}" for many, agreed in self.seen.rounds.values()]:
            parts.append(f"agreement {'→'.join(means)}")
        if told["deliberation_gain"] is not None:
            parts.append(f"gain {told['deliberation_gain']:+.3f}")
        return ", ".join(parts)


def summary(held: Figures, seen: Seen, timing: Path) -> dict[str, Any]:
    """The stage's figures: what the records say, and what was seen while they were made.

    Args:
        held: Sums over the finished log.
        seen: What its processes saw.
        timing: The log's ``timing.jsonl``.
    """
    seconds, cached = array("d"), 0
    if timing.exists():
        for _, line in read_lines(timing):
            for turn in json.loads(line)["turns"]:
                seconds.append(turn["seconds"])
                cached += turn.get("cached_tokens", 0)
    median, slow = np.percentile(seconds, [50, 95]).tolist() if seconds else (None, None)
    return held.metrics() | {
        "cached_tokens": cached,
        "cache_share": cached / held.prompt_tokens if held.prompt_tokens else None,
        "retries": seen.retries,
        "held_seconds": seen.seconds,
        "turns_per_second": held.turns / seen.seconds if seen.seconds else None,
        "turn_seconds_median": median,
        "turn_seconds_p95": slow,
    }


def _spoken() -> float:
    """Turns spoken by this process."""
    return reading(metrics.DEBATE_TURNS)


def _rounds() -> Rounds:
    """Rounds that this process graded."""
    many, agreed = (readings(counter, "round") for counter in (metrics.DEBATE_ROUNDS, metrics.DEBATE_AGREED))
    return {index: (many[index], agreed.get(index, 0.0)) for index in sorted(many, key=int)}


def _joined(earlier: Rounds, now: Rounds, first: Rounds) -> Rounds:
    """What earlier processes graded, and what this one did since it stood at ``first``."""
    joined = {}
    for index in sorted({*earlier, *now}, key=int):
        (a, b), (c, d), (e, f) = (rounds.get(index, (0.0, 0.0)) for rounds in (earlier, now, first))
        if many := a + c - e:
            joined[index] = (many, b + d - f)
    return joined


def _retries() -> int:
    """Requests that this process sent again."""
    return round(reading(metrics.ENGINE_RETRIES))
