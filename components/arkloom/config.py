"""One configuration for every stage and every way to run: a frozen pydantic tree.

Values come from, later wins: the defaults in ``sections.py``, a preset
(a YAML file in ``presets/``), the user's YAML file, ``--set a.b=c``. Unknown keys are refused with
the nearest known name. The sections that a stage declares enter the key of its artifacts;
``engine``, ``store`` and ``runtime`` never do, so a laptop and a cluster share artifacts.
"""

from __future__ import annotations

import difflib
import importlib.resources
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError

from arkloom.canonical import digest
from arkloom.errors import BadInputError
from arkloom.sections import (
    DebateConfig,
    EvaluateConfig,
    FilterConfig,
    GateConfig,
    GrpoConfig,
    HubConfig,
    LabelConfig,
    ModelConfig,
    ModelsConfig,
    PrmConfig,
    PrmGate,
    PrmPhase,
    ProblemsConfig,
    PromptsConfig,
    RegistryConfig,
    RuntimeConfig,
    Section,
    SftConfig,
    StoreConfig,
)

__all__ = [
    "DebateConfig",
    "EvaluateConfig",
    "FilterConfig",
    "GateConfig",
    "GrpoConfig",
    "HubConfig",
    "LabelConfig",
    "ModelConfig",
    "ModelsConfig",
    "PrmConfig",
    "PrmGate",
    "PrmPhase",
    "ProblemsConfig",
    "PromptsConfig",
    "RegistryConfig",
    "RunConfig",
    "RuntimeConfig",
    "Section",
    "SftConfig",
    "StoreConfig",
    "build",
    "load",
    "parse_assignment",
    "presets",
]

# No configuration comes near these; YAML of a megabyte takes ten seconds to read.
_MOST_CHARACTERS = 16_384
_MOST_VALUES = 10_000
_MOST_DEPTH = 20
_MOST_BRACKETS = 50
_MOST_BITS = 128  # Python does not even write integers of 15,000
_MOST_SHOWN = 120
_BRACKET = re.compile(r"[\[\]{}]")


class RunConfig(Section):
    """Everything a run depends on."""

    seed: int = 0
    models: ModelsConfig = ModelsConfig()
    problems: ProblemsConfig = ProblemsConfig()
    prompts: PromptsConfig = PromptsConfig()
    debate: DebateConfig = DebateConfig()
    filter: FilterConfig = FilterConfig()
    sft: SftConfig = SftConfig()
    label: LabelConfig = LabelConfig()
    prm: PrmConfig = PrmConfig()
    grpo: GrpoConfig = GrpoConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    registry: RegistryConfig = RegistryConfig()
    engine: Literal["transformers", "openai", "vllm", "scripted"] = "transformers"
    store: StoreConfig = StoreConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    def override(self, overrides: Iterable[str]) -> RunConfig:
        """This configuration with ``a.b=c`` assignments applied (values are YAML)."""
        tree = self.model_dump(mode="json")
        if "answer_type" not in self.problems.model_fields_set:
            del tree["problems"]["answer_type"]  # another source may be asked, which has its own
        return build(_merge(tree, *map(parse_assignment, overrides)))

    def with_store(self, root: str) -> RunConfig:
        """This configuration with another store."""
        return self.model_copy(update={"store": self.store.model_copy(update={"root": root})})

    def digest(self, sections: Sequence[str]) -> str:
        """Digest of the named parts (``debate``, ``models.teacher``), for artifact keys."""
        return digest({name: self.part(name) for name in sorted(sections)})

    def part(self, path: str) -> Any:
        """The value at a dotted path, as plain JSON."""
        value: Any = self.model_dump(mode="json")
        for name in path.split("."):
            value = value[name]
        return value


def presets() -> list[str]:
    """Names of the presets that ship with Arkloom."""
    files = importlib.resources.files("arkloom.presets").iterdir()
    return sorted(Path(str(f)).stem for f in files if str(f).endswith(".yaml"))


def load(
    preset: str | None = None, file: Path | None = None, overrides: Iterable[str] = (), text: str = ""
) -> RunConfig:
    """Read a configuration: defaults, then ``preset``, ``file``, ``text`` (YAML), ``a.b=c`` overrides.

    A preset, a file or a text may begin with ``extends: PRESET``: that preset comes before it.

    Raises:
        BadInputError: Unknown preset or key, unreadable file, wrong type; names the nearest key.
    """
    layers = [] if preset is None else _preset(preset)
    if file is not None:
        try:
            layers += _layers(_read(file.read_bytes(), str(file)), str(file))
        except OSError as error:
            raise BadInputError(f"cannot read the config ({error.strerror})", where=str(file)) from error
    if text.strip():
        layers += _layers(_mapping(text, "the config text"), "the config text")
    layers += map(parse_assignment, overrides)
    return build(_merge({}, *layers))


