"""What stands in the place of a value, and why it is never taken for one."""

from __future__ import annotations

import re

from firedoor.privacy.kinds import Match

__all__ = ["FAILED", "LIMIT", "MARKER", "outside_markers"]

FAILED = "<redaction_failed>"
"""What stands for a value that could not be checked."""
LIMIT = "<redaction_limit>"
"""What stands for a value beyond the depth, number or size that is looked at."""

MARKER = re.compile(r"<[a-z][a-z0-9_]*:[0-9a-f]{8}>|<redaction_(?:failed|limit)>")


def outside_markers(text: str, found: list[Match]) -> list[Match]:
    """The matches that touch no marker: redacting a redacted text changes nothing."""
    marked = [match.span() for match in MARKER.finditer(text)]
    if not marked:
        return found
    # Both ways in order: one pass, whatever their number.
    found.sort(key=lambda match: match.start)
    kept, place = [], 0
    for match in found:
        while place < len(marked) and marked[place][1] <= match.start:
            place += 1
        if place == len(marked) or match.end <= marked[place][0]:
            kept.append(match)
    return kept
