"""Three days in slots: fine ones for minutes, coarse ones for days.

```
 now                                                                          76 h ago
  | 42 x 10 s | 28 x 1 min | 24 x 5 min | 21 x 30 min |      32 x 2 h       |
```

A slot maps keys to cells. What is recorded goes into the newest slot and nowhere else: one look-up,
one addition. A slot that has grown too old for its level is folded into the slot of the next one,
cell by cell, a few at a time. Nothing is ever subtracted: a stretch of time is read by merging its
slots, and what was merged of a slot that no longer changes is remembered.

A stretch begins and ends at the bounds of slots, the nearest ones: five minutes are off by 5 s at
most, an hour by 2.5 min, a day by an hour.

Memory is bounded by the number of cells kept. Where there are too many, slots are folded earlier;
where that is not enough, the oldest are forgotten, and what is read says how much time was really
watched.

Pure: the caller passes times (seconds, on the clock that slots are aligned to) and holds the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from math import inf
from typing import Final, NamedTuple

from firedoor.core.cells import Cell, Key, merged
from firedoor.core.column import Column, Running
from firedoor.core.series import Selector

__all__ = ["CROWDED", "LEVELS", "REACH", "Question", "Ring", "Slot", "Stretch", "width_at"]

LEVELS: Final = (
    (10.0, 420.0),
    (60.0, 2_100.0),
    (300.0, 9_300.0),
    (1_800.0, 46_800.0),
    (7_200.0, 277_200.0),
)
"""Of each level, the width of its slots and the age from which on they are folded, seconds."""

CROWDED: Final = (
    (10.0, 320.0),
    (60.0, 320.0),
    (300.0, 3_900.0),
    (1_800.0, 22_500.0),
    (7_200.0, 277_200.0),
)
"""The same where there are too many cells: what rules read by default stays as fine as it was."""

REACH: Final = LEVELS[-1][1]
"""Seconds that can be looked back: 77 hours."""

_QUESTIONS = 256
"""Answers remembered of a slot."""

_TOTALS = 1_024
"""Answers remembered of stretches, until the next slot begins."""

_COLUMNS = 128
"""Columns remembered, until then."""

Cells = dict[Key, Cell | bytes]


class Question(NamedTuple):
    """Which cells of a slot are meant. None: all of them.

    Attributes:
        kinds: Of the keys.
        selector: Journey, route and alias.
        apart: Only those set apart, or only the others.
    """

    kinds: frozenset[str] | None = None
    selector: Selector = Selector()
    apart: bool | None = None

    def holds(self, key: Key) -> bool:
        """Whether a key's cell is meant."""
        journey, route, alias = self.selector
        return (
            (self.kinds is None or key.kind in self.kinds)
            and (journey is None or key.journey == journey)
            and (route is None or key.route == route)
            and (alias is None or key.alias == alias)
            and (self.apart is None or key.apart is self.apart)
        )


class Stretch(NamedTuple):
    """A stretch of time as slots have it."""

    begins: float
    ends: float
    seconds: float
    """What of it was watched."""


