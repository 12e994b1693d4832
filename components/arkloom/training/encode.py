"""Rows as token ids with masks, found from character offsets in the model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from arkloom.errors import BadInputError
from arkloom.records import Message, TrainingRow


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation of T tokens.

    Attributes:
        ids: Token ids, [T].
        reasoning: Mask M_r, [T]: the token is reasoning that the loss covers.
        answer: Mask M_a, [T]: the token is part of the answer, its end-of-turn token included.
        k: Rows of the same problem (DA weighs each by 1/k).
    """

    ids: tuple[int, ...]
    reasoning: tuple[bool, ...]
    answer: tuple[bool, ...]
    k: int = 1

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained(self) -> int:
        """Tokens under the loss: Σ (M_r + M_a)."""
        return sum(self.reasoning) + sum(self.answer)


def encode(tokenizer: Any, row: TrainingRow) -> Example:
    """Tokenise a row's chat; only its last message is under the loss, from ``loss_from`` on.

    The chat is rendered and tokenised whole, so a token that straddles a boundary belongs to what
    comes after it. The end-of-turn token counts as answer; what the template writes after it (a
    line break) is dropped. Where the turn does not end with the token that generation stops at,
    that token follows, so that the student learns to stop.

    Raises:
        BadInputError: The last message is not the assistant's, an offset lies outside of it, or the
            chat template does not write it as it is.
    """
    target = _target(row)
    text = _render(tokenizer, row.messages)
    begin, end, trimmed = _place(tokenizer, row.messages, target, text)
    loss_from = begin + max(row.loss_from - trimmed, 0)
    answer_from = begin + max(row.answer_from - trimmed, 0)
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans: list[tuple[int, int]] = coded["offset_mapping"]
    inside = sum(start < end for start, _ in spans)
    ids = coded["input_ids"][:inside] + _turn_end(tokenizer, coded["input_ids"][inside:])
    ends = [stop for _, stop in spans[:inside]] + [end + 1] * (len(ids) - inside)
    answer = tuple(stop > answer_from for stop in ends)
    reasoning = tuple(loss_from < stop <= answer_from for stop in ends)
    return Example(tuple(ids), reasoning, answer, k=row.k)


def _target(row: TrainingRow) -> str:
    if not row.messages or row.messages[-1].role != "assistant":
        raise BadInputError("messages: the last message is not the assistant's")
    content = row.messages[-1].content
    if not content.strip():
        raise BadInputError("messages: the last message is empty")
    if not 0 <= row.loss_from <= row.answer_from <= len(content):
        raise BadInputError(
            f"loss_from {row.loss_from} and answer_from {row.answer_from} do not fit the last message "
            f"({len(content)} characters)",
            mend="They must hold 0 <= loss_from <= answer_from <= its length",
        )
    return content


def _render(tokenizer: Any, messages: Sequence[Message], prompt: bool = False) -> str:
    chat = [message.model_dump() for message in messages]
    return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt))


def _place(tokenizer: Any, messages: Sequence[Message], target: str, text: str) -> tuple[int, int, int]:
    """Where the target stands in the rendered chat: begin, end, characters trimmed at its left."""
    prompt = _render(tokenizer, messages[:-1], prompt=True)
    if not text.startswith(prompt):  # the generation prompt opens what a finished turn does not write
        prompt = _shared(text, _render(tokenizer, messages[:-1]))
    for shown in (target, target.strip()):
        begin = text.find(shown, len(prompt))
        if begin >= 0:
            return begin, begin + len(shown), target.index(shown)
    raise BadInputError("the model's chat template does not write the last message as it is")


def _shared(one: str, other: str) -> str:
    """The longest prefix of both."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return one[: sum(1 for _ in same)]


def _turn_end(tokenizer: Any, tail: Sequence[int]) -> list[int]:
    """The ids that close the turn: up to the first special token, and the one generation stops at."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    close = next((index + 1 for index, token in enumerate(tail) if token in special), 0)
    ids = list(tail[:close])
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ids:
        ids.append(tokenizer.eos_token_id)
    return ids
