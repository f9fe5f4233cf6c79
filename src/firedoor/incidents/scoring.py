"""What a check is given, and what it may answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from firedoor.records import Decision

__all__ = ["CheckContext", "CheckStatus", "Score", "score_of"]


class CheckStatus(StrEnum):
    """What came of a check. Not having run is never a score."""

    SCORED = "scored"
    NOT_APPLICABLE = "not_applicable"
    """There was nothing to judge: a refusal, an abstention, no claim."""
    ERRORED = "errored"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    """It did not run: the queue was full, its budget used up, or the door closed."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a check found.

    Attributes:
        score: 0 (bad) to 1 (good); None: not applicable.
        claims: How many statements were judged.
        unsupported: How many of them failed.
        explanation: Why. May hold a user's words: it leaves only with `capture="redacted"`, redacted.
        cost_usd: What the check itself cost, for `budget=fd.Budget(usd=...)`. Calls it makes
            through the door are added by themselves.
    """

    score: float | None
    claims: int | None = None
    unsupported: int | None = None
    explanation: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check may look at, beside the answer. Raw texts: keep none of them.

    Attributes:
        decision: The record of the call that made the answer.
        question: The user's last words to the model, as far as the call's arguments tell.
        documents: Texts that the request retrieved, the newest last; 256,000 characters at most.
        tool_results: Texts that its tools answered, likewise.
        prompt: The other texts the model was given: instructions, earlier turns.
        retrieved: The request asked for documents, whatever came of it.
        unread: It found something whose text could not be read.
        in_request: The call was made in a request; outside of one nothing is known of sources.
    """

    decision: Decision
    question: str = ""
    documents: tuple[str, ...] = ()
    tool_results: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()
    retrieved: bool = False
    unread: bool = False
    in_request: bool = True


def score_of(value: Any) -> Score:
    """A check's answer as a score.

    Raises:
        TypeError: If it is none of `float`, `bool`, `fd.Score`, None.
        ValueError: If it is not within 0 to 1.
    """
    if value is None:
        return Score(None)
    found = value if isinstance(value, Score) else None
    if found is None:
        if not isinstance(value, bool | int | float):
            raise TypeError(f"a check answers a number, a bool or fd.Score, not {type(value)}")
        found = Score(float(value))
    if found.score is not None and not (math.isfinite(found.score) and 0 <= found.score <= 1):
        raise ValueError("a score is between 0 and 1")
    return found
