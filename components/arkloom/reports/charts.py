"""The drawings that reports share: cost against accuracy, lines over rounds, moves between states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from arkloom.reports.blocks import Figure
from arkloom.reports.figures import HALF, LETTERS, NARROW, UNITS, figure
from arkloom.reports.palette import LIGHT
from arkloom.reports.words import percent, quantity

STATES = ("right", "none", "wrong")
"""From top to bottom."""

_BAR = 46  # CSS pixels: a share in percent, or a state's name, fits into it
_LANE = 10  # CSS pixels between arms that would hide each other
_CLEAR = 150  # CSS pixels from a point to behind its label
_LABEL_AT = 40  # CSS pixels from a point to its label
_LEAST_LABELLED = 0.05  # share of a bar below which no figure fits into it


@dataclass(frozen=True)
class Point:
    """One arm: what an answer costs, how often it is right, and how sure that is."""

    name: str
    tokens: float
    accuracy: float
    ci95: tuple[float, float]
    colour: str = "ink"
    hollow: bool = False


@dataclass(frozen=True)
class Line:
    """One line over the rounds."""

    name: str
    values: Sequence[float | None]
    colour: str = "ink"
    dashed: bool = False


@dataclass(frozen=True)
class Moves:
    """How many went from each state to each, between two rounds."""

    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def leaving(self, state: str) -> int:
        """How many were in the state before."""
        return sum(self.counts.get((state, after), 0) for after in STATES)

    def arriving(self, state: str) -> int:
        """How many are in the state after."""
        return sum(self.counts.get((before, state), 0) for before in STATES)


@dataclass(frozen=True)
class Gap:
    """A distance between two arms worth naming."""

    low: Point
    high: Point
    label: str


def cost_chart(
    points: Sequence[Point], *, name: str, title: str, description: str, caption: str, gap: Gap | None = None
) -> Figure:
    """Accuracy against tokens per problem (log scale), each point with its interval and its name."""

    def draw(axes: Axes, narrow: bool) -> None:
        _cost_axes(axes, points, narrow)
        if gap is not None and not narrow:
            _mark(axes, gap)
        for point, shift, height in _placed(points, narrow):
            _point(axes, point, shift, height)

    return figure(draw, name=name, title=title, description=description, caption=caption)


def _cost_axes(axes: Axes, points: Sequence[Point], narrow: bool) -> None:
    tokens = [point.tokens for point in points]
    room = (1.35, 4.2) if narrow else (1.3, 1.75)
    axes.set_xscale("log")
    axes.set_xlim(min(tokens) / room[0], max(tokens) * room[1])
    axes.set_ylim(*_accuracy_limits(points))
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", pad=7)
    axes.set_xticks(_round_ticks(*axes.get_xlim(), most=4 if narrow else 9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axes.set_xlabel("completion tokens per problem (log scale)")


def _mark(axes: Axes, gap: Gap) -> None:
    """An arrow over the distance, half way between the arms, where nothing else stands as a rule."""
    middle = math.sqrt(gap.low.tokens * gap.high.tokens)
    low, high = gap.low.accuracy, gap.high.accuracy
    dashes = {
        "arrowstyle": "-",
        "color": LIGHT["faint"],
        "linestyle": (0, (3, 3)),
        "shrinkA": 0,
        "shrinkB": 0,
    }
    for point in (gap.low, gap.high):
        aside = _CLEAR if point.tokens < middle else -_LANE - 4  # labels stand to the right of points
        axes.annotate(
            "", (point.tokens, point.accuracy), (middle, point.accuracy),
            xycoords=_beside(axes, aside), textcoords="data", arrowprops=dashes,
        )  # fmt: skip
    arrow = {"arrowstyle": "->", "color": LIGHT["muted"], "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (middle, high), (middle, low), arrowprops=arrow)
    axes.text(middle, (low + high) / 2, f"\u2002{gap.label}", color=LIGHT["muted"], va="center")


def _accuracy_limits(points: Sequence[Point]) -> tuple[float, float]:
    low, high = min(point.ci95[0] for point in points), max(point.ci95[1] for point in points)
    room = max(0.06 * (high - low), 0.02)
    return max(0.0, low - room), min(1.02, high + room)


def _round_ticks(low: float, high: float, most: int) -> list[float]:
    """1, 2 and 5 times powers of ten within the limits, or fewer."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in range(-1, 9) for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            break
    return inside


