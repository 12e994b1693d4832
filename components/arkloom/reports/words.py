"""Figures in words: how reports write shares, intervals, differences, p-values and times."""

from __future__ import annotations

import math
from collections.abc import Sequence

NBSP = "\u00a0"
MINUS = "\u2212"
_SMALLEST_P = 0.001


def percent(share: float, digits: int = 0) -> str:
    """``0.974`` as ``97 %``, the unit kept on the line of its number."""
    return f"{minus(f'{100 * share:.{digits}f}')}{NBSP}%"


def fixed(value: float, digits: int = 3) -> str:
    """A number with ``digits`` decimals and a real minus sign."""
    return minus(f"{value:.{digits}f}")


def signed(value: float, digits: int = 3) -> str:
    """A difference: always with its sign."""
    return minus(f"{value:+.{digits}f}")


def interval(bounds: Sequence[float], digits: int = 3, *, sign: bool = False) -> str:
    """``[lo, hi]`` with ``digits`` decimals."""
    low, high = bounds
    write = signed if sign else fixed
    return f"[{write(low, digits)},{NBSP}{write(high, digits)}]"


def percent_interval(bounds: Sequence[float]) -> str:
    """``[0.92, 1.03]`` as ``[92, 103]``: the percent sign stands before it."""
    low, high = bounds
    return f"[{minus(f'{100 * low:.0f}')},{NBSP}{minus(f'{100 * high:.0f}')}]"


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: ``+51.4``."""
    return signed(100 * share, 1)


def points_interval(bounds: Sequence[float]) -> str:
    """``[+46.2, +56.6]`` for bounds given as shares."""
    return interval([100 * bound for bound in bounds], 1, sign=True)


def p_value(value: float) -> str:
    """A p-value; below 0.001 only that is said."""
    return f"<{NBSP}{_SMALLEST_P}" if value < _SMALLEST_P else f"{value:.3f}"


def quantity(value: float) -> str:
    """A count or mean: thousands grouped by a thin space, decimals only where they tell something."""
    if value == int(value) or abs(value) >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.{max(0, 2 - int(math.log10(max(abs(value), 1))))}f}"
    return minus(text.replace(",", "\u202f"))


def duration(seconds: float) -> str:
    """Seconds as people say them: ``0.4 s``, ``12 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds < 10:
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NBSP}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min {rest}{NBSP}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NBSP}h {minutes}{NBSP}min"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 debate``, ``3 debates``."""
    return f"{quantity(count)}{NBSP}{one if count == 1 else many or one + 's'}"


def listing(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def shorten(text: str, length: int = 48) -> str:
    """Text on one line, cut to ``length`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def minus(text: str) -> str:
    """Hyphens of numbers as minus signs; a rounded ``-0.0`` is ``0.0``."""
    if text.startswith("-") and not text.strip("-0."):
        text = text[1:]
    return text.replace("-", MINUS)
