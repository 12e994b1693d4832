"""Debates as people read them: agents down, rounds across, corrections marked in the text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from arkloom.records import Debate, Turn
from arkloom.reports.blocks import Block
from arkloom.reports.words import listing, plural

State = Literal["right", "wrong", "none", "open"]
"""``open``: there is no gold, so nobody can say."""
Move = Literal["", "corrected", "corrupted"]
Change = Literal["", "changed", "pivot", "refuted"]

SIGNS: dict[str, str] = {"right": "✓", "wrong": "✗", "none": "–", "open": "·"}
WORDS: dict[str, str] = {"right": "right", "wrong": "wrong", "none": "no answer", "open": "not graded"}
LONG = 700  # characters of an answer beyond which it is folded
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
    open: bool = True


def reader(debate: Debate, title: str = "") -> Reader:
    """The block that shows a debate."""
    count = max((turn.round for turn in debate.turns), default=-1) + 1
    spoken = {(turn.agent, turn.round): turn for turn in debate.turns}
    voices = []
    for agent in debate.agents:
        own = [spoken.get((agent.id, number)) for number in range(count)]
        name = f"agent {agent.id + 1}" + (f", {agent.persona}" if agent.persona else "")
        voices.append(Voice(name, tuple(_said(debate, own, number, spoken) for number in range(count))))
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
    after = own[number + 1] if number + 1 < len(own) else None
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
    return Said(state, turn.answer or "", move, lines, note, bool(lines) and len(text) > LONG)


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
    return f"{held} of {plural(len(peers), 'peer')} had said {turn.answer}"


_EQUATION = re.compile(r"([^=]*[-+*/×÷^][^=]*)=\s*([^=]+?)\s*$")


def changes(before: str, after: str) -> tuple[dict[int, Change], dict[int, Change]]:
    """Lines that were revised: indices of the earlier text (``refuted``) and of the later one.

    In the later text the ``pivot`` is the first line that states another result for an operation that
    the earlier text states too; lines that differ otherwise are ``changed``. Prose that was written
    anew shares next to no lines; there only revised results are marked.
    """
    old, new = before.splitlines(), after.splitlines()
    results = {left: (result, index) for index, (left, result) in _equations(old)}
    refuted: dict[int, Change] = {}
    marked: dict[int, Change] = {}
    for index, (left, result) in _equations(new):
        was = results.get(left)
        if was is not None and was[0] != result:
            marked[index] = "changed" if "pivot" in marked.values() else "pivot"
            refuted[was[1]] = "refuted"
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    kept = sum(block.size for block in matcher.get_matching_blocks())
    if kept or len(new) <= _SHORT:
        for kind, _, _, start, stop in matcher.get_opcodes():
            if kind in {"replace", "insert"}:
                marked = {
                    **{index: "changed" for index in range(start, stop) if new[index].strip()},
                    **marked,
                }
    return refuted, marked


_SHORT = 10  # lines: an answer so short is compared line by line even where it shares none


def _equations(lines: Sequence[str]) -> list[tuple[int, tuple[str, str]]]:
    found = []
    for index, line in enumerate(lines):
        match = _EQUATION.search(line)
        if match:
            found.append((index, ("".join(match[1].split()), "".join(match[2].split()))))
    return found


def _vote(debate: Debate, number: int) -> str:
    if number >= len(debate.rounds):
        return ""
    played = debate.rounds[number]
    classes = sorted(played.classes, key=lambda group: -len(group.agents))
    counts = ", ".join(f"{group.answer} × {len(group.agents)}" for group in classes)
    return counts or "no answer"


def _title(debate: Debate) -> str:
    return f"{debate.dataset}, {debate.id[:8]}"


def _story(debate: Debate, voices: Sequence[Voice]) -> str:
    """In a sentence: who was right at first, what happened, what the group said."""
    first = [voice.said[0] for voice in voices if voice.said and voice.said[0] is not None]
    right = sum(said.state == "right" for said in first if said)
    moves = [said.move for voice in voices for said in voice.said if said is not None]
    parts = [f"{right} of {plural(len(first), 'agent')} right alone"]
    if corrected := moves.count("corrected"):
        parts.append(f"{plural(corrected, 'correction')}")
    if corrupted := moves.count("corrupted"):
        parts.append(f"{corrupted} talked out of the right answer")
    if debate.error is not None:
        return f"{listing(parts)}; not finished: {debate.error.message}"
    if debate.final is None or debate.final.answer is None:
        return f"{listing(parts)}; the group gave no answer"
    verdict = {True: "right", False: "wrong", None: "not graded"}[debate.final.correct]
    tie = ", drawn from a tie" if debate.final.tie else ""
    return f"{listing(parts)}; the group answered {debate.final.answer}{tie}: {verdict}"
