"""The models of a configuration: folders, weights that are whole, chat templates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arkloom.amounts import size
from arkloom.config import ModelConfig, RunConfig
from arkloom.doctor.findings import Finding, refused
from arkloom.engines.models import TINY, TINY_MEND, is_here, model_folder, tiny_out_of_its_depth
from arkloom.errors import ArkloomError, BadInputError

_HEADER = 8  # bytes that tell the length of a safetensors file's header
_LONGEST_HEADER = 100_000_000  # the format's own limit
_FETCH = "Fetch the model again"
_TRAINED = ("student", "prm")  # whose weights must be here


def models(config: RunConfig) -> Iterator[Finding]:
    """Teacher (or the agents' models), student and, where it has weights of its own, the PRM."""
    several = {f"agents {number}": model for number, model in enumerate(config.models.agents)}
    named: dict[str, ModelConfig] = several or {"teacher": config.models.teacher}
    named["student"] = config.models.student
    if config.prm.init is not None:
        named["prm"] = config.prm.init
    for role, model in named.items():
        if config.engine == "openai" and role not in _TRAINED and model.revision and not is_here(model.name):
            yield Finding(
                f"model ({role})", "ok", f"{model.name} at {model.revision}: with its endpoints alone"
            )
            continue
        try:
            yield _model(f"model ({role})", model, natural=config.prompts.profile == "natural")
        except ArkloomError as error:
            yield refused(f"model ({role})", error)
    if warning := tiny_out_of_its_depth(config):
        yield Finding("models", "warn", warning, TINY_MEND)


def _model(name: str, model: ModelConfig, *, natural: bool) -> Finding:
    folder = model_folder(model.name)
    told = [f"{model.name}: {size(weights(folder))} of weights"]
    if model.adapter:
        told.append(f"adapter {model.adapter}: {size(weights(Path(model.adapter).expanduser()))}")
    settings = _json(folder / "config.json")
    if model.name != TINY and "auto_map" in settings:
        mend = "Choose a model that transformers knows by itself"
        return Finding(name, "fail", f"{folder}: needs code of its own, which is never run", mend)
    if natural and not has_chat_template(folder):
        mend = "Add chat_template.jinja to the folder, or choose the instruction-tuned model"
        return Finding(name, "fail", f"{folder}: its tokenizer has no chat template", mend)
    return Finding(name, "ok", ", ".join(told))


def weights(folder: Path) -> int:
    """Bytes of a model's safetensors files, each of which must be whole.

    Raises:
        BadInputError: None are there, or one is missing, cut short or damaged at its head.
    """
    index = folder / "model.safetensors.index.json"
    names = {path.name for path in folder.glob("*.safetensors")}
    if index.is_file():
        listed = _json(index).get("weight_map")
        if not isinstance(listed, dict):
            raise BadInputError("no weight_map", where=str(index), mend=_FETCH)
        if missing := sorted(set(map(str, listed.values())) - names):
            raise BadInputError(f"{missing[0]} is missing", where=str(folder), mend=_FETCH)
    if not names:
        raise BadInputError(
            "no safetensors file",
            where=str(folder),
            mend="Weights in other formats are never loaded: convert them",
        )
    return sum(_whole(folder / name) for name in names)


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer's folder brings a chat template, in any of the places where it may stand."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(_json(settings).get("chat_template"))


def _whole(path: Path) -> int:
    """Size of a safetensors file that ends where its header says."""
    length_of_file = path.stat().st_size
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(_HEADER), "little")
            header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
        tensors = [value for name, value in header.items() if name != "__metadata__"]
        end = _HEADER + length + max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise BadInputError("damaged safetensors file", where=str(path), mend=_FETCH) from error
    if end != length_of_file:
        raise BadInputError(
            f"cut short or overlong ({length_of_file:,} bytes, its header says {end:,})",
            where=str(path),
            mend=_FETCH,
        )
    return length_of_file


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError("not a JSON file", where=str(path), mend=_FETCH) from error
    if not isinstance(value, dict):
        raise BadInputError("not a JSON object", where=str(path), mend=_FETCH)
    return value
