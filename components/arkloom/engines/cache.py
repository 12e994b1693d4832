"""The keys and values of sequences that decode together though their lengths differ."""

from __future__ import annotations

from typing import Any

_GROWTH = 64  # positions that the cache grows by
_ROUND = 16  # attention reads a multiple of so many positions: then more of them change no bit of its result


class RaggedCache:
    """Keys and values by row: per layer two tensors [rows, heads, positions, dim].

    Quacks like a ``transformers`` cache: attention layers call ``update``. Rows are padded on the right with
    finite values that the mask of the pass hides.

    Args:
        rows: Most rows it is meant to hold; it grows to them by doubling.
    """

    is_compileable = False

    def __init__(self, rows: int) -> None:
        self._most = rows
        self._layers: list[tuple[Any, Any]] = []
        self._rows = self._positions = self._seen = 0
        self._filling: int | None = None
        self._ends: tuple[Any, Any] = (None, None)

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for so many rows and positions."""
        doubled = min(2 * self._rows, self._most)  # growth copies everything, so it must be rare
        rows = max(rows, doubled) if rows > self._rows else self._rows
        positions = max(-(-positions // _GROWTH) * _GROWTH, self._positions)
        if (rows, positions) == (self._rows, self._positions):
            return
        self._rows, self._positions = rows, positions
        self._layers = [(self._grown(keys), self._grown(values)) for keys, values in self._layers]

    def fill(self, row: int) -> None:
        """The next pass computes whole prompts, for rows from ``row`` on."""
        self._filling = row

    def extend(self, rows: Any, lengths: Any) -> int:
        """The next pass adds one position to each row, at ``lengths``; returns the positions it attends to.

        Args:
            rows: 0..B-1; shape [B].
            lengths: Positions already filled in each row; shape [B].
        """
        self._filling, self._ends = None, (rows, lengths)
        self._seen = min(self._positions, -(-(int(lengths.max()) + 1) // _ROUND) * _ROUND)
        return self._seen

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        for keys, values in self._layers:
            keys[target], values[target] = keys[source], values[source]

    def update(self, keys: Any, values: Any, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Take a layer's new keys and values [B, heads, T, dim]; returns those to attend to."""
        if layer == len(self._layers):
            self._layers.append((self._empty(keys), self._empty(values)))
        kept_keys, kept_values = self._layers[layer]
        count, span = keys.shape[0], keys.shape[2]
        if self._filling is not None:
            rows = slice(self._filling, self._filling + count)
            kept_keys[rows, :, :span] = keys
            kept_values[rows, :, :span] = values
            return keys, values
        ends = (self._ends[0], slice(None), self._ends[1])
        kept_keys[ends] = keys[:, :, 0]
        kept_values[ends] = values[:, :, 0]
        return kept_keys[:count, :, : self._seen], kept_values[:count, :, : self._seen]

    def get_seq_length(self, *_: Any) -> int:
        """Prompts are computed whole, so nothing lies before them; decoding brings its own mask."""
        return 0

    def get_query_offset(self, *_: Any) -> int:
        """As ``get_seq_length``."""
        return 0

    def get_mask_sizes(self, query_length: int, *_: Any) -> tuple[int, int]:
        """Length and offset of the keys that a prompt attends to."""
        return query_length, 0

    def _empty(self, like: Any) -> Any:
        return like.new_zeros(self._rows, like.shape[1], self._positions, like.shape[3])

    def _grown(self, old: Any) -> Any:
        new = self._empty(old)
        new[: old.shape[0], :, : old.shape[2]] = old
        return new
