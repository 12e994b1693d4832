"""What is to be compiled: a configuration and the pipeline's parameters, from a preset, files and overrides.

A preset of pipelines is a file of two parts: ``config``, as a file for ``arkloom run --config`` has it, and
``parameters``, other defaults for the pipeline's parameters.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arkloom import config as configs
from arkloom.config import ModelConfig, RunConfig
from arkloom.errors import BadInputError
from arkloom_pipelines.parameters import MODELS_PVC, Parameter, checked, declared

_SHIPPED = "tiny"


@dataclass(frozen=True)
class Plan:
    """A pipeline to compile.

    Attributes:
        config: Decides which steps there are.
        parameters: The pipeline's, with the defaults of this plan.
    """

    config: RunConfig
    parameters: tuple[Parameter, ...]


def presets() -> list[str]:
    """Names of the presets of pipelines."""
    files = importlib.resources.files("arkloom_pipelines.presets").iterdir()
    return sorted(Path(str(file)).stem for file in files if str(file).endswith(".yaml"))


def plan(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Iterable[str] = (),
    parameters: Iterable[str] = (),
) -> Plan:
    """What to compile.

    Args:
        preset: One of ``presets()``.
        file: A configuration in the place of the preset's; the preset's parameters stay.
        overrides: ``a.b=c`` assignments on top of the configuration.
        parameters: ``name=value`` assignments, other defaults for the pipeline's parameters.

    Raises:
        BadInputError: No such preset or parameter, or the configuration cannot be used.
    """
    layers = {} if preset is None else _preset(preset)
    text = "" if file is not None or preset is None else yaml.safe_dump(layers["config"])
    config = configs.load(file=file, text=text, overrides=overrides)
    defaults: dict[str, Any] = {"config": config_text(config)}
    if "://" in config.store.root:
        defaults |= {"store": config.store.root}
    if config.store.endpoint:
        defaults |= {"s3_endpoint": config.store.endpoint}
    defaults |= layers.get("parameters", {}) | assigned(parameters)
    return Plan(config, declared(defaults, () if _reads_files(config) else (MODELS_PVC,)))


def assigned(texts: Iterable[str]) -> dict[str, Any]:
    """``name=value`` assignments of the pipeline's parameters; lists and mappings are YAML.

    Raises:
        BadInputError: No such parameter, or a value of another type.
    """
    given = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise BadInputError(f"{text!r} is no assignment", mend="Write --parameter name=value")
        given[name] = checked(name, value)
    return given


def config_text(config: RunConfig) -> str:
    """What of a configuration differs from the defaults, as YAML; a local folder is no store elsewhere."""
    left_out = set() if "://" in config.store.root else {"root"}
    tree = config.model_dump(mode="json", exclude_defaults=True, exclude={"store": left_out})
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _preset(name: str) -> dict[str, Any]:
    if name not in presets():
        raise BadInputError(f"no preset {name!r} of pipelines", mend=f"Known: {', '.join(presets())}")
    file = importlib.resources.files("arkloom_pipelines.presets").joinpath(f"{name}.yaml")
    layers: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return layers


def _reads_files(config: RunConfig) -> bool:
    """Whether a step reads a model or problems that the images do not hold."""
    models = [config.models.teacher, config.models.student, *config.models.agents]
    models += [config.prm.init] if config.prm.init else []
    places = [
        config.problems.path, config.problems.test_path, config.problems.ood_path,
        config.label.path, config.debate.recorded,
    ]  # fmt: skip
    return any(places) or not all(map(_shipped, models))


def _shipped(model: ModelConfig) -> bool:
    return model.name == _SHIPPED and model.adapter is None
