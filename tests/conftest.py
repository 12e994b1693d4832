"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real benchmark data and recorded debates; its tests skip where it is absent."""
    folder = Path(os.environ.get("ARKLOOM_TEST_DATA", REPO.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data in {folder} (set ARKLOOM_TEST_DATA)")
    return folder
