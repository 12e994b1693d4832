"""What a report page is made of; each block is rendered by the template of its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from markupsafe import Markup

Tone = Literal["", "good", "bad", "quiet"]


@dataclass(frozen=True)
class Block:
    """Base of all blocks; ``template`` names its file in ``templates/blocks``."""

    template: ClassVar[str]


@dataclass(frozen=True)
class Prose(Block):
    """Paragraphs; plain text is escaped, ``Markup`` stands as it is."""

    template = "prose"
    paragraphs: tuple[str | Markup, ...]
    quiet: bool = False


@dataclass(frozen=True)
class Points(Block):
    """Short statements, one under the other."""

    template = "points"
    told: tuple[str | Markup, ...]


@dataclass(frozen=True)
class Card:
    """One key figure: the number large, what it is above, how sure below."""

    label: str
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Cards(Block):
    """Key figures side by side."""

    template = "cards"
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Whisker:
    """A cell that draws an interval with its middle on a scale shared by the column.

    Attributes:
        low: Lower end of the interval.
        middle: The estimate.
        high: Upper end of the interval.
        scale: Least and greatest value of the column.
        zero: Where a thin line stands (no difference), or None.
        tone: Its colour.
    """

    low: float
    middle: float
    high: float
    scale: tuple[float, float]
    zero: float | None = None
    tone: Tone = ""

    def at(self, value: float) -> float:
        """Percent of the cell's width."""
        least, greatest = self.scale
        share = (value - least) / (greatest - least) if greatest > least else 0.5
        return round(100 * min(max(share, 0.0), 1.0), 2)


Cell = str | Markup | Whisker


@dataclass(frozen=True)
class Table(Block):
    """Rows under named columns.

    Attributes:
        columns: Head of each column.
        rows: As many cells a row as there are columns.
        numeric: Columns (from 0) that are set flush right.
        caption: What the table shows.
        strong: Rows (from 0) that stand out.
        foot: A line under the table.
        extra: Columns (from 0) that narrow screens leave out.
    """

    template = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    caption: str = ""
    strong: frozenset[int] = frozenset()
    foot: str = ""
    extra: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")

    def looks(self, column: int) -> str:
        """CSS classes of a column's cells."""
        return " ".join(
            name for name, among in (("number", self.numeric), ("extra", self.extra)) if column in among
        )


@dataclass(frozen=True)
class Facts(Block):
    """Names with their values, for how something was computed."""

    template = "facts"
    pairs: tuple[tuple[str, str | Markup], ...]


@dataclass(frozen=True)
class Bar:
    """One bar of ``Bars``: a count, with the word for it."""

    label: str
    count: float
    written: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Bars(Block):
    """Counts as horizontal bars, drawn by the page itself, longest = full width."""

    template = "bars"
    bars: tuple[Bar, ...]
    caption: str = ""

    def share(self, bar: Bar) -> float:
        """Percent of the longest bar."""
        longest = max((other.count for other in self.bars), default=0)
        return round(100 * bar.count / longest, 2) if longest else 0.0


@dataclass(frozen=True)
class Figure(Block):
    """A drawing for wide and one for narrow screens; made by ``reports.figures.figure``."""

    template = "figure"
    title: str
    wide: Markup
    narrow: Markup
    caption: str = ""


@dataclass(frozen=True)
class Beside(Block):
    """Blocks side by side where the screen is wide enough."""

    template = "beside"
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Fold(Block):
    """Blocks behind a line that opens them."""

    template = "fold"
    summary: str
    blocks: tuple[Block, ...]
    open: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page under its own heading."""

    title: str
    blocks: Sequence[Block]
    lead: str | Markup = ""


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: Also the document's title.
        lead: The finding, in a sentence.
        sections: In reading order; those without blocks are left out.
        kicker: A few words over the title.
        remark: A plain sentence under the lead.
        foot: The last line.
    """

    title: str
    lead: str | Markup
    sections: Sequence[Section]
    kicker: str = ""
    remark: str | Markup = ""
    foot: str = ""
    opening: Sequence[Block] = field(default_factory=tuple)
