"""``arkloom pipeline``: the chain as a Kubeflow pipeline. Needs the extra ``orchestrate``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from arkloom import __version__
from arkloom.commands.shared import Commands, Options, console
from arkloom.errors import EXIT_DONE, EXIT_FAILURE, BadInputError

if TYPE_CHECKING:  # the package and kfp are an extra: `arkloom --help` works without
    from arkloom_pipelines.client import Kubeflow, Status
    from arkloom_pipelines.plan import Plan

_PACKAGES = {"arkloom_pipelines", "kfp", "kfp_server_api", "kubernetes", "yaml"}
_EXPERIMENT = "arkloom"
_NAMESPACE = "kubeflow"
_PIPELINE = "arkloom-distill"


def add(commands: Commands, _: Options) -> None:
    """Add the commands of this group."""
    group = commands.add_parser(
        "pipeline",
        help="the chain on Kubeflow: compile, submit, status, logs, cancel",
        description="Compiles the chain of a configuration to a Kubeflow pipeline and runs it there.",
    )
    verbs = group.add_subparsers(title="commands", required=True, metavar="COMMAND")
    asked, server = _asked_options(), _server_options()
    _add_compile(verbs, asked)
    _add_submit(verbs, asked, server)
    _add_looks(verbs, server)


def _asked_options() -> argparse.ArgumentParser:
    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument(
        "--preset", help="configuration and parameters in one: smoke, laptop, single-gpu, multi-gpu"
    )
    asked.add_argument("--config", type=Path, metavar="FILE", help="YAML file; replaces the preset's config")
    asked.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="one value of the config (repeatable)"
    )
    asked.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one parameter of the pipeline (repeatable); docs/parameters.md lists them",
    )
    asked.add_argument("--name", default=_PIPELINE, help=f"name of the pipeline (default: {_PIPELINE})")
    return asked


def _server_options() -> argparse.ArgumentParser:
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument(
        "--host", help="address of the Kubeflow Pipelines API (default: KF_PIPELINES_ENDPOINT)"
    )
    server.add_argument(
        "--namespace", default=_NAMESPACE, help=f"namespace that runs live in (default: {_NAMESPACE})"
    )
    return server


def _add_compile(verbs: Commands, asked: argparse.ArgumentParser) -> None:
    compiling = verbs.add_parser(
        "compile",
        parents=[asked],
        help="write the pipeline as YAML",
        description="Writes the pipeline of a configuration: for Kubeflow's UI and API, or with "
        "--kubernetes as Pipeline and PipelineVersion, for kubectl apply. Without --preset and --config "
        "it is the preset laptop.",
    )
    compiling.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")
    compiling.add_argument(
        "--kubernetes", action="store_true", help="as objects of Kubernetes (Kubeflow keeps pipelines there)"
    )
    compiling.add_argument("--namespace", default="", help="--kubernetes: of the objects")
    compiling.add_argument(
        "--version",
        default=__version__,
        help=f"--kubernetes: a version never changes; name what does, such as a commit ({__version__})",
    )
    _finish(compiling, _compile)


def _add_submit(verbs: Commands, asked: argparse.ArgumentParser, server: argparse.ArgumentParser) -> None:
    submit = verbs.add_parser(
        "submit",
        parents=[asked, server],
        help="compile and start a run; prints its id",
        description="Compiles the pipeline, starts a run of it and prints the run's id. Without --preset and "
        "--config it is the preset laptop.",
    )
    submit.add_argument("--run-name", help="shown in the UI (default: the pipeline's name and the time)")
    submit.add_argument(
        "--experiment", default=_EXPERIMENT, help=f"the UI's folder of runs (default: {_EXPERIMENT})"
    )
    submit.add_argument("--service-account", help="that the steps run as (default: Kubeflow's)")
    submit.add_argument(
        "--no-cache", action="store_true", help="start every step; what the store holds is found all the same"
    )
    submit.add_argument("--wait", action="store_true", help="until the run has ended; exit 1 where it failed")
    _finish(submit, _submit)


def _add_looks(verbs: Commands, server: argparse.ArgumentParser) -> None:
    status = verbs.add_parser("status", parents=[server], help="how a run and its steps stand")
    status.add_argument("run", help="its id")
    status.add_argument("--json", action="store_true", help="print JSON")
    _finish(status, _status)
    logs = verbs.add_parser("logs", parents=[server], help="what the steps of a run print")
    logs.add_argument("run", help="its id")
    logs.add_argument("--node", default="", help="of one step, such as debate")
    logs.add_argument("--context", help="of kubectl's configuration (default: the current one)")
    _finish(logs, _logs)
    cancel = verbs.add_parser("cancel", parents=[server], help="end a run; what it made stays made")
    cancel.add_argument("run", help="its id")
    _finish(cancel, _cancel)


def _finish(parser: argparse.ArgumentParser, command: Any) -> None:
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(command=command)


def _compile(given: argparse.Namespace) -> int:
    compiling, asked = _part("compiling"), _plan(given)
    if given.kubernetes:
        text = compiling.manifests(asked, given.name, given.version, given.namespace)
    else:
        text = compiling.compiled(asked, given.name)
    if given.out is None:
        print(text, end="")
        return EXIT_DONE
    try:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"cannot write ({error.strerror})", where=str(given.out)) from error
    print(given.out)
    return EXIT_DONE


def _submit(given: argparse.Namespace) -> int:
    text = _part("compiling").compiled(_plan(given), given.name, caching=not given.no_cache)
    api = _kubeflow(given)
    run = api.submit(
        text,
        {},  # the plan's parameters are the defaults of what was compiled
        name=given.run_name or f"{given.name} {time.strftime('%Y-%m-%d %H:%M')}",
        experiment=given.experiment,
        service_account=given.service_account,
    )
    print(run, flush=True)
    if not given.wait:
        return EXIT_DONE
    seen = dict[str, str]()

    def tell(status: Status) -> None:
        for step in status.steps:
            if seen.get(step.name) != step.state:
                print(f"{step.state.lower():<10} {step.name} {step.error}".rstrip(), file=sys.stderr)
                seen[step.name] = step.state

    ended = api.wait(run, tell)
    print(f"{ended.state.lower()} {ended.error}".strip(), file=sys.stderr)
    return EXIT_DONE if ended.state == _part("client").SUCCEEDED else EXIT_FAILURE


def _status(given: argparse.Namespace) -> int:
    status = _kubeflow(given).status(given.run)
    if given.json:
        print(json.dumps(asdict(status), indent=1))
        return EXIT_DONE
    table = Table(title=f"{escape(status.name)}: {status.state.lower()}", title_justify="left", box=None)
    for name in ("step", "state", "seconds", "error"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for step in status.steps:
        seconds = "" if step.seconds is None else f"{step.seconds:.0f}"
        table.add_row(escape(step.name), step.state.lower(), seconds, escape(step.error))
    console().print(table)
    if status.error:
        print(status.error)
    return EXIT_DONE


def _logs(given: argparse.Namespace) -> int:
    client = _part("client")
    cluster = importlib.import_module("arkloom.cluster.api").connect(given.namespace, given.context)
    for node, line in client.logs(cluster, given.run, given.node):
        print(line if given.node else f"{node} | {line}")
    return EXIT_DONE


def _cancel(given: argparse.Namespace) -> int:
    _kubeflow(given).cancel(given.run)
    return EXIT_DONE


def _plan(given: argparse.Namespace) -> Plan:
    preset = given.preset or (None if given.config else "laptop")
    asked: Plan = _part("plan").plan(preset, given.config, given.set, given.parameter)
    return asked


def _kubeflow(given: argparse.Namespace) -> Kubeflow:
    api: Kubeflow = _part("client").Kubeflow(given.host, given.namespace)
    return api


def _part(name: str) -> Any:
    """A module of the pipelines' package.

    Raises:
        BadInputError: The extra is not installed.
    """
    try:
        return importlib.import_module(f"arkloom_pipelines.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        mend = "Install it: pip install 'arkloom[orchestrate]'"
        raise BadInputError(
            f"the package {error.name} is missing", where="arkloom pipeline", mend=mend
        ) from error
