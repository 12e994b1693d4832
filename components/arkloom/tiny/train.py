"""Pre-trains the tiny society from scratch: ``arkloom tiny train``, seeded, resumable.

Half of the steps show direct examples, half debates. Blocks of examples are drawn from (seed, block)
alone, so that a resumed run sees what an uninterrupted one sees.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from arkloom.errors import BadInputError
from arkloom.tiny import examples, tokenizer
from arkloom.tiny.examples import Example

log = logging.getLogger(__name__)

_ATTENTION = "tiny_float32"
CONTEXT_LENGTH = 1024
BLOCK = 10  # steps of each family in a block; batches within a block are bucketed by length
CHECKPOINT_EVERY = 500  # a multiple of 2 * BLOCK
LOG_EVERY = 100


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the weights; the shipped ones were made with the defaults.

    Attributes:
        steps: Optimiser steps of the first part, half of each family; every persona keeps to its order.
        free_steps: Steps of the second part, in which each answer draws its order of operations.
        seed: Of the initial weights and of every example.
        learning_rate: Peak, reached after ``warm_up`` steps and held for half of the first part; half
            as much at the start of the second.
        direct_batch: Conversations a direct step.
        debate_batch: Conversations a debate step.
    """

    steps: int = 4200
    free_steps: int = 1400
    seed: int = 7
    learning_rate: float = 2e-3
    warm_up: int = 100
    direct_batch: int = 64
    debate_batch: int = 24

    @property
    def total(self) -> int:
        """Steps of both parts."""
        return self.steps + self.free_steps


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids [B, T] right-padded; ``learned`` [B, T] marks the tokens that are targets."""

    tokens: torch.Tensor
    learned: torch.Tensor


def model_config(vocabulary: int, pad: int, end: int) -> LlamaConfig:
    """Architecture of the society's one model: 0.87 M parameters."""
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=384, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True, pad_token_id=pad, eos_token_id=end, bos_token_id=None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Run:
    """What one training holds: where it writes, what decides it, and what it changes."""

    out: Path
    recipe: Recipe
    words: PreTrainedTokenizerFast
    model: LlamaForCausalLM
    optimiser: torch.optim.Optimizer


def train(out: Path, recipe: Recipe | None = None, *, threads: int | None = None) -> Path:
    """Trains from scratch, or goes on from the last checkpoint in ``out``; returns ``out``.

    Args:
        out: Folder for the model (bf16 safetensors, config, tokenizer) and, while it trains,
            ``checkpoint/``.
        recipe: Steps, seed and rates; default: that of the shipped weights.
        threads: Torch threads; default: Torch's own choice.

    Raises:
        BadInputError: ``steps`` is no positive multiple of two blocks, or ``out`` holds a checkpoint
            of another recipe.
    """
    recipe = recipe or Recipe()
    for steps, least in ((recipe.steps, 2 * BLOCK), (recipe.free_steps, 0)):
        if steps < least or steps % (2 * BLOCK):
            raise BadInputError(f"{steps} steps", mend=f"Give a positive multiple of {2 * BLOCK}.")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    words = tokenizer.build(CONTEXT_LENGTH)
    model = LlamaForCausalLM(model_config(len(words), words.pad_token_id, words.eos_token_id))
    AttentionInterface.register(_ATTENTION, _attend)
    model.set_attn_implementation(_ATTENTION)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    run = _Run(out, recipe, words, model, optimiser)
    start = _resume(run)
    with _no_denormals(), _progress() as progress:
        _loop(run, start, progress)
    save(model, words, out)
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    return out


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Rounds denormal numbers to 0, which are slow on CPUs; only here: it changes the whole process."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _loop(run: _Run, start: int, progress: Progress) -> None:
    recipe, losses, began = run.recipe, {False: 0.0, True: 0.0}, time.monotonic()
    task = progress.add_task("tiny society", total=recipe.total, completed=start, loss="")
    run.model.train()
    for done, (debating, batch) in enumerate(batches(recipe, run.words, start), start=start + 1):
        if done - 1 == recipe.steps:
            _start_over(run)
        seen = _step(run, batch, rate(recipe, done - 1))
        losses[debating] += 0.05 * (seen - losses[debating]) if losses[debating] else seen
        progress.update(task, completed=done, loss=f"direct {losses[False]:.3f} debate {losses[True]:.3f}")
        if done % LOG_EVERY == 0 and not progress.console.is_terminal:
            pace = (time.monotonic() - began) / (done - start)
            left = pace * (recipe.total - done) / 60
            line = "step %d/%d, loss direct %.4f debate %.4f, %.3f s a step, %.1f minutes left"
            log.info(line, done, recipe.total, losses[False], losses[True], pace, left)
        if done % CHECKPOINT_EVERY == 0 and done < recipe.total:
            _checkpoint(run, done)


def _start_over(run: _Run) -> None:
    """Begins the second part as if from a saved model: weights rounded to bf16, no moments."""
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
    run.optimiser.state.clear()


