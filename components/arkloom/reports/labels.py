"""Where labels stand in a drawing: parted from each other, beside what they name."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, Transform

from arkloom.reports.figures import UNITS


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted positions moved apart by at least ``gap``, as little as needed, within [low, high]."""
    blocks: list[tuple[float, int]] = []  # (centre, members): the least-squares way to part labels
    for value in wanted:
        centre, size = value, 1
        while blocks and centre - gap * size / 2 < blocks[-1][0] + gap * blocks[-1][1] / 2:
            before, members = blocks.pop()
            centre = (before * members + centre * size) / (members + size)
            size += members
        half = gap * (size - 1) / 2
        centre = min(max(centre, low + half), max(high - half, low + half))
        blocks.append((centre, size))
    places = [centre + gap * (k - (size - 1) / 2) for centre, size in blocks for k in range(size)]
    for index in range(len(places) - 2, -1, -1):  # the upper limit may have pushed a block down
        places[index] = min(places[index], places[index + 1] - gap)
    return places


def beside(axes: Axes, pixels: float) -> Transform:
    """Data coordinates, moved to the right by CSS pixels."""
    return axes.transData + ScaledTranslation(pixels / UNITS, 0, axes.figure.dpi_scale_trans)
