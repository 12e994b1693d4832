"""What a finished run leaves for people and for CI: ``report.json``, ``report.html``, a closing table."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arkloom.chains.distill import distill
from arkloom.chains.graph import RUN_DOCUMENT
from arkloom.chains.shares import shared
from arkloom.config import build
from arkloom.errors import BadInputError
from arkloom.evaluate.page import render
from arkloom.protocol.log import read_debates
from arkloom.store import Manifest, Store
from arkloom.store.local import write_atomic


def write_outcome(folder: Path, store: Store, made: Mapping[str, Manifest]) -> dict[str, Any]:
    """Write the run's report: the evaluation's with the verdict, the run's keys and seconds added."""
    artifact = store.open(made["evaluate"].uri)
    report: dict[str, Any] = json.loads(artifact.file("report.json").read_text())
    report["seconds"] = {node: manifest.seconds for node, manifest in made.items()}
    report["keys"] = {node: manifest.key for node, manifest in made.items()}
    if "gate" in made:
        decision = json.loads(store.open(made["gate"].uri).file("gate.json").read_text())
        report["gate"] = {name: decision[name] for name in ("promote", "reason")}
    if "register" in made:
        version = made["register"].metrics
        report["registered"] = {name: version[name] for name in ("model", "version")} if version else None
    write_atomic(folder / "report.json", json.dumps(report, indent=1, sort_keys=True, allow_nan=False))
    # An evaluation with no test problems still reports why; it has no debates to read.
    worth = [] if artifact.absent else list(read_debates(artifact.folder, name="worth-reading"))
    notes = [*report.get("notes", ()), *([f"{verdict(report)}."] if "gate" in report else ())]
    write_atomic(folder / "report.html", render(report | {"notes": notes}, worth))
    return report


def rewrite(folder: Path, store: Store, run: str) -> dict[str, Any]:
    """Write a run's report again from what the store holds of it, wherever the run was made.

    Raises:
        BadInputError: There is no such run, or its evaluation has not ended.
    """
    pointers = store.pointers(run)
    document = pointers.pop(RUN_DOCUMENT, {})
    if not pointers:
        near = difflib.get_close_matches(run, store.runs(), n=1, cutoff=0.3)
        mend = f"Did you mean {near[0]}?" if near else "See arkloom runs"
        raise BadInputError(f"no run {run!r}", where=store.root, mend=mend)
    if "evaluate" not in pointers:
        mend = f"It has {', '.join(sorted(pointers))}: run its command again to go on"
        raise BadInputError("its evaluation has not ended", where=f"run {run}", mend=mend)
    made = {node: Manifest.model_validate_json(json.dumps(pointer)) for node, pointer in pointers.items()}
    folder.mkdir(parents=True, exist_ok=True)
    if "config" in document:
        write_atomic(folder / "config.yaml", yaml.safe_dump(document["config"], sort_keys=False))
        made = {node: made[node] for node in [*_order(document["config"]), *made] if node in made}
    return write_outcome(folder, store, made)


def _order(config: Mapping[str, Any]) -> list[str]:
    """Nodes in the order in which the run itself told them."""
    try:
        settings = build(config)
        return [node.name for node in shared(distill(settings), settings)]
    except BadInputError:  # of another version: its report can be written all the same
        return []


def verdict(report: Mapping[str, Any]) -> str:
    """The gate's decision in a line."""
    return f"Gate: {'promoted' if report['gate']['promote'] else 'refused'}, {report['gate']['reason']}"


def closing_table(report: Mapping[str, Any]) -> Table:
    """The arms, best first, with their intervals and what an answer costs."""
    table = Table(title="held-out problems", title_justify="left", box=None, padding=(0, 2))
    for name in ("arm", "accuracy", "95 % interval", "tokens/problem", "against base"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    deltas = report.get("deltas", {})
    arms: dict[str, dict[str, Any]] = report.get("arms", {})
    for name, arm in sorted(arms.items(), key=lambda pair: -pair[1]["accuracy"]):
        delta = deltas.get(f"{name}_vs_base")
        gain = f"{delta['diff']:+.3f} [{delta['ci95'][0]:+.3f}, {delta['ci95'][1]:+.3f}]" if delta else ""
        low, high = arm["ci95"]
        best = "[bold green]" if name == report.get("best_arm") else ""
        table.add_row(
            f"{best}{name}",
            f"{arm['accuracy']:.3f}",
            f"[{low:.3f}, {high:.3f}]",
            f"{arm['tokens_per_problem']:.0f}",
            gain,
        )
    return table


def _kept(report: Mapping[str, Any]) -> str | None:
    """What the best arm keeps of the debate's gain, with its interval; nothing where it is not known."""
    recovered, ratio = report.get("gain_recovered"), report.get("token_ratio")
    if recovered is None or ratio is None:
        return None
    best, bounds = report["best_arm"], report.get("gain_recovered_ci95")
    problems = report.get("arms", {}).get(best, {}).get("n")
    sure = f" (95 % interval {bounds[0]:.0%} to {bounds[1]:.0%})" if bounds else ""
    cost = f"at [bold]{ratio:.1%}[/] of its tokens"
    if bounds and bounds[0] <= 0:
        on = f" on {problems} problems" if problems else ""
        told = f"Whether {best} keeps any of the debate's gain cannot be told{on}"
        return f"{told}: {recovered:.0%}{sure}, {cost}."
    return f"{best} keeps [bold]{recovered:.0%}[/] of the debate's gain{sure} {cost}."


def print_outcome(report: Mapping[str, Any], folder: Path, console: Console) -> None:
    """The closing table, the headline figures, and where to look."""
    console.print(closing_table(report))
    for name, reason in report.get("absent", {}).items():
        console.print(f"  [dim]{name} is absent: {escape(reason)}[/]")
    if (line := _kept(report)) is not None:
        console.print(f"\n{line}")
    if "gate" in report:
        console.print(escape(verdict(report)))
    if (registered := report.get("registered")) is not None:
        console.print(f"Registered: {registered['model']}, version {registered['version']}")
    console.print(f"report: {folder / 'report.html'}")
