"""What a provider can be told to do wrong, and the board on which it is told."""

from __future__ import annotations

import fnmatch
import itertools
import random
import threading
from collections import deque
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from firedoor.config import declarative

__all__ = ["Fault", "FaultBoard", "FaultKind", "Injection"]


class FaultKind(StrEnum):
    """How a provider fails. Every kind acts on whole and on streamed answers, unless it says so."""

    ERROR = "error"
    """An HTTP error: `status`, 503 unless told otherwise, with `text` as its message."""
    RATE_LIMIT = "rate_limit"
    """429 with `retry_after` seconds in its header."""
    STALL = "stall"
    """Nothing for `seconds`, then the answer."""
    STALL_INSIDE = "stall_inside"
    """A stream that pauses for `seconds` after `after` pieces of content; else as `stall`."""
    CUT = "cut"
    """A stream that ends in good order after `after` pieces, without a finish reason.

    A whole answer has no such ending: its connection is dropped.
    """
    DROP = "drop"
    """A connection that breaks after `after` pieces, or in the middle of a whole body."""
    MALFORMED = "malformed"
    """Broken JSON after `after` pieces, or in the middle of a whole body."""
    REFUSAL = "refusal"
    """The model declines with `text`."""
    WRONG_ANSWER = "wrong_answer"
    """`text` instead of the answer: fluent, well-formed, false."""
    LEAK = "leak"
    """`text` inserted into the answer, in streams after `after` pieces of content."""


Share = Annotated[float, Field(gt=0, le=1)]


@declarative
class Fault:
    """One instruction to the proxy.

    Attributes:
        kind: What goes wrong.
        route: Which routes it strikes, as a shell pattern over the `x-drill-route` header.
        model: Which models it strikes, as a shell pattern over the request's model.
        times: How many requests it strikes. None: until cleared.
        share: The part of matching requests it strikes, drawn from the board's seeded generator.
        status: HTTP status of `error`.
        retry_after: Seconds in the header of `rate_limit`.
        seconds: How long a stall lasts; clearing the fault ends it at once.
        after: Pieces of content a stream delivers before it is struck.
        text: What is said: an error's message, a refusal, a wrong answer, a leak.
    """

    kind: FaultKind
    route: str = Field(default="*", kw_only=True)
    model: str = Field(default="*", kw_only=True)
    times: Annotated[int, Field(ge=1)] | None = Field(default=1, kw_only=True)
    share: Share = Field(default=1.0, kw_only=True)
    status: Annotated[int, Field(ge=400, le=599)] = Field(default=503, kw_only=True)
    retry_after: Annotated[int, Field(ge=0)] = Field(default=7, kw_only=True)
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(default=5.0, kw_only=True)
    after: Annotated[int, Field(ge=0)] = Field(default=4, kw_only=True)
    text: str = Field(default="The drill asked for this.", kw_only=True)


class Injection:
    """A fault on the board.

    Attributes:
        id: Its number, to clear it by.
        fault: The instruction.
        struck: How many requests it has struck.
    """

    def __init__(self, number: int, fault: Fault) -> None:
        self.id = number
        self.fault = fault
        self.struck = 0
        self._cleared = threading.Event()

    def stall(self) -> None:
        """Wait as long as the fault says, or until it is cleared."""
        self._cleared.wait(self.fault.seconds)

    def clear(self) -> None:
        """End the stalls that wait on this fault."""
        self._cleared.set()


class FaultBoard:
    """Which faults are in force. Any thread may ask and tell.

    The oldest matching fault strikes; one that has struck `times` requests leaves the board.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._injections: dict[int, Injection] = {}
        # Off the board, but a last stall may still be running that `clear` should end.
        self._spent: deque[Injection] = deque(maxlen=64)

    def inject(self, fault: Fault) -> Injection:
        """Put `fault` in force."""
        with self._lock:
            injection = Injection(next(self._numbers), fault)
            self._injections[injection.id] = injection
            return injection

    def clear(self, number: int | None = None) -> int:
        """Take one fault off the board, or all of them, ending their stalls; says how many."""
        with self._lock:
            chosen = [*self._injections] if number is None else [number]
            gone = [self._injections.pop(each) for each in chosen if each in self._injections]
            ended = [*gone, *(one for one in self._spent if number in (None, one.id))]
        for injection in ended:
            injection.clear()
        return len(gone)

    def active(self) -> tuple[Injection, ...]:
        """The faults in force, oldest first."""
        with self._lock:
            return tuple(self._injections.values())

    def strike(self, *, route: str, model: str) -> Injection | None:
        """The fault that this request suffers, counted as struck; None for a healthy one."""
        with self._lock:
            for injection in self._injections.values():
                fault = injection.fault
                if (
                    fnmatch.fnmatchcase(route, fault.route)
                    and fnmatch.fnmatchcase(model, fault.model)
                    and (fault.share >= 1 or self._random.random() < fault.share)
                ):
                    injection.struck += 1
                    if injection.struck == fault.times:
                        self._spent.append(self._injections.pop(injection.id))
                    return injection
        return None