def _placed(points: Sequence[Point], narrow: bool) -> list[tuple[Point, float, float]]:
    """Points with their shift to the side (px) and the height of their label (accuracy).

    Arms that cost nearly the same stand side by side, so that their intervals do not hide each other;
    labels of one group keep a line's height between them.
    """
    ordered = sorted(points, key=lambda point: point.tokens)
    groups: list[list[Point]] = []
    for point in ordered:
        near = groups and point.tokens <= groups[-1][0].tokens * (1.5 if narrow else 1.12)
        groups[-1].append(point) if near else groups.append([point])
    low, high = _accuracy_limits(points)
    gap = (high - low) * 0.055
    placed = []
    for group in groups:
        members = sorted(group, key=lambda point: point.accuracy)
        heights = spread([point.accuracy for point in members], gap, low + gap / 2, high - gap / 2)
        shifts = _lanes([point.ci95 for point in members])
        placed += list(zip(members, shifts, heights, strict=True))
    return placed


def _lanes(intervals: Sequence[tuple[float, float]]) -> list[float]:
    """Shifts (px) that part overlapping intervals and leave the others where they are."""
    lanes: list[int] = []
    for index, (low, high) in enumerate(intervals):
        others = zip(lanes, intervals[:index], strict=True)
        taken = {lane for lane, other in others if low <= other[1] and other[0] <= high}
        lanes.append(min(set(range(len(intervals))) - taken))
    crowded = [
        any(i != j and a[0] <= b[1] and b[0] <= a[1] for j, b in enumerate(intervals))
        for i, a in enumerate(intervals)
    ]
    middle = max(lanes, default=0) / 2
    return [_LANE * (lane - middle) if alone else 0.0 for lane, alone in zip(lanes, crowded, strict=True)]


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


def _point(axes: Axes, point: Point, shift: float, height: float) -> None:
    colour = LIGHT[point.colour]
    spot = _beside(axes, shift)
    axes.plot([point.tokens] * 2, list(point.ci95), color=colour, alpha=0.5, transform=spot)
    axes.plot(
        [point.tokens],
        [point.accuracy],
        color=colour,
        marker="o",
        markersize=9,
        markeredgewidth=2,
        markeredgecolor=colour,
        markerfacecolor=LIGHT["paper"] if point.hollow else colour,
        transform=spot,
        zorder=3,
    )
    axes.annotate(
        f"{point.name}\u2002{percent(point.accuracy)}",
        (point.tokens, point.accuracy),
        (point.tokens, height),
        xycoords=_beside(axes, shift + 7),
        textcoords=_beside(axes, _LABEL_AT),
        color=colour,
        va="center",
        fontweight="normal" if point.hollow else "bold",
        arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.4, "shrinkA": 2, "shrinkB": 0},
    )


def _beside(axes: Axes, pixels: float) -> Transform:
    """Data coordinates, moved to the right by CSS pixels."""
    return axes.transData + ScaledTranslation(pixels / UNITS, 0, axes.figure.dpi_scale_trans)


def rounds_chart(
    lines: Sequence[Line],
    *,
    name: str,
    title: str,
    description: str,
    caption: str,
    floor: float | None = None,
) -> Figure:
    """Shares over the rounds, each line named at its right end."""

    def draw(axes: Axes, narrow: bool) -> None:
        last = max(len(line.values) for line in lines) - 1
        known = [value for line in lines for value in line.values if value is not None]
        low, high = min(known), max(known)
        room = max(0.12 * (high - low), 0.02)
        axes.set_ylim(max(0.0, low - room) if floor is None else floor, min(1.02, high + room))
        axes.set_xlim(-0.12, last + (1.15 if narrow else 0.8) * max(last, 1) / 2)
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xticks(range(last + 1), round_names(last + 1))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        for line in lines:
            axes.plot(range(len(line.values)), _gaps(line.values), color=LIGHT[line.colour], marker="o",
                      markersize=6, linestyle="--" if line.dashed else "-", clip_on=False)  # fmt: skip
        _name_lines(axes, lines)

    return figure(draw, name=name, title=title, description=description, caption=caption, size=HALF)


def _gaps(values: Sequence[float | None]) -> list[float]:
    """Values to plot: a missing one interrupts its line."""
    return [math.nan if value is None else value for value in values]


def round_names(count: int) -> list[str]:
    """``alone``, then ``round 1`` and so on: round 0 is what agents answer before they see anyone."""
    return ["alone", *(f"round {number}" for number in range(1, count))]


