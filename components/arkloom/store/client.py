"""One bucket of an S3 server: the few requests that the store is made of, patient and explained.

Every call is one that a policy on a prefix can allow: no bucket is looked up, no location asked for,
and nothing is listed but by ``names`` and ``folders``.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

import certifi
import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError

from arkloom.errors import BadInputError
from arkloom.sections import StoreConfig
from arkloom.store.connections import Connections
from arkloom.store.credentials import credentials
from arkloom.store.patience import Notices, Patience, pause, wait_unless
from arkloom.store.refusals import DENIED, NOT_THERE, PASSING, DeniedError, code, explain, given_up

ENDPOINT = "ARKLOOM_S3_ENDPOINT"
PART = 16 << 20  # bytes: a file up to this size is one request, a larger one is sent in parts
_AMAZON = "https://s3.amazonaws.com"
_CHUNK = 1 << 20
_CONNECT_S, _READ_S = 10.0, 60.0
_MOST_PARTS = 10_000
_DIGEST = "sha256"  # sent as x-amz-meta-sha256

T = TypeVar("T")
Told = Callable[[int], None]


@dataclass(frozen=True)
class Stored:
    """An object: its name, bytes, when it was last written, and its sha256 where that is known."""

    name: str
    size: int
    written: datetime
    sha256: str = ""

    @property
    def age(self) -> float:
        """Seconds since it was written."""
        return max(0.0, time.time() - self.written.timestamp())


def _address(endpoint: str) -> SplitResult:
    """The parts of a server's address; a fault is told without what may be a secret in it."""
    if "://" not in endpoint:
        bare = endpoint.rpartition("@")[2]
        raise BadInputError(
            "neither http:// nor https:// before it",
            where=f"the S3 endpoint {bare}",
            mend=f"Write http://{bare}, or https:// where it speaks TLS",
        )
    parts = urlsplit(endpoint)
    if parts.username or parts.password:
        raise BadInputError(
            "credentials do not belong there", where="the S3 endpoint", mend="See arkloom.store.credentials"
        )
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
        raise BadInputError("no address of an S3 server", where=endpoint, mend="Write http(s)://host:port")
    return parts


