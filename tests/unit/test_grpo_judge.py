"""Rollouts judged: the user's own score as reward, scores that are no numbers, other vocabularies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from arkloom import answers
from arkloom.answers import registry
from arkloom.errors import ArkloomError, BadInputError
from arkloom.grpo import judge as judging
from arkloom.grpo.advantages import Rule, advantages
from arkloom.grpo.judge import Judge
from arkloom.grpo.rollouts import Planned, Prompt, ask, plan
from arkloom.prompts import Prompts
from arkloom.records import Problem, StepRow
from grpo_bench import sums
from small_models import tokenizer


@pytest.fixture(autouse=True)
def _types_of_a_test_stay_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.get.cache_clear()


EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_task"


class Scorer:
    """Stands where a PRM stands: scores are given, the ends that it is asked for are kept."""

    def __init__(self, shared: bool = True, value: float | None = None) -> None:
        self.shared, self.value = shared, value
        self.asked: list[Any] = []

    def shares_vocabulary(self, _: Any) -> bool:
        return self.shared

    def scores_of_ids(self, prompts: Any, completions: Any, ends: Any) -> list[list[float]]:
        self.asked.append(ends)
        return [
            [self.value if self.value is not None else 0.1 * (j + 1) for j in range(len(e))] for e in ends
        ]

    def scores_of_rows(self, rows: list[StepRow]) -> list[list[float]]:
        self.asked.append(rows)
        return [[0.5] * len(row.step_ends) for row in rows]


def spoken(coder: Any, text: str) -> list[int]:
    return [*coder(text, add_special_tokens=False)["input_ids"], coder.eos_token_id]


def prompt(problem: Problem, coder: Any) -> Prompt:
    return ask([problem], Prompts("tiny", "shared"), coder)[0]


def judge(
    problem: Problem, texts: list[str], scorer: Any = None, name: str = "tiny", verified: bool = True
) -> Any:
    coder = tokenizer(name)
    made = Judge(coder, scorer, verified=verified)
    asked = prompt(problem, coder)
    return made.judge([made.read(asked, spoken(coder, text)) for text in texts])


SUM = Problem(dataset="d", split="train", question="2+7*5", gold="37")


def test_the_scores_of_the_example_task_are_the_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    problem = Problem(
        dataset="code",
        split="train",
        question="Write add.",
        gold="add(2, 3) -> 5\nadd(2, 2) -> 4",
        answer_type="code_answers:CODE",
    )
    bodies = ("a + b", "a * b", "a - b")
    texts = [f"```python\ndef add(a, b):\n    return {body}\n```" for body in bodies] + ["no code"]
    found = judge(problem, texts, name="other")
    assert found.correct.tolist() == [1.0, 0.5, 0.0, 0.0]
    assert found.parsed.tolist() == [True, True, True, False]
    made = advantages(found, Rule(prm_weight=0.0, verifier_weight=1.0), 4, 100)
    assert made.rewards.tolist() == [1.0, 0.5, 0.0, 0.0]
    assert made.values[0, 0] > made.values[1, 0] > made.values[2, 0] == made.values[3, 0]


def test_step_ends_are_places_in_the_completions_own_ids() -> None:
    texts, coder = ["7*5=35\n2+35=37\n#### 37", "7*5=30\n#### 30", ""], tokenizer("tiny")
    scorer = Scorer()
    found = judge(SUM, texts, scorer)
    assert found.steps.sum(dim=1).tolist() == [3, 2, 0]
    for text, ends, steps in zip(texts, found.ends.tolist(), found.steps.tolist(), strict=True):
        ids = spoken(coder, text)
        parts = [coder.decode(ids[: end + 1]) for end, known in zip(ends, steps, strict=True) if known]
        assert parts == ["\n".join(text.split("\n")[: n + 1]) for n in range(len(parts))]
        if parts:
            assert ids[ends[len(parts) - 1] + 1] == coder.eos_token_id, "the last step ends at the last word"
    torch.testing.assert_close(found.scores[0], torch.tensor([0.1, 0.2, 0.3]))
    assert found.correct.tolist() == [1.0, 0.0, 0.0]
    assert found.parsed.tolist() == [True, True, False]


def test_a_prm_of_another_vocabulary_reads_the_text() -> None:
    scorer = Scorer(shared=False)
    found = judge(SUM, ["7*5=35\n#### 37"], scorer)
    ((row,),) = scorer.asked
    assert row.messages[-1].content == "7*5=35\n#### 37"
    assert [row.messages[-1].content[:end] for end in row.step_ends] == ["7*5=35", "7*5=35\n#### 37"]
    assert found.scores.tolist() == [[0.5, 0.5]]


def test_hidden_thinking_is_neither_step_nor_answer() -> None:
    problem, coder = SUM, tokenizer("other")
    made = Judge(coder, Scorer(), verified=True)
    asked = ask([problem], Prompts("tiny", "shared"), coder)[0]
    said = "7 * 5 = 35\n2 + 35 = 37\n#### 37"
    ids = spoken(coder, f"<think>9 * 9 = 81\n#### 5</think>\n{said}")
    found = made.judge([made.read(asked, ids)])
    assert found.correct.tolist() == [1.0]
    decoded = [coder.decode(ids[: end + 1], skip_special_tokens=True) for end in found.ends[0].tolist()]
    assert [text.split("</think>\n")[1] for text in decoded] == [
        "7 * 5 = 35", "7 * 5 = 35\n2 + 35 = 37", said,
    ]  # fmt: skip


class Odd:
    """An answer type of one's own that scores with whatever it is given."""

    version, threshold = "1", 1.0

    def __init__(self, name: str, points: Any) -> None:
        self.name, self.points, self.calls = name, points, 0

    def extract(self, text: str) -> str | None:
        return text or None

    def score(self, answer: str, gold: str) -> float:
        self.calls += 1
        if isinstance(self.points, Exception):
            raise self.points
        return self.points

    def same(self, a: str, b: str) -> bool:
        return a == b


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (float("nan"), "score returned nan"),
        (float("inf"), "score returned inf"),
        (-0.5, "score returned -0.5"),
        (ValueError("no such\nfile"), "failed with ValueError"),
    ],
)
def test_a_reward_that_is_no_number_is_one_line_that_names_the_problem(points: Any, says: str) -> None:
    answers.register(Odd("odd", points))
    problem = SUM.model_copy(update={"answer_type": "odd"})
    with pytest.raises(BadInputError) as caught:
        judge(problem, ["4"])
    line = caught.value.line()
    assert line.startswith(f"problem {problem.id[:12]} (2+7*5), answer type odd: ")
    assert says in line
    assert "\n" not in line


