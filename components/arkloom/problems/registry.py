"""Every source of problems by the name that ``problems.source`` gives it."""

from __future__ import annotations

from arkloom.problems.gsm8k import GSM8K
from arkloom.problems.math import MATH
from arkloom.problems.mcq import MCQ
from arkloom.problems.rows import Source
from arkloom.problems.table import CSV, JSONL

SOURCES: dict[str, Source] = {source.name: source for source in (GSM8K, MATH, MCQ, JSONL, CSV)}
