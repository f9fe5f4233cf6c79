"""All built-in detectors in one pass: what is in a text."""

from __future__ import annotations

from firedoor.privacy.kinds import Match
from firedoor.privacy.network import find_assigned, find_emails
from firedoor.privacy.numbers import find_numbers
from firedoor.privacy.tokens import find_tokens

__all__ = ["find_all", "settle"]


def find_all(text: str) -> list[Match]:
    """Everything the built-in detectors find, in any order, possibly overlapping."""
    found: list[Match] = []
    if "@" in text:
        find_emails(text, found)
    find_numbers(text, found)
    find_tokens(text, found)
    find_assigned(text, found)
    return found


def settle(found: list[Match]) -> list[Match]:
    """Overlapping matches made one, of the kind that begins first (the longest, if two do)."""
    found.sort(key=lambda match: (match.start, -match.end))
    settled = [found[0]]
    for match in found[1:]:
        last = settled[-1]
        if match.start >= last.end:
            settled.append(match)
        else:
            # What stands beside a word is named by its own shape, if it has one.
            kind = match.kind if last.kind == "secret" else last.kind
            settled[-1] = Match(kind, last.start, max(last.end, match.end))
    return settled
