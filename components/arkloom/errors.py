"""The errors that Arkloom raises, and the exit codes that its processes end with.

Exit codes are the only protocol between a runner and a stage: 0 done, 1 failure, 2 bad input,
3 refused by the gate, 75 stopped early and ready to resume (``EX_TEMPFAIL``).
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2
EXIT_REFUSED = 3
EXIT_RESUME = 75

_LONGEST = 1_000  # characters of a line; a message may quote a megabyte of someone's file
_ENDING = 300


class ArkloomError(Exception):
    """Something went wrong in a way that we can explain in one line.

    Args:
        what: What is wrong.
        where: File, row, field or key it was found in.
        mend: What the user can do about it.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message on one line that can be printed: where, what, how to mend."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        stop = "" if text.endswith(("?", "!", ".")) else "."
        text = " ".join((f"{text}{stop} {self.mend}" if self.mend else text).split())
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST - _ENDING]} ... {text[-_ENDING:]}"
        return text.encode(errors="backslashreplace").decode()  # half a character cannot be printed


def explained(error: BaseException) -> tuple[str, int]:
    """What a process prints of the error that ends it, on one line, and the exit code that it ends with."""
    if isinstance(error, ArkloomError):
        return error.line(), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted. Run the same command to go on", EXIT_RESUME
    told = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {told}. Run with --debug for the traceback", EXIT_FAILURE


class BadInputError(ArkloomError):
    """A file, row, config, answer or artifact given by the user cannot be used (exit code 2)."""

    exit_code = EXIT_BAD_INPUT


class RefusedError(ArkloomError):
    """The gate refused a promotion and the caller asked that this fails the run (exit code 3)."""

    exit_code = EXIT_REFUSED


class ResumeError(ArkloomError):
    """Work stopped early (SIGTERM, budget); what is done is committed (exit code 75)."""

    exit_code = EXIT_RESUME
