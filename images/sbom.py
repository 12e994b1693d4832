"""Print what an environment holds as a CycloneDX 1.6 document: Python distributions and Debian packages.

    python sbom.py --name arkloom-serve --version 0.1.0 --lock cpu.lock --dpkg /var/lib/dpkg/status

Standard library only: it runs inside the image that it describes. The same image gives the same document, so
there is no time and no serial number in it. Hashes are those of the locked files that were installed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

_LOCKED = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})$", re.MULTILINE
)
_LONGEST_LICENCE = 100  # characters; more is a licence's text, not its name
Component = dict[str, Any]


def normal(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> Mapping[tuple[str, str], str]:
    """sha256 of every (name, version) of a lock file."""
    return {(name, version): sha256 for name, version, sha256 in _LOCKED.findall(text)}


def python_components(
    distributions: Iterable[metadata.Distribution], hashes: Mapping[tuple[str, str], str]
) -> Iterator[Component]:
    """One component for each distribution."""
    for distribution in distributions:
        name, version = normal(distribution.metadata["Name"]), distribution.version
        component = _component(name, version, f"pkg:pypi/{name}@{quote(version)}")
        if sha256 := hashes.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": sha256}]
        if licence := _licence(distribution.metadata):
            component["licenses"] = [licence]
        yield component


def debian_components(status: str) -> Iterator[Component]:
    """One component for each installed package of a dpkg status file."""
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
            yield _component(name, version, purl)


def document(name: str, version: str, components: Iterable[Component]) -> dict[str, Any]:
    """The whole document, each component once, sorted by purl."""
    once = {component["purl"]: component for component in components}
    whole = {"type": "container", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": whole},
        "components": [once[purl] for purl in sorted(once)],
    }


def _component(name: str, version: str, purl: str) -> Component:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _licence(fields: metadata.PackageMetadata) -> dict[str, Any] | None:
    """An SPDX expression where the distribution gives one, else its own word for its licence."""
    for expression in fields.get_all("License-Expression") or ():
        return {"expression": expression}
    classifiers = [text for text in fields.get_all("Classifier") or () if text.startswith("License ::")]
    for name in (*(fields.get_all("License") or ()), *(text.rpartition(" :: ")[2] for text in classifiers)):
        if name and name != "UNKNOWN" and "\n" not in name and len(name) <= _LONGEST_LICENCE:
            return {"license": {"name": name}}
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the document of the environment that runs this."""
    parser = argparse.ArgumentParser(description="print a CycloneDX document of this environment")
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--lock", type=Path, required=True, help="the lock file it was installed from")
    parser.add_argument("--dpkg", type=Path, help="dpkg's status file")
    options = parser.parse_args(arguments)
    components = list(python_components(metadata.distributions(), locked(options.lock.read_text())))
    if options.dpkg is not None:
        components += debian_components(options.dpkg.read_text())
    json.dump(document(options.name, options.version, components), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
