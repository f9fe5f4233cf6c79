"""The ledger of a budget store: what was spent, what is promised, and whether one more may be.

```
  reserve ──▶ live ──▶ settled  (what was really spent)
               └─────▶ expired  (its lease ran out: settled at its floor) ──▶ settled
```

Every counter keeps `settled` and `held` apart. A hold takes the worst case on several counters at
once, all or none, before the call is made, and gives back what the call did not use. A hold whose
process died is settled at its floor when its lease runs out: the input had been sent, so the floor
is its cost, never zero and never the full hold.

Rules, held for every store by tests/stores/test_conformance.py:

- A strict line is granted only where `settled + held + amount <= limit`. So the settled sum passes
  a limit only by what calls spent beyond their own holds, and all of that is counted.
- A line that allows a last call is granted while `settled + held < limit`, so that the sum passes
  the limit by less than one hold.
- A refused hold leaves no trace.
- A hold is settled once. One that had expired is corrected by the difference.

Pure: the caller passes `now` (seconds since the epoch, so that processes agree) and holds the lock.
The SQLite and Redis stores do the same in SQL and Lua.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "LARGEST",
    "REMEMBER_EXPIRED",
    "REMEMBER_SETTLED",
    "Answer",
    "Balance",
    "HoldState",
    "Ledger",
    "Line",
    "Settlement",
]

LARGEST = 2**53 - 1
"""The largest amount that every store counts exactly: Lua's numbers are doubles. In micro-dollars
it is nine thousand million dollars."""

REMEMBER_SETTLED = 60.0
"""Seconds a settled hold is remembered, so that a repeated word about it changes nothing."""

REMEMBER_EXPIRED = 3600.0
"""Seconds an expired hold is remembered, so that what it really spent can still be told."""


@dataclass(frozen=True, slots=True)
class Line:
    """One counter's part in a hold. Amounts are integers: micro-dollars, tokens, calls.

    Attributes:
        key: Names the counter: budget, scope and window in one.
        limit: What may be spent in all.
        amount: What this hold takes at the most.
        floor: What is settled if the hold's lease runs out; at most `amount`.
        expires: Seconds since the epoch after which the counter may be forgotten.
        strict: The hold must fit in what is left. Otherwise anything left is enough.
        enforce: False: counted, never refused.
    """

    key: str
    limit: int
    amount: int
    floor: int
    expires: float
    strict: bool = True
    enforce: bool = True

    def fits(self, settled: int, held: int, already: int = 0) -> bool:
        """Whether it may be held, where the hold has `already` that much of what is held."""
        if not self.enforce or self.amount <= already:
            return True
        left = self.limit - settled - held
        return self.amount - already <= left if self.strict else left > 0


@dataclass(frozen=True, slots=True)
class Balance:
    """A counter at a glance: what was spent, and what is promised to calls that run."""

    settled: int
    held: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a hold.

    Attributes:
        held: Whether every line is held now.
        refused: Index of the first line that would not grant it. None where `held`, and where the
            hold is over: it was settled, or its lease ran out.
        balances: Every line's counter afterwards, this hold included if it is held.
    """

    held: bool
    refused: int | None
    balances: tuple[Balance, ...]


Settlement = tuple[str, Sequence[int]]
"""A hold's id, and what was really spent, one amount per line."""


class HoldState(StrEnum):
    """Where a hold is in its life."""

    LIVE = "live"
    SETTLED = "settled"
    EXPIRED = "expired"


@dataclass(slots=True)
class _Counter:
    settled: int = 0
    held: int = 0

    @property
    def balance(self) -> Balance:
        return Balance(self.settled, self.held)


@dataclass(slots=True)
class _Hold:
    parts: list[tuple[str, int, int]]  # key, amount, floor
    due: float
    state: HoldState = HoldState.LIVE


