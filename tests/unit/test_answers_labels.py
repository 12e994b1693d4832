"""The grader against people's labels: four models' solutions of 660 GSM8K problems."""

from __future__ import annotations

import json
from pathlib import Path

from arkloom.answers import extract, grade

# Solutions whose label the grader does not share: (row, model) and why. There is none.
EXCEPTIONS: dict[tuple[int, str], str] = {}


def test_agrees_with_every_label(shared_data: Path):
    lines = (shared_data / "gsm8k" / "example_model_solutions_part1.jsonl").read_text("utf-8").splitlines()
    labels, disagree = 0, set()
    for row, line in enumerate(lines):
        problem = json.loads(line)
        gold = problem["ground_truth"].rsplit("A:", 1)[1].strip()
        for model, judged in problem.items():
            if isinstance(judged, dict):
                labels += 1
                correct = grade(extract(judged["solution"], "number"), gold, "number")
                if correct != judged["is_correct"]:
                    disagree.add((row, model))
    assert labels == 2640
    assert disagree == EXCEPTIONS.keys()
