"""The estimate before a run: exact where it can be, scaled where it must be, and plain about the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from arkloom import cli
from arkloom import config as configs
from arkloom.chains.cost import Cost, by_role, cost, document, estimate, print_cost
from arkloom.chains.distill import distill
from arkloom.chains.graph import Node
from arkloom.chains.loads import Lengths, Load
from arkloom.config import RunConfig
from arkloom.engines.models import model_folder
from arkloom.engines.parameters import parameters, parameters_of
from arkloom.errors import BadInputError

TINY = 868_480


def found(estimated: Cost, node: str) -> dict[str, Load]:
    return {e.load.what: e.load for n in estimated.nodes if n.node == node for e in n.loads}


@pytest.mark.parametrize("preset", configs.presets())
def test_every_node_of_a_run_is_costed_with_its_exact_counts(preset: str) -> None:
    config = configs.load(preset)
    estimated = cost(config)
    assert [node.node for node in estimated.nodes] == [node.name for node in distill(config)]
    assert all(node.known for node in estimated.nodes)
    assert not estimated.unknown
    rules, grpo = config.debate, config.grpo
    turns = config.problems.train * rules.agents * rules.rounds
    assert found(estimated, "debate")["turns"].count == turns
    assert found(estimated, "grpo-pad")["rollouts"].count == grpo.steps * grpo.prompts * grpo.completions
    assert "rollouts, scored" in found(estimated, "grpo-pad")
    assert "rollouts, scored" not in found(estimated, "grpo-verifier-grpo"), "it has no reward model"


def test_every_stage_of_the_command_line_can_be_costed() -> None:
    nodes = tuple(Node(stage, stage) for stage in cli.STAGES)
    assert all(node.known for node in cost(RunConfig(), chain=nodes).nodes)


def test_a_stage_that_is_not_known_is_said_and_not_guessed() -> None:
    estimated = cost(RunConfig(), chain=(Node("dream", "dream"),))
    assert not estimated.nodes[0].known
    console = Console(width=120)
    with console.capture() as told:
        print_cost(estimated, console)
    assert "not costed" in told.get()
    assert document(estimated)["nodes"][0]["costed"] is False


def test_arithmetic_by_hand() -> None:
    config = configs.load("smoke")  # 24 problems, 3 agents, 2 rounds, shared layout, peer cap 64
    estimated = cost(config, lengths=Lengths(question=20, answer=40))
    turns = found(estimated, "debate")["turns"]
    assert turns.generated == 24 * 3 * 2 * 40
    assert turns.prompt == 24 * 3 * (20 + (20 + 3 * 48))
    entry = next(n for n in estimated.nodes if n.node == "debate").loads[0]
    assert entry.prompt_flops == 2 * TINY * turns.prompt
    assert entry.flops == 2 * TINY * (turns.prompt + turns.generated)
    assert entry.hours == pytest.approx((entry.prompt_flops / 2e14 + turns.generated / 2000) / 3600)
    rows = found(estimated, "sft-rsft")["rows"]
    assert rows.trained == rows.count * 60 * config.sft.epochs
    chat = found(cost(config.override(["prompts.layout=chat"]), lengths=Lengths(20, 40)), "debate")["turns"]
    assert chat.prompt == 24 * 3 * (20 + (20 + 40 + 2 * 48))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400), st.integers(1, 7), st.integers(1, 4), st.integers(1, 5))
def test_work_grows_in_proportion(problems: int, agents: int, rounds: int, times: int) -> None:
    def tokens(train: int) -> tuple[int, int]:
        rules = f"debate={{agents: {agents}, rounds: {rounds}}}"
        config = RunConfig().override([f"problems.train={train}", rules])
        load = cost(config, chain=(Node("debate", "debate"),)).loads[0].load
        return load.prompt, load.generated

    once, more = tokens(problems), tokens(problems * times)
    assert more == (once[0] * times, once[1] * times)


def test_the_reward_model_reads_the_students_own_traces_too() -> None:
    config = configs.load("smoke")
    node = Node("prm", "prm", {"steps": "label"})
    alone = found(cost(config, chain=(node,)), "prm")
    both = found(cost(config, chain=(Node("prm", "prm", {"steps": "label", "own": "label-own"}),)), "prm")
    for what in ("traces, last block", "traces, all weights"):
        assert both[what].count == pytest.approx(1.5 * alone[what].count, abs=1)
    human = cost(config.override(["label.source=human"]), chain=(node,))
    assert not human.nodes[0].known, "debate traces are not what it reads, and nobody knows what is"


def test_no_answer_is_longer_than_it_may_be() -> None:
    long = estimate(configs.load("smoke"), answer_tokens=5000)
    turns = found(long, "debate")["turns"]
    assert turns.generated == turns.count * 64


def test_unknown_weights_leave_tokens_and_name_the_option() -> None:
    config = configs.load("smoke", overrides=["models.teacher.name=models/Unheard-Of"])
    estimated = estimate(config)
    assert estimated.unknown == ["teacher"]
    plain = document(estimated)
    assert plain["total"]["flops"] is None
    assert plain["total"]["generated_tokens"] > 0
    console = Console(width=150)
    with console.capture() as told:
        print_cost(estimated, console)
    assert "--parameters teacher=8e9" in told.get()
    given_now = document(estimate(config, parameters=["teacher=7e9"]))
    assert given_now["total"]["flops"] > 0
    assert given_now["assumptions"]["parameters"]["teacher"] == 7_000_000_000


NAMES = [
    ("tiny", TINY),
    ("models/Qwen3-0.6B", 600_000_000),
    ("/somewhere/qwen3-8b-base", 8_190_000_000),
    ("models/Qwen3-8Beta", None),
    ("models/Unheard-Of", None),
]


@pytest.mark.parametrize(("name", "count"), NAMES)
def test_weights_by_name(name: str, count: int | None) -> None:
    assert parameters_of(name) == count


def test_a_folder_tells_more_than_its_name(tmp_path: Path) -> None:
    shape = json.loads((model_folder("tiny") / "config.json").read_text())
    folder = tmp_path / "Qwen3-8B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(shape))
    exact = parameters(model_folder("tiny"))
    assert exact == TINY
    assert parameters_of(str(folder)) == pytest.approx(exact, rel=0.01), "by its shape, norms apart"
    (folder / "config.json").write_text(json.dumps(shape | {"num_experts": 8}))
    assert parameters_of(str(folder)) is None, "few weights of a mixture work at once"
    (folder / "config.json").write_text("{")
    assert parameters_of(str(folder)) is None


BAD = [["tutor=8e9"], ["student=many"], ["student=-1"], ["0"], ["student=inf"], ["="]]


@pytest.mark.parametrize("values", BAD)
def test_a_wrong_value_is_one_line(values: list[str]) -> None:
    with pytest.raises(BadInputError) as caught:
        by_role(values, "--parameters")
    assert caught.value.line().startswith("--parameters: ")


def test_values_for_all_and_for_one() -> None:
    assert by_role(["100", "teacher=5"], "--x") == {"teacher": 5, "student": 100, "prm": 100}


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", "--preset", "smoke"]) == 0
    told = capsys.readouterr().out
    assert "an estimate: nothing was run" in told
    assert "left out:" in told
    assert cli.main(["cost", "--preset", "smoke", "--json", "--tokens-per-second", "student=50"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["assumptions"]["tokens_per_second"] == {"teacher": 2000, "student": 50, "prm": 2000}
    assert plain["total"]["gpu_hours"] > 0
    assert cli.main(["cost", "--preset", "smoke", "--flops", "0"]) == 2
    assert capsys.readouterr().err == "arkloom: --flops: 0 is not above 0\n"


def test_costing_loads_nothing_heavy() -> None:
    code = (
        "import sys, arkloom.cli\n"
        "arkloom.cli.main(['cost', '--preset', 'smoke', '--json'])\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'scipy', 'sympy', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
