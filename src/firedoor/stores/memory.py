"""The store of one process. Nothing survives it, and nothing has to be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.core.budget import Answer, Balance, Counter, Ledger, Line, Settlement
from firedoor.core.tally import Tally
from firedoor.forking import fork_waits_for
from firedoor.stores.base import OnChange, OnError, Settled, check_ttl

__all__ = ["MemoryStore"]


class MemoryStore:
    """Everything in this process. Thread-safe; never raises `StoreError`.

    A forked child goes on with a copy of its own.
    """

    shared = False

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._time_ns = clock.time_ns
        self._lock = threading.Lock()
        self._ledger = ledger = Ledger()
        self.tally = Tally(ledger.by_key, self._open, self._lock)
        """The quick way to the same counters, for those who need no names for their holds."""
        self._board = (0, "")
        self._spaces: dict[str, dict[str, tuple[float, str]]] = {}
        self._claims: dict[str, tuple[float, str]] = {}
        self._watchers: tuple[tuple[OnChange, OnError], ...] = ()
        # Nobody is in the middle of an operation while the memory is copied.
        fork_waits_for(self, lambda store: store._lock)

    def __repr__(self) -> str:
        return "<MemoryStore>"

    def _open(self, key: str, expires: float) -> Counter:
        return self._ledger.open(key, expires, self.now())

    def now(self) -> float:
        """Wall time, seconds since the epoch."""
        return self._time_ns() / 1e9

    def reserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """See `Store.reserve`."""
        with self._lock:
            return self._ledger.reserve(hold, lines, lease, self.now())

    def renew(self, holds: Sequence[str], lease: float) -> tuple[bool, ...]:
        """See `Store.renew`."""
        with self._lock:
            return self._ledger.renew(holds, lease, self.now())

    def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """See `Store.settle`."""
        with self._lock:
            return self._ledger.settle(settlements, self.now())

    def balances(self, keys: Sequence[str]) -> tuple[Balance, ...]:
        """See `Store.balances`."""
        with self._lock:
            return self._ledger.balances(keys, self.now())

    def counters(self) -> Mapping[str, Balance]:
        """See `Store.counters`."""
        with self._lock:
            return self._ledger.counters(self.now())

    async def areserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """See `Store.reserve`."""
        return self.reserve(hold, lines, lease)

    async def asettle(self, settlements: Sequence[Settlement]) -> Settled:
        """See `Store.settle`."""
        return self.settle(settlements)

    def board(self) -> tuple[int, str]:
        """See `Store.board`."""
        return self._board

    def swap_board(self, expected: int, text: str) -> int | None:
        """See `Store.swap_board`; the watchers are told before it returns."""
        with self._lock:
            if self._board[0] != expected:
                return None
            version = expected + 1
            self._board = (version, text)
        for on_change, on_error in self._watchers:
            try:
                on_change(version, text)
            except Exception as error:
                on_error(error)
        return version

    def watch_board(
        self,
        on_change: OnChange,
        *,
        poll: float,  # noqa: ARG002 - nothing is polled
        on_error: OnError,
    ) -> Callable[[], None]:
        """See `Store.watch_board`; on the thread of whoever makes the change."""
        watcher = (on_change, on_error)
        with self._lock:
            self._watchers = (*self._watchers, watcher)

        def stop() -> None:
            with self._lock:
                self._watchers = tuple(one for one in self._watchers if one is not watcher)

        return stop

    def publish(self, space: str, member: str, text: str, ttl: float) -> None:
        """See `Store.publish`."""
        check_ttl(ttl)
        now = self.now()
        with self._lock:
            self._spaces[space] = {
                **_live(self._spaces.get(space, {}), now),
                member: (now + ttl, text),
            }

    def members(self, space: str) -> Mapping[str, str]:
        """See `Store.members`."""
        now = self.now()
        with self._lock:
            live = _live(self._spaces.pop(space, {}), now)
            if live:
                self._spaces[space] = live
        return {member: text for member, (_, text) in live.items()}

    def claim(self, name: str, owner: str, ttl: float) -> bool:
        """See `Store.claim`."""
        check_ttl(ttl)
        now = self.now()
        with self._lock:
            self._claims = _live(self._claims, now)
            _, holder = self._claims.setdefault(name, (0.0, owner))
            if holder == owner:
                self._claims[name] = (now + ttl, owner)
            return holder == owner

    def release(self, name: str, owner: str) -> None:
        """See `Store.release`."""
        with self._lock:
            if self._claims.get(name, (0.0, ""))[1] == owner:
                del self._claims[name]

    def close(self) -> None:
        """Nothing to let go of."""


def _live(told: dict[str, tuple[float, str]], now: float) -> dict[str, tuple[float, str]]:
    return {name: one for name, one in told.items() if one[0] > now}
