"""What of a store nobody needs: artifacts that no run leads to, and files of no artifact."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from arkloom.chains.graph import RUN_DOCUMENT
from arkloom.errors import BadInputError
from arkloom.registry import Registry
from arkloom.store import Leftover, Manifest, Store

_ASKED_AT_ONCE = 8
_BELIEVED_S = 5.0  # how long what the pointers said is believed while artifacts are deleted


@dataclass(frozen=True)
class Garbage:
    """What a collection would delete, and what it leaves.

    Attributes:
        artifacts: No run leads to them, and they are old enough; each with its age in seconds.
        leftovers: Files of no artifact that are old enough.
        kept: Artifacts that a run leads to.
        young: Artifacts and leftovers that no run leads to, but too young to be sure.
    """

    artifacts: tuple[tuple[Manifest, float], ...]
    leftovers: tuple[Leftover, ...]
    kept: tuple[Manifest, ...]
    young: tuple[Manifest | Leftover, ...]


def find_garbage(store: Store, older_than: float) -> Garbage:
    """Find what no run leads to.

    Args:
        store: Where to look; listing must be allowed.
        older_than: Seconds; whatever is younger is left, since work may be under way that needs it.

    Raises:
        BadInputError: A manifest or a pointer cannot be read, so that nobody knows what it keeps.
    """
    artifacts, leftovers = list(store.manifests()), list(store.leftovers())
    reached = _reached(artifacts, pointers(store))
    aged = ages(store, [manifest for manifest in artifacts if manifest.key not in reached])
    # Ages take their time: what a run began to point at meanwhile is kept, however old it is.
    reached = _reached(artifacts, pointers(store))
    aged = [(manifest, age) for manifest, age in aged if manifest.key not in reached]
    return Garbage(
        artifacts=tuple((manifest, age) for manifest, age in aged if age >= older_than),
        leftovers=tuple(leftover for leftover in leftovers if leftover.age >= older_than),
        kept=tuple(manifest for manifest in artifacts if manifest.key in reached),
        young=(
            *(manifest for manifest, age in aged if age < older_than),
            *(leftover for leftover in leftovers if leftover.age < older_than),
        ),
    )


def still_unneeded(store: Store, garbage: Garbage) -> Iterator[tuple[Manifest, float]]:
    """The artifacts of a collection, one at a time, each where no run began to point at it since.

    A run may adopt an old artifact while others are being deleted, so the pointers are read again before
    each, unless they were read a moment ago. What a run adopts within that moment it makes again.

    Raises:
        BadInputError: A pointer cannot be read any more.
    """
    artifacts = [*garbage.kept, *(manifest for manifest, _ in garbage.artifacts)]
    artifacts += [each for each in garbage.young if isinstance(each, Manifest)]
    reached, read = set[str](), float("-inf")
    for manifest, age in garbage.artifacts:
        if time.monotonic() - read > _BELIEVED_S:
            reached = _reached(artifacts, pointers(store))
            read = time.monotonic()
        if manifest.key not in reached:
            yield manifest, age


def still_left(store: Store, garbage: Garbage, older_than: float) -> Iterator[Leftover]:
    """The leftovers of a collection that nobody has taken up or published since."""
    if garbage.leftovers:
        found = {leftover.uri for leftover in store.leftovers() if leftover.age >= older_than}
        yield from (leftover for leftover in garbage.leftovers if leftover.uri in found)


def ages(store: Store, manifests: Sequence[Manifest]) -> list[tuple[Manifest, float]]:
    """Artifacts with their ages in seconds, asked for several at once: on S3 each is a request."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return list(zip(manifests, pool.map(store.age, manifests), strict=True))


def pointers(store: Store) -> dict[str, list[Mapping[str, Any]]]:
    """Run -> what its nodes made, each a manifest as plain JSON; and registered versions, which keep as much.

    Raises:
        BadInputError: A pointer or a version cannot be read, or names no key.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in store.runs():
        nodes = store.pointers(run)
        nodes.pop(RUN_DOCUMENT, None)
        for node, pointer in nodes.items():
            if not (isinstance(pointer, Mapping) and isinstance(pointer.get("key"), str)):
                raise BadInputError(
                    "the pointer names no artifact",
                    where=f"{store.root}/runs/{run}/{node}.json",
                    mend="Delete it",
                )
        found[run] = list(nodes.values())
    registry = Registry(store)
    for version in (version for model in registry.models() for version in registry.versions(model)):
        name = f"{version.model} version {version.number}"
        found[name] = [{"key": version.key, "parents": version.lineage}]
    return found


def size_of(held: Iterable[Manifest | Leftover]) -> int:
    """Bytes of artifacts and leftovers."""
    return sum(
        each.size if isinstance(each, Leftover) else sum(entry.size for entry in each.files) for each in held
    )


def _reached(artifacts: Iterable[Manifest], runs: Mapping[str, Iterable[Mapping[str, Any]]]) -> set[str]:
    parents = {manifest.key: list(manifest.parents.values()) for manifest in artifacts}
    waiting = []
    for pointer in (pointer for nodes in runs.values() for pointer in nodes):
        # The pointer's own list of parents counts as well: the artifact itself may be gone.
        waiting += [pointer["key"], *dict(pointer.get("parents") or {}).values()]
    reached: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in reached:
            reached.add(key)
            waiting += parents.get(key, [])
    return reached
