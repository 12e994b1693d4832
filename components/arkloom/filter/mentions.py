"""Finds traces that speak of the debate: other agents, their solutions, or the speaker's earlier answers.

The student answers alone, so such a sentence would teach it to speak of what it never saw. Patterns
come in two strengths: *plain* ones speak of a debate wherever they stand; *loose* ones only do in a turn
that was shown something (an "agent" in round 0 is one of the question's own, as in "oxidising agent"),
and not where the question itself uses the word.
"""

from __future__ import annotations

import re

_COUNT = r"both|all|two|three|four|five|six|several|multiple|various|most|many"
_SAID = r"solutions?|answers?|responses?|explanations?|reasonings?|analys[ei]s|opinions?|approach(?:es)?"
_MANY = r"solutions|answers|responses|explanations|reasonings|analyses|opinions|approaches"

_PLAIN = re.compile(
    rf"\b(?:other|another|fellow|different|earlier|previous|{_COUNT})(?: of the| the)?(?: other)? agents?\b"
    rf"|\bagents?['’]s? (?:{_SAID})\b|\bone agent\b|\bagent solution\b|\bagent #?\d+\b"
    rf"|\b(?:{_SAID}) (?:\w+ )?(?:from|of|by) (?:the |my |all )?(?:other )?"
    r"(?:others|agents?|peers|colleagues)\b"
    rf"|\bmy (?:peers|fellow)\b|\bother (?:debaters|participants|models)\b",
    re.IGNORECASE,
)
_LOOSE = re.compile(
    rf"\b(?P<word>agents?|consensus|peers|debate)\b"
    rf"|\b(?:other|given|provided|previous|prior|earlier|presented|proposed|above) (?:{_SAID})\b"
    rf"|\b(?:{_COUNT}|these|those|other)(?: of)?(?: the| these)? (?:\w+ )?(?:{_MANY})\b"
    rf"|\b(?:{_SAID}) (?:were |was |that (?:were|was) )?(?:provided|presented|given|proposed|offered|above)\b"
    rf"|\bmy (?:own |very )?(?:previous|earlier|initial|original|first|last|prior|updated|revised)\b"
    rf"|\b(?:multiplicity|variety|diversity|range|majority) of (?:the |these )?(?:\w+ )?(?:{_MANY}|agents)\b"
    rf"|\bthe (?:{_MANY}) (?:are|were|all|both|agree|seem|differ|vary|above)\b"
    r"|\b(?:multiple|various|different|diverse) (?:perspectives|viewpoints)\b"
    r"|\bi (?:would |will )?still (?:find|believe|hold|think|maintain|conclude)\b"
    rf"|\b(?:updated|revised|refined) (?:\w+ )?(?:{_SAID})\b"
    r"|\b(?:as|i) (?:i )?(?:have )?(?:previously|earlier)\b"
    r"|\bpreviously (?:stated|provided|mentioned|calculated)\b"
    rf"|\b(?:solution|answer|response) #?\d+ (?:is|was|has|uses|states|in)?\b"
    rf"|\b(?:i|we) (?:\w+ )?(?:dis)?agree\b|\bupon (?:re-?)?(?:view|examin|evaluat|consider|check)\w*"
    rf"|\b(?:remains?|is still) (?:the same|unchanged|correct)\b|\bothers' \w+",
    re.IGNORECASE,
)


def mention(text: str, question: str, alone: bool) -> str | None:
    """The first words that speak of the debate, or None.

    Args:
        text: The trace.
        question: Its question with options: a word it uses itself is no mention.
        alone: The turn was shown no other turn (round 0).

    Example:
        >>> mention("The other agents are right.", "1+1", alone=False)
        'other agents'
        >>> mention("NaOH is the agent here.", "Which agent reacts?", alone=False) is None
        True
    """
    if found := _PLAIN.search(text):
        return found.group()
    if alone:
        return None
    known = question.casefold()
    for match in _LOOSE.finditer(text):
        word = match["word"]
        if word is None or word.casefold().rstrip("s") not in known:
            return match.group()
    return None
