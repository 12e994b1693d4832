"""Manifests against what others know (Kubernetes' schemas, checkov), and what our roles and networks allow.

kubernetes-validate and checkov live in an environment of their own, since their pins and kfp's exclude each
other: ``ARKLOOM_TEST_POLICY`` names its folder of programs, else ``.venv-policy/bin``
(``make lint-manifests``).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import rendered_manifests as rendered
from arkloom.preflight.rights import NEEDED

REPO = Path(__file__).parents[2]
TOOLS = Path(os.environ.get("ARKLOOM_TEST_POLICY", REPO / ".venv-policy" / "bin"))
POLICY = rendered.MANIFESTS / "policy" / "checkov.yaml"
ALL = [*rendered.OVERLAYS, *rendered.EXAMPLES]
READS, LOOKS = {"get"}, {"get", "list", "watch"}
SECRETS = {"arkloom-s3", "mlpipeline-minio-artifact"}


def tool(name: str) -> Path:
    if not (TOOLS / name).exists():
        pytest.skip(f"no {name} in {TOOLS} (make lint-manifests, or set ARKLOOM_TEST_POLICY)")
    return TOOLS / name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every overlay and example, a file each."""
    folder = tmp_path_factory.mktemp("manifests")
    for name, documents in rendered.everything().items():
        (folder / name).with_suffix(".yaml").write_text(yaml.safe_dump_all(documents))
    return folder


@pytest.mark.parametrize("version", ["1.32", "1.37"])
def test_kubernetes_knows_every_field(version: str, files: Path) -> None:
    """Custom resources are only warned about: test_manifests_overlays looks at them."""
    command = [tool("kubernetes-validate"), "--strict", "-k", version, *sorted(files.glob("*.yaml"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed for resource podtemplate/arkloom-serve" in done.stdout + done.stderr


def test_a_field_that_kubernetes_does_not_know_is_refused(files: Path, tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((files / "cpu.yaml").read_text()))
    rendered.named(documents, "PodTemplate", "arkloom-serve")["template"]["spec"]["restart"] = "Never"
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    command = [tool("kubernetes-validate"), "--strict", "-k", "1.32", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "restart" in done.stdout + done.stderr


def test_checkov_finds_nothing(files: Path, tmp_path: Path) -> None:
    """PodTemplates are looked at as the pods that they become: checkov does not know the kind."""
    for file in files.glob("*.yaml"):
        documents = list(map(_as_pod, yaml.safe_load_all(file.read_text())))
        (tmp_path / file.name).write_text(yaml.safe_dump_all(documents))
    command = [tool("checkov"), "--config-file", POLICY, "--directory", tmp_path, "--output", "json"]
    environment = os.environ | {"HOME": str(tmp_path), "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    found = json.loads(done.stdout)
    failed = [
        f"{check['check_id']} {check['file_path']} {check['resource']}"
        for check in found["results"].get("failed_checks", [])
    ]
    assert not failed
    assert found["summary"]["passed"] > 1000


def _as_pod(document: rendered.Document) -> rendered.Document:
    if document["kind"] != "PodTemplate":
        return document
    about = document["metadata"] | document["template"]["metadata"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": document["template"]["spec"]}


def test_every_skipped_check_has_a_reason() -> None:
    skipped = yaml.safe_load(POLICY.read_text())["skip-check"]
    reasons = dict(re.findall(r"^ +- (CKV\w+) +# (.{20,})$", POLICY.read_text(), re.MULTILINE))
    assert list(reasons) == skipped


def rules(documents: list[rendered.Document]) -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents:
        assert document["kind"] not in {"ClusterRole", "ClusterRoleBinding"}, "nothing of the whole cluster"
        if document["kind"] == "Role":
            yield from ((document["metadata"]["name"], rule) for rule in document["rules"])


@pytest.mark.parametrize("name", ALL)
def test_roles_are_small(name: str) -> None:
    documents = rendered.everything()[name]
    for role, rule in rules(documents):
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {word for word in words if "*" in word}, role
        assert not {"escalate", "bind", "impersonate", "deletecollection", "update"} & words, role
        assert not {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"} & words, role
        if "secrets" in rule["resources"]:
            assert set(rule["verbs"]) == READS, role
            assert rule["resources"] == ["secrets"], role
            assert set(rule["resourceNames"]) <= SECRETS, role


def test_the_launcher_may_do_what_the_runner_asks_and_no_more() -> None:
    granted = {
        (group, resource): set(rule["verbs"])
        for role, rule in rules(rendered.overlay("cpu"))
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == {
        ("batch", "jobs"): {"create", "delete", *LOOKS},
        ("", "podtemplates"): READS,
        ("", "pods"): {"get", "list"},
        ("", "pods/log"): READS,
        ("", "events"): {"list"},
        ("", "configmaps"): READS,
        ("", "secrets"): READS,
    }
    for right in NEEDED:  # as pre-flight asks the server
        assert right.verb in granted[right.group, right.resource], str(right)


@pytest.mark.parametrize("name", rendered.OVERLAYS)
def test_stages_have_no_rights(name: str) -> None:
    for document in rendered.overlay(name):
        if document["kind"] == "RoleBinding" and document["roleRef"]["kind"] == "Role":
            assert {subject["name"] for subject in document["subjects"]} <= {
                "arkloom-runner",
                "arkloom-pipeline",
            }
            assert {subject["namespace"] for subject in document["subjects"]} == {
                document["metadata"]["namespace"]
            }


FLOWS = {
    ("arkloom-names", "out", 53),
    ("arkloom-to-store", "out", 9000),
    ("arkloom-store", "in", 9000),
    ("arkloom-launcher-to-api", "out", 443),
    ("arkloom-launcher-to-api", "out", 6443),
    ("arkloom-metrics", "in", 9464),
}


def flows(documents: list[rendered.Document]) -> set[tuple[str, str, int]]:
    return {
        (document["metadata"]["name"], way, port["port"])
        for document in documents
        if document["kind"] == "NetworkPolicy"
        for key, way in (("ingress", "in"), ("egress", "out"))
        for rule in document["spec"].get(key, [])
        for port in rule["ports"]
    }


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("single-node", set(), set()),
        ("air-gapped", set(), set()),
        ("multi-node", {("arkloom-https", "out", 443)}, set()),
        (
            "openshift",
            {("arkloom-https", "out", 443), ("arkloom-names", "out", 5353)},
            {("arkloom-names", "out", 53)},
        ),
    ],
)
def test_nothing_flows_but_what_is_listed(
    name: str, more: set[tuple[str, str, int]], less: set[tuple[str, str, int]]
) -> None:
    documents = rendered.overlay(name)
    denied = rendered.named(documents, "NetworkPolicy", "arkloom-default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert flows(documents) == (FLOWS | more) - less


def test_only_launchers_reach_the_api() -> None:
    policy = rendered.named(rendered.overlay("single-node"), "NetworkPolicy", "arkloom-launcher-to-api")
    selector = policy["spec"]["podSelector"]
    ((_, launcher),) = rendered.pods(rendered.example("01-run-as-jobs.yaml"))
    ((_, stage),) = rendered.pods(rendered.example("02-single-stage.yaml"))
    assert _selects(selector, launcher["metadata"]["labels"])
    assert not _selects(selector, stage["metadata"]["labels"])


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    absent = {one["key"] for one in selector["matchExpressions"] if one["operator"] == "DoesNotExist"}
    return selector["matchLabels"].items() <= labels.items() and not absent & set(labels)
