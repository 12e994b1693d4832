"""The command ``arkloom``: thin, every subcommand calls one function of the package."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import yaml
from rich.console import Console

from arkloom import __version__
from arkloom import config as configs
from arkloom.config import RunConfig
from arkloom.errors import EXIT_DONE, EXIT_FAILURE, EXIT_RESUME, ArkloomError
from arkloom.stage import main as run_stage
from arkloom.store import open_store

_Commands: TypeAlias = (
    "argparse._SubParsersAction[argparse.ArgumentParser]"  # add_subparsers() gives no public type
)
STAGES = ("prepare", "debate", "filter", "label", "sft", "prm", "grpo", "evaluate", "gate")

_EPILOG = """\
first steps:
  arkloom run --preset laptop          distil a debate on this machine (about eight minutes), then
  arkloom ask "2+7*5+3-4*6"            compare base, debate and student on one problem
  arkloom runs                         every run with its headline figures
  arkloom show runs/store/sft/KEY      what an artifact is and where it comes from

one stage alone: arkloom prepare | debate | filter | label | sft | prm | grpo | evaluate | gate,
for example: arkloom debate --help

exit codes: 0 done, 1 failure, 2 bad input, 3 refused by the gate (run --enforce),
75 stopped early: run again to go on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in STAGES:  # a stage has a command line of its own
        return run_stage(importlib.import_module(f"arkloom.{given[0]}.stage").STAGE, given[1:])
    options = _parser().parse_args(given)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:  # the reader of our output left (arkloom runs | head): nothing went wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except (Exception, KeyboardInterrupt) as error:
        if options.debug:
            raise
        line, code = _explain(error)
        print(f"arkloom: {line}", file=sys.stderr)
        return code


def _explain(error: BaseException) -> tuple[str, int]:
    if isinstance(error, ArkloomError):
        return error.line(), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted. Run the same command to go on", EXIT_RESUME
    told = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {told}. Run with --debug for the traceback", EXIT_FAILURE


def _run(options: argparse.Namespace) -> int:
    from arkloom.chains.run import run  # noqa: PLC0415 - `arkloom --help` must not load matplotlib

    preset = options.preset or (None if options.config else "laptop")
    run(preset, options.config, options.set, options.out, options.quiet, options.enforce)
    return EXIT_DONE


def _show(options: argparse.Namespace) -> int:
    from arkloom.chains.history import describe, resolve  # noqa: PLC0415 - see _run

    store = open_store(_settings(options).store.root)
    Console().print(describe(store, resolve(store, options.artifact)))
    return EXIT_DONE


def _runs(options: argparse.Namespace) -> int:
    from arkloom.chains.history import runs_table  # noqa: PLC0415 - see _run

    store = open_store(_settings(options).store.root)
    if not store.runs():
        print(f"no runs in {store.root} yet. Try: arkloom run --preset laptop")
        return EXIT_DONE
    Console(width=None if sys.stdout.isatty() else 200).print(runs_table(store))
    return EXIT_DONE


def _ask(options: argparse.Namespace) -> int:
    from arkloom.chains.ask import answers_table, ask, latest_student  # noqa: PLC0415 - loads torch

    store = open_store(_settings(options).store.root)
    arm, manifest, made_by = latest_student(store, options.run)
    options.config = options.config or (None if options.preset else made_by)  # as the run itself was set up
    said = ask(_settings(options), options.question, (arm, store.open(manifest.uri).folder))
    Console().print(answers_table(("base", "debate", f"student ({arm})"), said))
    return EXIT_DONE


def _config(options: argparse.Namespace) -> int:
    print(yaml.safe_dump(_settings(options).model_dump(mode="json"), sort_keys=False), end="")
    return EXIT_DONE


def _cost(options: argparse.Namespace) -> int:
    from arkloom.chains.cost import document, estimate, print_cost  # noqa: PLC0415 - see _run

    found = estimate(
        _settings(options, "laptop"),
        parameters=options.parameters,
        tokens_per_second=options.tokens_per_second,
        flops=options.flops,
        question_tokens=options.question_tokens,
        answer_tokens=options.answer_tokens,
    )
    if options.json:
        print(json.dumps(document(found), indent=1))
    else:
        print_cost(found, Console(width=None if sys.stdout.isatty() else 130))
    return EXIT_DONE


