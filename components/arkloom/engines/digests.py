"""The identity of a model's weights, for artifact keys."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from arkloom.canonical import digest, digest_file
from arkloom.engines.models import model_folder


def model_digest(model: Mapping[str, Any]) -> str:
    """Digest of a ``ModelConfig`` as plain JSON: its revision, or sha256 over its folder's files.

    Raises:
        BadInputError: The folder is missing or holds no model.
    """
    if model.get("revision"):
        return digest([model["name"], model["revision"]])
    return _folder_digest(model_folder(str(model["name"])))


@lru_cache(maxsize=16)
def _folder_digest(folder: Path) -> str:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return digest([[f.relative_to(folder).as_posix(), digest_file(f)] for f in files])
