"""The budgets' store as calls see it: asked on the way in, told later, and sometimes away.

Reserving is done on the call's path, since it decides whether the call may run. All else is told to
a shared store by one background thread, in batches, and never on the path: what calls really
spent, the renewal of leases, and what was spent while the store could not be reached. A hold stays
held until its settlement has arrived, so a late one never lets anybody overspend.

While a shared store is away nobody waits for it: it is asked again after `AWAY` seconds. Until then
a budget may live on its share: a small part of its limit that this process has reserved ahead.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from firedoor.clock import Clock
from firedoor.core.budget import LARGEST, Answer, Balance, Line
from firedoor.errors import StoreError
from firedoor.shell.scope import new_id
from firedoor.stores.base import Store

__all__ = ["AWAY", "LEASE", "SHARE", "Accounts", "Settling"]

LEASE = 60.0
"""Seconds a call's hold lasts; renewed while the call runs, so this is how long the hold of a
killed process binds."""

AWAY = 1.0
"""Seconds a store that failed is left alone."""

SHARE = 50
"""A process's share is the limit over this, for each of its counters."""

_SHARE_LEASE = 600.0
_SHARED_COUNTERS = 256
_EVERY = LEASE / 3
_FOREVER = 86_400.0
_BATCH = 256
_MOST = 10_000

OnSettled = Callable[[Any, tuple[Balance, ...]], None]


@dataclass(slots=True)
class Settling:
    """A hold that is over, on its way to the store.

    Attributes:
        hold: Its id.
        lines: Its lines.
        amounts: What was spent, a figure per line.
        told: Given back with the balances afterwards.
    """

    hold: str
    lines: Sequence[Line]
    amounts: tuple[int, ...]
    told: Any = None


@dataclass(slots=True)
class _Share:
    line: Line
    hold: str
    until: float
    spent: int = 0
    held: int = 0


@dataclass(slots=True)
class _Due:
    """What the store is to be told. Guarded by the lock of its `Accounts`."""

    settling: deque[Settling] = field(default_factory=deque)
    posts: dict[str, tuple[Line, int]] = field(default_factory=dict)
    jobs: deque[Callable[[], None]] = field(default_factory=deque)


