"""Texts as they may be kept on a decision: redacted, then bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from firedoor.privacy import Redactor

__all__ = ["MAX_CAPTURED", "captured"]

MAX_CAPTURED = 8_192
"""Characters kept of an input or an output."""

_MAX_READ = 8 * MAX_CAPTURED


def captured(value: Any, redactor: Redactor, found: dict[str, int]) -> str:
    """`value` as redacted text of bounded length; what was replaced is counted in `found`.

    Cut only after redaction: a secret cut in two would match no detector.
    """
    redacted = redactor.redact(_readable(value), found)
    text = redacted if isinstance(redacted, str) else json.dumps(redacted, ensure_ascii=False)
    return text if len(text) <= MAX_CAPTURED else text[:MAX_CAPTURED] + "…"


def _readable(value: Any, depth: int = 8) -> Any:
    """Plain JSON shapes; an object that is neither is named by its type, never by its repr."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        # Never cut before redaction, and not worth the time when it is a whole book.
        return value if len(value) <= _MAX_READ else f"<{len(value)} characters>"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(k): _readable(v, depth - 1) for k, v in list(value.items())[:256]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_readable(v, depth - 1) for v in list(value)[:256]]
    return f"<{type(value).__name__}>"
