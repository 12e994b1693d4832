"""Debates as people read them: agents down, rounds across, corrections marked in the text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from arkloom.records import Debate, Turn
from arkloom.reports.blocks import Block
from arkloom.reports.words import plural, shorten

State = Literal["right", "wrong", "none", "open"]
"""``open``: there is no gold, so nobody can say."""
Move = Literal["", "corrected", "corrupted"]
Change = Literal["", "changed", "pivot", "refuted"]

SIGNS: dict[str, str] = {"right": "✓", "wrong": "✗", "none": "–", "open": "·"}
WORDS: dict[str, str] = {"right": "right", "wrong": "wrong", "none": "no answer", "open": "not graded"}
LONG = 700  # characters of an answer beyond which it is folded
_PROSE = 70  # characters of a line beyond which an answer is set as running text
_LONGEST = 6000  # characters of an answer that a page shows at all


@dataclass(frozen=True)
class TextLine:
    """A line of an answer and what became of it; see ``changes``."""

    text: str
    change: Change = ""


@dataclass(frozen=True)
class Said:
    """One answer of one agent."""

    state: State
    answer: str
    move: Move
    lines: tuple[TextLine, ...]
    note: str
    folded: bool

    @property
    def sign(self) -> str:
        """Right, wrong or no answer, as one character."""
        return SIGNS[self.state]

    @property
    def word(self) -> str:
        """The same as a word."""
        return WORDS[self.state]


@dataclass(frozen=True)
class Voice:
    """One agent's row."""

    name: str
    persona: str
    said: tuple[Said | None, ...]


@dataclass(frozen=True)
class Reader(Block):
    """One debate to read."""

    template = "reader"
    title: str
    question: str
    options: tuple[str, ...]
    gold: str | None
    story: str
    votes: tuple[str, ...]
    voices: tuple[Voice, ...]
    rounds: tuple[str, ...]

    @property
    def prose(self) -> bool:
        """Whether the answers are running text rather than lines of working."""
        said = [turn for voice in self.voices for turn in voice.said if turn is not None]
        return any(len(line.text) > _PROSE for turn in said for line in turn.lines)


def reader(debate: Debate, title: str = "") -> Reader:
    """The block that shows a debate."""
    count = max((turn.round for turn in debate.turns), default=-1) + 1
    spoken = {(turn.agent, turn.round): turn for turn in debate.turns}
    voices = []
    for agent in debate.agents:
        own = [spoken.get((agent.id, number)) for number in range(count)]
        name, persona = f"agent {agent.id + 1}", shorten(agent.persona or "", 90)
        voices.append(
            Voice(name, persona, tuple(_said(debate, own, number, spoken) for number in range(count)))
        )
    return Reader(
        title=title or _title(debate),
        question=debate.question,
        options=debate.options,
        gold=debate.gold,
        story=_story(debate, voices),
        votes=tuple(_vote(debate, number) for number in range(count)),
        voices=tuple(voices),
        rounds=("alone", *(f"round {number}" for number in range(1, count))),
    )


def state_of(turn: Turn, gold: str | None) -> State:
    """Right, wrong, no answer, or not graded."""
    if turn.answer is None:
        return "none"
    if turn.correct is None:
        return "open" if gold is None else "wrong"
    return "right" if turn.correct else "wrong"


def _said(
    debate: Debate, own: Sequence[Turn | None], number: int, spoken: dict[tuple[int, int], Turn]
) -> Said | None:
    turn = own[number]
    if turn is None:
        return None
    before = own[number - 1] if number else None
    after = next((later for later in own[number + 1 :] if later and later.text != turn.text), None)
    state = state_of(turn, debate.gold)
    move = _move(before, turn, debate.gold)
    text = turn.text if len(turn.text) <= _LONGEST else turn.text[:_LONGEST] + " …"
    changed = changes(before.text, text)[1] if before and move else {}
    if after and _move(turn, after, debate.gold):
        changed = {**{index: "refuted" for index in changes(text, after.text)[0]}, **changed}
    lines = tuple(TextLine(line, changed.get(index, "")) for index, line in enumerate(text.splitlines()))
    note = _note(turn, spoken) if move else ""
    if before is not None and before.text == turn.text:
        lines, note = (), "the same again"
    return Said(state, shorten(turn.answer or ""), move, lines, note, bool(lines) and len(text) > LONG)


def _move(before: Turn | None, turn: Turn, gold: str | None) -> Move:
    if before is None:
        return ""
    was, now = state_of(before, gold), state_of(turn, gold)
    if was == "wrong" and now == "right":
        return "corrected"
    return "corrupted" if was == "right" and now == "wrong" else ""


