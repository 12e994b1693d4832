"""How much of the debate's gain does a student keep, and does the debate teach more than sampling?

Two parts, both resumable (artifacts are shared by key in one store, so a killed run goes on):

- seeds: the laptop preset over several seeds (problems, debate and training all change with the seed);
- curve: training problems 50 to 1,000 for `rsft`, `rft` and `rft_self`, greedy accuracy on test.

    python benchmarks/distillation.py --seeds 3
    python benchmarks/distillation.py --seeds 0 --curve 50,100,400,1000 --json curve.json

The limit beside the figures is the task's ceiling, accuracy 1.0.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from arkloom import run
from arkloom.errors import ArkloomError

CURVE_ARMS = ("rsft", "rft", "rft_self")
FIGURES = ("gain_recovered", "token_ratio", "deliberation_gain")


def one(seed: int, root: Path, name: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """One run of the laptop preset under a seed; its report."""
    shared = [f"store.root={root / 'store'}", f"seed={seed}", f"problems.seed={seed}"]
    print(f"{name}: seed {seed}", file=sys.stderr, flush=True)
    return run("laptop", overrides=[*shared, *overrides], out=root / f"{name}-{seed}", quiet=True)


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    if not values:
        return "-"
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def over_seeds(seeds: int, root: Path) -> tuple[Table, dict[str, float]]:
    """The laptop preset over seeds: accuracy of every arm, headline figures, paired differences."""
    reports = [one(seed, root, "laptop") for seed in range(seeds)]
    table = Table(title=f"laptop preset, {seeds} seeds: mean ± sd", title_justify="left", box=None)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("each seed")
    numbers: dict[str, float] = {}
    rows = {
        f"accuracy {arm}": [r["arms"].get(arm, {}).get("accuracy") for r in reports]
        for arm in reports[0]["arms"]
    }
    rows |= {name: [r.get(name) for r in reports] for name in FIGURES}
    for delta in ("debate_vs_base", "rsft_vs_base", "rsft_vs_rft", "rsft_vs_rft_self"):
        rows[delta] = [r["deltas"].get(delta, {}).get("diff") for r in reports]
    for name, found in rows.items():
        values = [value for value in found if value is not None]
        table.add_row(name, spread(values), " ".join(f"{value:.3f}" for value in values))
        if values:
            numbers[name.replace(" ", "_")] = statistics.mean(values)
    return table, numbers


def over_sizes(sizes: list[int], root: Path, seeds: int) -> tuple[Table, dict[str, float]]:
    """Greedy accuracy on test against the number of training problems, and the rows that remained."""
    table = Table(title="training problems: greedy accuracy (rows)", title_justify="left", box=None)
    for name in ("problems", "base", *CURVE_ARMS):
        table.add_column(name, justify="right")
    numbers: dict[str, float] = {}
    for size in sizes:
        lean = [f"problems.train={size}", "evaluate.seeds=0", "evaluate.latency_problems=0"]
        lean.append(f"evaluate.arms=[base,{','.join(CURVE_ARMS)}]")
        reports = [one(seed, root, f"curve-{size}", lean) for seed in range(seeds)]
        cells = [spread([r["arms"]["base"]["accuracy"] for r in reports])]
        for arm in CURVE_ARMS:
            known = [r["arms"][arm] for r in reports if arm in r["arms"]]
            cells.append(f"{spread([a['accuracy'] for a in known])} ({_rows(reports, arm)})")
            numbers.update({f"{arm}_{size}": statistics.mean(a["accuracy"] for a in known)} if known else {})
        table.add_row(str(size), *cells)
    return table, numbers


def _rows(reports: list[dict[str, Any]], arm: str) -> str:
    rows = [r["training"][arm]["rows"] for r in reports if arm in r.get("training", {})]
    return " ".join(map(str, rows)) or "absent"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="seeds of the laptop preset (default: 3; 0 = none)"
    )
    parser.add_argument(
        "--curve", default="", help="training sizes, for example 50,100,400,1000 (default: none)"
    )
    parser.add_argument(
        "--curve-seeds", type=int, default=1, help="seeds of each point of the curve (default: 1)"
    )
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark"), help="shared store and reports")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write {name: number}")
    options = parser.parse_args()
    console, numbers = Console(width=120), dict[str, float]()
    parts = []
    try:
        if options.seeds:
            parts.append(over_seeds(options.seeds, options.root.absolute()))
        if options.curve:
            sizes = [int(size) for size in options.curve.split(",")]
            parts.append(over_sizes(sizes, options.root.absolute(), options.curve_seeds))
    except ArkloomError as error:
        print(f"distillation: {error.line()}", file=sys.stderr)
        return error.exit_code
    for table, found in parts:
        console.print(table)
        numbers |= found
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
