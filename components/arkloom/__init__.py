"""Arkloom weaves a debate of many agents into one model.

``from arkloom import run`` does what ``arkloom run`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arkloom.chains.run import run as run

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def __getattr__(name: str) -> Any:
    # Lazy, so that importing a ground-floor module does not load what `run` needs.
    if name == "run":
        import arkloom.chains.run  # noqa: PLC0415

        return arkloom.chains.run.run
    raise AttributeError(f"module 'arkloom' has no attribute {name!r}")
