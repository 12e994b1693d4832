"""The tiny tokenizer: digits apart, words whole, round trips, and a template that says who speaks."""

from __future__ import annotations

from random import Random

import pytest
from transformers import AutoTokenizer

from arkloom.tiny import examples, tokenizer, weights
from arkloom.tiny.train import CONTEXT_LENGTH, encode, render


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """As anybody loads it: saved, then found by AutoTokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.build(CONTEXT_LENGTH).save_pretrained(folder, save_jinja_files=False)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "text",
    [
        "2+7*5+3-4*6",
        "3*4-5+7*2",
        "2*3+4*5-6*7",
        "12+19*10+15-11*18",
        "40-56=-16\n#### -16",
        "agent 1:\n7*5=35\nagent 12 p3\nthink again\n2 agents:",
        "What is 2+2? Ann has {3} [apples] & 50% of $7.50; p1 p10 reagents",
        "  two  spaces \n\n",
    ],
)
def test_text_survives_a_round_trip(words, text):
    ids = words(text, add_special_tokens=False).input_ids
    assert words.unk_token_id not in ids
    assert words.decode(ids) == text


def test_digits_stand_one_by_one_and_words_whole(words):
    assert words.tokenize("135") == ["1", "3", "5"]
    assert words.tokenize("agent 2") == ["agent", " ", "2"]
    assert words.tokenize("####") == ["####"]
    assert words.tokenize("p3") == ["p3"]


def test_what_it_does_not_know_is_unknown_not_an_error(words):
    assert words("é", add_special_tokens=False).input_ids == [words.unk_token_id]


def test_the_template_marks_roles_and_ends_each_message(words):
    chat = [
        {"role": "system", "content": "p2"},
        {"role": "user", "content": "1+1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "think again"},
    ]
    text = words.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|system|>p2<|end|><|user|>1+1<|end|><|assistant|>2<|end|><|user|>think again<|end|><|assistant|>"
    )
    ids = words.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    spoken = [token for token, mine in zip(ids["input_ids"], ids["assistant_masks"], strict=True) if mine]
    assert words.decode(spoken) == "2<|end|>"


def test_training_shows_what_the_template_gives(words):
    random = Random(4)
    drawn = [draw(random) for draw in (examples.direct, examples.debate) for _ in range(60)]
    for example, (ids, learned) in zip(drawn, encode(words, drawn), strict=True):
        chat = [message.model_dump() for message in example.messages]
        assert "".join(text for text, _ in render(example)) == words.apply_chat_template(chat, tokenize=False)
        assert ids == words.apply_chat_template(chat)["input_ids"]
        targets = "".join(f"{example.messages[i].content}<|end|>" for i in example.learned)
        assert words.decode([token for token, mine in zip(ids, learned, strict=True) if mine]) == targets


def test_the_shipped_tokenizer_is_the_one_that_is_built():
    shipped, built = AutoTokenizer.from_pretrained(weights()), tokenizer.build(CONTEXT_LENGTH)
    assert shipped.get_vocab() == built.get_vocab()
    assert shipped.chat_template == built.chat_template


def test_every_training_example_fits_the_context(words):
    random = Random(5)
    longest = max(len(ids) for ids, _ in encode(words, [examples.debate(random) for _ in range(400)]))
    assert longest <= CONTEXT_LENGTH - 72
