"""One uninterrupted run of the smoke preset, shared by every test that looks at a whole run."""

from __future__ import annotations

import subprocess
import time

import pytest

from whole_run import Whole, smoke_command


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A smoke run from nothing to its report."""
    root = tmp_path_factory.mktemp("whole")
    start = time.monotonic()
    done = subprocess.run(smoke_command(root), capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return Whole(root, time.monotonic() - start, done.stdout + done.stderr)
