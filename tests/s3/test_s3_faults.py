"""What networks and servers do to a store on S3, and what it does about it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import MIB, Gateway, Server, elsewhere, publish
from proxy import Faults, Proxy

from arkloom.errors import BadInputError, ResumeError
from arkloom.sections import StoreConfig
from arkloom.store import Store, open_store
from arkloom.store import client as store_client
from arkloom.store.client import Bucket
from arkloom.store.s3 import split
from arkloom.telemetry import Progress


@contextmanager
def through(server: Server, settings: StoreConfig, **faults: int) -> Iterator[tuple[Store, Faults]]:
    """The store behind a proxy that fails so."""
    with Proxy(server.endpoint, Faults(**faults)) as proxy:
        yield open_store(settings.model_copy(update={"endpoint": proxy.endpoint})), proxy.faults


FAULTS = {
    "cut while sending": {"cut_up": 6},
    "cut while answering": {"cut_down": 6},
    "busy": {"busy": 3},
    "changed on the way": {"flip": 1},
    "all at once": {"cut_up": 3, "cut_down": 3, "busy": 3},
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_network_is_ridden_through(
    faults: dict[str, int],
    s3_settings: StoreConfig,
    server: Server,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with through(server, s3_settings, **faults) as (store, happened):
        store.point("run", "node", {"a": 1})
        manifest = publish(store, files=6)
        shutil.rmtree(s3_settings.cache or "")
        folder = store.open(manifest.uri).folder
        for number in range(6):
            expected = number.to_bytes(4, "big") * (MIB // 4)
            assert (folder / f"{number:05d}.bin").read_bytes() == expected
        assert store.pointer("run", "node") == {"a": 1}
        assert happened.happened >= max(faults.values())
    told = capfd.readouterr().err
    assert len(told.splitlines()) <= 3, "every failure of every thread was told"
    if "flip" not in faults:
        assert "trying again in" in told
    assert "Signature" not in told


def test_a_large_file_goes_in_parts_that_are_repeated_alone(
    s3_settings: StoreConfig, server: Server, tmp_path: Path
) -> None:
    size = 3 * store_client.PART + 12_345
    with through(server, s3_settings, cut_up=3, after=5 * MIB) as (store, happened):
        workspace = store.workspace("stage", "large")
        content = os.urandom(size)
        (workspace.folder / "weights.bin").write_bytes(content)
        manifest = workspace.publish("model", parents={}, metrics={})
        assert happened.happened == 3
    with through(server, s3_settings, cut_down=3, after=5 * MIB) as (store, happened):
        shutil.rmtree(s3_settings.cache or "")
        assert store.open(manifest.uri).file("weights.bin").read_bytes() == content
        assert happened.happened == 3


def test_a_repeated_manifest_that_meets_itself_has_won(s3_settings: StoreConfig, server: Server) -> None:
    with through(server, s3_settings, swallow=1) as (store, happened):
        manifest = publish(store)
        assert happened.happened == 1
    assert list(open_store(s3_settings).leftovers()) == []
    assert open_store(s3_settings).find("stage", "k1") == manifest


def test_bytes_that_stay_wrong_are_refused_and_named(
    s3_settings: StoreConfig, server: Server, tmp_path: Path
) -> None:
    manifest = publish(open_store(s3_settings))
    far = s3_settings.model_copy(update={"cache": str(tmp_path / "far")})
    with (
        through(server, far, flip=10_000) as (store, _),
        pytest.raises(BadInputError, match=r"stage/k1/\w+/0000\d\.bin: the object's bytes differ"),
    ):
        store.open(manifest.uri)
    assert not [f for f in (tmp_path / "far").rglob("*") if f.is_file()], "damaged bytes were kept"


@pytest.mark.parametrize("transfer", ["up", "down"])
def test_a_server_that_is_stopped_and_comes_back_is_waited_for(
    transfer: str, gateway: Gateway, s3_settings: StoreConfig, tmp_path: Path
) -> None:
    here = s3_settings.model_copy(update={"endpoint": gateway.endpoint, "transfers": 2})
    manifest = publish(open_store(s3_settings), "down", files=24) if transfer == "down" else None

    def restart() -> None:
        time.sleep(0.15)
        gateway.stop()
        time.sleep(1.0)
        gateway.start()

    killer = threading.Thread(target=restart)
    killer.start()
    if manifest is None:
        manifest = publish(open_store(here), "up", files=24)
    far = elsewhere(here, tmp_path)
    far.open(manifest.uri)
    killer.join()
    assert far.verify(manifest) == []


def test_tls_by_an_authority_of_ones_own(
    server: Server, s3_settings: StoreConfig, tmp_path: Path, gateway_folder: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    names = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "ca.pem")]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *subject]
    subprocess.run(made, check=True, capture_output=True)
    secure = Gateway(gateway_folder, certificate=(tmp_path / "ca.pem", tmp_path / "key.pem"))
    secure.start()
    try:
        settings = s3_settings.model_copy(update={"endpoint": secure.endpoint})
        with pytest.raises(BadInputError, match="the certificate is not trusted"):
            open_store(settings).find("stage", "k1")
        store = open_store(settings.model_copy(update={"ca_file": str(tmp_path / "ca.pem")}))
        assert store.open(publish(store).uri).file("00003.bin").stat().st_size == MIB
    finally:
        secure.stop()


def test_no_log_of_any_library_holds_a_signature(
    s3_settings: StoreConfig, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")  # as where a framework or a user set a root handler
    with through(server, s3_settings, swallow=1) as (store, happened):
        publish(store, files=1, size=8)
        assert happened.happened == 1
    assert "/stage/k1/manifest.json?..." in caplog.text
    assert [r for r in caplog.records if r.levelname == "WARNING" and "Retrying" in r.getMessage()]
    for secret in ("X-Amz-Signature", "X-Amz-Credential", "Signature="):
        assert secret not in caplog.text


def test_patience_is_taken_once(s3_settings: StoreConfig, server: Server) -> None:
    impatient = s3_settings.model_copy(update={"patience": 2.0})
    with through(server, impatient, busy=100_000) as (store, _):
        start = time.monotonic()
        with pytest.raises(ResumeError, match=r"does not come to it \(SlowDown\)"):
            store.find("stage", "k1")  # nobody's fault, and a later try may do
    assert time.monotonic() - start < 3.8


@pytest.mark.parametrize("fault", ["busy", "page"])
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.find("stage", "k1"),
        lambda store: store.point("run", "node", {}),
        lambda store: publish(store, files=1, size=8),
        lambda store: list(store.manifests()),
        lambda store: store.runs(),
    ],
    ids=["find", "point", "publish", "manifests", "runs"],
)
def test_a_server_that_is_away_for_too_long_can_be_gone_on_with(
    call: Callable[[Store], object], fault: str, s3_settings: StoreConfig, server: Server
) -> None:
    impatient = s3_settings.model_copy(update={"patience": 0.2})
    with (
        through(server, impatient, **{fault: 100_000}) as (store, _),
        pytest.raises(ResumeError, match="does not come to it") as caught,
    ):
        call(store)
    assert "\n" not in caught.value.line()


def test_what_is_written_once_is_no_matter_of_a_gateways_page(
    s3_settings: StoreConfig, server: Server
) -> None:
    """A manifest's own request is ours, not minio's."""
    impatient = s3_settings.model_copy(update={"patience": 0.2})
    with Proxy(server.endpoint, Faults(page=100_000)) as proxy:
        bucket = Bucket(impatient.model_copy(update={"endpoint": proxy.endpoint}), split(impatient.root)[0])
        with pytest.raises(ResumeError, match=r"does not come to it \(502\)"):
            bucket.put_once("once", b"{}")


def test_bytes_are_shown_and_small_transfers_are_not(
    s3_settings: StoreConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Progress(prefix="sft ") as progress:
        store = open_store(s3_settings, progress)
        publish(store, "small", files=2)
        manifest = publish(store, "large", files=10)
        far = s3_settings.model_copy(update={"cache": str(tmp_path / "far")})
        open_store(far, progress).open(manifest.uri)
    told = capfd.readouterr().err
    assert f"sft upload: {10 * MIB}/{10 * MIB}" in told
    assert f"sft download: {10 * MIB}/{10 * MIB}" in told
    assert len(told.splitlines()) == 2
