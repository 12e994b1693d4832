"""The store's interface: what a stage and a runner may ask of it.

Layout: ``<root>/<stage>/<key>/{files, manifest.json}`` (on S3 the files lie in a folder of their writer's);
work in progress is below ``<root>/.work/``; a run is only pointers, ``<root>/runs/<run-id>/<node>.json``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from arkloom.errors import BadInputError
from arkloom.sections import StoreConfig
from arkloom.store.manifest import Manifest
from arkloom.telemetry.progress import Progress


@dataclass(frozen=True)
class Artifact:
    """A published artifact and a local folder that holds its files, each with its manifest's bytes."""

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
        """Make files and folders durable, so that a successor (on another node, too) finds them.

        A successor's workspace holds all that was ever given here and was still there at the last
        call; what was deleted since is forgotten.
        """

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


@dataclass(frozen=True)
class Leftover:
    """Files that belong to no artifact: where, bytes in all, and seconds since they were last written."""

    uri: str
    size: int
    age: float


class Store(Protocol):
    """Holds artifacts and run pointers."""

    @property
    def root(self) -> str:
        """The root's uri."""

    def find(self, stage: str, key: str) -> Manifest | None:
        """The manifest of a published artifact, or None."""

    def manifest(self, uri: str) -> Manifest:
        """The manifest at a uri; no file is fetched.

        Raises:
            BadInputError: Nothing is published there.
        """

    def open(self, uri: str) -> Artifact:
        """Fetch an artifact by its uri; size and sha256 of every file are verified.

        Raises:
            BadInputError: Nothing is published there, or a file is missing or changed.
        """

    def verify(self, manifest: Manifest) -> list[str]:
        """Every file that is missing or whose bytes changed in the store itself, one line each."""

    def manifests(self, stage: str = "", key: str = "") -> Iterator[Manifest]:
        """Every published artifact, of one stage or of keys that begin so, sorted by stage and key.

        Raises:
            BadInputError: The policy allows no listing.
        """

    def age(self, manifest: Manifest) -> float:
        """Seconds since an artifact was published (its manifest's, by the store's own clock)."""

    def leftovers(self) -> Iterator[Leftover]:
        """What no manifest names: work in progress, and files of writers that died or lost a race."""

    def delete(self, manifest: Manifest) -> None:
        """Delete an artifact, its manifest first, so that no reader meets a half of it."""

    def discard(self, leftover: Leftover) -> None:
        """Delete a leftover."""

    def workspace(self, stage: str, key: str) -> Workspace:
        """Begin, or go on with, the work of one key."""

    def document(self, *path: str) -> bytes | None:
        """One small file below the root, whole and alone, or None where there is none."""

    def write_once(self, content: bytes, *path: str) -> bool:
        """Write a small file below the root that must not be there yet; False where it is."""

    def documents(self, *path: str) -> list[str]:
        """Names of the files and folders right below a folder, sorted; none where there is no folder.

        Raises:
            BadInputError: The policy allows no listing.
        """

    def point(self, run: str, node: str, value: dict[str, Any]) -> None:
        """Record under a run what a node made (or the run's own document, node ``run``)."""

    def pointer(self, run: str, node: str) -> dict[str, Any] | None:
        """What was recorded under a run for one node, or None; needs no listing."""

    def pointers(self, run: str) -> dict[str, dict[str, Any]]:
        """Everything recorded under a run, by node."""

    def runs(self) -> list[str]:
        """Ids of all runs, oldest first."""


def open_store(
    settings: StoreConfig | str, progress: Progress | None = None, stop: threading.Event | None = None
) -> Store:
    """The store at a folder, ``file:///folder`` or ``s3://bucket/prefix``.

    Args:
        settings: The section ``store`` of a configuration, or its root alone.
        progress: Told of bytes on their way.
        stop: Set when the process was told to stop: a server that fails is then waited for no longer, and
            the call ends in a ``ResumeError``.

    Raises:
        BadInputError: The scheme is not supported, or the root or the endpoint cannot be read.
    """
    from arkloom.store.local import LocalStore, path_of  # noqa: PLC0415 - breaks the cycle interface <-> implementation

    given = StoreConfig(root=settings) if isinstance(settings, str) else settings
    root = given.root
    scheme, sign, _ = root.partition("://")
    if not sign:
        return LocalStore(Path(root))
    if scheme == "file":
        return LocalStore(path_of(root))
    if scheme == "s3":
        from arkloom.store.s3 import S3Store  # noqa: PLC0415 - the same

        return S3Store(given, progress, stop)
    raise BadInputError(
        f"no store for {scheme}://", where=f"store.root {root}", mend="Use a folder, file:// or s3://"
    )
