"""The debate itself: who speaks when, what each is shown, how a group answers, and the log of it."""

from arkloom.protocol.log import DebateLog, Timing, TurnTiming, read_debates
from arkloom.protocol.scheduler import hold
from arkloom.protocol.society import Society, society, soloists

__all__ = [
    "DebateLog",
    "Society",
    "Timing",
    "TurnTiming",
    "hold",
    "read_debates",
    "society",
    "soloists",
]
