"""Guards over a training's log: too far from the start, rewards that part, the best step."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from arkloom.config import GrpoConfig
from arkloom.grpo import guards
from arkloom.grpo.page import render
from arkloom.grpo.validation import Validation
from arkloom.grpo.watch import GrpoWatch, keep, restore
from arkloom.stage import Context
from arkloom.telemetry import Events, Progress, read_events
from arkloom.telemetry.metrics import REGISTRY
from arkloom.training import checkpoints
from small_models import model, tokenizer


def log(step: int, **figures: float | None) -> dict[str, Any]:
    own = {
        name: figures.pop(name) for name in ("prm_reward", "verifier_reward", "dropped") if name in figures
    }
    return {"step": step, "loss": 0.1, **figures, **{f"arkloom/{name}": value for name, value in own.items()}}


def points(
    prm: Callable[[int], float | None], verifier: Callable[[int], float | None], steps: int = 40
) -> list[guards.Point]:
    return [
        {"step": step, "prm_reward": prm(step), "verifier_reward": verifier(step), "kl": None}
        for step in range(1, steps + 1)
    ]


def noisy(middle: Callable[[int], float], seed: int) -> Callable[[int], float]:
    draw = random.Random(seed)
    return lambda step: middle(step) + draw.uniform(-0.05, 0.05)


def test_the_curve_has_what_the_log_has_and_null_for_the_rest() -> None:
    history = [
        log(1, kl=0.25, dropped=3.0),
        guards.validated(1, 0.5),
        log(2),
        {"train_runtime": 3.0, "step": 2},
    ]
    one, two = guards.curve(history, rollouts=64)
    assert (one["step"], one["rollouts"], one["kl"], one["dropped"]) == (1, 64, 0.25, 3)
    assert (two["rollouts"], two["kl"], two["prm_reward"], two["dropped"]) == (128, None, None, 0)
    assert guards.validations(history, 64) == [{"step": 1, "rollouts": 64, "accuracy": 0.5}]


def test_training_stops_where_kl_is_above_its_limit() -> None:
    history = [log(1, kl=0.0), log(2, kl=0.1), log(3, kl=0.11), log(4, kl=0.5)]
    told = guards.stop_reason(guards.curve(history, 1), 0.1)
    assert told == "KL 0.1100 per token at step 3 is above grpo.max_kl (0.1)"
    assert guards.stop_reason(guards.curve(history[:2], 1), 0.1) is None
    assert guards.stop_reason(guards.curve([log(1)], 1), 0.1) is None, "without a reference nothing is known"


def test_a_step_without_any_kept_group_has_no_kl_and_stops_nothing() -> None:
    history = [log(1, kl=0.05, entropy=0.3), log(2, kl=None, entropy=None, dropped=8.0)]
    one, two = guards.curve(history, 64)
    assert (two["kl"], two["entropy"], two["dropped"]) == (None, None, 8)
    assert guards.stop_reason([one, two], 0.1) is None
    page = render(told() | {"curve": [one, two]})
    assert "0.050" in page, "the last KL that was measured"
    assert "KL: 0.05 at first, 0.05 at last" in page


def test_rewards_that_part_raise_the_alarm() -> None:
    told = guards.hacking(points(noisy(lambda s: 0.4 + s / 100, 1), noisy(lambda s: 0.6 - s / 100, 2)))
    assert told is not None
    assert told.startswith("reward hacking by step 2")
    assert "PRM's reward rose from 0." in told


@pytest.mark.parametrize(
    ("prm", "verifier"),
    [
        (noisy(lambda s: 0.4 + s / 100, 1), noisy(lambda s: 0.4 + s / 100, 2)),  # both rise
        (noisy(lambda s: 0.8 - s / 100, 1), noisy(lambda s: 0.8 - s / 100, 2)),  # both fall
        (noisy(lambda s: 0.5, 1), noisy(lambda s: 0.8 - s / 100, 2)),  # the PRM's stands
        (noisy(lambda s: 0.5, 3), noisy(lambda s: 0.5, 4)),  # chance alone
        (lambda s: None, noisy(lambda s: 0.8 - s / 100, 2)),  # no PRM
        (lambda s: 0.5, lambda s: 0.5),
    ],
)
def test_nothing_else_raises_the_alarm(prm: Callable[..., Any], verifier: Callable[..., Any]) -> None:
    assert guards.hacking(points(prm, verifier)) is None


def test_the_alarm_needs_two_windows() -> None:
    assert guards.hacking(points(lambda s: s / 100, lambda s: 1 - s / 100, 2 * guards.WINDOW - 1)) is None
    assert guards.hacking(points(lambda s: s / 100, lambda s: 1 - s / 100, 2 * guards.WINDOW)) is not None


def test_an_alarm_is_a_log_line_and_an_event_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = Context(Progress(quiet=True), Events(tmp_path / "events.jsonl"))
    none = Validation([], tokenizer("tiny"), 4, [1])
    watch = GrpoWatch(GrpoConfig(), context, none, tmp_path, 0)
    way = points(lambda s: s / 100, lambda s: 1 - s / 100)
    for end in (30, 40):
        watch._tell([point | {"loss": 0.0, "reward": 0.5} for point in way[:end]])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("arkloom grpo: reward hacking by step 20: ")
    (event,) = [event for event, _ in read_events(tmp_path / "events.jsonl") if event["event"] == "alarm"]
    assert event["reason"] in line
    assert REGISTRY.get_sample_value("arkloom_grpo_reward", {"term": "verifier_reward"}) == 0.6


def test_the_best_step_is_the_earliest_of_the_best() -> None:
    checks = [{"step": s, "accuracy": a} for s, a in ((0, 0.5), (10, 0.9), (20, 0.9), (30, 0.7))]
    assert guards.best_step(checks) == 10
    assert guards.best_step(checks, last=9) == 0
    assert guards.best_step([]) is None


def test_kept_weights_come_back_only_as_they_were_sealed(tmp_path: Path) -> None:
    net, other = model(seed=0), model(seed=1)
    keep(net, tmp_path / "best-3")
    assert restore(other, tmp_path / "best-3")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    content = bytearray((tmp_path / "best-3" / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "best-3" / "weights.safetensors").write_bytes(content)
    assert not restore(other, tmp_path / "best-3")
    assert not restore(other, tmp_path / "best-4")
    assert not checkpoints.intact(tmp_path / "best-3")


SETTINGS = {
    "max_kl": 0.1, "prompts": 8, "completions": 8, "prm_weight": 0.5, "verifier_weight": 0.5, "beta": 0.001,
    "aggregate": "softmin", "advantage": "step", "step_credit": "mean", "temperature": 1.0, "method": "full",
    "learning_rate": 5e-5,
}  # fmt: skip


def told(**change: Any) -> dict[str, Any]:
    history = [
        log(s, kl=0.01 * s, entropy=0.3, prm_reward=0.5, verifier_reward=0.4, dropped=1) for s in (1, 2)
    ]
    way = guards.curve([h | {"completions/mean_length": 40.0} for h in history], 64)
    return {
        "rollouts": 128, "steps": 2, "best_step": 2, "stopped": None, "alarm": None, "dropped_groups": 2,
        "groups": 16, "skipped_steps": 0, "accuracy_start": 0.4, "accuracy_best": 0.9, "prompts": 5,
        "too_long": 0, "settings": SETTINGS, "curve": way,
        "validation": [{"step": s, "rollouts": 64 * s, "accuracy": a} for s, a in ((0, 0.4), (2, 0.9))],
    } | change  # fmt: skip


def test_the_page_shows_rewards_kl_entropy_length_groups_and_accuracy() -> None:
    page = render(told())
    titles = ("Validation accuracy", "Reward terms", "Dropped groups", "Distance from the start")
    for title in (*titles, "Entropy", "Completion length"):
        assert title in page
    assert "Alarm" not in page
    assert page == render(told()), "the same figures give the same bytes"


def test_the_page_tells_alarms_and_leaves_out_what_was_not_measured() -> None:
    way = [point | {"kl": None, "prm_reward": None} for point in told()["curve"]]
    page = render(
        told(alarm="reward <hacking>", stopped="KL 0.2", curve=way, validation=[], accuracy_start=None,
             accuracy_best=None)
    )  # fmt: skip
    assert "Alarm: reward &lt;hacking&gt;." in page
    assert "Stopped early: KL 0.2." in page
    assert "Distance from the start" not in page
    assert "no validation problem" in page
