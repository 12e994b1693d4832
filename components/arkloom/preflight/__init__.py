"""Pre-flight: everything that can be known to go wrong, before a GPU is spent. Its answer is never cached."""

from arkloom.preflight.examination import examine

__all__ = ["examine"]
