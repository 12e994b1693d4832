"""The components of the stages say what the stages declare, equal their golden files, and load anywhere.

Set ARKLOOM_UPDATE_GOLDEN=1 to write the golden files anew, and read the difference before committing it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from arkloom.chains.distill import PLAYED
from arkloom.chains.environments import ENVIRONMENT
from arkloom.cli import STAGES
from arkloom.config import RunConfig
from arkloom.images import image
from arkloom.stage import Stage

pytest.importorskip("kfp", reason="needs the extra orchestrate")

from kfp import compiler, components

from arkloom.component import Declaration

GOLDEN = Path(__file__).parents[1] / "golden" / "components"
EVERYWHERE = {"config", "overrides", "store", "endpoint"}


def declared(stage: str) -> Declaration:
    found = importlib.import_module(f"arkloom.{stage}.component").COMPONENT
    assert isinstance(found, Declaration)
    return found


def stage_of(name: str) -> Stage:
    found = importlib.import_module(f"arkloom.{name}.stage").STAGE
    assert isinstance(found, Stage)
    return found


def compiled(component: Any, path: Path) -> dict[str, Any]:
    """The component's document, without what changes with every release of kfp."""
    compiler.Compiler().compile(component, str(path))
    (document,) = yaml.safe_load_all(path.read_text())
    del document["sdkVersion"]
    return dict(document)


def test_every_stage_has_an_environment_and_a_component() -> None:
    assert set(ENVIRONMENT) == {*STAGES, "preflight"}
    for stage, environment in ENVIRONMENT.items():
        assert (declared(stage).stage, declared(stage).environment) == (stage, environment)
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(ENVIRONMENT)


@pytest.mark.parametrize("stage", STAGES)
def test_a_component_reads_what_its_stage_reads(stage: str) -> None:
    assert tuple(declared(stage).ports) == stage_of(stage).inputs


def test_evaluation_reads_the_students_of_the_default_arms() -> None:
    assert set(declared("evaluate").students) == set(RunConfig().evaluate.arms) - set(PLAYED)


@pytest.mark.parametrize("stage", sorted(ENVIRONMENT))
def test_a_component_is_its_golden_file_and_loads(stage: str, tmp_path: Path) -> None:
    document = compiled(declared(stage).component(), tmp_path / "component.yaml")
    golden = GOLDEN / f"{stage}.yaml"
    if os.environ.get("ARKLOOM_UPDATE_GOLDEN"):
        golden.write_text(yaml.safe_dump(document | {"sdkVersion": "kfp-2.17.0"}, sort_keys=True))
    known = yaml.safe_load(golden.read_text())
    del known["sdkVersion"]
    assert document == known
    loaded = components.load_component_from_file(str(golden))
    assert loaded.name == stage
    assert set(loaded.component_spec.inputs) >= EVERYWHERE


@pytest.mark.parametrize("stage", sorted(ENVIRONMENT))
def test_a_component_runs_its_stage_in_its_image_and_every_input_is_described(stage: str) -> None:
    spec = yaml.safe_load((GOLDEN / f"{stage}.yaml").read_text())
    (executor,) = spec["deploymentSpec"]["executors"].values()
    assert executor["container"]["image"] == image(ENVIRONMENT[stage])
    assert executor["container"]["command"] == ["python3", "-m", f"arkloom.{stage}"]
    assert executor["container"]["args"] == ["--executor-input", "{{$}}", "--node", stage]
    inputs = spec["root"]["inputDefinitions"]
    given = {**inputs["parameters"], **inputs.get("artifacts", {})}
    assert not [name for name, about in given.items() if not about.get("description")]


def test_a_node_names_the_task_and_brings_its_own_students(tmp_path: Path) -> None:
    component = declared("evaluate").component("evaluate-all", students=["da+pad", "rsft_uncut"])
    spec = compiled(component, tmp_path / "component.yaml")
    assert set(spec["components"]) == {"comp-evaluate-all"}
    artifacts = spec["components"]["comp-evaluate-all"]["inputDefinitions"]["artifacts"]
    needed = {name for name, about in artifacts.items() if not about.get("isOptional")}
    assert needed == {"problems", "da__pad", "rsft_uncut"}
    assert artifacts["da__pad"]["description"] == "The artifact of port `da+pad`."


def test_components_load_where_nothing_heavy_is_installed() -> None:
    heavy = ("torch", "transformers", "trl", "vllm", "peft", "datasets", "accelerate", "tokenizers")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({heavy!r}))
import importlib
for stage in {sorted(ENVIRONMENT)!r}:
    importlib.import_module(f"arkloom.{{stage}}.component").COMPONENT.component()
    assert f"arkloom.{{stage}}.stage" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
