"""The compiled pipeline: its edges are the chain's, and every step runs where and how it should."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("kfp", reason="needs the extra orchestrate")

from arkloom import config as configs
from arkloom.chains.distill import distill
from arkloom.chains.environments import ENVIRONMENT
from arkloom.chains.graph import edges, fingerprint
from arkloom.chains.shares import shared
from arkloom.config import RunConfig
from arkloom_pipelines.compiling import compiled, manifests
from arkloom_pipelines.parameters import PARAMETERS, declared
from arkloom_pipelines.placement import PATIENCE
from arkloom_pipelines.plan import Plan, plan, presets
from compiled_pipelines import CompiledPipeline, CompiledTask, documents, parameter_of

GOLDEN = Path(__file__).parents[1] / "golden" / "pipelines"
STEPS = ("preflight", "enforce", "notify")  # no nodes of the chain
GPUS = {"debate": "serve", "evaluate": "serve", "sft": "train", "prm": "train", "grpo": "train"}
CHAINS = [(name, shards) for name in configs.presets() for shards in (1, 3)]


@cache
def text_of(name: str) -> str:
    return compiled(plan(name))


@cache
def compiled_preset(name: str) -> CompiledPipeline:
    return CompiledPipeline.read(text_of(name))


def preset_tasks(name: str) -> list[CompiledTask]:
    return list(compiled_preset(name).tasks.values())


def stage_of(task: CompiledTask) -> str:
    return task.kubernetes["podMetadata"]["labels"]["arkloom.dev/stage"]


def merging(task: CompiledTask) -> bool:
    return "shares" in task.spec.get("inputs", {}).get("artifacts", {})


def chain_edges(config: RunConfig) -> set[tuple[str, str, str]]:
    """The chain's own, and where debates are shared those of the one task that stands for all shares."""
    chain = distill(config)
    found = set(edges(chain))
    for node in chain if config.runtime.shards > 1 else ():
        if node.stage == "debate":
            found |= {(parent, f"{node.name}-share", port) for port, parent in node.inputs.items()}
            found.add((f"{node.name}-share", node.name, "shares"))
    return {(parent, child, port.replace("+", "__")) for parent, child, port in found}


@pytest.mark.parametrize(("preset", "shards"), CHAINS)
def test_the_edges_are_the_chains(preset: str, shards: int) -> None:
    config = configs.load(preset, overrides=[f"runtime.shards={shards}"])
    found = CompiledPipeline.read(compiled(Plan(config, declared({}))))
    assert {edge for edge in found.edges() if edge[1] not in STEPS} == chain_edges(config)
    assert [edge for edge in found.edges() if edge[1] in STEPS] == [("gate", "enforce", "gate")]
    assert not list(found.dangling())


def test_labels_by_people_change_the_pipeline_as_they_change_the_chain(tmp_path: Path) -> None:
    config = configs.load("smoke", overrides=["label.source=human", "label.path=steps.jsonl"])
    found = CompiledPipeline.read(compiled(Plan(config, declared({}))))
    assert {edge for edge in found.edges() if edge[1] not in STEPS} == chain_edges(config)


