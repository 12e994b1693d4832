"""Terms that more than one page explains, in the same words."""

from __future__ import annotations

from arkloom.reports.blocks import Tone

TRACE_CLASSES: dict[str, tuple[str, Tone]] = {
    "corrective": ("wrong, then right to the end", "good"),
    "stable": ("right throughout", "good"),
    "late": ("unread, then right; never wrong", ""),
    "corrupted": ("right, then wrong at the end", "bad"),
    "wrong": ("never right", "bad"),
    "no_answer": ("no answer could be read at the end", "quiet"),
}
FLOORS = {
    "constant": "always the same answer",
    "position": "the best guess from the step's place",
    "length": "the best guess from the trace's length",
    "outcome": "knowing which answers are wrong, and their usual step",
}
