"""The debate as held by the scripted engine; each fault of the released codes has its test here."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace

import pytest

from arkloom.canonical import derive_seed
from arkloom.config import load
from arkloom.engines.protocol import Completion, Request, Sampling
from arkloom.engines.scripted import ScriptedEngine
from arkloom.errors import ArkloomError, BadInputError
from arkloom.protocol import hold, society, soloists
from arkloom.records import Debate, ModelRef, Problem
from debates import by_seed, held, problems, small


def test_every_round_is_kept() -> None:
    (debate,) = held(problems(1), small(agents=3, rounds=4))
    assert [(turn.round, turn.agent) for turn in debate.turns] == [(k, i) for k in range(4) for i in range(3)]
    assert len(debate.rounds) == 4
    assert debate.stop is not None
    assert (debate.stop.round, debate.stop.reason) == (3, "rounds")


@pytest.mark.parametrize("agents", [1, 2, 7])
def test_the_configured_number_of_agents_speaks(agents: int) -> None:
    (debate,) = held(problems(1), small(agents=agents, rounds=2))
    assert [agent.id for agent in debate.agents] == list(range(agents))
    assert len(debate.turns) == 2 * agents


def test_turn_seeds_come_from_run_problem_agent_and_round_alone() -> None:
    (debate,) = held(problems(1), small(seed=5))
    for turn in debate.turns:
        assert turn.seed == derive_seed(5, debate.id, turn.agent, turn.round)


def test_an_agent_sees_own_and_peers_answers_of_earlier_rounds_only() -> None:
    prompts: dict[int, str] = {}

    def speak(request: Request) -> str:
        prompts[request.seed] = "\n".join(message.content for message in request.messages)
        return by_seed()(request)

    (debate,) = held(problems(1), small(agents=3, rounds=3), ScriptedEngine(speak))
    for turn in debate.turns:
        shown = {int(seed) for seed in re.findall(r"turn (\d+) says", prompts[turn.seed])}
        before = [other for other in debate.turns if other.round < turn.round]
        assert shown == {other.seed for other in before}
        assert {(ref.round, ref.agent) for ref in turn.source_turns} == {(o.round, o.agent) for o in before}


def test_shared_layout_shows_the_last_round_alone() -> None:
    config = load("smoke", None, ["prompts.layout=shared", "debate.agents=3", "debate.rounds=3"])
    (debate,) = held(problems(1), small(config=config))
    for turn in debate.turns:
        assert {ref.round for ref in turn.source_turns} == ({turn.round - 1} if turn.round else set())


def test_no_peers_shows_own_answers_alone() -> None:
    (debate,) = held(problems(1), small(agents=3, rounds=3, peers="none"))
    for turn in debate.turns:
        assert {ref.agent for ref in turn.source_turns} <= {turn.agent}


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_shuffled_peers_come_from_another_problem(count: int) -> None:
    shown: dict[int, set[int]] = {}

    def speak(request: Request) -> str:
        words = "\n".join(message.content for message in request.messages if message.role == "user")
        shown[request.seed] = {int(seed) for seed in re.findall(r"turn (\d+) says", words)}
        return by_seed()(request)

    rules = small(agents=3, rounds=2, peers="shuffled")
    debates = held(problems(count), rules, ScriptedEngine(speak))
    home = {turn.seed: debate.id for debate in debates for turn in debate.turns}
    for debate in debates:
        for turn in debate.turns:
            if turn.round == 1:
                lenders = {home[seed] for seed in shown[turn.seed]}
                assert len(lenders) == 1
                assert debate.id not in lenders
                assert len(shown[turn.seed]) == 2
    assert len(debates) == count


def test_shuffled_peers_resume_to_the_same_records() -> None:
    some, rules = problems(5), small(agents=2, rounds=2, peers="shuffled")
    whole = held(some, rules)
    for done in ({whole[0].id}, {whole[1].id, whole[3].id}, {d.id for d in whole}):
        assert held(some, rules, done=done) == [debate for debate in whole if debate.id not in done]


def test_shuffled_peers_of_a_single_problem_are_refused() -> None:
    with pytest.raises(BadInputError, match="two problems"):
        held(problems(1), small(peers="shuffled"))


def test_peers_answers_are_cut_to_the_cap() -> None:
    prompts: list[str] = []

    def speak(request: Request) -> str:
        prompts.append(request.messages[-1].content)
        return "one two three four five #### 6"

    held(problems(1), small(agents=2, rounds=2, peer_token_cap=3), ScriptedEngine(speak))
    assert "one two three" in prompts[-1]
    assert "four" not in prompts[-1]


def test_hidden_thinking_is_recorded_and_not_shown() -> None:
    prompts: list[str] = []

    def speak(request: Request) -> str:
        prompts.append(" ".join(message.content for message in request.messages))
        return "<think>secret</think>#### 1"

    (debate,) = held(problems(1), small(agents=2, rounds=2), ScriptedEngine(speak))
    assert all(turn.thinking == "secret" and turn.text == "#### 1" for turn in debate.turns)
    assert not any("secret" in prompt for prompt in prompts)


def test_consensus_stops_only_when_asked_and_when_all_answers_are_readable() -> None:
    agree = ScriptedEngine(lambda _: "#### 1")
    (debate,) = held(problems(1), small(stop_on_consensus=True), agree)
    assert debate.stop is not None
    assert (debate.stop.round, debate.stop.reason) == (0, "consensus")
    (debate,) = held(problems(1), small(), agree)
    assert len(debate.rounds) == 3
    partly = ScriptedEngine(lambda request: "#### 1" if request.seed % 2 else "no idea")
    for debate in held(problems(8), small(stop_on_consensus=True), partly):
        first = [turn.answer for turn in debate.turns if turn.round == 0]
        assert (debate.stop is not None and debate.stop.round == 0) == (None not in first)


def test_gold_with_separators_and_decimals_is_graded_whole() -> None:
    for gold, said in (("1,000", "1000"), ("3.5", "7/2")):
        problem = Problem(dataset="d", split="train", question=gold, gold=gold)
        (debate,) = held([problem], small(agents=1), ScriptedEngine(lambda _, said=said: f"#### {said}"))
        assert debate.final is not None
        assert debate.final.correct


def test_without_gold_nothing_is_graded() -> None:
    problem = Problem(dataset="d", split="train", question="1+1")
    (debate,) = held([problem], small(), ScriptedEngine(lambda _: "#### 2"))
    assert {turn.correct for turn in debate.turns} == {None}
    assert debate.final is not None
    assert (debate.final.answer, debate.final.correct) == ("2", None)


def test_a_failing_turn_gives_a_record_with_its_error_and_the_others_go_on() -> None:
    def speak(request: Request) -> str:
        if "2+3" in request.messages[-1].content:
            raise ArkloomError("out of memory", where="engine")
        return "#### 1"

    debates = held(problems(4), small(), ScriptedEngine(speak))
    failed = [debate for debate in debates if debate.error is not None]
    assert [debate.question for debate in failed] == ["2+3"]
    assert failed[0].error is not None
    assert failed[0].error.message == "engine: out of memory"
    assert failed[0].final is None
    assert len(debates) == 4


def test_an_unexpected_fault_is_not_swallowed() -> None:
    def speak(_: Request) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        held(problems(3), small(), ScriptedEngine(speak))


def test_overflow_shrinks_the_peers_before_it_is_an_error() -> None:
    engine = ScriptedEngine(lambda _: "word " * 30 + "#### 1", context_length=130)
    rules = small(agents=4, rounds=2, sampling=Sampling(max_tokens=40))
    (debate,) = held(problems(1), rules, engine)
    assert debate.error is None
    assert all(turn.finish_reason == "stop" for turn in debate.turns)
    tight = ScriptedEngine(lambda _: "word " * 30 + "#### 1", context_length=41)
    (debate,) = held(problems(1), rules, tight)
    assert debate.error is not None
    assert "no room" in debate.error.message


def test_a_vote_with_budgets_draws_agents_in_turn_until_they_are_spent() -> None:
    some = problems(3)
    engine = ScriptedEngine(lambda request: "w " * (request.seed % 7) + "#### 1")
    rules = small(agents=2, rounds=1, protocol="vote", sampling=Sampling(max_tokens=20))
    budgets = {problem.id: 5 + 30 * i for i, problem in enumerate(some)}
    for debate in held(some, replace(rules, budgets=budgets), engine):
        spent = [turn.completion_tokens for turn in debate.turns]
        assert sum(spent) >= budgets[debate.id] > sum(spent[:-1])
        assert [turn.agent for turn in debate.turns] == list(range(len(spent)))
        assert [agent.persona for agent in debate.agents] == [f"p{1 + i % 2}" for i in range(len(spent))]
        assert {turn.round for turn in debate.turns} == {0}
        assert debate.rounds[0].agreement == 1.0


def test_soloists_answer_the_students_prompt() -> None:
    seen: list[Request] = []
    engine = ScriptedEngine(lambda request: seen.append(request) or "#### 1")
    config = load("smoke")
    (debate,) = held(problems(1), soloists(config, ModelRef(name="rsft"), 3, 0.7, 11), engine)
    assert [[m.content for m in request.messages] for request in seen] == [["0+1"]] * 3
    assert len({request.seed for request in seen}) == 3
    assert (debate.seed, debate.protocol, len(debate.rounds)) == (11, "vote", 1)


def test_soloists_draw_as_they_are_told() -> None:
    config, model = load("smoke"), ModelRef(name="m")
    alone = soloists(config, model, 1, 0.0, 0)
    crowd = soloists(config, model, 1, 0.0, 0, top_p=0.9, max_tokens=7)
    assert alone.sampling == Sampling(config.evaluate.max_tokens, 0.0, 1.0)
    assert crowd.sampling == Sampling(7, 0.0, 0.9)
    assert alone.config_digest != crowd.config_digest


def test_each_agent_may_have_an_engine_of_its_own() -> None:
    rules = small(agents=2, rounds=1)
    agents = tuple(agent.model_copy(update={"model": f"m{agent.id}"}) for agent in rules.agents)
    engines = {f"m{i}": ScriptedEngine(lambda _, i=i: f"#### {i}", slots=1 + i) for i in range(2)}
    kept: list[Debate] = []
    hold(problems(4), replace(rules, agents=agents), engines, lambda debate, _: kept.append(debate))
    assert {tuple(turn.answer for turn in debate.turns) for debate in kept} == {("0", "1")}
    with pytest.raises(BadInputError, match="no engine"):
        hold(problems(1), replace(rules, agents=agents), {"m0": engines["m0"]}, lambda *_: None)


def test_a_stop_drops_what_is_in_flight_and_returns() -> None:
    stop = threading.Event()
    kept: list[Debate] = []

    def record(debate: Debate, _: object) -> None:
        kept.append(debate)
        if len(kept) == 3:
            stop.set()

    engine = ScriptedEngine(by_seed(), slots=2, latency=lambda _: 0.01)
    hold(problems(500), small(), engine, record, stop=stop)
    assert 3 <= len(kept) < 500


def test_rounds_do_not_wait_for_other_debates() -> None:
    """One slow first answer: every other debate ends before it."""
    slow = derive_seed(0, problems(1)[0].id, 0, 0)
    order: list[str] = []
    engine = ScriptedEngine(by_seed(), slots=8, latency=lambda r: 0.5 if r.seed == slow else 0.0)
    hold(problems(20), small(), engine, lambda debate, _: order.append(debate.question))
    assert order[-1] == "0+1"


def test_problems_are_read_as_debates_end() -> None:
    read = 0
    most = 0
    ended = 0

    def stream() -> object:
        nonlocal read
        for problem in problems(400):
            read += 1
            yield problem

    def record(*_: object) -> None:
        nonlocal ended, most
        ended += 1
        most = max(most, read - ended)

    hold(stream(), small(), ScriptedEngine(by_seed(), slots=4, latency=lambda _: 0.0), record)  # type: ignore[arg-type]
    assert ended == 400
    assert most <= 40


def test_personas_and_config_reach_the_agents() -> None:
    rules = society(load("laptop"))
    assert [agent.persona for agent in rules.agents] == ["p1", "p2", "p3", "p4", "p5"]
    assert {agent.persona for agent in society(load("laptop"), "student").agents} == {None}
    train, test = (society(load("laptop", None, [f"debate.split={s}"])) for s in ("train", "test"))
    assert train.config_digest == test.config_digest
    hotter = society(load("laptop", None, ["debate.temperature=0.9"]))
    assert hotter.config_digest != train.config_digest


def test_scripted_engine_counts_words_and_refuses_what_does_not_fit() -> None:
    engine = ScriptedEngine(lambda _: "a b c d", context_length=6)
    (message,) = soloists(load("smoke"), ModelRef(name="m"), 1, 0, 0).prompts.student(problems(1)[0])
    spoken: Completion = asyncio.run(engine.generate(Request((message,), Sampling(3), 0)))
    assert (spoken.text, spoken.finish_reason, spoken.completion_tokens) == ("a b c", "length", 3)
    with pytest.raises(ArkloomError, match="fills the context"):
        asyncio.run(engine.generate(Request((message,) * 3, Sampling(3), 0)))
