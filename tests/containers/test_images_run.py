"""The real images, run as restricted pods are; they skip where there is no daemon or nothing is built."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arkloom import __version__
from arkloom.chains.environments import ENVIRONMENT

REPO = Path(__file__).parents[2]
REGISTRY = os.environ.get("ARKLOOM_TEST_IMAGES", "ghcr.io/arkloom")
NAMES = ("launcher", "serve", "train")
RESTRICTED = (
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--shm-size=1g",
    "--tmpfs=/tmp:exec",
    "--tmpfs=/var/cache/arkloom:exec,mode=1777",
)
GIB = 2**30
LARGEST = {"launcher": 1.0 * GIB, "serve": 3.5 * GIB, "train": 2.5 * GIB}


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def said(*arguments: str) -> str:
    done = docker(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=NAMES)
def image(request: pytest.FixtureRequest) -> str:
    """Each image in turn."""
    return built(request.param)


def built(name: str) -> str:
    if not os.environ.get("DOCKER_HOST"):
        pytest.skip("no container daemon (set DOCKER_HOST)")
    full = f"{REGISTRY}/arkloom-{name}:{__version__}"
    if docker("image", "inspect", full).returncode:
        pytest.skip(f"{full} is not built (make images BASE=localhost/base:bookworm)")
    return full


def lock_of(image: str) -> dict[str, str]:
    name = image.rpartition("arkloom-")[2].partition(":")[0]
    lines = (REPO / "images" / name / "cpu.lock").read_text().splitlines()[1:]
    return dict(re.match(r"(\S+)==(\S+)", line).groups() for line in lines)  # type: ignore[union-attr]


def python(image: str, program: str, *options: str) -> Any:
    """What a program prints as JSON in a restricted container."""
    return json.loads(said("run", "--rm", *RESTRICTED, *options, image, "python3", "-c", program))


WHO = (
    "import getpass, json, os, pwd; open(os.path.expanduser('~/x'), 'w').close();"
    "known = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == os.getuid()];"
    "print(json.dumps([os.getuid(), os.getgid(), known, getpass.getuser(), os.getcwd()]))"
)


def test_a_container_runs_as_a_user_with_a_name_and_a_home(image: str) -> None:
    assert python(image, WHO) == [10001, 0, ["arkloom"], "arkloom", "/var/cache/arkloom"]


def test_any_other_user_of_group_0_may_run_it(image: str) -> None:
    assert python(image, WHO, "--user=1000660000:0") == [1000660000, 0, [], "arkloom", "/var/cache/arkloom"]
    touch = ("--network=none", "--user=1000660000:0", image, "touch")
    said("run", "--rm", *touch, "/var/cache/arkloom/x")  # without a mount, too
    assert docker("run", "--rm", *touch, "/opt/arkloom/x").returncode, "the environment cannot be changed"


def test_neither_pip_nor_a_compiler_is_inside(image: str) -> None:
    program = (
        "import importlib.util as u, json, shutil;"
        "names = ['pip', 'pip3', 'gcc', 'cc', 'g++', 'make', 'curl', 'wget', 'git'];"
        "print(json.dumps([name for name in names if shutil.which(name)] + [str(u.find_spec('pip') or '')]))"
    )
    assert python(image, program) == [""]
    system = (
        "--entrypoint=/usr/bin/python3",
        image,
        "-c",
        "import ensurepip, os; ensurepip.bootstrap(root='/tmp')",
    )
    assert docker("run", "--rm", *RESTRICTED, *system).returncode, "nor can pip be brought back from the base"


def test_what_is_installed_is_what_was_locked_and_what_the_bill_names(image: str) -> None:
    program = (
        "import importlib.metadata as m, json, re;"
        "normal = lambda name: re.sub(r'[-_.]+', '-', name).lower();"
        "found = {normal(d.metadata['Name']): d.version for d in m.distributions()};"
        "print(json.dumps([found, json.load(open('/opt/arkloom/sbom.json'))]))"
    )
    installed, bill = python(image, program)
    assert installed == {**lock_of(image), "arkloom": __version__}
    distributions = [c for c in bill["components"] if c["purl"].startswith("pkg:pypi/")]
    assert {c["name"]: c["version"] for c in distributions} == installed
    assert [c["name"] for c in distributions if "hashes" not in c] == ["arkloom"]
    assert any(c["name"] == "libc6" for c in bill["components"])


def test_an_image_says_what_it_is_and_stays_small(image: str) -> None:
    (facts,) = json.loads(said("image", "inspect", image))
    name = image.rpartition("/")[2].partition(":")[0]
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == name
    assert labels["org.opencontainers.image.version"] == __version__
    assert f"ARKLOOM_IMAGE={name}:{__version__}" in facts["Config"]["Env"]
    assert facts["Config"]["User"] == "10001:0"
    assert facts["Size"] < LARGEST[name.removeprefix("arkloom-")]


@pytest.mark.parametrize(("stage", "environment"), sorted(ENVIRONMENT.items()))
def test_a_stage_starts_in_its_image(stage: str, environment: str) -> None:
    image = built(environment)
    assert stage in said("run", "--rm", *RESTRICTED, image, "python3", "-m", f"arkloom.{stage}", "--help")


def test_the_launcher_prepares_problems_offline(tmp_path: Path) -> None:
    image = built("launcher")
    command = ("python3", "-m", "arkloom.prepare", "--preset", "smoke", "--store", "/tmp/store")
    show = "import glob, json; print(open(glob.glob('/tmp/store/prepare/*/manifest.json')[0]).read())"
    script = f'{" ".join(command)} >/dev/null && python3 -c "{show}"'
    manifest = json.loads(said("run", "--rm", *RESTRICTED, image, "sh", "-c", script))
    assert manifest["stage"] == "prepare"
    assert manifest["image"] == f"arkloom-launcher:{__version__}"


def test_the_launcher_can_submit_and_compile() -> None:
    program = "import json, kfp, kfp.kubernetes, kubernetes; print(json.dumps(kfp.__version__))"
    assert python(built("launcher"), program) == lock_of("arkloom-launcher:")["kfp"]


def test_vllm_answers_in_the_serving_image() -> None:
    image = built("serve")
    assert "vLLM works" in said("run", "--rm", *RESTRICTED, image, "python3", "-m", "arkloom.engines.vllm")


def test_the_training_image_holds_its_trainers() -> None:
    program = (
        "import json, os; os.environ['DS_ACCELERATOR'] = 'cpu'; import deepspeed, trl, peft, datasets, torch;"
        "print(json.dumps([deepspeed.__version__, trl.__version__, torch.__version__]))"
    )
    image = built("train")
    done = docker("run", "--rm", *RESTRICTED, image, "python3", "-c", program)
    lock = lock_of(image)
    assert json.loads(done.stdout.splitlines()[-1]) == [lock["deepspeed"], lock["trl"], lock["torch"]]
