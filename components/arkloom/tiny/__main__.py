"""``python -m arkloom.tiny train --out DIR`` and ``python -m arkloom.tiny check``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from arkloom.errors import ArkloomError
from arkloom.tiny import weights
from arkloom.tiny.check import check, print_check
from arkloom.tiny.train import Recipe, train


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if options.command == "train":
            train(options.out, Recipe(steps=options.steps, seed=options.seed), threads=options.threads)
            return 0
        result = check(options.model, problems=options.problems, seed=options.seed)
    except ArkloomError as error:
        print(error.line(), file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print_check(result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m arkloom.tiny", description="The tiny society.")
    commands = parser.add_subparsers(dest="command", required=True)
    recipe = Recipe()
    training = commands.add_parser("train", help="pre-train the society from scratch; goes on after a kill")
    training.add_argument("--out", type=Path, required=True, help="folder for the model")
    training.add_argument("--steps", type=int, default=recipe.steps, help="default: %(default)s")
    training.add_argument("--seed", type=int, default=recipe.seed, help="default: %(default)s")
    training.add_argument("--threads", type=int, default=None, help="default: as many as there are cores")
    checking = commands.add_parser("check", help="the causal check: does a debater use its peers?")
    checking.add_argument("--model", type=Path, default=weights(), help="default: the shipped weights")
    checking.add_argument("--problems", type=int, default=500, help="default: %(default)s")
    checking.add_argument("--seed", type=int, default=11, help="default: %(default)s")
    checking.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
