"""Best of n by the PRM against the majority of the same n answers, on validation problems."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arkloom.config import ModelConfig, RunConfig
from arkloom.engines import open_engine
from arkloom.errors import BadInputError
from arkloom.prompts import Prompts
from arkloom.protocol.failures import PASSES, passing, refuse_failures
from arkloom.protocol.log import DebateLog, Timing
from arkloom.protocol.scheduler import hold
from arkloom.protocol.society import soloists
from arkloom.records import Debate, Message, ModelRef, Problem, Source, StepRow, Turn
from arkloom.stage import Context
from arkloom.stats import compare
from arkloom.steps.ends import step_ends
from arkloom.steps.model import Prm
from arkloom.store import Workspace

_LOG = "best-of"


@dataclass(frozen=True)
class Answerer:
    """Who answers: a configured model or a checkpoint folder, and the digest of its weights."""

    source: ModelConfig | Path
    digest: str

    @property
    def reference(self) -> ModelRef:
        """As debate records name it."""
        if isinstance(self.source, ModelConfig):
            return ModelRef(name=self.source.name, revision=self.digest, adapter=self.source.adapter)
        return ModelRef(name="student", revision=self.digest)


def answer(
    config: RunConfig, problems: Sequence[Problem], who: Answerer, outputs: Workspace, context: Context
) -> list[Debate]:
    """``prm.best_of`` independent answers to each problem, drawn as a debate draws its own.

    A killed process goes on where its log stands.

    Raises:
        ResumeError: Told to stop; what was answered is kept.
        ArkloomError: The engine failed.
    """
    rules = config.debate
    crowd = soloists(
        config,
        who.reference,
        config.prm.best_of,
        rules.temperature,
        config.seed,
        top_p=rules.top_p,
        max_tokens=rules.max_tokens,
    )
    folder, size = outputs.scratch / _LOG, config.runtime.shard_size
    log = DebateLog(folder, folder, size, name=_LOG, commit=outputs.checkpoint)
    done = {problem for problem, _ in log.done}
    task = context.progress.add("answers", len(problems), len(done))

    def record(debate: Debate, timing: Timing) -> None:
        log.append(debate, timing)
        task.advance(int(debate.error is None))

    try:
        for _ in range(PASSES):
            done = {problem for problem, _ in log.done}
            if len(done) == len(problems) or context.stop.is_set():
                break
            engine = open_engine(_spoken_here(config), who.source)
            try:
                hold(problems, crowd, engine, record, stop=context.stop, done=done, stage="prm")
            finally:
                asyncio.run(engine.close())
            if not passing(log):
                break
        context.check()
        with suppress(BadInputError):  # none can be answered: nothing to compare, but a PRM all the same
            refuse_failures(log)
        found = {debate.id: debate for debate in log.records()}
        return [found[problem.id] for problem in problems if problem.id in found]
    finally:
        log.close()


def _spoken_here(config: RunConfig) -> RunConfig:
    """The image that trains holds no vLLM: there the few answers of a judgement are drawn by transformers."""
    if config.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        return config.model_copy(update={"engine": "transformers"})
    return config


def judge(prm: Prm, debates: Sequence[Debate], prompts: Prompts, resamples: int, seed: int) -> dict[str, Any]:
    """Accuracy of the answer that the PRM chooses and of the majority's, paired by problem.

    A solution is as good as its weakest step; one whose answer cannot be read is not chosen. Where no answer
    can be read, both are wrong.

    Args:
        prm: Scores every solution in one forward pass.
        debates: Independent answers to problems whose gold is known.
        prompts: Writes the question as the PRM learned to read it.
        resamples: Bootstrap resamples.
        seed: Seeds the bootstrap.

    Returns:
        ``{n, problems, prm, majority, one, any, diff, ci95, p, aggregate}``; ``one`` is the mean single
        answer, ``any`` the share of problems with at least one right answer. ``{reason}`` where no problem
        was answered.
    """
    held = [debate for debate in debates if debate.error is None]
    if not held:
        failed = next((debate.error.message for debate in debates if debate.error is not None), "")
        return {"reason": f"no validation problem was answered{failed and ': '}{failed}"}
    rows = {
        (debate.id, turn.agent): row
        for debate in held
        for turn in debate.turns
        if (row := _row(debate, turn, prompts)) is not None
    }
    scored = zip(rows, prm.scores_of_rows(list(rows.values())), strict=True)
    weakest = {place: min(scores) for place, scores in scored}
    chosen = np.array([_chosen(debate, weakest) for debate in held], dtype=float)
    majority = np.array([bool(debate.final and debate.final.correct) for debate in held], dtype=float)
    single = [[bool(turn.correct) for turn in debate.turns] for debate in held]
    delta = compare(chosen, majority, resamples=resamples, seed=seed)
    return {
        "n": max(map(len, single)),
        "problems": len(held),
        "prm": float(chosen.mean()),
        "majority": float(majority.mean()),
        "one": float(np.mean([np.mean(right) for right in single])),
        "any": float(np.mean([any(right) for right in single])),
        **{name: value for name, value in delta.json().items() if name != "n"},
        "aggregate": "min",
    }


def _chosen(debate: Debate, weakest: Mapping[tuple[str, int], float]) -> bool:
    """Whether the solution that the PRM likes best is right; equal ones: the first."""
    offered = [turn for turn in debate.turns if (debate.id, turn.agent) in weakest]
    if not offered:
        return False
    return bool(max(offered, key=lambda turn: weakest[debate.id, turn.agent]).correct)


def _row(debate: Debate, turn: Turn, prompts: Prompts) -> StepRow | None:
    """The solution as a row of steps, or None where it has no answer or no steps."""
    problem = debate.problem()
    ends = step_ends(turn.text, problem.answer_type)
    if turn.answer is None or not ends:
        return None
    return StepRow(
        problem_id=problem.id,
        content_hash=problem.content_hash,
        messages=(*prompts.student(problem), Message(role="assistant", content=turn.text)),
        step_ends=ends,
        source=Source(debate=debate.id, seed=debate.seed, agent=turn.agent, round=turn.round),
    )
