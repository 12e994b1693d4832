"""Makes hostile inputs: texts from fragments, JSON with strange values, and mutations of real rows.

Everything comes from one ``random.Random``, so an input is known by its seed and number alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MOST = 1 << 20  # characters; few inputs are so long

# fmt: off
# Strange, but valid in a Python string: half a character, direction marks, digits of other scripts.
_SIGNS = (
    "\x00", "\ud800", "\udfff", "\ufeff", "\u202e", "\u2028", "\x85", "\x1b[2J", "\u200b", "e\u0301", "😀",
    "١٢٣", "１２", "²", "½", "Ⅷ", "०", "𝟘", "٫",
)
_NUMBERS = (
    "0", "-1", "1e999999999", "10**1000000000", "9" * 5000, "0x1F", "1_000", "1,000,00", "+-5", ".5.", "NaN",
    "Infinity", "1/0", "0/0", "1e-400", "-0", "12:30", "1 000", "5%", "$3.50", "3.", "1.2.3",
)
_LATEX = (
    r"\boxed{", "}", "{", r"\frac{", r"\frac12", r"\sqrt[3]{", r"\left(", r"\right)", "$", "$$", r"\[", r"\(",
    r"\text{", r"\pi", "^", "_", "^{", r"\cdot", r"\infty", "√", "°", r"\%", r"\pm", r"\cup", "!", "|", "\\",
)
_PROSE = (
    "The answer is ", "answer: ", "#### ", "= ", "Step 1: ", "\n\n", "\n", " ", "(A)", "**B**", "A, B or C",
    "option C is not correct", "So 3 x 4 = 12 ", "7*5=35\n", "is", " and ", "dollars", "hundred", "Summary:",
    ": A) ", ", B) ", "<think>", "</think>", "<<2+3=5>>", "- ", "1. ", "x^2", "(x+y)", "'", '"', ",", ".",
)
_YAML = (
    "&a ", "*a", "!!python/object/apply:os.system ", "!!binary ", "!!int ", "!!set ", "<<: ", "? ", "---\n",
    "%YAML 9.9\n", "2001-99-99", "0b_", "0o9", "1:60:61", "~", "null", "|", ">", "@", "`", "\t", "# ", "[",
    "]", ": ", "0x_", "._", "1e", "!!timestamp x", "!!float x", "!!null x", "=", "_0", ".inf", ".nan", ";",
)
_PATHS = (
    "../../etc/passwd", "/etc/passwd", "a" * 300, "a/" * 3000, "file:///x", "s3://b/k", "C:\\x", "~", ".",
)
FRAGMENTS = (*_SIGNS, *_NUMBERS, *_LATEX, *_PROSE, *_YAML, *_PATHS)

# json.dumps cannot write these: a mark stands for each until the text is made.
_HUGE, _DEEP, _TWICE = "@@HUGE@@", "@@DEEP@@", "@@TWICE@@"
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**63, 10**400, 1e308, float("nan"), float("inf"), 0.1, "", " ", [], {},
    [[]], [None], {"": ""}, "x", "5", "A", _HUGE, _DEEP, _TWICE, "train", "number", "mcq", *_PATHS,
)
# fmt: on


class Maker:
    """One input's source of chance, with the rows it may start from.

    Args:
        rng: The only source of chance.
        rows: Real or hand-made rows, mutated; may be empty.
    """

    def __init__(self, rng: random.Random, rows: Sequence[Any] = ()) -> None:
        self.rng, self.rows = rng, rows

    def row(self) -> Any:
        """A copy of one of the rows."""
        return json.loads(json.dumps(self.rng.choice(self.rows)))

    def fragment(self) -> str:
        """A short hostile text."""
        if self.rng.random() < 0.2:
            whole = self.rng.choice([self.rng.randint(-100, 100), 10 ** self.rng.randint(0, 30)])
            return str(self.rng.random() if self.rng.random() < 0.3 else whole)
        return self.rng.choice(FRAGMENTS)

    def text(self, longest: int = 12) -> str:
        """Some fragments in a row; now and then one of them many times over."""
        parts = [self.fragment() for _ in range(self.rng.randint(1, longest))]
        if self.rng.random() < 0.1:
            place = self.rng.randrange(len(parts))
            parts[place] *= self._times(len(parts[place]))
        return "".join(parts)[:MOST]

    def _times(self, length: int) -> int:
        reach = self.rng.choices([40, 1_000, 20_000, MOST], [60, 30, 9, 0.4])[0]
        return max(1, self.rng.randint(1, reach) // max(1, length))

    def changed(self, text: str) -> str:
        """A text with one to four small changes."""
        for _ in range(self.rng.randint(1, 4)):
            start = self.rng.randint(0, len(text))
            end = min(len(text), start + self.rng.choice([0, 1, 3, 20, 400]))
            piece = text[start:end]
            way = self.rng.randrange(6)
            if way == 1:
                piece = ""
            elif way == 2:
                piece *= self._times(max(1, len(piece)))
            elif way == 3:
                piece = piece.swapcase()[::-1]
            elif way == 4:
                return text[:end]
            text = text[:start] + (piece if way in (1, 2, 3) else self.fragment()) + text[end:]
        return text[:MOST]

    def value(self) -> Any:
        """A strange JSON value."""
        return self.rng.choice(_VALUES) if self.rng.random() < 0.7 else self.text(4)

    def altered(self, value: Any) -> Any:
        """A JSON value with one to three places of it changed."""
        if self.rng.random() < 0.3:  # keep its form, so that reading goes on behind the first check
            return self._respoken(value)
        for _ in range(self.rng.randint(1, 3)):
            value = self._alter(value, self.rng.randint(0, 5))
        return value

    def _respoken(self, value: Any) -> Any:
        """A JSON value with one of its texts changed, all else as it was."""
        if isinstance(value, dict) and value:
            key = self.rng.choice(list(value))
            return {**value, key: self._respoken(value[key])}
        if isinstance(value, list) and value:
            place = self.rng.randrange(len(value))
            return [*value[:place], self._respoken(value[place]), *value[place + 1 :]]
        if not isinstance(value, str):
            return value
        return self.changed(value) if self.rng.random() < 0.7 else self.text(20)

    def _alter(self, value: Any, depth: int) -> Any:
        if depth and isinstance(value, dict) and value:
            key = self.rng.choice(list(value))
            way = self.rng.random()
            if way < 0.1:
                return {name: held for name, held in value.items() if name != key}
            if way < 0.2:
                return {**value, self.changed(key): self.value()}
            return {**value, key: self._alter(value[key], depth - 1)}
        if depth and isinstance(value, list) and value:
            place = self.rng.randrange(len(value))
            times = self.rng.choice([0, 1, 1, 1, 1, 2, 30])
            changed = [self._alter(value[place], depth - 1)]
            changed *= times if len(str(changed)) * times < MOST else 1
            return [*value[:place], *changed, *value[place + 1 :]]
        if isinstance(value, str) and self.rng.random() < 0.6:
            return self.changed(value)
        return [value] if self.rng.random() < 0.1 else self.value()

    def json(self, value: Any) -> str:
        """A value as JSON text on one line, with what only a text can hold."""
        plain = self.rng.random() < 0.8
        text = json.dumps(value, ensure_ascii=plain)
        deep = self.rng.choice([3, 200, 5_000])
        text = text.replace(f'"{_HUGE}"', "9" * self.rng.choice([30, 400, 5_000]))
        text = text.replace(f'"{_DEEP}"', "[" * deep + "]" * deep)
        text = text.replace(f'"{_TWICE}"', '{"question": 1, "question": 2}')
        return self.changed(text) if self.rng.random() < 0.15 else text[: 2 * MOST]

    def lines(self, finish: Callable[[Any], Any] = lambda row: row) -> str:
        """One to three altered rows as JSONL; most are finished first."""
        rows = [self.altered(self.row()) for _ in range(self.rng.randint(1, 3))]
        rows = [self.json(finish(row) if self.rng.random() < 0.9 else row) for row in rows]
        return "\n".join(rows) + self.rng.choice(["\n", "", "\n\n", "\r\n"])

    def bytes(self, text: str) -> bytes:
        """A text as bytes; now and then in another encoding, torn, or with bytes of no encoding."""
        way = self.rng.random()
        if way < 0.85:
            return text.encode("utf-8", "surrogatepass")
        if way < 0.88:
            return b"\xef\xbb\xbf" + text.encode("utf-8", "replace")
        if way < 0.90:
            return text.encode(self.rng.choice(["utf-16", "utf-32", "latin-1", "cp1252"]), "replace")
        if way < 0.92:
            return text.replace("\n", "\r\n").encode("utf-8", "replace")
        whole = text.encode("utf-8", "replace")
        place = self.rng.randint(0, len(whole))
        return whole[:place] + (b"" if way < 0.95 else bytes([self.rng.randrange(256)]) + whole[place:])


def file_of(given: str, path: Path) -> Path:
    """Bytes as latin-1 text, written to a file."""
    path.write_bytes(given.encode("latin-1"))
    return path


def bytes_of(maker: Maker, text: str) -> str:
    """The bytes that a text becomes, as latin-1 text."""
    return maker.bytes(text).decode("latin-1")
