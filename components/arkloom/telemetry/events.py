"""Run events: one JSON object a line, appended; what happened, when, to which node."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Events:
    """Appends events to a file; without a file, events are dropped.

    An event is ``{"time": seconds since 1970, "event": name, ...}``. Appending one short line is atomic
    on a local file system, so the processes of a run may share a file.
    """

    def __init__(self, path: Path | None = None, **common: Any) -> None:
        self._path, self._common = path, common

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event; a full disk must not kill the work that it tells about."""
        if self._path is None:
            return
        line = json.dumps({"time": round(time.time(), 3), "event": event, **self._common, **fields}) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        except OSError:
            return
