"""Problems: where they come from, and how they are dealt into three splits that never meet."""

from arkloom.problems.draw import Draw, digests, draw
from arkloom.problems.rows import Row, Source

__all__ = ["Draw", "Row", "Source", "digests", "draw"]
