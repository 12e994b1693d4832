"""The examples for real models: they validate, can be costed, and say that nobody ran them here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from arkloom import config as configs
from arkloom.chains.cost import cost
from arkloom.chains.distill import distill
from arkloom.config import RunConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
REAL = ("gsm8k", "math")


@pytest.fixture(params=REAL)
def folder(request: pytest.FixtureRequest) -> Path:
    return EXAMPLES / str(request.param)


def test_it_validates_without_its_models_and_data(folder: Path) -> None:
    config = configs.load(file=folder / "config.yaml")
    assert not Path(config.models.student.name).exists()
    assert config.prompts.profile == "natural"
    for role in (config.models.teacher, config.models.student):
        assert role.name.startswith("models/"), "a placeholder that a user can fill, not a hub name"


def test_it_is_costed_by_the_names_of_its_models(folder: Path) -> None:
    estimated = cost(configs.load(file=folder / "config.yaml"))
    assert not estimated.unknown
    assert all(node.known for node in estimated.nodes)
    hours = sum(entry.hours or 0 for entry in estimated.loads)
    assert 1 < hours < 2000, "an order of magnitude that one would pay for"


def test_it_says_that_it_was_not_run(folder: Path) -> None:
    head = "".join((folder / "config.yaml").read_text().splitlines(keepends=True)[:3])
    assert "Not run" in head
    assert "not run" in (folder / "README.md").read_text().lower()


def test_every_value_that_is_not_the_default_is_wanted(folder: Path) -> None:
    def leaves(tree: object, path: str = "") -> dict[str, object]:
        if not isinstance(tree, dict):
            return {path: tree}
        return {k: v for name, value in tree.items() for k, v in leaves(value, f"{path}.{name}").items()}

    default = leaves(RunConfig().model_dump(mode="json"))
    written = leaves(yaml.safe_load((folder / "config.yaml").read_text()))
    assert len([path for path, value in written.items() if default.get(path) != value]) > len(written) / 2


def test_the_full_method_has_all_arms_and_their_controls() -> None:
    config = configs.load(file=EXAMPLES / "math" / "config.yaml")
    assert {"rsft", "da", "pad", "rft", "rft_self", "verifier_grpo", "rsft_free", "rft_free"} <= set(
        config.evaluate.arms
    )
    stages = {node.stage for node in distill(config)}
    assert {
        "prepare",
        "debate",
        "filter",
        "label",
        "sft",
        "prm",
        "grpo",
        "evaluate",
        "gate",
        "register",
    } == stages
    teacher, student = config.models.teacher.name, config.models.student.name
    assert teacher != student


def test_its_readme_names_only_commands_and_keys_that_exist(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    for key in re.findall(r'--set "?([a-z_.]+)=', text):
        configs.load(file=folder / "config.yaml").part(key)
    for path in re.findall(r"examples/[\w/.]+\.(?:yaml|md|py)", text):
        assert (EXAMPLES.parent / path).is_file(), path
