"""The identity of a model's weights, for artifact keys."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from arkloom.canonical import digest, digest_file
from arkloom.engines.models import model_folder


def model_digest(model: Mapping[str, Any]) -> str:
    """Digest of a ``ModelConfig`` as plain JSON: sha256 over the files of its folder and its adapter's.

    Raises:
        BadInputError: The folder is missing or holds no model.
    """
    base = _folder_digest(model_folder(str(model["name"])))
    adapter = model.get("adapter")
    return digest([base, _folder_digest(Path(str(adapter)))]) if adapter else base


@lru_cache(maxsize=16)
def _folder_digest(folder: Path) -> str:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return digest([[f.relative_to(folder).as_posix(), digest_file(f)] for f in files])
