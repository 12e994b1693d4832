"""Draws the three splits: disjoint by content, seeded, and stable when a split grows.

A file's problems stand in one order, a hash of seed and content. Test is its front, validation
follows, train is its back: a larger train keeps test and validation as they are, and begins with
the smaller train. A generated source draws test, then validation, then train, each from a stream
of its own.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from arkloom import answers
from arkloom.canonical import digest, digest_file
from arkloom.config import ProblemsConfig
from arkloom.errors import BadInputError
from arkloom.problems import arithmetic
from arkloom.problems.registry import SOURCES
from arkloom.problems.rows import Row, Source, check_columns
from arkloom.records import Problem, Split


@dataclass(frozen=True)
class Draw:
    """The problems of each split, and how many repeated questions were dropped on the way."""

    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    test: tuple[Problem, ...]
    dropped: int = 0


@dataclass(frozen=True)
class Found:
    """A row as a problem (of split test until it is dealt), with its content hash."""

    problem: Problem
    content: str
    row: Row


def draw(config: ProblemsConfig) -> Draw:
    """The splits that a configuration asks for.

    Raises:
        BadInputError: A file, row or field cannot be used, splits overlap, or there are too few.
    """
    if config.source == "arithmetic":
        return _generated(config)
    source = SOURCES[config.source]
    if config.path is None:
        raise BadInputError(
            f"source {source.name} needs a file", where="config problems.path", mend="Set problems.path"
        )
    check_columns(config.columns)
    pool, dropped = read(source, Path(config.path), config)
    tests, more = pool, 0
    if config.test_path is not None:
        tests, more = read(source, Path(config.test_path), config)
        _refuse_overlap(pool, tests)
    _refuse_few(config, pool, tests)
    rest = pool if config.test_path is not None else pool[config.test :]
    return Draw(
        train=_dealt(reversed(pool[len(pool) - config.train :]), "train"),
        validation=_dealt(rest[: config.validation], "validation"),
        test=_dealt(tests[: config.test], "test"),
        dropped=dropped + more,
    )


def digests(config: ProblemsConfig) -> dict[str, str]:
    """Sha256 of every file that ``draw`` reads, by name: new content must make a new artifact.

    Raises:
        BadInputError: A file cannot be read.
    """
    if config.source == "arithmetic":
        return {}
    found = {}
    ood = config.ood_path if config.ood else None
    for role, path in (("path", config.path), ("test_path", config.test_path), ("ood_path", ood)):
        for file in SOURCES[config.source].files(Path(path)) if path is not None else ():
            try:
                found[f"{role}/{file.name}"] = digest_file(file)
            except OSError as error:
                raise BadInputError(
                    f"cannot read ({error.strerror})", where=str(file), mend=f"Check problems.{role}"
                ) from error
    return found


def _generated(config: ProblemsConfig) -> Draw:
    form, low, high = arithmetic.SUM, config.low, config.high
    if low > high:
        raise BadInputError(f"low {low} is above high {high}", where="config problems.low")
    asked = config.train + config.validation + config.test + min(config.robustness, config.test)
    there = arithmetic.count(form, low, high)
    if asked > there:
        raise BadInputError(
            f"{asked} problems asked, {there} exist between {low} and {high}",
            where="config problems",
            mend="Ask for fewer, or widen problems.low and problems.high",
        )
    seen: set[str] = set()
    splits = {
        split: unseen(
            arithmetic.generate(form, low, high, config.seed, split),
            size,
            seen,
            split=split,
            answer_type=config.answer_type,
            meta={"form": form.name},
        )
        for split, size in _sizes(config)
    }
    return Draw(splits["train"], splits["validation"], splits["test"])


def unseen(
    stream: Iterator[tuple[str, int]],
    size: int,
    seen: set[str],
    *,
    split: Split,
    answer_type: str,
    meta: dict[str, Any],
) -> tuple[Problem, ...]:
    """The first ``size`` problems of an endless stream whose content is not in ``seen``; adds theirs."""
    problems: list[Problem] = []
    while len(problems) < size:
        question, value = next(stream)
        problem = Problem(
            dataset="arithmetic",
            split=split,
            question=question,
            gold=str(value),
            answer_type=answer_type,
            meta=meta,
        )
        if problem.content_hash not in seen:
            answers.check_gold(str(value), answer_type)
            seen.add(problem.content_hash)
            problems.append(problem)
    return tuple(problems)


def _sizes(config: ProblemsConfig) -> tuple[tuple[Split, int], ...]:
    return ("test", config.test), ("validation", config.validation), ("train", config.train)


def read(source: Source, path: Path, config: ProblemsConfig) -> tuple[list[Found], int]:
    """Every problem under a path in the seeded order, and how many repeated ones were dropped."""
    rows = list(chain.from_iterable(source.read(file, config.columns) for file in source.files(path)))
    if not rows:
        raise BadInputError("no problem in it", where=str(path), mend="Give it one problem a line")
    _refuse_same_ids(rows)
    first: dict[str, Found] = {}
    for row in rows:
        found = _checked(source, path, row, config)
        earlier = first.setdefault(found.content, found)
        if earlier is not found and not source.published and earlier.problem.id == found.problem.id:
            raise BadInputError(
                f"duplicate id: the same question as {_place(earlier.row, row)}",
                where=row.where,
                mend="Remove one of the two",
            )
    ordered = sorted(first.values(), key=lambda found: digest(["split", config.seed, found.content]))
    return ordered, len(rows) - len(first)


def _checked(source: Source, path: Path, row: Row, config: ProblemsConfig) -> Found:
    """A row as a problem whose gold can be graded."""
    try:
        answers.check_gold(row.gold, config.answer_type)
    except BadInputError as error:
        hint = f"Set problems.answer_type={source.answer_type}" if source.published else error.mend
        raise BadInputError(error.what, where=f"{row.where} field gold", mend=hint) from error
    letters = string.ascii_uppercase[: len(row.options)]
    if row.options and config.answer_type == "mcq" and row.gold.strip("() .").upper() not in tuple(letters):
        raise BadInputError(
            f"wrong gold type: {row.gold[:40]!r} names none of the {len(letters)} options",
            where=f"{row.where} field gold",
            mend=f"Write a letter from A to {letters[-1]}",
        )
    dataset = source.name if source.name in ("gsm8k", "math") else path.stem
    problem = Problem(
        dataset=dataset,
        split="test",
        question=row.question,
        options=row.options,
        gold=row.gold,
        answer_type=config.answer_type,
        meta={**row.meta, **({"id": row.id} if row.id is not None else {})},
    )
    return Found(problem, problem.content_hash, row)


def _refuse_same_ids(rows: Iterable[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        if row.id is not None and (earlier := seen.setdefault(row.id, row)) is not row:
            raise BadInputError(
                f"duplicate id {row.id!r}, also at {_place(earlier, row)}",
                where=f"{row.where} field id",
                mend="Give every problem an id of its own",
            )


def _refuse_overlap(pool: Iterable[Found], tests: Iterable[Found]) -> None:
    known = {found.content: found for found in pool}
    shared = [found for found in tests if found.content in known]
    if shared:
        found = min(shared, key=lambda one: (len(one.row.where), one.row.where))
        raise BadInputError(
            f"overlapping splits: {len(shared)} question(s) also in the other file, this one at "
            f"{known[found.content].row.where}",
            where=found.row.where,
            mend="Remove them from one of the two files",
        )


def _refuse_few(config: ProblemsConfig, pool: list[Found], tests: list[Found]) -> None:
    apart = config.test_path is not None
    needed = config.train + config.validation + (0 if apart else config.test)
    for name, found, asked in (("path", pool, needed), ("test_path", tests, config.test)):
        if len(found) < asked:
            wanted = "test" if name == "test_path" else ("train + validation" if apart else "all splits")
            raise BadInputError(
                f"{len(found)} different problems, {asked} asked ({wanted})",
                where=str(getattr(config, name) or config.path),
                mend="Lower problems.train, problems.validation or problems.test",
            )


def _place(earlier: Row, row: Row) -> str:
    """Where an earlier row stands: only its line when it is in the same file."""
    file, _, line = earlier.where.rpartition(" line ")
    return f"line {line}" if row.where.startswith(f"{file} line ") else earlier.where


def _dealt(found: Iterable[Found], split: Split) -> tuple[Problem, ...]:
    return tuple(one.problem.model_copy(update={"split": split}) for one in found)
