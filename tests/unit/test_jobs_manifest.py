"""The Job of a node: names, labels, and what it takes from its PodTemplate."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from fake_cluster import templates
from hypothesis import given
from hypothesis import strategies as st

from arkloom.chains.graph import Node
from arkloom.cluster.jobs import Policy, cores, job, job_name, run_label, store_label
from arkloom.errors import BadInputError

DNS = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
NODE = Node("debate-rft", "debate", {"problems": "prepare"}, ("debate.protocol=vote",))


@given(st.text(min_size=1), st.text(min_size=1))
def test_whatever_a_run_is_called_its_names_are_legal(run: str, node: str) -> None:
    name = job_name("s3://b/p", run, Node(node, "debate"))
    assert DNS.fullmatch(name)
    assert len(name) <= 57, "a pod adds six characters"
    assert VALUE.fullmatch(run_label(run))
    assert (name, run_label(run)) == (job_name("s3://b/p", run, Node(node, "debate")), run_label(run))
    assert name != job_name("s3://b/q", run, Node(node, "debate"))
    assert name != job_name("s3://b/p", run, Node(node, "debate", overrides=("debate.share=0/2",)))


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), unique=True, max_size=20))
def test_other_work_has_another_name(pairs: list[tuple[str, str]]) -> None:
    assert len({job_name("s3://b/p", run, Node(node, "debate")) for run, node in pairs}) == len(pairs)
    runs = {run for run, _ in pairs}
    assert len({run_label(run) for run in runs}) == len(runs)


def test_a_name_tells_its_node() -> None:
    assert job_name("s3://b/p", "smoke-1a2b", Node("debate", "debate")).startswith("arkloom-debate-")
    assert run_label("smoke-1a2b") == "smoke-1a2b"


@pytest.fixture
def template() -> dict[str, Any]:
    return next(entry for entry in templates() if entry["metadata"]["name"] == "arkloom-serve")


def made(template: dict[str, Any], **given: Any) -> dict[str, Any]:
    return job(
        template,
        NODE,
        "s3://bucket/prefix",
        "smoke-1a2b",
        ["--node", "debate-rft"],
        Policy(),
        **given,
    )


def test_a_job_adds_to_its_template_and_changes_nothing_else(template: dict[str, Any]) -> None:
    before = copy.deepcopy(template)
    pod = made(template)["spec"]["template"]
    assert template == before
    aside, main = pod["spec"].pop("containers")
    assert pod["spec"] == {"fieldOfTheFuture": {"a": 1}, "restartPolicy": "Never"}
    assert aside == {"name": "aside"}
    assert main.pop("command") == ["python3", "-m", "arkloom.debate"]
    assert main.pop("args") == ["--node", "debate-rft"]
    env = {"name": "ARKLOOM_IMAGE", "value": "registry/arkloom-serve:1"}
    assert main == {
        **before["template"]["spec"]["containers"][1],
        "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}, env],
    }
    assert pod["metadata"]["labels"] == {
        "team": "a",
        "app.kubernetes.io/name": "arkloom",
        "app.kubernetes.io/part-of": "arkloom",
        "arkloom.dev/store": store_label("s3://bucket/prefix"),
        "arkloom.dev/run": "smoke-1a2b",
        "arkloom.dev/node": "debate-rft",
        "arkloom.dev/stage": "debate",
    }
    assert pod["metadata"]["annotations"] == {
        "note": "kept",
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }


def test_what_a_template_says_itself_wins(template: dict[str, Any]) -> None:
    template["template"]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] = "false"
    template["template"]["spec"]["containers"][1]["env"].append(
        {"name": "ARKLOOM_IMAGE", "value": "x@sha256:1"}
    )
    pod = made(template)["spec"]["template"]
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "false"
    assert [e["value"] for e in pod["spec"]["containers"][1]["env"] if e["name"] == "ARKLOOM_IMAGE"] == [
        "x@sha256:1"
    ]


def test_bad_input_ends_a_job_and_a_disruption_does_not_count(template: dict[str, Any]) -> None:
    spec = made(template)["spec"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (3, 86_400)
    ends, ignored = spec["podFailurePolicy"]["rules"]
    assert (ends["action"], ends["onExitCodes"]["values"]) == ("FailJob", [2])
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")


def test_a_job_is_queued_where_its_template_asks_and_goes_with_its_launcher(template: dict[str, Any]) -> None:
    assert "ownerReferences" not in made(template)["metadata"]
    about = made(template, owner={"metadata": {"name": "launch", "uid": "u1"}})["metadata"]
    assert about["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    (owner,) = about["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["blockOwnerDeletion"]) == (
        "Job",
        "launch",
        "u1",
        False,
    )


@pytest.mark.parametrize(
    ("limit", "threads"), [("2", 2), ("1500m", 2), ("0.5", 1), (4, 4), ("500m", 1), ("many", 0), (None, 0)]
)
def test_threads_are_the_processors_of_the_template(
    template: dict[str, Any], limit: Any, threads: int
) -> None:
    main = template["template"]["spec"]["containers"][1]
    main["resources"] = {"limits": {"cpu": limit}} if limit is not None else {}
    assert cores(template) == threads


def test_a_template_without_a_main_container_is_refused(template: dict[str, Any]) -> None:
    template["template"]["spec"]["containers"].pop()
    with pytest.raises(BadInputError, match="PodTemplate arkloom-serve: no container is named 'main'"):
        made(template)
