"""Teacher, student and PRM with vocabularies of their own: text crosses between stages, ids never do.

The student is the shipped tiny model under other ids, with tokens it never uses and special tokens of
other names, so whatever depends on ids or on the teacher's chat template breaks, and nothing else changes.
The PRM begins from a model of a third vocabulary, whose tokens span several characters.
"""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from arkloom.chains.distill import distill
from arkloom.config import load
from arkloom.engines.models import model_folder
from arkloom.grpo.judge import Judge
from arkloom.grpo.rollouts import ask
from arkloom.jsonl import read_records
from arkloom.prompts import Prompts
from arkloom.records import Problem
from arkloom.stage import Context, execute
from arkloom.steps.model import Prm
from arkloom.store import Manifest
from arkloom.store.local import LocalStore
from arkloom.telemetry import Events, Progress
from arkloom.tiny.tokenizer import CHAT_TEMPLATE, WORDS
from small_models import model_at

pytestmark = pytest.mark.chain

SPARE = 9  # tokens that the student has and never uses
NAMES = {
    "<|pad|>": "[fill]",
    "<|end|>": "[over]",
    "<|unk|>": "[what]",
    "<|system|>": "[rule]",
    "<|user|>": "[asks]",
    "<|assistant|>": "[says]",
}
SMALLEST = (
    "problems.train=12",
    "problems.validation=4",
    "problems.test=8",
    "problems.ood=0",
    "problems.robustness=0",
    "evaluate.seeds=0",
    "evaluate.latency_problems=0",
    "evaluate.bootstrap=100",
    "sft.epochs=1",
    "prm.best_of=2",
    "grpo.steps=2",
    "runtime.threads=1",
)


@dataclass(frozen=True)
class Run:
    """A chain that was walked in this process."""

    made: Mapping[str, Manifest]

    def folder(self, node: str) -> Path:
        assert not self.made[node].absent, self.made[node].reason
        return Path(self.made[node].uri.removeprefix("file://"))

    def report(self) -> dict[str, Any]:
        return json.loads((self.folder("evaluate") / "report.json").read_text())

    def scores(self, arm: str) -> list[dict[str, Any]]:
        lines = (self.folder("evaluate") / "scores.jsonl").read_text().splitlines()
        return [score for line in lines if (score := json.loads(line))["arm"] == arm]


def walk(store: Path, *overrides: str) -> Run:
    config = load("smoke", overrides=[*SMALLEST, f"store.root={store}", *overrides])
    made: dict[str, Manifest] = {}
    for node in distill(config):
        stage = importlib.import_module(f"arkloom.{node.stage}.stage").STAGE
        parents = {port: made[name] for port, name in node.inputs.items()}
        context = Context(Progress(quiet=True), Events())
        made[node.name] = execute(stage, config.override(node.overrides), parents, LocalStore(store), context)
    return Run(made)


def renumbered(folder: Path) -> Path:
    """The tiny model with every token under another id, as a plain Hugging Face folder."""
    shipped = model_folder("tiny")
    old = AutoTokenizer.from_pretrained(shipped).get_vocab()
    ids = list(range(len(old) + SPARE))
    random.Random(7).shuffle(ids)
    vocabulary = {NAMES.get(token, token): ids[number] for token, number in old.items()}
    vocabulary |= {f"[spare {index}]": number for index, number in enumerate(ids[len(old) :])}
    coder = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token=NAMES["<|unk|>"], fuse_unk=False))
    coder.decoder = decoders.Fuse()
    coder.add_special_tokens(list(NAMES.values()))
    coder.add_tokens([AddedToken(word, single_word=word.isalnum(), normalized=False) for word in WORDS])
    template = CHAT_TEMPLATE.replace("<|{{ message['role'] }}|>", "{{ names[message['role']] }}")
    for token, name in NAMES.items():
        template = template.replace(token, name)
    roles = {role: NAMES[f"<|{role}|>"] for role in ("system", "user", "assistant")}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=coder,
        pad_token=NAMES["<|pad|>"],
        eos_token=NAMES["<|end|>"],
        unk_token=NAMES["<|unk|>"],
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        chat_template=f"{{%- set names = {roles} -%}}{template}",
    )
    model = AutoModelForCausalLM.from_pretrained(shipped)
    weights = model.get_input_embeddings().weight.detach().clone()
    model.resize_token_embeddings(len(ids), mean_resizing=False)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table.zero_()
        table[torch.tensor(ids[: len(old)])] = weights
    for settings in (model.config, model.generation_config):
        settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Both:
    """The same chain with a student of the teacher's vocabulary, and with one of another."""

    same: Run
    other: Run
    student: Path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    root = tmp_path_factory.mktemp("vocabularies")
    student = renumbered(root / "student")
    prm = model_at(root / "prm", "other")
    arms = "evaluate.arms=[base,rsft{}]"
    names = (f"models.student.name={student}", f"prm.init={{name: {prm}, dtype: float32}}")
    other = walk(root / "store", *names, arms.format(",pad"))
    return Both(walk(root / "store", arms.format("")), other, student)


