"""A small TCP proxy in front of an S3 server, which fails on purpose as networks and servers do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


def _refusal(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = (b"HTTP/1.1 " + status, b"Content-Type: " + kind, b"Content-Length: %d" % len(body))
    return b"\r\n".join((*head, b"Connection: close", b"", body))


_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
BUSY = _refusal(b"503 Slow Down", b"application/xml", _SLOW_DOWN)
PAGE = _refusal(b"502 Bad Gateway", b"text/html", b"<html><body>Bad Gateway</body></html>")

Through = Callable[[bytes, socket.socket], bytes | None]


@dataclass
class Faults:
    """What goes wrong, and how often; counted down under a lock.

    Attributes:
        cut_up: Connections cut after so many bytes of their requests.
        cut_down: The same for answers.
        after: Those bytes.
        busy: Requests answered 503.
        page: Requests answered 502 by a page, as a gateway whose server is away does.
        flip: Answers in which a byte is changed.
        swallow: Requests that hold ``marker`` and reach the server, but whose answer is lost.
    """

    cut_up: int = 0
    cut_down: int = 0
    after: int = 300_000
    busy: int = 0
    page: int = 0
    flip: int = 0
    swallow: int = 0
    marker: bytes = b"manifest.json"
    happened: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str) -> bool:
        """Whether this fault still is to happen; it is counted."""
        with self._lock:
            left = getattr(self, name)
            if left:
                setattr(self, name, left - 1)
                self.happened += 1
            return bool(left)


class Proxy:
    """Listens on a port of its own; use as a context manager."""

    def __init__(self, endpoint: str, faults: Faults) -> None:
        host, _, port = endpoint.rpartition("/")[2].partition(":")
        self._upstream, self.faults = (host, int(port)), faults
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self._upstream) as far:
            lost = threading.Event()
            up = threading.Thread(target=self._pass, args=(near, far, self._request(lost)), daemon=True)
            up.start()
            self._pass(far, near, self._answer(lost))
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            up.join(5)

    def _pass(
        self,
        source: socket.socket,
        target: socket.socket,
        through: Callable[[bytes, socket.socket], bytes | None],
    ) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                passed = through(chunk, source)
                if passed is None:
                    break
                target.sendall(passed)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _request(self, lost: threading.Event) -> Through:
        seen = 0

        def through(chunk: bytes, near: socket.socket) -> bytes | None:
            nonlocal seen
            head = chunk.split(b"\r\n", 1)[0]
            if head.endswith(b"HTTP/1.1"):
                if self.faults.take("busy"):
                    near.sendall(BUSY)
                    return None
                if self.faults.take("page"):
                    near.sendall(PAGE)
                    return None
                if head.startswith(b"PUT") and self.faults.marker in head and self.faults.take("swallow"):
                    lost.set()
            seen += len(chunk)
            return None if seen > self.faults.after and self.faults.take("cut_up") else chunk

        return through

    def _answer(self, lost: threading.Event) -> Through:
        seen = 0

        def through(chunk: bytes, _: socket.socket) -> bytes | None:
            nonlocal seen
            seen += len(chunk)
            if lost.is_set() or (seen > self.faults.after and self.faults.take("cut_down")):
                return None
            if seen > self.faults.after and self.faults.take("flip"):
                return chunk[:-1] + bytes([chunk[-1] ^ 1])
            return chunk

        return through
