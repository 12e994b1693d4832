"""A run's report, written again from what the store holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from arkloom.chains.outcome import rewrite
from arkloom.errors import BadInputError
from arkloom.store import open_store
from whole_run import Whole

pytestmark = [pytest.mark.chain, pytest.mark.timeout(1200)]


def test_the_report_is_the_same_wherever_it_is_written(whole: Whole, tmp_path: Path) -> None:
    store = open_store(str(whole.root / "store"))
    (run,) = store.runs()
    rewrite(tmp_path, store, run)
    for name in ("report.json", "report.html"):
        assert (tmp_path / name).read_text() == (whole.root / "out" / name).read_text(), name
    config, made = (
        yaml.safe_load((folder / "config.yaml").read_text()) for folder in (whole.root / "out", tmp_path)
    )
    assert made == config


def test_a_run_that_is_not_there_is_told_with_the_nearest(whole: Whole, tmp_path: Path) -> None:
    store = open_store(str(whole.root / "store"))
    (run,) = store.runs()
    with pytest.raises(BadInputError, match=f"no run '{run[:-1]}'. Did you mean {run}"):
        rewrite(tmp_path / "none", store, run[:-1])
    own = shutil.copytree(whole.root / "store", tmp_path / "store")  # other tests look at the shared one
    store = open_store(str(own))
    store.point("begun", "prepare", store.pointers(run)["prepare"])
    with pytest.raises(BadInputError, match=r"run begun: its evaluation has not ended\. It has prepare"):
        rewrite(tmp_path / "none", store, "begun")
    assert not (tmp_path / "none").exists()
