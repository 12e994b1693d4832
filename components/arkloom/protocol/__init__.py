"""The debate itself: who speaks when, what each is shown, how a group answers, and the log of it."""

from arkloom.protocol.failures import PASSES, lasting, passing, refuse_failures
from arkloom.protocol.log import DebateLog, Timing, TurnTiming, read_debates
from arkloom.protocol.scheduler import hold
from arkloom.protocol.society import Society, sections, society, soloists

__all__ = [
    "PASSES",
    "DebateLog",
    "Society",
    "Timing",
    "TurnTiming",
    "hold",
    "lasting",
    "passing",
    "read_debates",
    "refuse_failures",
    "sections",
    "society",
    "soloists",
]
