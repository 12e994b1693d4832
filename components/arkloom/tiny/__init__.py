"""The tiny society: a model small enough to ship, whose agents know different things."""

from importlib.resources import files
from pathlib import Path

__all__ = ["weights"]


def weights() -> Path:
    """Folder of the shipped model: config, tokenizer and bf16 safetensors."""
    return Path(str(files("arkloom") / "tiny" / "weights"))
