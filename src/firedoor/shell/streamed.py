"""How a call ends with its stream: read to its end, broken, interrupted, cancelled or left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firedoor.shell.endings import TRUNCATED, Ending
from firedoor.shell.reading import fill
from firedoor.types import Outcome, Verdict, VerdictStatus

if TYPE_CHECKING:
    from firedoor.core.switches import Switch
    from firedoor.extraction import Extract
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call

__all__ = [
    "BrokenStreamError",
    "broken",
    "end_stream",
    "interrupted",
    "stream_failed",
    "switched_off",
]


class BrokenStreamError(Exception):
    """A stream ended before any content without saying that it was finished; never leaves here."""


def broken(call: Call, error: BaseException) -> Ending:
    """What the break of a stream says of the attempt."""
    if isinstance(error, BrokenStreamError):
        return TRUNCATED
    return call.runtime.ending(error, streaming=True)


def stream_failed(call: Call, attempt: Attempt, error: BaseException) -> bool:
    """A stream broke before its first content; whether another attempt may begin one."""
    ladder = call.ladder
    if ladder is None or call.finished:
        return False
    try:
        return ladder.failed(attempt, error, broken(call, error))
    except Exception as fault:
        call.runtime.internal("ladder", fault)
        return False


def switched_off(call: Call, attempt: Attempt, ending: Ending) -> bool:
    """A switch ended a stream before its first content; whether to answer the safe response."""
    ladder = call.ladder
    if ladder is None or call.finished:
        return False
    try:
        return ladder.switched_off(attempt, ending)
    except Exception as fault:
        call.runtime.internal("ladder", fault)
        return False


def interrupted(call: Call, switch: Switch) -> None:
    """A switch that was set while the call ran changes how it ends."""
    name = call.runtime.clean(switch.id)
    call.record.switches += (name,)
    call.record.verdicts += (
        Verdict(f"switch:{name}", VerdictStatus.BLOCKED, reason=str(switch.in_flight)),
    )


def end_stream(
    call: Call,
    attempt: Attempt,
    extract: Extract | None,
    *,
    ending: Ending | None,
    chunks: int,
    first: float | None,
    gap: float | None,
    early: bool = False,
) -> None:
    """End a call whose stream is over.

    Args:
        call: The call.
        attempt: The one whose stream it was.
        extract: What the stream said; None where nothing could be read.
        ending: How it broke, was cancelled or left; None if it was read to its end.
        chunks: How many came.
        first: When the first content came, on the door's clock.
        gap: The longest wait between two chunks, seconds.
        early: We ended it, in good order: what the user has is part of an answer.
    """
    runtime = call.runtime
    ended = runtime.now()
    record = call.record
    record.outcome = Outcome.ANSWERED
    record.chunks = chunks
    record.idle_gap_s = gap
    if first is not None:
        record.first_token_s = first - call.started
        attempt.first_token_s = first - (attempt.began or call.started)
    if extract is not None:
        try:
            fill(call, extract)
        except Exception as error:
            record.notes = (*record.notes, "the stream could not be read")
            runtime.internal("extraction", error)
    complete = extract.complete if extract is not None else None
    if ending is not None and not (ending.outcome is Outcome.ABANDONED and complete):
        record.truncated = (early or ending.outcome is Outcome.FAILED) and chunks > 0
        call.apply(ending)
        if early:
            record.outcome = Outcome.DEGRADED
            record.degraded = True
    elif complete is False:
        record.truncated = True
        ending = TRUNCATED
        call.apply(ending)
    call.note(attempt, ending, ended)
    call.finish(ended)