def build(tree: Mapping[str, Any]) -> RunConfig:
    """Validate a plain tree; one clear line for the first thing wrong."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        where = f"config {'.'.join(path)}"
        if first["type"] == "extra_forbidden":
            raise BadInputError(f"unknown key{_nearest(path[-1], _known(path[:-1]))}", where=where) from error
        got = repr(first["input"])
        shown = got if len(got) <= _MOST_SHOWN else f"{got[:_MOST_SHOWN]}..."
        raise BadInputError(f"{first['msg']} (got {shown})", where=where) from error


def parse_assignment(text: str) -> dict[str, Any]:
    """``a.b=c`` as a nested dict; the value is YAML (``3``, ``true``, ``[a, b]``)."""
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise BadInputError(f"{text!r} is no assignment", mend="Write --set section.key=value")
    tree = _plain(value, f"--set {path}")
    for name in reversed(path.strip().split(".")):
        tree = {name: tree}
    return dict(tree)


def _preset(name: Any, where: str = "") -> list[Mapping[str, Any]]:
    if name not in presets():
        near, known = _nearest(str(name), presets()), f"Known: {', '.join(presets())}"
        raise BadInputError(f"no preset {name!r}{near}", where=where, mend=known)
    content = importlib.resources.files("arkloom.presets").joinpath(f"{name}.yaml").read_bytes()
    return _layers(_read(content, name), name)


def _layers(tree: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """A file's own layer, after those of the preset that it extends."""
    own = {name: value for name, value in tree.items() if name != "extends"}
    return [*(_preset(tree["extends"], f"{where}, extends") if "extends" in tree else []), own]


def _read(content: bytes, where: str) -> Mapping[str, Any]:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"not UTF-8 (byte {error.start})", where=where, mend="Save it as UTF-8"
        ) from error
    return _mapping(text, where)


def _mapping(text: str, where: str) -> Mapping[str, Any]:
    tree = _plain(text, where)
    if not isinstance(tree, Mapping):
        raise BadInputError("the config is not a mapping of sections", where=where)
    return tree


def _plain(text: str, where: str) -> Any:
    """A YAML document in bounds: a few bytes of aliases may stand for billions of values.

    Raises:
        BadInputError: It is not YAML, too long, too deep, or holds what no JSON could.
    """
    if len(text) > _MOST_CHARACTERS:
        raise BadInputError(
            f"{len(text):,} characters of YAML, of which at most {_MOST_CHARACTERS:,} are read", where=where
        )
    steps = (1 if sign in "[{" else -1 for sign in _BRACKET.findall(text))
    if max(accumulate(steps), default=0) > _MOST_BRACKETS:  # quadratic in the package
        raise BadInputError(f"more than {_MOST_BRACKETS} brackets in one another", where=where)
    try:
        tree = yaml.safe_load(text)
    except Exception as error:  # not YAMLError alone: the package breaks in many ways on "0b_" or depth
        what = f"{text!r} is not YAML" if len(text) <= _MOST_SHOWN and "\n" not in text else "not YAML"
        raise BadInputError(f"{what} ({error})", where=where) from error
    _check_size(tree, where)
    return tree


def _check_size(tree: Any, where: str) -> None:
    values, waiting = 0, [(tree, 0)]
    while waiting:
        value, depth = waiting.pop()
        values += 1
        if values > _MOST_VALUES or depth > _MOST_DEPTH:
            raise BadInputError(
                f"more than {_MOST_VALUES:,} values, or more than {_MOST_DEPTH} levels", where=where
            )
        if isinstance(value, Mapping):
            if strange := next((name for name in value if not isinstance(name, str)), None):
                raise BadInputError(f"the key {strange!r} is no text", where=where)
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise BadInputError(f"an integer of {value.bit_length():,} bits", where=where)
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise BadInputError("half a character (a lone surrogate)", where=where) from error


def _merge(base: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for layer in layers:
        for name, value in layer.items():
            old = merged.get(name)
            nested = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[name] = _merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged


def _known(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for name in path:
        annotation = model.model_fields[name].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else (f"; known: {', '.join(known)}" if known else "")
