"""Where the sentence being said ends, in a text that comes piece by piece.

Pure. Used to end a stream that is to drain: never in the middle of a sentence, and never long after
it was asked to.
"""

from __future__ import annotations

import re

__all__ = ["LONGEST", "Sentence"]

LONGEST = 1_000
"""Characters after which a text without an end of a sentence is cut: code, tables."""

_KEPT = 8
_END = re.compile(r"[.!?…][\"'”’)\]]{0,4}(?=\s)|[。！？]|\n")  # noqa: RUF001 - full stops of CJK


class Sentence:
    """Finds the end of the sentence a text is in the middle of.

    A full stop counts once white space follows it, so that `3.14` cut after the point is whole.
    """

    __slots__ = ("_said", "_tail")

    def __init__(self) -> None:
        self._tail = ""
        self._said = 0

    def feed(self, piece: str) -> int | None:
        """How many characters of `piece` still belong to the sentence; None: all, and it goes on.

        0 where the sentence ended with the piece before.
        """
        joined = self._tail + piece
        found = _END.search(joined)
        if found is not None:
            return max(0, found.end() - len(self._tail))
        left = LONGEST - self._said
        if len(piece) >= left:
            return left
        self._said += len(piece)
        self._tail = joined[-_KEPT:]
        return None
