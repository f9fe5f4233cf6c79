"""What stands in the place of a value, and why it is never taken for one."""

from __future__ import annotations

import re

from firedoor.privacy.kinds import Match

__all__ = ["FAILED", "LIMIT", "MARKER", "outside_markers"]

FAILED = "<redaction_failed>"
"""What stands for a value that could not be checked."""
LIMIT = "<redaction_limit>"
"""What stands for a value beyond the depth, number or size that is looked at."""

MARKER = re.compile(r"<[a-z][a-z0-9_]{0,39}+:[0-9a-f]{8}>|<redaction_(?:failed|limit)>")


def outside_markers(text: str, found: list[Match]) -> list[Match]:
    """What of the matches lies outside markers: redacting a redacted text changes nothing."""
    marked = [match.span() for match in MARKER.finditer(text)]
    if not marked:
        return found
    # Both in order, so that their number does not multiply.
    found.sort(key=lambda match: match.start)
    kept: list[Match] = []
    place = 0
    for match in found:
        while place < len(marked) and marked[place][1] <= match.start:
            place += 1
        kept.extend(_pieces(text, match, marked, place))
    return kept


def _pieces(text: str, match: Match, marked: list[tuple[int, int]], place: int) -> list[Match]:
    kind, start, end = match
    if place == len(marked) or marked[place][0] >= end:
        return [match]
    pieces = []
    while start < end:
        first, last = marked[place] if place < len(marked) else (end, end)
        # Quotes and commas between markers are nobody's secret.
        if any(map(str.isalnum, text[start : min(first, end)])):
            pieces.append(Match(kind, start, min(first, end)))
        start, place = last, place + 1
    return pieces
