"""The house's rules, held by the code itself: floors, stages that never meet, the same furniture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "components" / "arkloom"

# Each name may import names on its own floor or below; `stage` is what stages share.
FLOORS = (
    ("errors", "secret", "amounts", "canonical", "records", "jsonl", "images", "cgroups"),
    ("sections", "config", "presets", "answers", "problems", "store", "engines", "telemetry", "prompts"),
    ("stage", "component", "protocol", "traces", "training", "stats", "reports", "registry", "steps"),
    ("prepare", "debate", "filter", "label", "sft", "prm", "grpo", "evaluate", "gate", "register", "tiny"),
    ("chains",),
    ("cluster",),
    ("commands", "doctor", "preflight", "cli", "__main__", "__init__"),
)
STAGES = ("prepare", "debate", "filter", "label", "sft", "prm", "grpo", "evaluate", "gate", "register")
HEAVY = {"torch", "transformers", "trl", "vllm", "deepspeed", "peft", "datasets", "accelerate"}
HEAVY_GROUND = {"engines/transformers.py", "engines/decoding.py", "engines/vllm.py", "problems/hub.py"}
README_HEADINGS = ("What", "Inputs", "Outputs", "Metrics", "Bad input")
MOST_LINES = 400
MOST_FUNCTION_LINES = 50


def floor_of(name: str) -> int:
    for number, names in enumerate(FLOORS):
        if name in names:
            return number
    raise AssertionError(f"{name} stands on no floor: add it to FLOORS, or better to a room that exists")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    found = set()
    for name in imports(ast.parse(path.read_text())):
        package, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        exists = (PACKAGE / f"{room}.py").exists() or (PACKAGE / room).is_dir()
        if package == "arkloom" and room and exists:
            found.add(room)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    room = room_of(path)
    upwards = {name for name in own_imports(path) if floor_of(name) > floor_of(room)}
    assert not upwards, f"{path.name} imports {sorted(upwards)} from above its floor"


def test_rooms_import_each_other_in_no_circle() -> None:
    left = dict[str, set[str]]()
    for path in modules():
        left.setdefault(room_of(path), set()).update(own_imports(path) - {room_of(path)})
    while leaves := {room for room, others in left.items() if not others & set(left)}:
        left = {room: others for room, others in left.items() if room not in leaves}
    assert not left, f"rooms that import each other, or stand above such: {sorted(left)}"


@pytest.mark.parametrize("stage", STAGES)
def test_stages_never_import_each_other(stage: str) -> None:
    for path in (PACKAGE / stage).rglob("*.py"):
        others = own_imports(path) & (set(STAGES) - {stage})
        assert not others, f"{path} imports the stages {sorted(others)}: they meet in artifacts"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_rooms_hold_the_same_furniture(stage: str) -> None:
    room = PACKAGE / stage
    for name in ("__init__.py", "__main__.py", "stage.py", "component.py", "README.md"):
        assert (room / name).is_file(), f"{stage} has no {name}"
    readme = (room / "README.md").read_text()
    missing = [heading for heading in README_HEADINGS if f"# {heading}" not in readme]
    assert not missing, f"{stage}/README.md has no heading {missing}"
    tree = ast.parse((room / "stage.py").read_text())
    runs = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"]
    assert [argument.arg for argument in runs[0].args.args] == ["config", "inputs", "outputs", "context"]


def test_every_stage_is_known_here_and_to_the_command_line() -> None:
    from arkloom import cli

    rooms = {path.parent.name for path in PACKAGE.glob("*/stage.py")}
    assert rooms == set(STAGES) == set(cli.STAGES)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_stay_off_the_ground_floor(path: Path) -> None:
    if floor_of(room_of(path)) > 1 or path.relative_to(PACKAGE).as_posix() in HEAVY_GROUND:
        return
    tree = ast.parse(path.read_text())
    heavy = {name.split(".")[0] for name in imports(tree)} & HEAVY
    assert not heavy, f"{path} imports {heavy}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_unsafe_is_called(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "os.system", "torch.load"}, name
        for keyword in node.keywords:
            value = keyword.value
            true = isinstance(value, ast.Constant) and value.value is True
            assert not (keyword.arg in {"shell", "trust_remote_code"} and true), f"{name}({keyword.arg}=True)"