def test_a_prm_score_that_is_not_finite_is_one_line_that_names_the_problem() -> None:
    with pytest.raises(
        ArkloomError, match=rf"problem {SUM.id[:12]} \(2\+7\*5\): the PRM scores step 1 with nan"
    ):
        judge(SUM, ["7*5=35\n#### 37"], Scorer(value=float("nan")))


def test_a_problem_without_gold_is_named_unless_the_verifier_does_not_count() -> None:
    free = SUM.model_copy(update={"gold": None})
    with pytest.raises(
        BadInputError, match=r"problem .*no gold to verify answers by\. Set grpo.verifier_weight=0"
    ):
        judge(free, ["#### 37"])
    assert judge(free, ["#### 37"], Scorer(), verified=False).correct.tolist() == [0.0]


def test_equal_answers_to_a_problem_are_scored_once() -> None:
    kind = Odd("counted", 0.5)
    answers.register(kind)
    found = judge(SUM.model_copy(update={"answer_type": "counted"}), ["4", "4", "5", "4"])
    assert found.correct.tolist() == [0.5] * 4
    assert kind.calls == 2


@pytest.mark.parametrize(("prompts", "steps", "each"), [(5, 7, 3), (1, 4, 2), (8, 2, 4), (3, 1, 8)])
def test_the_plan_asks_every_prompt_before_any_again(prompts: int, steps: int, each: int) -> None:
    made = plan(prompts, steps, each, seed=1)
    order = [number for step in made for number in step]
    assert [len(step) for step in made] == [each] * steps
    for start in range(0, len(order), prompts):
        block = order[start : start + prompts]
        assert len(set(block)) == len(block)
    assert made == plan(prompts, steps, each, seed=1)
    assert made[:1] == plan(prompts, 1, each, seed=1), "a shorter training begins alike"
    rows = list(Planned(made, 4, 2))
    assert len(rows) == len(Planned(made, 4, 2)) == steps * each * 4 * 2
    assert rows[: each * 4] == rows[each * 4 : each * 8] == [n for n in made[0] for _ in range(4)]


def test_prompts_are_what_the_engine_shows() -> None:
    coder = tokenizer("other")
    for asked in ask(sums(3), Prompts("tiny", "shared"), coder):
        text = coder.apply_chat_template(asked.chat, tokenize=False, add_generation_prompt=True)
        assert coder.decode(asked.ids) == text
        assert not asked.opened  # its template closes the thought that it opens
    assert judging._NOWHERE.round == 0