class Bucket:
    """One bucket of an S3 server.

    Args:
        settings: Where the server is and how patient to be.
        name: The bucket.
        answer_s: Seconds that one answer may take before it is asked for again; None for as many as a
            busy server needs.
        stop: Set when the process was told to stop: what is being repeated is then given up.

    Raises:
        BadInputError: The endpoint cannot be read.
    """

    def __init__(
        self,
        settings: StoreConfig,
        name: str,
        answer_s: float | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.name, self._patience, self._stop = name, settings.patience, stop
        self._notices = Notices(settings.patience)
        self.endpoint = settings.endpoint or os.environ.get(ENDPOINT) or _AMAZON
        parts = _address(self.endpoint)
        if settings.ca_file is not None and not Path(settings.ca_file).is_file():
            raise BadInputError("no such file", where=f"store.ca_file {settings.ca_file}")
        self.host = parts.netloc
        self._http = Connections(
            num_pools=4,
            maxsize=2 * settings.transfers,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=answer_s or _READ_S),
            retries=Patience(settings.patience, self._notices, stop=stop),
            cert_reqs="CERT_REQUIRED",
            ca_certs=settings.ca_file or os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        try:
            self._minio = Minio(
                parts.netloc,
                secure=parts.scheme == "https",
                region=settings.region,
                http_client=self._http,
                credentials=credentials(),
            )
        except ValueError as error:
            raise BadInputError(f"no S3 server ({error})", where=self.endpoint) from error
        if settings.path_style is True:
            self._minio.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        elif settings.path_style is False:
            self._minio.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]

    def uri(self, name: str) -> str:
        """``s3://bucket/name``."""
        return f"s3://{self.name}/{name}"

    def get(self, name: str) -> bytes | None:
        """A small object whole, or None where the server says that there is none.

        Raises:
            DeniedError: Reading it is denied; where listing is forbidden, S3 says so of objects that do
                not exist, too.
            ArkloomError: Anything else.
        """

        def read() -> bytes:
            response = self._minio.get_object(self.name, name)
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

        return self._try(read, name, absent=True)

    def stat(self, name: str) -> Stored | None:
        """What is known of an object, or None: not there, or reading is denied."""
        try:
            found = self._try(lambda: self._minio.stat_object(self.name, name), name, absent=True)
        except DeniedError:
            return None
        if found is None:
            return None
        sha256 = (found.metadata or {}).get(f"x-amz-meta-{_DIGEST}", "")
        return Stored(name, found.size or 0, found.last_modified or datetime.now(UTC), sha256)

    def put(self, name: str, content: bytes) -> None:
        """Write a small object."""
        self._try(lambda: self._minio.put_object(self.name, name, io.BytesIO(content), len(content)), name)

    def put_once(self, name: str, content: bytes) -> bool:
        """Write a small object that must not exist yet; False where it does.

        The header goes with a presigned request: given as metadata it would silently become
        ``x-amz-meta-if-none-match`` and protect nothing.
        """

        def write() -> int:
            url = self._minio.get_presigned_url("PUT", self.name, name, expires=timedelta(hours=1))
            headers = {"If-None-Match": "*", "Content-Type": "application/json"}
            answer = self._http.request("PUT", url, body=content, headers=headers)
            if answer.status not in {200, 204, 412}:
                told = "xml" in answer.headers.get("Content-Type", "") and answer.data
                raise S3Error.fromxml(answer) if told else ServerError("no answer", answer.status)
            return answer.status

        return self._try(write, name) != 412

    def send(self, name: str, stream: BinaryIO, size: int, sha256: str, parts: int, told: Told) -> None:
        """Write ``size`` bytes of a stream, with their digest beside them.

        A large file goes in parts, ``parts`` of them at once; ``told`` is given the bytes as they are read.
        """
        start = stream.tell()
        part = max(PART, -(-size // _MOST_PARTS // _CHUNK) * _CHUNK) if size > PART else 0

        def write() -> None:
            stream.seek(start)
            counted = cast(BinaryIO, _Counted(stream, size, told))
            try:
                self._minio.put_object(
                    self.name, name, counted, size,
                    metadata={_DIGEST: sha256}, part_size=part, num_parallel_uploads=parts,
                )  # fmt: skip
            except BaseException:
                told(-cast(_Counted, counted).read_so_far)
                raise

        self._try(write, name)

    def receive(self, name: str, size: int, write: Callable[[bytes], object], told: Told) -> str | None:
        """Read an object of ``size`` bytes in order, going on after a broken connection.

        Returns:
            Its sha256, or None: not there, or reading is denied, as S3 says of what is not there where
            listing is forbidden.
        """
        state, done = hashlib.sha256(), 0

        def read() -> bool:
            """Whether it was read to its end; a connection that broke has at least brought something."""
            nonlocal done
            before = done
            response = self._minio.get_object(self.name, name, offset=done)
            try:
                for chunk in response.stream(_CHUNK):
                    write(chunk)
                    state.update(chunk)
                    done += len(chunk)
                    told(len(chunk))
                    if done > size:  # another object than its entry says
                        break
            except HTTPError:
                if done == before:
                    raise
                self._notices.tell(f"GET /{self.name}/{name}", "the connection broke", 0.0)
                return done >= size
            finally:
                response.close()
                response.release_conn()
            return True

        try:
            while (whole := self._try(read, name, absent=True)) is False:
                pass  # each piece has a patience of its own
        except DeniedError:
            return None
        return state.hexdigest() if whole else None

    def names(self, prefix: str) -> Iterator[Stored]:
        """Every object whose name begins so.

        Raises:
            BadInputError: The policy allows no listing.
        """
        for entry in self._list(prefix, recursive=True):
            if entry.object_name is not None and entry.last_modified is not None:
                yield Stored(entry.object_name, entry.size or 0, entry.last_modified)

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders right below ``prefix`` (which ends in "/" or is empty), without slashes."""
        for entry in self._list(prefix, recursive=False):
            name = entry.object_name or ""
            if name.endswith("/") and name != prefix:
                yield name[len(prefix) : -1]

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects; those that do not exist are none the worse.

        Raises:
            BadInputError: The policy allows no deleting.
        """
        doomed = list(names)
        if len(doomed) > 1:

            def remove() -> list[str]:
                wanted = [DeleteObject(name) for name in doomed]
                return [str(left.name) for left in self._minio.remove_objects(self.name, wanted)]

            # Some servers ask for rights on the whole bucket when many are deleted at once: then one by one.
            with suppress(DeniedError):
                doomed = self._try(remove, doomed[0], absent=True) or []
        for name in doomed:
            self._try(partial(self._minio.remove_object, self.name, name), name)

    def _list(self, prefix: str, *, recursive: bool) -> Iterator[Object]:
        try:
            yield from self._minio.list_objects(self.name, prefix=prefix, recursive=recursive)
        except (MinioException, HTTPError, ValueError) as error:
            if code(error) == DENIED:
                raise BadInputError(
                    "the policy allows no listing",
                    where=self.uri(prefix),
                    mend="Grant s3:ListBucket on this prefix, or name artifacts whole",
                ) from error
            raise explain(error, self.uri(prefix), self.endpoint) from error

    def _try(self, call: Callable[[], T], name: str, *, absent: bool = False) -> T | None:
        """Call until it works, the server refuses, or patience ends.

        Most failures are mended below, request by request (``Patience``); here are those that show only
        in an answer's body: a code, or a connection that breaks in the middle. What has been repeated there
        for as long as patience lasts is not repeated here again.

        Raises:
            ResumeError: The process was told to stop while the server fails.
        """
        until, failures = 0.0, 0
        while True:
            try:
                return call()
            except (MinioException, HTTPError, ValueError) as error:
                if absent and code(error) in NOT_THERE | {DENIED}:
                    # minio's frames hold this error, which holds our callers: a workspace among them
                    # would keep its lock until the garbage collector comes by.
                    error.with_traceback(None)
                    if code(error) == DENIED:
                        raise DeniedError(self.uri(name)) from None
                    return None
                broken = isinstance(error, HTTPError) and not isinstance(error, MaxRetryError)
                until = until or time.monotonic() + self._patience
                passing = broken or (code(error) in PASSING and not given_up(error))
                if not passing or time.monotonic() >= until:
                    raise explain(error, self.uri(name), self.endpoint) from error
                failures += 1
                wait = min(pause(failures), max(0.0, until - time.monotonic()))
                self._notices.tell(f"/{self.name}/{name}", code(error) or "the connection broke", wait)
                wait_unless(self._stop, wait, failures)


class _Counted:
    """The next ``size`` bytes of a stream, told as they are read."""

    def __init__(self, stream: BinaryIO, size: int, told: Told) -> None:
        self._stream, self._left, self._told = stream, size, told
        self.read_so_far = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        self.read_so_far += len(chunk)
        self._told(len(chunk))
        return chunk
