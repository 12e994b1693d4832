"""Recorded debates of real models, spoken again by the scripted engine: votes and grades must not drift."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from arkloom.canonical import derive_seed
from arkloom.config import load
from arkloom.debate.figures import figures
from arkloom.engines.protocol import Request
from arkloom.engines.scripted import ScriptedEngine
from arkloom.records import Debate, Problem
from debates import held, small

TYPES = {"gsm8k": "number", "mmlu": "mcq"}


def replayed(rows: list[dict[str, Any]], agents: int) -> list[Debate]:
    """The recordings of so many agents, held again."""
    texts: dict[int, str] = {}
    some = []
    for row in rows:
        problem = Problem(
            dataset=row["id"],
            split="test",
            question=row["question"],
            gold=row["gold"],
            answer_type=TYPES[row["task"]],
        )
        some.append(problem)
        for k, spoken in enumerate(row["rounds"]):
            for agent, text in enumerate(spoken):
                texts[derive_seed(0, problem.id, agent, k)] = text

    def speak(request: Request) -> str:
        return texts[request.seed]

    rounds = len(rows[0]["rounds"])
    config = load(None, None, [f"debate.agents={agents}", f"debate.rounds={rounds}"])
    rules = small(config=config)
    return held(some, replace(rules, peer_token_cap=64), ScriptedEngine(speak, slots=16))


def test_recorded_debates_replayed(shared_data: Path) -> None:
    by_size: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for line in (shared_data / "debates" / "debates.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        if row["task"] in TYPES:
            by_size[row["n_agents"], len(row["rounds"])].append(row)
    debates = [d for (agents, _), rows in sorted(by_size.items()) for d in replayed(rows, agents)]
    counted = figures(debates).metrics()
    assert counted["errors"] == 0
    assert counted["turns"] == sum(len(debate.agents) * len(debate.rounds) for debate in debates)
    # On these recordings debate moves the vote little, and some answers cannot be read.
    assert counted["problems"] > 100
    assert abs(counted["deliberation_gain"]) < 0.05
    assert 0.02 < counted["no_answer"] < 0.15
    assert counted["agreement"] == sorted(counted["agreement"])
