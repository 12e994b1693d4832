"""Runs a chain on this machine: one process a node, exit codes as the only protocol.

A node whose artifact exists is found at once, so running the same command again goes on where the
last one stopped, however it stopped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from arkloom.cgroups import cores
from arkloom.chains.board import Board
from arkloom.chains.graph import Chain, Node, ancestors
from arkloom.chains.limits import Limits
from arkloom.chains.walk import walk
from arkloom.config import RunConfig
from arkloom.errors import EXIT_BAD_INPUT, EXIT_RESUME, ArkloomError, BadInputError, ResumeError
from arkloom.store import Manifest, Store

_POLL = 0.1  # seconds between two looks at the processes
# How a stage's log tells of requests that are repeated, and of endpoints that go and come back.
_OURS, _WAITS = "arkloom: ", ("arkloom: s3: ", "arkloom: http://", "arkloom: https://")
_GRACE = 60.0  # seconds that a stage has to commit its work after SIGTERM


@dataclass
class _Running:
    """A node's process and the files it writes to."""

    node: Node
    process: subprocess.Popen[bytes]
    log: Path
    store: Store
    run: str
    read: int = 0

    def made(self) -> Manifest | None:
        """The artifact once the process has ended with 0, None while it runs.

        Raises:
            BadInputError: It ended with exit code 2.
            ResumeError: It stopped early.
            ArkloomError: It failed; its message is repeated.
        """
        code = self.process.poll()
        if code is None:
            return None
        if code == 0:
            if (manifest := recorded(self.store, self.run, self.node)) is None:
                raise ArkloomError("the stage recorded no artifact", where=f"node {self.node.name}")
            return manifest
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        end = f" (killed by signal {-code})" if code < 0 else ""
        raise failure(self.node, code, f"{lines[-1]}{end}" if lines else end, f"Log: {self.log}")

    def waits(self) -> str | None:
        """What the stage's store says of a server that does not answer, where that is new in its log."""
        with self.log.open("rb") as stream:
            stream.seek(self.read)
            lines = [line for line in stream if line.endswith(b"\n")]
        self.read += sum(map(len, lines))
        told = [store_waits(line.decode(errors="replace")) for line in lines]
        return next(filter(None, reversed(told)), None)


@dataclass
class Runner:
    """Walks a chain with at most ``config.runtime.parallel`` processes at once.

    Attributes:
        config: The run's configuration; nodes add their overrides.
        store: Where artifacts and run pointers live.
        run: Id of the run.
        folder: Where logs, events and the resolved configuration are written.
    """

    config: RunConfig
    store: Store
    run: str
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    _threads: dict[str, int] = field(default_factory=dict, init=False)
    _limits: Limits = field(init=False)

    def walk(self, chain: Chain, board: Board) -> dict[str, Manifest]:
        """Run every node, parents first; returns the manifests by node.

        Raises:
            BadInputError: A stage ended with exit code 2.
            ResumeError: The run was asked to stop, or its budget is spent; what is done stays done.
            ArkloomError: A stage failed; its message is repeated.
        """
        self._write_config()
        self._limits = Limits(self.config.runtime, chain)
        self._threads = {node.name: _threads(self.config, node, chain) for node in chain}
        return walk(chain, self, board, self.config.runtime.parallel)

    def check(self) -> None:
        """End the run where it was asked to stop, or its limits are reached.

        Raises:
            ResumeError: So it is.
        """
        if self.stop.is_set():
            raise ResumeError("stopped before the end", mend="Run the same command to go on")
        self._limits.check()

    def pause(self) -> None:
        """Wait for the next look at the processes."""
        time.sleep(_POLL)

    def leave(self, works: Sequence[_Running], error: BaseException) -> None:
        """Ask the stages at work to commit what they have, and wait for their end."""
        _stop_all(works)

    @property
    def events(self) -> Path:
        """The run's event log (JSONL)."""
        return self.folder / "events.jsonl"

    def start(self, node: Node, done: Mapping[str, Manifest]) -> _Running:
        """Start the node's process."""
        python = self.config.runtime.python.get(node.stage, sys.executable)
        command = [python, "-m", f"arkloom.{node.stage}", "--config", str(self._config_file)]
        settings = [f"runtime.threads={self._threads[node.name]}", *self._limits.overrides(node, done)]
        command += node_arguments(node, done, settings, self.run, self.events)
        log = self.folder / "logs" / f"{node.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"ARKLOOM_PARENT": str(os.getpid()), "HF_HUB_OFFLINE": _offline()}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches us alone; we ask the stages to commit and stop
            )
        return _Running(node, process, log, self.store, self.run)

    @property
    def _config_file(self) -> Path:
        return self.folder / "config.yaml"

    def _write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._config_file.write_text(yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False))


def store_waits(line: str) -> str | None:
    """What a line of a stage's log says of a store that does not answer, None where it says nothing of it."""
    return line.removeprefix(_OURS).strip() if line.startswith(_WAITS) else None


def node_arguments(
    node: Node, done: Mapping[str, Manifest], settings: Iterable[str], run: str, events: Path
) -> list[str]:
    """What a stage's command line says of a node, wherever it runs; which configuration stands before it.

    Args:
        node: The node.
        done: The manifests of its parents, by node.
        settings: ``a.b=c`` assignments beside the node's own.
        run: Id of the run.
        events: Where the stage writes its events.
    """
    inputs = (f"{port}={done[parent].uri}" for port, parent in node.inputs.items())
    return [
        *(part for text in (*settings, *node.overrides) for part in ("--set", text)),
        *(part for text in inputs for part in ("--input", text)),
        *("--run-id", run, "--node", node.name, "--progress", "events", "--events", str(events)),
    ]


def recorded(store: Store, run: str, node: Node) -> Manifest | None:
    """The artifact that a node's stage recorded under its run, or None."""
    pointer = store.pointer(run, node.name)
    return None if pointer is None else Manifest.model_validate_json(json.dumps(pointer))


def failure(node: Node, code: int, last: str, mend: str) -> ArkloomError:
    """The error that a stage's exit code and the last line of its log stand for."""
    kind = {EXIT_BAD_INPUT: BadInputError, EXIT_RESUME: ResumeError}.get(code, ArkloomError)
    told = last.removeprefix(f"arkloom {node.stage}: ").strip() or f"exit code {code}"
    return kind(told, where=f"node {node.name}", mend=mend)


def _threads(config: RunConfig, node: Node, chain: Chain) -> int:
    """Torch threads of a node: all cores where nothing can run beside it, else its share.

    Decided from the chain alone, never from what happens to run: a resumed run must add up its numbers
    in the same order as an uninterrupted one.
    """
    relatives = ancestors(node, chain) | {n.name for n in chain if node.name in ancestors(n, chain)}
    alone = len(relatives) == len(chain) - 1
    return config.runtime.threads or max(1, cores() // (1 if alone else config.runtime.parallel))


def _offline() -> str:
    # Without this, a name that is no folder would be looked up on a hub: only when the user wants it.
    return os.environ.get("HF_HUB_OFFLINE", "1")


def _stop_all(running: Sequence[_Running]) -> None:
    for entry in running:
        entry.process.send_signal(signal.SIGTERM)
    for entry in running:
        try:
            entry.process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            entry.process.kill()
            entry.process.wait()
