"""Keeps a few trajectories of every class to read, the same ones whatever the order of the log."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from arkloom.canonical import digest
from arkloom.records import Debate
from arkloom.traces.classes import CLASSES, Trajectory
from arkloom.traces.gain import state

_EACH = 3  # trajectories a class
_SHOWN = 1500  # characters of a turn


class Examples:
    """The trajectories with the smallest digests of their keys: arbitrary, fixed, cheap to keep."""

    def __init__(self, each: int = _EACH) -> None:
        self._each = each
        self._kept: dict[str, list[tuple[int, str, dict[str, Any]]]] = {name: [] for name in CLASSES}

    def add(self, debate: Debate, traces: Sequence[Trajectory]) -> None:
        """Look at one debate."""
        for trace in traces:
            heap = self._kept[trace.kind]
            key = digest([debate.id, debate.seed, trace.agent])
            order = -int(key[:15], 16)
            if len(heap) < self._each:
                heapq.heappush(heap, (order, key, _shown(debate, trace)))
            elif order > heap[0][0]:
                heapq.heapreplace(heap, (order, key, _shown(debate, trace)))

    def chosen(self) -> dict[str, list[dict[str, Any]]]:
        """Examples by class, in the order of their keys."""
        return {
            name: [shown for _, _, shown in sorted(heap, key=lambda e: e[1])]
            for name, heap in self._kept.items()
        }


def _shown(debate: Debate, trace: Trajectory) -> dict[str, Any]:
    return {
        "debate": debate.id,
        "seed": debate.seed,
        "agent": trace.agent,
        "question": debate.question,
        "options": list(debate.options),
        "gold": debate.gold,
        "pivot": trace.pivot if trace.kind == "corrective" else None,
        "peer_induced": trace.peer_induced,
        "turns": [
            {
                "round": turn.round,
                "answer": turn.answer,
                "state": state(mark),
                "text": turn.text.strip()[:_SHOWN],
            }
            for turn, mark in zip(trace.turns, trace.marks, strict=True)
        ],
    }
