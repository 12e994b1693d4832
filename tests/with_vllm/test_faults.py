"""A debate on real vLLM, disturbed in every way: its log is whole, nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from debating import PROBLEMS, SHARD, Debating, complete, differences
from minio.deleteobjects import DeleteObject
from relays import Relay
from vllm_servers import VllmServer

from arkloom.records import Debate
from s3.places import CEPH, Gateway, Server

KILLS = 10
FROZEN_S = 60.0 if os.environ.get("ARKLOOM_TEST_FULL") else 8.0
Hall = Callable[..., Debating]


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    """Makes work on the endpoints given."""
    made: list[Debating] = []

    def make(*urls: str, root: Path = tmp_path, **settings: Any) -> Debating:
        made.append(Debating(root, urls, **settings))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def whole(vllm_server: VllmServer, tmp_path_factory: pytest.TempPathFactory) -> list[Debate]:
    """The log of a debate that nothing disturbed."""
    undisturbed = Debating(tmp_path_factory.mktemp("whole"), [vllm_server.url])
    debates = undisturbed.finish()
    complete(debates, undisturbed.problems)
    assert len({turn.text for debate in debates for turn in debate.turns}) > PROBLEMS, "they say something"
    return debates


def proved(work: Debating, whole: list[Debate]) -> None:
    """The log is complete, and greedy answers in float32 are those of the undisturbed debate."""
    debates = work.log()
    complete(debates, work.problems)
    assert differences(debates, whole) == []


def test_a_server_that_is_killed_and_started_again_is_waited_for(
    vllm_server: VllmServer, hall: Hall, whole: list[Debate], tmp_path: Path
) -> None:
    work = hall(vllm_server.url)
    process = work.start()
    work.reach(process, 8)
    vllm_server.stop(signal.SIGKILL)
    try:
        hasty = hall(vllm_server.url, root=tmp_path / "hasty", runtime__patience="0.5")
        assert hasty.end(hasty.start()) == 75
        assert "no endpoint answers" in hasty.told().splitlines()[-1]
        assert process.is_alive(), work.told()
    finally:
        vllm_server.start()
    assert work.end(process) == 0, work.told()
    assert "is gone" in work.told()
    assert "is back" in work.told()
    proved(work, whole)


def test_of_two_endpoints_one_goes_and_the_other_does_its_work(
    relay: Callable[[], Relay], hall: Hall, whole: list[Debate]
) -> None:
    one, other = relay(), relay()
    work = hall(one.url, other.url)
    process = work.start()
    work.reach(process, 8)
    one.cut()
    seen = other.connections
    assert work.end(process) == 0, work.told()
    assert seen > 0
    assert f"{one.url} is gone" in work.told()
    proved(work, whole)


def test_a_stop_ends_with_75_and_the_same_command_goes_on(
    vllm_server: VllmServer, hall: Hall, whole: list[Debate]
) -> None:
    work = hall(vllm_server.url)
    process = work.start()
    work.reach(process, 8)
    os.kill(process.pid or 0, signal.SIGTERM)
    assert work.end(process) == 75
    assert "Run the same command to go on" in work.told()
    assert PROBLEMS > work.rows() >= 8
    work.finish()
    proved(work, whole)


def test_killed_ten_times_it_ends_with_every_debate_once(
    vllm_server: VllmServer, hall: Hall, whole: list[Debate]
) -> None:
    work, moments = hall(vllm_server.url), random.Random(0)
    for _ in range(KILLS):
        before = work.rows()
        process = work.start()
        work.reach(process, before + moments.randint(1, 3))
        os.kill(process.pid or 0, signal.SIGKILL)
        assert work.end(process) == -signal.SIGKILL
        assert work.rows() > before
    work.finish()
    proved(work, whole)


def test_damaged_shards_are_held_again(vllm_server: VllmServer, hall: Hall, whole: list[Debate]) -> None:
    work = hall(vllm_server.url)
    process = work.start()
    work.reach(process, 2 * SHARD + 2)
    os.kill(process.pid or 0, signal.SIGKILL)
    work.end(process)
    zeroed, short = work.work()[:2]
    content = bytearray(zeroed.read_bytes())
    content[1000:5096] = bytes(4096)  # as a file system leaves a block that it never wrote
    zeroed.write_bytes(content)
    short.write_bytes(short.read_bytes()[:-700])
    work.finish()
    assert "damaged rows, whose debates are held again" in work.told()
    proved(work, whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB, taken away afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_with_1_and_the_same_command_goes_on(
    vllm_server: VllmServer, hall: Hall, small_disk: Path, whole: list[Debate]
) -> None:
    work = hall(vllm_server.url, store__root=str(small_disk / "store"))
    assert work.end(work.start()) == 1, work.told()
    assert "the disk is full" in work.told().splitlines()[-1]
    assert 0 < work.rows() < PROBLEMS
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    work.finish()
    proved(work, whole)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of our own on the S3 server that the environment names; this process may use it."""
    names = [f"ARKLOOM_TEST_S3_{name}" for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")]
    given = [os.environ.get(name, "") for name in names]
    if not all(given):
        pytest.skip(f"no S3 server (set {', '.join(names)})")
    server, name = Server(*given), f"arkloom-test-{secrets.token_hex(6)}"
    client = server.client()
    client.make_bucket(name)
    monkeypatch.setenv("ARKLOOM_S3_ACCESS_KEY", server.access)
    monkeypatch.setenv("ARKLOOM_S3_SECRET_KEY", server.secret)
    yield name
    objects = [each.object_name for each in client.list_objects(name, recursive=True) if each.object_name]
    assert not list(client.remove_objects(name, [DeleteObject(each) for each in objects]))
    client.remove_bucket(name)


@pytest.fixture
def gateway(bucket: str, tmp_path: Path) -> Iterator[Gateway]:
    """A door of our own into that server, to be frozen."""
    if shutil.which("radosgw") is None or not CEPH.exists():
        pytest.skip("no radosgw of our own to freeze")
    folder = tmp_path / "gateway"
    folder.mkdir()
    made = Gateway(folder)
    made.start()
    yield made
    made.signal(signal.SIGCONT)
    made.stop()


def test_a_frozen_store_does_not_stop_the_debates(
    vllm_server: VllmServer,
    hall: Hall,
    bucket: str,
    gateway: Gateway,
    whole: list[Debate],
    tmp_path: Path,
) -> None:
    """All that is left is held while the store stands still; it is stored afterwards."""
    store = {"store__root": f"s3://{bucket}/store", "store__endpoint": gateway.endpoint}
    work = hall(vllm_server.url, store__cache=str(tmp_path / "cache"), **store)
    process = work.start()
    work.reach(process, 8)
    gateway.signal(signal.SIGSTOP)
    thaw = time.monotonic() + FROZEN_S
    work.reach(process, PROBLEMS)
    time.sleep(max(0.0, thaw - time.monotonic()))
    assert process.is_alive(), "it waits for the store"
    gateway.signal(signal.SIGCONT)
    assert work.end(process) == 0, work.told()
    proved(work, whole)
