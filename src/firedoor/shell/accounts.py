"""The budgets' store as calls see it: asked on the way in, told later, and sometimes away.

Reserving is done on the call's path, since it decides whether the call may run. All else is told to
a shared store by one background thread, in batches, and never on the path: what calls really
spent, the renewal of leases, and what was spent while the store could not be reached. A hold stays
held until its settlement has arrived, so a late one never lets anybody overspend; and nobody is
refused because of one, since what is still to be told is told first.

While a shared store is away nobody waits for it: the background thread asks it every `AWAY`
seconds, and calls leave it alone until it has answered. Until then a budget may live on its share
(`firedoor.shell.shares`).
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from firedoor.clock import Clock
from firedoor.core.budget import Answer, Line
from firedoor.core.tally import Tally
from firedoor.errors import StoreError
from firedoor.shell.leaving import at_exit
from firedoor.shell.outbox import OnSettled, Outbox, Settling
from firedoor.shell.scope import new_id
from firedoor.shell.shares import Shares
from firedoor.stores.base import Store
from firedoor.stores.memory import MemoryStore

__all__ = ["AWAY", "LEASE", "Accounts", "LeftAlone"]

LEASE = 60.0
"""Seconds a call's hold lasts; renewed while the call runs, so this is how long the hold of a
killed process binds."""

AWAY = 1.0
"""Seconds a store that failed is left alone."""

PROCESSES = "budgets:processes"
"""The space in which the processes that share a store's budgets are counted."""

_GATHER = 0.005  # calls that end together are told together
_RENEWED = 256
_ASKED = 4  # once, and again while what this process has told meanwhile may have made room


class LeftAlone(StoreError):
    """The store failed a moment ago and was not asked."""


