"""The PRM's loss against a reference written with loops, and the two phases of its training."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from arkloom.config import PrmConfig
from arkloom.errors import ArkloomError
from arkloom.prm.traces import Trace, by_problem
from arkloom.prm.training import free, optimiser, plans, rate, train
from arkloom.stage import Context
from arkloom.steps.contrastive import Counts, Steps, contrastive, loss
from arkloom.steps.model import Encoded, Prm, head, last_block
from arkloom.telemetry import Events, Progress
from small_models import model_at
from step_rows import step_row

TAU, BCE = 0.1, 0.5


def reference(logits: list[float], labels: list[int], problems: list[int]) -> float:
    """The whole loss in plain Python floats (64 bits), a loop a sum."""
    scores = [1 / (1 + math.exp(-value)) for value in logits]
    terms = []
    for p, label in enumerate(labels):
        negatives = [n for n in range(len(labels)) if problems[n] == problems[p] and labels[n] == 0]
        if label == 1 and negatives:
            own = math.exp(scores[p] / TAU)
            against = sum(math.exp(scores[n] / TAU) for n in negatives)
            terms.append(-math.log(own / (own + against)))
    entropy = 0.0
    for score, label in zip(scores, labels, strict=True):
        entropy -= math.log(score) if label else math.log(1 - score)
    return (sum(terms) / len(terms) if terms else 0.0) + BCE * entropy / len(labels)


def steps(labels: list[int], problems: list[int]) -> Steps:
    told = torch.tensor(labels, dtype=torch.float32)
    return Steps(told, torch.tensor(problems), told == 0)


def total(logits: torch.Tensor, labels: list[int], problems: list[int]) -> torch.Tensor:
    known = steps(labels, problems)
    return loss(logits, known, known.counts(), TAU, BCE)[0]


CASES = {
    "three problems": ([1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 1, 1, 2, 2]),
    "no negatives": ([1, 1, 1], [0, 0, 1]),
    "no positives": ([0, 0], [0, 1]),
    "negatives of other problems only": ([1, 1, 0], [0, 0, 1]),
    "one step": ([1], [0]),
}


@pytest.mark.parametrize(("labels", "problems"), CASES.values(), ids=CASES.keys())
def test_loss_and_gradient_equal_a_reference_written_with_loops(
    labels: list[int], problems: list[int]
) -> None:
    draw = random.Random(5)
    values = [draw.uniform(-3, 3) for _ in labels]
    logits = torch.tensor(values, requires_grad=True)
    found = total(logits, labels, problems)
    found.backward()
    assert found.item() == pytest.approx(reference(values, labels, problems), abs=1e-5)
    h = 1e-5
    for index in range(len(values)):
        up, down = (
            reference([v + sign * h * (i == index) for i, v in enumerate(values)], labels, problems)
            for sign in (1, -1)
        )
        assert float(logits.grad[index]) == pytest.approx((up - down) / (2 * h), abs=1e-5)


def test_without_negatives_only_the_cross_entropy_is_left() -> None:
    logits = torch.tensor([0.3, -0.2])
    known = steps([1, 1], [0, 0])
    whole, against, entropy = loss(logits, known, known.counts(), TAU, BCE)
    assert against == 0
    assert whole == pytest.approx(BCE * float(entropy))
    assert known.counts() == Counts(labelled=2, positives=2, opposed=0)


def test_negatives_of_another_problem_do_not_count() -> None:
    known = steps([1, 0, 1, 0], [0, 0, 1, 1])
    alone = steps([1, 0], [0, 0])
    scores = torch.tensor([0.7, 0.4, 0.2, 0.9])
    parts = contrastive(scores[:2], alone, TAU) + contrastive(scores[2:], alone, TAU)
    assert contrastive(scores, known, TAU) == pytest.approx(float(parts), rel=1e-6)


def test_only_drawn_negatives_count() -> None:
    labels = torch.tensor([1.0, 0.0, 0.0])
    scores, problems = torch.tensor([0.7, 0.4, 0.9]), torch.zeros(3, dtype=torch.long)
    drawn = Steps(labels, problems, torch.tensor([False, True, False]))
    alone = Steps(labels[:2], problems[:2], labels[:2] == 0)
    assert contrastive(scores, drawn, TAU) == contrastive(scores[:2], alone, TAU)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_at(tmp_path_factory.mktemp("prm") / "base")


def traces(prm: Prm, count: int) -> list[Trace]:
    rows = [step_row(number) for number in range(count)]
    return [Trace(row.content_hash, prm.encode(row), row.labels, row.correct) for row in rows]


def grads(prm: Prm) -> dict[str, torch.Tensor]:
    return {name: w.grad.clone() for name, w in prm.model.named_parameters() if w.grad is not None}


def labelled(found: list[Trace]) -> Steps:
    labels = [label for trace in found for label in trace.known]
    names = sorted({trace.problem for trace in found})
    return steps(labels, [names.index(trace.problem) for trace in found for _ in trace.known])


def test_batched_is_row_by_row_in_loss_and_gradient(base: Path) -> None:
    prm = Prm.new(base)
    found = traces(prm, 9)
    assert len({len(trace) for trace in found}) > 1, "rows of one length need no padding"
    known = labelled(found)

    def run(logits: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
        prm.model.zero_grad()
        value = loss(logits, known, known.counts(), TAU, BCE)[0]
        value.backward()
        return float(value.detach()), grads(prm)

    rows = [trace.labelled for trace in found]
    together, first = run(prm.logits(rows))
    apart, second = run(torch.cat([prm.logits([row]) for row in rows]))
    assert together == pytest.approx(apart, abs=1e-5)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, second[name], atol=1e-5, rtol=1e-5)


def test_the_parts_of_an_optimiser_step_add_up(base: Path) -> None:
    prm = Prm.new(base)
    found = traces(prm, 9)
    groups = by_problem(found)
    whole = labelled(found)
    with torch.no_grad():
        logits = prm.logits([trace.labelled for trace in found])
        expected = loss(logits, whole, whole.counts(), TAU, BCE)[0]
        parts = [
            loss(
                prm.logits([trace.labelled for trace in group]),
                labelled(list(group)),
                whole.counts(),
                TAU,
                BCE,
            )[0]
            for group in groups
        ]
    assert float(sum(parts)) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("phase", ["head", "full"])
def test_a_phase_moves_its_weights_and_no_others(base: Path, phase: str) -> None:
    prm = Prm.new(base)
    learning = free(prm.model, phase)  # type: ignore[arg-type]
    found = traces(prm, 4)
    known = labelled(found)
    loss(prm.logits([trace.labelled for trace in found]), known, known.counts(), TAU, BCE)[0].backward()
    top = {f"score.{name}" for name, _ in head(prm.model).named_parameters()}
    block = {id(weight) for weight in last_block(prm.model).parameters()}
    expected = top | {name for name, w in prm.model.named_parameters() if id(w) in block or phase == "full"}
    moved = {name for name, gradient in grads(prm).items() if gradient.abs().sum() > 0}
    assert moved == expected
    assert {id(w) for w in learning} == {id(dict(prm.model.named_parameters())[name]) for name in expected}


def test_every_weight_that_learns_is_in_the_optimiser_the_head_too(base: Path) -> None:
    prm = Prm.new(base)
    for phase in ("head", "full"):
        learning = free(prm.model, phase)
        adam = optimiser(learning, PrmConfig())
        held = {id(weight) for group in adam.param_groups for weight in group["params"]}
        assert held == {id(w) for w in learning}
        assert {id(w) for w in head(prm.model).parameters()} <= held
        assert adam.param_groups[0]["weight_decay"] == 0.1
        assert adam.defaults["betas"] == (0.9, 0.95)


def settings(**values: object) -> PrmConfig:
    phase = {"learning_rate": 1e-2, "epochs": 1}
    return PrmConfig.model_validate(
        {"head": phase, "full": phase, "batch_problems": 2, "checkpoint_steps": 2, **values}
    )


def context() -> Context:
    return Context(Progress(quiet=True), Events(None))


def test_training_runs_both_phases_in_order_and_moves_everything(base: Path, tmp_path: Path) -> None:
    prm = Prm.new(base)
    before = {name: w.clone() for name, w in prm.model.state_dict().items()}
    problems = by_problem(traces(prm, 12))
    curve = train(prm, problems, settings(), 0, tmp_path, context())
    assert [point["phase"] for point in curve] == ["head"] * 2 + ["full"] * 2
    assert all(0 < point["with_negatives"] <= 1 for point in curve)
    after = prm.model.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_the_first_phase_leaves_the_rest_as_it_was(base: Path, tmp_path: Path) -> None:
    prm = Prm.new(base)
    before = {name: w.clone() for name, w in prm.model.state_dict().items()}
    only = settings(full={"learning_rate": 1e-2, "epochs": 0})
    train(prm, by_problem(traces(prm, 8)), only, 0, tmp_path, context())
    after = prm.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith(("model.layers.1.", "score."))}


def test_a_batch_holds_whole_problems(base: Path) -> None:
    problems = by_problem(traces(Prm.new(base), 12))
    for plan in plans(problems, settings(), 0):
        drawn = [index for batch in plan.schedule.batches for index in batch]
        assert sorted(drawn) == list(range(len(problems)))


def unlike(prm: Prm) -> list[tuple[Trace, ...]]:
    """Problems of many short traces, and one of a single long one."""
    found = by_problem([*traces(prm, 12), *traces(prm, 12), *traces(prm, 12)])
    last = found[-1][0]
    long = Encoded(last.encoded.ids * 9, last.encoded.ends)
    return [*found, (Trace("long", Encoded(long.ids, (*long.ends[:-1], len(long) - 1)), last.labels),)]


def test_a_problem_is_scheduled_as_large_as_it_is_padded() -> None:
    """Two traces of 30 and 2,000 tokens take 4,000: three such problems are over a pass of 8,192."""
    short = Trace("a", Encoded(tuple(range(30)), (29,)), (1,))
    long = Trace("a", Encoded(tuple(range(2000)), (1999,)), (1,))
    (plan, _) = plans([(short, long)] * 4, settings(batch_problems=4), 0)
    assert sorted(map(len, plan.schedule.batches)) == [2] * len(plan.schedule.batches)


def test_no_forward_is_larger_than_its_room_and_the_loss_is_the_same(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves, largest = [], []
    for room in (10**6, 1):
        monkeypatch.setattr("arkloom.prm.training.FORWARD_TOKENS", room)
        prm, seen = Prm.new(base), list[int]()
        prm.model.register_forward_pre_hook(
            lambda _, __, given, seen=seen: seen.append(given["input_ids"].numel()), with_kwargs=True
        )
        problems = unlike(prm)
        curves.append(train(prm, problems, settings(), 0, tmp_path / str(room), context()))
        largest.append(max(seen))
    most = max(len(problem) * max(map(len, problem)) for problem in problems)
    assert largest[1] <= most < largest[0]
    losses = [[point["loss"] for point in curve] for curve in curves]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_loss_that_is_not_finite_is_one_clear_line(base: Path, tmp_path: Path) -> None:
    prm = Prm.new(base)
    with torch.no_grad():
        next(part for part in prm.model.modules() if isinstance(part, nn.Linear)).weight.fill_(math.nan)
    with pytest.raises(ArkloomError, match=r"the loss is nan.* at step 1"):
        train(prm, by_problem(traces(prm, 4)), settings(), 0, tmp_path, context())


def test_the_rate_warms_up_and_decays() -> None:
    rates = [rate(step, 100, 0.1) for step in range(100)]
    assert rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.1
    assert 0 < rates[-1] < 1e-3
