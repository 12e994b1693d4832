"""vLLM in this process: continuous batching, prefix caching, a LoRA adapter for each agent.

The engine lives in an event loop of its own thread, since a stage may run several loops one after another;
the model itself is in a child process that vLLM starts. Prompts are the same token ids that a vLLM server
makes of the same messages. Needs an interpreter with vLLM: ``runtime.python.debate``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from arkloom.cgroups import cores
from arkloom.config import ModelConfig, RunConfig, RuntimeConfig
from arkloom.engines.chats import Chats
from arkloom.engines.models import model_folder
from arkloom.engines.protocol import Completion, Request, Sampling
from arkloom.engines.thinking import split_thinking
from arkloom.engines.vllm_children import MARK
from arkloom.errors import ArkloomError, BadInputError
from arkloom.records import Message

CPU_BLOCK = 32  # tokens of a block of the prefix cache; vLLM's own 128 on processors share little
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
DEFAULTS = {MARK: "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
_Result = TypeVar("_Result")


def load(config: RunConfig, model: ModelConfig | Path) -> VllmEngine:
    """Start vLLM on a model, as ``config.runtime`` says.

    Raises:
        BadInputError: No vLLM here, no such model, or vLLM refuses it.
    """
    runtime = config.runtime
    given = (
        ModelConfig(name=str(model), dtype=config.models.student.dtype) if isinstance(model, Path) else model
    )
    folder = model if isinstance(model, Path) else model_folder(model.name)
    for name, value in (DEFAULTS | (processor_defaults() if runtime.device == "cpu" else {})).items():
        os.environ.setdefault(name, value)
    settings: dict[str, Any] = {
        "model": str(folder),
        "dtype": given.dtype,
        "max_model_len": runtime.context_tokens,
        "max_num_seqs": runtime.batch,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if runtime.device == "cpu":
        # A seeded request whose prompt is read in two steps kills vLLM 0.32 on processors: it takes back the
        # draw of the first, which their generators cannot. So every prompt is read whole.
        settings |= {"block_size": CPU_BLOCK, "enforce_eager": True, "enable_chunked_prefill": False}
    spoken = [given, config.models.teacher, *config.models.agents]
    adapters = sorted({one.adapter for one in spoken if one.name == given.name and one.adapter is not None})
    if adapters:
        rank = max(adapter_rank(Path(adapter).expanduser()) for adapter in adapters)
        settings |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": len(adapters)}
    return VllmEngine(_Vllm.shared(settings), slots=runtime.slots, adapter=given.adapter)


class VllmEngine:
    """Serves one model, by itself or with an adapter (see the module).

    Args:
        running: vLLM with the model; engines of one model and several adapters share it.
        slots: Requests at once.
        adapter: Folder of the adapter that speaks where a request names none.
    """

    def __init__(self, running: _Vllm, *, slots: int, adapter: str | None = None) -> None:
        self._running, self._slots, self._adapter = running, slots, adapter

    @property
    def slots(self) -> int:
        """How many requests the engine works on at once; more only wait."""
        return self._slots

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and completion together."""
        return self._running.context

    def count(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the chat as the model sees it."""
        return self._running.chats.count(messages)

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest prefix of ``text`` of at most ``max_tokens`` tokens."""
        return self._running.chats.truncate(text, max_tokens)

    async def generate(self, request: Request) -> Completion:
        """Complete one chat; ``max_tokens`` is cut to what the context leaves.

        Raises:
            BadInputError: The prompt alone fills the context, or vLLM refuses the request.
            ArkloomError: vLLM failed.
        """
        prompt, opened = self._running.chats.encode(request.messages)
        room = min(request.sampling.max_tokens, self.context_length - len(prompt))
        if room < 1:
            raise BadInputError(
                "the prompt fills the context", where=f"{len(prompt)} of {self.context_length} tokens"
            )
        adapter = request.adapter or self._adapter
        output = await self._running.complete(prompt, request, room, adapter)
        spoken = output.outputs[0]
        if spoken.finish_reason not in {"stop", "length"}:
            raise ArkloomError(f"vLLM ended the answer with {spoken.finish_reason!r}")
        text, thinking = split_thinking(spoken.text, opened)
        return Completion(
            text=text,
            finish_reason=spoken.finish_reason,
            prompt_tokens=len(prompt),
            completion_tokens=len(spoken.token_ids),
            thinking=thinking,
            cached_tokens=output.num_cached_tokens or 0,
        )

    async def close(self) -> None:
        """Stop vLLM and its process, if nobody else speaks through it; requests in flight are dropped."""
        await asyncio.to_thread(self._running.leave)


class _Vllm:
    """vLLM with one model: a child process, and its client in a thread here.

    Args:
        settings: Of vLLM's ``AsyncEngineArgs``.
    """

    _all: ClassVar[dict[str, _Vllm]] = {}

    @classmethod
    def shared(cls, settings: dict[str, Any]) -> _Vllm:
        """The one with these settings; started if there is none, or if it died."""
        name = json.dumps(settings, sort_keys=True)
        running = cls._all.get(name)
        if running is None or running.llm.errored:
            running = cls._all[name] = cls(settings)
        running.users += 1
        return running

    def __init__(self, settings: dict[str, Any]) -> None:
        try:
            from vllm import AsyncEngineArgs, SamplingParams, TokensPrompt  # noqa: PLC0415 - heavy, and told
            from vllm.lora.request import LoRARequest  # noqa: PLC0415 - as above
            from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415 - as above
            from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415 - as above
        except ImportError as error:
            raise BadInputError(
                f"vLLM cannot be used by this interpreter ({error})",
                mend="Make one with: make serve-cpu; then name it in runtime.python.debate",
            ) from error
        self._lora, self._prompt = LoRARequest, TokensPrompt
        self._sampling, self._kind = SamplingParams, RequestOutputKind.FINAL_ONLY
        self._numbers: dict[str, int] = {}
        self._ids = itertools.count()
        self.users = 0
        self._thread = _LoopThread()
        try:
            self.llm: Any = self._thread.wait(_started(AsyncLLM, AsyncEngineArgs, settings))
            self.chats = Chats(self.llm.get_tokenizer())
        except Exception as error:
            self._thread.stop()
            what = f"vLLM refuses the model ({_line(error)})"
            raise BadInputError(what, where=settings["model"]) from error
        self.context = int(self.llm.model_config.max_model_len)

    async def complete(self, prompt: list[int], request: Request, room: int, adapter: str | None) -> Any:
        """VLLM's output for a prompt of token ids."""
        return await self._thread.run(self._complete(prompt, request, room, adapter))

    def leave(self) -> None:
        """One engine is closed; the last one stops vLLM."""
        self.users -= 1
        if self.users > 0:
            return
        self._all.pop(next((name for name, one in self._all.items() if one is self), ""), None)
        llm, self.llm = self.llm, None
        with contextlib.suppress(Exception):  # it may have died before
            self._thread.wait(_stopped(llm))
        self._thread.stop()

    async def _complete(self, prompt: list[int], request: Request, room: int, adapter: str | None) -> Any:
        sampling = self._sampling(
            max_tokens=room,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            seed=request.seed,
            output_kind=self._kind,
        )
        last: Any = None
        try:
            async for output in self.llm.generate(
                self._prompt(prompt_token_ids=prompt),
                sampling,
                str(next(self._ids)),
                lora_request=self._adapted(adapter),
            ):
                last = output
        except ValueError as error:
            raise BadInputError(f"vLLM refuses the request ({_line(error)})") from error
        except Exception as error:
            raise ArkloomError(f"vLLM failed ({_line(error)})") from error
        return last

    def _adapted(self, adapter: str | None) -> Any:
        if adapter is None:
            return None
        number = self._numbers.setdefault(adapter, len(self._numbers) + 1)
        return self._lora(adapter, number, str(Path(adapter).expanduser()))


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do ``work`` there, and block until it is done."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do ``work`` there; cancelling the caller cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _started(engine: Any, arguments: Any, settings: dict[str, Any]) -> Any:
    return engine.from_engine_args(arguments(**settings))


async def _stopped(llm: Any) -> None:
    llm.shutdown()


def processor_defaults() -> dict[str, str]:
    """Variables for vLLM on a processor: a cache of 1 GiB, a thread for each core that we may use."""
    return {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": str(cores())}


def adapter_rank(folder: Path) -> int:
    """The smallest rank that vLLM knows and the adapter fits into."""
    file = folder / "adapter_config.json"
    try:
        own = int(json.loads(file.read_text("utf-8"))["r"])
        return next(rank for rank in _RANKS if rank >= own)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise BadInputError("no LoRA adapter that vLLM can serve", where=str(file)) from error


def _line(error: BaseException) -> str:
    cause = error.__cause__ if error.__cause__ is not None and not str(error) else error
    return " ".join(str(cause).split())[:300] or type(cause).__name__


def _smoke() -> None:
    """``python -m arkloom.engines.vllm``: does vLLM work here? One answer of the tiny model."""
    config = RunConfig(runtime=RuntimeConfig(slots=4, batch=4))
    engine = load(config, ModelConfig(dtype="float32"))
    asked = Request((Message(role="user", content="2+7*5+3-4*6"),), Sampling(max_tokens=64), seed=0)
    answer = asyncio.run(engine.generate(asked))
    asyncio.run(engine.close())
    if "####" not in answer.text:
        raise SystemExit(f"vLLM starts, but does not answer as it should: {answer.text!r}")
    print(f"vLLM works: {answer.completion_tokens} tokens")


if __name__ == "__main__":
    _smoke()
