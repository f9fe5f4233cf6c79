"""Signals: what users meet, as windowed figures over decisions; see `firedoor.core.signals`.

Nobody waits for a lock, and nothing is lost: a call leaves itself behind with the time it ended at,
which is one append. Who completes a batch, or is the first in a new slot of time, takes in what was
left if the lock is free; whoever reads takes in everything first. So what is read is the same as if
every call had counted itself, for a fraction of the time of its path.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from firedoor.core.cells import Cell
from firedoor.core.column import Running
from firedoor.core.ring import Question
from firedoor.core.series import Sample, Selector, Shape
from firedoor.core.signals import (
    ANY,
    CATALOGUE,
    OBSERVED,
    REQUEST,
    Signal,
)
from firedoor.core.tallies import (
    FAULTS,
    Lane,
    lane,
)
from firedoor.core.telling import RECENT, cells_of, slots_of, told_cells, told_slots
from firedoor.errors import ConfigurationError
from firedoor.incidents.counting import NESTED, OTHER, Counting, Custom, told_of
from firedoor.incidents.windows import Reader, onset
from firedoor.records import Decision
from firedoor.types import Fault

if TYPE_CHECKING:
    from firedoor.core.series import Series
    from firedoor.shell.scope import Request

__all__ = ["CELLS", "KEYS", "OTHER", "Signals"]

KEYS: Final = 10_000
"""Combinations of journey, route and alias that are told apart at most."""

CELLS: Final = 700_000
"""Combinations of those with a slot of time that are kept at most; about 200 bytes each."""

_BATCH = 32
_AT_ONCE = 2 * _BATCH
_WAITING = 100_000
_EVERYWHERE = Selector()

R = TypeVar("R")
_start = itemgetter(0)


class Signals:
    """The windowed figures of one door. Thread-safe.

    Args:
        now: Monotonic seconds.
        time: Wall time, seconds since the epoch: what slots are aligned to, so that those of
            several processes match.
        on_fault: Told of what goes wrong inside; nothing is raised into a call.
        keys: Combinations of journey, route and alias that are told apart. What comes beyond them
            counts for `OTHER`, and for the whole door.
        cells: How many cells are kept; beyond them the oldest slots are forgotten.
    """

    def __init__(
        self,
        now: Callable[[], float],
        time: Callable[[], float],
        *,
        on_fault: Callable[[BaseException], object],
        keys: int = KEYS,
        cells: int = CELLS,
    ) -> None:
        self._now = now
        began = now()
        self._ahead = time() - began
        self._on_fault = on_fault
        self._lock = threading.Lock()
        self._pending: deque[tuple[Callable[[Any, float], None], Any, float]] = deque()
        self._batch = _BATCH
        self._due = -math.inf
        self._counting = Counting(began, self._ahead, on_fault=on_fault, keys=keys, cells=cells)
        self._ring = self._counting.ring
        self._call = self._counting.call
        self._told: dict[float, str] = {}
        self._heard: dict[str, dict[float, str]] = {}
        self._signals: dict[str, Signal] = dict(CATALOGUE)
        self._lost = 0
        _ALL.add(self)

    def on_turn(self, listener: Callable[[], object]) -> None:
        """Call `listener` as a new slot begins, about every ten seconds.

        It is called inside the first call that ends in it, with the lock held: it must be quick.
        """
        self._counting.on_turn = listener

    def _own_lock(self) -> None:
        """A forked process has no thread that could give the lock back."""
        self._lock = threading.Lock()

    # Recording -----------------------------------------------------------------------------

    def record(self, decision: Decision) -> None:
        """Count a finished call; synthetic traffic is not counted."""
        self._leave(self._call, decision)

    def record_request(self, request: Request) -> None:
        """Count a request that has ended."""
        try:
            told = told_of(request)
        except Exception as error:
            self._on_fault(error)
            return
        if told is not None:
            self._leave(self._counting.request, told)

    def observe(
        self,
        name: str,
        value: float | bool,  # noqa: FBT001 - a rate is observed as true or false
        *,
        journey: str | None = None,
        route: str | None = None,
        alias: str | None = None,
    ) -> None:
        """Count a figure that no decision tells: a check's score, feedback, a probe's result.

        Args:
            name: A default signal that is observed, or a registered one.
            value: Of a rate, whether it is a hit (from 0.5 on a number is one).
            journey: Where it was seen, as for a `Selector`.
            route: Likewise.
            alias: Likewise.

        Raises:
            ConfigurationError: If there is no such signal, it is made from decisions, or the value
                is no finite number.
        """
        signal = self._signal(name)
        if signal.kind != OBSERVED and not signal.custom:
            raise ConfigurationError(
                f"observe({name!r}): this signal is made from decisions; observe "
                f"{', '.join(n for n, s in self._signals.items() if s.kind == OBSERVED)}, or "
                "register one of your own with door.signals.register(name)"
            )
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ConfigurationError(
                f"observe({name!r}, {value!r}): give a finite number, or true or false for a rate"
            )
        self._leave(self._counting.observation, (signal, number, journey, route, alias))

    def _leave(self, count: Callable[[Any, float], None], what: Any) -> None:
        """Leave behind what is to be counted, and see whether it is time to take it in."""
        now = self._now()
        pending = self._pending
        pending.append((count, what, now))
        if len(pending) >= self._batch or now >= self._due:
            self._settle()

    def _settle(self) -> None:
        """Take in a batch, unless somebody else is at it."""
        if self._lock.acquire(False):
            try:
                self._take_in(_AT_ONCE)
                self._due = self._counting.turn - self._ahead
            except Exception as error:
                self._on_fault(error)
            finally:
                self._lock.release()
        elif len(self._pending) > _WAITING:
            with contextlib.suppress(IndexError):
                self._pending.popleft()
                self._lost += 1

    def _take_in(self, most: int) -> None:
        """Count up to `most` of what was left. The caller holds the lock."""
        pending = self._pending
        for _ in range(most):
            try:
                count, what, at = pending.popleft()
            except IndexError:
                return
            try:
                count(what, at)
            except Exception as error:
                self._on_fault(error)

    def _take_in_all(self) -> float:
        """Count everything that was left; the time it is. The caller holds the lock."""
        now = self._now()
        self._take_in(len(self._pending))
        at = now + self._ahead
        counting = self._counting
        if at >= counting.turn:
            counting.advance(at)
        while counting.untidy:
            counting.tidy(at, 4_096)
        self._due = counting.turn - self._ahead
        return at

    # Fleets --------------------------------------------------------------------------------

    def export(self, since: float = -math.inf) -> str:
        """What this process counted in the last minute, as text for `absorb` elsewhere.

        Slots are told whole, again and again while they are recent: whoever hears a slot twice, or
        only the last time, has it right.

        Args:
            since: Monotonic seconds; slots that began before are left out.
        """
        with self._lock:
            self._take_in_all()
            slots = [s for s in self._ring.recent(RECENT) if s.start >= since + self._ahead]
            told = {}
            for slot in slots:
                if slot is not slots[-1] and slot.start in self._told:
                    told[slot.start] = self._told[slot.start]
                elif slot.cells:
                    told[slot.start] = told_cells(slot.cells, OTHER)
            self._told = told
        return told_slots(told)

    def absorb(self, process: str, text: str) -> int:
        """Take in what another process counted; how many slots of it were new or had changed.

        What cannot be read is left out and counted as a fault.

        Args:
            process: Who tells; one name for one process.
            text: What `export` made there.
        """
        try:
            told = slots_of(text)
        except Exception as error:
            self._on_fault(error)
            return 0
        taken = 0
        with self._lock:
            at = self._take_in_all()
            before = self._heard.get(process, {})
            self._heard[process] = told
            for start, packed in told.items():
                if before.get(start) == packed:
                    continue
                try:
                    taken += self._ring.told(process, start, cells_of(packed), at)
                except Exception as error:
                    self._on_fault(error)
            self._counting.resume()
        return taken

    def forget(self, living: Iterable[str]) -> None:
        """Only these processes are still there: what the others said stays, they are forgotten."""
        names = set(living)
        with self._lock:
            self._heard = {name: told for name, told in self._heard.items() if name in names}

    # The application's own -----------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Every signal there is."""
        return tuple(self._signals)

    def register(
        self,
        name: str,
        function: Custom | None = None,
        *,
        shape: Shape | str = Shape.RATE,
        quantile: float | None = None,
        unit: str = "",
        higher_is_worse: bool = True,
    ) -> None:
        """Add a signal of the application's own, over decisions or observed.

        Args:
            name: Not one that is there already.
            function: What a decision counts for: true or false for a rate, a number otherwise;
                None: it does not count. It runs as every call ends, so it must be quick. Left out:
                the signal is told with `observe`.
            shape: `rate`, `mean`, `quantile` or `velocity`.
            quantile: Of a quantile: 0.95 for p95.
            unit: For people to read.
            higher_is_worse: The direction that hurts.

        Raises:
            ConfigurationError: If the name is taken, or shape and quantile do not go together.
        """
        if not str(name).strip() or name in self._signals:
            raise ConfigurationError(
                f"register({name!r}): give the signal a name that is not taken; there are "
                f"{', '.join(self._signals)}"
            )
        if function is not None and not callable(function):
            raise ConfigurationError(
                f"register({name!r}, {function!r}): give a function of a decision, or leave it out "
                "and tell the signal with observe()"
            )
        try:
            shape = Shape(shape)
        except ValueError:
            raise ConfigurationError(
                f"register({name!r}, shape={shape!r}): use {', '.join(Shape)}"
            ) from None
        whole = isinstance(quantile, int | float) and 0 < quantile < 1
        if whole is not (shape is Shape.QUANTILE) or (not whole and quantile is not None):
            raise ConfigurationError(
                f"register({name!r}, shape={shape.value!r}, quantile={quantile!r}): a quantile, "
                "and only that, has quantile= between 0 and 1, as in 0.95"
            )
        signal = Signal(
            name, shape, unit, ANY, "what the application registered", "what it counts",
            figure=f"own:{name}", share=quantile, higher_is_worse=higher_is_worse, custom=True,
        )  # fmt: skip
        with self._lock:
            self._signals[name] = signal
            if function is not None:
                self._counting.custom.append((signal, function))
                self._batch = 1  # it runs as the call ends, in its thread and context

    # Reading -------------------------------------------------------------------------------

    def definition(self, name: str) -> Signal:
        """What a signal counts.

        Raises:
            ConfigurationError: If there is no such signal.
        """
        return self._signal(name)

    def _signal(self, name: str) -> Signal:
        found = self._signals.get(name)
        if found is None:
            raise ConfigurationError(
                f"signal {name!r} is not known: there are {', '.join(self._signals)}; add your own "
                "with door.signals.register(name, function)"
            )
        return found

    def series(self, name: str, selector: Selector = _EVERYWHERE, *, plain: bool = False) -> Series:
        """One signal under one selector, for rules to read.

        Args:
            name: The signal.
            selector: Where.
            plain: Only of what was answered as configured: no switch, no lower tier, not canned.
                Without observations here a signal has not recovered, it is contained.

        Raises:
            ConfigurationError: If there is no such signal.
        """
        return Reader(self._signal(name), Selector(*selector), self, plain=plain)

    def read(
        self,
        name: str,
        *,
        journey: str | None = None,
        route: str | None = None,
        alias: str | None = None,
        window: float = 300.0,
        plain: bool = False,
    ) -> Sample:
        """A signal over the last `window` seconds.

        Raises:
            ConfigurationError: If there is no such signal.
        """
        series = self.series(name, Selector(journey, route, alias), plain=plain)
        return series.over(window, self._now())

    def gather(
        self,
        questions: Sequence[Question],
        seconds: float,
        now: float,
        before: float,
        take: Callable[[Sequence[list[Cell]], float], R],
    ) -> R:
        """See `windows.Source`."""
        with self._lock:
            self._take_in_all()
            stretch = self._ring.stretch(seconds, now + self._ahead, before)
            found = [self._ring.total(q, stretch.begins, stretch.ends) for q in questions]
            return take(found, stretch.seconds)

    def _tally(self, question: Question, seconds: float, now: float) -> int:
        return self.gather(
            (question,), seconds, now, 0.0, lambda found, _: sum(c.tally for c in found[0])
        )

    def slots(
        self, questions: Sequence[Question], seconds: float, now: float
    ) -> tuple[list[tuple[float, Cell]], float]:
        """See `windows.Source`."""
        with self._lock:
            self._take_in_all()
            stretch = self._ring.stretch(seconds, now + self._ahead)
            found = [
                (start - self._ahead, cell)
                for question in questions
                for start, cell in self._ring.read(question, stretch.begins, stretch.ends)
            ]
        if len(questions) > 1:
            found.sort(key=_start)
        return found, stretch.seconds

    def running(
        self,
        questions: tuple[Question, ...],
        seconds: float,
        now: float,
        take: Callable[[Running, float, float], R],
    ) -> R:
        """See `windows.Source`."""
        with self._lock:
            self._take_in_all()
            at = now + self._ahead
            stretch = self._ring.stretch(seconds, at)
            return take(self._ring.running(questions, stretch.begins), at, stretch.seconds)

    def selectors(self, name: str) -> tuple[Selector, ...]:
        """Where a signal has been seen: every journey, route and alias it has observations of.

        Raises:
            ConfigurationError: If there is no such signal.
        """
        signal = self._signal(name)
        kinds = None if signal.kind == ANY else {signal.kind}
        with self._lock:
            self._take_in_all()
            keys = self._ring.keys(lambda key: kinds is None or key.kind in kinds)
        calls = (REQUEST, NESTED)
        found = {
            Selector(k.journey, None if k.kind in calls else k.route, k.alias)
            for k in keys
            if signal.kind != ANY or k.kind not in calls
        }
        return tuple(sorted(found, key=lambda s: tuple(part or "" for part in s)))

    def bad_since(self, name: str, selector: Selector, seconds: float, now: float) -> float | None:
        """When a signal turned bad within the last `seconds`, as far as slots tell; or None.

        The change point of the stretch (Hinkley 1970: where the cumulative sum of deviations from
        the mean is least), moved on to the first slot with something bad in it: a signal that is
        never quite zero was not bad from the beginning.

        Raises:
            ConfigurationError: If there is no such signal.
        """
        reader = Reader(self._signal(name), Selector(*selector), self)
        return onset(reader, seconds, now)

    def exposure(
        self, selector: Selector, seconds: float, now: float, *, signal: str | None = None
    ) -> tuple[int, int]:
        """How many requests there were, and how many of them were affected.

        Of a selector with a route or an alias: calls, since requests have neither.

        Args:
            selector: Where.
            seconds: How far back.
            now: Monotonic seconds.
            signal: A rate that says which are affected. None: those whose user got no plain
                answer.
        """
        selector = Selector(*selector)
        of_calls = selector.route is not None or selector.alias is not None
        kinds = frozenset({REQUEST} if selector.journey is None else {REQUEST, NESTED})
        question = Question(None if of_calls else kinds, selector)
        tally = self._tally(question, seconds, now)
        if of_calls:
            requests = lane(tally, Lane.CALLS)
            affected = sum(lane(tally, name) for name in (Lane.REFUSED, Lane.BLOCKED, Lane.FAILED))
            affected += sum(lane(tally, name) for name in (Lane.FALLBACK, Lane.CANNED, Lane.EMPTY))
            affected = min(requests, affected)
        else:
            requests, affected = lane(tally, Lane.REQUESTS), lane(tally, Lane.AFFECTED)
        if signal is not None and self._signal(signal).shape is Shape.RATE:
            share = self.series(signal, selector).over(seconds, now).value
            affected = requests if share is None else min(requests, round(requests * share))
        return requests, affected

    def faults(self, selector: Selector, seconds: float, now: float) -> Mapping[Fault, float]:
        """The share of calls that ended by whose fault: failed ones, and blocked ones.

        Args:
            selector: Where. Without a route: model calls.
            seconds: How far back.
            now: Monotonic seconds.
        """
        selector = Selector(*selector)
        kinds = None if selector.route is not None else frozenset({"llm"})
        tally = self._tally(Question(kinds, selector), seconds, now)
        calls = lane(tally, Lane.CALLS)
        return {fault: lane(tally, at) / calls if calls else 0.0 for fault, at in FAULTS.items()}

    def snapshot(self, now: float) -> dict[str, Any]:
        """The whole door's signals over the last five minutes, and what is kept of them."""
        read = {name: self.series(name).over(300.0, now) for name in tuple(self._signals)}
        with self._lock:
            return {
                "window": 300.0,
                "signals": {
                    name: {"value": s.value, "size": s.size, "apart": s.apart}
                    for name, s in read.items()
                },
                "recorded": self._counting.recorded,
                "keys": len(self._counting.known),
                "cells": self._ring.size,
                "overflowed": self._counting.overflowed,
                "lost": self._lost,
                "slots_forgotten": self._ring.dropped,
            }


_ALL: weakref.WeakSet[Signals] = weakref.WeakSet()


def _after_fork() -> None:
    for signals in tuple(_ALL):
        signals._own_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
