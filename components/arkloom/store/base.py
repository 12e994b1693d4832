"""The store's interface: what a stage and a runner may ask of it.

Layout: ``<root>/<stage>/<key>/{files, manifest.json}``; a run is only pointers,
``<root>/runs/<run-id>/<node>.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from arkloom.errors import BadInputError
from arkloom.store.manifest import Manifest


@dataclass(frozen=True)
class Artifact:
    """A published artifact and a local folder that holds its files, each of its manifest's size."""

    manifest: Manifest
    folder: Path

    @property
    def key(self) -> str:
        """Identity of the work that made it."""
        return self.manifest.key

    @property
    def absent(self) -> str | None:
        """The reason why there is nothing here, or None when there is something."""
        return (self.manifest.reason or "no reason given") if self.manifest.absent else None

    def file(self, name: str) -> Path:
        """A file of the artifact.

        Raises:
            BadInputError: The artifact has no such file.
        """
        path = self.folder / name
        if not path.exists():
            raise BadInputError(f"the artifact has no {name}", where=self.manifest.uri)
        return path


class Workspace(Protocol):
    """Where a stage writes. It survives a killed process: the next one with its key goes on in it."""

    @property
    def folder(self) -> Path:
        """Local folder; every file left in it (but for ``.partial/``) becomes part of the artifact."""

    @property
    def scratch(self) -> Path:
        """``folder/.partial``: checkpoints and half-done work, not published."""

    def checkpoint(self, *paths: Path) -> None:
        """Make files durable, so that a successor (on another node, too) finds them."""

    def publish(
        self,
        kind: str,
        *,
        parents: dict[str, Manifest],
        metrics: dict[str, Any],
        reason: str | None = None,
        seconds: float = 0.0,
    ) -> Manifest:
        """Publish the folder under its key; the loser of a race adopts the winner's manifest."""


class Store(Protocol):
    """Holds artifacts and run pointers."""

    @property
    def root(self) -> str:
        """The root's uri."""

    def find(self, stage: str, key: str) -> Manifest | None:
        """The manifest of a published artifact, or None."""

    def open(self, uri: str) -> Artifact:
        """Fetch an artifact by its uri (verifies sizes; ``verify`` checks digests as well).

        Raises:
            BadInputError: Nothing is published there, or a file is missing or changed.
        """

    def verify(self, manifest: Manifest) -> list[str]:
        """Every file that is missing or whose bytes changed, one line each."""

    def workspace(self, stage: str, key: str) -> Workspace:
        """Begin, or go on with, the work of one key."""

    def point(self, run: str, node: str, value: dict[str, Any]) -> None:
        """Record under a run what a node made (or the run's own document, node ``run``)."""

    def pointers(self, run: str) -> dict[str, dict[str, Any]]:
        """Everything recorded under a run, by node."""

    def runs(self) -> list[str]:
        """Ids of all runs, oldest first."""


def open_store(root: str) -> Store:
    """The store at a folder, ``file:///folder`` or (where built) another scheme.

    Raises:
        BadInputError: The scheme is not supported.
    """
    from arkloom.store.local import LocalStore, path_of  # noqa: PLC0415 - breaks the cycle interface <-> implementation

    scheme, sign, _ = root.partition("://")
    if not sign:
        return LocalStore(Path(root))
    if scheme == "file":
        return LocalStore(path_of(root))
    raise BadInputError(
        f"no store for {scheme}://", where=f"store.root {root}", mend="Use a folder or file://"
    )
