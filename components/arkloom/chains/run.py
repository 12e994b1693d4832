"""``run``: what ``arkloom run`` does, as a function."""

from __future__ import annotations

import fcntl
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from rich.console import Console

from arkloom import config as configs
from arkloom.canonical import digest
from arkloom.chains.board import Board
from arkloom.chains.distill import distill
from arkloom.chains.graph import RUN_DOCUMENT, Chain
from arkloom.chains.outcome import print_outcome, write_outcome
from arkloom.chains.runner import Runner
from arkloom.chains.shares import shared
from arkloom.config import RunConfig
from arkloom.engines.models import TINY_MEND, tiny_out_of_its_depth
from arkloom.errors import BadInputError, RefusedError
from arkloom.store import Manifest, Store, open_store
from arkloom.store.local import disk_error

_HEADLINES = ("best_arm", "gain_recovered", "token_ratio", "deliberation_gain", "gate")


class ChainRunner(Protocol):
    """Works on the nodes of a chain: on this machine, or as Jobs of a cluster."""

    @property
    def events(self) -> Path:
        """The run's event log (JSONL), which the board reads."""

    def walk(self, chain: Chain, board: Board) -> dict[str, Manifest]:
        """Run every node, parents first; returns the manifests by node."""


RunnerOf: TypeAlias = Callable[[RunConfig, Store, str, Path, threading.Event], ChainRunner]
"""Makes a runner from configuration, store, run id, folder of the run, and the event that stops it."""


def run(
    preset: str | None = None,
    config: Path | None = None,
    overrides: Iterable[str] = (),
    out: Path | None = None,
    quiet: bool = False,
    enforce: bool = False,
    runner: RunnerOf = Runner,
) -> dict[str, Any]:
    """Distil a debate: every stage, then the report.

    Args:
        preset: A preset's name, for example ``laptop``.
        config: A YAML file; wins over the preset.
        overrides: ``a.b=c`` assignments; win over both.
        out: Folder for the report, logs and events; ``runs/<preset>`` when not given.
        quiet: Print nothing.
        enforce: A refusal of the gate is an error, after all is written.
        runner: Where the stages work: processes of this machine, or ``arkloom.cluster``'s Jobs.

    Returns:
        The report, as written to ``out/report.json``.

    Raises:
        BadInputError: The configuration or the problems cannot be used, or a run is at work in ``out``.
        ResumeError: The run was stopped; the same call goes on.
        RefusedError: ``enforce``, and the gate promotes no arm.
        ArkloomError: A stage failed.
    """
    folder = _folder(out, config, preset)
    settings = _absolute_store(configs.load(preset, config, overrides))
    if (warning := tiny_out_of_its_depth(settings)) and not quiet:
        print(f"warn: {warning}. {TINY_MEND}", file=sys.stderr)
    chain = shared(distill(settings), settings)
    stop = threading.Event()
    with _stop_on_signals(stop), _alone(folder):
        report = _run(settings, chain, folder, stop, preset, quiet=quiet, runner=runner)
    if enforce and not report["gate"]["promote"]:
        raise RefusedError(f"refused: {report['gate']['reason']}", where="gate", mend=f"Report: {folder}")
    return report


def _run(
    settings: RunConfig,
    chain: Chain,
    folder: Path,
    stop: threading.Event,
    preset: str | None,
    *,
    quiet: bool,
    runner: RunnerOf,
) -> dict[str, Any]:
    """Walk the chain and write what it came to."""
    store = open_store(settings.store, stop=stop)  # a stop ends the patience of our own requests, too
    computed = settings.model_dump(mode="json", exclude={"runtime", "store"})
    name = f"{folder.name}-{digest(computed)[:8]}"
    store.pointer(name, RUN_DOCUMENT)  # a store that cannot be read is told here, not in a node's log
    at_work = runner(settings, store, name, folder, stop)
    started = time.time()
    with Board([node.name for node in chain], at_work.events, quiet) as board:
        made = at_work.walk(chain, board)
    report = write_outcome(folder, store, {node.name: made[node.name] for node in chain})
    about: dict[str, Any] = {"out": str(folder), "preset": preset, "started": started, "ended": time.time()}
    about["config"] = settings.model_dump(mode="json")  # what the report is written again with
    store.point(name, RUN_DOCUMENT, about | _headlines(report))
    if not quiet:
        terminal = Console()
        console = terminal if terminal.is_terminal else Console(width=110)
        print_outcome(report, folder, console)
        if "://" in settings.store.root:  # shared with other machines; the folder may be a pod's
            console.print(f"again, anywhere: arkloom report {name} --store {store.root}", soft_wrap=True)
    return report


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder: two runs would write one log, one configuration and one report."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise disk_error(error, folder) from error
    with lock:  # closed however we end, and with it the lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            mend = "Wait for it to end, or give another --out"
            raise BadInputError(
                "another run is at work in this folder", where=str(folder), mend=mend
            ) from error
        except OSError as error:
            raise disk_error(error, folder) from error
        yield


def _folder(out: Path | None, config: Path | None, preset: str | None) -> Path:
    folder = (out or Path("runs") / (config.stem if config else preset or "run")).absolute()
    if folder.exists() and not folder.is_dir():
        raise BadInputError("not a folder", where=str(folder), mend="Give another --out")
    return folder


def _headlines(report: Mapping[str, Any]) -> dict[str, Any]:
    accuracy = {arm: figures["accuracy"] for arm, figures in report["arms"].items()}
    return {"accuracy": accuracy, **{name: report.get(name) for name in _HEADLINES}}


def _absolute_store(settings: RunConfig) -> RunConfig:
    # Stages run as processes of their own; a relative root must mean the same folder to all of them.
    root = settings.store.root
    return settings if "://" in root else settings.with_store(str(Path(root).expanduser().absolute()))


class _stop_on_signals:  # noqa: N801 - a context manager, used like a function
    """Sets ``stop`` on SIGINT and SIGTERM while the block runs (main thread only)."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._old: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, lambda *_: self._stop.set())

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
