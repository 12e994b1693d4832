"""What a run shows of its stages while they work."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from arkloom.chains.board import Board
from arkloom.chains.graph import Chain, Node
from arkloom.chains.run import _alone, run
from arkloom.chains.runner import _Running
from arkloom.errors import BadInputError, ResumeError
from arkloom.store import Manifest, open_store
from arkloom.telemetry import Events


@pytest.fixture
def entry(tmp_path: Path) -> _Running:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        log, store = tmp_path / "debate.log", open_store(str(tmp_path / "store"))
        return _Running(Node("debate", "debate"), process, log, store, "run")


def test_a_stage_that_waits_for_its_store_says_so_once(entry: _Running) -> None:
    entry.log.write_text("loading\n")
    assert entry.waits() is None
    with entry.log.open("a") as stream:
        stream.write("arkloom: s3: PUT /b/x: no connection; trying again in 1.0 s\nbatch 3\n")
        stream.write("arkloom: s3: PUT /b/y: no connection; trying again in 2.0 s\narkloom: s3: PU")
    assert entry.waits() == "s3: PUT /b/y: no connection; trying again in 2.0 s"
    assert entry.waits() is None
    with entry.log.open("a") as stream:
        stream.write("T /b/z: no answer in time; trying again in 3.0 s\n")
    assert entry.waits() == "s3: PUT /b/z: no answer in time; trying again in 3.0 s"
    assert entry.waits() is None


def test_where_nobody_watches_the_board_prints_what_a_node_waits_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for quiet in (False, True):
        with Board(["debate"], tmp_path / "events.jsonl", quiet) as board:
            board.start("debate")
            board.wait("debate", "s3: no connection")
    assert capsys.readouterr().err == "debate: s3: no connection\n"


def manifest(stage: str, **given: Any) -> Manifest:
    return Manifest(
        stage=stage, key="a" * 64, kind="rows", uri="file:///store/x", files=(), parents={}, **given
    )


def test_what_was_found_or_went_on_does_not_look_like_work_done_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    with Board(["prepare", "debate", "sft"], path) as board:
        Events(path, node="prepare").emit("found", stage="prepare", key="k")
        debate, sft = Events(path, node="debate"), Events(path, node="sft")
        debate.emit("progress", task="debate debates", done=64, total=120, note="")
        debate.emit("progress", task="debate debates", done=120, total=120, note="")
        sft.emit("progress", task="sft steps", done=0, total=30, note="")
        sft.emit("progress", task="sft steps", done=30, total=30, note="loss 0.1")
        for node in ("prepare", "debate", "sft"):
            board.start(node)
            board.finish(node, manifest(node, metrics={"rows": 5}))
            board.refresh()
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] prepare: found  rows 5",
        "[2/3] debate: done in 0 s, went on at 64/120  rows 5",
        "[3/3] sft: done in 0 s  rows 5",
    ]


def test_one_run_a_folder(tmp_path: Path) -> None:
    with _alone(tmp_path / "out"):
        with pytest.raises(BadInputError, match="another run is at work in this folder") as caught:
            run("smoke", overrides=[f"store.root={tmp_path / 'store'}"], out=tmp_path / "out", quiet=True)
        assert (caught.value.exit_code, "--out" in caught.value.line()) == (2, True)
    with _alone(tmp_path / "out"):
        pass  # a run that ended, however it ended, holds nothing


def test_a_stop_ends_the_patience_of_the_runners_own_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers at this address: without a stop the run would ask for ten minutes."""
    monkeypatch.setenv("ARKLOOM_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("ARKLOOM_S3_SECRET_KEY", "secret")
    there = [
        "store.root=s3://bucket/prefix", "store.endpoint=http://127.0.0.1:9", f"store.cache={tmp_path}",
    ]  # fmt: skip
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(ResumeError):
        run("smoke", overrides=there, out=tmp_path / "out", quiet=True)


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_on_a_store_that_others_reach_tells_how_its_report_is_fetched(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Done:
        """Has every node's artifact at once."""

        events = tmp_path / "events.jsonl"

        def walk(self, chain: Chain, board: Board) -> dict[str, Manifest]:
            return dict.fromkeys((node.name for node in chain), cast("Manifest", None))

    monkeypatch.setattr("arkloom.chains.run.write_outcome", lambda *_: {"arms": {}})
    root = (tmp_path / "store").as_uri() if shared else str(tmp_path / "store")
    run("smoke", overrides=[f"store.root={root}"], out=tmp_path / "out", runner=lambda *_: Done())
    (name,) = open_store(root).runs()
    told = f"again, anywhere: arkloom report {name} --store {root}"
    assert (told in capsys.readouterr().out) is shared
