"""Makes a bucket on an S3 server of one's own, as soon as it answers: ``bucket.py NAME``.

The server is ``ARKLOOM_S3_ENDPOINT``; credentials come from where every stage reads them.
"""

from __future__ import annotations

import os
import sys
import time
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from arkloom.errors import ArkloomError
from arkloom.store.credentials import credentials

PATIENCE_S, PAUSE_S, ANSWER_S = 300.0, 3.0, 10.0
THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
PASSING = {"ServiceUnavailable", "SlowDown", "InternalError", "XMinioServerNotInitialized"}


def make(endpoint: str, bucket: str, patience_s: float = PATIENCE_S) -> None:
    """Make ``bucket`` where it is not there, trying again while the server does not answer.

    Args:
        endpoint: ``http(s)://host:port``.
        bucket: Its name.
        patience_s: Seconds to go on trying.

    Raises:
        S3Error: The server refuses: a wrong key, a name that is no bucket's.
        HTTPError: Nothing answers there, ``patience_s`` long.
        MinioException: What answers is no S3 server.
    """
    parts = urlsplit(endpoint)
    http = urllib3.PoolManager(
        timeout=ANSWER_S,
        retries=False,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )
    secure = parts.scheme == "https"
    client = Minio(
        parts.netloc, secure=secure, credentials=credentials(), region="us-east-1", http_client=http
    )
    end = time.monotonic() + patience_s
    while True:
        try:
            client.make_bucket(bucket)
            return
        except (HTTPError, MinioException) as error:
            code = error.code if isinstance(error, S3Error) else ""
            if code in THERE:
                return
            if (code and code not in PASSING) or time.monotonic() > end:
                raise
        time.sleep(PAUSE_S)


def main() -> int:
    """Make the bucket that the command line names; 1 where that failed, with one line."""
    endpoint, bucket = os.environ["ARKLOOM_S3_ENDPOINT"], sys.argv[1]
    try:
        make(endpoint, bucket)
    except (ArkloomError, HTTPError, MinioException) as error:
        print(f"bucket {bucket} at {endpoint}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"bucket {bucket} is there, at {endpoint}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
