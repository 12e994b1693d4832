"""Small files of a store, and the registry on them, asked of a folder and of S3 with the same words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from places import Place

from arkloom.errors import BadInputError
from arkloom.registry import Registry, Version
from arkloom.stage import document


def draft(key: str) -> Version:
    return Version(
        model="student",
        key=key,
        uri=f"s3://b/sft/{key}",
        arm="rsft",
        base="tiny",
        accuracy=0.9,
        ci95=(0.8, 0.95),
        token_ratio=None,
        reason="better",
        lineage={"evaluation": "e"},
        config_digest="0",
        registered=1.0,
        card="# Größe 50 %",
    )


def test_a_document_is_written_once_and_seen_everywhere(place: Place) -> None:
    store, far = place.store(), place.far_store()
    assert store.document("room", "a", "1.json") is None
    assert store.documents("room") == []
    assert store.write_once(b"one", "room", "a", "1.json")
    assert not far.write_once(b"two", "room", "a", "1.json")
    assert far.document("room", "a", "1.json") == b"one"
    assert store.write_once(b"", "room", "b", "1.json")
    assert (far.documents("room"), far.documents("room", "a")) == (["a", "b"], ["1.json"])
    assert list(store.manifests()) == list(store.leftovers()) == []  # they are no artifacts, and no garbage


def test_one_file_of_an_artifact_is_read_without_the_others(place: Place) -> None:
    workspace = place.store().workspace("stage", "k1")
    (workspace.folder / "report.html").write_text("<p>Größe</p>")
    (workspace.folder / "weights").write_bytes(b"\0" * 10)
    manifest = workspace.publish("rows", parents={}, metrics={})
    far = place.far_store()
    assert document(far, manifest, "report.html") == "<p>Größe</p>"
    with pytest.raises(BadInputError, match="missing, or not as published"):
        document(far, manifest, "none.html")


def test_writers_at_once_share_no_number(place: Place) -> None:
    keys = [f"{number % 3}" for number in range(9)]  # each model by three writers
    with ThreadPoolExecutor(len(keys)) as pool:
        found = list(pool.map(lambda key: Registry(place.store()).register(draft(key)), keys))
    assert len({(version.key, version.number) for version in found}) == 3
    versions = list(Registry(place.far_store()).versions("student"))
    assert [version.number for version in versions] == [1, 2, 3]
    assert {version.key for version in versions} == set(keys)
    assert Registry(place.store()).models() == ["student"]
