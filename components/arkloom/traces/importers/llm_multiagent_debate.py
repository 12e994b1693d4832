"""The JSON that Du et al.'s debate code writes (arXiv 2305.14325): question -> [one chat an agent, gold].

The agents' texts are the assistant's messages; task, model and personas are read from the file's name,
``<task>_<model>_persona_<a>+<b>_agents<n>_rounds<k>.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arkloom.answers import extract
from arkloom.errors import BadInputError
from arkloom.records import Debate, Split
from arkloom.traces.importers.recording import Recording, answer_type_of, debate_of, parse_question

NAME = "llm_multiagent_debate"

_HEAD = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)+"\s*:\s*\[\s*\[\s*\[\s*\{\s*"role"')
_FILE = re.compile(
    r"(?P<task>[a-z0-9]+)_(?P<model>.+?)_(?:persona_(?P<personas>.+)|[^_]+)_agents\d+_rounds\d+"
)
_TASKS = {"gsm": "gsm8k"}


def fits(path: Path, head: str) -> bool:
    """Whether it is one object of question -> [[[{"role": ...."""
    return path.suffix == ".json" and bool(_HEAD.match(head))


def read(path: Path, split: Split) -> Iterator[Debate]:
    """One debate a question; the file is one JSON document and is read whole."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInputError(f"not UTF-8 JSON ({error})", where=str(path)) from error
    named = _FILE.fullmatch(path.stem)
    task = named["task"] if named else path.stem
    for index, (question, value) in enumerate(document.items()):
        where = f"{path} question {index}"
        texts, gold = _texts(value, where)
        asked, options = parse_question(question)
        task_name = _TASKS.get(task, task)
        yield debate_of(
            Recording(
                name=f"{path.stem}#{index}",
                task=task_name,
                model=named["model"] if named else "unknown",
                personas=tuple((named["personas"] or "").split("+")) if named and named["personas"] else (),
                question=asked,
                options=options,
                gold=extract(gold, answer_type_of(task_name, options)),
                rounds=texts,
            ),
            split,
        )


def _texts(value: Any, where: str) -> tuple[tuple[tuple[str, ...], ...], str]:
    """[round][agent] texts and the gold as written."""
    try:
        chats, gold = value
        said = [[turn["content"] for turn in chat if turn["role"] == "assistant"] for chat in chats]
        rounds = tuple(tuple(str(text) for text in texts) for texts in zip(*said, strict=True))
    except (TypeError, ValueError, KeyError) as error:
        raise BadInputError("not [one chat an agent, gold] with as many answers each", where=where) from error
    if not rounds:
        raise BadInputError("no answers", where=where)
    return rounds, str(gold)
