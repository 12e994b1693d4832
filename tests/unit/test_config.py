"""One configuration: layers, overrides, digests, and one clear line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from arkloom import config as configs
from arkloom.errors import BadInputError

REFUSED = [
    (["debate.agent=3"], "config debate.agent: unknown key; did you mean 'agents'?"),
    (["debat.agents=3"], "config debat: unknown key; did you mean 'debate'?"),
    (["debate.agents=three"], "config debate.agents: Input should be a valid integer"),
    (["debate.agents=0"], "config debate.agents: Input should be greater than or equal to 1"),
    (["debate.agents"], "'debate.agents' is no assignment"),
    (["debate=5"], "config debate: Input should be a valid dictionary"),
    (["models.teacher.nmae=x"], "config models.teacher.nmae: unknown key; did you mean 'name'?"),
    (["sft.learning_rate=[1,"], "--set sft.learning_rate: '[1,' is not YAML"),
]


@pytest.mark.parametrize(("overrides", "line"), REFUSED)
def test_bad_overrides_get_one_clear_line(overrides: list[str], line: str) -> None:
    with pytest.raises(BadInputError) as caught:
        configs.load("smoke", overrides=overrides)
    assert caught.value.line().startswith(line)
    assert "\n" not in caught.value.line()


def test_later_layers_win_and_leave_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("debate: {agents: 4, rounds: 7}\n")
    settings = configs.load("laptop", file, ["debate.rounds=2"])
    assert (settings.debate.agents, settings.debate.rounds) == (4, 2)
    assert settings.debate.temperature == configs.load("laptop").debate.temperature


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"\xff\xfe", "not UTF-8"), (b"- a\n- b\n", "not a mapping"), (b"a: [", "not YAML")],
)
def test_bad_files_get_one_clear_line(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(BadInputError, match=what):
        configs.load(file=file)


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(BadInputError, match="did you mean 'laptop'"):
        configs.load("labtop")


def test_a_preset_or_a_file_may_extend_a_preset(tmp_path: Path) -> None:
    laptop, full = configs.load("laptop"), configs.load("laptop-full")
    assert set(full.evaluate.arms) > set(laptop.evaluate.arms)
    assert full.model_copy(update={"evaluate": laptop.evaluate}) == laptop
    assert full.evaluate.model_copy(update={"arms": laptop.evaluate.arms}) == laptop.evaluate
    file = tmp_path / "mine.yaml"
    file.write_text("extends: laptop-full\nsft: {epochs: 9}\n")
    assert configs.load(file=file) == full.override(["sft.epochs=9"])
    assert configs.load("smoke", file, ["sft.epochs=1"]).sft.epochs == 1


@pytest.mark.parametrize("named", ["labtop", "[laptop]", "3", "null", "../laptop"])
def test_extending_what_is_no_preset_names_the_file(tmp_path: Path, named: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: {named}\n")
    with pytest.raises(BadInputError, match="no preset") as caught:
        configs.load(file=file)
    assert caught.value.line().startswith(f"{file}, extends: no preset")


@pytest.mark.parametrize("preset", configs.presets())
def test_presets_load_and_survive_a_round_trip(preset: str) -> None:
    settings = configs.load(preset)
    assert configs.build(settings.model_dump(mode="json")) == settings


def test_what_does_not_change_the_work_does_not_change_the_key() -> None:
    settings = configs.load("laptop")
    moved = settings.override(["runtime.slots=3", "store.root=/elsewhere", "engine=scripted"])
    every = ("seed", "models", "problems", "prompts", "debate", "filter", "sft", "evaluate")
    assert moved.digest(every) == settings.digest(every)
    assert settings.override(["debate.rounds=9"]).digest(["debate"]) != settings.digest(["debate"])
    assert settings.override(["debate.rounds=9"]).digest(["sft"]) == settings.digest(["sft"])
