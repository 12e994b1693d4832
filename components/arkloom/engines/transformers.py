"""Hugging Face checkpoints in this process, with continuous batching.

Sequences of different lengths decode together, each at its own position of a cache that is padded on the
right; a finished one leaves at once and a waiting one takes its place. So no sequence waits for the
longest of its batch. Text is drawn with noise keyed by (turn seed, position, token id): ``engines.gumbel``.

Float32 logits on a processor do not depend, to the last bit, on who shares the batch: each decoder thread
computes with one torch thread (with more, a row's arithmetic depends on the thread that it falls to), passes
have four rows or more (fewer take other kernels), and lengths are padded in steps of sixteen, by the prompt
alone. Several decoder threads share the requests, which is also faster for small models.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging as notices

from arkloom.cgroups import cores
from arkloom.config import ModelConfig, RunConfig
from arkloom.engines import gumbel
from arkloom.engines.cache import RaggedCache
from arkloom.engines.chats import Chats
from arkloom.engines.models import model_folder
from arkloom.engines.protocol import Completion, Request, Sampling
from arkloom.engines.thinking import split_thinking
from arkloom.errors import ArkloomError, BadInputError
from arkloom.records import Message

_LEAST_ROWS = 4
_STEP = 16
_PREFILL_TOKENS = 2048  # larger passes run out of the processor's cache and are slower a token
_ATTENTION = {"full_attention", "sliding_attention"}


def load(config: RunConfig, model: ModelConfig | Path) -> TransformersEngine:
    """Load a checkpoint as ``config.runtime`` says.

    Raises:
        BadInputError: No such model, no tokenizer or chat template, or weights not in safetensors.
    """
    runtime = config.runtime
    notices.disable_progress_bar()
    threads = runtime.threads or cores()
    folder = model if isinstance(model, Path) else model_folder(model.name)
    dtype = config.models.student.dtype if isinstance(model, Path) else model.dtype
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"no usable tokenizer ({_line(error)})", where=str(folder), mend="Save the tokenizer beside it"
        ) from error
    if not tokenizer.chat_template:
        raise BadInputError("the tokenizer has no chat template", where=str(folder))
    try:
        network = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=dtype
        )
        if not isinstance(model, Path) and model.adapter is not None:
            network = _adapted(network, Path(model.adapter).expanduser())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"cannot load the model ({_line(error)})", where=str(folder)) from error
    return TransformersEngine(
        network.to(runtime.device).eval(),
        tokenizer,
        batch=runtime.batch,
        slots=runtime.slots,
        threads=threads if runtime.device == "cpu" else 1,
    )


class TransformersEngine:
    """Serves one model (see the module)."""

    def __init__(
        self, model: Any, tokenizer: Any, *, batch: int = 128, slots: int = 256, threads: int = 1
    ) -> None:
        self._tokenizer, self._slots = tokenizer, slots
        self._context = _context_length(model, tokenizer)
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._chats = Chats(tokenizer)
        self._failure: ArkloomError | None = None
        threads = min(threads, batch)
        stops = _stop_tokens(model, tokenizer)
        decoders = [Decoder(model, -(-batch // threads), stops) for _ in range(threads)]
        self._workers = [
            threading.Thread(target=self._work, args=(decoder,), daemon=True) for decoder in decoders
        ]
        for worker in self._workers:
            worker.start()

    @property
    def slots(self) -> int:
        """How many requests the engine works on at once; more only wait."""
        return self._slots

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and completion together."""
        return self._context

    async def generate(self, request: Request) -> Completion:
        """Complete one chat; ``max_tokens`` is cut to what the context leaves.

        Raises:
            BadInputError: The prompt alone fills the context.
            ArkloomError: The model failed.
        """
        if request.adapter is not None:
            raise BadInputError(f"this engine serves no adapter {request.adapter!r}")
        prompt, opened = self._chats.encode(request.messages)
        room = min(request.sampling.max_tokens, self._context - len(prompt))
        if room < 1:
            raise BadInputError(
                "the prompt fills the context", where=f"{len(prompt)} of {self._context} tokens"
            )
        loop = asyncio.get_running_loop()
        job = _Job(prompt, request.sampling, request.seed, room, loop.create_future(), loop)
        self._waiting.put(job)
        if self._failure is not None:  # set before the queue is emptied for the last time
            raise self._failure
        await job.future
        words = self._tokenizer.decode(job.spoken, skip_special_tokens=True)
        text, thinking = split_thinking(words, opened)
        return Completion(
            text=text,
            finish_reason="stop" if job.stopped else "length",
            prompt_tokens=len(prompt),
            completion_tokens=len(job.spoken) + job.stopped,
            thinking=thinking,
        )

    def count(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the chat as the model sees it."""
        return self._chats.count(messages)

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest prefix of ``text`` of at most ``max_tokens`` tokens."""
        return self._chats.truncate(text, max_tokens)

    async def close(self) -> None:
        """Stop the decoder threads; requests in flight are dropped."""
        self._waiting.put(None)
        for worker in self._workers:
            await asyncio.to_thread(worker.join)

    def _work(self, decoder: Decoder) -> None:
        """A decoder thread: admit who waits, decode one token for everyone, hand out what is done."""
        torch.set_num_threads(1)
        error = ArkloomError("the engine was closed")
        try:
            with torch.inference_mode():
                while self._admit(decoder):
                    _resolve(decoder.step())
        except Exception as fault:
            error = ArkloomError(f"the model failed: {_line(fault)}")
            error.__cause__ = fault
        self._failure = self._failure or error
        _resolve([*decoder.jobs, *_drain(self._waiting)], self._failure)
        self._waiting.put(None)  # the other threads end as well

    def _admit(self, decoder: Decoder) -> bool:
        """Fill free rows in the order of arrival; waits when there is nothing to do. False = close."""
        jobs: list[_Job] = []
        # A thread takes its share of those who wait, so that all threads end together.
        share = max(1, -(-self._waiting.qsize() // len(self._workers)))
        while len(jobs) < share and len(decoder.jobs) + len(jobs) < decoder.rows:
            try:
                job = self._waiting.get(block=not jobs and not decoder.jobs)
            except queue.Empty:
                break
            if job is None:
                decoder.jobs += jobs  # dropped with the others
                return False
            if not job.future.cancelled():
                jobs.append(job)
        decoder.admit(jobs)
        return True


@dataclass(eq=False, slots=True)
class _Job:
    """One completion under way."""

    prompt: list[int]
    sampling: Sampling
    seed: int
    room: int
    future: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    spoken: list[int] = field(default_factory=list)
    stopped: bool = False

    @property
    def length(self) -> int:
        """Positions of the cache that are filled: all tokens but the last, which is fed next."""
        return len(self.prompt) + len(self.spoken) - 1

    def padded(self) -> int:
        """Prompt tokens but the last, padded: by the prompt alone, never by its company."""
        return -(-(len(self.prompt) - 1) // _STEP) * _STEP


class Decoder:
    """Decodes up to ``rows`` sequences together; row i of the cache belongs to ``jobs[i]``."""

    def __init__(self, model: Any, rows: int, stops: frozenset[int]) -> None:
        self._model, self.rows, self._stops = model, rows, stops
        self._device = model.device
        self._cache = RaggedCache(rows)
        self.jobs: list[_Job] = []

    def admit(self, jobs: Sequence[_Job]) -> None:
        """Compute the cache of all prompt tokens but the last; prompts of one padded length share a pass."""
        if not jobs:
            return
        ordered = sorted(jobs, key=_Job.padded)
        first = len(self.jobs)
        self.jobs += ordered
        most = max(max(len(job.prompt) + job.room, job.padded()) for job in jobs)
        self._cache.reserve(max(len(self.jobs), _LEAST_ROWS), most)
        for length, group in itertools.groupby(ordered, key=_Job.padded):
            alike = list(group)
            size = max(1, _PREFILL_TOKENS // max(length, 1))
            for start in range(0, len(alike), size):
                self._prefill(alike[start : start + size], length, first + start)
            first += len(alike)

    def _prefill(self, jobs: Sequence[_Job], length: int, row: int) -> None:
        if length == 0:
            return
        tokens = torch.zeros(len(jobs), length, dtype=torch.long)
        for index, job in enumerate(jobs):  # padded on the right: causal attention never looks there
            tokens[index, : len(job.prompt) - 1] = torch.tensor(job.prompt[:-1])
        self._cache.fill(row)
        positions = torch.arange(length, device=self._device).expand(len(jobs), -1)
        self._model.base_model(
            input_ids=tokens.to(self._device), position_ids=positions, past_key_values=self._cache
        )

    def step(self) -> list[_Job]:
        """One token for every job; returns the jobs that ended."""
        if not self.jobs:
            return []
        spare = [0] * (_LEAST_ROWS - len(self.jobs))
        lengths = torch.tensor([job.length for job in self.jobs] + spare, device=self._device)
        last = [job.spoken[-1] if job.spoken else job.prompt[-1] for job in self.jobs] + spare
        rows = torch.arange(len(last), device=self._device)
        seen = self._cache.extend(rows, lengths)
        mask = torch.arange(seen, device=self._device) <= lengths[:, None]
        output = self._model(
            input_ids=torch.tensor(last, device=self._device)[:, None],
            position_ids=lengths[:, None],
            past_key_values=self._cache,
            attention_mask=mask[:, None, None],
        )
        chosen = self._choose(output.logits[: len(self.jobs), -1].float())
        ended = []
        for job, token in zip(self.jobs, chosen, strict=True):
            job.stopped = token in self._stops
            if not job.stopped:
                job.spoken.append(token)
            if job.stopped or len(job.spoken) >= job.room or job.future.cancelled():
                ended.append(job)
        self._leave(ended)
        return ended

    def _leave(self, ended: Sequence[_Job]) -> None:
        for job in ended:  # the last row moves into the hole
            hole, last = self.jobs.index(job), len(self.jobs) - 1
            if hole != last:
                self._cache.move(last, hole)
                self.jobs[hole] = self.jobs[last]
            self.jobs.pop()

    def _choose(self, logits: Any) -> list[int]:
        """The next token of each row from logits [B, V]: greedy, or Gumbel-max over the candidates."""
        temperatures = torch.tensor([job.sampling.temperature for job in self.jobs], device=self._device)
        best, greedy = logits.max(dim=-1)
        if not bool(torch.isfinite(best).all()):
            raise ArkloomError("the model gives no finite logits", mend="Try dtype float32")
        chosen: list[int] = greedy.tolist()
        drawn = torch.nonzero(temperatures > 0)[:, 0]
        if len(drawn) == 0:
            return chosen
        scores = logits[drawn] / temperatures[drawn, None]
        rows, tokens = torch.nonzero(
            scores >= best[drawn, None] / temperatures[drawn, None] - gumbel.SPREAD, as_tuple=True
        )
        values, row_ids, token_ids = (t.cpu().numpy() for t in (scores[rows, tokens], rows, tokens))
        jobs = [self.jobs[index] for index in drawn.tolist()]
        top_p = np.array([job.sampling.top_p for job in jobs], np.float32)
        if (top_p < 1).any():
            totals = torch.logsumexp(scores, dim=-1).cpu().numpy()
            keep = gumbel.nucleus(row_ids, values, totals, top_p)
            values, row_ids, token_ids = values[keep], row_ids[keep], token_ids[keep]
        key = gumbel.keys([job.seed for job in jobs], [len(job.spoken) for job in jobs])
        for index, token in zip(
            drawn.tolist(), gumbel.choose(row_ids, token_ids, values, key).tolist(), strict=True
        ):
            chosen[index] = token
        return chosen


def _adapted(network: Any, folder: Path) -> Any:
    """The model with a LoRA adapter merged into its weights."""
    from peft import PeftModel  # noqa: PLC0415 - only adapters need it, and it is slow to import

    if not (folder / "adapter_model.safetensors").is_file():
        raise BadInputError("no adapter_model.safetensors here", where=str(folder))
    return PeftModel.from_pretrained(network, folder).merge_and_unload()


def _context_length(model: Any, tokenizer: Any) -> int:
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _ATTENTION
    if kinds or model.config.is_encoder_decoder:
        raise BadInputError(
            f"the transformers engine serves decoders with attention only ({config.model_type})"
        )
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    if getattr(config, "use_sliding_window", True):
        limits.append(getattr(config, "sliding_window", None))
    return int(min(limit for limit in limits if limit))


def _stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    generation: GenerationConfig | None = model.generation_config
    configured = generation.eos_token_id if generation is not None else None
    stops = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*stops, tokenizer.eos_token_id) if token is not None)


def _resolve(jobs: Sequence[_Job], error: ArkloomError | None = None) -> None:
    """Wake whoever waits for these jobs; one call into each event loop."""
    for loop in {job.loop for job in jobs}:
        ended = [job for job in jobs if job.loop is loop]
        with contextlib.suppress(RuntimeError):  # the loop is gone, and so is who waited
            loop.call_soon_threadsafe(_wake, ended, error)


def _wake(jobs: Sequence[_Job], error: ArkloomError | None) -> None:
    for job in jobs:
        if not job.future.done():
            if error is None:
                job.future.set_result(None)
            else:
                job.future.set_exception(error)


def _drain(waiting: queue.SimpleQueue[_Job | None]) -> list[_Job]:
    jobs = []
    with contextlib.suppress(queue.Empty):
        while True:
            if (job := waiting.get_nowait()) is not None:
                jobs.append(job)
    return jobs


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
