"""The likelihood of held-out traces: equal to a loop over single traces, whatever the batches."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from test_evaluate_figures import debate

from arkloom.engines.models import model_folder
from arkloom.evaluate import likelihood as under_test
from arkloom.evaluate.likelihood import Likelihood, held_out_traces, likelihood
from arkloom.prompts import Prompts
from arkloom.training.encode import encode
from arkloom.training.student import load
from small_models import model_at, row

PROMPTS = Prompts("tiny", "shared")


def by_loop(folder: Path, numbers: range) -> tuple[float, int]:
    student = load(folder)
    total, tokens = 0.0, 0
    for number in numbers:
        example = encode(student.tokenizer, row(number))
        with torch.inference_mode():
            logits = student.model(input_ids=torch.tensor([example.ids])).logits[0].double()
        told = torch.log_softmax(logits, -1)
        for place, counted in enumerate(zip(example.reasoning, example.answer, strict=True)):
            if any(counted):
                total -= float(told[place - 1, example.ids[place]])
                tokens += 1
    return total, tokens


@pytest.mark.parametrize("name", ["tiny", "other"])
@pytest.mark.parametrize("most", [80, 8192])
def test_batches_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    folder = model_at(tmp_path, name)
    monkeypatch.setattr(under_test._batches, "__defaults__", (most,))
    found = likelihood(folder, [row(number) for number in range(7)], "cpu", 1)
    total, tokens = by_loop(folder, range(7))
    assert (found.tokens, found.traces) == (tokens, 7)
    assert found.total == pytest.approx(total, rel=1e-5)


def test_the_shipped_model_expects_its_own_kind_of_trace() -> None:
    def swapped(number: int) -> str:
        return row(number).messages[-1].content.replace("=", "*")

    plain = [row(number) for number in range(4)]
    odd = [
        one.model_copy(
            update={
                "messages": (
                    one.messages[0],
                    one.messages[1].model_copy(update={"content": swapped(number)}),
                ),
                "answer_from": 0,
            }
        )
        for number, one in enumerate(plain)
    ]
    folder = model_folder("tiny")
    usual, strange = (likelihood(folder, rows, "cpu", 1).json()["nll"] for rows in (plain, odd))
    assert usual < strange


def test_traces_are_right_whole_and_of_the_last_round() -> None:
    told = [
        debate(1, ["7", "7", "7"], ["5", "7", "5"]),
        debate(2, ["7", "7", "7"], ["5", "5", "5"]),
        debate(3, ["7", "7", "7"], error=True),
    ]
    (only,) = held_out_traces(told, PROMPTS)
    assert (only.source.round, only.source.agent) == (1, 1)
    assert [message.role for message in only.messages] == ["user", "assistant"]
    assert only.messages[0].content == told[0].question, "asked alone: no peers, no persona"
    cut = told[0].turns[4].model_copy(update={"finish_reason": "length"})
    record = told[0].model_copy(update={"turns": (*told[0].turns[:4], cut, told[0].turns[5])})
    assert held_out_traces([record], PROMPTS) == []


def test_every_agent_speaks_in_turn() -> None:
    rows = held_out_traces([debate(number, ["7", "7", "7"]) for number in range(9)], PROMPTS)
    assert sorted(row.source.agent for row in rows) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_what_does_not_fit_is_left_out(tmp_path: Path) -> None:
    long = row(0).messages[1].content * 60
    rows = [row(1), row(2).model_copy(update={"messages": (row(2).messages[0], row(2).messages[0])})]
    rows.append(
        row(3).model_copy(
            update={"messages": (row(3).messages[0], row(3).messages[1].model_copy(update={"content": long}))}
        )
    )
    assert likelihood(model_at(tmp_path), rows, "cpu", 1).traces == 1


@pytest.mark.parametrize(
    ("total", "tokens", "nll", "ppl"),
    [
        (10.0, 5, 2.0, round(math.exp(2), 6)),
        (0.0, 0, None, None),
        (5000.0, 5, 1000.0, None),
        (math.inf, 5, None, None),
    ],
)
def test_figures_are_finite_or_none(total: float, tokens: int, nll: float | None, ppl: float | None) -> None:
    told = Likelihood(total, tokens, 1).json()
    assert (told["nll"], told["ppl"]) == (nll, ppl)
