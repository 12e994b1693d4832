"""The estimate against a run: counts of turns and rollouts are exact, tokens of the right order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arkloom.chains.cost import Cost, cost
from arkloom.config import load
from arkloom.store.local import LocalStore
from whole_run import Whole

pytestmark = [pytest.mark.chain, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def estimated(whole: Whole) -> Cost:
    return cost(load(file=whole.root / "out" / "config.yaml"))


@pytest.fixture(scope="module")
def made(whole: Whole) -> dict[str, Any]:
    store = LocalStore(whole.root / "store")
    return {name: document for name, document in store.pointers(store.runs()[0]).items() if "uri" in document}


def test_every_node_that_ran_was_costed(estimated: Cost, made: dict[str, Any]) -> None:
    assert {node.node for node in estimated.nodes if node.known} == set(made)


def test_turns_and_tokens_of_debates(estimated: Cost, made: dict[str, Any]) -> None:
    told = {node.node: node.loads[0].load for node in estimated.nodes if node.stage == "debate"}
    assert {"debate", "debate-validation"} <= set(told)
    for name, load_ in told.items():
        figures = made[name]["metrics"]
        if "rft" in name:  # drawn until the debate's tokens are spent: the last answer goes beyond
            assert load_.count <= figures["turns"] <= 1.3 * load_.count
        else:
            assert figures["turns"] == load_.count
        assert load_.generated == pytest.approx(figures["completion_tokens"], rel=0.5)
        assert load_.prompt == pytest.approx(figures["prompt_tokens"], rel=0.5)


def test_traces_of_the_reward_model(estimated: Cost, made: dict[str, Any]) -> None:
    """The debate's traces and the student's own; those without a known label are left out of a run."""
    told = next(node.loads[0].load for node in estimated.nodes if node.node == "prm")
    folder = Path(made["prm"]["uri"].removeprefix("file://"))
    report = json.loads((folder / "report.json").read_text())
    ratio = told.count / (report["rows"] + report["unlabelled"] + report["too_long"])
    assert 2 / 3 < ratio < 2, ratio


def test_rollouts_and_tokens_of_training(estimated: Cost, made: dict[str, Any]) -> None:
    nodes = {node.node: node.loads for node in estimated.nodes if node.stage in {"sft", "grpo"}}
    assert {node.partition("-")[0] for node in nodes} == {"sft", "grpo"}
    for name, loads in nodes.items():
        if made[name]["kind"] == "absent":
            continue
        training = json.loads((Path(made[name]["uri"].removeprefix("file://")) / "training.json").read_text())
        if name.startswith("grpo"):
            assert loads[0].load.count == training["rollouts"]
        else:
            epochs = training["settings"]["epochs"]
            ratio = loads[0].load.trained / (training["tokens"] * epochs)
            assert 1 / 3 < ratio < 3, f"{name}: {ratio}"