class Ledger:
    """Counters by key and holds by id."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}
        self._holds: dict[str, _Hold] = {}
        self._due: list[tuple[float, str]] = []  # when to look at a hold again, soonest first
        self._expiring: list[tuple[float, str]] = []  # the same of counters

    def reserve(self, hold: str, lines: Sequence[Line], lease: float, now: float) -> Answer:
        """Make the hold be exactly these lines, or leave all as it was.

        A hold that is there already is changed to the new amounts and floors, for the same
        counters in the same order; only a line that grows can be refused.
        """
        self._sweep(now)
        before = self._holds.get(hold)
        if before is not None and before.state is not HoldState.LIVE:
            return Answer(False, None, self._read(lines))
        had = [amount for _, amount, _ in before.parts] if before else [0] * len(lines)
        for index, (line, already) in enumerate(zip(lines, had, strict=True)):
            balance = self._balance(line.key)
            if not line.fits(balance.settled, balance.held, already):
                return Answer(False, index, self._read(lines))
        for line, already in zip(lines, had, strict=True):
            self._counter(line.key, line.expires).held += line.amount - already
        parts = [(line.key, line.amount, line.floor) for line in lines]
        self._holds[hold] = _Hold(parts, now + lease)
        heapq.heappush(self._due, (now + lease, hold))
        return Answer(True, None, self._read(lines))

    def renew(self, holds: Sequence[str], lease: float, now: float) -> tuple[bool, ...]:
        """Let each hold last `lease` seconds from now; False for those that are over."""
        self._sweep(now)
        return tuple(self._renew(hold, now + lease) for hold in holds)

    def settle(
        self, settlements: Sequence[Settlement], now: float
    ) -> tuple[tuple[Balance, ...] | None, ...]:
        """Turn holds into what was really spent; for each the balances of its lines afterwards.

        None for a hold that was never granted or is long forgotten.
        """
        self._sweep(now)
        return tuple(self._settle(hold, actual, now) for hold, actual in settlements)

    def balances(self, keys: Sequence[str], now: float) -> tuple[Balance, ...]:
        """Counters as they are now; zeros for those that are not known."""
        self._sweep(now)
        return tuple(self._balance(key) for key in keys)

    def counters(self, now: float) -> dict[str, Balance]:
        """Every counter."""
        self._sweep(now)
        return {key: counter.balance for key, counter in self._counters.items()}

    def _renew(self, name: str, due: float) -> bool:
        hold = self._holds.get(name)
        if hold is None or hold.state is not HoldState.LIVE:
            return False
        hold.due = due
        heapq.heappush(self._due, (due, name))
        return True

    def _settle(self, name: str, actual: Sequence[int], now: float) -> tuple[Balance, ...] | None:
        hold = self._holds.get(name)
        if hold is None:
            return None
        if hold.state is not HoldState.SETTLED:
            for (key, amount, floor), spent in zip(hold.parts, actual, strict=True):
                counter = self._counter(key, now)
                if hold.state is HoldState.EXPIRED:
                    counter.settled += spent - floor
                else:
                    counter.settled += spent
                    counter.held -= amount
            self._end(name, hold, HoldState.SETTLED, now + REMEMBER_SETTLED)
        return tuple(self._balance(key) for key, _, _ in hold.parts)

    def _end(self, name: str, hold: _Hold, state: HoldState, due: float) -> None:
        hold.state = state
        hold.due = due
        heapq.heappush(self._due, (due, name))

    def _sweep(self, now: float) -> None:
        """Settle at their floors the holds whose leases ran out; forget what is long over."""
        while self._due and self._due[0][0] <= now:
            due, name = heapq.heappop(self._due)
            hold = self._holds.get(name)
            if hold is None or hold.due != due:
                continue  # renewed or settled since
            if hold.state is HoldState.LIVE:
                for key, amount, floor in hold.parts:
                    counter = self._counters[key]
                    counter.held -= amount
                    counter.settled += floor
                self._end(name, hold, HoldState.EXPIRED, now + REMEMBER_EXPIRED)
            else:
                del self._holds[name]
        while self._expiring and self._expiring[0][0] <= now:
            _, key = heapq.heappop(self._expiring)
            if self._counters[key].held:
                # Its calls still run, into the next window.
                heapq.heappush(self._expiring, (now + REMEMBER_SETTLED, key))
            else:
                del self._counters[key]

    def _counter(self, key: str, expires: float) -> _Counter:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter()
            heapq.heappush(self._expiring, (expires, key))
        return counter

    def _balance(self, key: str) -> Balance:
        counter = self._counters.get(key)
        return Balance(0, 0) if counter is None else counter.balance

    def _read(self, lines: Sequence[Line]) -> tuple[Balance, ...]:
        return tuple(self._balance(line.key) for line in lines)
