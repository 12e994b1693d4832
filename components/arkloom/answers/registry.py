"""Finding an answer type by name: built in, registered, installed, or ``module:ATTRIBUTE``."""

from __future__ import annotations

import difflib
import importlib
import re
from functools import lru_cache
from importlib.metadata import entry_points

from arkloom.answers.protocol import REQUIRED, AnswerType
from arkloom.errors import BadInputError

GROUP = "arkloom.answers"
# Declared as entry points as well; named here so that a checkout on the path works uninstalled.
BUILT_IN = {
    "number": "arkloom.answers.number:NUMBER",
    "math": "arkloom.answers.math:MATH",
    "mcq": "arkloom.answers.mcq:MCQ",
    "short": "arkloom.answers.short:SHORT",
    "summary": "arkloom.answers.summary:SUMMARY",
}
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_registered: dict[str, AnswerType] = {}


def register(answer_type: AnswerType) -> AnswerType:
    """Make an answer type known in this process, under its own name; returns it.

    Raises:
        BadInputError: The object lacks part of the protocol.
    """
    checked = _checked(answer_type, where=getattr(answer_type, "name", type(answer_type).__name__))
    _registered[checked.name] = checked
    get.cache_clear()
    return checked


def names() -> list[str]:
    """Every known name, sorted."""
    installed = {point.name for point in entry_points(group=GROUP)}
    return sorted({*BUILT_IN, *_registered, *installed})


@lru_cache(maxsize=256)
def get(name: str) -> AnswerType:
    """The answer type called ``name``.

    Args:
        name: A known name, or ``module:ATTRIBUTE`` for one that is not installed.

    Raises:
        BadInputError: No such type, or it cannot be loaded, or lacks part of the protocol.
    """
    if name in _registered:
        return _registered[name]
    if name in BUILT_IN:
        return _load(BUILT_IN[name], where=name)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _load(point.value, where=name)
    if _REFERENCE.fullmatch(name):
        return _load(name, where=name)
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f'Did you mean "{near[0]}"? ' if near else ""
    raise BadInputError(
        f'unknown answer type "{name}"',
        where="answer_type",
        mend=f"{hint}Known: {', '.join(names())}, or module:ATTRIBUTE",
    )


def _load(reference: str, *, where: str) -> AnswerType:
    module, _, attribute = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise BadInputError(
            f"answer type {where} cannot be imported: {error}",
            where="answer_type",
            mend="Is its package installed, or its folder on PYTHONPATH?",
        ) from error
    except AttributeError as error:
        raise BadInputError(
            f"module {module} has no {attribute}", where="answer_type", mend="Write module:ATTRIBUTE"
        ) from error
    instance = found() if isinstance(found, type) else found
    return _checked(instance, where=reference)


def _checked(found: object, *, where: str) -> AnswerType:
    missing = [part for part in REQUIRED if not hasattr(found, part)]
    if missing or not isinstance(found, AnswerType):
        raise BadInputError(
            f"answer type {where} lacks {', '.join(missing)}",
            where="answer_type",
            mend=f"An answer type has {', '.join(REQUIRED)}",
        )
    return found
