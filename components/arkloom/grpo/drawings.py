"""The curves of a training, drawn over its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from arkloom.reports.blocks import Figure
from arkloom.reports.figures import HALF, figure
from arkloom.reports.labels import beside, spread
from arkloom.reports.palette import LIGHT
from arkloom.reports.words import percent, quantity

_MARGINS = (58, 48, 128, 10)  # CSS pixels; the lines are named on the right
_DOTS = 40  # a curve of more points is drawn without them


@dataclass(frozen=True)
class Curve:
    """One line: a value where it was measured, over steps or rollouts."""

    name: str
    places: Sequence[float]
    values: Sequence[float | None]
    colour: str = "ink"
    dashed: bool = False


def measured(points: Sequence[Mapping[str, Any]], name: str, key: str, colour: str, **look: Any) -> Curve:
    """The curve of one figure of ``training.json``."""
    return Curve(name, [p["step"] for p in points], [p.get(key) for p in points], colour, **look)


def curves(
    lines: Sequence[Curve],
    *,
    name: str,
    title: str,
    caption: str,
    across: str = "optimiser step",
    shares: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Figure | None:
    """Lines over steps; None where nothing was measured.

    Args:
        lines: What to draw; those never measured are left out.
        name: Unique on its page.
        title: Over the picture.
        caption: Under the picture.
        across: What the x axis counts.
        shares: The values are shares of one.
        bounds: Least and greatest value of the y axis; by what was measured where None.
    """
    known = [line for line in lines if any(value is not None for value in line.values)]
    if not known:
        return None
    write = percent if shares else quantity

    def draw(axes: Axes, narrow: bool) -> None:
        for line in known:
            values = [math.nan if value is None else value for value in line.values]
            marker = "o" if len(values) <= _DOTS else None
            axes.plot(line.places, values, color=LIGHT[line.colour], marker=marker, markersize=4,
                      linestyle="--" if line.dashed else "-", clip_on=False)  # fmt: skip
        if bounds is not None:
            axes.set_ylim(*bounds)
        axes.set_xlabel(across)
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 6, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
        _names(axes, known, write)

    told = "; ".join(f"{line.name}: {_ends(line, write)}" for line in known)
    return figure(
        draw, name=name, title=title, description=told, caption=caption, size=HALF, margins=_MARGINS
    )


def _ends(line: Curve, write: Any) -> str:
    values = [value for value in line.values if value is not None]
    return f"{write(values[0])} at first, {write(values[-1])} at last"


def _names(axes: Axes, lines: Sequence[Curve], write: Any) -> None:
    """Name and last value of every line, beside its end."""
    last = []
    for line in lines:
        place, value = [(p, v) for p, v in zip(line.places, line.values, strict=True) if v is not None][-1]
        last.append((value, place, line))
    last.sort(key=lambda end: end[0])
    low, high = axes.get_ylim()
    heights = spread([end[0] for end in last], (high - low) * 0.08, low, high)
    for (value, place, line), height in zip(last, heights, strict=True):
        axes.annotate(
            f"{line.name}\u2002{write(value)}",
            (place, value),
            (place, height),
            textcoords=beside(axes, 10),
            color=LIGHT[line.colour],
            va="center",
        )
