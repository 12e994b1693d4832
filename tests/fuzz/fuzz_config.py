"""Configurations to fuzz: files of YAML, and assignments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fuzz_rows as rows
import yaml
from fuzz_texts import Maker, bytes_of, file_of

from arkloom.config import load


def make(maker: Maker) -> list[Any]:
    rng = maker.rng
    if rng.random() < 0.2:
        return ["file", bytes_of(maker, maker.text(20))]
    if rng.random() < 0.4:
        return ["set", [_assignment(maker) for _ in range(rng.randint(1, 2))]]
    tree = maker.altered(maker.row())
    try:
        text = yaml.safe_dump(tree, default_flow_style=rng.random() < 0.3, allow_unicode=True)
    except (yaml.YAMLError, ValueError):
        text = json.dumps(tree)[:10_000]
    text = text.replace("'@@DEEP@@'", "[" * rng.choice([5, 5, 30, 400])).replace("'@@HUGE@@'", "9" * 5_000)
    text = text.replace("'@@TWICE@@'", _bomb(rng.randint(2, 12)))
    return ["file", bytes_of(maker, maker.changed(text) if rng.random() < 0.5 else text)]


def _bomb(levels: int) -> str:
    """Aliases of aliases: few bytes, nine to the power of ``levels`` values."""
    inner = "&a0 [x]"
    for level in range(1, levels):
        inner = f"&a{level} [{inner}{f', *a{level - 1}' * 8}]"
    return inner


def _assignment(maker: Maker) -> str:
    text = maker.rng.choice(rows.settings())
    key, _, value = text.partition("=")
    way = maker.rng.randrange(4)
    value = [maker.text(3), maker.changed(value), maker.json(maker.value()), _bomb(maker.rng.randint(2, 12))][
        way
    ]
    return maker.changed(f"{key}={value}") if maker.rng.random() < 0.3 else f"{key}={value}"


def read(given: list[Any], folder: Path) -> None:
    way, content = given
    if way == "set":
        config = load("smoke", overrides=content)
    else:
        config = load(file=file_of(content, folder / "config.yaml"))
    assert config.digest(["debate", "models", "problems"])
    assert load().override([f"seed={config.seed}"])
