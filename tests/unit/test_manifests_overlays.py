"""Every overlay and example: what their pods may, what they name, and that all of it is there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import rendered_manifests as rendered
from arkloom import __version__
from arkloom.chains.distill import distill
from arkloom.chains.environments import ENVIRONMENT
from arkloom.config import RunConfig, load
from arkloom.images import REGISTRY, image
from arkloom.store.credentials import ACCESS, SECRET
from arkloom_pipelines.parameters import PARAMETERS

REPO = Path(__file__).parents[2]
ALL = [*rendered.OVERLAYS, *rendered.EXAMPLES]
OUTSIDE = {"arkloom-s3", "arkloom-registry", "arkloom-webhook"}  # secrets that people make: none is shipped
CORE = {"", "apps", "batch", "rbac.authorization.k8s.io"}
BUILT_IN = {*CORE, "networking.k8s.io"}
GPU = {"single-node", "multi-node", "air-gapped", "openshift"}
KNOWN = {
    "kueue.x-k8s.io/v1beta2": {
        "LocalQueue": {"spec": {"clusterQueue": str}},
        "ResourceFlavor": {},
        "ClusterQueue": {
            "spec": {
                "namespaceSelector": {"matchLabels": dict},
                "queueingStrategy": str,
                "preemption": {"withinClusterQueue": str},
                "resourceGroups": [
                    {
                        "coveredResources": list,
                        "flavors": [{"name": str, "resources": [{"name": str, "nominalQuota": (int, str)}]}],
                    }
                ],
            }
        },
    },
    "monitoring.coreos.com/v1": {
        "PodMonitor": {
            "spec": {
                "selector": {
                    "matchLabels": dict,
                    "matchExpressions": [{"key": str, "operator": str, "values": list}],
                },
                "podMetricsEndpoints": [
                    {
                        "path": str,
                        "interval": str,
                        "scrapeTimeout": str,
                        "honorLabels": bool,
                        "relabelings": [
                            {
                                "action": str,
                                "sourceLabels": list,
                                "regex": str,
                                "replacement": str,
                                "targetLabel": str,
                            }
                        ],
                    }
                ],
            }
        },
        "PrometheusRule": {
            "spec": {
                "groups": [
                    {
                        "name": str,
                        "rules": [
                            {"alert": str, "expr": str, "for": str, "labels": dict, "annotations": dict}
                        ],
                    }
                ]
            }
        },
    },
}
"""Of every custom resource that ships: keys that its definition knows and we use, and their types."""


@pytest.fixture(scope="module")
def shipped() -> dict[str, list[rendered.Document]]:
    return rendered.everything()


def group(document: rendered.Document) -> str:
    return str(document["apiVersion"]).rpartition("/")[0]


def unknown(value: Any, known: Any, path: str = "") -> Iterator[str]:
    """Keys of ``value`` that ``known`` does not have, and values of another type."""
    if isinstance(known, dict) and isinstance(value, dict):
        for key, inside in value.items():
            if key in known:
                yield from unknown(inside, known[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(known, list) and isinstance(value, list):
        for entry in value:
            yield from unknown(entry, known[0], f"{path}[]")
    elif isinstance(known, dict | list) or not isinstance(value, known):
        yield f"{path}: {value!r}"


def test_the_cpu_overlay_needs_nothing_that_a_bare_cluster_lacks() -> None:
    assert {group(document) for document in rendered.overlay("cpu")} <= CORE


@pytest.mark.parametrize("name", ALL)
def test_custom_resources_hold_known_keys_alone(name: str, shipped: dict[str, Any]) -> None:
    for document in shipped[name]:
        if "." not in group(document) or (
            group(document).endswith(".k8s.io") and "kueue" not in group(document)
        ):
            continue
        known = KNOWN[document["apiVersion"]][document["kind"]]
        about = {key: document[key] for key in document if key not in {"apiVersion", "kind", "metadata"}}
        assert not list(unknown(about, known)), rendered.title(document)


def test_a_key_that_nobody_knows_is_found() -> None:
    rule = copy.deepcopy(rendered.named(rendered.overlay("multi-node"), "PrometheusRule"))
    rule["spec"]["groups"][0]["rules"][0]["expression"] = "1"
    rule["spec"]["groups"][0]["rules"][1]["for"] = 5
    known = KNOWN[rule["apiVersion"]]["PrometheusRule"]["spec"]
    assert len(list(unknown(rule["spec"], known))) == 2


@pytest.mark.parametrize("name", ALL)
def test_pods_are_restricted(name: str, shipped: dict[str, Any]) -> None:
    for whose, pod in rendered.pods(shipped[name]):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, whose
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, whose
        assert not {"hostNetwork", "hostPID", "hostIPC", "runtimeClassName"} & set(spec), whose
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume], whose
        for container in rendered.containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, whose
            assert context["readOnlyRootFilesystem"] is True, whose
            assert context["capabilities"] == {"drop": ["ALL"]}, whose
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), whose
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), whose


@pytest.mark.parametrize("name", ALL)
def test_a_token_reaches_only_pods_that_speak_to_the_cluster(name: str, shipped: dict[str, Any]) -> None:
    for whose, pod in rendered.pods(shipped[name]):
        asked = [one.get("command", []) for one in rendered.containers(pod)]
        launches = any("--runner" in command or "arkloom.preflight" in command for command in asked)
        assert pod["spec"]["automountServiceAccountToken"] == launches, whose
        if launches:
            assert pod["spec"]["serviceAccountName"] == "arkloom-runner", whose
        assert pod["spec"]["enableServiceLinks"] is False, whose


@pytest.mark.parametrize("name", ALL)
def test_what_pods_name_is_there(name: str, shipped: dict[str, Any]) -> None:
    """Accounts, configurations and claims: those of an example come with the overlay that it says."""
    present = shipped[name]
    if name in rendered.EXAMPLES:
        present = [*present, *shipped["single-node"]]
    names = {(document["kind"], document["metadata"]["name"]) for document in present}
    for whose, pod in rendered.pods(shipped[name]):
        spec = pod["spec"]
        wanted = {("ServiceAccount", spec["serviceAccountName"])} if "serviceAccountName" in spec else set()
        for volume in spec["volumes"]:
            if "configMap" in volume:
                wanted.add(("ConfigMap", volume["configMap"]["name"]))
            elif "persistentVolumeClaim" in volume:
                wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
            elif "secret" in volume:
                assert volume["secret"]["secretName"] in OUTSIDE, whose
        for container in rendered.containers(pod):
            for entry in container.get("env", []):
                if reference := entry.get("valueFrom", {}).get("configMapKeyRef"):
                    config = rendered.named(present, "ConfigMap", reference["name"])
                    assert reference["key"] in config["data"], whose
        assert wanted <= names, whose
        mounted = {mount["name"] for one in rendered.containers(pod) for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, whose


@pytest.mark.parametrize("name", ALL)
def test_no_secret_is_shipped(name: str, shipped: dict[str, Any]) -> None:
    assert not [document for document in shipped[name] if document["kind"] == "Secret"]
    for whose, pod in rendered.pods(shipped[name]):
        for container in rendered.containers(pod):
            env = {entry["name"]: entry for entry in container.get("env", [])}
            assert not {ACCESS, SECRET} & set(env), f"{whose}: keys come as files"


def test_images_are_versions_of_the_list_and_the_list_is_used() -> None:
    listed = set((REPO / "images" / "images.txt").read_text().split())
    used = {
        rendered.original(one)
        for documents in rendered.everything().values()
        for one in rendered.images(documents)
    }
    assert used == listed
    ours = {one for one in used if one.startswith(f"{REGISTRY}/")}
    assert {one.rpartition(":")[2].removesuffix("-cuda") for one in ours} == {__version__}
    assert {image("launcher"), image("serve"), image("train")} <= ours


def test_air_gapped_pulls_nothing_from_outside() -> None:
    documents = rendered.overlay("air-gapped")
    for whose, pod in rendered.pods(documents):
        for container in rendered.containers(pod):
            assert container["image"].startswith("registry.internal/"), whose
        account = pod["spec"].get("serviceAccountName")
        owner = (
            rendered.named(rendered.overlay("air-gapped"), "ServiceAccount", account)
            if account
            else pod["spec"]
        )
        assert owner["imagePullSecrets"] == [{"name": "arkloom-registry"}], whose


@pytest.mark.parametrize("name", rendered.OVERLAYS)
def test_every_environment_has_its_template(name: str, shipped: dict[str, Any]) -> None:
    for environment in set(ENVIRONMENT.values()):
        template = rendered.named(shipped[name], "PodTemplate", f"arkloom-{environment}")
        (container,) = template["template"]["spec"]["containers"]
        assert container["name"] == "main"
        assert f"arkloom-{environment}:" in container["image"]
        assert not {"command", "args", "ports"} & set(container), (
            "those are the runner's; a port is never needed"
        )
        gpus = container["resources"]["limits"].get("nvidia.com/gpu")
        assert gpus == ("1" if name in GPU and environment != "launcher" else None)
        shared = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
        assert bool(shared) == (environment != "launcher")
        annotations = template["template"]["metadata"]["annotations"]
        assert annotations["karpenter.sh/do-not-disrupt"] == "true"
        assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


@pytest.mark.parametrize("name", rendered.OVERLAYS)
def test_the_configuration_is_one(name: str, shipped: dict[str, Any], tmp_path: Path) -> None:
    given = rendered.named(shipped[name], "ConfigMap", "arkloom-config")["data"]["config.yaml"]
    file = tmp_path / "config.yaml"
    file.write_text(given)
    config = load(file=file)
    assert config.store.root.startswith("s3://")
    assert distill(config)
    assert (config.runtime.device == "cuda") == (name in GPU)
    models = {config.models.teacher.name, config.models.student.name}
    assert models == {"tiny"} or all(model.startswith("/models/") for model in models)


def test_gpu_configurations_are_the_examples_own() -> None:
    """The one that a GPU overlay begins with computes what examples/gsm8k does, its models elsewhere."""
    ours, theirs = (
        load(file=REPO / path)
        for path in ("manifests/components/gpu/config.yaml", "examples/gsm8k/config.yaml")
    )
    assert _computed(ours) == _computed(theirs)


def _computed(config: RunConfig) -> dict[str, Any]:
    tree = config.model_dump(mode="json", exclude={"runtime", "store", "engine", "models"})
    for path in ("path", "test_path"):
        tree["problems"][path] = Path(tree["problems"][path]).name
    return tree


def test_jobs_and_the_pipeline_agree_on_names() -> None:
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    documents = rendered.overlay("single-node")
    assert rendered.named(documents, "PersistentVolumeClaim", defaults["models_pvc"])
    assert defaults["s3_secret"] in OUTSIDE
    given = rendered.named(rendered.overlay("cpu"), "ConfigMap", "arkloom-config")["data"]["config.yaml"]
    assert yaml.safe_load(given)["store"]["root"] == defaults["store"]
    used = set(map(rendered.original, rendered.images(rendered.overlay("cpu"))))
    assert {defaults[f"{environment}_image"] for environment in ("launcher", "serve", "train")} <= used


def test_a_run_of_jobs_is_the_launchers_template() -> None:
    """The launcher's pod differs from a stage's in the account, the configuration and the command alone."""
    (document,) = rendered.example("01-run-as-jobs.yaml")
    ((_, pod),) = rendered.pods([document])
    template = rendered.named(rendered.overlay("cpu"), "PodTemplate", "arkloom-launcher")["template"]
    spec, own = pod["spec"], copy.deepcopy(template["spec"])
    (main,) = spec["containers"]
    assert spec.pop("serviceAccountName") == "arkloom-runner"
    assert spec.pop("automountServiceAccountToken") is True
    own.pop("serviceAccountName"), own.pop("automountServiceAccountToken")
    assert main.pop("command") == ["arkloom", "run", "--runner", "jobs"]
    assert main.pop("args")[:2] == ["--config", "/etc/arkloom/config.yaml"]
    main["env"] = [entry for entry in main["env"] if entry["name"] != "ARKLOOM_LAUNCHER_JOB"]
    main["volumeMounts"] = [mount for mount in main["volumeMounts"] if mount["name"] != "config"]
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] != "config"]
    assert {entry["name"]: entry for entry in spec.pop("volumes")} == {
        entry["name"]: entry for entry in own.pop("volumes")
    }
    assert spec == own
    assert pod["metadata"]["annotations"] == template["metadata"]["annotations"]


@pytest.mark.parametrize("name", rendered.EXAMPLES)
def test_examples_say_how_to_use_them(name: str) -> None:
    lines = (rendered.MANIFESTS / "examples" / name).read_text().splitlines()
    header = [line for line in lines[: lines.index("apiVersion: " + _first_version(lines))] if line]
    assert all(line.startswith("#") for line in header)
    for word in ("Prerequisites:", "Apply:", "Check:", "Clean:"):
        assert any(word in line for line in header), f"{name}: no {word}"
    assert f"manifests/examples/{name}" in "\n".join(header)


def _first_version(lines: list[str]) -> str:
    return next(line.removeprefix("apiVersion: ") for line in lines if line.startswith("apiVersion: "))


def test_yaml_files_all_belong_to_something() -> None:
    """A file that no kustomization names would be forgotten."""
    for kustomization in rendered.MANIFESTS.rglob("kustomization.yaml"):
        tree = yaml.safe_load(kustomization.read_text())
        text = kustomization.read_text()
        assert tree["kind"] in {"Kustomization", "Component"}
        for file in kustomization.parent.glob("*"):
            if file.is_file() and file.name not in {"kustomization.yaml", "README.md"}:
                assert file.name in text, f"{file} is in no kustomization"