def _note(turn: Turn, spoken: dict[tuple[int, int], Turn]) -> str:
    """How many of the peers it was shown held its answer in the round before."""
    shown = [spoken.get((ref.agent, ref.round)) for ref in turn.source_turns if ref.round == turn.round - 1]
    peers = [peer for peer in shown if peer is not None and peer.agent != turn.agent]
    if not peers:
        return ""
    held = sum(peer.answer == turn.answer for peer in peers)
    return f"{held} of {plural(len(peers), 'peer')} had said {shorten(turn.answer or '')}"


_EQUATION = re.compile(
    r"([\d(][\d\s.,()]*[-+*/×÷^][-+*/×÷^\d\s.,()]*?)\s*=\s*(?:\$|\\boxed\{)?\s*(-?\d[\d.,]*)"
)
_LINE_READ = 1000  # characters of a line that are searched for equations
_REWRITTEN = 0.1  # share of lines kept below which an answer was written anew


def changes(before: str, after: str) -> tuple[dict[int, Change], dict[int, Change]]:
    r"""Lines that were revised: indices of the earlier text (``refuted``) and of the later one.

    In the later text the ``pivot`` is the first line that states another result for an operation that
    the earlier text states too; lines that differ otherwise are ``changed``. Prose that was written
    anew shares next to no lines; there only revised results are marked.

    Example:
        >>> changes("2*3=5\n5+1=6\n####", "2*3=6\n6+1=7\n####")
        ({0: 'refuted'}, {0: 'pivot', 1: 'changed'})
    """
    old, new = before.splitlines(), after.splitlines()
    stated = {left: (result, index) for index, left, result in _equations(old)}
    refuted: dict[int, Change] = {}
    marked: dict[int, Change] = dict.fromkeys(_differing(old, new), "changed")
    revised = [
        (index, *stated[left])
        for index, left, result in _equations(new)
        if left in stated and stated[left][0] != result
    ]
    for index, _, was in revised:
        marked[index] = "changed"
        refuted[was] = "refuted"
    if revised:
        marked[revised[0][0]] = "pivot"
    return refuted, marked


def _differing(old: Sequence[str], new: Sequence[str]) -> list[int]:
    """Lines of the later text that the earlier one does not have; none where all was written anew."""
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    kept = {b.b + k for b in matcher.get_matching_blocks() for k in range(b.size)}
    full = [index for index, line in enumerate(new) if line.strip()]
    if len(kept & set(full)) < _REWRITTEN * len(full):
        return []
    return [index for index in full if index not in kept]


def _equations(lines: Sequence[str]) -> list[tuple[int, str, str]]:
    """(line, operation, result) of every equation between numbers, spaces removed."""
    return [
        (index, "".join(match[1].split()), match[2].rstrip(".,"))
        for index, line in enumerate(lines)
        for match in _EQUATION.finditer(line[:_LINE_READ])
    ]


def _vote(debate: Debate, number: int) -> str:
    if number >= len(debate.rounds):
        return ""
    played = debate.rounds[number]
    classes = sorted(played.classes, key=lambda group: -len(group.agents))
    counts = ", ".join(f"{shorten(group.answer)} × {len(group.agents)}" for group in classes)
    return counts or "no answer"


def _title(debate: Debate) -> str:
    return f"{debate.dataset}, {debate.id[:8]}"


def _story(debate: Debate, voices: Sequence[Voice]) -> str:
    """In a few words: who was right at first, what happened, what the group said."""
    said = [[turn for turn in voice.said if turn is not None] for voice in voices]
    parts = []
    if debate.gold is not None:
        right = sum(bool(turns) and turns[0].state == "right" for turns in said)
        parts.append(
            f"{right} of {plural(len(voices), 'agent')} {'was' if right == 1 else 'were'} right alone"
        )
        moves = [{turn.move for turn in turns} for turns in said]
        if corrected := sum("corrected" in own for own in moves):
            parts.append(f"{corrected} corrected {'itself' if corrected == 1 else 'themselves'}")
        if corrupted := sum("corrupted" in own for own in moves):
            parts.append(f"{corrupted} {'was' if corrupted == 1 else 'were'} talked out of the right answer")
    told = f"{'; '.join(parts)}. " if parts else ""
    if debate.error is not None:
        return f"{told}The debate was not finished: {debate.error.message}"
    if debate.final is None or debate.final.answer is None:
        return f"{told}The group gave no answer"
    verdict = {True: ": right", False: ": wrong", None: ""}[debate.final.correct]
    tie = ", drawn from a tie" if debate.final.tie else ""
    return f"{told}The group answered {shorten(debate.final.answer)}{tie}{verdict}"
