"""The chain as data: which nodes an arm needs, and in which order."""

from __future__ import annotations

import pytest

from arkloom import config as configs
from arkloom.chains.distill import distill
from arkloom.chains.graph import Node, edges, ordered
from arkloom.errors import ArkloomError, BadInputError


def nodes_for(arms: list[str]) -> dict[str, Node]:
    return {
        node.name: node
        for node in distill(configs.load("smoke", overrides=[f"evaluate.arms=[{','.join(arms)}]"]))
    }


ARMS = [
    (["base", "debate"], {"prepare", "debate", "filter", "evaluate"}),
    (["base", "rsft"], {"prepare", "debate", "filter", "sft-rsft", "evaluate"}),
    (
        ["rsft", "rft"],
        {"prepare", "debate", "filter", "debate-rft", "filter-rft", "sft-rsft", "sft-rft", "evaluate"},
    ),
    (
        ["rsft", "rft_self"],
        {
            "prepare",
            "debate",
            "filter",
            "debate-rft-self",
            "filter-rft-self",
            "sft-rsft",
            "sft-rft-self",
            "evaluate",
        },
    ),
]


@pytest.mark.parametrize(("arms", "names"), ARMS)
def test_an_arm_brings_just_the_nodes_it_needs(arms: list[str], names: set[str]) -> None:
    assert set(nodes_for(arms)) == names


def test_the_control_draws_from_the_same_budget_and_both_arms_are_cut() -> None:
    nodes = nodes_for(["rsft", "rft"])
    assert nodes["debate-rft"].inputs["budget"] == "debate"
    assert "debate.protocol=vote" in nodes["debate-rft"].overrides
    assert nodes["sft-rsft"].inputs == {"rows": "filter", "match": "filter-rft"}
    assert nodes["sft-rft"].inputs == {"rows": "filter-rft", "match": "filter"}
    assert nodes["sft-rft"].overrides == nodes["sft-rsft"].overrides == ("sft.match=true",)


def test_evaluation_reads_every_student_under_its_arm() -> None:
    chain = distill(configs.load("laptop"))
    arms = {port for _, child, port in edges(chain) if child == "evaluate"} - {"problems", "debates", "rows"}
    assert arms == set(configs.load("laptop").evaluate.arms) - {"base", "vote", "debate"}


def test_parents_come_first() -> None:
    chain = distill(configs.load("laptop"))
    seen: set[str] = set()
    for node in chain:
        assert set(node.inputs.values()) <= seen
        seen.add(node.name)


def test_an_unknown_arm_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match="no arm 'rsfd'"):
        nodes_for(["base", "rsfd"])


BROKEN = [
    ([Node("a", "x"), Node("a", "x")], "two nodes are named 'a'"),
    ([Node("a", "x", {"in": "b"})], "'a' reads 'b', which does not exist"),
    ([Node("a", "x", {"in": "b"}), Node("b", "x", {"in": "a"})], "wait for each other: a, b"),
]


@pytest.mark.parametrize(("nodes", "what"), BROKEN)
def test_a_broken_graph_is_refused(nodes: list[Node], what: str) -> None:
    with pytest.raises(ArkloomError, match=what):
        ordered(nodes)


def test_node_names_are_dns_labels() -> None:
    for node in distill(configs.load("laptop")):
        assert node.name == node.name.lower()
        assert node.name.replace("-", "").isalnum()
