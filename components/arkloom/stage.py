"""What every stage shares: its declaration, its key, and the process that runs it.

A stage is ``run(config, inputs, outputs, context) -> StageReport``. Everything around it (finding a
finished artifact, resuming, publishing, exit codes) lives here once, so a stage contains only its work.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from arkloom import config as configs
from arkloom.canonical import digest, digest_file
from arkloom.config import RunConfig
from arkloom.errors import EXIT_DONE, EXIT_RESUME, BadInputError, ResumeError, explained
from arkloom.store import ABSENT, Artifact, Manifest, Store, Workspace, open_store
from arkloom.store.local import MANIFEST, disk_error, read_manifest
from arkloom.telemetry import Events, Progress, kubeflow
from arkloom.telemetry.kubeflow import Task
from arkloom.telemetry.serving import served

RUN_ID = "ARKLOOM_RUN_ID"  # names the run where a pod's template does, not its command


@dataclass(frozen=True)
class StageReport:
    """What a stage says of its work: the kind of artifact, headline figures, or why there is none."""

    kind: str
    metrics: dict[str, Any] = field(default_factory=dict)
    absent: str | None = None


@dataclass
class Context:
    """What a stage may use beside its inputs: progress, events, whether it should stop, and the store."""

    progress: Progress
    events: Events
    stop: threading.Event = field(default_factory=threading.Event)
    store: Store = field(init=False)

    def check(self) -> None:
        """Raise when the process was told to stop; call it where everything done is committed.

        Raises:
            ResumeError: Exit code 75, "resume me".
        """
        if self.stop.is_set():
            raise ResumeError("stopped before the end", mend="Run the same command to go on")


class Run(Protocol):
    """The one function of a stage."""

    def __call__(
        self, config: RunConfig, inputs: Mapping[str, Artifact], outputs: Workspace, context: Context
    ) -> StageReport:
        """Do the work of one node; see ``StageReport``."""


@dataclass(frozen=True)
class Stage:
    """A stage's declaration.

    Attributes:
        name: ``debate``; also its folder and module.
        schema: Raised when the same config and inputs would now give another artifact.
        sections: Parts of the config that the artifact depends on (they enter its key), or a function
            that names them where they depend on the config itself.
        inputs: Ports that must be connected; ``name?`` may be missing, ``name*`` stands for any number of
            ports that begin so.
        run: The work.
        reads: Digests of what the stage reads beside its inputs (a user's files): they enter its key.
        parts: What the ports begin with that bring parts of this very work, done elsewhere: they do not
            enter its key. Empty: there are none.
        whole: Of the config of such a part, that of the whole: where that is there, no part is made.
        shortcuts: Command line options that set one value of the config, ``--max-hours``: path.
    """

    name: str
    schema: int
    sections: tuple[str, ...] | Callable[[RunConfig], tuple[str, ...]]
    inputs: tuple[str, ...]
    run: Run
    reads: Callable[[RunConfig], Mapping[str, str]] = lambda _: {}
    parts: str = ""
    whole: Callable[[RunConfig], RunConfig | None] = lambda _: None
    shortcuts: Mapping[str, str] = field(default_factory=dict)

    def key(self, config: RunConfig, parents: Mapping[str, Manifest]) -> str:
        """Identity of the work: stage, config sections, parents, models, answer type."""
        from arkloom.answers import version  # noqa: PLC0415 - answers is heavy to import and keys are not
        from arkloom.engines.digests import model_digest  # noqa: PLC0415 - the same

        sections = self.sections(config) if callable(self.sections) else self.sections
        models = {part: model_digest(config.part(part)) for part in sections if part.startswith("models.")}
        answer = config.problems.answer_type
        return digest(
            {
                "stage": self.name,
                "schema": self.schema,
                "config": config.digest(sections),
                "parents": {
                    port: parent.key
                    for port, parent in parents.items()
                    if not (self.parts and port.startswith(self.parts))
                },
                "models": models,
                "answers": {answer: version(answer)},
                "reads": dict(self.reads(config)) | (_script(config) if models else {}),
            }
        )


def _script(config: RunConfig) -> dict[str, str]:
    """A scripted engine replaces the models: what it says must never be taken for what they said."""
    if config.engine != "scripted":
        return {}
    path = Path(config.runtime.scripted or "")
    return {"script": digest_file(path) if path.is_file() else str(path)}


def execute(
    stage: Stage,
    config: RunConfig,
    parents: Mapping[str, Manifest],
    store: Store,
    context: Context,
) -> Manifest:
    """Find the artifact of this work, or do the work and publish it.

    Raises:
        ArkloomError: The work failed; a later call goes on where its last committed part stands.
    """
    _check_ports(stage, parents)
    key = stage.key(config, parents)
    found = store.find(stage.name, key) or _whole(stage, config, parents, store)
    if found is not None:
        context.events.emit("found", stage=stage.name, key=found.key)
        return found
    inputs = {port: store.open(parent.uri) for port, parent in parents.items()}
    workspace = store.workspace(stage.name, key)
    context.store = store
    start = time.monotonic()
    try:
        report = stage.run(config, inputs, workspace, context)
    except OSError as error:
        raise disk_error(error, Path(error.filename or workspace.folder)) from error
    manifest = workspace.publish(
        ABSENT if report.absent is not None else report.kind,
        parents=dict(parents),
        metrics=report.metrics,
        reason=report.absent,
        seconds=round(time.monotonic() - start, 3),
    )
    context.events.emit("published", stage=stage.name, key=key, seconds=manifest.seconds)
    return manifest


def _whole(stage: Stage, config: RunConfig, parents: Mapping[str, Manifest], store: Store) -> Manifest | None:
    """The artifact of which this work would be a part, where it is there."""
    larger = stage.whole(config)
    return None if larger is None else store.find(stage.name, stage.key(larger, parents))


def absent_port(inputs: Mapping[str, Artifact], *ports: str) -> str | None:
    """Why there is nothing to work on: the first of ``ports`` that is connected and absent."""
    for port in ports:
        if port in inputs and (reason := inputs[port].absent) is not None:
            return f"{port} is absent: {reason}"
    return None


def main(stage: Stage, arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """The process of one stage: ``python -m arkloom.<stage>``, or ``program``; returns its exit code."""
    options = _parser(stage, program).parse_args(arguments)
    _die_with_parent(os.environ.get("ARKLOOM_PARENT"))
    try:
        return _process(stage, options)
    except Exception as error:
        if options.debug:
            raise
        line, code = explained(error)
        print(f"arkloom {stage.name}: {line}", file=sys.stderr)
        return code


def _process(stage: Stage, options: argparse.Namespace) -> int:
    task = Task.read(options.executor_input or "{}", stage.parts)
    config = configuration(options, task, stage.shortcuts.values())
    node = (options.node or stage.name) + kubeflow.part(task)
    events = Events(options.events, run=options.run_id, node=node)
    shown = events if options.progress == "events" else None
    labels = {"run_id": options.run_id or "", "stage": stage.name, "node": node}
    with Progress(prefix=f"{node} ", events=shown) as progress:
        context = Context(progress=progress, events=events)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: context.stop.set())
        store = open_store(config.store, progress, context.stop)
        parents = _parents(options.input, task, store)
        with served(config.runtime.metrics_port, labels, events):
            manifest = execute(stage, config, parents, store, context)
    told = manifest.model_dump(mode="json", by_alias=True)
    if options.run_id:
        store.point(options.run_id, node, told)
    kubeflow.publish(task, told, lambda name: document(store, manifest, name), _draw)
    print(manifest.uri)
    sys.stdout.flush()
    return EXIT_DONE


def configuration(options: argparse.Namespace, task: Task, shortcuts: Iterable[str] = ()) -> RunConfig:
    """What the options of ``add_config_options`` and a task's parameters come to; options win.

    Raises:
        BadInputError: Unknown preset or key, unreadable file, wrong type.
    """
    given = ((path, getattr(options, path)) for path in shortcuts)
    short = [f"{path}={value}" for path, value in given if value is not None]
    text = options.config_text or task.text(kubeflow.CONFIG)
    overrides = [*kubeflow.overrides(task), *options.set, *short]
    config = configs.load(options.preset, options.config, overrides, text)
    return config.with_store(options.store) if options.store else config


def _draw(title: str, lead: str, facts: Mapping[str, Any]) -> str:
    from arkloom.reports.facts import facts_page  # noqa: PLC0415 - only in a pipeline

    return facts_page(title, lead, facts)


def document(store: Store, manifest: Manifest, name: str) -> str:
    """The text of one file of an artifact, without the others.

    Raises:
        BadInputError: The artifact has no such file, or its bytes changed.
    """
    folder = [manifest.folder] if manifest.folder else []
    content = store.document(manifest.stage, manifest.key, *folder, name)
    published = {entry.sha256 for entry in manifest.files if entry.path == name}
    if content is None or sha256(content).hexdigest() not in published:
        raise BadInputError(f"{name} is missing, or not as published", where=manifest.uri)
    return content.decode("utf-8")


def _parents(given: Sequence[str], task: Task, store: Store) -> dict[str, Manifest]:
    parents = {port: _manifest(str(file), store) for port, file in task.inputs.items()}
    for text in given:
        port, sign, place = text.partition("=")
        if not sign:
            raise BadInputError(f"{text!r} names no port", mend="Write --input port=artifact")
        parents[port] = _manifest(place, store)
    return parents


def _manifest(place: str, store: Store) -> Manifest:
    """The manifest at a uri; or the one that a local file holds, where the store has it so.

    Raises:
        BadInputError: Nothing is published there, or the file says something else than the store.
    """
    file = Path(place)
    if "://" in place or file.name == MANIFEST or not file.is_file():
        return store.manifest(place)
    told = read_manifest(file)
    found = store.manifest(told.uri)
    if (found.key, found.kind, found.files) != (told.key, told.kind, told.files):
        raise BadInputError("not what the store holds", where=f"{file} of {told.uri}")
    return found


def _parser(stage: Stage, program: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program or f"python -m arkloom.{stage.name}",
        description=f"Run the stage {stage.name!r} alone. Inputs: {', '.join(stage.inputs) or 'none'}. "
        "Prints the uri of the artifact; the same work is found, not repeated.",
        epilog="exit codes: 0 done, 1 failure, 2 bad input, 75 stopped early: run again to go on",
    )
    add_config_options(parser)
    for option, path in stage.shortcuts.items():
        parser.add_argument(option, dest=path, metavar="N", help=f"same as --set {path}=N")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="PORT=ARTIFACT",
        help="a parent artifact: its uri, or a file that holds its manifest",
    )
    parser.add_argument(
        "--run-id", default=os.environ.get(RUN_ID), help=f"record the artifact under this run (also {RUN_ID})"
    )
    parser.add_argument("--node", help="name of the node in its chain")
    parser.add_argument(
        "--events", type=Path, default=os.environ.get("ARKLOOM_EVENTS"), help="JSONL file of run events"
    )
    parser.add_argument("--progress", choices=["show", "events"], default="show", help="where progress goes")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what is to be computed, and where (see ``configuration``)."""
    parser.add_argument(
        "--preset", help=f"one of {', '.join(configs.presets())}; without it and --config, bare defaults"
    )
    parser.add_argument("--config", type=Path, help="YAML file; later wins over the preset")
    parser.add_argument(
        "--config-text", default="", metavar="YAML", help="the YAML itself; later wins over --config"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override one value (repeatable)"
    )
    parser.add_argument("--store", help="root of the store (same as --set store.root=...)")
    parser.add_argument(
        "--executor-input", metavar="JSON", help="what Kubeflow tells a task: parameters, inputs, outputs"
    )


def _die_with_parent(parent: str | None) -> None:
    """Ask Linux to kill us when the runner that started us dies, so that no orphan holds the work."""
    if parent is None or sys.platform != "linux":
        return
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(EXIT_RESUME)


def _check_ports(stage: Stage, parents: Mapping[str, Manifest]) -> None:
    names = {port.rstrip("?*") for port in stage.inputs}
    needed = {port for port in stage.inputs if not port.endswith(("?", "*"))}
    if missing := needed - set(parents):
        raise BadInputError(
            f"input {sorted(missing)[0]!r} is not connected", where=f"stage {stage.name}", mend="Give --input"
        )
    many = tuple(port.rstrip("*") for port in stage.inputs if port.endswith("*"))
    if extra := {port for port in set(parents) - names if not port.startswith(many)}:
        raise BadInputError(
            f"no input named {sorted(extra)[0]!r}; known: {', '.join(sorted(names))}",
            where=f"stage {stage.name}",
        )
