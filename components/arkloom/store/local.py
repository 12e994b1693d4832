"""The store on a local folder. An artifact appears whole, by one rename, or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from arkloom.canonical import digest_file
from arkloom.errors import ArkloomError, BadInputError
from arkloom.jsonl import parse
from arkloom.store.base import Artifact, Leftover
from arkloom.store.manifest import FileEntry, Manifest

MANIFEST = "manifest.json"
PARTIAL = ".partial"
WORK = ".work"
RUNS = "runs"


class LocalStore:
    """Artifacts under a folder (see ``Store``)."""

    def __init__(self, root: Path) -> None:
        self.path = root.expanduser().absolute()

    @property
    def root(self) -> str:
        """The root's uri."""
        return self.path.as_uri()

    def find(self, stage: str, key: str) -> Manifest | None:
        """The manifest of a published artifact, or None."""
        path = self.path / stage / key / MANIFEST
        return _here(read_manifest(path), path.parent) if path.exists() else None

    def manifest(self, uri: str) -> Manifest:
        """The manifest at a uri, folder or manifest file."""
        if "://" in uri and not uri.startswith("file://"):
            raise BadInputError("not in this store", where=uri, mend="Give its root as store.root")
        folder = path_of(uri)
        folder = folder.parent if folder.name == MANIFEST else folder
        path = folder / MANIFEST
        if not path.exists():
            raise BadInputError("no artifact here (no manifest.json)", where=str(folder))
        return _here(read_manifest(path), folder)

    def open(self, uri: str) -> Artifact:
        """An artifact by uri, folder or manifest file; size and sha256 of every file are verified."""
        manifest = self.manifest(uri)
        folder = _files(manifest)
        for entry in manifest.files:
            if fault := _fault(folder / entry.path, entry):
                mend = f"Delete {folder} and run again"
                raise BadInputError(f"{fault} its manifest says", where=str(folder / entry.path), mend=mend)
        return Artifact(manifest=manifest, folder=folder)

    def verify(self, manifest: Manifest) -> list[str]:
        """Every file that is missing or whose bytes changed, one line each."""
        folder = _files(manifest)
        faults = ((folder / entry.path, _fault(folder / entry.path, entry)) for entry in manifest.files)
        return [f"{file}: {fault} its manifest says" for file, fault in faults if fault]

    def manifests(self, stage: str = "", key: str = "") -> Iterator[Manifest]:
        """Every published artifact, sorted by stage and key."""
        folders = sorted(self.path.glob("*/*"), key=lambda f: (f.parent.name, f.name))
        for folder in folders:
            name = folder.parent.name
            wanted = name != RUNS and not name.startswith(".") and stage in {"", name}
            if wanted and folder.name.startswith(key) and (folder / MANIFEST).is_file():
                yield _here(read_manifest(folder / MANIFEST), folder)

    def leftovers(self) -> Iterator[Leftover]:
        """Work in progress, but for a live process's, and what was half deleted.

        Nothing else: any other folder without a manifest was never ours.
        """
        for folder in sorted((self.path / WORK).glob("*")):
            if not folder.is_dir() or folder.is_symlink() or _alive(folder):
                continue
            found = list(_stats(folder))
            if found:  # else it was published or deleted meanwhile
                size = sum(one.st_size for one in found if S_ISREG(one.st_mode))
                newest = max(one.st_mtime for one in found)
                yield Leftover(folder.as_uri(), size, max(0.0, time.time() - newest))

    def delete(self, manifest: Manifest) -> None:
        """Delete an artifact; by one rename, so that a half of it stands in nobody's way."""
        folder, base = path_of(manifest.uri), self.path / WORK
        try:
            base.mkdir(exist_ok=True)
            doomed = Path(tempfile.mkdtemp(prefix=f"{folder.parent.name}-{folder.name}.", dir=base))
            shutil.rmtree(folder.rename(doomed))
        except OSError as error:
            raise disk_error(error, folder) from error

    def discard(self, leftover: Leftover) -> None:
        """Delete a leftover and its lock, unless a process has taken it up."""
        folder = path_of(leftover.uri)
        if _alive(folder):
            return
        try:
            shutil.rmtree(folder)
            folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error

    def age(self, manifest: Manifest) -> float:
        """Seconds since an artifact was published."""
        try:
            return max(0.0, time.time() - (path_of(manifest.uri) / MANIFEST).stat().st_mtime)
        except OSError:  # it was deleted meanwhile
            return 0.0

    def workspace(self, stage: str, key: str) -> LocalWorkspace:
        """Begin, or go on with, the work of one key; a second live writer gets a folder of its own."""
        return LocalWorkspace(self, stage, key)

    def document(self, *path: str) -> bytes | None:
        """One small file below the root, or None."""
        file = self.path.joinpath(*path)
        return file.read_bytes() if file.is_file() else None

    def write_once(self, content: bytes, *path: str) -> bool:
        """Write a small file that must not be there yet: a link refuses a name that is taken."""
        file = self.path.joinpath(*path)
        half = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with half.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(half, file)
        except FileExistsError:
            return False
        except OSError as error:
            raise disk_error(error, file) from error
        finally:
            half.unlink(missing_ok=True)
        return True

    def documents(self, *path: str) -> list[str]:
        """Names of the files and folders right below a folder, sorted."""
        folder = self.path.joinpath(*path)
        return sorted(entry.name for entry in folder.glob("*") if not entry.name.startswith("."))

    def point(self, run: str, node: str, value: dict[str, Any]) -> None:
        """Record under a run what a node made."""
        write_atomic(self.path / RUNS / run / f"{node}.json", json.dumps(value, indent=1, sort_keys=True))

    def pointer(self, run: str, node: str) -> dict[str, Any] | None:
        """What one node of a run made, or None."""
        file = self.path / RUNS / run / f"{node}.json"
        return parse_pointer(file.read_bytes(), str(file)) if file.exists() else None

    def pointers(self, run: str) -> dict[str, dict[str, Any]]:
        """Everything recorded under a run, by node."""
        folder = self.path / RUNS / run
        files = sorted(folder.glob("*.json"))
        return {file.stem: parse_pointer(file.read_bytes(), str(file)) for file in files}

    def runs(self) -> list[str]:
        """Ids of all runs, oldest first."""
        folders = [f for f in (self.path / RUNS).glob("*") if f.is_dir()]
        return [f.name for f in sorted(folders, key=lambda f: f.stat().st_mtime)]


