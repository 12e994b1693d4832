"""How much of the debate's gain does a student keep, and does the debate teach more than sampling?

Three parts, all resumable (artifacts are shared by key in one store, so a killed run goes on):

- seeds: the laptop preset over several seeds (problems, debate and training all change with the seed),
  problems pooled, differences paired and corrected across arms;
- curve: training problems 50 to 1,000 for `rsft`, `rft` and `rft_self`, greedy accuracy on test;
- shape: the debate and its student over agents n and rounds K (`--agents`, `--rounds`).

    python benchmarks/distillation.py --arms main --seeds 3
    python benchmarks/distillation.py --seeds 0 --curve 50,100,400,1000 --json curve.json
    python benchmarks/distillation.py --seeds 0 --agents 1,3,5 --rounds 1,2,3

The limit beside the figures is the task's ceiling, accuracy 1.0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from arkloom import config as configs
from arkloom.errors import ArkloomError
from shared.pooled import Pooled, one, pool, spread

PRESETS = {"main": "laptop", "all": "laptop-full"}
CURVE_ARMS = ("rsft", "rft", "rft_self")
LEAN = ("evaluate.seeds=0", "evaluate.latency_problems=0")
PLAYED = ("base", "vote", "debate")
CLAIMS = (
    ("rsft", "rft"),
    ("rsft", "rft_self"),
    ("da", "rsft"),
    ("pad", "verifier_grpo"),
    ("pad", "rsft"),
    ("rsft_free", "rft_free"),
    ("rsft_free", "rsft"),
)
Found = tuple[list[Table], dict[str, float]]


def over_seeds(seeds: int, root: Path, arms: str) -> Found:
    """Every arm over seeds: accuracy, gain kept, tokens, paired differences, accuracy over rollouts."""
    preset = PRESETS.get(arms, "laptop")
    chosen = () if arms in PRESETS else (f"evaluate.arms=[{arms}]",)
    name = preset if arms in PRESETS else arms.replace(",", "-")
    reports = [one(seed, root, name, chosen, preset) for seed in range(seeds)]
    pooled = pool(reports, root)
    numbers: dict[str, float] = {}
    tables = [
        _arms(reports, pooled, numbers, f"{name}, {seeds} seeds; intervals over problems"),
        _differences(pooled, numbers),
    ]
    if any(report["absent"] for report in reports):
        tables.append(_absent(reports))
    if any(report.get("rollouts") for report in reports):
        tables.append(_rollouts(reports, numbers))
    if any(report.get("label_free") for report in reports):
        tables.append(_label_free(reports, pooled, numbers))
    return tables, numbers


def over_sizes(sizes: list[int], root: Path, seeds: int) -> Found:
    """Greedy accuracy on test against the number of training problems, and the rows that remained."""
    table = _table("training problems: accuracy (rows)", ("problems", "base", *CURVE_ARMS))
    numbers: dict[str, float] = {}
    for size in sizes:
        lean = [f"problems.train={size}", *LEAN, f"evaluate.arms=[base,{','.join(CURVE_ARMS)}]"]
        reports = [one(seed, root, f"curve-{size}", lean) for seed in range(seeds)]
        pooled = pool(reports, root)
        cells = [pooled.accuracy("base")]
        for arm in CURVE_ARMS:
            cells.append(
                f"{pooled.accuracy(arm)} ({_rows(reports, arm)})" if arm in pooled.correct else "absent"
            )
            if arm in pooled.correct:
                numbers[f"{arm}_{size}"] = pooled.mean(arm)
        table.add_row(str(size), *cells)
    return [table], numbers


def over_shapes(agents: list[int], rounds: list[int], root: Path, seeds: int) -> Found:
    """The debate and its student over the number of agents, then over the number of rounds."""
    table = _table("shape of the debate: accuracy (rows)", ("agents", "rounds", "base", "debate", "rsft"))
    numbers: dict[str, float] = {}
    preset = configs.load("laptop").debate
    shapes = [(n, preset.rounds) for n in agents] + [(preset.agents, k) for k in rounds]
    for n, k in dict.fromkeys(shapes):
        shape = [f"debate.agents={n}", f"debate.rounds={k}", *LEAN, "evaluate.arms=[base,debate,rsft]"]
        reports = [one(seed, root, f"shape-{n}-{k}", shape) for seed in range(seeds)]
        pooled = pool(reports, root)
        student = (
            f"{pooled.accuracy('rsft')} ({_rows(reports, 'rsft')})" if "rsft" in pooled.correct else "absent"
        )
        table.add_row(str(n), str(k), pooled.accuracy("base"), pooled.accuracy("debate"), student)
        for arm in ("debate", "rsft"):
            if arm in pooled.correct:
                numbers[f"{arm}_n{n}_k{k}"] = pooled.mean(arm)
    return [table], numbers


def _arms(reports: list[dict[str, Any]], pooled: Pooled, numbers: dict[str, float], title: str) -> Table:
    table = _table(title, ("arm", "accuracy", "each seed", "gain kept", "tokens", "rows"))
    for arm in pooled.correct:
        each = [report["arms"][arm]["accuracy"] for report in reports if arm in report["arms"]]
        value, gain = (
            pooled.gain(dict.fromkeys(range(len(reports)), arm)) if arm not in PLAYED else (None, "")
        )
        table.add_row(
            arm, pooled.accuracy(arm), _each(each), gain, f"{pooled.spent(arm):.0f}", _rows(reports, arm)
        )
        numbers[f"accuracy_{arm}"] = pooled.mean(arm)
        numbers |= {f"gain_{arm}": value} if value is not None else {}
    best = {seed: report["best_arm"] for seed, report in enumerate(reports) if report["best_arm"]}
    value, gain = pooled.gain(best)
    table.add_row("[dim]best arm", "", " ".join(best.values()), gain)
    numbers |= {"gain_recovered": value} if value is not None else {}
    for name in ("token_ratio", "deliberation_gain"):
        values = [report[name] for report in reports if report.get(name) is not None]
        if values:
            numbers[name] = statistics.mean(values)
            table.add_row(f"[dim]{name}", spread(values), _each(values))
    return table


def _each(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _differences(pooled: Pooled, numbers: dict[str, float]) -> Table:
    table = _table(
        "paired differences, 95 %; p: McNemar, Holm within a block",
        ("pair", "difference", "95 %", "p", "seeds"),
    )
    for pairs in ([(arm, "base") for arm in pooled.correct if arm != "base"], CLAIMS):
        for found in pooled.differences(pairs):
            table.add_row(
                found.name, f"{found.value:+.3f}", found.interval, f"{found.p:.3g}", str(found.seeds)
            )
            numbers[found.name.replace(" - ", "_vs_")] = found.value
        table.add_section()
    return table


def _absent(reports: list[dict[str, Any]]) -> Table:
    table = _table("absent", ("seed", "arm", "reason"))
    for seed, report in enumerate(reports):
        for arm, reason in report["absent"].items():
            table.add_row(str(seed), arm, reason)
    return table


def _rollouts(reports: list[dict[str, Any]], numbers: dict[str, float]) -> Table:
    """Greedy accuracy on validation over rollouts; a training that stopped early keeps its last value."""
    curves = [report.get("rollouts") or {} for report in reports]
    arms = list(dict.fromkeys(arm for curve in curves for arm in curve))
    points = sorted({point["rollouts"] for curve in curves for arm in curve for point in curve[arm]})
    table = _table("validation accuracy over rollouts, mean ± sd over seeds", ("rollouts", *arms))
    for rollouts in points:
        cells = []
        for arm in arms:
            values = [_at(curve[arm], rollouts) for curve in curves if curve.get(arm)]
            lacking = "" if len(values) == len(reports) else f" ({len(values)} seeds)"
            cells.append(spread(values) + lacking)
            numbers[f"{arm}_at_{rollouts}"] = statistics.mean(values)
        table.add_row(str(rollouts), *cells)
    return table


def _at(curve: list[dict[str, Any]], rollouts: int) -> float:
    return float([point["accuracy"] for point in curve if point["rollouts"] <= rollouts][-1])


def _label_free(reports: list[dict[str, Any]], pooled: Pooled, numbers: dict[str, float]) -> Table:
    table = _table(
        "without gold: rows, precision of the pseudo-labels, accuracy",
        ("arm", "rows", "precision", "accuracy"),
    )
    for arm in dict.fromkeys(arm for report in reports for arm in report.get("label_free") or {}):
        told = [report["label_free"][arm] for report in reports if arm in (report.get("label_free") or {})]
        precision = [
            entry["pseudo_label_precision"]
            for entry in told
            if entry.get("pseudo_label_precision") is not None
        ]
        numbers |= {f"precision_{arm}": statistics.mean(precision)} if precision else {}
        accuracy = pooled.accuracy(arm) if arm in pooled.correct else "absent"
        table.add_row(arm, _rows(reports, arm), spread(precision), accuracy)
    return table


def _rows(reports: list[dict[str, Any]], arm: str) -> str:
    rows = [r["training"][arm].get("rows") for r in reports if arm in r.get("training", {})]
    return " ".join(str(count) for count in rows if count is not None)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right")
    return table


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the preset (default: 3; 0 = none)")
    parser.add_argument(
        "--arms", default="main", help="main (laptop), all (laptop-full), or a list: base,debate,rsft"
    )
    parser.add_argument(
        "--curve", type=_numbers, default=[], help="training sizes, for example 50,100,400,1000"
    )
    parser.add_argument("--agents", type=_numbers, default=[], help="numbers of agents, for example 1,3,5")
    parser.add_argument("--rounds", type=_numbers, default=[], help="numbers of rounds, for example 1,2,3")
    parser.add_argument(
        "--curve-seeds", type=int, default=1, help="seeds of each point of a curve (default: 1)"
    )
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark"), help="shared store and reports")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write {name: number}")
    options = parser.parse_args()
    root, numbers, console = options.root.absolute(), dict[str, float](), Console(width=140)
    parts = [
        (bool(options.seeds), lambda: over_seeds(options.seeds, root, options.arms)),
        (bool(options.curve), lambda: over_sizes(options.curve, root, options.curve_seeds)),
        (
            bool(options.agents or options.rounds),
            lambda: over_shapes(options.agents, options.rounds, root, options.curve_seeds),
        ),
    ]
    try:
        for wanted, part in parts:
            tables, found = part() if wanted else ([], {})
            for table in tables:
                console.print(table, "")
            numbers |= found
    except ArkloomError as error:
        print(f"distillation: {error.line()}", file=sys.stderr)
        return error.exit_code
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
