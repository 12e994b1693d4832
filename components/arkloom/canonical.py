"""Canonical JSON and digests: the one way Arkloom turns values into identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def canonical_json(value: Any) -> str:
    """Serialise ``value`` so that equal values give equal text (sorted keys, no spaces, UTF-8).

    Raises:
        ValueError: A number is NaN or infinite: such a value has no identity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Sha256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Sha256 (hex) of a file's bytes, read in chunks of 1 MiB."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def digest_rows(rows: Iterable[dict[str, Any]], key: tuple[str, ...]) -> str:
    """Digest of a set of rows that does not depend on their order: sorted by the fields ``key``."""
    ordered = sorted(rows, key=lambda row: tuple(str(row[name]) for name in key))
    return digest(ordered)


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any parts, the same on every machine: H(run seed, problem, agent, round)."""
    return int(digest([str(part) for part in parts])[:16], 16) >> 1
