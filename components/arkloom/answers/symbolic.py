"""Symbolic equality, asked of one persistent worker process that ends when a question takes too long."""

from __future__ import annotations

import atexit
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import lru_cache

from arkloom.errors import ArkloomError
from arkloom.telemetry.metrics import GRADER_KILLS

LIMIT_S = 5.0
_PATIENCE = 6  # wall-clock seconds that we wait for each processor second granted: machines are shared
_START_LIMIT_S = 120.0
_MEMORY_BYTES = 512 << 20  # it stands at 60 MiB when idle
_MAX_LENGTH = 1_000
_MAX_DEPTH = 30
_MAX_PAIRS = 8
_MAX_DIGITS = 400
_LONG_NUMBER = re.compile(rf"\d{{{_MAX_DIGITS + 1},}}")
# Exponents of six digits and more: the power itself would fill the worker's memory.
_HUGE_EXPONENT = re.compile(r"(?:\^|\*\*)[\s{(+-]*\d{6,}|\d[eE]\+?\d{4,}")


def refused(text: str) -> bool:
    """Whether a text is beyond what is ever computed: too long, too deep, or a power too large."""
    if len(text) > _MAX_LENGTH or "\x00" in text:
        return True
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest > _MAX_DEPTH or bool(_LONG_NUMBER.search(text) or _HUGE_EXPONENT.search(text))


@dataclass
class Counts:
    """What the worker was asked: comparisons, ends by the limit, deaths of other causes, starts."""

    asked: int = 0
    killed: int = 0
    died: int = 0
    started: int = 0


class SymbolicGrader:
    """Owns the worker process. Safe to call from many threads: they take turns.

    Args:
        limit_s: Processor seconds one question may take before the worker is killed.
        memory_bytes: Address space of the worker.
    """

    def __init__(self, limit_s: float = LIMIT_S, memory_bytes: int = _MEMORY_BYTES) -> None:
        self.limit_s, self.memory_bytes = limit_s, memory_bytes
        self.counts = Counts()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""

    def same(self, *pairs: tuple[str, str]) -> bool:
        """Whether both expressions of every pair are equal, all within one limit.

        False when refused, out of time or out of memory.
        """
        if len(pairs) > _MAX_PAIRS or any(refused(text) for pair in pairs for text in pair):
            return False
        with self._lock:
            return self._ask(pairs)

    def close(self) -> None:
        """End the worker; a later question starts another."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked child: leave the parent's worker alone, and start one of our own when asked."""
        self._lock = threading.Lock()
        process, self._process, self._pending = self._process, None, b""
        if process and process.stdin and process.stdout:
            process.stdin.close()
            process.stdout.close()
            process.returncode = 0  # not our child: nothing to wait for

    def _ask(self, pairs: tuple[tuple[str, str], ...]) -> bool:
        self.counts.asked += 1
        request = json.dumps({"pairs": pairs}).encode() + b"\n"
        for attempt in (1, 2):  # an idle worker may have been killed from outside: ask a new one, once
            process = self._running()
            try:
                assert process.stdin is not None
                process.stdin.write(request)
                process.stdin.flush()
                break
            except (BrokenPipeError, OSError):
                self._stop()
                if attempt == 2:
                    raise ArkloomError("the grading worker does not take questions") from None
        try:
            reply = self._line(self.limit_s * _PATIENCE)
        except TimeoutError:
            self._count_kill()
            self._stop()
            return False
        if reply is None:
            self._count_end(process)
            return False
        return json.loads(reply).get("same") is True

    def _count_end(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait() == -signal.SIGPROF:
            self._count_kill()
        else:
            self.counts.died += 1
        self._stop()

    def _count_kill(self) -> None:
        self.counts.killed += 1
        GRADER_KILLS.inc()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process and self._process.poll() is None:
            return self._process
        self._stop()
        command = [sys.executable, "-P", "-m", "arkloom.answers.worker"]
        self._process = subprocess.Popen(
            [*command, str(self.memory_bytes), str(self.limit_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # the same question, the same verdict
            start_new_session=True,  # an interrupt from the keyboard is the parent's to handle
        )
        self.counts.started += 1
        try:
            ready = self._line(_START_LIMIT_S)
        except TimeoutError:
            ready = None
        if ready is None:
            self._stop()
            raise ArkloomError(
                "the grading worker did not start",
                mend=f"See why with: {' '.join(command)} {self.memory_bytes} 10",
            )
        return self._process

    def _line(self, limit_s: float) -> bytes | None:
        """The next line of the worker; None when it ended.

        Raises:
            TimeoutError: No whole line within ``limit_s`` seconds.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        stream, deadline = self._process.stdout.fileno(), time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                received = os.read(stream, 65_536)
                if not received:
                    return None
                self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _stop(self) -> None:
        process, self._process, self._pending = self._process, None, b""
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                try:
                    stream.close()
                except OSError:  # an unsent request in the buffer of a dead worker
                    continue


GRADER = SymbolicGrader()
atexit.register(GRADER.close)
os.register_at_fork(after_in_child=GRADER.forget)


@lru_cache(maxsize=16_384)
def same(*pairs: tuple[str, str]) -> bool:
    """Whether both expressions of every pair are equal, remembered.

    Hostile input costs at most the limit, and is not equal to anything.
    """
    return GRADER.same(*pairs)