def test_the_student_has_another_vocabulary(both: Both) -> None:
    teacher = AutoTokenizer.from_pretrained(model_folder("tiny"))
    student = AutoTokenizer.from_pretrained(both.student)
    text = "2+7*5\n7*5=35\n#### 37"
    assert len(student) == len(teacher) + SPARE
    assert student(text)["input_ids"] != teacher(text)["input_ids"]
    assert student.decode(student(text)["input_ids"]) == text
    assert teacher.eos_token_id != student.eos_token_id


def test_debates_and_rows_do_not_know_the_student(both: Both) -> None:
    for node in ("prepare", "debate", "filter"):
        assert both.same.made[node].key == both.other.made[node].key
    for file in both.other.folder("filter").glob("*.jsonl"):
        text = file.read_text()
        assert not [name for name in (*NAMES, *NAMES.values()) if name in text], f"{file.name} holds tokens"


def test_the_student_answers_as_it_does_under_the_teachers_ids(both: Both) -> None:
    told = ("problem_id", "answer", "correct", "score", "completion_tokens", "prompt_tokens")
    one, other = (
        [{name: score[name] for name in told if name in score} for score in run.scores("base")]
        for run in (both.same, both.other)
    )
    assert len(one) == 8
    assert one == other


def test_it_learns_the_same_from_the_same_text(both: Both) -> None:
    one, other = (
        json.loads((run.folder("sft-rsft") / "training.json").read_text()) for run in (both.same, both.other)
    )
    for name in ("rows", "problems", "tokens", "trained_tokens", "steps"):
        assert one[name] == other[name], name
    for mine, theirs in zip(one["curve"], other["curve"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=0.02)


@pytest.mark.parametrize("node", ["sft-rsft", "grpo-pad"])
def test_the_trained_student_keeps_its_vocabulary_and_answers(both: Both, node: str) -> None:
    folder = both.other.folder(node)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(both.student).get_vocab()
    chat = [{"role": "user", "content": "2+7*5+3-4*6"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = tokenizer.decode(model.generate(**prompt, max_new_tokens=64, do_sample=False)[0])
    assert "####" in said
    assert said.endswith(tokenizer.eos_token), "it stops at its own token"


def test_step_scores_are_the_same_by_ids_and_by_text(both: Both) -> None:
    """Of one network under two numberings: the student's own, and the teacher's, which text must reach."""
    tokenizer = AutoTokenizer.from_pretrained(both.student)
    problems = list(read_records(both.other.folder("prepare") / "test.jsonl", Problem))
    prompts = ask(problems, Prompts("tiny", "shared"), tokenizer)
    said = [tokenizer(f"7*5=35\n2+35={37 + n}\n#### {37 + n}")["input_ids"] for n in range(len(prompts))]
    judged = []
    for folder, shared in ((both.student, True), (model_folder("tiny"), False)):
        prm = Prm.new(folder)
        assert prm.shares_vocabulary(tokenizer) is shared
        judge = Judge(tokenizer, prm, verified=False)
        judged.append(judge.judge([judge.read(p, ids) for p, ids in zip(prompts, said, strict=True)]))
    by_ids, by_text = judged
    assert by_ids.scores.shape == (8, 3)
    assert by_ids.scores.std() > 1e-3, "steps differ, so a wrong place would show"
    torch.testing.assert_close(by_ids.scores, by_text.scores, atol=1e-5, rtol=0)
    assert torch.equal(by_ids.ends, by_text.ends)


def test_the_prm_of_a_third_vocabulary_rewards_the_student(both: Both) -> None:
    folder = both.other.folder("prm")
    AutoModelForTokenClassification.from_pretrained(folder)
    assert len(AutoTokenizer.from_pretrained(folder)) > 200
    training = json.loads((both.other.folder("grpo-pad") / "training.json").read_text())
    rewards = [point["prm_reward"] for point in training["curve"]]
    assert len(rewards) == 2
    assert all(0 < reward < 1 for reward in rewards), (
        "step scores are probabilities, read across vocabularies"
    )


def test_the_chain_ends_with_every_arm(both: Both) -> None:
    report = both.other.report()
    assert set(report["arms"]) == {"base", "rsft", "pad"}
    assert not report["absent"]
