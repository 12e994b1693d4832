"""A store with prompts and problems, and the stage `grpo` on it: in this process or in one to be killed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arkloom.config import RunConfig, load
from arkloom.grpo.stage import STAGE
from arkloom.jsonl import write_records
from arkloom.problems import arithmetic
from arkloom.records import Problem, PromptRow
from arkloom.stage import Context, execute, main
from arkloom.store import ABSENT, Manifest
from arkloom.store.local import LocalStore
from arkloom.telemetry import Events, Progress

SETTINGS = {
    "prompts.profile": "tiny",
    "prompts.layout": "shared",
    "models.student.dtype": "float32",
    "grpo.method": "full",
    "grpo.learning_rate": "3e-4",
    "grpo.steps": "2",
    "grpo.prompts": "2",
    "grpo.completions": "4",
    "grpo.max_tokens": "48",
    "grpo.prm_weight": "0",
    "grpo.verifier_weight": "1",
    "grpo.validate_every": "4",
    "grpo.checkpoint_steps": "2",
    "runtime.threads": "1",
}


class Digits:
    """An answer type that a tiny model learns in a few steps: how high the digits are that it writes."""

    name, version, threshold = "digits", "1", 0.6

    def extract(self, text: str) -> str | None:
        return text or None

    def score(self, answer: str, gold: str) -> float:
        found = [int(sign) for sign in answer if sign in "0123456789"]
        return sum(found) / (9 * len(found)) if found else 0.0

    def same(self, a: str, b: str) -> bool:
        return a == b


DIGITS = Digits()
QUICK = {
    "problems.answer_type": "grpo_bench:DIGITS",
    "grpo.max_tokens": "10",
    "grpo.temperature": "2.0",
    "grpo.learning_rate": "1e-3",
    "grpo.warmup_ratio": "0",
    "grpo.max_kl": "10",
}


@dataclass(frozen=True)
class Bench:
    """A store with a rows artifact that holds prompts and a problems artifact that holds validation."""

    store: Path
    prompts: str
    problems: str

    def settings(self, overrides: Mapping[str, str]) -> list[str]:
        settings = {"store.root": str(self.store)} | SETTINGS | dict(overrides)
        return [f"{name}={value}" for name, value in settings.items()]

    def config(self, **overrides: str) -> RunConfig:
        return load(overrides=self.settings(overrides))

    def make(self, overrides: Mapping[str, str] | None = None, **ports: str) -> Manifest:
        """Run the stage in this process."""
        store, given = LocalStore(self.store), {"prompts": self.prompts, "problems": self.problems} | ports
        parents = {port: store.open(uri).manifest for port, uri in given.items()}
        config = load(overrides=self.settings(overrides or {}))
        return execute(STAGE, config, parents, store, Context(Progress(quiet=True), Events()))

    def arguments(self, overrides: Mapping[str, str]) -> list[str]:
        """The command line of the stage, after ``python -m arkloom.grpo``."""
        ports = [f"prompts={self.prompts}", f"problems={self.problems}"]
        given = [part for port in ports for part in ("--input", port)]
        return given + [part for setting in self.settings(overrides) for part in ("--set", setting)]


def sums(count: int, seed: int = 0) -> list[Problem]:
    """Arithmetic problems of the kind that the tiny model knows in part."""
    drawn = arithmetic.generate(arithmetic.SUM, 0, 9, seed)
    return [
        Problem(dataset="arithmetic", split="train", question=question, gold=str(value))
        for question, value in itertools.islice(drawn, count)
    ]


def digits(count: int, seed: int = 0) -> list[Problem]:
    """The same questions, judged by the digits of the answer."""
    return [problem.model_copy(update={"answer_type": "grpo_bench:DIGITS"}) for problem in sums(count, seed)]


def bench(root: Path, prompts: Sequence[Problem], validation: Sequence[Problem] = ()) -> Bench:
    """A bench on these problems."""
    store = LocalStore(root)
    rows = store.workspace("filter", "a" * 64)
    write_records(rows.folder / "prompts.jsonl", [PromptRow(problem=problem) for problem in prompts])
    problems = store.workspace("prepare", "b" * 64)
    write_records(problems.folder / "validation.jsonl", validation)
    return Bench(
        root,
        rows.publish("rows", parents={}, metrics={}).uri,
        problems.publish("problems", parents={}, metrics={}).uri,
    )


def absent(root: Path, stage: str, reason: str) -> str:
    """An artifact that says why it is not there; returns its uri."""
    return (
        LocalStore(root).workspace(stage, "c" * 64).publish(ABSENT, parents={}, metrics={}, reason=reason).uri
    )


def files(manifest: Manifest) -> Path:
    assert not manifest.absent, manifest.reason
    return Path(manifest.uri.removeprefix("file://"))


def process(arguments: list[str]) -> None:
    """What a process of the stage does, to its exit code."""
    sys.exit(main(STAGE, arguments))
