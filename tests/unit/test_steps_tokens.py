"""Token ends: read from the completion's own tokens, whatever tokens those are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from arkloom.engines.models import model_folder
from arkloom.steps.ends import step_ends
from arkloom.steps.split import MAX_STEPS
from arkloom.steps.tokens import decode, token_ends

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level() -> PreTrainedTokenizerFast:
    """One token a byte, some of two bytes: a character may be spread over up to four tokens."""
    merges = [("1", "2"), ("=", "1"), ("Ċ", "2"), ("ä", "½")]
    names = [*ALPHABET, *("".join(pair) for pair in merges), "<end>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<end>")


def byte_fallback() -> PreTrainedTokenizerFast:
    """The SentencePiece way: a leading space is dropped, unknown characters are bytes."""
    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁0123456789=+-*#ab", "▁a", "12"]
    inner = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=[("▁", "a"), ("1", "2")],
                                 unk_token="<unk>", byte_fallback=True))  # fmt: skip
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


TOKENIZERS: dict[str, Any] = {"bytes": byte_level(), "fallback": byte_fallback()}
TINY = AutoTokenizer.from_pretrained(model_folder("tiny"))


def by_prefix(tokenizer: Any, ids: list[int], end: int) -> int:
    """The plain definition: the first token whose prefix holds the text up to ``end``."""
    text = decode(tokenizer, ids)
    return next(k for k in range(len(ids)) if decode(tokenizer, ids[: k + 1]).startswith(text[:end]))


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.text(st.sampled_from("a 0123456789=+-*#\nä½€😀"), min_size=1, max_size=40), cuts=st.data())
@settings(max_examples=40, deadline=None)
def test_every_end_is_the_token_that_completes_its_character(
    name: str, text: str, cuts: st.DataObject
) -> None:
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(text, add_special_tokens=False)
    seen = decode(tokenizer, ids)
    if not seen:
        return
    ends = sorted(cuts.draw(st.sets(st.integers(1, len(seen)), min_size=1, max_size=5)))
    assert token_ends(tokenizer, ids, ends) == tuple(by_prefix(tokenizer, ids, end) for end in ends)


def test_the_same_text_in_other_tokens_has_its_own_ends() -> None:
    """Tokenising the text again would give 12 as one token; the policy drew two."""
    tokenizer = TOKENIZERS["bytes"]
    drawn = tokenizer.convert_tokens_to_ids(["=", "1", "2", "Ċ", "2", "=", "2", "<end>"])
    text = decode(tokenizer, drawn)
    again = tokenizer.encode(text)
    assert text == "=12\n2=2"
    assert len(again) < len(drawn) - 1
    assert token_ends(tokenizer, drawn, [3, 7]) == (2, 6)
    assert token_ends(tokenizer, again, [3, 7]) == (1, 5)


def test_a_step_may_end_inside_a_token_and_never_on_the_end_mark() -> None:
    tokenizer = TOKENIZERS["bytes"]
    ids = tokenizer.convert_tokens_to_ids(["=1", "Ċ2", "<end>", "<end>"])  # =1\n2
    assert token_ends(tokenizer, ids, [1, 2, 4]) == (0, 0, 1)


def test_the_last_step_of_a_tiny_answer_is_scored_at_its_last_digit() -> None:
    text = "7*5=35\n4*6=24\n2+35=37\n37+3=40\n40-24=16\n#### 16"
    ids = [*TINY.encode(text, add_special_tokens=False), TINY.eos_token_id]
    ends = step_ends(text, "number")
    found = token_ends(TINY, ids, ends)
    assert len(found) == 6
    assert found[-1] == len(ids) - 2
    assert [decode(TINY, ids[: k + 1]) for k in found] == [text[:end] for end in ends]


@pytest.mark.parametrize("ends", [[0], [5], [3, 2]])
def test_ends_outside_the_text_are_refused(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="do not lie in a text of 4"):
        token_ends(TOKENIZERS["bytes"], TOKENIZERS["bytes"].encode("=1=2"), ends)


def test_no_steps_no_ends() -> None:
    assert token_ends(TINY, [TINY.eos_token_id], ()) == ()
    assert step_ends("  \n ", "number") == ()


def test_more_steps_than_may_be_join_the_last() -> None:
    text = "\n".join(f"{n}+1={n + 1}" for n in range(50))
    ends = step_ends(text, "number")
    assert len(ends) == MAX_STEPS
    assert ends[-1] == len(text)
