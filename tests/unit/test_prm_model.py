"""The PRM as a model: where a step is read, company and padding do not matter, it loads again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification

from arkloom.errors import BadInputError
from arkloom.records import StepRow
from arkloom.steps.model import Encoded, Prm
from small_models import TEXT, model, model_at, tokenizer
from step_rows import step_row

NAMES = ("tiny", "other")


@pytest.fixture(scope="module", params=NAMES)
def prm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prm:
    return Prm.new(model_at(tmp_path_factory.mktemp(request.param) / "base", request.param))


def close(found: list[list[float]], expected: list[list[float]]) -> None:
    assert list(map(len, found)) == list(map(len, expected))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_step_ends_at_the_token_that_holds_its_last_character(prm: Prm) -> None:
    row = step_row(0)
    said = row.messages[-1].content
    coded = prm.encode(row)
    for end, place in zip(row.step_ends, coded.ends, strict=True):
        up_to = prm.tokenizer.decode(coded.ids[: place + 1])
        before = prm.tokenizer.decode(coded.ids[:place])
        assert said[:end] in up_to
        assert said[:end] not in before
    assert coded.ends[-1] == len(coded.ids) - 1, "the last step is scored at the last token"


def test_every_step_is_scored_the_last_one_too(prm: Prm) -> None:
    rows = [step_row(number) for number in range(4)]
    assert [len(scores) for scores in prm.scores_of_rows(rows)] == [len(row.step_ends) for row in rows]
    one = StepRow.model_validate(step_row(0).model_dump() | {"step_ends": step_row(0).step_ends[-1:]})
    close([prm.scores_of_rows([one])[0]], [prm.scores_of_rows([step_row(0)])[0][-1:]])


def test_one_forward_for_all_steps_is_one_forward_a_prefix(prm: Prm) -> None:
    coded = prm.encode(step_row(0))
    prefixes = [[prm.scores([Encoded(coded.ids[: end + 1], (end,))])[0][0] for end in coded.ends]]
    close(prm.scores([coded]), prefixes)


def test_company_of_another_length_changes_no_score(prm: Prm) -> None:
    rows = [step_row(number) for number in range(6)]
    longer = rows[0].model_copy(
        update={
            "messages": (
                rows[0].messages[0].model_copy(update={"content": "9+9\n" * 30}),
                rows[0].messages[1],
            )
        }
    )
    together = prm.scores_of_rows([*rows, longer])
    close(together, [prm.scores_of_rows([row])[0] for row in (*rows, longer)])
    close(prm.scores_of_rows([*rows, longer], batch_tokens=1), together)


def test_ids_of_a_policy_score_as_the_rows_do(prm: Prm) -> None:
    rows = [step_row(number) for number in range(3)]
    prompts, completions, ends = [], [], []
    for row in rows:
        chat = [message.model_dump() for message in row.messages[:-1]]
        asked = prm.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        prompt = prm.tokenizer(asked, add_special_tokens=False)["input_ids"]
        coded = prm.encode(row)
        prompts.append(prompt)
        completions.append([*coded.ids[len(prompt) :], prm.tokenizer.eos_token_id])
        ends.append(tuple(end - len(prompt) for end in coded.ends))
    close(prm.scores_of_ids(prompts, completions, ends), prm.scores_of_rows(rows))
    assert prm.scores_of_ids(prompts[:1], completions[:1], [()]) == [[]]
    with pytest.raises(BadInputError, match="outside of its completion"):
        prm.scores_of_ids(prompts[:1], completions[:1], [(len(completions[0]),)])


def test_a_long_prompt_is_not_cut(prm: Prm) -> None:
    row = step_row(0)
    question = row.messages[0].model_copy(update={"content": "1+1\n" * 200})
    coded = prm.encode(row.model_copy(update={"messages": (question, row.messages[1])}))
    assert len(coded) > 512
    assert prm.tokenizer.decode(coded.ids).count("1+1") == 200


def test_multi_byte_characters_end_a_step_at_their_last_byte(tmp_path: Path) -> None:
    prm = Prm.new(model_at(tmp_path, "other"))
    message = step_row(0).messages[-1].model_copy(update={"content": "π≈3\n好"})
    row = step_row(0).model_copy(
        update={"messages": (step_row(0).messages[0], message), "step_ends": (2, 5), "labels": ()}
    )
    coded = prm.encode(row)
    assert prm.tokenizer.decode(coded.ids[: coded.ends[0] + 1]).endswith("π≈")
    assert prm.tokenizer.decode(coded.ids[: coded.ends[1] + 1]).endswith("好")
    assert coded.ends[1] == len(coded) - 1


def test_a_saved_prm_loads_without_arkloom_and_scores_the_same(prm: Prm, tmp_path: Path) -> None:
    prm.save(tmp_path)
    row = step_row(1)
    expected = prm.scores_of_rows([row])
    close(Prm.load(tmp_path).scores_of_rows([row]), expected)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path, dtype="auto").eval()
    coded = prm.encode(row)
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([coded.ids])).logits[0, :, 0]
    close([torch.sigmoid(logits[list(coded.ends)]).tolist()], expected)


def test_a_fresh_head_is_the_same_every_time(tmp_path: Path) -> None:
    folder = model_at(tmp_path)
    torch.manual_seed(1)
    first = Prm.new(folder).scores_of_rows([step_row(0)])
    torch.manual_seed(2)
    close(Prm.new(folder).scores_of_rows([step_row(0)]), first)


def test_a_model_without_a_head_is_no_prm(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no head that scores tokens"):
        Prm.load(model_at(tmp_path))


def test_weights_stored_in_bfloat16_are_scored_in_float32(tmp_path: Path) -> None:
    prm = Prm.new(model_at(tmp_path, dtype=torch.bfloat16))
    assert prm.stored == torch.bfloat16
    assert {weight.dtype for weight in prm.model.parameters()} == {torch.float32}


def test_vocabularies_are_told_apart(tmp_path: Path) -> None:
    prm = Prm.new(model_at(tmp_path, "tiny"))
    assert prm.shares_vocabulary(tokenizer("tiny"))
    assert not prm.shares_vocabulary(tokenizer("other"))


BAD = {
    "beyond the message": ({"step_ends": (3, 99)}, "lie inside the last message"),
    "not rising": ({"step_ends": (8, 3)}, "they must rise"),
    "at zero": ({"step_ends": (0, 3)}, "lie inside"),
    "nobody answered": ({"messages": step_row(0).messages[:1]}, "not the assistant's"),
}


@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD.keys())
def test_a_row_that_cannot_be_read_is_told(tmp_path: Path, change: dict[str, object], says: str) -> None:
    prm = Prm(model(), tokenizer("tiny"))
    with pytest.raises(BadInputError, match=says):
        prm.encode(step_row(0).model_copy(update=change))


def test_the_text_of_another_tokenizer_crosses() -> None:
    assert "<think>" in TEXT  # the other template opens a thought: a completion follows it
    prm = Prm(model("other"), tokenizer("other"))
    text = prm.tokenizer.decode(prm.encode(step_row(0)).ids)
    assert text.endswith(step_row(0).messages[-1].content)
    assert "</think>" in text
