"""How much of a text that still grows is settled: no text to come can change what is found there."""

from __future__ import annotations

from firedoor.privacy.network import names_secret

__all__ = ["BEHIND", "LONGEST", "open_from"]

BEHIND = 64
"""Characters before a position that detectors may look at to judge it."""
LONGEST = 16_384
"""Characters of the longest value that is held back whole: a key block, a token."""
_NUMBER = 64
"""Characters of the longest number with its separators, and some more."""
_PUNCTUATION = frozenset("+-./() ")


def open_from(text: str) -> int:
    """Where the part of `text` begins that may still become, or belong to, a finding."""
    size = len(text)
    position = _word_start(text, size)
    position = _numbers_start(text, position)
    position = min(position, _block_start(text), _quote_start(text, position))
    return max(position, size - LONGEST, 0)


def _word_start(text: str, end: int) -> int:
    """The start of the word that ends at `end`: most values hold no space."""
    start = end
    while start > 0 and end - start < LONGEST:
        # By growing steps: a word is short, a token may be long.
        chunk = text[max(0, start - 64) : start]
        word = chunk.split()
        if not word or chunk[-1:].isspace():
            return start
        if len(word[-1]) < len(chunk):
            return start - len(word[-1])
        start -= len(chunk)
    return start


def _numbers_start(text: str, position: int) -> int:
    """Back over words that a number with spaces may be made of: digits, `(0)`, `GB29 NWBK`."""
    least = max(0, position - _NUMBER)
    while position > least:
        end = position
        while end > least and text[end - 1].isspace():
            end -= 1
        start = end
        while start > least and not text[start - 1].isspace():
            start -= 1
        word = text[start:end]
        if not word or not _numeric(word):
            break
        position = start
    return position


def _numeric(word: str) -> bool:
    return (
        any(char.isdigit() for char in word)
        or word[-2:].isupper()
        or word[-1] in "+("
        or _PUNCTUATION.issuperset(word)
    )


def _block_start(text: str) -> int:
    """The start of a key block that has no end yet."""
    begin = text.rfind("-----BEGIN", max(0, len(text) - LONGEST))
    if begin < 0:
        return len(text)
    end = text.find("-----END", begin)
    if end >= 0 and text.find("-----", end + 8) >= 0:
        return len(text)
    return begin


def _quote_start(text: str, position: int) -> int:
    """The start of a quoted value behind a key word, where the quote is still open."""
    quote = max(text.rfind('"', 0, position), text.rfind("'", 0, position))
    if quote < 0 or text.find("\n", quote, position) >= 0:
        return position
    sign = text[max(0, quote - 8) : quote].rstrip("\\ \t\n\r\v\f\x1c\x1d\x1e\x1f\x85")
    if not sign.endswith((":", "=")):
        return position
    at = max(0, quote - 8) + len(sign) - 1
    return quote if names_secret(text, at) else position
