"""The command ``arkloom``: thin, every subcommand calls one function of the package."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from arkloom import __version__
from arkloom.commands import (
    doctor,
    logs,
    looking,
    models,
    pipeline,
    problems,
    run,
    serve,
    shared,
    store,
    tiny,
    top,
)
from arkloom.errors import EXIT_DONE, explained
from arkloom.stage import main as run_stage

STAGES = ("prepare", "debate", "filter", "label", "sft", "prm", "grpo", "evaluate", "gate", "register")
GROUPS = (run, top, serve, looking, models, problems, logs, store, doctor, tiny, pipeline)

_EPILOG = """\
first steps:
  arkloom run --preset laptop          distil a debate on this machine (some seven minutes), then
  arkloom ask "2+7*5+3-4*6"            compare base, debate and student on one problem
  arkloom top                          watch a run from another terminal
  arkloom runs                         every run with its headline figures
  arkloom show runs/store/sft/KEY      what an artifact is and where it comes from
  arkloom models                       what the gate promoted: numbered versions, each with its card
  arkloom doctor --config mine.yaml    is this machine, and its store, ready for a run of your own?

one stage alone: arkloom prepare | debate | filter | label | sft | prm | grpo | evaluate | gate | register,
for example: arkloom debate --help

exit codes: 0 done, 1 failure, 2 bad input, 3 refused by the gate (run --enforce),
75 stopped early: run again to go on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in STAGES and not logs.alone(given):  # a stage has a command line of its own
        stage = importlib.import_module(f"arkloom.{given[0]}.stage").STAGE
        return run_stage(stage, given[1:], program=f"arkloom {given[0]}")
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
        line, code = explained(error)
        print(f"arkloom: {line}", file=sys.stderr)
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="arkloom",
        description="Turns a debate of many LLM agents into one model, and shows what the student kept.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"arkloom {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add(commands, shared.options())
    return parser


if __name__ == "__main__":
    sys.exit(main())
