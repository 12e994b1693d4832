"""The store on S3. An artifact appears with its manifest, written last and only once.

Layout: ``<root>/<stage>/<key>/manifest.json``, the files in ``<root>/<stage>/<key>/<attempt>/``, an
attempt being one writer's; work in progress in ``<root>/.work/<stage>-<key>/``; runs in ``<root>/runs``.
Local copies live under ``<cache>/<host>/<bucket>/<root>/`` and are verified whenever they are opened.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from arkloom.errors import BadInputError
from arkloom.sections import StoreConfig
from arkloom.store.base import Artifact, Leftover, Workspace
from arkloom.store.client import Bucket, Stored
from arkloom.store.local import MANIFEST, RUNS, WORK, LocalStore, inside, parse_manifest, parse_pointer
from arkloom.store.manifest import FileEntry, Manifest
from arkloom.store.refusals import DeniedError
from arkloom.store.transfers import Transfers
from arkloom.telemetry.progress import Progress

CACHE = "ARKLOOM_CACHE"
_MARKER = ".arkloom"
_ATTEMPT = re.compile(r"[0-9a-f]{8}")  # a writer's folder, as its workspace names it


class S3Store:
    """Artifacts under ``s3://bucket/prefix`` (see ``Store``).

    Args:
        settings: The section ``store`` of a configuration; its root is ``s3://bucket[/prefix]``.
        progress: Told of bytes on their way.
        stop: Set when the process was told to stop: what is being repeated is then given up.

    Raises:
        BadInputError: The root or the endpoint cannot be read.
    """

    def __init__(
        self, settings: StoreConfig, progress: Progress | None = None, stop: threading.Event | None = None
    ) -> None:
        bucket, self.prefix = split(settings.root)
        self._settings, self._progress, self._stop = settings, progress, stop
        self.bucket = Bucket(settings, bucket, stop=stop)
        self.transfers = Transfers(self.bucket, settings.transfers, progress)
        base = settings.cache or os.environ.get(CACHE) or "~/.cache/arkloom"
        host = self.bucket.host.replace(":", "_")
        self.cache = Path(base).expanduser().absolute() / host / bucket / self.prefix
        self._reads: bool | None = None

    @property
    def root(self) -> str:
        """The root's uri."""
        return f"s3://{self.bucket.name}/{self.prefix}".rstrip("/")

    def name(self, *parts: str) -> str:
        """The object's name of a path below the root."""
        return "/".join((self.prefix, *parts) if self.prefix else parts)

    def find(self, stage: str, key: str) -> Manifest | None:
        """The manifest of a published artifact, or None."""
        name = self.name(stage, key, MANIFEST)
        content = self.read(name)
        if content is None:
            return None
        manifest = parse_manifest(content, self.bucket.uri(name))
        return manifest.model_copy(update={"uri": f"{self.root}/{stage}/{key}"})

    def manifest(self, uri: str) -> Manifest:
        """The manifest at a uri."""
        root, stage, key = _place(uri)
        store = self if root == self.root else self._at(root)
        found = store.find(stage, key)
        if found is None:
            raise BadInputError("no artifact here (no manifest.json)", where=uri)
        return found

    def open(self, uri: str) -> Artifact:
        """Fetch an artifact; what is here already is verified, what is damaged is fetched again."""
        root, stage, key = _place(uri)
        if root != self.root:
            return self._at(root).open(uri)
        manifest = self.manifest(uri)
        folder = self.cache / stage / key
        self.transfers.down(folder, self.objects(manifest))
        # Stages look for files by pattern: what an artifact of this key once had must not lie about.
        for stray in set(inside(folder)) - {entry.path for entry in manifest.files}:
            (folder / stray).unlink(missing_ok=True)
        return Artifact(manifest=manifest, folder=folder)

    def verify(self, manifest: Manifest) -> list[str]:
        """Every object that is missing or whose bytes changed, one line each."""
        return self.transfers.check(self.objects(manifest))

    def manifests(self, stage: str = "", key: str = "") -> Iterator[Manifest]:
        """Every published artifact, sorted by stage and key."""
        top = self.name("")
        stages = [stage] if stage else sorted(self.bucket.folders(top))
        for name in stages:
            if name == RUNS or name.startswith("."):
                continue
            keys = [
                found for found in sorted(self.bucket.folders(self.name(name, ""))) if found.startswith(key)
            ]
            for start in range(0, len(keys), 256):
                batch = keys[start : start + 256]
                found = self.transfers.each(partial(self.find, name), batch)
                yield from (manifest for manifest in found if manifest is not None)

    def age(self, manifest: Manifest) -> float:
        """Seconds since an artifact was published."""
        found = self.bucket.stat(self.name(manifest.stage, manifest.key, MANIFEST))
        return found.age if found is not None else 0.0

    def leftovers(self) -> Iterator[Leftover]:
        """Attempts that no manifest names, and work in progress, here and in this machine's cache."""
        groups = defaultdict[str, list[Stored]](list)
        needed = set[str]()
        top = len(self.name(""))
        for stored in self.bucket.names(self.name("")):
            parts = stored.name[top:].split("/")
            if parts[0] == WORK and len(parts) > 2:
                groups["/".join(parts[:2])].append(stored)
            elif len(parts) > 3 and parts[0] != RUNS and _ATTEMPT.fullmatch(parts[2]):
                groups["/".join(parts[:3])].append(stored)
                if parts[3] == MANIFEST:  # a key of someone's store below this one
                    needed.add("/".join(parts[:3]))
        for manifest in self.manifests():  # one that was copied from a folder has no attempt
            needed |= {"/".join(name[top:].split("/")[:3]) for _, name in self.objects(manifest)}
        for group, objects in sorted(groups.items()):
            if group not in needed:
                size = sum(stored.size for stored in objects)
                yield Leftover(f"{self.root}/{group}", size, min(stored.age for stored in objects))
        yield from LocalStore(self.cache).leftovers()

    def delete(self, manifest: Manifest) -> None:
        """Delete an artifact, its manifest first, and the local copy."""
        self.bucket.remove([self.name(manifest.stage, manifest.key, MANIFEST)])
        self.bucket.remove([name for _, name in self.objects(manifest)])
        shutil.rmtree(self.cache / manifest.stage / manifest.key, ignore_errors=True)

    def discard(self, leftover: Leftover) -> None:
        """Delete a leftover."""
        if leftover.uri.startswith("file://"):
            LocalStore(self.cache).discard(leftover)
            return
        inside = leftover.uri.removeprefix(f"{self.root}/")
        self.bucket.remove(stored.name for stored in self.bucket.names(f"{self.name(inside)}/"))

    def workspace(self, stage: str, key: str) -> Workspace:
        """Begin, or go on with, the work of one key."""
        from arkloom.store.s3_workspace import S3Workspace  # noqa: PLC0415 - it is built on this module

        return S3Workspace(self, stage, key)

    def document(self, *path: str) -> bytes | None:
        """One small file below the root, or None."""
        return self.read(self.name(*path))

    def write_once(self, content: bytes, *path: str) -> bool:
        """Write a small file that must not be there yet."""
        return self.bucket.put_once(self.name(*path), content)

    def documents(self, *path: str) -> list[str]:
        """Names of the files and folders right below a folder, sorted."""
        top = self.name(*path, "")
        return sorted({stored.name[len(top) :].partition("/")[0] for stored in self.bucket.names(top)})

    def point(self, run: str, node: str, value: dict[str, Any]) -> None:
        """Record under a run what a node made."""
        text = json.dumps(value, indent=1, sort_keys=True)
        self.bucket.put(self.name(RUNS, run, f"{node}.json"), text.encode())

    def pointer(self, run: str, node: str) -> dict[str, Any] | None:
        """What one node of a run made, or None."""
        name = self.name(RUNS, run, f"{node}.json")
        content = self.read(name)
        return None if content is None else parse_pointer(content, name)

    def pointers(self, run: str) -> dict[str, dict[str, Any]]:
        """Everything recorded under a run, by node."""
        nodes = sorted(PurePosixPath(o.name).stem for o in self.bucket.names(f"{self.name(RUNS, run)}/"))
        found = self.transfers.each(lambda node: self.pointer(run, node), nodes)
        return {node: value for node, value in zip(nodes, found, strict=True) if value is not None}

    def runs(self) -> list[str]:
        """Ids of all runs, oldest first."""
        last: dict[str, float] = {}
        top = self.name(RUNS, "")
        for stored in self.bucket.names(top):
            run = stored.name[len(top) :].partition("/")[0]
            last[run] = max(last.get(run, 0.0), stored.written.timestamp())
        return sorted(last, key=lambda run: (last[run], run))

    def read(self, name: str) -> bytes | None:
        """A small object, or None where there is none.

        Where listing is forbidden, S3 answers "denied" for what does not exist. Whether it means that is
        found out once, by an object that does exist.
        """
        try:
            return self.bucket.get(name)
        except DeniedError as error:
            if self._reads is None:
                self._reads = self._may_read()
            if self._reads:
                return None
            raise BadInputError(
                "access is denied",
                where=self.bucket.uri(name),
                mend="The policy must allow s3:GetObject and s3:PutObject on this prefix",
            ) from error

    def _may_read(self) -> bool:
        marker = self.name(_MARKER)
        try:
            return self.bucket.get(marker) is not None
        except DeniedError:
            self.bucket.put(marker, b"Says that this prefix may be read.\n")
        try:
            return self.bucket.get(marker) is not None
        except DeniedError:
            return False

    def objects(self, manifest: Manifest) -> list[tuple[FileEntry, str]]:
        """The files of an artifact with the names of their objects."""
        parts = (manifest.stage, manifest.key, manifest.folder)
        base = self.name(*(part for part in parts if part))
        return [(entry, f"{base}/{entry.path}") for entry in manifest.files]

    def _at(self, root: str) -> S3Store:
        return S3Store(self._settings.model_copy(update={"root": root}), self._progress, self._stop)


def split(root: str) -> tuple[str, str]:
    """Bucket and prefix (without slashes at its ends, may be empty) of ``s3://bucket/prefix``.

    Raises:
        BadInputError: There is no bucket, or the prefix is no clean path.
    """
    parts = urlsplit(root)
    prefix = parts.path.strip("/")
    clean = not any(part in {"", ".", ".."} for part in prefix.split("/")) if prefix else True
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or not clean:
        raise BadInputError("no root of an S3 store", where=root, mend="Write s3://bucket/prefix")
    return parts.netloc, prefix


def _place(uri: str) -> tuple[str, str, str]:
    """Root, stage and key of an artifact's uri (or its manifest's)."""
    bucket, path = split(uri)
    parts = path.removesuffix(f"/{MANIFEST}").split("/")
    if len(parts) < 2:
        raise BadInputError("no artifact's uri", where=uri, mend="Write s3://bucket/prefix/stage/key")
    return "/".join((f"s3://{bucket}", *parts[:-2])), parts[-2], parts[-1]