class Accounts:
    """The counters of a door's budgets, wherever they are kept.

    Thread-safe. Operations on the path raise `StoreError` at once while the store is away.

    Args:
        store: Where the counters are.
        clock: The door's, for how long the store is left alone.
        on_settled: Called with `Settling.told` and the balances after a settlement.
        on_fault: Called with what went wrong behind the path.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        on_settled: OnSettled,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.store = store
        self.shared = store.shared
        self.now = store.now
        self._clock = clock.now
        self._on_settled = on_settled
        self._on_fault = on_fault
        self._away_until = 0.0
        self._failing = False
        self._lost = 0
        self._lease = LEASE if self.shared else _FOREVER
        self._clear()

    def _clear(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._due = _Due()
        self._live: set[str] = set()
        self._renewed = self._clock()
        self._wanted: dict[str, Line] = {}
        self._shares: dict[str, _Share] = {}

    @property
    def away(self) -> bool:
        """Whether the store failed a moment ago, and is left alone."""
        return self._failing and self._clock() < self._away_until

    # On the path ---------------------------------------------------------------------------

    def reserve(self, hold: str, lines: Sequence[Line]) -> Answer:
        """Hold these lines; see `Store.reserve`.

        Raises:
            StoreError: If the store does not answer, or is left alone.
        """
        self._check()
        try:
            answer = self.store.reserve(hold, lines, self._lease)
        except StoreError:
            self._failed()
            raise
        return self._answered(hold, lines, answer)

    async def areserve(self, hold: str, lines: Sequence[Line]) -> Answer:
        """As `reserve`, without blocking the event loop."""
        if not self.shared:
            return self.reserve(hold, lines)
        self._check()
        try:
            answer = await self.store.areserve(hold, lines, self._lease)
        except StoreError:
            self._failed()
            raise
        return self._answered(hold, lines, answer)

    def _check(self) -> None:
        if self.shared:
            if self._process != os.getpid():
                self._clear()
            if self.away:
                raise StoreError("the store failed a moment ago and is left alone")

    def _failed(self) -> None:
        self._failing = True
        self._away_until = self._clock() + AWAY

    def _answered(self, hold: str, lines: Sequence[Line], answer: Answer) -> Answer:
        self._failing = False
        if self.shared and answer.held:
            with self._lock:
                self._live.add(hold)
                for line in lines:
                    if line.enforce and line.limit >= SHARE and line.key not in self._shares:
                        self._wanted[line.key] = line
                while len(self._wanted) > _SHARED_COUNTERS:
                    del self._wanted[next(iter(self._wanted))]
            self._start()
        return answer

    def settle(self, settling: Settling) -> None:
        """A hold is over: told at once to a store of this process, later to a shared one."""
        if not self.shared:
            self._settled([settling], self.store.settle([(settling.hold, settling.amounts)]))
            return
        with self._lock:
            self._live.discard(settling.hold)
            self._due.settling.append(settling)
        self._start()

    def post(self, line: Line, spent: int) -> None:
        """Count what was spent without a hold."""
        if spent <= 0:
            return
        with self._lock:
            _, before = self._due.posts.get(line.key, (line, 0))
            if len(self._due.posts) >= _MOST and not before:
                self._lost += 1
                return
            self._due.posts[line.key] = (line, min(before + spent, LARGEST))
        if self.shared:
            self._start()
        else:
            self.work()

    def later(self, job: Callable[[], None]) -> None:
        """Run a job that asks the store, behind the path."""
        if not self.shared:
            job()
            return
        with self._lock:
            self._due.jobs.append(job)
        self._start()

    # Shares --------------------------------------------------------------------------------

    def take_share(self, line: Line) -> bool:
        """Hold an amount of this process's share of a counter, while the store is away."""
        with self._lock:
            share = self._shares.get(line.key)
            if share is None or self.store.now() >= share.until:
                return False
            left = share.line.amount - share.spent - share.held
            if not (line.amount <= left if line.strict else left > 0):
                return False
            share.held += line.amount
            return True

    def settle_share(self, line: Line, spent: int) -> None:
        """Turn what was held of a share into what was spent."""
        with self._lock:
            share = self._shares.get(line.key)
            if share is not None:
                share.held -= line.amount
                share.spent += spent
                return
        self.post(line, spent)

    # Behind the path -----------------------------------------------------------------------

    def _start(self) -> None:
        self._wake.set()
        if self._thread is None and not self._closed:
            with self._lock:
                if self._thread is None:
                    atexit.register(_at_exit, weakref.ref(self))
                    self._thread = threading.Thread(
                        target=_keep,
                        args=(weakref.ref(self),),
                        name="firedoor-budgets",
                        daemon=True,
                    )
                    self._thread.start()

    def work(self) -> bool:
        """Tell the store what is due; whether it answered. The background thread's one step."""
        with self._working:
            try:
                self._send()
                self._post()
                self._run()
                if self.shared:
                    self._renew()
            except StoreError as error:
                self._failed()
                self._on_fault(error)
                return False
            except Exception as error:
                self._on_fault(error)
                return False
            return True

    def _send(self) -> None:
        due = self._due.settling
        while due:
            batch = [due[index] for index in range(min(len(due), _BATCH))]
            answers = self.store.settle([(one.hold, one.amounts) for one in batch])
            self._failing = False
            for _ in batch:
                due.popleft()
            self._settled(batch, answers)

    def _settled(self, batch: list[Settling], answers: Sequence[Any]) -> None:
        for one, balances in zip(batch, answers, strict=True):
            if balances is None:
                # The store has lost what it knew; what was spent was spent all the same.
                for line, spent in zip(one.lines, one.amounts, strict=True):
                    self.post(line, spent)
            elif one.told is not None:
                self._on_settled(one.told, balances)

    def _post(self) -> None:
        while self._due.posts:
            with self._lock:
                key, (line, spent) = self._due.posts.popitem()
            hold = "post/" + new_id()
            counted = line._replace(amount=spent, floor=spent, enforce=False)
            try:
                self.store.reserve(hold, [counted], LEASE)
                self.store.settle([(hold, (spent,))])
            except BaseException:
                # Said again under another name: at worst it is counted twice, never lost.
                with self._lock:
                    _, since = self._due.posts.get(key, (line, 0))
                    self._due.posts[key] = (line, min(since + spent, LARGEST))
                raise
            self._failing = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._due.jobs:
                    return
                job = self._due.jobs.popleft()
            job()

    def _renew(self) -> None:
        now = self._clock()
        if now - self._renewed >= _EVERY:
            with self._lock:
                live = list(self._live)
            for start in range(0, len(live), _BATCH):
                self.store.renew(live[start : start + _BATCH], LEASE)
            self._renewed = now
            self._failing = False
            self._renew_shares()
        with self._lock:
            wanted = list(self._wanted.values())
        for line in wanted:
            self._lease_share(line)
            with self._lock:
                self._wanted.pop(line.key, None)

    def _lease_share(self, line: Line) -> None:
        if line.key in self._shares or len(self._shares) >= _SHARED_COUNTERS:
            return
        hold = "share/" + new_id()
        own = line._replace(amount=line.limit // SHARE, floor=0, strict=True, enforce=True)
        until = self.store.now() + _SHARE_LEASE
        if self.store.reserve(hold, [own], _SHARE_LEASE).held:
            with self._lock:
                self._shares[line.key] = _Share(own, hold, until)

    def _renew_shares(self) -> None:
        for key, share in list(self._shares.items()):
            over = self.store.now() >= share.line.expires
            with self._lock:
                idle = not share.held
                if idle and (share.spent or over):
                    del self._shares[key]
            if idle and (share.spent or over):
                with self._lock:
                    self._due.settling.append(Settling(share.hold, (share.line,), (share.spent,)))
                if not over:
                    self._wanted[key] = share.line
            elif self.store.renew([share.hold], _SHARE_LEASE)[0]:
                share.until = self.store.now() + _SHARE_LEASE
            else:
                with self._lock:
                    self._shares.pop(key, None)
                    self._wanted[key] = share.line
        self._send()

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
        with self._lock:
            shares, self._shares = self._shares, {}
            for share in shares.values():
                self._due.settling.append(Settling(share.hold, (share.line,), (share.spent,)))
        self.work()

    def snapshot(self) -> dict[str, Any]:
        """How it stands, as plain data."""
        with self._lock:
            return {
                "shared": self.shared,
                "away": self.away,
                "untold": len(self._due.settling) + len(self._due.posts),
                "lost": self._lost,
                "shares": {
                    key: {"granted": s.line.amount, "spent": s.spent, "held": s.held}
                    for key, s in self._shares.items()
                },
            }


def _keep(reference: weakref.ref[Accounts]) -> None:
    failed = False
    while True:
        accounts = reference()
        if accounts is None or accounts._closed:
            return
        wake = accounts._wake
        del accounts
        # A store that is away is asked again by the clock, not by every call that ends.
        if failed:
            threading.Event().wait(AWAY)
        else:
            wake.wait(_EVERY)
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