def _step(run: _Run, batch: Batch, learning_rate: float) -> float:
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(run.model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimiser.step()
    run.optimiser.zero_grad(set_to_none=True)
    return float(loss.item())


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention in float32: on CPUs its bf16 backward pass is over twice as slow."""
    with torch.autocast("cpu", enabled=False):
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), is_causal=True, scale=scaling
        )
    return mixed.transpose(1, 2).contiguous(), None


def rate(recipe: Recipe, step: int) -> float:
    """The learning rate of one step.

    First part: linear warm-up, held, then cosine to 0 over its last half; up to ``holds_until`` it does
    not depend on the number of steps, so a run may still be made shorter or longer then. Second part:
    linear warm-up to half the peak, then cosine to 0.
    """
    if step < recipe.steps:
        at, start, length, peak = step, holds_until(recipe), recipe.steps, recipe.learning_rate
    else:
        at, start, length, peak = step - recipe.steps, 0, recipe.free_steps, recipe.learning_rate / 2
    share = max(0, at - start) / max(1, length - start)
    return peak * min(1.0, (at + 1) / recipe.warm_up) * 0.5 * (1 + math.cos(math.pi * share))


def holds_until(recipe: Recipe) -> int:
    """The step from which the learning rate falls."""
    return recipe.steps // 2


def batches(recipe: Recipe, words: PreTrainedTokenizerFast, start: int = 0) -> Iterator[tuple[bool, Batch]]:
    """Yields (is it a debate step, batch) from step ``start``, a block boundary, to the last."""
    for block in range(start // (2 * BLOCK), recipe.total // (2 * BLOCK)):
        free = block * 2 * BLOCK >= recipe.steps
        random = Random(f"tiny/{recipe.seed}/{block}")  # noqa: S311  (no secret)
        families = (
            (False, [examples.direct(random, free=free) for _ in range(BLOCK * recipe.direct_batch)]),
            (True, [examples.debate(random, free=free) for _ in range(BLOCK * recipe.debate_batch)]),
        )
        steps = [
            (debating, batch)
            for debating, drawn in families
            for batch in bucket(words, drawn, len(drawn) // BLOCK)
        ]
        random.shuffle(steps)
        yield from steps


def bucket(words: PreTrainedTokenizerFast, drawn: list[Example], size: int) -> list[Batch]:
    """Batches of ``size`` conversations of about the same length."""
    encoded = sorted(encode(words, drawn), key=lambda pair: len(pair[0]))
    return [_pad(encoded[at : at + size], words.pad_token_id) for at in range(0, len(encoded), size)]


def encode(words: PreTrainedTokenizerFast, drawn: list[Example]) -> list[tuple[list[int], list[bool]]]:
    """Token ids of each conversation and which of them are targets (answers with their end)."""
    pieces = [piece for example in drawn for piece in render(example)]
    ids = [encoding.ids for encoding in words.backend_tokenizer.encode_batch([text for text, _ in pieces])]
    result: list[tuple[list[int], list[bool]]] = []
    at = 0
    for example in drawn:
        tokens: list[int] = []
        learned: list[bool] = []
        for _ in range(2 * len(example.messages)):
            tokens += ids[at]
            learned += [pieces[at][1]] * len(ids[at])
            at += 1
        result.append((tokens, learned))
    return result


def render(example: Example) -> list[tuple[str, bool]]:
    """The chat template's text in two pieces a message, role and content; whether it is a target.

    Joined they equal what the tokenizer's chat template gives (a test says so); Jinja is too slow here.
    """
    pieces: list[tuple[str, bool]] = []
    for position, message in enumerate(example.messages):
        pieces.append((f"<|{message.role}|>", False))
        pieces.append((f"{message.content}{tokenizer.END}", position in example.learned))
    return pieces


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy over the targets.

    Padding stands on the right, where causal attention never looks, so no mask is needed; logits
    are computed for the targets alone.
    """
    hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state  # [B, T, D]
    wanted = batch.learned[:, 1:]
    logits = model.lm_head(hidden[:, :-1][wanted])  # [N, V]
    return torch.nn.functional.cross_entropy(logits, batch.tokens[:, 1:][wanted])


def save(model: LlamaForCausalLM, words: PreTrainedTokenizerFast, out: Path) -> Path:
    """Writes a bf16 copy of the model with its tokenizer, as Hugging Face lays it out."""
    config = model_config(len(words), words.pad_token_id, words.eos_token_id)
    copy = LlamaForCausalLM(config)
    copy.load_state_dict(model.state_dict())
    copy.generation_config.eos_token_id = words.eos_token_id
    copy.generation_config.pad_token_id = words.pad_token_id
    copy.to(torch.bfloat16).save_pretrained(out)
    words.save_pretrained(out, save_jinja_files=False)
    return out


def _pad(rows: list[tuple[list[int], list[bool]]], pad: int) -> Batch:
    width = max(len(tokens) for tokens, _ in rows)
    tokens = torch.tensor([row + [pad] * (width - len(row)) for row, _ in rows])
    learned = torch.tensor([row + [False] * (width - len(row)) for _, row in rows])
    return Batch(tokens, learned)


def _checkpoint(run: _Run, step: int) -> None:
    """Weights and moments as one safetensors file; its metadata says which step of which recipe."""
    folder = run.out / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in run.model.named_parameters():
        tensors[f"weight/{name}"] = parameter.detach()
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}/{name}"] = run.optimiser.state[parameter][moment]
    metadata = {"step": str(step), "recipe": json.dumps(asdict(run.recipe), sort_keys=True)}
    save_file(tensors, folder / "next.safetensors", metadata=metadata)
    (folder / "next.safetensors").replace(folder / "last.safetensors")


def _resume(run: _Run) -> int:
    """Restores the last checkpoint, if any, and returns the step that it stands at."""
    path = run.out / "checkpoint" / "last.safetensors"
    if not path.is_file():
        return 0
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
    step, before = int(metadata["step"]), Recipe(**json.loads(metadata["recipe"]))
    same_so_far = replace(before, steps=run.recipe.steps) == run.recipe and step <= min(
        holds_until(before), holds_until(run.recipe)
    )
    if before != run.recipe and not same_so_far:
        raise BadInputError("checkpoint of another recipe", where=str(path), mend="Choose another --out.")
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            parameter.copy_(tensors[f"weight/{name}"])
            run.optimiser.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"exp_avg/{name}"],
                "exp_avg_sq": tensors[f"exp_avg_sq/{name}"],
            }
    log.info("going on from step %d", step)
    return step
