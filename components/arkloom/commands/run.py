"""Commands that begin work: run, config, cost; and report, which writes a run's report again."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console

from arkloom.commands.shared import Commands, Options, settings
from arkloom.errors import EXIT_DONE, BadInputError
from arkloom.store import open_store

if TYPE_CHECKING:
    from arkloom.chains.run import RunnerOf

_LIMITS = (
    ("--max-tokens-total", "runtime.max_tokens_total", "tokens that debates may cost in all calls"),
    ("--max-hours", "runtime.max_hours", "hours that this call may take"),
)

_OF_JOBS = ("namespace", "context", "retries", "waiting_minutes")


def add(commands: Commands, options: Options) -> None:
    """Add the commands of this group."""
    run = commands.add_parser(
        "run",
        parents=[options.common],
        help="distil a debate: every stage, then the report",
        description="Problems, debate, filter, training, evaluation, report: every stage on this machine, or "
        "as Jobs of a Kubernetes cluster. Stopped in any way, the same command goes on where it stood. "
        "Without --preset and --config it runs the preset laptop.",
    )
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="report, logs, events (default: runs/<preset or FILE's name>)"
    )
    run.add_argument("--quiet", action="store_true", help="print nothing but errors")
    run.add_argument("--enforce", action="store_true", help="exit 3 where the gate promotes no arm")
    for option, path, meaning in _LIMITS:
        run.add_argument(
            option, type=float, metavar="N", dest=path, help=f"{meaning}; then exit 75, to be resumed"
        )
    _add_jobs(run)
    run.set_defaults(command=_run)
    report = commands.add_parser(
        "report",
        parents=[options.common, options.stored],
        help="write the report of a finished run again, from the store alone",
        description="Writes report.html, report.json and config.yaml of a run, wherever it ran, from what "
        "the store holds.",
    )
    report.add_argument("run", metavar="RUN", help="its id: see arkloom runs")
    report.add_argument("--out", type=Path, metavar="DIR", help="where to (default: runs/RUN)")
    report.set_defaults(command=_report)
    config = commands.add_parser(
        "config", parents=[options.common], help="print the whole configuration with its defaults"
    )
    config.set_defaults(command=_config, store=None)
    _add_cost(commands, options)


def _add_jobs(run: argparse.ArgumentParser) -> None:
    jobs = run.add_argument_group("Jobs of a Kubernetes cluster (docs/jobs.md)")
    jobs.add_argument(
        "--runner",
        choices=["local", "jobs"],
        default="local",
        help="where stages work (default: %(default)s)",
    )
    jobs.add_argument("--namespace", metavar="NAME", help="default: the pod's own, or the context's")
    jobs.add_argument(
        "--context", metavar="NAME", help="of the kubeconfig (KUBECONFIG); default: its current"
    )
    jobs.add_argument("--retries", type=int, metavar="N", help="pods of a stage that may fail (3)")
    jobs.add_argument("--waiting-minutes", type=float, metavar="N", help="a Job may wait for a node (60)")


def _add_cost(commands: Commands, options: Options) -> None:
    cost = commands.add_parser(
        "cost",
        parents=[options.common],
        help="estimate turns, tokens, FLOPs and GPU-hours of a run, without running it",
        description="Walks the run's stages and estimates what each asks of its models. Models need not be "
        "on this machine. ROLE is teacher, student or prm; without ROLE= a value holds for all. "
        "Without --preset and --config it estimates the preset laptop.",
    )
    cost.add_argument(
        "--parameters",
        action="append",
        default=[],
        metavar="[ROLE=]N",
        help="weights of a model, such as 8e9, where neither its folder nor its name tells",
    )
    cost.add_argument(
        "--tokens-per-second",
        action="append",
        default=[],
        metavar="[ROLE=]N",
        help="tokens a device generates (default: 2000)",
    )
    cost.add_argument("--flops", type=float, help="arithmetic a device does a second (default: 2e14)")
    cost.add_argument("--question-tokens", type=int, help="tokens of a question's prompt")
    cost.add_argument("--answer-tokens", type=int, help="tokens of an answer")
    cost.add_argument("--json", action="store_true", help="print JSON")
    cost.set_defaults(command=_cost, store=None)


def _run(given: argparse.Namespace) -> int:
    from arkloom.chains.run import run  # noqa: PLC0415 - `arkloom --help` must not load matplotlib

    preset = given.preset or (None if given.config else "laptop")
    limits = [(path, getattr(given, path)) for _, path, _ in _LIMITS]
    told = [f"{path}={value:.15g}" for path, value in limits if value is not None]
    run(preset, given.config, [*given.set, *told], given.out, given.quiet, given.enforce, _runner(given))
    return EXIT_DONE


def _runner(given: argparse.Namespace) -> RunnerOf:
    named = {name: value for name in _OF_JOBS if (value := getattr(given, name)) is not None}
    if given.runner == "local":
        if named:
            option = f"--{next(iter(named)).replace('_', '-')}"
            raise BadInputError(
                f"{option} is for Jobs of a cluster", mend="Add --runner jobs, or leave it out"
            )
        from arkloom.chains.runner import Runner  # noqa: PLC0415 - see _run

        return Runner
    from arkloom.cluster.run import Place, jobs  # noqa: PLC0415 - an extra, and slow to load

    return jobs(Place(**named))


def _report(given: argparse.Namespace) -> int:
    from arkloom.chains.outcome import print_outcome, rewrite  # noqa: PLC0415 - see _run

    folder = (given.out or Path("runs") / given.run).absolute()
    report = rewrite(folder, open_store(settings(given).store), given.run)
    print_outcome(report, folder, Console(width=None if sys.stdout.isatty() else 110))
    return EXIT_DONE


def _config(given: argparse.Namespace) -> int:
    print(yaml.safe_dump(settings(given).model_dump(mode="json"), sort_keys=False), end="")
    return EXIT_DONE


def _cost(given: argparse.Namespace) -> int:
    from arkloom.chains.cost import document, estimate, print_cost  # noqa: PLC0415 - see _run

    found = estimate(
        settings(given, "laptop"),
        parameters=given.parameters,
        tokens_per_second=given.tokens_per_second,
        flops=given.flops,
        question_tokens=given.question_tokens,
        answer_tokens=given.answer_tokens,
    )
    if given.json:
        print(json.dumps(document(found), indent=1))
    else:
        print_cost(found, Console(width=None if sys.stdout.isatty() else 130))
    return EXIT_DONE
