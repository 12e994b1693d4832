"""Write the lock file of an image's environment: every distribution, its version, the sha256 of its file.

    python images/lock.py images/serve/cpu.in    # writes images/serve/cpu.lock

pip resolves what the file asks for, without installing it (``--dry-run``); run it with the Python and on the
platform that the images have, from the root of the repository. A line ``# without NAME ...: reason`` leaves
distributions out that a dependency asks for and that must not be there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WITHOUT = re.compile(r"^# without ([^:]+):", re.MULTILINE)
OWN = "arkloom"  # installed from its own wheel, beside what is locked


def normal(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def without(requirements: str) -> frozenset[str]:
    """Names that the requirements leave out."""
    return frozenset(normal(name) for names in _WITHOUT.findall(requirements) for name in names.split())


def resolve(requirements: Path) -> Mapping[str, Any]:
    """Pip's installation report for a requirements file.

    Raises:
        SystemExit: pip finds no set of versions; its own words stand on standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        done = subprocess.run([*command, "--report", str(report), "-r", str(requirements)], check=False)
        if done.returncode:
            raise SystemExit(f"{requirements}: pip cannot resolve it")
        found: Mapping[str, Any] = json.loads(report.read_text())
        return found


def lines(report: Mapping[str, Any], left_out: frozenset[str]) -> list[str]:
    """The lock file's lines, sorted by name; no line says where a file came from.

    Raises:
        SystemExit: A distribution came without a sha256, or one to leave out was never asked for.
    """
    python, platform = (report["environment"][key] for key in ("python_version", "platform_machine"))
    entries, seen = dict[str, str](), set[str]()
    for entry in report["install"]:
        name, version = normal(entry["metadata"]["name"]), entry["metadata"]["version"]
        seen.add(name)
        if name == OWN or name in left_out:
            continue
        digest = entry["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if digest is None:
            raise SystemExit(f"{name} {version} has no sha256: it cannot be locked")
        entries[name] = f"{name}=={version} --hash=sha256:{digest}"
    if idle := left_out - seen:
        raise SystemExit(f"nothing asks for {', '.join(sorted(idle))}: take it out of the line '# without'")
    head = f"# Python {python}, linux {platform}. Written by `make lock`; do not edit."
    return [head, *(entries[name] for name in sorted(entries))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Lock each requirements file that is named."""
    parser = argparse.ArgumentParser(description="write the lock file beside each requirements file")
    parser.add_argument("requirements", nargs="+", type=Path)
    for path in parser.parse_args(arguments).requirements:
        text = "\n".join(lines(resolve(path), without(path.read_text()))) + "\n"
        path.with_suffix(".lock").write_text(text)
        print(f"{path.with_suffix('.lock')}: {text.count('--hash')} distributions")


if __name__ == "__main__":
    main()
