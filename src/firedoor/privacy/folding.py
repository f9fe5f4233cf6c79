r"""Characters that read like others: full-width and foreign digits, odd spaces, invisible marks.

A card number typed with full-width digits, or with zero-width spaces between them, is still one;
and `\u0040` in JSON text is an `@`.
Text is folded before it is searched, and the findings are carried back to the text as it came.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from firedoor.privacy.kinds import Match

__all__ = ["Folded", "fold"]

# Decimal digits of scripts in everyday use: Arabic, Persian, Devanagari, Bengali, full-width.
_ZEROS = (0x0660, 0x06F0, 0x0966, 0x09E6, 0xFF10)
_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
_SPACES = "\u00a0\u2000-\u200a\u202f\u205f\u3000"
_HYPHENS = "\u2010-\u2013\u2212\ufe63"
_LIKE = {chr(zero + digit): str(digit) for zero in _ZEROS for digit in range(10)} | {
    chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F)
}
_ESCAPED = r"\\u00[2-7][0-9A-Fa-f]"
_ODD = re.compile(f"[{_INVISIBLE}{_SPACES}{_HYPHENS}{''.join(map(re.escape, _LIKE))}]|{_ESCAPED}")
_ODD_SPACE = re.compile(f"[{_SPACES}]")
_ODD_HYPHEN = re.compile(f"[{_HYPHENS}]")


class Folded:
    """A text in plain characters, and where its characters stood.

    Attributes:
        text: The plain text.
    """

    __slots__ = ("_gone", "text")

    def __init__(self, original: str) -> None:
        parts: list[str] = []
        # For each character left out, in order: where in the plain text the next one stands.
        self._gone: list[int] = []
        at = 0
        for match in _ODD.finditer(original):
            place = match.start()
            parts.append(original[at:place])
            char = match[0]
            plain = _LIKE.get(char)
            if len(char) > 1:
                parts.append(chr(int(char[-2:], base=16)))
                # The rest of the escape goes right behind the character it stands for.
                self._gone.extend([place - len(self._gone) + 1] * (len(char) - 1))
            elif plain is not None:
                parts.append(plain)
            elif _ODD_SPACE.match(char):
                parts.append(" ")
            elif _ODD_HYPHEN.match(char):
                parts.append("-")
            else:
                self._gone.append(place - len(self._gone))
            at = match.end()
        parts.append(original[at:])
        self.text = "".join(parts)

    def restore(self, found: list[Match]) -> list[Match]:
        """Findings in the plain text as findings in the original."""
        if not self._gone:
            return found
        return [Match(m.kind, self._place(m.start), self._place(m.end)) for m in found]

    def _place(self, at: int) -> int:
        return at + bisect_right(self._gone, at)


def fold(text: str) -> Folded | None:
    """`text` folded; None where there is nothing to fold."""
    if (text.isascii() and "\\u00" not in text) or _ODD.search(text) is None:
        return None
    return Folded(text)