class Accounts:
    """The counters of a door's budgets, wherever they are kept.

    Thread-safe. Operations on the path raise `StoreError` at once while the store is away. Calls
    whose counters are in this process use `tally` instead of reserving and settling by name.

    Args:
        store: Where the counters are.
        clock: The door's.
        on_settled: Called with `Settling.told` and the balances after a settlement.
        on_fault: Called with what went wrong behind the path.
        on_work: Called with a shared store behind the path, whenever it is told something.
        lease: Seconds the holds of this process last unless it renews them.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        on_settled: OnSettled,
        on_fault: Callable[[BaseException], None],
        on_work: Callable[[Store], None] | None = None,
        lease: float = LEASE,
    ) -> None:
        self.store = store
        self.shared = store.shared
        self.tally: Tally | None = store.tally if isinstance(store, MemoryStore) else None
        self.now = store.now
        self._clock = clock.now
        self._on_settled = on_settled
        self._on_fault = on_fault
        self._on_work = on_work
        self._away_until = 0.0
        self._failing = False
        self._lease = lease if self.shared else math.inf
        self._every = self._lease / 3
        self._clear()

    def _clear(self) -> None:
        self._process = os.getpid()
        self._id = new_id()
        self._failing = False
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._live: set[str] = set()
        self._looked: float | None = None
        self._outbox = Outbox(
            self.store, self._lease, on_settled=self._on_settled, on_fault=self._on_fault
        )
        self._shares = Shares(self.store, self._lease)

    @property
    def away(self) -> bool:
        """Whether the store failed, and is left alone until the background thread has reached it."""
        return self._failing and (not self._closed or self._clock() < self._away_until)

    # On the path ---------------------------------------------------------------------------

    def reserve(self, hold: str, lines: Sequence[Line]) -> Answer:
        """Hold these lines; see `Store.reserve`.

        Raises:
            StoreError: If the store does not answer. `LeftAlone` if it was not even asked.
        """
        if not self.shared:
            return self.store.reserve(hold, lines, self._lease)
        self._check()
        try:
            for _ in range(_ASKED):
                told = self._outbox.told
                answer = self.store.reserve(hold, lines, self._lease)
                if answer.refused is None or not self._may_make_room(lines[answer.refused], told):
                    break
                self._make_room(lines[answer.refused])
        except StoreError:
            self._failed()
            raise
        return self._answered(hold, answer)

    async def areserve(self, hold: str, lines: Sequence[Line]) -> Answer:
        """As `reserve`, without blocking the event loop."""
        if not self.shared:
            return self.reserve(hold, lines)
        self._check()
        try:
            for _ in range(_ASKED):
                told = self._outbox.told
                answer = await self.store.areserve(hold, lines, self._lease)
                if answer.refused is None or not self._may_make_room(lines[answer.refused], told):
                    break
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(None, self._make_room, lines[answer.refused])
        except StoreError:
            self._failed()
            raise
        return self._answered(hold, answer)

    def _check(self) -> None:
        if self._process != os.getpid():
            self._clear()
        if self.away:
            raise LeftAlone("the store failed a moment ago and is left alone")

    def _failed(self) -> None:
        self._failing = True
        self._away_until = self._clock() + AWAY
        self._start()

    def _answered(self, hold: str, answer: Answer) -> Answer:
        self._failing = False
        if answer.held:
            self._live.add(hold)
            if self._thread is None:
                self._start()
        return answer

    def _may_make_room(self, line: Line, told: int) -> bool:
        """Whether the store may have more to grant than it knew of when `told` ends were told."""
        outbox = self._outbox
        return outbox.unsettled or outbox.told != told or self._shares.holds(line.key)

    def _make_room(self, line: Line) -> None:
        """Give a counter back what it holds for this process and need not."""
        share = self._shares.give_back(line.key)
        if share is not None:
            self._outbox.settle(share)
        self._outbox.send()

    def settle(self, settling: Settling) -> None:
        """A hold is over: told at once to a store of this process, later to a shared one."""
        if not self.shared:
            (balances,) = self.store.settle([(settling.hold, settling.amounts)])
            if balances is not None and settling.told is not None:
                self._on_settled(settling.told, balances)
            return
        self._live.discard(settling.hold)
        self._outbox.settle(settling)
        self._start()

    def post(self, line: Line, spent: int) -> None:
        """Count what was spent without a hold."""
        self._outbox.post(line, spent)
        if self.shared:
            self._start()
        else:
            self.work()

    def later(self, job: Callable[[], None]) -> None:
        """Run a job that asks the store, behind the path."""
        if not self.shared:
            job()
            return
        self._outbox.ask(job)
        self._start()

    def first(self, name: str, ttl: float) -> bool:
        """Whether this process is the first of those that share the store to do what has this name.

        Asks the store: not for the path. True if it does not answer.
        """
        if not self.shared:
            return True
        try:
            return self.store.claim(name, self._id, ttl)
        except StoreError:
            return True

    # Shares --------------------------------------------------------------------------------

    def want_share(self, line: Line) -> None:
        """Set a part of this counter aside, for when the store is away."""
        if self._shares.want(line):
            self._start()

    def take_share(self, line: Line) -> bool:
        """Hold an amount of this process's share of a counter, while the store is away."""
        return self._shares.take(line)

    def settle_share(self, line: Line, held: int, spent: int) -> None:
        """Turn what was held of a share into what was spent."""
        if not self._shares.settle(line.key, held, spent):
            self.post(line, spent)

    # Behind the path -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work behind the path, if the store is a shared one."""
        if self.shared:
            self._start()

    def _start(self) -> None:
        self._wake.set()
        if self._thread is None and not self._closed:
            with self._lock:
                if self._thread is None:
                    self._thread = self._begin()

    def _begin(self) -> threading.Thread | None:
        thread = threading.Thread(
            target=_keep, args=(weakref.ref(self),), name="firedoor-budgets", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter is on its way out
            self._on_fault(error)
            return None
        at_exit(_at_exit, weakref.ref(self))
        return thread

    def work(self) -> bool:
        """Tell the store what is due; whether it answered. The background thread's one step."""
        with self._working:
            try:
                self._outbox.flush()
                if self.shared:
                    self._look()
                    self._outbox.flush()
            except StoreError as error:
                self._failing = True
                self._away_until = self._clock() + AWAY
                self._on_fault(error)
                return False
            except Exception as error:
                self._on_fault(error)
                return False
            return True

    def _look(self) -> None:
        """Renew what binds, and see who else is there.

        This is also how a store that was away is found to be back.
        """
        now = self._clock()
        if self._failing or self._looked is None or now - self._looked >= self._every:
            live = tuple(self._live)
            for start in range(0, len(live), _RENEWED):
                self.store.renew(live[start : start + _RENEWED], self._lease)
            self.store.publish(PROCESSES, self._id, "", self._lease)
            self._shares.processes = len(self.store.members(PROCESSES))
            for ended in self._shares.renew():
                self._outbox.settle(ended)
            self._outbox.doubt()
            self._looked = now
            self._failing = False
        if self._on_work is not None:
            self._on_work(self.store)
        for ended in self._shares.lease():
            self._outbox.settle(ended)

    def flush(self) -> None:
        """Tell the store all that is due, if it answers. Blocks until it has been told."""
        if self._process == os.getpid():
            self.work()

    def close(self) -> None:
        """Tell the store what is due, give back the shares, and end the thread."""
        if self._process != os.getpid():
            return
        self._closed = True
        self._wake.set()
        for ended in self._shares.end():
            self._outbox.settle(ended)
        self.work()

    def snapshot(self) -> dict[str, Any]:
        """How it stands, as plain data."""
        return {
            "shared": self.shared,
            "away": self.away,
            "untold": len(self._outbox),
            "lost": self._outbox.lost,
            "processes": self._shares.processes,
            "shares": self._shares.snapshot(),
        }


def _keep(reference: weakref.ref[Accounts]) -> None:
    failed = False
    never = threading.Event()
    while True:
        accounts = reference()
        if accounts is None or accounts._closed:
            return
        wake, every = accounts._wake, accounts._every
        del accounts
        # A store that is away is asked again by the clock, not by every call that ends.
        if failed:
            never.wait(AWAY)
        elif wake.wait(every):
            never.wait(_GATHER)
        accounts = reference()
        if accounts is None or accounts._closed:
            return
        wake.clear()
        failed = not accounts.work()
        del accounts


def _at_exit(reference: weakref.ref[Accounts]) -> None:
    accounts = reference()
    if accounts is not None:
        accounts.close()
