"""An answer type of your own: a Python function, right when it passes every test of its problem.

The gold is a list of tests, one a line: ``add(2, 3) -> 5``. The code runs in a process of its own with
limits on time, memory and files, and never sees the results it should give; the README says what that
protects against and what it does not.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
from functools import lru_cache

SECONDS = 2
RUNNER = f"""
import contextlib, json, resource, sys
limits = {{"CPU": {SECONDS}, "AS": 512 << 20, "FSIZE": 1 << 20, "NOFILE": 16, "NPROC": 0, "CORE": 0}}
for name, most in limits.items():
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
task, known = json.load(sys.stdin), {{}}
with contextlib.redirect_stdout(sys.stderr):
    exec(task["code"], known)
    results = [repr(eval(call, known)) for call in task["calls"]]
print(json.dumps(results))
"""


@lru_cache(maxsize=4096)
def run(code: str, calls: tuple[str, ...]) -> list[str]:
    """What each call returns, as Python writes it; nothing when the code fails or breaks a limit."""
    # -I: no environment variables, no packages of the user, nothing from the working folder. What is
    # printed goes to a file, because a file has a limit and a pipe has none.
    command, task = [sys.executable, "-I", "-c", RUNNER], json.dumps({"code": code, "calls": calls})
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as printed:
        try:
            subprocess.run(
                command,
                input=task.encode(),
                stdout=printed,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={},
                timeout=2 * SECONDS,
                check=True,
            )
            printed.seek(0)
            return [str(result) for result in json.loads(printed.read())]
        except (subprocess.SubprocessError, ValueError, TypeError, RecursionError):
            return []


class Code:
    """The answer type: how an answer is read, scored and compared."""

    name, version, threshold = "code", "1", 1.0
    instruction = "End with the whole function in one block that opens with ```python and closes with ```."

    def extract(self, text: str) -> str | None:
        """The last block of code."""
        blocks = re.findall(r"```(?:python|py)?[ \t]*\n(.*?)```", text, re.DOTALL)
        return (blocks[-1].strip() or None) if blocks else None

    def score(self, answer: str, gold: str) -> float:
        """The share of tests that pass, in 0..1; an answer is correct at ``threshold``."""
        tests = [line.rpartition(" -> ") for line in gold.splitlines() if line.strip()]
        found = run(answer, tuple(call for call, _, _ in tests))
        expected = [repr(ast.literal_eval(result)) for _, _, result in tests]
        passed = sum(one == two for one, two in zip(found, expected, strict=False))
        return passed / len(tests) if len(found) == len(tests) else 0.0

    def same(self, a: str, b: str) -> bool:
        """Two answers count as one in a vote when they differ in spacing alone."""
        return a.split() == b.split()

    def check_gold(self, gold: str) -> str | None:
        """What is wrong with a gold, asked before anything runs; None when nothing is."""
        wrong = [line for line in gold.splitlines() if line.strip() and not re.search(r"\) -> \S", line)]
        return f'{wrong[0]!r} is no test; write "call(...) -> result"' if wrong else None


CODE = Code()
