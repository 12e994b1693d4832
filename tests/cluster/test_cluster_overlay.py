"""What these tests change of the shipped overlay, and what the ServiceAccounts may do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kube import NAMESPACE, OVERLAY, Kube, by_title, leaves, patch, rendered

ALLOWED = (
    r"PodTemplate/[^/]+/template/spec/hostNetwork",
    r"(Cron)?Job/[^/]+/spec/.*template/spec/hostNetwork",
    r"ConfigMap/arkloom-config/data/ARKLOOM_S3_ENDPOINT",
    r".*/containers/[^/]+/image",
    r"Deployment/arkloom-minio(/.*)?",
    r"(CronJob|PodDisruptionBudget)/[^/]+/apiVersion",
)


def test_the_tests_own_patch_does_only_what_this_cluster_forces(tmp_path: Path) -> None:
    shipped = dict(leaves(by_title(rendered(OVERLAY))))
    made = dict(leaves(by_title(rendered(patch(tmp_path, "http://127.0.0.1:1", "localhost")))))
    changed = {path for path in shipped.keys() | made.keys() if shipped.get(path) != made.get(path)}
    assert changed, "nothing was patched"
    strange = [path for path in changed if not any(re.fullmatch(rule, path[1:]) for rule in ALLOWED)]
    assert not strange
    assert sum(path.endswith("hostNetwork") for path in changed) >= 3


MAY = [
    *(f"{verb} jobs.batch" for verb in ("create", "get", "list", "watch", "delete")),
    "list pods",
    "get pods --subresource=log",
    "list events",
    *(f"get podtemplates/arkloom-{name}" for name in ("launcher", "serve", "train")),
    "get configmaps/arkloom-config",
    "get secrets/arkloom-s3",
]
MAY_NOT = [
    "list secrets",
    "get secrets/another",
    "create secrets",
    "create pods",
    "create pods --subresource=exec",
    "delete pods",
    "create deployments.apps",
    "create cronjobs.batch",
    "update jobs.batch",
    "create podtemplates",
    "update podtemplates/arkloom-serve",
    "get podtemplates/another",
    "update configmaps/arkloom-config",
    "create rolebindings.rbac.authorization.k8s.io",
    "create roles.rbac.authorization.k8s.io",
    "create serviceaccounts --subresource=token",
    "impersonate users",
    "get nodes",
    "list namespaces",
    "delete namespaces",
]
# What everybody who is signed in may do: ask what he may.
STAGE_MAY_NOT = [*MAY, *MAY_NOT]


def allowed(kube: Kube, account: str, right: str, namespace: str = NAMESPACE) -> bool:
    who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
    done = kube.run("auth", "can-i", *right.split(), who, f"--namespace={namespace}")
    assert done.stdout.strip() in {"yes", "no"}, done.stderr
    return done.stdout.strip() == "yes"


@pytest.mark.parametrize("right", MAY)
def test_the_launcher_may_do_what_it_needs(installed: Kube, right: str) -> None:
    assert allowed(installed, "arkloom-runner", right)


@pytest.mark.parametrize("right", MAY_NOT)
def test_the_launcher_may_do_nothing_else(installed: Kube, right: str) -> None:
    assert not allowed(installed, "arkloom-runner", right)


@pytest.mark.parametrize("right", ["list jobs.batch", "get secrets/arkloom-s3", "list pods"])
def test_the_launcher_may_do_nothing_elsewhere(installed: Kube, right: str) -> None:
    assert not allowed(installed, "arkloom-runner", right, "default")


@pytest.mark.parametrize("right", STAGE_MAY_NOT)
def test_stages_may_do_nothing(installed: Kube, right: str) -> None:
    assert not allowed(installed, "arkloom-stage", right)
