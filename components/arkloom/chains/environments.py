"""Which environment each stage needs: one image an environment, one PodTemplate an environment."""

from __future__ import annotations

from collections.abc import Mapping

from arkloom.images import Environment

ENVIRONMENT: Mapping[str, Environment] = {
    "preflight": "launcher",
    "prepare": "launcher",
    "debate": "serve",
    "filter": "launcher",
    "label": "serve",
    "sft": "train",
    "prm": "train",
    "grpo": "train",
    "evaluate": "serve",
    "gate": "launcher",
    "register": "launcher",
}
"""Stage -> environment."""
