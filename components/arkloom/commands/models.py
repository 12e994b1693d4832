"""``arkloom models``: what was promoted, and the card of one version."""

from __future__ import annotations

import argparse
import time

from rich.table import Table

from arkloom.commands.shared import Commands, Options, console, settings
from arkloom.errors import EXIT_DONE, BadInputError
from arkloom.registry import Registry, Version
from arkloom.store import Store, open_store


def add(commands: Commands, options: Options) -> None:
    """Add the commands of this group."""
    models = commands.add_parser(
        "models",
        parents=[options.common, options.stored],
        help="promoted models, their versions and cards",
        description="Without a name: every version of every model. With one: its versions. With a number, "
        "too: the card of that version, and where its weights are (arkloom store get fetches them).",
    )
    models.add_argument("model", nargs="?", metavar="MODEL", help="a name (registry.model of the run)")
    models.add_argument("version", nargs="?", type=int, metavar="NUMBER", help="from 1")
    models.set_defaults(command=_models)


def _models(given: argparse.Namespace) -> int:
    store = open_store(settings(given).store)
    registry = Registry(store)
    if given.version is not None:
        print(_whole(registry, store, given.model, given.version))
        return EXIT_DONE
    names = [given.model] if given.model else registry.models()
    found = [version for name in names for version in registry.versions(name)]
    if found:
        console().print(_table(found, store))
    else:
        what = f"no version of {given.model}" if given.model else "no model was promoted yet"
        print(f"{what} in {store.root}; see arkloom runs for the gate's verdicts")
    return EXIT_DONE


def _whole(registry: Registry, store: Store, model: str, number: int) -> str:
    """A version's card, and where it is.

    Raises:
        BadInputError: There is no such version.
    """
    found = registry.version(model, number)
    if found is None:
        raise BadInputError(f"no version {number} of {model}", mend=f"See arkloom models {model}")
    return f"{found.card.rstrip()}\n\nweights: {_weights(store, found)}"


def _weights(store: Store, version: Version) -> str:
    """Where a version's weights are now: a store may have been moved since."""
    stage = version.uri.rpartition("/")[0].rpartition("/")[2]
    found = store.find(stage, version.key)
    return found.uri if found is not None else f"gone ({version.uri})"


def _table(versions: list[Version], store: Store) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("model", "version", "registered", "arm", "base", "accuracy", "95 % interval", "weights"):
        table.add_column(name, justify="right" if name in {"version", "accuracy"} else "left")
    for each in versions:
        low, high = each.ci95
        table.add_row(
            each.model,
            str(each.number),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(each.registered)),
            each.arm,
            each.base,
            f"{each.accuracy:.3f}",
            f"\\[{low:.3f}, {high:.3f}]",
            _weights(store, each),
        )
    return table
