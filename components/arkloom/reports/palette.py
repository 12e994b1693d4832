"""Colours by what they mean, once for light and once for dark pages.

The hues of right, wrong and the accents are taken from the set of Okabe and Ito, which people with
colour-vision deficiencies tell apart; a report never says by colour alone what it does not also say by
a sign or a word. Figures are drawn with the light values, which are then replaced by these variables.
"""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff",
    "panel": "#f5f6f8",
    "line": "#dde1e6",
    "faint": "#a9b0ba",
    "muted": "#5a6372",
    "ink": "#1a212c",
    "accent": "#0a66a8",
    "right": "#00785b",
    "wrong": "#b23f07",
    "none": "#79808b",
    "group": "#3d6fb6",
    "student": "#c2480a",
    "control": "#7a4f8f",
    "fix": "#fff1c9",
    "right-wash": "#e2f3ed",
    "wrong-wash": "#fcece3",
}
"""Name of a CSS variable -> its value on a light page."""

DARK = {
    "paper": "#12161c",
    "panel": "#1a2028",
    "line": "#313a46",
    "faint": "#596473",
    "muted": "#9ca7b6",
    "ink": "#e8ecf2",
    "accent": "#6cb6ee",
    "right": "#4cc9a2",
    "wrong": "#f08a55",
    "none": "#8d96a3",
    "group": "#8fb4ea",
    "student": "#f49a5e",
    "control": "#c79fdc",
    "fix": "#4a3d12",
    "right-wash": "#14352c",
    "wrong-wash": "#3d2417",
}
"""The same names on a dark page."""


def css(colours: dict[str, str]) -> str:
    """The declarations of one theme."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())
