"""What an S3 server refuses, in one line that says what to do about it."""

from __future__ import annotations

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, SSLError

from arkloom.errors import ArkloomError, BadInputError, ResumeError
from arkloom.store.credentials import ACCESS, SECRET
from arkloom.store.patience import FAILURES, STATUSES

DENIED = "AccessDenied"
NOT_THERE = frozenset({"NoSuchKey", "ResourceNotFound"})
PASSING = frozenset(
    {
        "RequestTimeout",
        "SlowDown",
        "InternalError",
        "ServiceUnavailable",
        "NoSuchUpload",
        "ConditionalRequestConflict",
    }
)
"""Codes of 4xx (and of 200 with an error inside) that a repetition mends."""

_REFUSALS = {
    "SignatureDoesNotMatch": ("the secret key is wrong", f"Check {SECRET}"),
    "InvalidAccessKeyId": ("the access key is not known", f"Check {ACCESS}"),
    "InvalidToken": ("the session token is wrong", "Get new credentials"),
    "ExpiredToken": ("the session token has expired", "Get new credentials"),
    "NoSuchBucket": ("there is no such bucket", "Create it, or check store.root"),
    "InvalidBucketName": ("no valid bucket name", "Check store.root"),
    DENIED: ("access is denied", "Check the credentials and the policy on this prefix"),
    "AllAccessDisabled": ("access is denied", "Check the credentials and the policy on this prefix"),
    "RequestTimeTooSkewed": ("the clocks differ too much", "Set this machine's clock"),
    "AuthorizationHeaderMalformed": ("the region is wrong", "Set store.region"),
    "AuthorizationQueryParametersError": ("the region is wrong", "Set store.region"),
    "PermanentRedirect": ("the bucket is elsewhere", "Set store.endpoint and store.region"),
    "QuotaExceeded": ("the quota is used up", "Free space and run the same command: it resumes"),
    "EntityTooLarge": ("the file is larger than the server takes", "Ask for its limit"),
}  # fmt: skip


class DeniedError(Exception):
    """Reading an object is denied, which may also mean that it does not exist."""


def code(error: Exception) -> str:
    """The S3 code of an error, or "" where the server said none."""
    return (error.code or "") if isinstance(error, S3Error) else ""


def given_up(error: Exception) -> bool:
    """Whether an error is an answer that was waited on below (``Patience``) until patience ended."""
    return _status(error) in STATUSES


def _status(error: Exception) -> int:
    """The HTTP status of an answer, S3's own or that of a gateway before it; 0 where there was none."""
    if isinstance(error, S3Error):
        return int(error.response.status)
    if isinstance(error, InvalidResponseError):
        return int(
            getattr(error, "_code", 0)
        )  # nothing public of minio's tells it; tests/s3 says if it is gone
    return error.status_code if isinstance(error, ServerError) else 0


def explain(error: Exception, where: str, endpoint: str) -> ArkloomError:
    """One line for what minio or urllib3 raised; neither urls nor headers are repeated.

    Args:
        error: What was raised.
        where: The object, as ``s3://bucket/name``.
        endpoint: The server.
    """
    if code(error) in PASSING or given_up(error):
        what = f"the S3 server {endpoint} does not come to it ({code(error) or _status(error)})"
        return ResumeError(what, where=where, mend="Run the same command to go on")
    if isinstance(error, S3Error):
        what, mend = _REFUSALS.get(code(error), (f"the server refused ({code(error)})", ""))
        return BadInputError(what, where=where, mend=mend)
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    for kind, family, what, mend in _FAILURES:
        if isinstance(error, kind):
            return family(what.format(endpoint=endpoint, word=_word(error)), where=where, mend=mend)
    return ArkloomError(f"unexpected {type(error).__name__}", where=where)


_FAILURES: tuple[tuple[tuple[type[Exception], ...], type[ArkloomError], str, str], ...] = (
    (
        (SSLError,),
        BadInputError,
        "TLS failed at {endpoint} ({word})",
        "Check store.endpoint and store.ca_file",
    ),
    (
        (InvalidResponseError, ServerError),
        ArkloomError,
        "{endpoint} gave no S3 answer",
        "Check store.endpoint, or run the same command later to go on",
    ),
    ((NameResolutionError,), ArkloomError, "{endpoint}: no such host", "Check store.endpoint"),
    (
        (HTTPError,),
        ResumeError,
        "the S3 server {endpoint} cannot be reached ({word})",
        "Check store.endpoint; run the same command to go on",
    ),
    ((MinioException, ValueError), BadInputError, "not possible ({word})", "Check store.root"),
)


def _word(error: Exception) -> str:
    """What may be said of an error: the text of urllib3's own may hold a signed url."""
    if isinstance(error, SSLError):
        return _tls(error)
    return (
        FAILURES.get(type(error).__name__, type(error).__name__)
        if isinstance(error, HTTPError)
        else str(error)
    )


def _tls(error: SSLError) -> str:
    text = str(error)
    for sign, word in (
        ("CERTIFICATE_VERIFY_FAILED", "the certificate is not trusted"),
        ("WRONG_VERSION_NUMBER", "the server speaks no TLS"),
    ):
        if sign in text:
            return word
    return "no secure connection"
