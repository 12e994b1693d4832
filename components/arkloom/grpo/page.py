"""placeholder"""
from collections.abc import Mapping
from typing import Any


def render(training: Mapping[str, Any]) -> str:
    """Placeholder."""
    return "<html></html>"
