"""``make release-manifests``: every image is pinned, by digests that were given, or nothing is written."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import rendered_manifests as rendered

SCRIPT = rendered.MANIFESTS / "release.py"
LISTED = (rendered.MANIFESTS.parent / "images" / "images.txt").read_text().split()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("release_manifests", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def release(folder: Path, lines: list[str]) -> subprocess.CompletedProcess[str]:
    rendered.text(rendered.MANIFESTS / "base")  # skips without kubectl
    digests = folder / "digests.txt"
    digests.write_text("\n".join(lines))
    command = [sys.executable, SCRIPT, "--digests", digests, "--out", folder / "out"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def invented() -> dict[str, str]:
    """Digests for this test alone: a real one comes from a registry."""
    return {image: f"sha256:{number:064x}" for number, image in enumerate(LISTED, 1)}


def test_no_image_is_left_unpinned(tmp_path: Path) -> None:
    known = invented()
    done = release(
        tmp_path, ["# from the registry", "", *(f"{image} {digest}" for image, digest in known.items())]
    )
    assert done.returncode == 0, done.stderr
    names = {f"{name}.yaml" for name in rendered.OVERLAYS} | {
        f"examples/{name}" for name in rendered.EXAMPLES
    }
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.yaml")} == names
    for name, before in rendered.everything().items():
        file = tmp_path / "out" / (f"examples/{name}" if name.endswith(".yaml") else f"{name}.yaml")
        after = rendered.parsed(file.read_text())
        expected = {f"{image}@{known[rendered.original(image)]}" for image in rendered.images(before)}
        assert rendered.images(after) == expected
        assert _without_images(after) == _without_images(before), f"{name}: more than images changed"


def _without_images(documents: list[rendered.Document]) -> list[rendered.Document]:
    for _, pod in rendered.pods(documents := yaml.safe_load(yaml.safe_dump(documents))):
        for container in rendered.containers(pod):
            del container["image"]
    return documents


def test_a_missing_digest_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    image, *rest = invented().items()
    done = release(tmp_path, [f"{name} {digest}" for name, digest in rest])
    assert done.returncode == 2
    assert image[0] in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "line",
    [
        "ghcr.io/a/b:1 sha256:abc",
        "ghcr.io/a/b:1",
        f"ghcr.io/a/b sha256:{'0' * 64}",
        f"ghcr.io/a/b:1 sha256:{'0' * 64} more",
        f"ghcr.io/a/b:1 sha512:{'0' * 64}",
        f"ghcr.io/a/b:1 sha256:{'G' * 64}",
    ],
)
def test_what_is_no_digest_is_refused(script: ModuleType, line: str) -> None:
    with pytest.raises(script.ReleaseError, match="line 1"):
        script.digests(line)


def test_two_digests_of_one_image_are_refused(script: ModuleType) -> None:
    lines = [f"a/b:1 sha256:{digit * 64}" for digit in "01"]
    with pytest.raises(script.ReleaseError, match="line 2"):
        script.digests("\n".join(lines))


@pytest.mark.parametrize(
    "text", ["image: 'a/b:1'", 'image: "a/b:1"', "  - image: a/b:1", "    image: a/b:1  # why"]
)
def test_however_an_image_is_written_it_is_pinned(script: ModuleType, text: str) -> None:
    digest = f"sha256:{'1' * 64}"
    assert f"a/b:1@{digest}" in script.pinned(text, {"a/b:1": digest}, {})


def test_nothing_in_the_tree_pretends_to_be_a_digest() -> None:
    for path in rendered.MANIFESTS.rglob("*"):
        if path.suffix in {".yaml", ".mk", ".json"}:
            assert "@sha256:" not in path.read_text(), path
