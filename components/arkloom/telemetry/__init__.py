"""What a run shows while it works: metrics, progress with an ETA, and events."""

from arkloom.telemetry.events import Events, read_events
from arkloom.telemetry.progress import Progress, Task

__all__ = ["Events", "Progress", "Task", "read_events"]
