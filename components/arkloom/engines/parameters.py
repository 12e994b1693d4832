"""How many weights a model has: from its folder where it is here, else from what its name is known for."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

from arkloom.engines.models import TINY, model_folder

_LENGTH = struct.Struct("<Q")  # a safetensors file begins with the size of its JSON header
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")

# Dense models as their makers publish them, in billions; the name may go on (Qwen3-8B-Base).
_BILLIONS = {
    "qwen3-0.6b": 0.60, "qwen3-1.7b": 1.72, "qwen3-4b": 4.02, "qwen3-8b": 8.19, "qwen3-14b": 14.77,
    "qwen3-32b": 32.76, "qwen2.5-0.5b": 0.49, "qwen2.5-1.5b": 1.54, "qwen2.5-3b": 3.09,
    "qwen2.5-7b": 7.62, "qwen2.5-14b": 14.77, "qwen2.5-32b": 32.76, "qwen2.5-72b": 72.71,
    "llama-3.2-1b": 1.24, "llama-3.2-3b": 3.21, "llama-3.1-8b": 8.03, "llama-3.1-70b": 70.55,
    "llama-3.3-70b": 70.55, "mistral-7b": 7.25, "smollm2-135m": 0.135, "smollm2-360m": 0.362,
    "smollm2-1.7b": 1.71,
}  # fmt: skip


def parameters(folder: Path) -> int | None:
    """Number of weights of a checkpoint, from the headers of its safetensors files; None without any.

    A tensor that is tied and stored once counts once.
    """
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as stream:
            (size,) = _LENGTH.unpack(stream.read(_LENGTH.size))
            header: dict[str, Any] = json.loads(stream.read(size))
        total += sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total or None


def parameters_of(name: str) -> int | None:
    """Weights of a model by its setting: its folder's, where that is here, else those its name is known for.

    Args:
        name: ``tiny`` or a folder, as in ``models.student.name``; the folder need not exist.

    Returns:
        None where neither tells, or the model is a mixture of experts (few of its weights work at once).
    """
    folder = model_folder(TINY) if name == TINY else Path(name).expanduser()
    config = folder / "config.json"
    if config.is_file():
        try:
            shape: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
            if any(shape.get(key) for key in _EXPERTS):
                return None
            return parameters(folder) or _of_shape(shape)
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            return None  # not readable as a model: an estimate says so instead of failing
    last = Path(name).name.lower()
    for known, billions in _BILLIONS.items():
        if last == known or last.startswith(f"{known}-"):
            return round(billions * 1e9)
    return None


def _of_shape(shape: dict[str, Any]) -> int:
    """Weights of a dense decoder with gated feed-forward layers (norms and biases left out)."""
    hidden, heads = int(shape["hidden_size"]), int(shape["num_attention_heads"])
    width = int(shape.get("head_dim") or hidden // heads)
    shared = int(shape.get("num_key_value_heads") or heads)
    attention = 2 * hidden * heads * width + 2 * hidden * shared * width
    layer = attention + 3 * hidden * int(shape["intermediate_size"])
    tables = 1 if shape.get("tie_word_embeddings") else 2
    return int(shape["num_hidden_layers"]) * layer + tables * hidden * int(shape["vocab_size"])
