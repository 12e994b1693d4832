"""Sampling noise, hidden thinking and scripts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arkloom import config as configs
from arkloom.engines import gumbel, open_engine
from arkloom.engines.scripted import read_scripts
from arkloom.engines.thinking import split_thinking
from arkloom.errors import BadInputError


@pytest.mark.parametrize(
    ("text", "opened", "said", "thinking"),
    [
        ("4", False, "4", None),
        ("<think>2+2</think>4", False, "4", "2+2"),
        ("2+2</think>\n4", True, "4", "2+2"),
        ("<think>a</think>b<think>c</think>d", False, "d", "ab c".replace(" ", "")),
        ("<think>cut", False, "", "cut"),
        ("cut", True, "", "cut"),
    ],
)
def test_split_thinking(text: str, opened: bool, said: str, thinking: str | None) -> None:
    assert split_thinking(text, opened) == (said, thinking)


def test_noise_is_a_function_of_seed_position_and_token() -> None:
    key = gumbel.keys([3, 3, 4], [0, 1, 0])
    assert len(set(key.tolist())) == 3
    alone = [gumbel.noise(key[:1], [token])[0] for token in range(50)]
    together = gumbel.noise(np.repeat(key[:1], 50), np.arange(50))
    assert alone == together.tolist()
    assert together.dtype == np.float32


def test_noise_is_gumbel() -> None:
    key = gumbel.keys(np.arange(500), np.zeros(500))
    noise = gumbel.noise(np.repeat(key, 500), np.tile(np.arange(500), 500))
    assert noise.mean() == pytest.approx(0.5772, abs=0.02)
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=0.03)
    assert noise.max() - noise.min() < gumbel.SPREAD


def test_choices_follow_the_softmax() -> None:
    scores = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    draws = 20_000
    rows = np.repeat(np.arange(draws), 3)
    tokens, keys = np.tile(np.arange(3), draws), gumbel.keys(np.arange(draws), np.zeros(draws))
    chosen = gumbel.choose(rows, tokens, np.tile(scores, draws), keys)
    assert np.bincount(chosen) / draws == pytest.approx([0.5, 0.3, 0.2], abs=0.02)


def test_nucleus_keeps_the_likeliest_until_the_mass_is_reached() -> None:
    scores = np.log(np.array([0.1, 0.5, 0.15, 0.25] * 2, np.float32))
    rows = np.repeat(np.arange(2), 4)
    keep = gumbel.nucleus(rows, scores, np.zeros(2, np.float32), np.array([0.6, 1.0], np.float32))
    assert keep.tolist() == [False, True, False, True] + [True] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "not JSON"),
        ('[{"answer": ["1"]}]', "answers"),
        ('[{"match": "(", "answers": ["1"]}]', "regular expression"),
        ('[{"match": "x", "answers": []}]', "no answers"),
    ],
)
def test_a_bad_script_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "script.json"
    file.write_text(text)
    with pytest.raises(BadInputError, match=message) as caught:
        read_scripts(file)
    assert str(file) in caught.value.line()


def test_scripted_engine_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no script"):
        open_engine(configs.load("smoke", None, ["engine=scripted"]), configs.ModelConfig())
    file = tmp_path / "script.json"
    file.write_text(json.dumps([{"match": "1", "answers": ["#### 2"]}]))
    config = configs.load("smoke", None, ["engine=scripted", f"runtime.scripted={file}", "runtime.slots=3"])
    assert open_engine(config, config.models.teacher).slots == 3
