"""What starts a vLLM server that debates can be held on: interpreter, command, environment, checks.

The process becomes the server (``exec``): whoever stops it stops vLLM, and its exit code is vLLM's. A child
beside it waits until the server answers, warms it up and says how to use it: ``engines.warming``.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arkloom.engines.models import model_folder
from arkloom.engines.openai_wire import KEY
from arkloom.engines.vllm import CPU_BLOCK, DEFAULTS, adapter_rank, processor_defaults
from arkloom.errors import BadInputError
from arkloom.secret import secret

_VENV = Path(".venv-serve/bin/python")
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared with, never bound to unasked


@dataclass(frozen=True)
class Serving:
    """A server to start.

    Attributes:
        model: ``tiny`` or a folder; clients call it by the same name.
        host: Address to listen on.
        port: Port to listen on.
        dtype: Of the weights.
        context: Most tokens of prompt and completion; none = the model's own.
        sequences: Most sequences in a step.
        adapters: Folders of LoRA adapters; clients call them by the same names.
        device: ``cpu`` or ``cuda``.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    dtype: str = "auto"
    context: int | None = None
    sequences: int = 128
    adapters: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def url(self) -> str:
        """Where clients find it."""
        host = socket.gethostname() if self.host in _EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    def command(self, python: Path) -> list[str]:
        """The command line.

        Raises:
            BadInputError: No such model or adapter.
        """
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(model_folder(self.model)), "--served-model-name", self.model]
        command += ["--host", self.host, "--port", str(self.port), "--dtype", self.dtype]
        command += ["--max-num-seqs", str(self.sequences), "--generation-config", "vllm"]
        command += ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
        command += ["--disable-uvicorn-access-log", "--no-use-tqdm-on-load"]
        if self.context is not None:
            command += ["--max-model-len", str(self.context)]
        if self.device == "cpu":
            command += ["--enforce-eager", "--block-size", str(CPU_BLOCK), "--no-enable-chunked-prefill"]
        if self.adapters:
            rank = max(adapter_rank(Path(folder).expanduser()) for folder in self.adapters)
            command += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(len(self.adapters))]
            command += ["--lora-modules", *(f"{name}={Path(name).expanduser()}" for name in self.adapters)]
        return command

    def environment(self) -> dict[str, str]:
        """Variables that the server gets beside ours, which win."""
        quiet = {"PYTHONWARNINGS": "ignore"}  # of vLLM about itself
        return DEFAULTS | quiet | (processor_defaults() if self.device == "cpu" else {})


def serve(serving: Serving, python: Path, ready_file: Path | None = None) -> None:
    """Become the server; does not return.

    Raises:
        BadInputError: No such model, or the port is taken.
    """
    command = serving.command(python)
    with socket.socket(socket.AF_INET6 if ":" in serving.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((serving.host, serving.port))
        except OSError as error:
            raise BadInputError(
                f"cannot listen on {serving.host}:{serving.port} ({error.strerror})",
                mend="Give another --port",
            ) from error
    environment = serving.environment() | dict(os.environ)
    if key := secret(KEY):
        environment["VLLM_API_KEY"] = key
    warming = [sys.executable, "-m", "arkloom.engines.warming", serving.url, serving.model, str(os.getpid())]
    subprocess.Popen([*warming, *([str(ready_file)] if ready_file else [])])
    sys.stdout.flush()
    os.execve(python, command, without_ours(environment))  # noqa: S606 - an argument list, no shell


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for another interpreter: our own paths would give it packages of another version."""
    return {name: value for name, value in environment.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


def serving_python(given: Path | None) -> Path:
    """The interpreter that has vLLM: the one named, this one, or that of ``make serve-cpu``.

    Raises:
        BadInputError: There is none.
    """
    if given is not None:
        if not given.is_file():
            raise BadInputError("no interpreter here", where=str(given))
        return given.absolute()  # not resolved: a virtual environment's is a link
    if has_vllm():
        return Path(sys.executable)
    if _VENV.is_file():
        return _VENV.absolute()
    raise BadInputError("vLLM is not installed", mend="Make it with: make serve-cpu; or give --python")


def has_vllm() -> bool:
    """Whether this interpreter has vLLM; a mere folder of that name on its path is none."""
    found = importlib.util.find_spec("vllm")
    return found is not None and found.origin is not None


def device() -> str:
    """``cuda`` where this machine has such a device, else ``cpu``."""
    return "cuda" if Path("/dev/nvidiactl").exists() else "cpu"


def shown(environment: Mapping[str, str], command: Sequence[str]) -> str:
    """Both as a line for a shell, for people to read."""
    return " ".join(
        [*(f"{name}={shlex.quote(value)}" for name, value in environment.items()), shlex.join(command)]
    )
