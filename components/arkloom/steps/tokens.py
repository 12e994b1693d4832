"""Which token of a completion holds the last character of each step.

The ids are the ones that the policy drew. Text is never tokenised again: the same text may be written
with other tokens, and a score would then be read, or an advantage laid, at the wrong place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
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
    pieces = _pieces(tokenizer, ids)
    if "".join(piece.text for piece in pieces) != text:  # a decoder that drops the space before a first word
        pieces = [_Piece(0, len(ids), text)]
    lengths = list(accumulate(len(piece.text) for piece in pieces))
    found, low = [], 0
    for end in ends:
        number = bisect_left(lengths, end)
        piece = pieces[number]
        wanted = piece.text[: end - lengths[number] + len(piece.text)]
        low = _first_complete(tokenizer, ids, piece, wanted, max(low, piece.start))
        found.append(low)
    return tuple(found)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text that ``token_ends`` and ``step_ends`` speak of: no special tokens, spaces as they are."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Tokens ``start`` to ``stop`` and the text that they are together."""

    start: int
    stop: int
    text: str


def _pieces(tokenizer: Any, ids: Sequence[int]) -> list[_Piece]:
    """Each token's own text; neighbours that hold parts of characters are one piece."""
    distinct = sorted(set(ids))
    texts = tokenizer.batch_decode(
        [[token] for token in distinct], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    alone = dict(zip(distinct, texts, strict=True))
    found: list[_Piece] = []
    for broken, group in groupby(range(len(ids)), lambda place: BROKEN in alone[ids[place]]):
        places = list(group)
        if broken:
            stop = places[-1] + 1
            found.append(_Piece(places[0], stop, decode(tokenizer, ids[places[0] : stop])))
        else:
            found += [_Piece(place, place + 1, alone[ids[place]]) for place in places]
    return found


def _first_complete(tokenizer: Any, ids: Sequence[int], piece: _Piece, wanted: str, low: int) -> int:
    """The first token of a piece, at ``low`` or later, after which the piece begins with ``wanted``.

    Once a prefix does, later ones do too, so a binary search may be used, but for one thing: while the
    bytes of a character are not complete, a decoder may show ``BROKEN`` for all bytes of their run,
    also for those before them that were complete. Such a prefix tells nothing; one before it does.
    """
    high = piece.stop - 1
    while low < high:
        middle = asked = (low + high) // 2
        prefix = decode(tokenizer, ids[piece.start : asked + 1])
        while not prefix.startswith(wanted) and prefix.endswith(BROKEN) and asked > low:
            asked -= 1
            prefix = decode(tokenizer, ids[piece.start : asked + 1])
        if prefix.startswith(wanted):
            high = asked
        else:
            low = middle + 1
    return low
