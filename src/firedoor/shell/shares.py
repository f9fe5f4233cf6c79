"""What a process has set aside of shared budgets, to live on while their store is away.

A share is a hold of this process, so that all that is spent of shares is within the limit. It must
not lock others out: all shares of a counter together are a tenth of its limit at the most, they are
only taken while a fifth of the limit is free, and one is given back before its own process is
refused anything.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from firedoor.core.budget import Line
from firedoor.shell.outbox import Settling
from firedoor.shell.scope import new_id
from firedoor.stores.base import Store

__all__ = ["SHARE", "SHARES", "Shares"]

SHARE = 50
"""A process's share is the limit over this at the most, for each of its counters."""

SHARES = "share|"
"""Begins the key of a counter that adds up the shares of another, whose key follows."""

_ALL = 10  # all shares of a counter: the limit over this
_FREE = 5  # the limit over this is left free of shares
_COUNTERS = 256
_LEASES = 5  # a share outlasts so many leases of a hold: outages are longer than calls


@dataclass(slots=True)
class _Share:
    line: Line
    all: Line
    hold: str
    until: float
    spent: int = 0
    held: int = 0

    def over(self) -> Settling:
        return Settling(self.hold, (self.all, self.line), (0, self.spent))


class Shares:
    """The shares of one process. Thread-safe.

    Args:
        store: Where they are held.
        lease: Seconds the hold of a call lasts.
    """

    def __init__(self, store: Store, lease: float) -> None:
        self._store = store
        self._lease = lease * _LEASES
        self._pause = lease
        self._lock = threading.Lock()
        self._wanted: dict[str, Line] = {}
        self._refused: dict[str, float] = {}
        self._shares: dict[str, _Share] = {}
        self.processes = 1
        """How many processes share the store, as was last heard."""

    def want(self, line: Line) -> bool:
        """Set a share of this counter aside when there is time; whether that is news."""
        key = line.key
        if key in self._shares or key in self._wanted or line.limit < SHARE:
            return False
        with self._lock:
            if self._store.now() < self._refused.get(key, 0.0):
                return False
            if len(self._wanted) + len(self._shares) >= _COUNTERS:
                return False
            self._wanted[key] = line
        return True

    def take(self, line: Line) -> bool:
        """Hold the line's amount of the share of its counter, while the store is away."""
        with self._lock:
            share = self._shares.get(line.key)
            if share is None or self._store.now() >= share.until:
                return False
            left = share.line.amount - share.spent - share.held
            if not (line.amount <= left if line.strict else left > 0):
                return False
            share.held += line.amount
            return True

    def settle(self, key: str, held: int, spent: int) -> bool:
        """Turn what was held of a share into what was spent; False if the share is over."""
        with self._lock:
            share = self._shares.get(key)
            if share is None:
                return False
            share.held -= held
            share.spent += spent
            return True

    def holds(self, key: str) -> bool:
        """Whether there is a share of this counter, or is about to be."""
        return key in self._shares or key in self._wanted

    def give_back(self, key: str) -> Settling | None:
        """The end of a share that nobody lives on now, as its counter has no more for others."""
        with self._lock:
            self._wanted.pop(key, None)
            share = self._shares.get(key)
            if share is None or share.held:
                return None
            del self._shares[key]
            self._refuse(key)
            return share.over()

    def _refuse(self, key: str) -> None:
        while len(self._refused) >= _COUNTERS:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = self._store.now() + self._pause

    def lease(self) -> list[Settling]:
        """Hold the shares that are wanted; the ends of those that are not wanted any more.

        Raises:
            StoreError: If the store does not answer.
        """
        ended: list[Settling] = []
        for key, line in tuple(self._wanted.items()):
            amount = self._amount(line)
            own = line._replace(
                amount=amount,
                floor=0,
                limit=line.limit - line.limit // _FREE,
                strict=True,
                enforce=True,
            )
            together = own._replace(key=SHARES + key, limit=line.limit // _ALL)
            hold = "share/" + new_id()
            until = self._store.now() + self._lease
            held = amount > 0 and self._store.reserve(hold, [together, own], self._lease).held
            # Those who count know the counter by its own limit.
            share = _Share(own._replace(limit=line.limit), together, hold, until)
            with self._lock:
                wanted = self._wanted.pop(key, None) is not None
                if not held:
                    self._refuse(key)
                elif wanted:
                    self._shares[key] = share
                else:
                    ended.append(share.over())
        return ended

    def _amount(self, line: Line) -> int:
        return min(line.limit // SHARE, line.limit // (_ALL * max(1, self.processes)))

    def renew(self) -> list[Settling]:
        """Let the shares last; the ends of those that are spent, over or no longer the right size.

        Raises:
            StoreError: If the store does not answer.
        """
        ended: list[Settling] = []
        for key, share in tuple(self._shares.items()):
            over = self._store.now() >= share.line.expires
            with self._lock:
                if share.held:
                    continue
                if over or share.spent or share.line.amount != self._amount(share.line):
                    self._shares.pop(key, None)
                    ended.append(share.over())
                    if not over:
                        self._wanted[key] = share.line
                    continue
            until = self._store.now() + self._lease
            renewed, balance = self._renewed(share)
            with self._lock:
                if not renewed:
                    self._shares.pop(key, None)
                    self._wanted[key] = share.line
                elif share.line.limit - balance < share.line.limit // _FREE and not share.held:
                    self._shares.pop(key, None)
                    self._refuse(key)
                    ended.append(share.over())
                else:
                    share.until = until
        return ended

    def _renewed(self, share: _Share) -> tuple[bool, int]:
        (renewed,) = self._store.renew([share.hold], self._lease)
        (balance,) = self._store.balances([share.line.key])
        return renewed, balance.settled + balance.held

    def end(self) -> list[Settling]:
        """Give all of them back."""
        with self._lock:
            shares, self._shares = self._shares, {}
            self._wanted.clear()
        return [share.over() for share in shares.values()]

    def snapshot(self) -> dict[str, Any]:
        """What is set aside, as plain data."""
        with self._lock:
            return {
                key: {"granted": s.line.amount, "spent": s.spent, "held": s.held}
                for key, s in self._shares.items()
            }
