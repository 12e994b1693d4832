"""Writes every overlay and example with all images pinned by digest, ready for ``kubectl apply -f``.

``release.py --digests FILE --out FOLDER``. FILE has a line ``name:version sha256:<64 hex digits>`` for each
image, as the registry told them when they were pushed (``docker push``, ``crane digest``); nothing is asked
or guessed here. The overlay air-gapped names copies of these images: a copy has its original's digest.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

HERE = Path(__file__).parent
IMAGE = re.compile(
    r"(?P<before>^\s*(?:- )?image: *)(?P<quote>[\"']?)(?P<name>[^\s\"'#]+)(?P=quote)", re.MULTILINE
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ReleaseError(Exception):
    """What keeps the manifests from being released, in one line."""


def digests(text: str) -> dict[str, str]:
    """``name:version`` -> digest, of lines ``name:version digest``; blank lines and ``#`` are left out.

    Raises:
        ReleaseError: A line says something else, or two contradict each other.
    """
    found = dict[str, str]()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or ":" not in words[0] or not DIGEST.fullmatch(words[1]):
            raise ReleaseError(f"line {number} of the digests is not `name:version sha256:<64 hex digits>`")
        if found.setdefault(words[0], words[1]) != words[1]:
            raise ReleaseError(f"line {number} of the digests: another digest of {words[0]}")
    return found


def pinned(text: str, known: Mapping[str, str], copies: Mapping[str, str]) -> str:
    """Manifests with ``@sha256:...`` behind every image.

    Args:
        text: YAML.
        known: ``name:version`` -> digest.
        copies: Name of a copy in another registry -> name of its original.

    Raises:
        ReleaseError: The digest of an image is not known.
    """

    def pin(match: re.Match[str]) -> str:
        image = match["name"]
        name, _, version = image.rpartition(":")
        published = f"{copies.get(name, name)}:{version}"
        if published not in known:
            raise ReleaseError(f"no digest of {published}: add its line to the digests")
        return f"{match['before']}{image}@{known[published]}"

    return IMAGE.sub(pin, text)


def render(overlay: Path) -> str:
    """What ``kubectl apply -k`` would send.

    Raises:
        ReleaseError: There is no kubectl, or it refuses the overlay.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ReleaseError("no kubectl on this machine")
    done = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{overlay.name}: {' '.join(done.stderr.split())}")
    return done.stdout


def release(known: Mapping[str, str], out: Path) -> list[Path]:
    """Write ``out/<overlay>.yaml`` and ``out/examples/*.yaml``; the files.

    Nothing is written unless every image can be pinned.

    Raises:
        ReleaseError: See ``pinned`` and ``render``.
    """
    mirror = yaml.safe_load(
        (HERE / "overlays" / "air-gapped" / "kustomization.yaml").read_text(encoding="utf-8")
    )
    copies = {entry["newName"]: entry["name"] for entry in mirror["images"]}
    texts = {
        out / f"{folder.parent.name}.yaml": render(folder.parent)
        for folder in sorted((HERE / "overlays").glob("*/kustomization.yaml"))
    } | {
        out / "examples" / file.name: file.read_text(encoding="utf-8")
        for file in sorted((HERE / "examples").glob("*.yaml"))
    }
    done = {file: pinned(text, known, copies) for file, text in texts.items()}
    for file, text in done.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(done)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 and one line where something is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--digests", required=True, help="file: `name:version sha256:...` a line")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    given = parser.parse_args(arguments)
    try:
        if not given.digests:
            raise ReleaseError("no digests given: make release-manifests DIGESTS=file")
        for file in release(digests(Path(given.digests).read_text(encoding="utf-8")), given.out):
            print(file)
    except (ReleaseError, OSError, UnicodeDecodeError) as error:
        print(f"release-manifests: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