def _name_lines(axes: Axes, lines: Sequence[Line]) -> None:
    ends = []
    for line in lines:
        known = [(index, value) for index, value in enumerate(line.values) if value is not None]
        if known:
            ends.append((known[-1][1], known[-1][0], line))
    ends.sort(key=lambda end: end[0])
    low, high = axes.get_ylim()
    heights = spread([end[0] for end in ends], (high - low) * 0.075, low, high)
    for (value, index, line), height in zip(ends, heights, strict=True):
        axes.annotate(
            f"{line.name}\u2002{percent(value)}",
            (index, value),
            (index, height),
            textcoords=_beside(axes, 12),
            color=LIGHT[line.colour],
            va="center",
        )


def flow_chart(moves: Sequence[Moves], *, name: str, title: str, description: str, caption: str) -> Figure:
    """States after each round as stacked bars, with ribbons for those who moved between them."""

    def draw(axes: Axes, narrow: bool) -> None:
        total = sum(moves[0].leaving(state) for state in STATES) or 1
        columns = [{state: moves[0].leaving(state) / total for state in STATES}]
        columns += [{state: move.arriving(state) / total for state in STATES} for move in moves]
        width = (NARROW if narrow else HALF)[0]
        bar = _BAR * len(moves) / (width - _BAR)
        for index, move in enumerate(moves):
            _ribbons(axes, index, move, columns, total, bar)
        for index, column in enumerate(columns):
            _stack(axes, index, column, bar, named=index == 0)
        axes.set_xlim(-bar / 2, len(moves) + bar / 2)
        axes.set_ylim(1.03, -0.01)
        axes.set_xticks(range(len(columns)), round_names(len(columns)))
        axes.set_yticks([])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)

    return figure(draw, name=name, title=title, description=description, caption=caption, size=HALF)


def _stack(axes: Axes, index: int, column: Mapping[str, float], bar: float, *, named: bool) -> None:
    for state, top in _tops(column).items():
        share = column[state]
        axes.add_patch(
            Rectangle((index - bar / 2, top), bar, share, facecolor=LIGHT[state], edgecolor=LIGHT["paper"])
        )
        if share >= _LEAST_LABELLED:
            name = f"{state}\n" if named and share >= 2 * _LEAST_LABELLED else ""
            axes.text(index, top + share / 2, f"{name}{percent(share)}", color=LIGHT["paper"], ha="center",
                      va="center", fontsize=LETTERS - 1, linespacing=1.4)  # fmt: skip


def _tops(column: Mapping[str, float]) -> dict[str, float]:
    tops, height = {}, 0.0
    for state in STATES:
        tops[state] = height
        height += column[state]
    return tops


def _ribbons(
    axes: Axes, index: int, move: Moves, columns: Sequence[Mapping[str, float]], total: int, bar: float
) -> None:
    leave, arrive = _tops(columns[index]), _tops(columns[index + 1])
    for before in STATES:
        for after in STATES:
            share = move.counts.get((before, after), 0) / total
            if share:
                ends = (leave[before], arrive[after])
                turned = before != after and "none" not in (before, after)
                _ribbon(axes, index, ends, share, bar, LIGHT[after], 0.45 if turned else 0.14)
                if turned and share >= _LEAST_LABELLED / 2:
                    _count(axes, index, ends, share, after, move.counts[before, after])
            leave[before] += share
            arrive[after] += share


def _ribbon(
    axes: Axes, index: int, ends: tuple[float, float], share: float, bar: float, colour: str, alpha: float
) -> None:
    left, right = index + bar / 2, index + 1 - bar / 2
    middle = (left + right) / 2
    (y0, y1) = ends
    corners = [(left, y0), (middle, y0), (middle, y1), (right, y1)]
    back = [(right, y1 + share), (middle, y1 + share), (middle, y0 + share), (left, y0 + share)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    path = Path([*corners, *back, corners[0]], codes)
    axes.add_patch(PathPatch(path, facecolor=colour, alpha=alpha, linewidth=0))


def _count(axes: Axes, index: int, ends: tuple[float, float], share: float, state: str, count: int) -> None:
    middle = (ends[0] + ends[1] + share) / 2
    axes.text(index + 0.5, middle, quantity(count), ha="center", va="center", fontsize=LETTERS - 1,
              color=LIGHT["ink"])  # fmt: skip
