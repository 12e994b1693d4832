"""Reads logs of debates: our own records, and those that others recorded, one file a format.

A format is a module with ``NAME``, ``fits(path, head)`` and ``read(path, split)``; ``FORMATS`` in
``registry.py`` lists them.
"""

from arkloom.traces.importers.registry import FORMATS, read_log

__all__ = ["FORMATS", "read_log"]
