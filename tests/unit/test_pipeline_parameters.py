"""What is compiled is planned from presets, files and assignments; the page on parameters says it all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from arkloom import config as configs
from arkloom.chains.distill import distill
from arkloom.cli import main
from arkloom.errors import BadInputError
from arkloom_pipelines.parameters import PARAMETERS, declared
from arkloom_pipelines.plan import assigned, config_text, plan, presets

MANIFESTS = Path(__file__).parents[2] / "manifests"
PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"


def defaults(found: object) -> dict[str, object]:
    return {each.name: each.default for each in found.parameters}  # type: ignore[attr-defined]


@pytest.mark.parametrize("preset", [*presets(), *configs.presets()])
def test_the_text_of_a_configuration_is_that_configuration(preset: str) -> None:
    config = plan(preset).config if preset in presets() else configs.load(preset)
    assert configs.load(text=config_text(config)) == config


def test_the_place_of_the_store_is_a_parameter_which_emptied_leaves_it_to_the_configuration() -> None:
    places = ["store.root=s3://bucket/x", "store.endpoint=http://s3:9", "store.region=eu"]
    asked = plan("smoke", overrides=places)
    assert (defaults(asked)["store"], defaults(asked)["s3_endpoint"]) == ("s3://bucket/x", "http://s3:9")
    emptied = defaults(plan("smoke", overrides=places, parameters=["store=", "s3_endpoint="]))
    assert (emptied["store"], emptied["s3_endpoint"]) == ("", "")
    assert configs.load(text=str(emptied["config"])).store == asked.config.store


def test_a_folder_of_this_machine_is_no_store_of_a_cluster() -> None:
    asked = defaults(plan("laptop", overrides=["store.root=/data/runs"]))
    assert asked["store"] == "s3://arkloom/store"
    assert "/data" not in str(asked["config"])


def test_a_file_replaces_the_configuration_of_a_preset_and_leaves_its_parameters(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: smoke\nevaluate: {arms: [base, debate, rsft]}\n")
    asked = plan("single-gpu", file, ["debate.rounds=2"], ["gpu_type=amd.com/gpu"])
    assert asked.config == configs.load(file=file, overrides=["debate.rounds=2"])
    assert defaults(asked)["serve_gpus"] == "1"
    assert defaults(asked)["gpu_type"] == "amd.com/gpu"
    assert "models_pvc" not in defaults(asked), "the images hold all that this configuration reads"


READS = [
    "models.teacher.name=/models/a",
    "models.student.adapter=/models/b",
    "problems.path=/models/c.jsonl",
    "debate.recorded=/models/d",
    "prm.init={name: /models/e}",
    "models.agents=[{name: /models/f}]",
]


@pytest.mark.parametrize("override", READS)
def test_models_and_problems_of_ones_own_bring_a_volume(override: str) -> None:
    assert "models_pvc" in defaults(plan("smoke", overrides=[override]))


ASSIGNED = [
    ("serve_gpus=2", "serve_gpus", "2"),
    ("serve_cpu=0.5", "serve_cpu", "0.5"),
    ("enforce=false", "enforce", False),
    ("tolerations=[{key: gpu, operator: Exists}]", "tolerations", [{"key": "gpu", "operator": "Exists"}]),
    ("node_selector={pool: gpu}", "node_selector", {"pool": "gpu"}),
    ("store=s3://a/b=c", "store", "s3://a/b=c"),
]


@pytest.mark.parametrize(("text", "name", "value"), ASSIGNED)
def test_an_assignment_has_the_parameters_type(text: str, name: str, value: object) -> None:
    assert assigned([text]) == {name: value}


REFUSED = [
    (["serve_gpu=1"], "no parameter 'serve_gpu'; did you mean 'serve_gpus'?"),
    (["enforce=perhaps"], "'perhaps' is no true or false"),
    (["tolerations={key: gpu}"], "is no list"),
    (["node_selector=pool"], "'pool' is no mapping"),
    (["serve_gpus"], "'serve_gpus' is no assignment"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_a_wrong_parameter_is_told_in_a_line(given: list[str], told: str) -> None:
    with pytest.raises(BadInputError) as caught:
        plan("smoke", parameters=given)
    assert told in caught.value.line()
    assert "\n" not in caught.value.line()


def test_no_such_preset_names_those_that_there_are() -> None:
    with pytest.raises(BadInputError, match=r"no preset 'huge'.*laptop, multi-gpu, single-gpu, smoke"):
        plan("huge")


@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_a_chain_with_parameters_that_exist(preset: str) -> None:
    asked = plan(preset)
    assert distill(asked.config)
    assert {each.name for each in asked.parameters} <= {each.name for each in PARAMETERS}


@pytest.mark.parametrize(
    ("preset", "file"),
    [("single-gpu", "components/gpu/config.yaml"), ("multi-gpu", "overlays/multi-node/config.yaml")],
)
def test_a_preset_for_gpus_computes_what_the_manifests_of_its_size_do(preset: str, file: str) -> None:
    other = configs.load(file=MANIFESTS / file).model_dump(exclude={"store", "runtime"})
    assert plan(preset).config.model_dump(exclude={"store", "runtime"}) == other


@pytest.mark.parametrize("preset", presets())
def test_a_preset_asks_for_gpus_where_its_models_compute_on_some(preset: str) -> None:
    asked = plan(preset)
    on_gpus = asked.config.runtime.device == "cuda"
    assert {defaults(asked)[f"{each}_gpus"] for each in ("serve", "train")} == {"1" if on_gpus else "0"}


def test_parameters_are_few_and_each_is_explained() -> None:
    names = [each.name for each in PARAMETERS]
    assert len(set(names)) == len(names) <= 21, "twenty, and the configuration"
    assert all(each.meaning.endswith(".") and len(each.meaning) > 10 for each in PARAMETERS)
    assert all(isinstance(each.default, each.kind) for each in PARAMETERS)
    assert [each.name for each in declared({}, ["models_pvc"])] == [n for n in names if n != "models_pvc"]


def test_the_page_on_parameters_is_what_the_code_declares() -> None:
    pytest.importorskip("kfp", reason="needs the extra orchestrate")
    from arkloom_pipelines.documentation import document

    assert PAGE.read_text() == document(), "python -m arkloom_pipelines.documentation > docs/parameters.md"


@pytest.mark.parametrize("missing", ["kfp", "arkloom_pipelines"])
def test_without_the_extra_one_line_says_how_to_get_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in {missing, "arkloom_pipelines"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["pipeline", "compile", "--preset", "smoke"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the package {missing}" in line
    assert "pip install 'arkloom[orchestrate]'" in line
