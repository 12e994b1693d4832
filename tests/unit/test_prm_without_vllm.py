"""The image that trains holds no vLLM: a PRM is judged there all the same, wherever the debates were held."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from arkloom import config as configs
from arkloom.engines.digests import model_digest
from arkloom.prm.best_of import Answerer, answer
from arkloom.records import Problem
from arkloom.stage import Context
from arkloom.store import open_store
from arkloom.telemetry import Events, Progress


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_answers_are_drawn_where_vllm_is_not_installed(tmp_path: Path) -> None:
    config = configs.load("smoke", overrides=["engine=vllm", "prm.best_of=2", f"store.root={tmp_path}"])
    questions = {"1+2*3+4-5*1": "6", "7+2*2+8-3*3": "10"}
    problems = [
        Problem(dataset="arithmetic", split="validation", question=question, gold=gold)
        for question, gold in questions.items()
    ]
    store = open_store(config.store)
    who = Answerer(config.models.student, model_digest(config.part("models.student")))
    with Progress() as progress:
        context = Context(progress=progress, events=Events())
        found = answer(config, problems, who, store.workspace("prm", "0" * 64), context)
    assert [debate.id for debate in found] == [problem.id for problem in problems]
    assert all(len(debate.turns) == 2 and debate.error is None for debate in found)
