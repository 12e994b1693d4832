"""Python, packages, the torch build, devices and disks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from arkloom.config import RunConfig
from arkloom.doctor.findings import Finding
from arkloom.doctor.limits import GIB

OLDEST, NEWEST = (3, 11), (3, 13)
TRAINING = ("transformers", "trl", "accelerate", "peft", "datasets", "safetensors")
LEAST_DISK = 5 * GIB
_PATIENCE = 180  # seconds; a first import of torch from a slow disk takes a minute

_ARKLOOM = "import arkloom, sys; print(arkloom.__version__, sys.version.split()[0])"
# In a process of its own: a torch that does not fit the processor dies by a signal, here a line.
_TORCH = """
import json, torch
total = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
cuda = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
told = {
    "version": torch.__version__,
    "right": total == 512.0,
    "cuda": torch.version.cuda,
    "devices": [
        [torch.cuda.get_device_name(n), torch.cuda.get_device_properties(n).total_memory] for n in cuda
    ],
    "mps": torch.backends.mps.is_available(),
}
print(json.dumps(told))
"""


@dataclass(frozen=True)
class TorchBuild:
    """The line on torch, and what it told: ``version``, ``cuda``, ``devices`` (name, bytes), ``mps``."""

    finding: Finding
    told: dict[str, Any] = field(default_factory=dict)


def python() -> Finding:
    """The version of the running interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    told = f"{version} ({sys.executable})"
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return Finding("python", "ok", told)
    return Finding("python", "fail", told, "Use Python 3.11 to 3.13")


def interpreters(config: RunConfig) -> Iterator[Finding]:
    """Those that ``runtime.python`` names: each must start and know Arkloom."""
    for stage, path in sorted(config.runtime.python.items()):
        name = f"runtime.python.{stage}"
        code, out, error = ask(path, _ARKLOOM)
        if code == 0:
            arkloom, version = out.split()
            yield Finding(name, "ok", f"{path}: Python {version}, arkloom {arkloom}")
        else:
            yield Finding(
                name, "fail", f"{path}: {error}", "Install arkloom into its environment, or name another"
            )


def packages() -> Iterator[Finding]:
    """The packages that training and the transformers engine need; named, not loaded."""
    there, lacking = [], []
    for name in TRAINING:
        try:
            there.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lacking.append(name)
    if lacking:
        yield Finding(
            "packages", "fail", f"missing: {', '.join(lacking)}", "Install 'arkloom[train]', or: make setup"
        )
    else:
        yield Finding("packages", "ok", ", ".join(there))


def torch_build() -> TorchBuild:
    """Load torch in a process of its own and multiply two matrices."""
    code, out, error = ask(sys.executable, _TORCH)
    if code != 0:
        mend = "Install a build for this machine (make setup takes the CPU build)"
        return TorchBuild(Finding("torch", "fail", error, mend))
    told = json.loads(out.splitlines()[-1])
    if not told["right"]:
        return TorchBuild(
            Finding("torch", "fail", f"{told['version']} multiplies wrongly", "Install another build")
        )
    build = f"CUDA {told['cuda']}" if told["cuda"] else "no CUDA"
    return TorchBuild(Finding("torch", "ok", f"{told['version']} ({build}); multiplies right"), told)


def devices(config: RunConfig, build: TorchBuild) -> Finding:
    """The device of the configuration, and GPUs that lie idle."""
    wanted, found = config.runtime.device, build.told.get("devices", [])
    names = "; ".join(f"{name}, {total / GIB:.0f} GiB" for name, total in found)
    kind = wanted.partition(":")[0]
    seen = {"cpu", *(["cuda"] if found else []), *(f"cuda:{number}" for number in range(len(found)))}
    seen |= {"mps", "mps:0"} if build.told.get("mps") else set()
    if wanted not in seen:
        told = f"runtime.device is {wanted}; torch sees {names or 'no GPU'}"
        return Finding(
            "gpu", "fail", told, "Set runtime.device to cpu, or install a CUDA build and its driver"
        )
    if kind != "cpu":
        return Finding("gpu", "ok", names or wanted)
    if found:
        return Finding(
            "gpu", "warn", f"{names}; not used, runtime.device is cpu", "Set runtime.device to cuda"
        )
    if shutil.which("nvidia-smi") and _run(["nvidia-smi", "-L"])[0] == 0:
        mend = "Install a CUDA build of torch and set runtime.device to cuda"
        return Finding("gpu", "warn", "there is one, but this torch cannot use it", mend)
    return Finding("gpu", "ok", "none; runtime.device is cpu")


def disks(config: RunConfig) -> Iterator[Finding]:
    """Free space and rights where a run writes: outputs, and the store or its local copies."""
    yield disk("disk (outputs)", Path("runs"))
    root = config.store.root
    if "://" not in root:
        yield disk("disk (store)", Path(root))
    elif not root.startswith("file://"):
        cache = config.store.cache or os.environ.get("ARKLOOM_CACHE") or "~/.cache/arkloom"
        yield disk("disk (copies)", Path(cache))


def disk(name: str, path: Path) -> Finding:
    """Free space and the right to write at a folder, which need not be there yet."""
    wanted = path.expanduser().absolute()
    there = next(parent for parent in (wanted, *wanted.parents) if parent.exists())
    if not there.is_dir():
        return Finding(name, "fail", f"{there} is no folder", "Name another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            name, "fail", f"{there} cannot be written to", "Change its rights, or name another folder"
        )
    free = shutil.disk_usage(there).free
    told = f"{wanted}: {free / GIB:.1f} GiB free"
    if free < LEAST_DISK:
        return Finding(name, "warn", f"{told}; less than {LEAST_DISK / GIB:.0f} GiB", "Free space")
    return Finding(name, "ok", told)


def ask(interpreter: str, program: str) -> tuple[int, str, str]:
    """Run a program with an interpreter: exit code, output, and the last line of what went wrong."""
    code, out, error = _run([interpreter, "-c", program])
    if code < 0:
        error = f"died by signal {-code}"
    return code, out, error


def _run(command: list[str]) -> tuple[int, str, str]:
    """Exit code, output, and the last line of what went wrong."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return 1, "", f"no answer within {_PATIENCE} s"
    except OSError as error:
        return 1, "", f"does not start ({error.strerror})"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return done.returncode, done.stdout, lines[-1].strip() if lines else f"exit code {done.returncode}"