class Slot:
    """A stretch of time.

    Attributes:
        start: When it begins.
        cells: What this process recorded, by key; what others did is added as it is folded.
        others: What other processes recorded, by process.
    """

    __slots__ = ("_answers", "_matched", "cells", "others", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.cells: Cells = {}
        self.others: dict[str, Mapping[Key, Cell]] = {}
        self._answers: dict[Question, Cell] = {}
        self._matched: dict[Question, tuple[int, list[Cell]]] = {}

    def changed(self) -> None:
        """Forget what was remembered."""
        if self._answers:
            self._answers = {}

    def read(self, question: Question, *, settled: bool) -> Cell:
        """Everything that is meant, added up. Not to be written to.

        Args:
            question: What is meant.
            settled: Nothing more is recorded here, so the answer may be kept.
        """
        known = self._answers.get(question)
        if known is not None:
            return known
        whole = merged(cell for key, cell in self.cells.items() if question.holds(key))
        for cells in self.others.values():
            for key, cell in cells.items():
                if question.holds(key):
                    whole.merge(cell)
        if settled and len(self._answers) < _QUESTIONS:
            self._answers[question] = whole
        return whole

    def parts(self, question: Question) -> list[Cell]:
        """The cells that are meant, while they still grow. Not to be written to."""
        cells = self.cells
        known, found = self._matched.get(question, (0, []))
        if known != len(cells):  # keys are only ever added, at the end
            for key, cell in islice(cells.items(), known, None):
                if question.holds(key):
                    found.append(Cell.of(cell))
            if len(self._matched) >= _QUESTIONS:
                self._matched.clear()
            self._matched[question] = (len(cells), found)
        if not self.others:
            return found
        said = self.others.values()
        return [*found, *(c for told in said for key, c in told.items() if question.holds(key))]

    def put(self, key: Key, cell: Cell | bytes) -> int:
        """Add a cell; how many cells there are more."""
        held = self.cells.get(key)
        if held is None:
            self.cells[key] = cell if isinstance(cell, bytes) else cell.pack()
            return 1
        whole = Cell.of(held)
        whole.merge(Cell.of(cell))
        self.cells[key] = whole.pack()
        return 0


class Ring:
    """The slots of all keys.

    Args:
        now: When watching began.
        cells: How many cells are kept at most.

    Attributes:
        since: When watching began, or what was forgotten ended.
        size: Cells kept.
    """

    __slots__ = (
        "_ages",
        "_columns",
        "_dropped",
        "_levels",
        "_limit",
        "_newest",
        "_packing",
        "_totals",
        "since",
        "size",
    )

    def __init__(self, now: float, cells: int) -> None:
        self._levels: tuple[deque[Slot], ...] = tuple(deque() for _ in LEVELS)
        self._newest = Slot(_aligned(now, LEVELS[0][0]))
        self._levels[0].append(self._newest)
        self._packing: deque[tuple[Slot, list[Key]]] = deque()
        self._ages = LEVELS
        self._limit = cells
        self._dropped = 0
        self._totals: dict[tuple[Question, float, float], Cell] = {}
        self._columns: dict[tuple[Question, ...], Column] = {}
        self.since = now
        self.size = 0

    @property
    def turn(self) -> float:
        """When the newest slot ends."""
        return self._newest.start + LEVELS[0][0]

    @property
    def dropped(self) -> int:
        """Slots forgotten before their time because there were too many cells."""
        return self._dropped

    def cells(self, now: float) -> Cells:
        """The cells to record into; add to `size` what is added to them.

        Times may run a little backwards between threads: a late one counts in the newest slot.
        """
        newest = self._newest
        if now >= newest.start + LEVELS[0][0]:
            self._packing.append((newest, list(newest.cells)))
            newest._matched = {}
            self._changed()
            newest = self._newest = Slot(_aligned(now, LEVELS[0][0]))
            self._levels[0].append(newest)
        return newest.cells

    def tidy(self, now: float, most: int) -> bool:
        """Pack and fold what has grown old, `most` cells of it; whether something is left."""
        left = most
        while self._packing and left > 0:
            slot, keys = self._packing[0]
            while keys and left > 0:
                key = keys.pop()
                cell = slot.cells.get(key)
                if isinstance(cell, Cell):
                    slot.cells[key] = cell.pack()
                    left -= 1
            if not keys:
                self._packing.popleft()
        if self.size > self._limit and self._ages is LEVELS:
            self._ages = CROWDED
        for level, (width, age) in enumerate(self._ages):
            slots = self._levels[level]
            while slots and slots[0] is not self._newest and left > 0:
                oldest = slots[0]
                if oldest.start + width > now - age:
                    break
                left -= self._fold(level, oldest, left)
                if not oldest.cells and not oldest.others:
                    slots.popleft()
        if left > 0:
            while self.size > self._limit:
                self._forget()
            if self.size < self._limit // 4 and self._ages is CROWDED:
                self._ages = LEVELS
        return left <= 0

    def _fold(self, level: int, slot: Slot, most: int) -> int:
        """Move up to `most` cells of a slot to the next level; how many were moved."""
        into: Slot | None = None
        if level + 1 < len(LEVELS):
            into = self._slot(level + 1, slot.start)
            into.changed()
        slot.changed()
        self._changed()
        moved = 0
        while slot.cells and moved < most:
            key, cell = slot.cells.popitem()
            self.size -= 1
            if into is not None:
                self.size += into.put(key, cell)
            moved += 1
        while not slot.cells and slot.others and moved < most:
            _, cells = slot.others.popitem()
            for key, cell in cells.items():
                self.size -= 1
                if into is not None:
                    self.size += into.put(key, cell)
                moved += 1
        return max(1, moved)

    def _changed(self) -> None:
        """Forget what was added up."""
        self._totals = {}
        self._columns = {}

    def _slot(self, level: int, time: float) -> Slot:
        """The slot of a level that holds `time`, made if there is none; the newest, as a rule."""
        slots = self._levels[level]
        start = _aligned(time, LEVELS[level][0])
        for slot in reversed(slots):
            if slot.start == start:
                return slot
            if slot.start < start:
                break
        made = Slot(start)
        place = len(slots)
        while place and slots[place - 1].start > start:
            place -= 1
        slots.insert(place, made)
        return made

    def _forget(self) -> None:
        """Let go of the oldest slot."""
        for level in range(len(LEVELS) - 1, -1, -1):
            slots = self._levels[level]
            if slots and slots[0] is not self._newest:
                gone = slots.popleft()
                self._changed()
                self.size -= len(gone.cells) + sum(len(c) for c in gone.others.values())
                self.since = max(self.since, gone.start + LEVELS[level][0])
                self._dropped += 1
                return
        self._limit = max(self._limit, self.size)  # one slot alone holds them all

    # Reading -------------------------------------------------------------------------------

    def stretch(self, seconds: float, now: float, before: float = 0.0) -> Stretch:
        """The `seconds` that ended `before` seconds before `now`, as slots have it."""
        end = now if before <= 0 else self._nearest(now - before, now)
        begin = self._nearest(now - before - seconds, now)
        watched = max(0.0, min(end, now) - max(begin, self.since))
        if before <= 0:
            # What is recorded in this very moment is part of now.
            return Stretch(begin, inf, watched)
        return Stretch(begin, end, watched)

    def _nearest(self, time: float, now: float) -> float:
        """The bound of a slot next to `time`, as fine as slots of its age are."""
        age = now - time
        width = next((w for w, kept in self._ages if age <= kept), LEVELS[-1][0])
        return (time + width / 2) // width * width

    def slots(self, begins: float, ends: float) -> Iterator[Slot]:
        """The slots of a stretch, the oldest first."""
        for slots in reversed(self._levels):
            for slot in slots:
                if begins <= slot.start < ends:
                    yield slot

    def read(self, question: Question, begins: float, ends: float) -> Iterator[tuple[float, Cell]]:
        """What each slot of a stretch holds of it, with the time it begins, the oldest first."""
        newest = self._newest
        for slot in self.slots(begins, ends):
            yield slot.start, slot.read(question, settled=slot is not newest)

    def total(self, question: Question, begins: float, ends: float) -> list[Cell]:
        """All that a stretch holds, in few cells. Not to be written to.

        What does not change any more is added up once in a slot's time.
        """
        newest = self._newest
        closed = self._totals.get((question, begins, ends))
        if closed is None:
            closed = merged(
                slot.read(question, settled=True)
                for slot in self.slots(begins, ends)
                if slot is not newest
            )
            if len(self._totals) >= _TOTALS:
                self._totals = {}
            self._totals[question, begins, ends] = closed
        if begins <= newest.start < ends:
            return [closed, *newest.parts(question)]
        return [closed]

    def running(self, questions: tuple[Question, ...], begins: float) -> Running:
        """What the slots since `begins` hold, each once for each question. Not to be written to."""
        newest = self._newest
        known = self._columns.get(questions)
        if known is None or known.begins > begins:
            slots = [slot for slot in self.slots(begins, inf) if slot is not newest]
            held = [(s.start, s.read(q, settled=True)) for s in slots for q in questions]
            if len(self._columns) >= _COLUMNS:
                self._columns = {}
            known = self._columns[questions] = Column(held, begins)
        return Running(known, newest.start, [cell for q in questions for cell in newest.parts(q)])

    def keys(self, wanted: Callable[[Key], bool]) -> set[Key]:
        """The keys there are that are `wanted`."""
        found: set[Key] = set()
        for slots in self._levels:
            for slot in slots:
                for cells in (slot.cells, *slot.others.values()):
                    found.update(key for key in cells if key not in found and wanted(key))
        return found

    # Others --------------------------------------------------------------------------------

    def recent(self, count: int) -> list[Slot]:
        """The newest `count` fine slots, the oldest of them first."""
        return list(self._levels[0])[-count:]

    def told(self, process: str, start: float, cells: Mapping[Key, Cell], now: float) -> bool:
        """Another process says what it recorded in a fine slot; what it said before is replaced.

        False for what is too old to be taken, or has not come yet.
        """
        width, age = LEVELS[0]
        if start != _aligned(start, width) or not now - age < start <= now + width:
            return False
        if start > self._newest.start:
            self.cells(start)
        slot = self._slot(0, start)
        before = slot.others.get(process, {})
        slot.others[process] = cells
        self.size += len(cells) - len(before)
        slot.changed()
        self._changed()
        return True


def _aligned(time: float, width: float) -> float:
    return time // width * width


def width_at(age: float) -> float:
    """Seconds of the slots that hold what is `age` seconds old."""
    return next((width for width, kept in LEVELS if age <= kept), LEVELS[-1][0])
