"""What every store does, for budgets and for the switchboard. One conformance suite runs on all.

**Counters.** A counter has two numbers, kept apart: `settled` (spent) and `held` (promised to calls
that run). A hold touches several counters at once, all or none. It is a lease: when its time is
over without a word, it is settled at its floor by whoever looks next. Amounts are integers:
micro-dollars, tokens, calls.

**The board.** One versioned text with compare-and-set, for the switches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Answer", "Balance", "Line", "Store"]


@dataclass(frozen=True, slots=True)
class Line:
    """One counter's part in a hold.

    Attributes:
        key: Names the counter: budget, scope and window in one, at most 200 characters.
        limit: What may be spent in all.
        amount: What this hold takes at the most.
        floor: What is settled if the hold's lease runs out: the input was sent, so never zero
            unless nothing was.
        strict: `settled + held + amount` may not pass `limit`. Otherwise the hold is granted while
            `settled + held` is below `limit` (the last call may pass it).
        enforce: False: counted, never refused.
        expires: Seconds since the epoch after which the counter may be forgotten.
    """

    key: str
    limit: int
    amount: int
    floor: int = 0
    strict: bool = True
    enforce: bool = True
    expires: float = 0.0


@dataclass(frozen=True, slots=True)
class Balance:
    """A counter at a glance."""

    settled: int
    held: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a hold.

    Attributes:
        refused: Index of the first line that would not grant it; None if it is held.
        balances: Every line's counter afterwards, this hold included if it was granted.
    """

    refused: int | None
    balances: tuple[Balance, ...]


class Store(Protocol):
    """A place for counters and the board. Every operation is atomic.

    Operations raise `StoreError` when the store does not answer. Times are the store's own wall
    clock (the server's, for Redis), so that processes need not agree.
    """

    def reserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """Hold every line for `lease` seconds, or none.

        Repeating a hold's id changes nothing and gives the first answer again.
        """
        ...

    def renew(self, hold: str, lease: float) -> bool:
        """Extend a hold to `lease` seconds from now; False if it is settled or ran out."""
        ...

    def settle(self, hold: str, actual: Sequence[int]) -> tuple[Balance, ...] | None:
        """Turn a hold into what was really spent, one amount per line; the balances afterwards.

        Once per hold: repeating it changes nothing. A hold that ran out was settled at its floor:
        only the difference is added. None if the hold was never granted or is long forgotten.
        """
        ...

    def balances(self, keys: Sequence[str]) -> tuple[Balance, ...]:
        """Counters now, expired holds swept; zeros for those not known."""
        ...

    async def areserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """As `reserve`; the event loop is never blocked."""
        ...

    async def arenew(self, hold: str, lease: float) -> bool:
        """As `renew`."""
        ...

    async def asettle(self, hold: str, actual: Sequence[int]) -> tuple[Balance, ...] | None:
        """As `settle`."""
        ...

    async def abalances(self, keys: Sequence[str]) -> tuple[Balance, ...]:
        """As `balances`."""
        ...

    def board(self) -> tuple[int, str]:
        """The board's version and text; (0, "") when it was never written."""
        ...

    def swap_board(self, expected: int, text: str) -> int | None:
        """Write the board if its version is still `expected`: the new version, or None."""
        ...

    def watch_board(
        self,
        on_change: Callable[[int, str], None],
        *,
        poll: float,
        on_error: Callable[[Exception], None],
    ) -> Callable[[], None]:
        """Call `on_change(version, text)` after each change by anyone; returns what stops it.

        `poll` is the longest wait between two looks, seconds. `on_error` is told when the store
        cannot be reached; watching goes on and recovers by itself.
        """
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...