@pytest.mark.parametrize("preset", ["smoke", "multi-gpu"])
def test_golden(preset: str) -> None:
    """`ARKLOOM_UPDATE_GOLDEN=1 pytest tests/unit/test_pipeline_compiled.py` writes what is compiled now."""
    file, text = GOLDEN / f"{preset}.yaml", text_of(preset)
    if os.environ.get("ARKLOOM_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    golden, now = (documents(each) for each in (file.read_text(), text))
    for document in (*golden, *now):
        document.pop("sdkVersion", None)
    assert now == golden


@pytest.mark.parametrize("preset", presets())
def test_nothing_refers_to_what_its_group_was_not_given(preset: str) -> None:
    assert not list(compiled_preset(preset).dangling())


@pytest.mark.parametrize("preset", presets())
def test_the_order_of_what_is_no_node(preset: str) -> None:
    found = compiled_preset(preset)
    assert found.tasks["prepare"].spec["dependentTasks"] == ["preflight"]
    assert {"gate", "register"} <= set(found.tasks["enforce"].spec["dependentTasks"])
    notify = found.tasks["notify"]
    assert notify.group == "root"
    assert notify.spec["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    (group,) = (name for name in found.pipeline["root"]["dag"]["tasks"] if name != "notify")
    assert notify.spec["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": group}}
    assert all(task.group != "root" for task in found.tasks.values() if task.name != "notify")


def test_shares_are_one_task_over_the_texts_that_the_chain_gives_them() -> None:
    found = CompiledPipeline.read(compiled(plan("smoke", overrides=["runtime.shards=3"])))
    (loop,) = (
        spec
        for spec in found.groups[found.tasks["debate"].group]["dag"]["tasks"].values()
        if spec["taskInfo"]["name"] == "debate-shares"
    )
    assert json.loads(loop["parameterIterator"]["items"]["raw"]) == ["0/3", "1/3", "2/3"]
    share = found.tasks["debate-share"]
    assert share.spec["inputs"]["parameters"]["share"] == {
        "componentInputParameter": loop["parameterIterator"]["itemInput"]
    }
    assert share.container["args"][-2:] == ["--node", "debate"]


def test_a_log_of_debates_is_not_shared(tmp_path: Path) -> None:
    found = compiled(plan("smoke", overrides=["debate.recorded=/models/log.jsonl"]))
    assert "debate-share" not in CompiledPipeline.read(found).tasks


@pytest.mark.parametrize("preset", presets())
def test_every_task_runs_its_stage_on_its_image_with_its_overrides(preset: str) -> None:
    nodes = {node.name: node for node in distill(plan(preset).config)}
    for task in preset_tasks(preset):
        stage, inputs = stage_of(task), task.spec["inputs"]["parameters"]
        environment = ENVIRONMENT.get(stage, "launcher")
        assert task.container["image"] == (
            "{{$.inputs.parameters['pipelinechannel--" + f"{environment}_image" + "']}}"
        )
        assert parameter_of(inputs["config"]) == "config"
        assert parameter_of(inputs["store"]) == "store"
        assert parameter_of(inputs["endpoint"]) == "s3_endpoint"
        if stage in ENVIRONMENT:
            assert task.container["command"] == ["python3", "-m", f"arkloom.{stage}"]
        if stage in ENVIRONMENT and stage != "preflight":
            node = nodes[task.name.removesuffix("-share")]
            assert inputs["overrides"]["runtimeValue"]["constant"] == list(node.overrides)


@pytest.mark.parametrize("preset", presets())
def test_models_compute_on_the_devices_that_the_parameters_name(preset: str) -> None:
    for task in preset_tasks(preset):
        stage = stage_of(task)
        if stage in GPUS and not merging(task):
            assert task.resources["resourceType"] == "gpu_type"
            assert task.resources["resourceCount"] == f"{GPUS[stage]}_gpus"
            assert parameter_of(task.kubernetes["nodeSelector"]["nodeSelectorJson"]) == "node_selector"
            (toleration,) = task.kubernetes["tolerations"]
            assert parameter_of(toleration["tolerationJson"]) == "tolerations"
        else:
            assert "resourceCount" not in task.resources
            assert not {"nodeSelector", "tolerations"} & set(task.kubernetes)


@pytest.mark.parametrize("preset", presets())
def test_limits_are_requests_or_above_on_every_step(preset: str) -> None:
    for task in preset_tasks(preset):
        environment = ENVIRONMENT.get(stage_of(task), "launcher")
        given = {name: value for name, value in task.resources.items() if "Cpu" in name or "Memory" in name}
        small = {
            "resourceCpuRequest": "250m",
            "resourceCpuLimit": "2",
            "resourceMemoryRequest": "1Gi",
            "resourceMemoryLimit": "4Gi",
        }
        sized = {name: f"{environment}_{'cpu' if 'Cpu' in name else 'memory'}" for name in small}
        assert given == (small if environment == "launcher" else sized)


@pytest.mark.parametrize("preset", presets())
def test_every_step_is_patient_isolated_labelled_and_knows_its_run(preset: str) -> None:
    files = any(parameter.name == "models_pvc" for parameter in plan(preset).parameters)
    assert files == (preset in {"single-gpu", "multi-gpu"})
    for task in preset_tasks(preset):
        stage, kubernetes = stage_of(task), task.kubernetes
        patience = PATIENCE[stage]
        assert kubernetes["activeDeadlineSeconds"] == str(int(patience.hours * 3600))
        assert task.spec.get("retryPolicy", {}).get("maxRetryCount", 0) == patience.retries
        cached = task.spec["cachingOptions"].get("enableCache", False)
        assert cached == (stage not in STEPS and not files), "a check, a verdict, a message, files: of today"
        assert kubernetes["securityContext"] == {"runAsNonRoot": True}
        assert kubernetes["imagePullPolicy"] == "IfNotPresent"
        mounts = {each["mountPath"]: each for each in kubernetes["emptyDirMounts"]}
        assert mounts["/var/cache/arkloom"]["sizeLimit"]
        if ENVIRONMENT.get(stage) in {"serve", "train"}:
            assert mounts["/dev/shm"]["medium"] == "Memory"
        labels = kubernetes["podMetadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == labels["app.kubernetes.io/name"] == "arkloom"
        assert labels["arkloom.dev/node"] == task.name.removesuffix("-share")
        assert kubernetes["podMetadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        assert kubernetes["fieldPathAsEnv"] == [
            {"name": "ARKLOOM_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}
        ]


@pytest.mark.parametrize("preset", presets())
def test_secrets_are_named_by_parameters_and_reach_only_who_needs_them(preset: str) -> None:
    for task in preset_tasks(preset):
        found = {
            parameter_of(each["secretNameParameter"]): {
                key["secretKey"]: key["envVar"] for key in each["keyToEnv"]
            }
            for each in task.kubernetes["secretAsEnv"]
        }
        store = {"access-key": "ARKLOOM_S3_ACCESS_KEY", "secret-key": "ARKLOOM_S3_SECRET_KEY"}
        webhook = {"webhook_secret": {"url": "ARKLOOM_WEBHOOK_URL"}} if task.name == "notify" else {}
        assert found == {"s3_secret": store, **webhook}
        assert all(each["optional"] for each in task.kubernetes["secretAsEnv"])
        assert "secretAsVolume" not in task.kubernetes


@pytest.mark.parametrize("preset", presets())
def test_models_are_mounted_where_a_step_may_read_them(preset: str) -> None:
    mounted = preset in {"single-gpu", "multi-gpu"}
    assert ("models_pvc" in compiled_preset(preset).parameters) == mounted
    for task in preset_tasks(preset):
        claims = task.kubernetes.get("pvcMount", [])
        if mounted and stage_of(task) in ENVIRONMENT:
            (claim,) = claims
            assert claim["mountPath"] == "/models"
            assert parameter_of(claim["pvcNameParameter"]) == "models_pvc"
        else:
            assert not claims


@pytest.mark.parametrize("preset", presets())
def test_parameters_are_few_typed_and_told(preset: str) -> None:
    kinds = {"STRING": str, "BOOLEAN": bool, "LIST": list, "STRUCT": dict}
    found, asked = compiled_preset(preset).parameters, {each.name: each for each in plan(preset).parameters}
    assert set(found) == set(asked) <= {each.name for each in PARAMETERS}
    assert len(set(found) - {"config"}) <= 20
    for name, told in found.items():
        assert told["description"] == asked[name].meaning
        assert kinds[told["parameterType"]] is asked[name].kind
        assert told["defaultValue"] == asked[name].default
        assert told["isOptional"]


def test_no_secret_and_no_place_of_this_machine_is_compiled_in() -> None:
    text = text_of("smoke")
    for word in (str(Path.home()), str(Path.cwd()), "minioadmin", "password"):
        assert word not in text


def test_kubernetes_objects_hold_the_same_pipeline() -> None:
    text = manifests(plan("smoke"), version="0.1.0-abc1234", namespace="kubeflow")
    pipeline, version = documents(text)
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
    assert {each["apiVersion"] for each in (pipeline, version)} == {"pipelines.kubeflow.org/v2beta1"}
    assert {each["metadata"]["namespace"] for each in (pipeline, version)} == {"kubeflow"}
    assert version["metadata"]["name"] == "arkloom-distill-0.1.0-abc1234"
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "arkloom-distill"
    both = documents(text_of("smoke"))
    assert [version["spec"]["pipelineSpec"], version["spec"]["platformSpec"]] == both


def test_compiling_twice_gives_the_same_bytes() -> None:
    assert compiled(plan("smoke")) == text_of("smoke")


def test_the_check_in_front_knows_the_chain_that_was_compiled() -> None:
    config = plan("smoke").config
    given = compiled_preset("smoke").tasks["preflight"].spec["inputs"]["parameters"]["chain"]
    assert given["runtimeValue"]["constant"] == fingerprint(shared(distill(config), config))
