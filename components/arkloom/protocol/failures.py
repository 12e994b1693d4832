"""What a failed debate means to the stage that held it.

A debate that ended in an error stands in the log with that error. Some errors come again however often
the debate is held (a question that does not fit): those records stay. All others may pass (an engine
died), and nothing may be published on them: an unheld debate is no wrong answer.
"""

from __future__ import annotations

from arkloom.errors import ArkloomError, BadInputError
from arkloom.protocol.log import DebateLog
from arkloom.records import Debate

PASSES = 2  # a debate whose engine failed is held once more, by a new engine, before the stage gives up

_FOR_GOOD = BadInputError.__name__


def lasting(debate: Debate) -> bool:
    """Whether the debate's error comes again however often the debate is held."""
    return debate.error is not None and debate.error.type == _FOR_GOOD


def passing(log: DebateLog) -> list[Debate]:
    """The failed debates that may end well when held again."""
    return [debate for debate in log.errors() if not lasting(debate)]


def refuse_failures(log: DebateLog) -> None:
    """Allow a log to be published only when all that could be held was held.

    Raises:
        ArkloomError: A debate failed for a reason that may pass; the next call holds it again.
        BadInputError: Every debate failed, each for good.
    """
    if failed := passing(log):
        raise ArkloomError(
            f"{len(failed)} debates failed, the first with: {_message(failed[0])}",
            mend="Run the same command to hold them again",
        )
    failed = log.errors()
    if failed and not log.done:
        raise BadInputError(f"all {len(failed)} debates failed: {_message(failed[0])}")


def _message(debate: Debate) -> str:
    return debate.error.message if debate.error else ""
