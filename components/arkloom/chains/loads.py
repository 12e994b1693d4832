"""What each stage of a chain asks of its models, in calls and tokens, before anything has run.

Counts of turns and rollouts follow from the configuration alone and are exact (an early stop apart).
Tokens rest on ``Lengths``: what an answer and a question are assumed to be. The share of problems that
give a row and the share of a debate's traces that are no duplicates are the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from arkloom.chains.graph import Node
from arkloom.config import RunConfig

Role = Literal["teacher", "student", "prm"]

KEPT = 0.9  # problems that give a row; the presets give 0.8 (smoke) to 0.97 (laptop)
DISTINCT = 0.6  # traces of a debate that are left without duplicates; the presets give 0.36 to 0.6
OWN = 0.3  # the same of the student's own answers, which one model gives: half of it in the presets
_PROFILE_LENGTHS = {"tiny": (20, 42)}  # question, answer; of the recorded runs of the presets
_SOURCE_LENGTHS = {"gsm8k": (150, 250), "math": (160, 600), "mcq": (250, 300)}
_OTHER_LENGTHS = (250, 300)
_TAG = 8  # tokens that name the speaker of a shown answer
_WEIGH = 60  # tokens of the sentence that asks an agent to answer anew (chat layout, natural profile)
_BARE_ANSWER = 8  # tokens of an answer without its reasoning


@dataclass(frozen=True)
class Lengths:
    """Tokens that the estimate assumes.

    Attributes:
        question: A prompt that shows the problem alone, chat template and instruction included.
        answer: A completion.
    """

    question: int
    answer: int


@dataclass(frozen=True)
class Load:
    """Work of one kind that a node gives to one model.

    Attributes:
        role: Whose weights work; their number decides the arithmetic.
        what: What is counted, in the plural.
        count: How many.
        prompt: Tokens read before the first generated one; each prompt is read whole.
        generated: Tokens generated.
        read: Tokens of a forward pass that generates nothing (scoring, the reference policy).
        trained: Tokens of a forward and a backward pass.
    """

    role: Role
    what: str
    count: int
    prompt: int = 0
    generated: int = 0
    read: int = 0
    trained: int = 0


def assumed_lengths(config: RunConfig, question: int | None = None, answer: int | None = None) -> Lengths:
    """Lengths for a kind of problem; given ones win. No answer is longer than ``debate.max_tokens``."""
    known = _PROFILE_LENGTHS.get(config.prompts.profile) or _SOURCE_LENGTHS.get(config.problems.source)
    asked, said = known or _OTHER_LENGTHS
    return Lengths(question or asked, min(answer or said, config.debate.max_tokens))


def loads(config: RunConfig, node: Node, lengths: Lengths) -> list[Load] | None:
    """What a node asks of its models.

    Args:
        config: The run's configuration with the node's overrides applied.
        node: Its ports say what is connected.
        lengths: Assumed tokens.

    Returns:
        One entry a model and kind of work, empty where no model works; None for a stage that is not
        known here, or whose input cannot be foreseen (a PRM of labels that people gave).
    """
    estimate = _STAGES.get(node.stage)
    return None if estimate is None else estimate(config, node, lengths)


def _none(config: RunConfig, node: Node, lengths: Lengths) -> list[Load]:
    return []


def _debate(config: RunConfig, node: Node, lengths: Lengths) -> list[Load]:
    rules, problems = config.debate, getattr(config.problems, config.debate.split)
    if rules.protocol == "vote":  # with a budget: as many answers as the debate's tokens buy
        turns = problems * rules.agents * (rules.rounds if "budget" in node.inputs else 1)
        return [_answers(rules.voices, "turns", turns, lengths)]
    if rules.from_log:  # nobody speaks
        return []
    return [_debates(config, problems, lengths)]


def _debates(config: RunConfig, problems: int, lengths: Lengths, what: str = "turns") -> Load:
    rules = config.debate
    turns = problems * rules.agents * rules.rounds
    prompts = problems * rules.agents * sum(_shown(config, k, lengths) for k in range(rules.rounds))
    return Load("teacher", what, turns, prompts, turns * lengths.answer)


def _shown(config: RunConfig, k: int, lengths: Lengths) -> int:
    """Prompt tokens of one agent in round k."""
    peer = min(lengths.answer, config.prompts.peer_token_cap) + _TAG
    peers = config.debate.agents - 1 if config.debate.peers != "none" else 0
    again = _WEIGH if config.prompts.profile == "natural" else 0
    if config.prompts.layout == "shared":  # one block: the last round's answers, its own among them
        return lengths.question + (again + (peers + 1) * peer if k else 0)
    return lengths.question + k * (lengths.answer + again + peers * peer)


def _answers(role: Role, what: str, count: int, lengths: Lengths) -> Load:
    """Independent answers to the bare question."""
    return Load(role, what, count, count * lengths.question, count * lengths.answer)


def _sft(config: RunConfig, node: Node, lengths: Lengths) -> list[Load]:
    rows = round(config.problems.train * KEPT)
    if config.sft.objective == "da":  # one to `da_traces` rows a problem: the middle
        rows = round(rows * (1 + config.filter.da_traces) / 2)
    said = _BARE_ANSWER if config.sft.objective == "answer" else lengths.answer
    tokens = rows * min(lengths.question + said, config.sft.max_tokens)
    return [Load("student", "rows", rows, trained=round(tokens * config.sft.epochs))]


def _prm(config: RunConfig, node: Node, lengths: Lengths) -> list[Load] | None:
    """The debate's traces and, of as many answers, the student's own."""
    if config.label.source == "human":  # how many traces people labelled, their file alone knows
        return None
    turns = config.debate.agents * config.debate.rounds
    distinct = DISTINCT + (OWN if "own" in node.inputs else 0)
    rows = round(config.problems.train * turns * distinct)
    tokens = rows * min(lengths.question + lengths.answer, config.prm.max_tokens)
    found = [
        # In the first phase the gradient stops below the last block: a forward pass but for that block.
        Load("prm", "traces, last block", rows, read=round(tokens * config.prm.head.epochs)),
        Load("prm", "traces, all weights", rows, trained=round(tokens * config.prm.full.epochs)),
    ]
    if "validation" in node.inputs:
        count = round(config.problems.validation * turns * DISTINCT)
        found.append(_scored("validation traces", count, lengths))
    if "problems" in node.inputs and config.prm.best_of > 1:
        count = config.problems.validation * config.prm.best_of
        found.append(_answers("student", "best-of-n answers", count, lengths))
        found.append(_scored("best-of-n answers", count, lengths))
    return found


def _scored(what: str, count: int, lengths: Lengths) -> Load:
    return Load("prm", f"{what}, scored", count, read=count * (lengths.question + lengths.answer))


def _grpo(config: RunConfig, node: Node, lengths: Lengths) -> list[Load]:
    rules = config.grpo
    rollouts = rules.steps * rules.prompts * rules.completions
    lengths = Lengths(lengths.question, min(lengths.answer, rules.max_tokens))
    whole = rollouts * (lengths.question + lengths.answer)
    checks = rules.steps // rules.validate_every + 1
    found = [
        _answers("student", "rollouts", rollouts, lengths),
        Load("student", "rollouts, gradient", rollouts, trained=whole),
    ]
    if rules.beta > 0:
        found.append(Load("student", "rollouts, reference", rollouts, read=whole))
    if "prm" in node.inputs and rules.prm_weight > 0:
        found.append(_scored("rollouts", rollouts, lengths))
    greedy = checks * config.problems.validation
    return [*found, _answers("student", "validation answers", greedy, lengths)]


def _evaluate(config: RunConfig, node: Node, lengths: Lengths) -> list[Load]:
    rules, problems, turns = config.evaluate, config.problems, config.debate.agents * config.debate.rounds
    lengths = Lengths(lengths.question, min(lengths.answer, rules.max_tokens))
    timed = min(rules.latency_problems, problems.validation + problems.test)
    students = len(set(node.inputs) - {"problems", "debates", "rows", "prm"})
    # A model alone answers every set greedily, and test once more a seed; groups answer test alone.
    alone = problems.test * (1 + rules.seeds) + _beside(config) + timed
    found: list[Load] = []
    if {"base", "vote"} & set(rules.arms):
        found.append(_answers("student", "answers of base", alone, lengths))
    if "vote" in rules.arms and "debate" in rules.arms:
        voices = min(rules.vote_cap, turns)
        found.append(_answers("student", "answers of vote", voices * (problems.test + timed), lengths))
    if "debate" in rules.arms:
        found.append(_debates(config, problems.test + timed, lengths, "turns of debate"))
    if students:
        count = students * (alone + problems.validation)
        found.append(_answers("student", f"answers of {students} students", count, lengths))
    return found


def _beside(config: RunConfig) -> int:
    """Problems of the sets beside test: out of distribution, and test problems asked again, disturbed."""
    problems, natural = config.problems, config.prompts.profile == "natural"
    generated = problems.source == "arithmetic"
    outside = 3 if generated else int(problems.ood_path is not None)
    disturbed = natural + generated + (problems.source == "mcq")  # a distractor, other numbers, moved options
    return outside * problems.ood + disturbed * min(problems.robustness, problems.test)


_STAGES: Mapping[str, Callable[[RunConfig, Node, Lengths], list[Load] | None]] = {
    "prepare": _none,
    "debate": _debate,
    "filter": _none,
    "label": _none,
    "sft": _sft,
    "prm": _prm,
    "grpo": _grpo,
    "evaluate": _evaluate,
    "gate": _none,
    "register": _none,
}
