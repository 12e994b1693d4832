"""The process: findings, then what the run would cost; exit code 2 where something is in the way."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import chain

from rich.console import Console

from arkloom.chains.cost import cost, print_cost
from arkloom.chains.distill import distill
from arkloom.chains.graph import fingerprint
from arkloom.chains.shares import shared
from arkloom.config import RunConfig
from arkloom.doctor.findings import Finding, refused
from arkloom.errors import EXIT_BAD_INPUT, EXIT_DONE, ArkloomError, explained
from arkloom.preflight.examination import examine
from arkloom.reports.facts import facts_page
from arkloom.stage import add_config_options, configuration
from arkloom.telemetry.kubeflow import CHAIN, PAGE, SUMMARY, Task, markdown

_NAME_WIDTH = 22
_WIDTH = 132


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine, print a line a finding and the estimate; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _check(options)
    except Exception as error:
        if options.debug:
            raise
        line, code = explained(error)
        print(f"arkloom preflight: {line}", file=sys.stderr)
        return code


def _check(options: argparse.Namespace) -> int:
    task = Task.read(options.executor_input or "{}")
    config = configuration(options, task)
    found: list[Finding] = []
    for finding in chain(_compiled(config, task.text(CHAIN)), _all(config, options)):
        found.append(finding)
        print(_line(finding), flush=True)
    estimate = cost(config)
    print_cost(estimate, Console(width=_WIDTH, highlight=False))
    told = {finding.name: _told(finding) for finding in found}
    wrong = [finding for finding in found if finding.state == "fail"]
    lead = f"{len(wrong)} of {len(found)} findings are in the way" if wrong else "Nothing is in the way"
    task.write(SUMMARY, markdown("preflight", lead, told))
    task.write(PAGE, facts_page("preflight", lead, told))
    task.tell({})
    for finding in wrong:
        print(f"arkloom preflight: {finding.name}: {finding.told}. {finding.mend}".strip(), file=sys.stderr)
    return EXIT_BAD_INPUT if wrong else EXIT_DONE


def _compiled(config: RunConfig, known: str) -> Iterator[Finding]:
    """Whether the configuration still asks for the chain that a pipeline was compiled for."""
    if not known:
        return
    if fingerprint(shared(distill(config), config)) == known:
        yield Finding("chain", "ok", "as compiled")
    else:
        told = "arms, source of labels or shares are not those that the pipeline was compiled for"
        yield Finding("chain", "fail", told, "Compile it again with this configuration")


def _all(config: RunConfig, options: argparse.Namespace) -> Iterator[Finding]:
    yield from examine(config)
    if options.jobs:
        yield from _cluster(options.namespace, options.context)


def _cluster(namespace: str | None, context: str | None) -> Iterator[Finding]:
    from arkloom.cluster.api import connect  # noqa: PLC0415 - only with --jobs
    from arkloom.preflight.rights import cluster  # noqa: PLC0415 - the same

    try:
        api = connect(namespace, context)
    except ArkloomError as error:
        yield refused("cluster", error)
        return
    yield from cluster(api)


def _line(finding: Finding) -> str:
    return f"{finding.state:<5}{finding.name:<{_NAME_WIDTH}} {_words(finding)}"


def _told(finding: Finding) -> str:
    return f"{finding.state}: {_words(finding)}"


def _words(finding: Finding) -> str:
    return f"{finding.told}. {finding.mend}" if finding.mend else finding.told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m arkloom.preflight",
        description="Looks at the store and its credentials, problems, models and endpoints of a "
        "configuration, and estimates what a run costs. Writes a probe of a few bytes and deletes it again.",
        epilog="exit codes: 0 ready, 2 something is in the way",
    )
    add_config_options(parser)
    parser.add_argument(
        "--jobs", action="store_true", help="also look at the cluster: what the Jobs runner needs of it"
    )
    parser.add_argument("--namespace", help="where Jobs run; the pod's own or the context's by default")
    parser.add_argument("--context", help="of the kubeconfig; its current one by default")
    parser.add_argument("--node", help="name of the task; of no account here")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser
