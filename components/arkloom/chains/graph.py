"""A chain as data: nodes, what they read, and the overrides that make two nodes of a stage differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from arkloom.canonical import digest
from arkloom.errors import ArkloomError

RUN_DOCUMENT = "run"  # the pointer, beside one a node, that describes the run itself


@dataclass(frozen=True)
class Node:
    """One run of a stage within a chain.

    Attributes:
        name: Unique in its chain; a DNS label, since it also names Jobs and pods.
        stage: The stage that does the work.
        inputs: Port -> name of the node whose artifact is read there.
        overrides: ``a.b=c`` assignments on top of the run's configuration.
    """

    name: str
    stage: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    overrides: Sequence[str] = ()


Chain = tuple[Node, ...]


def ordered(nodes: Iterable[Node]) -> Chain:
    """The nodes, parents before children, otherwise as declared.

    Raises:
        ArkloomError: A name is used twice, a parent is missing, or the edges form a circle.
    """
    waiting = list(nodes)
    names = [node.name for node in waiting]
    for node in waiting:
        if names.count(node.name) > 1:
            raise ArkloomError(f"two nodes are named {node.name!r}", where="chain")
        for parent in node.inputs.values():
            if parent not in names:
                raise ArkloomError(
                    f"node {node.name!r} reads {parent!r}, which does not exist", where="chain"
                )
    done: list[Node] = []
    while waiting:
        ready = [node for node in waiting if set(node.inputs.values()) <= {n.name for n in done}]
        if not ready:
            raise ArkloomError(
                f"nodes wait for each other: {', '.join(n.name for n in waiting)}", where="chain"
            )
        done.append(ready[0])
        waiting.remove(ready[0])
    return tuple(done)


def edges(nodes: Iterable[Node]) -> Iterator[tuple[str, str, str]]:
    """Every edge as (parent, child, port)."""
    for node in nodes:
        for port, parent in node.inputs.items():
            yield parent, node.name, port


def fingerprint(chain: Iterable[Node]) -> str:
    """Digest of a chain: equal where the same nodes read the same and are set alike."""
    return digest([[node.name, node.stage, dict(node.inputs), list(node.overrides)] for node in chain])


def ancestors(node: Node, chain: Iterable[Node]) -> set[str]:
    """Names of all nodes that a node depends on, directly or not."""
    by_name = {other.name: other for other in chain}
    found: set[str] = set()
    waiting = list(node.inputs.values())
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].inputs.values()
    return found
