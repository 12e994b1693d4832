"""The shipped society does what its recipe says, and a killed training goes on where it stood."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from arkloom.errors import BadInputError
from arkloom.tiny import train as training
from arkloom.tiny import weights
from arkloom.tiny.__main__ import main
from arkloom.tiny.check import check
from arkloom.tiny.report import table

pytestmark = pytest.mark.chain
QUICK = {"free_steps": 20, "direct_batch": 4, "debate_batch": 2, "warm_up": 5}


class Killed(Exception):
    """Stands for a kill between two steps."""


def weights_of(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("last", [35, 47], ids=["first part", "second part"])
def test_a_resumed_training_ends_with_the_same_weights(tmp_path, monkeypatch, last):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 20)
    recipe = training.Recipe(steps=40, **QUICK)
    training.train(tmp_path / "whole", recipe, threads=1)
    steps, real = 0, training._step

    def dies(run, batch, rate):
        nonlocal steps
        steps += 1
        if steps > last:
            raise Killed
        return real(run, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_step", dies)
        with pytest.raises(Killed):
            training.train(tmp_path / "killed", recipe, threads=1)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    training.train(tmp_path / "killed", recipe, threads=1)
    whole, resumed = weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not (tmp_path / "killed" / "checkpoint").exists()


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 20)
    real = training._step
    taken = []

    def dies_late(run, batch, rate):
        taken.append(rate)
        if len(taken) > 25:
            raise Killed
        return real(run, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_step", dies_late)
        with pytest.raises(Killed):
            training.train(tmp_path, training.Recipe(steps=40, **QUICK), threads=1)
    with pytest.raises(BadInputError, match="another recipe"):
        training.train(tmp_path, training.Recipe(steps=40, seed=8, **QUICK), threads=1)


@pytest.mark.parametrize("steps", [0, 19, 30])
def test_odd_numbers_of_steps_are_bad_input(tmp_path, capsys, steps):
    assert main(["train", "--out", str(tmp_path), "--steps", str(steps)]) == 2
    assert "Give a positive multiple of 20" in capsys.readouterr().err


def test_checking_a_folder_without_tokenizer_is_bad_input(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main(["check", "--model", str(tmp_path), "--problems", "1"]) == 2
    assert "without tokenizer" in capsys.readouterr().err


def test_the_learning_rate_is_held_for_half_of_the_first_part_whatever_its_length():
    short, long = training.Recipe(steps=400), training.Recipe(steps=800)
    assert [training.rate(short, step) for step in range(200)] == [
        training.rate(long, step) for step in range(200)
    ]
    assert training.rate(short, 150) == short.learning_rate
    assert training.rate(short, 399) < 0.01 * short.learning_rate
    assert training.rate(short, 400) < 0.01 * short.learning_rate  # the second part warms up again
    assert max(training.rate(short, step) for step in range(400, short.total)) <= short.learning_rate / 2
    assert training.rate(short, short.total - 1) < 0.01 * short.learning_rate


def test_the_shipped_weights_are_small():
    assert sum(file.stat().st_size for file in weights().iterdir()) <= 8 * 2**20


@pytest.mark.timeout(600)
def test_the_shipped_society_passes_the_causal_check():
    """Small numbers of problems, so the limits leave room for chance; the full check is a command."""
    found = check(weights(), problems=30, seed=5)
    assert 0.25 <= found["base"] <= 0.65
    assert min(found["well_formed"].values()) >= 0.9
    for shown in found["layouts"].values():
        assert shown["right"] >= shown["alone"] + 0.3
        assert shown["other_problems"] <= shown["alone"] + 0.05
        assert shown["debate"]["vote"][-1] >= found["base"] + 0.25
        for told in shown["lies"].values():
            assert told["accuracy"] <= shown["alone"]
            assert told["follow_answer"] >= 0.5
    text = table(found)
    assert "right peers" in text
    assert "peers agree on a uniform value" in text
