from __future__ import annotations

import pytest

from arkloom.errors import BadInputError
from arkloom.protocol.votes import decide, tally, unanimous
from arkloom.records import Final, Turn


def turns(*given: str | None, gold: str = "7") -> list[Turn]:
    return [
        Turn(
            round=0,
            order=agent,
            agent=agent,
            seed=agent,
            prompt_digest="",
            text="",
            answer=answer,
            correct=answer == gold,
            finish_reason="stop",
            prompt_tokens=1,
            completion_tokens=1,
        )
        for agent, answer in enumerate(given)
    ]


def vote(*given: str | None, seed: int = 0) -> Final:
    return decide(tally(given, "number"), turns(*given), seed, "problem")


def test_equivalent_answers_fall_in_one_class_under_the_first_agents_words() -> None:
    round_ = tally(["0.5", "3", "1/2", None], "number")
    assert [(group.answer, group.agents) for group in round_.classes] == [("0.5", (0, 2)), ("3", (1,))]
    assert round_.agreement == 0.5


def test_majority_wins_with_its_margin() -> None:
    final = vote("7", "8", "7", "7", None)
    assert (final.answer, final.correct, final.tie, final.tie_seed) == ("7", True, False, None)
    assert final.margin == pytest.approx((3 - 1) / 5)


def test_an_unreadable_answer_abstains() -> None:
    final = vote(None, None, "8", None, None)
    assert (final.answer, final.correct, final.margin) == ("8", False, 0.2)


def test_nobody_readable_is_no_answer_and_wrong() -> None:
    final = vote(None, None, None)
    assert (final.answer, final.correct, final.tie) == (None, False, False)


def test_ties_are_drawn_by_seed_and_recorded_not_broken_by_the_largest_string() -> None:
    finals = [vote("9", "10", seed=seed) for seed in range(64)]
    assert {final.answer for final in finals} == {"9", "10"}
    assert all(final.tie and final.tie_seed is not None and final.margin == 0 for final in finals)
    assert finals == [vote("9", "10", seed=seed) for seed in range(64)]


def test_unanimity_needs_every_agent() -> None:
    assert unanimous(tally(["7", "7.0", "14/2"], "number"))
    assert not unanimous(tally(["7", "7", None], "number"))
    assert not unanimous(tally(["7", "7", "8"], "number"))
    assert not unanimous(tally([None], "number"))


def test_a_type_without_votes_serves_one_agent_alone() -> None:
    assert tally(["a summary"], "summary").classes[0].answer == "a summary"
    with pytest.raises(BadInputError, match="no vote"):
        tally(["a summary", "another"], "summary")
