"""What makes the models speak: endpoints that must serve them, interpreters that must have vLLM."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from arkloom.chains.distill import distill
from arkloom.config import RunConfig
from arkloom.doctor.findings import Finding
from arkloom.doctor.machine import ask
from arkloom.engines.openai_probe import probe

_SPEAKING = ("debate", "evaluate", "prm")  # stages that open engines
_VLLM = """
from importlib import metadata, util
found = util.find_spec("vllm")
if found is None or found.origin is None:
    raise SystemExit("it has no vLLM")
print(metadata.version("vllm"))
"""


def engines(config: RunConfig) -> Iterator[Finding]:
    """One line for each endpoint, or for each interpreter in which vLLM is to run; none for other engines."""
    yield from endpoints(config)
    if config.engine == "vllm":
        yield from _interpreters(config)


def endpoints(config: RunConfig) -> Iterator[Finding]:
    """One line for each endpoint of each model, where they are asked over HTTP; see ``probe``."""
    if config.engine == "openai":
        for one in probe(config):
            yield Finding(f"endpoint ({one.roles})", one.state, f"{one.where}: {one.told}", one.mend)


def _interpreters(config: RunConfig) -> Iterator[Finding]:
    """Those of the stages of the chain in which models speak."""
    stages = {node.stage for node in distill(config)}
    for stage in _SPEAKING:
        if stage not in stages:
            continue
        path = config.runtime.python.get(stage, sys.executable)
        code, out, error = ask(path, _VLLM)
        if code == 0:
            yield Finding(f"vllm ({stage})", "ok", f"{path}: vLLM {out.strip()}")
        else:
            mend = f"Make one with: make serve-cpu; then name it in runtime.python.{stage}"
            yield Finding(f"vllm ({stage})", "fail", f"{path}: {error}", mend)
