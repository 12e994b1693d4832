"""The three environments that stages run in, and the images that hold them."""

from __future__ import annotations

from typing import Literal

from arkloom import __version__

Environment = Literal["launcher", "serve", "train"]
REGISTRY = "ghcr.io/arkloom"  # a default, which pipelines and manifests replace


def image(environment: Environment, registry: str = REGISTRY, tag: str = __version__) -> str:
    """``registry/arkloom-serve:0.1.0``."""
    return f"{registry}/arkloom-{environment}:{tag}"
