"""How long a provider asks to be left alone."""

from __future__ import annotations

import email.utils
import math
import re
import time
from datetime import UTC, datetime
from typing import Any

from firedoor.extraction.fields import field, number, path

__all__ = ["retry_after"]

_LONGEST = 86_400.0
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
# OpenAI gives a span ("1m30s"); Anthropic a moment (RFC 3339). Read only where what remains is 0.
_RESETS = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens", "x-ratelimit-reset",
           "anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-reset",
           "anthropic-ratelimit-input-tokens-reset",
           "anthropic-ratelimit-output-tokens-reset")  # fmt: skip


def retry_after(error: BaseException, *, now: float | None = None) -> float | None:
    """Seconds to wait before trying again, as the response to `error` says; None if it does not.

    `retry-after-ms`, then `Retry-After` in seconds or as a date, then the reset of each rate
    limit that is used up (the last one counts). Never negative, a day at the most.

    Args:
        error: An exception with a `response` that has `headers`.
        now: Seconds since the epoch, for moments; the system's clock if not given.
    """
    headers = path(error, "response", "headers")
    if headers is None:
        headers = field(error, "headers")
    if headers is None:
        return None
    moment = time.time() if now is None else now
    milliseconds = _figure(_header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    given = _header(headers, "retry-after")
    if given is not None:
        seconds = _figure(given)
        if seconds is None:
            until = _date(given)
            seconds = until - moment if until is not None else None
        if seconds is not None:
            return _bounded(seconds)
    waits = [wait for wait in (_reset(headers, name, moment) for name in _RESETS) if wait]
    return _bounded(max(waits)) if waits else None


def _reset(headers: Any, name: str, now: float) -> float | None:
    remaining = _header(headers, name.replace("reset", "remaining"))
    if remaining is not None and remaining.strip() != "0":
        return None
    given = _header(headers, name)
    if given is None:
        return None
    spans = _SPAN.findall(given)
    if spans and "".join(a + b for a, b in spans) == given.strip():
        return sum(float(amount) * _UNITS[unit] for amount, unit in spans)
    seconds = _figure(given)
    if seconds is not None:
        # A large figure is a moment, in seconds since the epoch.
        return seconds - now if seconds > 1e9 else seconds
    until = _date(given)
    return until - now if until is not None else None


def _header(headers: Any, name: str) -> str | None:
    try:
        found = headers.get(name)
        if found is None:
            found = headers.get(name.title())
    except Exception:
        return None
    return found if type(found) is str else None


def _figure(given: str | None) -> float | None:
    try:
        return number(float(given)) if given is not None else None
    except ValueError:
        return None


def _date(given: str) -> float | None:
    try:
        made = email.utils.parsedate_to_datetime(given)
    except (TypeError, ValueError):
        try:
            made = datetime.fromisoformat(given)
        except ValueError:
            return None
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST) if math.isfinite(seconds) else _LONGEST
