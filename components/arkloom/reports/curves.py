"""Drawings over a quantity: figures of a training against its rollouts, and scores against what is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from arkloom.reports.blocks import Figure
from arkloom.reports.figures import HALF, LETTERS, figure
from arkloom.reports.labels import beside, spread
from arkloom.reports.palette import LIGHT
from arkloom.reports.words import percent, quantity

_MARGINS = (58, 46, 130, 10)  # CSS pixels: names of the lines stand at the right
_SQUARE = (58, 46, 20, 10)
_MOST_MARKED = 24  # points of a line that are drawn as points
_LETTER = 15  # most letters of a line's name at its end


@dataclass(frozen=True)
class Curve:
    """One line: values over a quantity, None where a value is missing."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    colour: str = "student"
    dashed: bool = False


@dataclass(frozen=True)
class Bin:
    """Steps of about one score: the mean score, the share of right ones, how many."""

    score: float
    right: float
    n: int


def curve_chart(
    curves: Sequence[Curve],
    *,
    name: str,
    title: str,
    description: str,
    caption: str,
    over: str,
    write: Callable[[float], str] = percent,
    bounds: tuple[float, float] | None = None,
) -> Figure:
    """Values against a quantity, each line named at its right end.

    Args:
        curves: At least one value in all.
        name: Unique on its page.
        title: Over the picture.
        description: What it shows, in words.
        caption: Under the picture.
        over: What the horizontal axis counts.
        write: How a value is written.
        bounds: Least and greatest value of the vertical axis; by the values where None.
    """

    def draw(axes: Axes, narrow: bool) -> None:
        _limits(axes, curves, bounds)
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
        axes.set_xlabel(over)
        for curve in curves:
            ys = [math.nan if value is None else value for value in curve.ys]
            axes.plot(curve.xs, ys, color=LIGHT[curve.colour], linestyle="--" if curve.dashed else "-",
                      marker="o" if len(ys) <= _MOST_MARKED else "", markersize=5, clip_on=False)  # fmt: skip
        _named(axes, curves, write)

    return figure(
        draw, name=name, title=title, description=description, caption=caption, size=HALF, margins=_MARGINS
    )


def reliability_chart(
    bins: Sequence[Bin], *, name: str, title: str, description: str, caption: str
) -> Figure:
    """Share of right steps against their mean score; the diagonal is a score that means what it says."""

    def draw(axes: Axes, narrow: bool) -> None:
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        axes.set_xlabel("mean score of a step")
        axes.plot([0, 1], [0, 1], color=LIGHT["faint"], linestyle="--", linewidth=1)
        most = max(part.n for part in bins)
        axes.plot([part.score for part in bins], [part.right for part in bins], color=LIGHT["student"],
                  linewidth=1, alpha=0.6, clip_on=False)  # fmt: skip
        for part in bins:
            size = 4 + 10 * math.sqrt(part.n / most)  # area by the number of steps
            axes.plot([part.score], [part.right], color=LIGHT["student"], marker="o", markersize=size,
                      alpha=0.85, clip_on=False)  # fmt: skip

    return figure(
        draw, name=name, title=title, description=description, caption=caption, size=HALF, margins=_SQUARE
    )


def known(curves: Sequence[Curve]) -> list[Curve]:
    """The curves that have a value to draw."""
    return [curve for curve in curves if any(value is not None for value in curve.ys)]


def _limits(axes: Axes, curves: Sequence[Curve], bounds: tuple[float, float] | None) -> None:
    values = [value for curve in curves for value in curve.ys if value is not None]
    places = [x for curve in curves for x in curve.xs]
    low, high = min(values), max(values)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 0.05
    axes.set_ylim(bounds or (max(0.0, low - room) if low >= 0 else low - room, high + room))
    axes.set_xlim(min(places), max(places) if max(places) > min(places) else min(places) + 1)


def _named(axes: Axes, curves: Sequence[Curve], write: Callable[[float], str]) -> None:
    ends = []
    for curve in curves:
        told = [(x, y) for x, y in zip(curve.xs, curve.ys, strict=True) if y is not None]
        if told:
            ends.append((told[-1][1], told[-1][0], curve))
    ends.sort(key=lambda end: end[0])
    low, high = axes.get_ylim()
    heights = spread([end[0] for end in ends], (high - low) * 0.075, low, high)
    for (value, x, curve), height in zip(ends, heights, strict=True):
        short = curve.name if len(curve.name) <= _LETTER else f"{curve.name[: _LETTER - 1]}…"
        axes.annotate(
            f"{short}\u2002{write(value)}",
            (x, value),
            (x, height),
            textcoords=beside(axes, 10),
            color=LIGHT[curve.colour],
            va="center",
            fontsize=LETTERS - 1,
        )
