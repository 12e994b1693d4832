"""Test problems asked again, disturbed: what a robust student answers as it answered before.

Every disturbed problem keeps in ``meta.original`` the id of the problem that it came from, so that the
two can be compared, and an exact gold: nothing is changed whose answer could not be told for sure.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from arkloom.canonical import derive_seed
from arkloom.config import ProblemsConfig
from arkloom.problems import arithmetic
from arkloom.problems.draw import Draw, unseen
from arkloom.records import Problem

DISTRACTORS = (
    "The library across the river closes at 6 in the evening.",
    "A photograph of a lighthouse hangs in the corridor.",
    "The last tram of the day has 3 green seats at the back.",
    "It had rained in the mountains the night before.",
    "The oldest bridge of the town is 212 metres long.",
    "Somebody had left a grey umbrella at the station.",
    "The radio next door was playing a waltz.",
    "There are 14 chimneys on the roof of the old mill.",
)
# An option that speaks of others, by place or letter, changes its meaning when they move.
_REFERS = re.compile(
    r"\b(?i:all|none|both|any|neither|either|some|one|two)\b[\w\s]*"
    r"\b(?i:above|below|these|those|them|others?|options?|choices?|answers?|preceding|following|correct|true)\b"
    r"|\b[A-HJ]\b\)?\s*(?:and|or|&|,|nor)\s*\(?[A-HJ]\b"  # I is a numeral more often than a letter
    r"|\b(?i:option|choice|answer)s?\s+\(?[A-J]\b"
)


@dataclass(frozen=True)
class Disturbed:
    """Sets by name, and why a set is not there."""

    sets: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def disturb(config: ProblemsConfig, drawn: Draw, profile: str) -> Disturbed:
    """Up to ``problems.robustness`` test problems in every way that leaves their gold certain.

    Args:
        config: How many, and which kind of problems these are.
        drawn: The splits; disturbed problems are made from ``test``, and none equals a problem of another.
        profile: The prompt profile: a sentence is added to natural text alone.
    """
    if not config.robustness:
        return Disturbed()
    makers: dict[str, Callable[[], tuple[Problem, ...] | str]] = {
        "distractor": lambda: _distracted(config, drawn.test, profile),
        "reordered": lambda: _reordered(config, drawn.test),
        "numbers": lambda: _renumbered(config, drawn),
    }
    sets, left_out = {}, {}
    for name, make in makers.items():
        made = make()
        if isinstance(made, str) or not made:
            left_out[name] = made if isinstance(made, str) else "no test problem can be changed so"
        else:
            sets[name] = made
    return Disturbed(sets, left_out)


def distracted(problem: Problem, seed: int) -> Problem:
    """The problem behind a sentence that has nothing to do with it; its gold stays."""
    sentence = _random(seed, "distractor", problem).choice(DISTRACTORS)
    return _made(problem, "distractor", question=f"{sentence} {problem.question}")


def reordered(problem: Problem, seed: int) -> Problem | None:
    """The problem with its options in another order; the gold letter follows the right one.

    Returns:
        None where an option speaks of others ("all of the above"), or the right one stands twice.
    """
    options = problem.options
    right = _index(problem)
    if right is None or options.count(options[right]) > 1 or any(_REFERS.search(text) for text in options):
        return None
    random, order = _random(seed, "reordered", problem), list(range(len(options)))
    while order[right] == right:  # the right option moves, so that no letter can be learned by heart
        random.shuffle(order)
    letter = string.ascii_uppercase[order.index(right)]
    return _made(problem, "reordered", options=tuple(options[index] for index in order), gold=letter)


def _distracted(config: ProblemsConfig, test: Sequence[Problem], profile: str) -> tuple[Problem, ...] | str:
    if profile != "natural":
        return f"the prompt profile {profile!r} is no natural text"
    return tuple(distracted(problem, config.seed) for problem in test[: config.robustness])


def _reordered(config: ProblemsConfig, test: Sequence[Problem]) -> tuple[Problem, ...] | str:
    if config.answer_type != "mcq" or not any(problem.options for problem in test):
        return "the problems have no options"
    made = (reordered(problem, config.seed) for problem in test)
    return tuple(problem for problem in made if problem is not None)[: config.robustness]


def _renumbered(config: ProblemsConfig, drawn: Draw) -> tuple[Problem, ...] | str:
    if config.source != "arithmetic":
        return "the gold of other numbers cannot be computed"
    originals = drawn.test[: config.robustness]
    seen = {problem.content_hash for problem in (*drawn.train, *drawn.validation, *drawn.test)}
    form = arithmetic.SUM
    new = unseen(
        arithmetic.generate(form, config.low, config.high, config.seed, "numbers"),
        len(originals),
        seen,
        split="test",
        answer_type=config.answer_type,
        meta={"form": form.name},
    )
    return tuple(
        _made(original, "numbers", question=other.question, gold=other.gold)
        for original, other in zip(originals, new, strict=True)
    )


def _index(problem: Problem) -> int | None:
    """Place of the right option, where the gold is the letter of one and there is another."""
    letters = string.ascii_uppercase[: len(problem.options)]
    gold = (problem.gold or "").strip("() .").upper()
    return letters.index(gold) if len(letters) > 1 and gold in tuple(letters) else None


def _made(problem: Problem, how: str, **changed: object) -> Problem:
    meta = {**problem.meta, "original": problem.id, "disturbed": how}
    return problem.model_copy(update={**changed, "meta": meta})


def _random(seed: int, how: str, problem: Problem) -> Random:
    return Random(derive_seed(how, seed, problem.id))  # noqa: S311 - an order, not a secret
