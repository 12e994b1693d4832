"""Masks, packing, the loss and checkpoints, each against a plain reference."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from arkloom.errors import ArkloomError, BadInputError, ResumeError
from arkloom.jsonl import write_records
from arkloom.records import Message
from arkloom.sft.rows import answer_alone, cut, read_rows
from arkloom.stage import Context
from arkloom.telemetry import Events, Progress
from arkloom.telemetry.metrics import REGISTRY
from arkloom.tiny.tokenizer import build
from arkloom.training import checkpoints
from arkloom.training.encode import Example, encode
from arkloom.training.loss import da, rsft, weighted_nll
from arkloom.training.packing import Layout, Weighted, collate, schedule, spread
from arkloom.training.trainer import Recipe, train
from small_models import model, row, tokenizer

CASES = json.loads((Path(__file__).parent.parent / "cases" / "masks.json").read_text())


def weighted(count: int = 7, answer_weight: float = 1.0) -> list[Weighted]:
    return [rsft(encode(tokenizer("tiny"), row(n)), answer_weight) for n in range(count)]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_masks_cover_exactly_these_tokens(case: dict) -> None:
    target, coder = case["target"], tokenizer(case["tokenizer"])
    messages = [*case["prompt"], ["assistant", target]]
    example = encode(
        coder,
        row(0).model_copy(
            update={
                "messages": tuple(Message(role=role, content=content) for role, content in messages),
                "loss_from": target.index(case["loss_at"]) if "loss_at" in case else 0,
                "answer_from": target.index(case["answer_at"]),
            }
        ),
    )
    for mask, expected in ((example.reasoning, case["reasoning"]), (example.answer, case["answer"])):
        ids = [token for token, covered in zip(example.ids, mask, strict=True) if covered]
        assert coder.decode(ids) == expected
    assert not any(r and a for r, a in zip(example.reasoning, example.answer, strict=True))
    prompt = coder.apply_chat_template(
        [{"role": role, "content": content} for role, content in case["prompt"]],
        tokenize=False,
        add_generation_prompt=case["tokenizer"] == "tiny",
    )
    assert coder.decode(example.ids).startswith(prompt)


def test_the_context_of_a_row_is_what_the_engine_shows_before_it() -> None:
    coder, made = tokenizer("tiny"), row(3)
    chat = [message.model_dump() for message in made.messages[:-1]]
    prompt = coder.apply_chat_template(chat, tokenize=True, add_generation_prompt=True, return_dict=False)
    example = encode(coder, made)
    assert list(example.ids[: len(prompt)]) == prompt
    assert example.trained == len(example.ids) - len(prompt)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answer_from": 999}, "answer_from 999"),
        ({"loss_from": -1}, "loss_from -1"),
        ({"loss_from": 9, "answer_from": 3}, "loss_from 9"),
        ({"messages": ()}, "not the assistant's"),
        ({"messages": (Message(role="user", content="hi"),)}, "not the assistant's"),
        ({"messages": (Message(role="assistant", content=" \n"),), "answer_from": 0}, "empty"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(change: dict, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        encode(tokenizer("tiny"), row(0).model_copy(update=change))


def test_a_template_that_rewrites_the_answer_is_refused() -> None:
    coder = build(512)
    coder.chat_template = "{% for m in messages %}{{ m['content'] | replace('=', ' is ') }}{% endfor %}"
    with pytest.raises(BadInputError, match="does not write the last message as it is"):
        encode(coder, row(0))


WAYS = (1, 3, 3, 3, 2, 2, 1)  # k of seven rows: rows of the same problem


def diverse(chosen: slice = slice(None)) -> list[Example]:
    """Rows with their k; the fourth teaches its answer alone, so rows differ much in length."""
    made = [replace(encode(tokenizer("tiny"), row(n)), k=k) for n, k in enumerate(WAYS)]
    made[3] = replace(encode(tokenizer("tiny"), answer_alone(row(3))), k=WAYS[3])
    return made[chosen]


def da_reference(net: torch.nn.Module, rows: list[Example]) -> torch.Tensor:
    """DA as METHODS writes it, in loops: -Σ_i (1/k_x)(1/T_i) Σ_t log p / Σ_i 1/k_x."""
    total, mass = torch.zeros((), dtype=torch.float64), 0.0
    for one in rows:
        log_p = torch.log_softmax(net(torch.tensor([one.ids])).logits[0], dim=-1)
        of_row, tokens = torch.zeros((), dtype=torch.float64), 0
        for t in range(1, len(one)):
            if one.reasoning[t] or one.answer[t]:
                of_row = of_row + log_p[t - 1, one.ids[t]]
                tokens += 1
        total = total - of_row / tokens / one.k
        mass += 1 / one.k
    return total / mass


def reference(net: torch.nn.Module, rows: list[Weighted]) -> torch.Tensor:
    """The loss of ``rsft`` as its docstring writes it: row by row, token by token."""
    total, mass = torch.zeros((), dtype=torch.float64), 0.0
    for one in rows:
        log_p = torch.log_softmax(net(torch.tensor([one.ids])).logits[0], dim=-1)
        for t in range(1, len(one)):
            total = total - one.weights[t] * log_p[t - 1, one.ids[t]]
        mass += one.mass
    return total / mass


def gradients(net: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    net.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def packed(net: torch.nn.Module, rows: list[Weighted], layout: Layout, passes: int) -> torch.Tensor:
    lengths = [len(one) for one in rows]
    mass = sum(one.mass for one in rows)
    total = torch.zeros((), dtype=next(net.parameters()).dtype)
    for chosen in spread(range(len(rows)), lengths, passes):
        batch = collate([rows[index] for index in chosen], layout)
        fields = {name: batch[name] for name in batch if name not in ("weights", "mass")}
        logits = net(**fields, use_cache=False).logits
        total = total + weighted_nll(logits, batch["input_ids"], batch["weights"]) / mass
    return total


@pytest.mark.parametrize("layout", ["flat", "padded"])
@pytest.mark.parametrize("passes", [1, 3])
def test_batched_loss_and_gradients_equal_the_row_by_row_reference(layout: Layout, passes: int) -> None:
    net, rows = model().double(), weighted(answer_weight=2.5)
    expected = reference(net, rows)
    wanted = gradients(net, expected)
    loss = packed(net, rows, layout, passes)
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=0)
    for name, gradient in gradients(net, loss).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("layout", ["flat", "padded"])
@pytest.mark.parametrize("passes", [1, 3])
def test_da_equals_the_loop_written_reference_however_it_is_packed(layout: Layout, passes: int) -> None:
    net, rows = model().double(), diverse()
    expected = da_reference(net, rows)
    wanted = gradients(net, expected)
    loss = packed(net, [da(one) for one in rows], layout, passes)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)  # weights are held in float32
    for name, gradient in gradients(net, loss).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-5, atol=1e-7, msg=name)


def test_da_weighs_problems_alike_and_long_rows_no_more() -> None:
    for one in diverse():
        told = da(one)
        assert sum(told.weights) == pytest.approx(1 / one.k)
        assert told.mass == pytest.approx(1 / one.k)
        covered = [r or a for r, a in zip(one.reasoning, one.answer, strict=True)]
        assert [w > 0 for w in told.weights] == covered
        assert len({w for w in told.weights if w}) == 1
    three = diverse(slice(1, 4))
    assert sum(da(one).mass for one in three) == pytest.approx(1.0)


@pytest.mark.parametrize("objective", ["rsft", "da"])
def test_flat_equals_padded_in_float32(objective: str) -> None:
    net = model()
    rows = weighted() if objective == "rsft" else [da(one) for one in diverse()]
    flat, padded = (packed(net, rows, layout, 1) for layout in ("flat", "padded"))
    torch.testing.assert_close(flat, padded, rtol=1e-5, atol=1e-5)
    one, other = gradients(net, flat), gradients(net, padded)
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-5, msg=name)


def test_rows_of_a_flat_pass_do_not_see_each_other() -> None:
    net, rows = model(), weighted(3)
    batch = collate(rows, "flat")
    fields = {name: batch[name] for name in ("input_ids", "position_ids")}
    together = net(**fields, use_cache=False).logits[0]
    alone = torch.cat([net(torch.tensor([one.ids])).logits[0] for one in rows])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_answer_weight_moves_only_answer_tokens() -> None:
    example = encode(tokenizer("tiny"), row(1))
    heavy = rsft(example, 3.0)
    assert heavy.weights == tuple(
        3.0 if a else float(r) for r, a in zip(example.reasoning, example.answer, strict=True)
    )
    assert heavy.mass == rsft(example).mass == example.trained


@pytest.mark.parametrize("coder", ["tiny", "other"])
def test_answer_rows_teach_the_answer_alone(coder: str) -> None:
    whole, alone = (encode(tokenizer(coder), r) for r in (row(2), answer_alone(row(2))))
    taught = [token for token, covered in zip(alone.ids, alone.answer, strict=True) if covered]
    assert not any(alone.reasoning)
    assert tokenizer(coder).decode(taught).startswith(answer_alone(row(2)).messages[-1].content)
    assert answer_alone(row(2)).messages[-1].content.startswith("#### ")
    assert answer_alone(row(2)).messages[:-1] == row(2).messages[:-1]
    assert len(alone) < len(whole)


def test_an_answer_row_without_an_answer_is_refused() -> None:
    silent = row(0).model_copy(update={"answer_from": len(row(0).messages[-1].content)})
    with pytest.raises(BadInputError, match="no answer part"):
        answer_alone(silent)


def test_k_counts_the_rows_that_are_left(tmp_path: Path) -> None:
    """A row that is too long, or that the cut drops, leaves its problem the whole weight."""
    long = row(9).model_copy(
        update={
            "messages": (
                *row(9).messages[:-1],
                row(9)
                .messages[-1]
                .model_copy(update={"content": "1+1=2\n" * 60 + row(9).messages[-1].content}),
            ),
            "answer_from": 999,
        }
    )
    long = long.model_copy(update={"answer_from": len(long.messages[-1].content) - 5})
    rows = [row(1), row(2), long, row(3)]
    problems = ["a", "a", "a", "b"]
    made = [r.model_copy(update={"problem_id": p, "k": 3}) for r, p in zip(rows, problems, strict=True)]
    write_records(tmp_path / "da.jsonl", made)
    found = read_rows(tmp_path / "da.jsonl", tokenizer("tiny"), 128, "da")
    assert [one.k for one in found.examples] == [2, 2, 1]
    assert found.too_long == 1
    for seed in range(4):
        kept = cut(found, 2, seed)
        assert sum(1 / one.k for one in kept.examples) == pytest.approx(len(set(kept.problems)))


def make_context() -> Context:
    return Context(Progress(quiet=True), Events())


def recipe(**change: float) -> Recipe:
    settings = {"learning_rate": 1e-3, "warmup_ratio": 0.1, "weight_decay": 0.0, "checkpoint_steps": 2}
    return Recipe(**(settings | change), seed=0, device="cpu")


def run_training(scratch: Path, tokens: int = 8192, **change: float) -> tuple[torch.nn.Module, list[dict]]:
    net, rows = model(), weighted()
    plan = schedule([len(one) for one in rows], 3, 2, 0, "padded", tokens)
    return net, train(net, rows, plan, "padded", recipe(**change), scratch, make_context())


def test_the_loss_of_a_step_is_normalised_over_all_its_passes(tmp_path: Path) -> None:
    net, rows = model().double(), weighted()
    plan = schedule([len(one) for one in rows], 3, 2, 0, "padded", tokens=80)
    assert plan.passes > 1
    first = [rows[index] for batch in plan.batches[: plan.passes] for index in batch]
    _, curve = run_training(tmp_path, tokens=80)
    assert curve[0]["loss"] == pytest.approx(reference(net, first).item(), rel=1e-5)


def test_passes_change_neither_losses_nor_weights(tmp_path: Path) -> None:
    one, curve = run_training(tmp_path / "one")
    many, other = run_training(tmp_path / "many", tokens=80)
    assert [p["loss"] for p in curve] == pytest.approx([p["loss"] for p in other], rel=1e-4)
    for (name, a), b in zip(one.named_parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5, msg=name)


def test_a_training_of_one_step_learns(tmp_path: Path) -> None:
    net, rows = model(), weighted(1)
    plan = schedule([len(rows[0])], 8, 1, 0, "padded")
    (point,) = train(net, rows, plan, "padded", recipe(warmup_ratio=0.03), tmp_path, make_context())
    assert point["learning_rate"] == pytest.approx(1e-3)
    assert reference(net, rows).item() < point["loss"]


def test_training_told_to_stop_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, curve = run_training(tmp_path / "whole")
    rows, context = weighted(), make_context()
    plan = schedule([len(one) for one in rows], 3, 2, 0, "padded")
    context.stop.set()
    for step in range(1, plan.steps):  # told to stop at every step: one step a process
        with pytest.raises(ResumeError):
            train(model(seed=step - 1), rows, plan, "padded", recipe(), tmp_path / "parts", context)
        latest = checkpoints.latest(tmp_path / "parts")
        assert latest is not None
        assert checkpoints.step_of(latest) == step
    net = model(seed=99)
    assert train(net, rows, plan, "padded", recipe(), tmp_path / "parts", make_context()) == curve
    for (name, a), b in zip(whole.named_parameters(), net.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert len(list((tmp_path / "parts").glob("checkpoint-*"))) == 2


def test_a_loss_that_is_not_finite_ends_training_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArkloomError, match=r"^training: the loss is nan at step \d+"):
        run_training(tmp_path, learning_rate=1e30)


def tear_seal(folder: Path) -> None:
    (folder / checkpoints.SEAL).unlink()


def tear_seal_in_half(folder: Path) -> None:
    text = (folder / checkpoints.SEAL).read_text()
    (folder / checkpoints.SEAL).write_text(text[: len(text) // 2])


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def cut_a_file(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes((folder / "optimizer.pt").read_bytes()[:-9])


def lose_a_file(folder: Path) -> None:
    (folder / "rng_state.pth").unlink()


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    run_training(folder)
    assert sorted(f.name for f in folder.iterdir()) == ["checkpoint-4", "checkpoint-6"]
    return folder


@pytest.mark.parametrize("tear", [tear_seal, tear_seal_in_half, flip_a_bit, cut_a_file, lose_a_file])
def test_a_torn_checkpoint_is_skipped_and_removed(
    two_checkpoints: Path, tmp_path: Path, tear: Callable[[Path], None]
) -> None:
    root = tmp_path / "scratch"
    shutil.copytree(two_checkpoints, root)
    tear(root / "checkpoint-6")
    assert checkpoints.latest(root) == root / "checkpoint-4"
    assert not (root / "checkpoint-6").exists()


@pytest.mark.parametrize(
    "error", [SafetensorError("I/O error: No space left on device"), RuntimeError("No space left on device")]
)
def test_a_full_disk_is_told_as_such_whatever_the_library_says(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(OSError, match="No space left") as caught, checkpoints.writing(tmp_path):
        raise error
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(RuntimeError, match="shapes differ"), checkpoints.writing(tmp_path):
        raise RuntimeError("shapes differ")


def test_what_a_checkpoint_holds_reads_back_without_pickle(two_checkpoints: Path) -> None:
    folder = two_checkpoints / "checkpoint-6"
    binary = {file.name for file in folder.iterdir() if file.suffix in (".pt", ".pth", ".bin")}
    assert binary == {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.load(folder / name, weights_only=True)


def test_the_loss_is_told_to_the_registry_and_the_progress(tmp_path: Path) -> None:
    _, curve = run_training(tmp_path)
    assert REGISTRY.get_sample_value("arkloom_train_loss", {"stage": "sft"}) == curve[-1]["loss"]
    assert REGISTRY.get_sample_value("arkloom_train_step", {"stage": "sft"}) == len(curve)