def _tiny_train(options: argparse.Namespace) -> int:
    from arkloom.tiny.train import Recipe, train  # noqa: PLC0415 - loads torch

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)  # pace and ETA in a log
    default = Recipe()
    steps, seed = options.steps or default.steps, default.seed if options.seed is None else options.seed
    print(train(options.out, replace(default, steps=steps, seed=seed)))
    return EXIT_DONE


def _tiny_check(options: argparse.Namespace) -> int:
    from arkloom.tiny.check import check, print_check  # noqa: PLC0415 - loads torch

    print_check(check(options.model, problems=options.problems))
    return EXIT_DONE


def _settings(options: argparse.Namespace, preset: str | None = None) -> RunConfig:
    settings = configs.load(
        options.preset or (None if options.config else preset), options.config, options.set
    )
    return settings.override([f"store.root={options.store}"]) if options.store else settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="arkloom",
        description="Turns a debate of many LLM agents into one model, and shows what the student kept.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"arkloom {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--preset", help=f"a ready configuration: {', '.join(configs.presets())}")
    common.add_argument("--config", type=Path, metavar="FILE", help="YAML file; wins over the preset")
    common.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="one value, wins over both (repeatable)"
    )
    common.add_argument("--debug", action="store_true", help="show tracebacks")
    stored = argparse.ArgumentParser(add_help=False)
    stored.add_argument("--store", metavar="ROOT", help="root of the store (default: runs/store)")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands, common)
    _add_looking(commands, common, stored)
    _add_tiny(commands)
    return parser


def _add_run(commands: _Commands, common: argparse.ArgumentParser) -> None:
    run = commands.add_parser(
        "run",
        parents=[common],
        help="distil a debate on this machine: every stage, then the report",
        description="Problems, debate, filter, training, evaluation, report: every stage on this machine. "
        "Stopped in any way, the same command goes on where it stood.",
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="report, logs, events (default: runs/<preset>)")
    run.add_argument("--quiet", action="store_true", help="print nothing but errors")
    run.add_argument("--enforce", action="store_true", help="exit 3 where the gate promotes no arm")
    run.set_defaults(command=_run)
    config = commands.add_parser(
        "config", parents=[common], help="print the whole configuration with its defaults"
    )
    config.set_defaults(command=_config, store=None)
    _add_cost(commands, common)


def _add_cost(commands: _Commands, common: argparse.ArgumentParser) -> None:
    cost = commands.add_parser(
        "cost",
        parents=[common],
        help="estimate turns, tokens, FLOPs and GPU-hours of a run, without running it",
        description="Walks the run's stages and estimates what each asks of its models. Models need not be "
        "on this machine. ROLE is teacher, student or prm; without ROLE= a value holds for all.",
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


def _add_looking(
    commands: _Commands,
    common: argparse.ArgumentParser,
    stored: argparse.ArgumentParser,
) -> None:
    show = commands.add_parser(
        "show", parents=[common, stored], help="what an artifact is, its metrics, and its lineage"
    )
    show.add_argument("artifact", help="folder, uri, key (or its beginning), or stage/key")
    show.set_defaults(command=_show)
    runs = commands.add_parser("runs", parents=[common, stored], help="every run with its headline figures")
    runs.set_defaults(command=_runs)
    ask = commands.add_parser(
        "ask", parents=[common, stored], help="one question to base, debate and student, side by side"
    )
    ask.add_argument("question", help='for the laptop preset an expression such as "2+7*5+3-4*6"')
    ask.add_argument("--run", help="whose student answers (default: the newest finished run)")
    ask.set_defaults(command=_ask)


def _add_tiny(commands: _Commands) -> None:
    tiny = commands.add_parser("tiny", help="the tiny society: train it from scratch, or check its causes")
    parts = tiny.add_subparsers(title="commands", required=True, metavar="COMMAND")
    train = parts.add_parser("train", help="pre-train the tiny model from scratch, seeded (some 35 minutes)")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the checkpoint")
    train.add_argument("--steps", type=int, help="optimiser steps (default: those of the shipped weights)")
    train.add_argument("--seed", type=int, help="default: that of the shipped weights")
    train.add_argument("--debug", action="store_true", help="show tracebacks")
    train.set_defaults(command=_tiny_train)
    check = parts.add_parser("check", help="does a debater weigh its peers, or know the truth?")
    check.add_argument("--model", type=Path, default=None, metavar="DIR", help="default: the shipped weights")
    check.add_argument("--problems", type=int, default=500, help="default: %(default)s")
    check.add_argument("--debug", action="store_true", help="show tracebacks")
    check.set_defaults(command=_tiny_check)


if __name__ == "__main__":
    sys.exit(main())
