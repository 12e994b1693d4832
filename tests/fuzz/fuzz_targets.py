"""What is fuzzed: each target makes an input, and reads it as Arkloom would.

Reading may only end well or with an ``ArkloomError`` of one line; everything else is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fuzz_config
import fuzz_rows as rows
from fuzz_texts import Maker, bytes_of, file_of

from arkloom import answers, problems
from arkloom.config import ProblemsConfig
from arkloom.errors import ArkloomError
from arkloom.jsonl import dump, read_records
from arkloom.label.human import by_hand
from arkloom.problems.reading import read as read_problems
from arkloom.problems.registry import SOURCES
from arkloom.prompts import Prompts
from arkloom.protocol.log import DebateLog
from arkloom.records import Debate, Problem, PromptRow, Record, Score, TrainingRow
from arkloom.sections import StoreConfig
from arkloom.steps import operations, split
from arkloom.store import open_store
from arkloom.traces.importers import FORMATS, read_log

LONGEST_LINE = 2_000  # characters of an error: one clear line
TYPES = ("number", "math", "mcq", "short", "summary")
Read = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        make: An input: JSON, so that it can be kept in a table; bytes as latin-1 text.
        read: Reads it; files go into the folder.
    """

    name: str
    make: Callable[[Maker], Any]
    read: Read


def attempt(target: Target, given: Any, folder: Path) -> ArkloomError | None:
    """Read one input; the error if it was refused.

    Raises:
        Exception: Whatever is no ``ArkloomError``; also an AssertionError where a refusal is no clear line.
    """
    return refusal(lambda: target.read(given, folder))


def refusal(read: Callable[[], Any]) -> ArkloomError | None:
    """The error that a reader refuses its input with, if it does: one line that can be printed."""
    try:
        read()
    except ArkloomError as error:
        refused = error
    else:
        return None
    line = refused.line()
    assert "\n" not in line
    assert len(line) <= LONGEST_LINE, f"an error line of {len(line)} characters: {line[:200]}"
    line.encode()
    return refused


# Answers


def _make_text(maker: Maker) -> list[str]:
    return [_spoken(maker)]


def _spoken(maker: Maker) -> str:
    rng = maker.rng
    if rng.random() < 0.5:
        return maker.changed(rng.choice(rows.answers()))
    return maker.text(20)


def _extract(given: list[str], folder: Path) -> None:
    for name in TYPES:
        answer = answers.extract(given[0], name)
        if answer is not None:
            assert answer.strip(), "an empty answer is no answer"
            answers.classes([answer, None, answer], name) if name != "summary" else None


def _make_pair(maker: Maker) -> list[str]:
    """An answer, a gold and their type; often the gold is the answer, changed."""
    kind = maker.rng.choice(TYPES)
    text = _spoken(maker)
    answer = (answers.extract(text, kind) if maker.rng.random() < 0.5 else None) or text
    gold = answer if maker.rng.random() < 0.2 else maker.changed(answer)
    return [answer, gold if maker.rng.random() < 0.7 else maker.text(4), kind]


def _score(given: list[str], folder: Path) -> None:
    answer, gold, kind = given
    assert 0.0 <= answers.score(answer, gold, kind) <= 1.0
    assert 0.0 <= answers.score(gold, answer, kind) <= 1.0
    if kind != "summary":
        answers.classes([answer, gold, None, answer], kind)
    answers.check_gold(gold, kind)


# Logs


def _make_records(maker: Maker) -> list[str]:
    return [bytes_of(maker, maker.lines(_named))]


def _named(row: Any) -> Any:
    """A record under the id of what it now asks, so that reading goes on behind that check."""
    try:
        return {**row, "id": Debate.model_construct(**row).problem().id}
    except Exception:  # altered beyond having one
        return row


def _records(given: list[str], folder: Path) -> None:
    path = file_of(given[0], folder / "debates-00000.jsonl")
    for debate in read_log(path, "debate.v1"):
        _written(debate)
    _all_of(read_log(folder))


