"""Text for a terminal of a given size: cleaned, measured, wrapped and cut by display columns.

Widths follow Unicode Standard Annex 11 (East Asian Width): wide and full-width characters take two
columns, marks that combine take none, all others one. Characters of ambiguous width count as one.
"""

from __future__ import annotations

import unicodedata

__all__ = ["clean", "clip", "columns", "wrap"]

_MARKS = 2
"""Combining marks kept on one character: more of them draw over the lines around."""

_CUT = "..."


def clean(text: str) -> str:
    """`text` on one line, without what a terminal would obey or draw elsewhere.

    Others wrote it. Control and format characters (line ends, escapes, changes of direction),
    surrogates and unassigned ones become a space; runs of white space become one.
    """
    kept: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        if category in {"Mn", "Me", "Mc"}:
            marks += 1
            # A variation selector changes the width of what stands before it.
            if marks > _MARKS or not kept or 0xFE00 <= ord(char) <= 0xFE0F:
                continue
        else:
            marks = 0
        kept.append(" " if category[0] in "CZ" else char)
    return " ".join("".join(kept).split())


def columns(text: str) -> int:
    """How many columns `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_width(char) for char in text)


def clip(text: str, width: int) -> str:
    """`text` in at most `width` columns; where something is cut off it ends in three dots."""
    if columns(text) <= width:
        return text
    room = width - len(_CUT)
    if room < 1:
        return _CUT[: max(0, width)]
    return _head(text, room).rstrip() + _CUT


def wrap(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """`text`, cleaned, in lines of at most `width` columns; at least one line.

    Args:
        text: What to wrap: between words where there are some, anywhere in a word that is longer
            than a line.
        width: Columns; less than `first` and `rest` need is taken as one more than they need.
        first: Begins the first line.
        rest: Begins the others.
    """
    width = max(width, columns(first) + 2, columns(rest) + 2)
    lines: list[str] = []
    line, begun = first, False
    for given in clean(text).split(" "):
        word = given
        while word:
            gap = " " if begun else ""
            if columns(line) + len(gap) + columns(word) <= width:
                line, begun, word = line + gap + word, True, ""
            elif begun:
                lines.append(line)
                line, begun = rest, False
            else:
                head = _head(word, width - columns(line))
                lines.append(line + head)
                line, begun, word = rest, False, word[len(head) :]
    if begun or not lines:
        lines.append(line)
    return [line.rstrip() for line in lines]


def _width(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _head(text: str, width: int) -> str:
    """The longest beginning of `text` in `width` columns, marks with what they stand on."""
    used = 0
    for index, char in enumerate(text):
        used += _width(char)
        if used > width:
            return text[:index]
    return text
