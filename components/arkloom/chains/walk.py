"""The walk over a chain, wherever its nodes are worked on: this machine, or Jobs of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from arkloom.chains.board import Board
from arkloom.chains.graph import Chain, Node
from arkloom.store import Manifest


class Work(Protocol):
    """A node under way."""

    @property
    def node(self) -> Node:
        """The node."""

    def made(self) -> Manifest | None:
        """The node's artifact once the work has ended, None before.

        Raises:
            ArkloomError: The work failed; bad input and early stops each have their kind.
        """

    def waits(self) -> str | None:
        """What keeps it from going on, where that is news; None otherwise."""


W = TypeVar("W", bound=Work)


class Site(Protocol[W]):
    """Where nodes are worked on."""

    def check(self) -> None:
        """Raise when the run must end here.

        Raises:
            ResumeError: It was told to stop, or a limit is reached.
        """

    def start(self, node: Node, done: Mapping[str, Manifest]) -> W:
        """Begin a node whose parents are ``done``, or take up what has begun already."""

    def pause(self) -> None:
        """Return when it is time to look again."""

    def leave(self, works: Sequence[W], error: BaseException) -> None:
        """The walk ends with ``error``: decide what becomes of the work under way."""


def walk(chain: Chain, site: Site[W], board: Board, parallel: int) -> dict[str, Manifest]:
    """Work on every node, parents first and at most ``parallel`` at once; returns the manifests by node.

    Raises:
        ArkloomError: What a node's work or the site's check raised, after ``site.leave``.
    """
    waiting, running, done = list(chain), list[W](), dict[str, Manifest]()
    try:
        while waiting or running:
            site.check()
            for node in _startable(waiting, parallel - len(running), done):
                waiting.remove(node)
                running.append(site.start(node, done))
                board.start(node.name)
            ended = _ended(running)
            for work, manifest in ended:
                running.remove(work)
                done[work.node.name] = manifest
                board.finish(work.node.name, manifest)
            for work in running:
                if (what := work.waits()) is not None:
                    board.wait(work.node.name, what)
            board.refresh()
            if not ended:  # else others may start at once
                site.pause()
    except BaseException as error:
        site.leave(running, error)
        raise
    return done


def _startable(waiting: Sequence[Node], free: int, done: Mapping[str, Manifest]) -> list[Node]:
    return [node for node in waiting if set(node.inputs.values()) <= set(done)][: max(free, 0)]


def _ended(running: Sequence[W]) -> list[tuple[W, Manifest]]:
    looked = [(work, work.made()) for work in running]
    return [(work, manifest) for work, manifest in looked if manifest is not None]
