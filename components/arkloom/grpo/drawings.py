"""The curves of a training, drawn over its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arkloom.reports.blocks import Figure
from arkloom.reports.curves import Curve, curve_chart, known
from arkloom.reports.words import quantity


def measured(
    points: Sequence[Mapping[str, Any]], name: str, key: str, colour: str, *, dashed: bool = False
) -> Curve:
    """The curve of one figure of ``training.json``."""
    return Curve(name, [p["step"] for p in points], [p.get(key) for p in points], colour, dashed)


def drawn(
    curves: Sequence[Curve],
    *,
    name: str,
    title: str,
    caption: str,
    over: str = "optimiser step",
    write: Callable[[float], str] = quantity,
    bounds: tuple[float, float] | None = None,
) -> Figure | None:
    """Curves over steps, those left out that were never measured; None where none was.

    Args:
        curves: What to draw.
        name: Unique on its page.
        title: Over the picture.
        caption: Under the picture.
        over: What the horizontal axis counts.
        write: How a value is written.
        bounds: Least and greatest value of the vertical axis; by what was measured where None.
    """
    lines = known(curves)
    if not lines:
        return None
    told = "; ".join(f"{line.name}: {_ends(line, write)}" for line in lines)
    return curve_chart(
        lines,
        name=name,
        title=title,
        description=told,
        caption=caption,
        over=over,
        write=write,
        bounds=bounds,
    )


def _ends(line: Curve, write: Callable[[float], str]) -> str:
    values = [value for value in line.ys if value is not None]
    return f"{write(values[0])} at first, {write(values[-1])} at last"
