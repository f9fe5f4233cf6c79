"""The loop guard of a request: whether it goes round in circles; see `firedoor.core.loop_guard`."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from firedoor.config import LoopGuard as Bounds
from firedoor.core.loop_guard import REMEMBERED, LoopGuard, LoopLimits, Runaway
from firedoor.errors import BudgetExceeded

if TYPE_CHECKING:
    from firedoor.shell.scope import Request

__all__ = ["Loops", "check_loop", "is_repeated", "limits_of"]

_LONGEST = 100_000


class Loops:
    """One outermost request's counts. Thread-safe."""

    __slots__ = ("_guard", "_lock", "_made", "_per_tool")

    def __init__(self, limits: LoopLimits) -> None:
        self._guard = LoopGuard(limits)
        self._lock = threading.Lock()
        self._per_tool: dict[str, int] = {}
        self._made: dict[Hashable, None] = {}

    def admit(self, now: float, signature: bytes | None) -> Runaway | None:
        """Whether one more call may be made; it is counted if so."""
        with self._lock:
            return self._guard.admit(now, signature)

    def use(self, route: str, limit: int) -> bool:
        """Whether a tool may be called once more in this request; it is counted if so."""
        with self._lock:
            used = self._per_tool.get(route, 0)
            if used >= limit:
                return False
            self._per_tool[route] = used + 1
            return True

    def repeats(self, call: Hashable) -> bool:
        """Whether the same call was made before; it is remembered, the oldest forgotten first."""
        with self._lock:
            made = self._made
            if call in made:
                return True
            made[call] = None
            if len(made) > REMEMBERED:
                del made[next(iter(made))]
            return False

    def spent(self, micro_usd: int, now: float) -> None:
        """A call of the request has cost this much."""
        with self._lock:
            self._guard.spent(micro_usd, now)


def limits_of(bounds: Bounds | None) -> LoopLimits | None:
    """What the application declared, as the machine counts it."""
    if bounds is None:
        return None
    per_minute = bounds.usd_per_minute
    return LoopLimits(
        calls=bounds.calls,
        identical_calls=bounds.identical_calls,
        micro_usd_per_second=None if per_minute is None else float(per_minute) * 1e6 / 60.0,
        window=bounds.window,
    )


def check_loop(
    request: Request | None,
    limits: LoopLimits | None,
    max_calls: int | None,
    *,
    route: str,
    tool: bool,
    arguments: Mapping[str, Any],
    now: float,
) -> BudgetExceeded | None:
    """Count a call of a request; why it may not be made, if it may not.

    Outside a request there is nothing to go round in.
    """
    if request is None:
        return None
    loops = _loops_of(request, limits)
    if limits is not None:
        identical = tool and limits.identical_calls is not None
        found = loops.admit(now, _signature(route, arguments) if identical else None)
        if found is not None:
            return BudgetExceeded(
                f"{route}: {found}. A request that goes on like this is going in circles; raise "
                "the door's loop_guard= if it is not",
                gate=f"loop:{found.kind}",
            )
    if max_calls is not None and not loops.use(route, max_calls):
        return BudgetExceeded(
            f"{route} was called {max_calls} times in this request, which is its max_calls=",
            gate="loop:max_calls",
        )
    return None


def is_repeated(
    request: Request | None, limits: LoopLimits | None, route: str, arguments: Mapping[str, Any]
) -> bool:
    """Whether a request has made this call before, with the same arguments; it is remembered."""
    if request is None:
        return False
    call: Hashable
    try:
        # Keyed by the interpreter, and a tenth of the price of a digest.
        call = hash((route, *arguments.items()))
    except TypeError:
        call = _signature(route, arguments)
    return call is not None and _loops_of(request, limits).repeats(call)


def _loops_of(request: Request, limits: LoopLimits | None) -> Loops:
    """The counts of the outermost request around this one."""
    while request.parent is not None:
        request = request.parent
    loops = request.loops
    if loops is None:
        loops = request.loops = Loops(limits or LoopLimits())
    return loops


def _signature(route: str, arguments: Mapping[str, Any]) -> bytes | None:
    """A hash of route and arguments by value; None for what has no such thing."""
    try:
        text = json.dumps(arguments, sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError):
        return None
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + str(len(text))
    return hashlib.blake2b(f"{route}\0{text}".encode(errors="replace"), digest_size=12).digest()
