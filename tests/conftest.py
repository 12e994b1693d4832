"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("arkloom", deadline=None)
settings.load_profile("arkloom")
REPO = Path(__file__).parent.parent
# Tests that need a real server, by folder. They skip where it is missing, unless ARKLOOM_REQUIRE names them.
LAYERS = {"s3": "s3", "with_vllm": "vllm", "containers": "containers", "cluster": "cluster"}
REQUIRED = set(filter(None, os.environ.get("ARKLOOM_REQUIRE", "").split(",")))
if REQUIRED - set(LAYERS.values()):
    raise pytest.UsageError(f"ARKLOOM_REQUIRE={','.join(REQUIRED)}: known are {', '.join(LAYERS.values())}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip in a layer that ARKLOOM_REQUIRE names is a failure."""
    report = yield
    layer = LAYERS.get(item.path.parent.name)
    if report.skipped and layer in REQUIRED and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"ARKLOOM_REQUIRE names {layer}: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real benchmark data and recorded debates; its tests skip where it is absent."""
    folder = Path(os.environ.get("ARKLOOM_TEST_DATA", REPO.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data in {folder} (set ARKLOOM_TEST_DATA)")
    return folder


@pytest.fixture
def one_stage() -> None:
    """Metrics as in a process of its own, where one stage counts: other tests counted here, too."""
    from arkloom.telemetry import metrics

    for metric in (metrics.DEBATE_TURNS, metrics.TRAIN_LOSS, metrics.TRAIN_STEP):
        metric.clear()
