"""What every store does, for budgets, for the switchboard and for the processes of a fleet.

One conformance suite runs on all. The values that go in and out, and the rules of counters and
holds, are those of `firedoor.core.budget`. The board is one versioned text with compare-and-set,
for the switches. A space is where processes let each other read what each has to say; a claim
makes one of them the only one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from firedoor.core.budget import Answer, Balance, Line, Settlement

__all__ = [
    "Answer",
    "Balance",
    "Line",
    "OnChange",
    "OnError",
    "Settled",
    "Settlement",
    "Store",
    "check_ttl",
]

Settled = tuple[tuple[Balance, ...] | None, ...]
"""For each settlement the balances of its lines afterwards, or None if the hold is not known."""


def check_ttl(ttl: float) -> None:
    """Raise `ValueError` for a time to live that is none.

    Raises:
        ValueError: If it is not a positive, finite number of seconds.
    """
    if not 0 < ttl < math.inf:
        raise ValueError(f"ttl={ttl!r}: give seconds, more than 0 and finite")


OnChange = Callable[[int, str], None]
OnError = Callable[[Exception], None]


class Store(Protocol):
    """A place for counters and the board. Every operation is atomic, and safe to repeat.

    Operations raise `StoreError` when the store does not answer. Time is the store's own wall
    clock (the server's, for Redis), so that processes need not agree on it. The methods that
    begin with `a` never block the event loop.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes use the same counters."""
        ...

    def now(self) -> float:
        """The store's wall clock as it is known here, seconds since the epoch; without I/O."""
        ...

    def reserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """Make the hold be exactly these lines for `lease` seconds, or leave all as it was.

        A hold that is there already is changed to the new amounts and floors, for the same
        counters in the same order; only a line that grows can be refused.
        """
        ...

    def renew(self, holds: Sequence[str], lease: float) -> tuple[bool, ...]:
        """Let each hold last `lease` seconds from now; False for those that are over."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """Turn holds into what was really spent.

        Once per hold: repeating it changes nothing. A hold whose lease ran out was settled at its
        floor: the difference is made good.
        """
        ...

    def balances(self, keys: Sequence[str]) -> tuple[Balance, ...]:
        """Counters as they are now; zeros for those that are not known."""
        ...

    def counters(self) -> Mapping[str, Balance]:
        """Every counter by key."""
        ...

    async def areserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """As `reserve`."""
        ...

    async def asettle(self, settlements: Sequence[Settlement]) -> Settled:
        """As `settle`."""
        ...

    def board(self) -> tuple[int, str]:
        """The board's version and text; `(0, "")` when it was never written."""
        ...

    def swap_board(self, expected: int, text: str) -> int | None:
        """Write the board if its version is still `expected`: the new version, or None."""
        ...

    def watch_board(
        self, on_change: OnChange, *, poll: float, on_error: OnError
    ) -> Callable[[], None]:
        """Call `on_change(version, text)` after each change by anyone; returns what stops it.

        A store that others write to is looked at from a daemon thread, at least every `poll`
        seconds, and the board that is there at first is told of as well. `on_error` is told when
        the store cannot be reached; watching goes on and recovers by itself.
        """
        ...

    def publish(self, space: str, member: str, text: str, ttl: float) -> None:
        """Let everybody read `text` under the member's name in a space, for `ttl` seconds.

        It takes the place of what the member said before. Spaces need no declaring.

        Raises:
            ValueError: As `check_ttl`.
        """
        ...

    def members(self, space: str) -> Mapping[str, str]:
        """What each member of a space says, of those whose time is not over, by member."""
        ...

    def claim(self, name: str, owner: str, ttl: float) -> bool:
        """Be the one who does what has this name, for `ttl` seconds from now.

        Returns:
            Whether `owner` holds it now: nobody did, or `owner` itself, whose time begins anew.

        Raises:
            ValueError: As `check_ttl`.
        """
        ...

    def release(self, name: str, owner: str) -> None:
        """Give a claim back; nothing happens if `owner` does not hold it."""
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...
