"""Drawings by matplotlib as inline SVG that follows the page: its fonts, its colours, light or dark.

A figure is drawn twice, for wide and for narrow screens, so that its letters are never scaled to a size
that nobody can read. The same input gives the same bytes: no dates, ids from the figure's name.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from arkloom.reports.blocks import Figure
from arkloom.reports.palette import LIGHT

Draw = Callable[[Axes, bool], None]
"""Draws on the axes; the flag says that the screen is narrow."""

WIDE, HALF, NARROW = (1000, 430), (490, 360), (350, 370)  # CSS pixels at full size
MARGINS = (50, 52, 14, 8)  # left, bottom, right, top: room for the ticks' and the x axis' letters
LETTERS = 13  # CSS pixels
UNITS = 72  # an SVG of matplotlib has 72 units an inch; one unit is one CSS pixel here

_STYLE = {
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "none",  # letters stay letters: the page's font, selectable, small
    "font.family": "DejaVu Sans",  # ships with matplotlib, so the layout is the same everywhere
    "font.size": LETTERS,
    "axes.edgecolor": LIGHT["faint"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelsize": LETTERS,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LIGHT["line"],
    "grid.linewidth": 1,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["faint"],
    "ytick.color": LIGHT["faint"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "xtick.labelsize": LETTERS - 1,
    "ytick.labelsize": LETTERS - 1,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
}


def figure(
    draw: Draw,
    *,
    name: str,
    title: str,
    description: str,
    caption: str = "",
    size: tuple[int, int] = WIDE,
    narrow: tuple[int, int] = NARROW,
    margins: tuple[int, int, int, int] = MARGINS,
) -> Figure:
    """Draw a figure in both sizes.

    Args:
        draw: What to draw.
        name: Unique on its page; ids derive from it.
        title: Over the picture, and read out in its place.
        description: What the picture shows, for those who do not see it.
        caption: Under the picture.
        size: Width and height on a wide screen, CSS pixels.
        narrow: The same on a narrow screen.
        margins: Left, bottom, right and top of the axes, CSS pixels.
    """
    return Figure(
        title=title,
        wide=_svg(draw, f"{name}-w", title, description, size, margins, is_narrow=False),
        narrow=_svg(draw, f"{name}-n", title, description, narrow, margins, is_narrow=True),
        caption=caption,
    )


def _svg(
    draw: Draw,
    name: str,
    title: str,
    description: str,
    size: tuple[int, int],
    margins: tuple[int, int, int, int],
    *,
    is_narrow: bool,
) -> Markup:
    (width, height), (left, bottom, right, top) = size, margins
    inside = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that its font lacks: the page's font draws them
        canvas = Canvas(figsize=(width / UNITS, height / UNITS))
        draw(canvas.add_axes(inside), is_narrow)
        stream = io.StringIO()
        FigureCanvasSVG(canvas).print_svg(
            stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    drawing = _inner(stream.getvalue())
    drawing = _own_ids(drawing, name)
    head = (
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img"'
        f' aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    # Labels inside were escaped by matplotlib, title and description here.
    return Markup(f"{head}{_themed(drawing)}</svg>")  # noqa: S704


def _inner(document: str) -> str:
    """What stands inside the root element, without metadata and comments."""
    body = document[document.index(">", document.index("<svg")) + 1 : document.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    return re.sub(r"\n\s*", "\n", body.replace("xlink:href", "href")).strip()


def _own_ids(drawing: str, name: str) -> str:
    """Only ids that something refers to stay, and they carry the figure's name."""
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', drawing))
    referred = {first or second for first, second in used}

    def rename(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in referred else ""

    drawing = re.sub(r' id="([^"]+)"', rename, drawing)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", drawing)


_NAMES = {value: name for name, value in LIGHT.items()}


def _themed(drawing: str) -> str:
    """Palette values as the page's variables, fonts as the page's own."""
    drawing = re.sub(
        r"#[0-9a-f]{6}\b", lambda m: f"var(--{_NAMES[m[0]]})" if m[0] in _NAMES else m[0], drawing
    )
    return re.sub(r"font: ((?:\w+ )*)([\d.]+)px [^;\"]+", r"font: \1\2px var(--font)", drawing)
