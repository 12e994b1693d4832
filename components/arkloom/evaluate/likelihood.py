"""How likely a model finds the debate's correct solutions of held-out problems, written as its own.

A trace of the last round that ends right is put behind the question that a model alone is asked; its
negative log-likelihood, summed over the trace's tokens and the one that ends the turn, is taken in one
forward pass of many traces. No text is generated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arkloom.errors import BadInputError
from arkloom.prompts import Prompts
from arkloom.records import Debate, Message, Source, TrainingRow, Turn
from arkloom.training.encode import Example, encode
from arkloom.training.loss import rsft, weighted_nll
from arkloom.training.packing import FORWARD_TOKENS, collate
from arkloom.training.student import load

_DIGITS = 6  # kept of a mean: what is beyond differs between machines
_MOST = 700  # exp() of more is no float


@dataclass(frozen=True)
class Likelihood:
    """Sum of negative log-likelihoods in nats over the tokens of some traces."""

    total: float
    tokens: int
    traces: int

    def json(self) -> dict[str, Any]:
        """``{nll, ppl, tokens, traces}``: nll is the mean per token, ppl its exponential."""
        mean = round(self.total / self.tokens, _DIGITS) if self.tokens else None
        if mean is not None and not math.isfinite(mean):
            mean = None
        perplexity = None if mean is None or mean > _MOST else round(math.exp(mean), _DIGITS)
        return {"nll": mean, "ppl": perplexity, "tokens": self.tokens, "traces": self.traces}


def held_out_traces(debates: Sequence[Debate], prompts: Prompts) -> list[TrainingRow]:
    """One correct trace of the last round for each debate that has one, as the student's own answer.

    Which agent's it is goes round with the debates, so that no persona speaks for all.
    """
    rows = []
    for number, debate in enumerate(sorted(debates, key=lambda record: record.id)):
        last = max((turn.round for turn in debate.turns), default=0)
        right = [turn for turn in debate.turns if turn.round == last and turn.correct and _whole(turn)]
        if debate.error is None and right:
            rows.append(_row(debate, right[number % len(right)], prompts))
    return rows


def likelihood(folder: Path, rows: Sequence[TrainingRow], device: str, threads: int) -> Likelihood:
    """Score traces under the checkpoint in ``folder``.

    A trace that its chat template does not write as it is, or that is longer than its context, is left out.

    Args:
        folder: A checkpoint that a causal language model loads from.
        rows: Traces, each the last message of its conversation.
        device: Where the forward passes run.
        threads: CPU threads.

    Raises:
        BadInputError: The folder does not load.
    """
    torch.set_num_threads(threads)
    student = load(folder)
    dtype = torch.float32 if device == "cpu" else student.stored
    model = student.model.to(device=device, dtype=dtype).eval()
    room = int(getattr(model.config, "max_position_embeddings", 0) or FORWARD_TOKENS)
    examples = [example for example in _encoded(student.tokenizer, rows) if len(example) <= room]
    total = 0.0
    with torch.inference_mode():
        for batch in _batches(examples):
            tensors = {
                name: tensor.to(device)
                for name, tensor in collate([rsft(example) for example in batch], "padded").items()
            }
            logits = model(
                input_ids=tensors["input_ids"], attention_mask=tensors["attention_mask"], use_cache=False
            ).logits
            total += float(weighted_nll(logits, tensors["input_ids"], tensors["weights"]))
    return Likelihood(total, sum(example.trained for example in examples), len(examples))


def _batches(examples: Sequence[Example], tokens: int = FORWARD_TOKENS) -> Iterator[list[Example]]:
    """Examples by length, as many a pass as ``tokens`` with their padding hold; at least one."""
    batch: list[Example] = []
    for example in sorted(examples, key=len):
        if batch and (len(batch) + 1) * len(example) > tokens:
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


def _encoded(tokenizer: Any, rows: Sequence[TrainingRow]) -> Iterator[Example]:
    for row in rows:
        try:
            yield encode(tokenizer, row)
        except BadInputError:
            continue


def _whole(turn: Turn) -> bool:
    return turn.finish_reason == "stop" and bool(turn.text.strip())


def _row(debate: Debate, turn: Turn, prompts: Prompts) -> TrainingRow:
    problem = debate.problem()
    return TrainingRow(
        problem_id=problem.id,
        content_hash=problem.content_hash,
        messages=(*prompts.student(problem), Message(role="assistant", content=turn.text)),
        answer_from=0,
        trace_class="stable",  # not looked at: nothing is trained here
        source=Source(debate=debate.id, seed=debate.seed, agent=turn.agent, round=turn.round),
    )
