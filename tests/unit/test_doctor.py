"""`arkloom doctor`: each fault is a line that says what to do, and nothing is left behind."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from pathlib import Path

import pytest

from arkloom import cgroups
from arkloom.cli import main
from arkloom.config import RunConfig, load
from arkloom.doctor import Finding, limits, machine, models, stores
from arkloom.doctor.files import files
from arkloom.doctor.machine import TorchBuild
from arkloom.sections import StoreConfig

FINE = Finding("torch", "ok", "fine")
HEADER = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
WHOLE = struct.pack("<Q", len(HEADER)) + HEADER + bytes(8)


@pytest.fixture
def config() -> RunConfig:
    return load("smoke")


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_the_command_looks_at_everything_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "new" / "store"
    assert main(["doctor", "--preset", "smoke", "--store", str(root), "--json"]) == 0
    found = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert {
        "python",
        "cores",
        "memory",
        "packages",
        "torch",
        "gpu",
        "store",
        "model (teacher)",
    } <= found.keys()
    assert {line["state"] for line in found.values()} <= {"ok", "warn"}
    assert list(tmp_path.iterdir()) == []


def test_a_fault_is_told_with_what_to_do_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arkloom.doctor.examination.torch_build", lambda: TorchBuild(FINE))
    arguments = ["--preset", "smoke", "--set", "models.student.name=/no/model", "--store", str(tmp_path)]
    assert main(["doctor", *arguments]) == 1
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    failed = [rest for state, rest in lines if state == "fail"]
    assert len(failed) == 1
    assert failed[0].startswith("model (student)    no model '/no/model'. Give 'tiny' or a folder")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("raise ImportError('libtorch_cpu.so: cannot open shared object')", "ImportError: libtorch_cpu.so"),
        ("import os; os.kill(os.getpid(), 4)", "died by signal 4"),
        ("import sys; sys.exit(3)", "exit code 3"),
    ],
)
def test_a_broken_torch_is_a_line(program: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_TORCH", program)
    finding = machine.torch_build().finding
    assert (finding.state, bool(finding.mend)) == ("fail", True)
    assert told in finding.told


def test_a_torch_that_multiplies_wrongly_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_TORCH", 'print(\'{"version": "9", "right": false}\')')
    assert machine.torch_build().finding.state == "fail"


GPU = [["Some GPU", 80 << 30]]


@pytest.mark.parametrize(
    ("device", "told", "state"),
    [
        ("cpu", {"devices": []}, "ok"),
        ("cpu", {"devices": GPU}, "warn"),
        ("cuda", {"devices": GPU}, "ok"),
        ("cuda:0", {"devices": GPU}, "ok"),
        ("cuda:1", {"devices": GPU}, "fail"),
        ("cuda", {"devices": []}, "fail"),
        ("cuda", {}, "fail"),
        ("mps", {"devices": [], "mps": True}, "ok"),
        ("mps", {"devices": [], "mps": False}, "fail"),
        ("gpu", {"devices": GPU}, "fail"),
    ],
)
def test_the_device_must_be_there(config: RunConfig, device: str, told: dict, state: str) -> None:
    found = machine.devices(config.override([f"runtime.device={device}"]), TorchBuild(FINE, told))
    assert (found.state, bool(found.mend)) == (state, state != "ok")


def test_interpreters_must_start_and_know_arkloom(config: RunConfig, tmp_path: Path) -> None:
    deaf = tmp_path / "python"
    deaf.write_text("#!/bin/sh\necho \"No module named 'arkloom'\" >&2\nexit 1\n")
    deaf.chmod(0o755)
    named = {"sft": sys.executable, "grpo": "/no/python", "prm": str(deaf)}
    chosen = config.override([f"runtime.python={json.dumps(named)}"])
    found = {finding.name.rpartition(".")[2]: finding for finding in machine.interpreters(chosen)}
    assert {name: finding.state for name, finding in found.items()} == {
        "sft": "ok", "grpo": "fail", "prm": "fail",
    }  # fmt: skip
    assert "does not start" in found["grpo"].told
    assert "No module named 'arkloom'" in found["prm"].told


@pytest.mark.parametrize(
    ("files", "quota", "memory"),
    [
        ({"cpu.max": "150000 100000", "memory.max": "1024", "memory.current": "24"}, 1.5, (1024, 24)),
        ({"cpu.max": "max 100000", "memory.max": "max"}, None, (None, 0)),
        ({"pod/cpu.max": "50000 100000", "cpu.max": "150000 100000"}, 0.5, (None, 0)),
        ({"pod/a/cpu.max": "max 100000", "pod/cpu.max": "200000 100000"}, 2.0, (None, 0)),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, (None, 0)),
        (
            {
                "cpu/cpu.cfs_quota_us": "300000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "77",
            },
            3.0,
            (77, 0),
        ),
        ({"cpu.max": "nonsense", "memory.max": ""}, None, (None, 0)),
        ({}, None, (None, 0)),
    ],
)
def test_limits_of_control_groups(
    files: dict[str, str], quota: float | None, memory: tuple[int | None, int], tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(content)
    (tmp_path / "own").write_text("0::/pod/a\n1:cpu,cpuacct:/pod\n")
    assert cgroups.cpu_quota(tmp_path / "cgroup", tmp_path / "own") == quota
    assert cgroups.memory_limit(tmp_path / "cgroup", tmp_path / "own") == memory


@pytest.mark.parametrize(("quota", "usable"), [(None, 64), (8.0, 8), (1.5, 2), (0.2, 1), (100.0, 64)])
def test_threads_follow_the_quota(quota: float | None, usable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(cgroups, "cpu_quota", lambda: quota)
    assert cgroups.cores() == usable


def test_more_stages_at_once_than_the_quota_are_too_many(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(limits, "cpu_quota", lambda: 8.0)
    assert limits.cores(config.override(["runtime.parallel=2"])).state == "ok"
    assert limits.cores(config.override(["runtime.parallel=9"])).mend == "Set runtime.parallel to 8"


def folder(path: Path, weights: dict[str, bytes], **others: object) -> Path:
    path.mkdir()
    settings = {"config.json": {}, "tokenizer.json": {}, "tokenizer_config.json": {"chat_template": "x"}}
    named = {name.replace("__", "."): content for name, content in others.items()}
    for name, content in (settings | named).items():
        (path / name).write_text(json.dumps(content))
    for name, content in weights.items():
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("weights", "files", "told"),
    [
        ({"model.safetensors": WHOLE}, {}, ""),
        ({"model.safetensors": WHOLE[:-1]}, {}, "cut short"),
        ({"model.safetensors": WHOLE + b"x"}, {}, "cut short or overlong"),
        ({"model.safetensors": b"version https://git-lfs"}, {}, "damaged safetensors file"),
        ({"model.safetensors": b""}, {}, "damaged safetensors file"),
        ({"pytorch_model.bin": b"x"}, {}, "no safetensors file"),
        ({"a.safetensors": WHOLE}, {"config__json": {"auto_map": {"AutoModel": "m.M"}}}, "code of its own"),
        ({"a.safetensors": WHOLE}, {"tokenizer_config__json": {}}, "no chat template"),
        ({"a.safetensors": WHOLE}, {"config__json": [1]}, "not a JSON object"),
        (
            {"a.safetensors": WHOLE},
            {"model__safetensors__index__json": {"weight_map": {"v": "b.safetensors"}}},
            "b.safetensors is missing",
        ),
    ],
)
def test_models_that_would_not_load(
    weights: dict[str, bytes], files: dict, told: str, tmp_path: Path, config: RunConfig
) -> None:
    path = folder(tmp_path / "model", weights, **files)
    chosen = config.override([f"models.student.name={path}", "prompts.profile=natural"])
    found = next(finding for finding in models.models(chosen) if finding.name == "model (student)")
    assert (found.state, bool(found.mend)) == (("fail", True) if told else ("ok", False)), found
    assert told in found.told


def test_a_store_that_cannot_be_written_to_fails(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = only(list(stores.stores(config.with_store(str(tmp_path / "file" / "store")))))
    assert (found.state, bool(found.mend)) == ("fail", True)
    assert only(list(stores.stores(config.with_store("ftp://host/x")))).state == "fail"


@pytest.mark.timeout(30)
def test_a_server_that_never_answers_does_not_hold_the_doctor(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARKLOOM_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("ARKLOOM_S3_SECRET_KEY", "secret")
    monkeypatch.setattr(stores, "PATIENCE_S", 0.5)
    monkeypatch.setattr(stores, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, as a frozen server does
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = StoreConfig(root="s3://bucket/x", endpoint=endpoint)
        found = only(list(stores.stores(config.model_copy(update={"store": store}))))
    assert (found.name, found.state) == ("s3 write", "fail")
    assert "no answer in time" in found.told


def test_what_was_there_before_the_probe_stays(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "store" / ".work" / "sft-aa").mkdir(parents=True)
    assert only(list(stores.stores(config.with_store(str(tmp_path / "store"))))).state == "ok"
    assert [path.name for path in (tmp_path / "store" / ".work").iterdir()] == ["sft-aa"]


def test_files_that_are_named_must_be_there(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "here.jsonl").write_text("")
    chosen = config.override(
        [f"problems.path={tmp_path / 'here.jsonl'}", f"problems.test_path={tmp_path / 'nowhere'}"]
    )
    found = {finding.name: finding.state for finding in files(chosen)}
    assert found == {"problems.path": "ok", "problems.test_path": "fail"}


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert machine.disk("disk", tmp_path / "file" / "x").state == "fail"
    assert machine.disk("disk", tmp_path / "a" / "b").state in {"ok", "warn"}
    monkeypatch.setattr(machine, "LEAST_DISK", 1 << 62)
    assert machine.disk("disk", tmp_path).state == "warn"