def _make_log(maker: Maker) -> list[str]:
    name = maker.rng.choice([*FORMATS, ""])
    if maker.rng.random() < 0.5:
        maker.rows = rows.chats()
        document = maker.row()
        if maker.rng.random() < 0.3:
            document = {maker.changed(question): held for question, held in document.items()}
        return [
            name,
            "gsm_m_persona_a+b_agents2_rounds1.json",
            bytes_of(maker, maker.json(maker.altered(document))),
        ]
    return [name, "log.jsonl", bytes_of(maker, maker.lines())]


def _log(given: list[str], folder: Path) -> None:
    name, file, content = given
    path = file_of(content, folder / file)
    try:
        for debate in read_log(path, name or None):
            _written(debate)
    finally:
        path.unlink()


def _written(debate: Debate) -> None:
    """A record that was read can be written and read again, and has the ids that it needs."""
    assert Debate.model_validate_json(dump(debate)) == debate
    assert debate.problem().content_hash


def _all_of(found: Iterable[Any]) -> None:
    for _ in found:
        pass


def _resume(given: list[str], folder: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    for old in scratch.iterdir():
        old.unlink()
    file_of(given[0], scratch / "debates-00000.jsonl.part")
    file_of(given[0][-400:], scratch / "timing-00000.jsonl.part")
    log = DebateLog(folder / "out", scratch, 2)
    try:
        log.errors()
        log.prove()
        _all_of(log.records())
        log.finish()
    finally:
        log.close()


# Manifests


def _make_manifest(maker: Maker) -> list[str]:
    return [bytes_of(maker, maker.json(maker.altered(maker.row())))]


def _manifest(given: list[str], folder: Path) -> None:
    store = open_store(StoreConfig(root=str(folder / "store")))
    place = folder / "store" / "debate" / "k"
    place.mkdir(parents=True, exist_ok=True)
    file_of(given[0], place / "manifest.json")
    pointer = folder / "store" / "runs" / "r" / "debate.json"
    pointer.parent.mkdir(parents=True, exist_ok=True)
    file_of(given[0], pointer)
    for read in (
        lambda: store.find("debate", "k"),
        lambda: store.open(place.as_uri()),
        lambda: [store.verify(found) for found in [store.find("debate", "k")] if found is not None],
        lambda: store.pointers("r"),
    ):
        refusal(read)


# Problems


def _make_problems(maker: Maker) -> list[Any]:
    rng = maker.rng
    kind = rng.choice(["number", "math", "mcq", "short", "summary"])
    if rng.random() < 0.4:
        text = rng.choice(rows.tables())
        text = maker.changed(text) if rng.random() < 0.8 else text + maker.text(6)
        columns = rng.choice(
            [{}, {}, {"options": "A,B"}, {"question": "id", "id": "question"}, {"gold": "B"}]
        )
        return [rng.choice(["csv", "mcq"]), ".csv", columns, kind, bytes_of(maker, text)]
    name = rng.choice([name for name in sorted(SOURCES) if name not in {"csv", "parquet"}])
    maker.rows = (*rows.PROBLEMS.get(name, rows.PROBLEMS["jsonl"]), *_REAL.get(name, tuple)())
    columns = rng.choice([{}, {}, {}, {"question": "gold"}, {"gold": "question", "id": "answer"}])
    return [name, ".jsonl", columns, kind, bytes_of(maker, maker.lines())]


_REAL: dict[str, Callable[[], tuple[Any, ...]]] = {
    "gsm8k": lambda: rows.real("gsm8k/t*.jsonl"),
    "math": lambda: rows.real("math500/*.jsonl"),
    "mcq": lambda: rows.real("medical_mcq/*.jsonl"),
}


def _make_parquet(maker: Maker) -> list[Any]:
    import pyarrow
    from pyarrow import parquet

    maker.rows = rows.PROBLEMS["jsonl"]
    found = [maker.altered(maker.row()) for _ in range(maker.rng.randint(0, 3))]
    sink = pyarrow.BufferOutputStream()
    try:
        table = pyarrow.Table.from_pylist(found)
    except (pyarrow.ArrowException, ValueError, TypeError, AttributeError, OverflowError):
        table = pyarrow.Table.from_pylist(rows.PROBLEMS["jsonl"])
    try:
        parquet.write_table(table, sink, compression=maker.rng.choice(["none", "snappy"]))
    except pyarrow.ArrowException:
        return ["parquet", ".parquet", {}, "short", "PAR1"]
    content = sink.getvalue().to_pybytes().decode("latin-1")
    for _ in range(maker.rng.choice([0, 1, 1, 3, 30])):
        place = maker.rng.randrange(len(content))
        content = content[:place] + chr(maker.rng.randrange(256)) + content[place + maker.rng.randint(0, 2) :]
    return ["parquet", ".parquet", {}, maker.rng.choice(TYPES), content]


def _problems(given: list[Any], folder: Path) -> None:
    name, suffix, columns, kind, content = given
    path = file_of(content, folder / f"problems{suffix}")
    problems_config = ProblemsConfig(
        source=name, path=str(path), columns=columns, answer_type=kind, train=1, validation=0, test=0
    )
    found, _ = read_problems(problems_config, path)
    for one in found:
        text = dump(one.problem)
        assert dump(Problem.model_validate_json(text)) == text
    problems.draw(problems_config)


# Steps and their labels


def _make_solution(maker: Maker) -> list[str]:
    return [maker.changed(maker.rng.choice(rows.answers())) if maker.rng.random() < 0.5 else maker.text(30)]


def _steps(given: list[str], folder: Path) -> None:
    text = given[0]
    found = split.split(text)
    assert len(found) <= split.MAX_STEPS
    assert [step.end for step in found] == sorted({step.end for step in found})
    assert all(0 < step.end <= len(text) for step in found)
    split.signature(found)
    for equation in operations.equations(text, text[-200:]):
        operations.value(equation.operation)
    operations.value(text)


def _make_labels(maker: Maker) -> list[str]:
    if maker.rng.random() < 0.5:
        return [".jsonl", bytes_of(maker, maker.lines())]
    entries = [maker.altered(maker.row()) for _ in range(maker.rng.randint(1, 3))]
    return [".json", bytes_of(maker, maker.json(entries))]


def _labels(given: list[str], folder: Path) -> None:
    suffix, content = given
    path = file_of(content, folder / f"labels{suffix}")
    for labelled in by_hand(path, Prompts("natural", "chat"), "number"):
        assert len(labelled.row.labels) in (0, len(labelled.row.step_ends))
        dump(labelled.row)
    for record in (TrainingRow, PromptRow, Score):
        refusal(partial(_all_records, path, record))


def _all_records(path: Path, record: type[Record]) -> None:
    _all_of(read_records(path, record))


_ROWS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "debate.v1": rows.debates,
    "resume": rows.debates,
    "foreign logs": rows.rounds,
    "manifest": rows.manifests,
    "config": rows.configs,
    "labels": rows.steps,
}
TARGETS = {
    target.name: target
    for target in (
        Target("extract", _make_text, _extract),
        Target("score", _make_pair, _score),
        Target("debate.v1", _make_records, _records),
        Target("foreign logs", _make_log, _log),
        Target("resume", _make_records, _resume),
        Target("manifest", _make_manifest, _manifest),
        Target("config", fuzz_config.make, fuzz_config.read),
        Target("problems", _make_problems, _problems),
        Target("parquet", _make_parquet, _problems),
        Target("steps", _make_solution, _steps),
        Target("labels", _make_labels, _labels),
    )
}


def warm_up() -> None:
    """Load what is loaded once, so that no input is charged for it."""
    for name in TYPES:
        answers.score("1", "2", name)


def seeds(name: str) -> tuple[Any, ...]:
    """The rows that a target's inputs are made from."""
    return _ROWS[name]() if name in _ROWS else ()
