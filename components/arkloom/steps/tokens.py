"""Which token of a completion holds the last character of each step.

The ids are the ones that the policy drew. Text is never tokenised again: the same text may be written
with other tokens, and a score would then be read, or an advantage laid, at the wrong place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

BROKEN = "\ufffd"  # what a decoder puts where the bytes of a character are not complete


def token_ends(tokenizer: Any, ids: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """Index of the token that completes each character end.

    Args:
        tokenizer: Of the policy; only ``decode`` and ``batch_decode`` are used.
        ids: The completion's own tokens [T]; special ones (end, padding) hold no character.
        ends: Ascending character ends in ``decode(ids)`` [S], each in 1..len(text).

    Returns:
        Indices into ``ids`` [S], not descending; two steps that end in one token share it.

    Raises:
        ValueError: An end lies outside the decoded text, or the ends are not ascending.
    """
    if not ends:
        return ()
    text = decode(tokenizer, ids)
    if ends[0] < 1 or ends[-1] > len(text) or any(a > b for a, b in pairwise(ends)):
        raise ValueError(f"step ends {list(ends)} do not lie in a text of {len(text)} characters")
    lengths = _lengths(tokenizer, ids, text)
    if lengths is not None:
        return tuple(bisect_left(lengths, end) for end in ends)
    found, low = [], 0
    for end in ends:
        low = _first_complete(tokenizer, ids, text[:end], low)
        found.append(low)
    return tuple(found)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text that ``token_ends`` and ``step_ends`` speak of: no special tokens, spaces as they are."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _lengths(tokenizer: Any, ids: Sequence[int], text: str) -> list[int] | None:
    """Characters after each token, where tokens decoded one by one join to the text; else None.

    They do not where a character's bytes are spread over tokens, or where a decoder drops the space
    before a first word.
    """
    distinct = sorted(set(ids))
    parts = tokenizer.batch_decode(
        [[token] for token in distinct], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    pieces = dict(zip(distinct, parts, strict=True))
    if any(BROKEN in piece for piece in parts) or "".join(pieces[token] for token in ids) != text:
        return None
    return list(accumulate(len(pieces[token]) for token in ids))


def _first_complete(tokenizer: Any, ids: Sequence[int], wanted: str, low: int) -> int:
    """The first token after which the decoded prefix begins with ``wanted``, at ``low`` or later.

    Once a prefix does, later ones do too, so a binary search may be used, but for one thing: while the
    bytes of a character are not complete, a decoder may show ``BROKEN`` for all bytes of their run,
    also for those before them that were complete. Such a prefix tells nothing; one before it does.
    """
    high = len(ids) - 1
    while low < high:
        middle = asked = (low + high) // 2
        prefix = decode(tokenizer, ids[: asked + 1])
        while not prefix.startswith(wanted) and prefix.endswith(BROKEN) and asked > low:
            asked -= 1
            prefix = decode(tokenizer, ids[: asked + 1])
        if prefix.startswith(wanted):
            high = asked
        else:
            low = middle + 1
    return low
