"""Problems of the user's own: CSV with a header, or JSONL; columns by name or by ``problems.columns``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arkloom.errors import BadInputError
from arkloom.problems import rows
from arkloom.problems.files import csv_rows, json_objects
from arkloom.problems.rows import Columns, Row, Source


def read_jsonl(path: Path, columns: Columns) -> Iterator[Row]:
    """Rows of a JSONL file: ``question``, ``gold``, and where there are some ``options`` and ``id``."""
    for where, found in json_objects(path):
        for name in ("question", "gold"):
            rows.require(name, rows.column(columns, name), found, where)
        listed = rows.column(columns, "options")
        if "options" in columns:
            rows.require("options", listed, found, where)
        texts = rows.options(found[listed], where, listed) if found.get(listed) is not None else ()
        yield _row(found, columns, where, texts)


def read_csv(path: Path, columns: Columns) -> Iterator[Row]:
    """Rows of a CSV file with a header; several option columns are named ``options: "A,B,C,D"``."""
    table = csv_rows(path)
    where, header = next(table)
    header = [name.strip() for name in header]
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise BadInputError(f"two columns are named {twice!r}", where=where)
    option_names = [name.strip() for name in columns.get("options", "").split(",") if name.strip()]
    for name in ("question", "gold"):
        rows.require(name, rows.column(columns, name), header, where)
    for name in option_names:
        rows.require("options", name, header, where)
    for place, cells in table:
        found = dict(zip(header, cells, strict=True))
        texts = rows.options([found[name] for name in option_names], place) if option_names else ()
        yield _row(found, columns, place, texts)


def _row(found: Mapping[str, Any], columns: Columns, where: str, texts: tuple[str, ...]) -> Row:
    asked, right, named = (rows.column(columns, name) for name in ("question", "gold", "id"))
    if "id" in columns:
        rows.require("id", named, found, where)
    own = found.get(named)
    return Row(
        question=rows.question(found[asked], where, asked),
        gold=rows.gold(found[right], where, right),
        where=where,
        options=texts,
        id=None if own in (None, "") else str(own),
    )


JSONL = Source("jsonl", "short", (".jsonl",), read_jsonl)
CSV = Source("csv", "short", (".csv",), read_csv)
