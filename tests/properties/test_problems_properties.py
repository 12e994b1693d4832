"""What holds of every draw of problems, whatever the sizes and the seed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkloom import problems
from arkloom.config import ProblemsConfig

SIZE = st.integers(0, 12)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("problems") / "own.jsonl"
    path.write_text("".join(json.dumps({"question": f"{n} + 1?", "gold": n + 1}) + "\n" for n in range(60)))
    return str(path)


@settings(max_examples=60, deadline=None)
@given(
    source=st.sampled_from(["arithmetic", "jsonl"]),
    sizes=st.tuples(SIZE, SIZE, SIZE),
    more=st.integers(0, 24),
    seed=st.integers(0, 3),
)
def test_splits_never_meet_and_a_larger_train_moves_nothing(
    own: str, source: str, sizes: tuple[int, int, int], more: int, seed: int
) -> None:
    train, validation, test = sizes
    config = ProblemsConfig(
        source=source, path=own, train=train, validation=validation, test=test, seed=seed, high=3
    )
    drawn, larger = (
        problems.draw(config.model_copy(update={"train": count})) for count in (train, train + more)
    )
    assert (len(drawn.train), len(drawn.validation), len(drawn.test)) == sizes
    every = [*larger.train, *larger.validation, *larger.test]
    assert len({problem.content_hash for problem in every}) == len(every)
    assert larger.train[:train] == drawn.train
    assert (larger.validation, larger.test) == (drawn.validation, drawn.test)
