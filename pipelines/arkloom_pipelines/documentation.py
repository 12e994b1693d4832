"""Writes ``docs/parameters.md``: the pipeline's parameters, its steps, and the configuration's keys.

``python -m arkloom_pipelines.documentation > docs/parameters.md``; a test holds the file to what is declared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from arkloom.config import RunConfig
from arkloom_pipelines.parameters import PARAMETERS, WORDS
from arkloom_pipelines.placement import PATIENCE, ROOM
from arkloom_pipelines.plan import presets

_HEAD = """\
# Parameters

Made by `python -m arkloom_pipelines.documentation`; do not edit by hand.

A run of the pipeline has the parameters below. What it computes stands in one of them, `config`, as YAML
with the [keys of the configuration](#configuration); the rest says where and on what. `arkloom pipeline
compile` and `submit` set other defaults by `--parameter name=value`; a form in Kubeflow's UI asks for each.
The arms (`evaluate.arms`), the source of labels and the number of shares decide which steps there are: they
are compiled in, and a run whose `config` asks for others is refused by its first step.
"""
_STEPS = """\
## Steps

Fixed when the pipeline is compiled, since Kubeflow takes them only then. A step that is tried again goes on
where the last try stood; the time of a try includes waiting for a node.
"""
_CONFIGURATION = """\
## Configuration

Every key, for `--config FILE`, `--set a.b=c`, the parameter `config` and the ConfigMap `arkloom-config`.
`arkloom config` prints all of them as they would be used. What stands under `engine`, `store` and `runtime`
changes no result: it says where and how, not what.
"""
_COLUMNS = ("key", "type", "default", "meaning")


def document() -> str:
    """The whole page."""
    named = ", ".join(f"`{name}`" for name in presets())
    parts = [
        _HEAD,
        f"Presets, each a configuration and parameters that fit it: {named}.\n",
        "## Pipeline\n",
        _table(("parameter", "type", "default", "meaning"), _parameters()),
        _STEPS,
        _table(("step", "tries", "hours a try"), _patience()),
        _table(("image", "scratch on disk", "shared memory"), _rooms()),
        _CONFIGURATION,
        *_sections(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _parameters() -> Iterator[Iterable[str]]:
    for each in PARAMETERS:
        default = "the compiled configuration" if each.name == "config" else f"`{json.dumps(each.default)}`"
        yield f"`{each.name}`", WORDS[each.kind], default, each.meaning


def _patience() -> Iterator[Iterable[str]]:
    for step, patience in PATIENCE.items():
        yield step, str(patience.retries + 1), f"{patience.hours:g}"


def _rooms() -> Iterator[Iterable[str]]:
    for environment, room in ROOM.items():
        yield environment, room.cache, room.shared_memory or ""


def _sections() -> Iterator[str]:
    fields, usual = RunConfig.model_fields, RunConfig()
    single = {name: field for name, field in fields.items() if _model(field.annotation) is None}
    yield _table(_COLUMNS, _rows(single, usual, ""))
    for name, field in fields.items():
        if (model := _model(field.annotation)) is not None:
            about = (model.__doc__ or "").strip().splitlines()[0].replace("``", "`")
            yield f"### {name}\n\n{about}\n"
            yield _table(_COLUMNS, _rows(model.model_fields, getattr(usual, name), f"{name}."))


def _rows(fields: Mapping[str, FieldInfo], usual: BaseModel, prefix: str) -> Iterator[Iterable[str]]:
    """A row a key; ``usual`` is the section as it is where nothing is set."""
    for name, field in fields.items():
        value = getattr(usual, name)
        if (model := _model(field.annotation)) is not None:
            yield from _rows(model.model_fields, value, f"{prefix}{name}.")
        else:
            default = f"`{json.dumps(value)}`"
            yield f"`{prefix}{name}`", _kind(field.annotation), default, field.description or ""


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _kind(annotation: Any) -> str:
    """A type as a reader of YAML knows it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in {Union, UnionType}:
        return " or ".join(_kind(each) for each in inner if each is not NoneType)
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"mapping to {_kind(inner[1])}"
    if _model(annotation) is not None:
        return "model, as `models.teacher`"
    return {str: "text", bool: "true, false", int: "integer", float: "number"}[annotation]


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(names), *(list(row) for row in rows)]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