class LocalWorkspace:
    """A folder beside the artifacts that becomes one by a rename (see ``Workspace``)."""

    def __init__(self, store: LocalStore, stage: str, key: str) -> None:
        self._store, self._stage, self._key = store, stage, key
        base = store.path / WORK
        try:
            self._lock, self._folder = claim(base, f"{stage}-{key}")
            self.scratch.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, base) from error

    @property
    def folder(self) -> Path:
        """Local folder of the work in progress."""
        return self._folder

    @property
    def scratch(self) -> Path:
        """Checkpoints and half-done work, not published."""
        return self._folder / PARTIAL

    def checkpoint(self, *paths: Path) -> None:
        """Flush files to the disk."""
        for given in paths:
            for path in [*given.rglob("*"), given] if given.is_dir() else [given]:
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def publish(
        self,
        kind: str,
        *,
        parents: dict[str, Manifest],
        metrics: dict[str, Any],
        reason: str | None = None,
        seconds: float = 0.0,
    ) -> Manifest:
        """Digest the files, write the manifest last, and rename the folder into place."""
        final = self._store.path / self._stage / self._key
        manifest = Manifest.of(
            parents,
            uri=final.as_uri(),
            stage=self._stage,
            key=self._key,
            kind=kind,
            files=tuple(_entry(self._folder, path) for path in inside(self._folder)),
            metrics=metrics,
            reason=reason,
            seconds=seconds,
        )
        write_atomic(self._folder / MANIFEST, manifest.model_dump_json(by_alias=True, indent=1))
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self.scratch, ignore_errors=True)  # only now: until here a killed process goes on
            self._folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise disk_error(error, final) from error
            winner = self._store.find(self._stage, self._key)
            if winner is None:
                raise ArkloomError(
                    "a folder without manifest is in the way", where=str(final), mend="Delete it"
                ) from error
            shutil.rmtree(self._folder, ignore_errors=True)
            manifest = winner
        self._lock.close()
        return manifest


