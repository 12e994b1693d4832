"""Arkloom weaves a debate of many agents into one model."""

from __future__ import annotations

__version__ = "0.1.0"
