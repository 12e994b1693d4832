"""The grading worker: symbolic equality by ``math-verify`` in a process that may be killed.

``math-verify`` limits its own time with SIGALRM, which works in the main thread of a process only and
not inside long C calls. Here its limits are off, and this process ends by a signal that it leaves to the
system once one question has used its processor time: a verdict must not depend on how busy the machine
is, and an orphan must not compute for ever. The parent only guards against more.

One JSON object a line: ``{"pairs": [[a, b], …]}`` in, ``{"same": bool}`` out.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

_RULES = [LatexExtractionConfig()]


@lru_cache(maxsize=4096)
def _parsed(text: str) -> list[Any]:
    return list(parse(f"${text}$", _RULES, fallback_mode="no_fallback", parsing_timeout=0))


def same(a: str, b: str) -> bool:
    """Whether two expressions are equal; what cannot be parsed equals nothing."""
    try:
        left, right = _parsed(a), _parsed(b)
        if not left or not right:
            return False
        # ``verify`` treats its first argument as gold, with conversions that do not go both ways.
        return bool(verify(left, right, timeout_seconds=0) or verify(right, left, timeout_seconds=0))
    except Exception:
        return False


def _private_stdout() -> Any:
    """Keep the pipe for replies alone: whatever a library prints goes to the error stream."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main() -> int:
    """Answer requests until the input ends.

    Arguments on the command line: memory in bytes, processor seconds a question may use.
    """
    memory, limit = int(sys.argv[1]), float(sys.argv[2])
    with contextlib.suppress(ValueError, OSError):  # not every system limits the address space
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    replies = _private_stdout()
    replies.write('{"ready": true}\n')
    replies.flush()
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, limit)
        verdict = all(same(a, b) for a, b in request["pairs"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(json.dumps({"same": verdict}) + "\n")
        replies.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
