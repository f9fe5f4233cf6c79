"""What a budget store is still to be told: kept until it has been told, in whatever order it comes.

Everything here happens behind the calls' path. What was spent is told as the end of a hold; where
the store knows no such hold (it has lost its memory, or was away when the call began) it is counted
without one, so nothing that was spent is ever lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from firedoor.core.budget import LARGEST, Balance, Line
from firedoor.shell.scope import new_id
from firedoor.stores.base import Store

__all__ = ["OnSettled", "Outbox", "Settling"]

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
        doubtful: The store was asked for the hold and did not answer. It may still be about to
            grant it, so what it does not know now it is asked again later.
    """

    hold: str
    lines: Sequence[Line]
    amounts: tuple[int, ...]
    told: Any = None
    doubtful: bool = False


class Outbox:
    """Settlements, spending without a hold, and questions, waiting for the store. Thread-safe.

    Args:
        store: Who is told.
        lease: Seconds a hold lasts that only carries spending to its counter.
        on_settled: Called with `Settling.told` and the balances after a settlement.
        on_fault: Called with what cannot be told.
    """

    def __init__(
        self,
        store: Store,
        lease: float,
        *,
        on_settled: OnSettled,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self._lease = lease
        self._on_settled = on_settled
        self._on_fault = on_fault
        self._lock = threading.Lock()
        self._sending = threading.RLock()
        self._settling: deque[Settling] = deque()
        self._doubtful: list[Settling] = []
        self._posts: dict[str, tuple[Line, int]] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self.told = 0
        """How many ends of holds were told."""
        self.lost = 0
        """Amounts that were not kept, since too many counters waited."""

    def __len__(self) -> int:
        return len(self._settling) + len(self._posts)

    @property
    def unsettled(self) -> bool:
        """Whether the store holds more than it has to, as it was not told of ends yet."""
        return bool(self._settling)

    def settle(self, settling: Settling) -> None:
        """Keep the end of a hold until it is told."""
        self._settling.append(settling)

    def post(self, line: Line, spent: int) -> None:
        """Keep what was spent without a hold until it is told."""
        if spent <= 0:
            return
        with self._lock:
            before = self._posts.get(line.key)
            if before is None and len(self._posts) >= _MOST:
                self.lost += 1
                return
            already = 0 if before is None else before[1]
            self._posts[line.key] = (line, min(already + spent, LARGEST))

    def ask(self, job: Callable[[], None]) -> None:
        """Keep a job that asks the store until it can be done."""
        self._jobs.append(job)

    def doubt(self) -> None:
        """Bring up once more what the store did not know when it was told."""
        with self._lock:
            again, self._doubtful = self._doubtful, []
        self._settling.extend(again)

    def send(self) -> None:
        """Tell what has ended.

        Raises:
            StoreError: If the store does not answer; what was not told is kept.
        """
        waiting = self._settling
        with self._sending:
            while waiting:
                batch = [waiting[index] for index in range(min(len(waiting), _BATCH))]
                try:
                    answers = self._store.settle([(one.hold, one.amounts) for one in batch])
                except ValueError:
                    if len(batch) > 1:
                        self._send_singly(batch)
                        continue
                    self._refused(waiting.popleft())
                    continue
                for _ in batch:
                    waiting.popleft()
                self._told(batch, answers)

    def _send_singly(self, batch: Sequence[Settling]) -> None:
        """One of them is no settlement: the others shall not wait behind it."""
        for one in batch:
            try:
                answers = self._store.settle([(one.hold, one.amounts)])
            except ValueError:
                self._refused(self._settling.popleft())
            else:
                self._settling.popleft()
                self._told([one], answers)

    def _refused(self, settling: Settling) -> None:
        self._on_fault(ValueError(f"{settling.amounts} is no settlement of {settling.hold!r}"))

    def _told(self, batch: Sequence[Settling], answers: Sequence[Any]) -> None:
        self.told += len(batch)
        for one, balances in zip(batch, answers, strict=True):
            if balances is None:
                for line, spent in zip(one.lines, one.amounts, strict=True):
                    self.post(line, spent)
                if one.doubtful:
                    nothing = (0,) * len(one.amounts)
                    with self._lock:
                        self._doubtful.append(replace(one, amounts=nothing, doubtful=False))
            elif one.told is not None:
                self._on_settled(one.told, balances)

    def flush(self) -> None:
        """Tell everything, and do the jobs.

        Raises:
            StoreError: If the store does not answer; what was not told is kept.
        """
        with self._sending:
            self.send()
            self._count()
            while self._jobs:
                self._jobs.popleft()()

    def _count(self) -> None:
        while True:
            with self._lock:
                if not self._posts:
                    return
                key, (line, spent) = self._posts.popitem()
            hold = "post/" + new_id()
            counted = line._replace(amount=spent, floor=spent, enforce=False)
            try:
                self._store.reserve(hold, [counted], self._lease)
                self._store.settle([(hold, (spent,))])
            except BaseException:
                # Said again under another name: at worst it is counted twice, never lost.
                with self._lock:
                    _, since = self._posts.get(key, (line, 0))
                    self._posts[key] = (line, min(since + spent, LARGEST))
                raise