def path_of(uri: str) -> Path:
    """The folder that a ``file://`` uri, or a plain path, names."""
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)


def _files(manifest: Manifest) -> Path:
    """Where an artifact's files are; one that was copied from S3 has them in its writer's folder."""
    return path_of(manifest.uri) / manifest.folder


def _here(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest as found: a store that was moved keeps its artifacts."""
    return manifest.model_copy(update={"uri": folder.absolute().as_uri()})


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        BadInputError: It is not JSON or not a manifest.
    """
    return parse_manifest(path.read_bytes(), str(path))


def parse_manifest(content: bytes, where: str) -> Manifest:
    """A manifest from its JSON.

    Raises:
        BadInputError: It is not JSON or not a manifest.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(
            f"not a manifest ({first['msg']})", where=where, mend="Delete the folder and run again"
        ) from error


def parse_pointer(content: bytes, where: str) -> dict[str, Any]:
    """What a node of a run made, from its JSON.

    Raises:
        BadInputError: It is not an object of JSON.
    """
    try:
        found = parse(content.decode())
    except ValueError as error:
        raise BadInputError(f"not JSON ({error})", where=where, mend="Delete it and run again") from error
    if not isinstance(found, dict):
        raise BadInputError("not an object of JSON", where=where, mend="Delete it and run again")
    return found


def claim(base: Path, name: str) -> tuple[IO[str], Path]:
    """A folder below ``base`` to work in, held by a lock while its stream is open.

    It is ``base/name``; while a live process holds that, one of our own, to race it.

    Raises:
        ArkloomError: The disk is full or not writable.
    """
    try:
        base.mkdir(parents=True, exist_ok=True)
        lock = (base / f"{name}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            folder = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=base))
            lock = (base / f"{folder.name}.lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            return lock, folder
        return lock, base / name
    except OSError as error:
        raise disk_error(error, base) from error


def write_atomic(path: Path, text: str) -> None:
    """Write a small file so that readers see the old text or the new, never a half."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
        ) as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(stream.name).replace(path)
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, where: Path) -> ArkloomError:
    """One clear line for what the file system said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ArkloomError(
            "the disk is full", where=str(where), mend="Free space and run the same command: it resumes"
        )
    return ArkloomError(
        f"cannot write ({error.strerror})", where=str(where), mend="Check the folder and its rights"
    )


def inside(folder: Path) -> list[str]:
    """Names of the files that are to be published, relative to their folder, sorted.

    Hidden files are half-written ones that a killed process left behind, and the scratch folder.
    """
    files = [f.relative_to(folder) for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST]
    return [f.as_posix() for f in sorted(files) if not any(part.startswith(".") for part in f.parts)]


def _entry(folder: Path, path: str) -> FileEntry:
    file = folder / path
    return FileEntry(path=path, sha256=digest_file(file), size=file.stat().st_size)


def _fault(file: Path, entry: FileEntry) -> str:
    """What is wrong with a file, as the beginning of "… its manifest says"; "" where nothing is."""
    if not file.is_file() or file.stat().st_size != entry.size:
        return "file is missing or has another size than"
    return "" if digest_file(file) == entry.sha256 else "bytes differ from what"


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """What is known of a folder and all below it; what vanishes meanwhile is passed over."""
    for parent, _, names in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in names)):  # noqa: PTH118 - names only
            with suppress(OSError):
                yield os.lstat(path)


def _alive(folder: Path) -> bool:
    """Whether a live process works in a folder."""
    lock = folder.with_name(f"{folder.name}.lock")
    if not lock.exists():
        return False
    with lock.open("r") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
