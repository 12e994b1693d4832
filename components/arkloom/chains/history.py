"""Looking back: the runs of a store, and what an artifact is and where it comes from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from arkloom.chains.graph import RUN_DOCUMENT
from arkloom.errors import BadInputError
from arkloom.store import Manifest, Store
from arkloom.store.local import path_of

_COLUMNS = (
    "run", "ended", "nodes", "base", "debate", "best arm", "gain kept", "token ratio", "gate", "out",
)  # fmt: skip


def runs_table(store: Store) -> Table:
    """Every run of the store with its headline figures, oldest first."""
    table = Table(box=None, padding=(0, 2))
    for name in _COLUMNS:
        table.add_column(name)
    for run in store.runs():
        pointers = store.pointers(run)
        document = pointers.pop(RUN_DOCUMENT, {})
        table.add_row(*_run_cells(run, len(pointers), document))
    return table


def _run_cells(run: str, nodes: int, document: dict[str, Any]) -> list[str]:
    accuracy = document.get("accuracy", {})
    best = document.get("best_arm")
    ended = document.get("ended")
    return [
        run,
        time.strftime("%Y-%m-%d %H:%M", time.localtime(ended)) if ended else "unfinished",
        str(nodes),
        _number(accuracy.get("base")),
        _number(accuracy.get("debate")),
        f"{best} {_number(accuracy.get(best))}" if best else "",
        _number(document.get("gain_recovered")),
        _number(document.get("token_ratio")),
        _verdict(document.get("gate")),
        document.get("out", ""),
    ]


def _verdict(gate: dict[str, Any] | None) -> str:
    return "" if gate is None else "promoted" if gate["promote"] else "refused"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def resolve(store: Store, name: str) -> Manifest:
    """The artifact that a folder, uri, key (or its beginning), or ``stage/key`` names.

    Raises:
        BadInputError: None or several artifacts fit.
    """
    if "://" in name or Path(name).exists():
        return store.open(str(Path(name).absolute()) if "://" not in name else name).manifest
    root = path_of(store.root)
    stage, _, key = name.rpartition("/")
    found = sorted(root.glob(f"{stage or '[!.]*'}/{key}*/manifest.json"))
    if len(found) != 1:
        what = f"{len(found)} artifacts fit" if found else "no such artifact"
        raise BadInputError(
            what, where=name, mend="Give a folder, a uri, or more of the key; see arkloom runs"
        )
    return store.open(str(found[0])).manifest


def describe(store: Store, manifest: Manifest) -> Tree:
    """What an artifact is, its metrics, and its lineage back to the problems."""
    tree = Tree(f"[bold]{manifest.stage}[/] {manifest.kind}  [dim]{manifest.key[:12]}[/]")
    tree.add(f"uri      {manifest.uri}")
    if manifest.reason:
        tree.add(f"[yellow]absent   {escape(manifest.reason)}[/]")
    if manifest.kind == "gate":
        tree.add(f"[bold]{_verdict(manifest.metrics)}[/]  {escape(manifest.metrics['reason'])}")
    size = sum(entry.size for entry in manifest.files)
    files = tree.add(f"files    {len(manifest.files)}, {size / 1e6:.2f} MB, made in {manifest.seconds:.1f} s")
    for entry in manifest.files:
        files.add(f"{entry.path}  [dim]{entry.size} bytes, sha256 {entry.sha256[:12]}[/]")
    metrics = tree.add("metrics")
    for name, value in manifest.metrics.items():
        metrics.add(escape(f"{name} = {value}"))
    _lineage(store, manifest, tree.add("made from"))
    return tree


def _lineage(store: Store, manifest: Manifest, tree: Tree) -> None:
    for port, key in manifest.parents.items():
        try:
            parent = resolve(store, key)
        except BadInputError:
            tree.add(f"{port}: [red]gone[/] {key}")
            continue
        branch = tree.add(f"{port}: {parent.stage} [dim]{parent.key[:12]}[/]")
        _lineage(store, parent, branch)
