"""The chain as data: which nodes an arm needs, what they read, and in which order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from arkloom import config as configs
from arkloom.chains.distill import TRAINED, distill, node_of
from arkloom.chains.graph import Chain, Node, edges, ordered
from arkloom.errors import ArkloomError, BadInputError

CASES = json.loads((Path(__file__).parents[1] / "cases" / "chain_arms.json").read_text())
ALWAYS = {"prepare", "debate", "filter", "evaluate", "gate", "register"}
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def chain_for(arms: list[str]) -> Chain:
    return distill(configs.load("smoke", overrides=[f"evaluate.arms=[{','.join(arms)}]"]))


def nodes_for(arms: list[str]) -> dict[str, Node]:
    return {node.name: node for node in chain_for(arms)}


@pytest.mark.parametrize("case", CASES, ids=[",".join(case["arms"]) for case in CASES])
def test_an_arm_brings_just_the_nodes_it_needs(case: dict[str, Any]) -> None:
    nodes = nodes_for(case["arms"])
    assert set(nodes) == ALWAYS | set(case["nodes"])
    for name, ports in case.get("inputs", {}).items():
        assert nodes[name].inputs == ports, name
    for name, settings in case.get("settings", {}).items():
        assert list(nodes[name].overrides) == settings, name


@pytest.mark.parametrize("preset", configs.presets())
def test_evaluation_reads_every_student_under_its_arm(preset: str) -> None:
    settings = configs.load(preset)
    read = {port: parent for parent, child, port in edges(distill(settings)) if child == "evaluate"}
    students = set(settings.evaluate.arms) - {"base", "vote", "debate"}
    assert set(read) == students | {"problems", "debates", "rows", "prm"}
    assert {read[arm] for arm in students} == {node_of(arm) for arm in students}


@pytest.mark.parametrize("preset", configs.presets())
def test_parents_come_first_and_names_are_dns_labels(preset: str) -> None:
    seen: set[str] = set()
    for node in distill(configs.load(preset)):
        assert set(node.inputs.values()) <= seen
        assert LABEL.fullmatch(node.name)
        seen.add(node.name)


def test_every_pair_of_arms_stacks() -> None:
    for first in TRAINED:
        for second in TRAINED:
            nodes = nodes_for([f"{first}+{second}"])
            assert nodes[node_of(f"{first}+{second}")].inputs["start"] == node_of(first)
            assert nodes["evaluate"].inputs[f"{first}+{second}"] == node_of(f"{first}+{second}")
            assert first not in nodes["evaluate"].inputs, "what is only built on is no arm"


def test_every_override_is_a_setting_and_leaves_the_rest() -> None:
    settings = configs.load("laptop-full")
    for node in distill(settings):
        changed = settings.override(node.overrides)
        paths = [override.partition("=")[0] for override in node.overrides]
        back = [f"{path}={json.dumps(settings.part(path))}" for path in paths]
        assert changed.override(back) == settings, node.name


def test_what_an_arm_is_does_not_depend_on_what_the_user_set() -> None:
    """An arm's own settings win: `sft.objective=da` in a file must not turn `rsft` into `da`."""
    user = configs.load(
        "laptop-full", overrides=["sft.objective=da", "sft.match=true", "grpo.prm_weight=0.2"]
    )
    nodes = {node.name: user.override(node.overrides) for node in distill(user)}
    assert nodes["sft-rsft"].sft.objective == "rsft"
    assert nodes["sft-answer-sft"].sft.objective == "answer"
    assert nodes["sft-rsft-uncut"].sft.match is False
    assert nodes["sft-da"].sft.match is False
    assert nodes["grpo-pad"].grpo.prm_weight == 0.2
    assert (
        nodes["grpo-verifier-grpo"].grpo.prm_weight,
        nodes["grpo-verifier-grpo"].grpo.verifier_weight,
    ) == (0, 1)


def test_labels_by_people_train_and_judge_on_problems_of_their_own() -> None:
    """The same file on both ports would judge the reward model on what it learned."""
    settings = configs.load("smoke", overrides=["evaluate.arms=[pad]", "label.source=human"])
    nodes = {node.name: node for node in distill(settings)}
    assert nodes["label"].inputs == {"problems": "prepare"}, "questions that are evaluated are left out"
    assert nodes["prm"].inputs == {"steps": "label", "problems": "prepare"}
    assert not {"label-validation", "filter-validation", "debate-validation"} & set(nodes)


REFUSED = ["rsfd", "da_uncut", "pad_uncut", "base+da", "da+", "+da", "da+debate", "rsft+rsfd", ""]


@pytest.mark.parametrize("arm", REFUSED)
def test_an_unknown_arm_is_refused_by_name(arm: str) -> None:
    unknown = next(part for part in arm.split("+") if part not in TRAINED)
    with pytest.raises(BadInputError, match=f"no arm '{unknown}'") as caught:
        chain_for(["debate", f"'{arm}'"])
    assert "\n" not in caught.value.line()


def test_an_arm_asked_for_twice_is_trained_once() -> None:
    assert [node.name for node in chain_for(["da", "da"])] == [node.name for node in chain_for(["da"])]


BROKEN = [
    ([Node("a", "x"), Node("a", "x")], "two nodes are named 'a'"),
    ([Node("a", "x", {"in": "b"})], "'a' reads 'b', which does not exist"),
    ([Node("a", "x", {"in": "b"}), Node("b", "x", {"in": "a"})], "wait for each other: a, b"),
]


@pytest.mark.parametrize(("nodes", "what"), BROKEN)
def test_a_broken_graph_is_refused(nodes: list[Node], what: str) -> None:
    with pytest.raises(ArkloomError, match=what):
        ordered(nodes)
