"""How many answers a second are graded: on the exact path, and by the symbolic worker.

    python benchmarks/grading.py [--json FILE]

The exact path reads and compares plain numbers inside the process. The symbolic path asks the worker about
expressions it has not seen before. A path's figure is the median of its rounds; the spread is (max - min) /
median. The closing ratio says how much dearer a symbolic grade is, which is why the exact path goes first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from arkloom.answers import grade
from arkloom.answers.symbolic import GRADER

ROUNDS = 5
EXACT = 4_000
SYMBOLIC = 200
LEAST = {"exact_per_second": 2_000.0, "symbolic_per_second": 10.0}
SPELLINGS: tuple[Callable[[int], str], ...] = (
    str,
    "{:,}".format,
    "{}.0".format,
    lambda number: rf"\frac{{{2 * number}}}{{2}}",
)


def exact_round(start: int) -> float:
    """Grades per second over plain numbers, none of them seen before."""
    answers = [(SPELLINGS[n % len(SPELLINGS)](n), str(n)) for n in range(start, start + EXACT)]
    began = time.perf_counter()
    right = sum(grade(answer, gold, "math") for answer, gold in answers)
    seconds = time.perf_counter() - began
    assert right == EXACT
    return EXACT / seconds


def symbolic_round(start: int) -> float:
    """Grades per second over pairs of expressions, none of them seen before."""
    answers = [(rf"{n} + x\sqrt{{12}}", rf"2\sqrt{{3}}x + {n}") for n in range(start, start + SYMBOLIC)]
    asked = GRADER.counts.asked
    began = time.perf_counter()
    right = sum(grade(answer, gold, "math") for answer, gold in answers)
    seconds = time.perf_counter() - began
    assert right == SYMBOLIC
    assert GRADER.counts.asked - asked == SYMBOLIC
    return SYMBOLIC / seconds


def spread(rates: list[float]) -> float:
    """(max - min) / median."""
    return (max(rates) - min(rates)) / statistics.median(rates)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the figures; 1 when a path is slower than its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here as {name: number}")
    chosen = parser.parse_args(arguments)
    grade("x+x", "2x", "math")  # the worker starts before the clock does
    paths: dict[str, list[float]] = {
        "exact_per_second": [exact_round(1_000 + EXACT * turn) for turn in range(ROUNDS)],
        "symbolic_per_second": [symbolic_round(1_000 + SYMBOLIC * turn) for turn in range(ROUNDS)],
    }
    figures = {name: statistics.median(rates) for name, rates in paths.items()}
    for name, rates in paths.items():
        print(f"{name:<20} {figures[name]:>9,.0f}   spread {spread(rates):.0%}   limit >= {LEAST[name]:,.0f}")
    figures["exact_over_symbolic"] = figures["exact_per_second"] / figures["symbolic_per_second"]
    print(f"{'exact_over_symbolic':<20} {figures['exact_over_symbolic']:>9,.1f}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return int(any(figures[name] < least for name, least in LEAST.items()))


if __name__ == "__main__":
    sys.exit(main())
