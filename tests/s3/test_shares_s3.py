"""Three pods share a set of problems and have nothing in common but a store on S3."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import Server

from arkloom import cli
from arkloom.canonical import digest_file
from arkloom.jsonl import write_records
from arkloom.sections import StoreConfig
from arkloom.store import Store, open_store
from debates import problems

COUNT, PODS = 24, 3
SCRIPT = '[{"match": "", "answers": ["#### 1", "#### 3", "dunno"]}]'


def arguments(store: StoreConfig, script: Path, *settings: str) -> list[str]:
    """What one pod's stage is called with, but for its inputs."""
    named = {f"store.{name}": value for name, value in store.model_dump(exclude_none=True).items()}
    named |= {"engine": "scripted", "runtime.scripted": str(script), "runtime.metrics_port": "0"}
    given = [*(f"{name}={value}" for name, value in named.items()), "runtime.shard_size=4", *settings]
    return ["--preset", "smoke", *(part for setting in given for part in ("--set", setting))]


def published(store: Store) -> str:
    """The problems; under the same key in every store."""
    workspace = store.workspace("given", "1" * 64)
    write_records(workspace.folder / "train.jsonl", problems(COUNT))
    return workspace.publish("problems", parents={}, metrics={}).uri


def shares(store: StoreConfig, script: Path, given: str, nodes: Path) -> list[str]:
    """The uris of all shares, each held by a process on a node of its own, all at once."""
    pods = []
    for index in range(PODS):
        own = store.model_copy(update={"cache": str(nodes / str(index))})
        told = arguments(own, script, f"debate.share={index}/{PODS}")
        command = [sys.executable, "-m", "arkloom.debate", *told, "--input", f"problems={given}"]
        pods.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ends = [pod.communicate(timeout=240) for pod in pods]
    assert [pod.returncode for pod in pods] == [0] * PODS, [error for _, error in ends]
    return [out.split()[-1] for out, _ in ends]


@contextmanager
def instead(server: Server, bucket: str, name: str, content: bytes | None) -> Iterator[None]:
    """Other bytes in the place of an object, or none, for a while."""
    client = server.client()
    kept = client.get_object(bucket, name).read()
    if content is None:
        client.remove_object(bucket, name)
    else:
        client.put_object(bucket, name, io.BytesIO(content), len(content))
    yield
    client.put_object(bucket, name, io.BytesIO(kept), len(kept))


def records(store: Store, uri: str) -> dict[str, str]:
    return {file.name: digest_file(file) for file in store.open(uri).folder.glob("debates-*")}


def test_three_processes_share_problems_over_s3_and_their_merge_is_the_log_of_one(
    s3_settings: StoreConfig,
    server: Server,
    bucket: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = tmp_path / "script.json"
    script.write_text(SCRIPT)
    given = published(open_store(s3_settings))
    held = shares(s3_settings, script, given, tmp_path / "nodes")
    merges = iter(range(99))

    def merged(*uris: str, code: int = 0) -> str:
        """What a merge on a node of its own says: its artifact, or the one line of its error."""
        own = s3_settings.model_copy(update={"cache": str(tmp_path / f"merge-{next(merges)}")})
        inputs = [("problems", given), *((f"share-{index}", uri) for index, uri in enumerate(uris))]
        connected = [part for port, uri in inputs for part in ("--input", f"{port}={uri}")]
        capsys.readouterr()
        assert cli.main(["debate", *arguments(own, script), *connected]) == code
        out, error = capsys.readouterr()
        (line,) = (error if code else out).splitlines()
        return line

    lost = open_store(s3_settings).manifest(held[1]).metrics["problems"]
    assert f"{lost} of {COUNT} problems were debated in no share" in merged(held[0], held[2], code=1)
    assert "debated in two shares" in merged(*held, held[0], code=1)
    names = [str(o.object_name) for o in server.client().list_objects(bucket, recursive=True)]
    key = held[1].rpartition("/")[2]
    (manifest,) = (name for name in names if key in name and name.endswith("manifest.json"))
    rows = next(name for name in names if key in name and "/debates-" in name)
    damaged = server.client().get_object(bucket, rows).read().replace(b"0", b"8", 1)
    faults = (
        (rows, damaged, "bytes differ from the manifest"),
        (rows, None, "the object is missing"),
        (manifest, None, "no artifact here"),
    )
    for name, content, told in faults:
        with instead(server, bucket, name, content):
            line = merged(*held, code=2)
            assert told in line
            assert key in line
    whole = StoreConfig(root=str(tmp_path / "store"))
    alone = published(open_store(whole))
    assert cli.main(["debate", *arguments(whole, script), "--input", f"problems={alone}"]) == 0
    expected = capsys.readouterr().out.split()[-1]
    made = merged(*held)
    assert made.rpartition("/")[2] == expected.rpartition("/")[2], "the same key as one process's"
    assert records(open_store(s3_settings), made) == records(open_store(whole), expected)
