"""The incident book: what was opened, what became of it, and who may change it next.

Every change of an incident is an edit (a function from record to record) that is applied by
compare-and-set, so that of two who change the same one neither is lost. While the ledger is away,
edits act on what is known here and wait, and are made again on what the ledger has when it is back.
"""

from __future__ import annotations

import getpass
import operator
import os
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.core import lifecycle
from firedoor.core.fingerprint import fingerprint
from firedoor.core.incident import IncidentRecord
from firedoor.core.lasting import Times, times
from firedoor.core.redacted import redacted
from firedoor.core.runbook import Runbook
from firedoor.core.switches import duration
from firedoor.errors import LifecycleError, StoreError, UnknownIncident
from firedoor.incidents.handle import Incident
from firedoor.incidents.runbooks import defaults, unclassified
from firedoor.ledger import Ledger, MemoryLedger
from firedoor.ledger.base import BATCH
from firedoor.types import IncidentClass, Severity

__all__ = ["Edit", "Incident", "Incidents", "Listener"]

T = TypeVar("T")
Edit = Callable[[IncidentRecord], IncidentRecord]
"""A pure function; it may run more than once, and on a newer record than it was made for."""

Listener = Callable[[IncidentRecord | None, IncidentRecord], object]
"""Told of a change by the process that wrote it: the record before (None: it is new) and after."""

MOST_PENDING = 1_000
"""Edits that wait for the ledger; beyond them the oldest that opens nothing is dropped, counted."""

_MOST_KNOWN = 512
_MOST_OPEN = 1_000
_TRIES = 64
_RETRY_FIRST, _RETRY_MOST = 1.0, 30.0
"""Seconds between two tries of a ledger that is away."""

_WORST = tuple(Severity)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A change the ledger has not heard of.

    Attributes:
        incident_id: Whose.
        edit: What to do to it; None: it is to be opened.
        record: As it was opened, or as an attempt that may have arrived made it.
        key: The correlation key it was opened with.
    """

    incident_id: str
    edit: Edit | None = None
    record: IncidentRecord | None = None
    key: str = ""


class Incidents:
    """The incidents of an application. Thread-safe and fork-safe.

    A call waits for the ledger, which on a server takes about a millisecond. A ledger that is away
    is tried again after 1, 2, 4 ... 30 s and not in between, so that a caller waits for its
    time-out once.

    Args:
        ledger: Where they are kept; None: in this process.
        service: The application; None: those of every one, as the command line shows them.
        clock: Whose time it is.
        clean: What every text passes before it is kept. None: it is kept as it is.
        runbooks: Those to show; the defaults fill in for the classes they leave out.
        on_fault: Called with what goes wrong: the ledger away, an edit that could not be made.
        offline: What a change does while the ledger is away: it acts here and waits (`queue`), or
            the error is raised (`raise`), for a command line that would not be there any more.
        windows: Windows for which every signal has to be back before an incident may close.
    """

    def __init__(
        self,
        ledger: Ledger | None = None,
        *,
        service: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        clean: Callable[[str], str] | None = None,
        runbooks: Sequence[Runbook] = (),
        on_fault: Callable[[BaseException], object] | None = None,
        offline: Literal["queue", "raise"] = "queue",
        windows: int = lifecycle.WINDOWS,
    ) -> None:
        self.ledger: Ledger = MemoryLedger() if ledger is None else ledger
        self.windows = windows
        self.service = service
        self._clock = clock
        self._clean = clean
        self._runbooks = {book.incident_class: book for book in _all(runbooks)}
        self._on_fault = on_fault
        self._offline = offline
        self._listeners: tuple[Listener, ...] = ()
        self._on_decision: tuple[Callable[[IncidentRecord], object], ...] = ()
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._known: OrderedDict[str, IncidentRecord] = OrderedDict()
        self._renamed: dict[str, str] = {}
        self._pending: deque[_Waiting] = deque()
        self._lost = 0
        self._next_try: float | None = None
        self._pause = _RETRY_FIRST

    def __repr__(self) -> str:
        return f"<Incidents of {self.service or 'every service'} in {self.ledger!r}>"

    # Reading -------------------------------------------------------------------------------

    def current(self) -> list[Incident]:
        """The open incidents, most severe first; of the same severity the older one first."""
        found = sorted(
            self.open_records(), key=lambda r: (_WORST.index(r.severity), r.detected_at or 0.0)
        )
        return [Incident(self, record.id) for record in found]

    def get(self, incident_id: str) -> Incident:
        """The incident with this id.

        Raises:
            UnknownIncident: If there is none.
        """
        return Incident(self, self.record(incident_id).id)

    def find(self, beginning: str) -> Incident:
        """The incident whose id begins so, with or without `INC-`.

        Raises:
            UnknownIncident: If there is none, or more than one.
        """
        wanted = beginning.strip().lower()
        records = self.records(limit=_MOST_OPEN)
        whole = [r for r in records if r.id.lower() in {wanted, f"inc-{wanted}"}]
        begins = whole or [
            r for r in records if wanted and r.id.lower().startswith((wanted, f"inc-{wanted}"))
        ]
        if len(begins) == 1:
            return Incident(self, begins[0].id)
        if begins:
            ids = ", ".join(record.id for record in begins[:5])
            raise UnknownIncident(f"{beginning!r} begins {ids}: say which")
        return self.get(beginning)

    def history(self, limit: int = 100) -> list[Incident]:
        """Open and closed incidents, the one detected last first."""
        return [Incident(self, record.id) for record in self.records(limit=limit)]

    def times(self, limit: int = 1_000) -> dict[IncidentClass | None, Times]:
        """How long the last incidents took to be detected, contained and over, by class."""
        return times(self.records(limit=limit))

    def record(self, incident_id: str) -> IncidentRecord:
        """What is known of an incident now.

        Raises:
            UnknownIncident: If there is none with this id.
            StoreError: If the ledger is away and it is not known here.
        """
        with self._exclusive():
            incident_id = self.current_id(incident_id)
            found = self._ask(lambda ledger: ledger.load(incident_id))
            record = self._known.get(incident_id) if isinstance(found, StoreError) else found
            if isinstance(found, StoreError) and record is None:
                raise found
            if record is None:
                raise self._unknown(incident_id)
            self._keep(record)
            return record

    def records(self, limit: int = 100) -> tuple[IncidentRecord, ...]:
        """The last incidents as they are now, the one detected last first."""
        with self._exclusive():
            found = self._ask(lambda ledger: ledger.incidents(service=self.service, limit=limit))
            if isinstance(found, StoreError):
                known = sorted(self._known.values(), key=_detected, reverse=True)
                return tuple(known[:limit])
            return found

    def open_records(self) -> tuple[IncidentRecord, ...]:
        """The open incidents as they are now, the one detected last first."""
        with self._exclusive():
            found = self._ask(
                lambda ledger: ledger.incidents(
                    service=self.service, open_only=True, limit=_MOST_OPEN
                )
            )
            if isinstance(found, StoreError):
                known = [record for record in self._known.values() if record.open]
                return tuple(sorted(known, key=_detected, reverse=True))
            for record in found:
                self._keep(record)
            return found

    def current_id(self, incident_id: str) -> str:
        """The id an incident goes by, where it turned out to be one that another process had."""
        return self._renamed.get(incident_id, incident_id)

    @property
    def runbooks(self) -> list[Runbook]:
        """One of each class; the application's own, where it has one."""
        return list(self._runbooks.values())

    def runbook_of(self, record: IncidentRecord) -> Runbook:
        """The runbook of its class."""
        return self._runbooks[record.incident_class]

    def snapshot(self) -> dict[str, Any]:
        """How many incidents are open, and how the ledger is, without asking it."""
        with self._exclusive():
            return {
                "open": [record.id for record in self._known.values() if record.open],
                "ledger": repr(self.ledger),
                "reachable": self._next_try is None,
                "pending": len(self._pending),
                "lost": self._lost,
            }

    # Writing -------------------------------------------------------------------------------

    def open(self, record: IncidentRecord, key: str) -> Incident:
        """Open an incident, unless one with this correlation key is open: then that one.

        Args:
            record: What is known. An empty id is filled in, as are service, times and fingerprint.
            key: What makes two alerts the same incident, as in `checkout-help|llm:answer`.

        Returns:
            The incident of that key. Its id tells whether it is the one given.
        """
        with self._exclusive():
            given = replace(
                record,
                id=record.id or self.new_id(),
                service=record.service or self.service or "",
                version=0,
            )
            if self._clean is not None:  # before its title becomes a line of the timeline
                given = redacted(given, self._clean)
            while True:
                made = self._finished(None, lifecycle.open_incident(given, now=self.time()))
                if not self._reachable():
                    break
                try:
                    made = self._recurring(made)
                    found = self.ledger.open_one(made, key)
                except StoreError as error:
                    self._failed(error)
                    break
                if found is None:  # the id is taken
                    given = replace(given, id=self.new_id())
                    continue
                self._keep(found)
                if found.id == made.id:
                    self._tell(None, found)
                return Incident(self, found.id)
            self._wait(_Waiting(made.id, record=made, key=key))
            self._keep(made)
            self._tell(None, made)
            return Incident(self, made.id)

    def declare(
        self,
        title: str,
        *,
        incident_class: IncidentClass | None = None,
        severity: Severity = Severity.SEV3,
        journey: str | None = None,
        since: float | None = None,
        actor: str | None = None,
    ) -> Incident:
        """Open an incident that a person has noticed and no alert has.

        Nothing is done about it by itself: there is no signal that could tell whether it helped.

        Args:
            title: What users meet, in one line.
            incident_class: One of the five; None: not known.
            severity: How bad it is.
            journey: Where; None: the whole application.
            since: When it began, seconds since the epoch; None: now.
            actor: Who noticed it.
        """
        now, who, said = self.time(), self.actor(actor), self.clean(title)
        record = IncidentRecord(
            self.new_id(),
            self.service or "",
            title=said,
            incident_class=incident_class,
            severity=severity,
            journey=journey,
            first_bad_at=now if since is None else min(since, now),
            detected_at=now,
        )
        record = lifecycle.note(record, f"declared: {said}", event="detected", now=now, actor=who)
        return self.open(record, f"declared:{record.id}")

    def update(self, incident_id: str, edit: Edit) -> IncidentRecord:
        """Change an incident: the one way to.

        Args:
            incident_id: Which.
            edit: From what it is to what it is to be; one of `core.lifecycle`, or a function made
                of them. Answering the same record changes nothing.

        Raises:
            LifecycleError: From the edit, where the lifecycle does not allow it.
            UnknownIncident: If there is none with this id.
            StoreError: If the ledger is away and nothing is known of it here, or `offline="raise"`.
        """
        with self._exclusive():
            incident_id = self.current_id(incident_id)
            attempt: list[IncidentRecord] = []
            if self._reachable():
                try:
                    return self._apply(incident_id, edit, attempt)
                except StoreError as error:
                    self._failed(error)
            known = self._known.get(incident_id)
            if known is None:
                raise StoreError(f"{incident_id}: the ledger is away, and it is not known here")
            made = self._finished(known, edit(known))
            if made is known:
                return known
            self._wait(_Waiting(incident_id, edit, attempt[-1] if attempt else None))
            self._keep(made)
            self._tell(known, made)
            return made

    def refresh(self) -> tuple[IncidentRecord, ...]:
        """The open incidents, after telling of what others changed and nobody told of.

        The command line has no telemetry: whichever process sees first what it did says so.
        """
        with self._exclusive():
            before = {record.id for record in self._known.values() if record.open}
            found = self.open_records()
            records = {record.id: record for record in found}
            if self._next_try is None:
                for incident_id in before - set(records):
                    gone = self._ask(operator.methodcaller("load", incident_id))
                    if isinstance(gone, IncidentRecord):
                        self._keep(gone)
                        records[gone.id] = gone
            if self._listeners:
                for record in records.values():
                    if record.told is not record.state:
                        self._announce(record)
            return found

    def sync(self) -> bool:
        """Try now to write what waits; whether nothing waits any more."""
        with self._exclusive():
            self._next_try = None if self._pending else self._next_try
            return self._reachable() and not self._pending

    def prune(
        self, older_than: float | str, *, limit: int = BATCH, dry_run: bool = False
    ) -> tuple[str, ...]:
        """Forget closed incidents that nobody has changed for so long, the oldest first.

        An open one stays, and so does the one that an incident repeats which stays itself.

        Args:
            older_than: Seconds, or a text like `"90d"`.
            limit: At most so many.
            dry_run: Forget nothing: only say which it would be.

        Returns:
            The ids of those that are gone. Fewer than `limit`: there are no more.

        Raises:
            ConfigurationError: If `older_than` is no time.
            StoreError: If the ledger is away.
        """
        seconds = duration(older_than, name="older_than", otherwise="'90d' is a quarter of a year")
        with self._exclusive():
            before = self.time() - seconds
            gone = self._ask(
                lambda ledger: ledger.prune(
                    before=before, service=self.service, limit=limit, dry_run=dry_run
                )
            )
            if isinstance(gone, StoreError):
                raise gone
            if not dry_run:
                for incident_id in gone:
                    self._known.pop(incident_id, None)
            return gone

    @property
    def pending(self) -> int:
        """Changes that act here and wait for the ledger."""
        return len(self._pending)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every change this process writes; answers the undo."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unsubscribe

    def on_decided(self, listener: Callable[[IncidentRecord], object]) -> None:
        """Call `listener` when a person in this process has approved, rejected, or asked to revert."""
        self._on_decision = (*self._on_decision, listener)

    def decided(self, record: IncidentRecord) -> None:
        """A person decided on an action here: whoever applies actions need not wait for its turn."""
        for listener in self._on_decision:
            try:
                listener(record)
            except Exception as error:
                self._fault(error)

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._clock.time_ns() / 1e9

    def clean(self, text: str) -> str:
        """`text` as it may be kept. Comes before anything that would cut or join it."""
        return text if self._clean is None else self._clean(text)

    def actor(self, given: str | None) -> str:
        """Who acts; the user the process runs as where nobody says."""
        if given is not None and given.strip():
            return self.clean(given)
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container may run as a user that has no name
            return "unknown"

    @staticmethod
    def new_id() -> str:
        """A random id, as in `INC-7f3a91c2`."""
        return f"INC-{secrets.token_hex(4)}"

    def close(self) -> None:
        """Write what waits, if that is possible, and let go of the ledger."""
        self.sync()
        self.ledger.close()

    # The ledger ----------------------------------------------------------------------------

    def _apply(
        self,
        incident_id: str,
        edit: Edit,
        attempt: list[IncidentRecord],
        *,
        tell: bool = True,
    ) -> IncidentRecord:
        """Make an edit in the ledger; what was tried is added to `attempt`."""
        for _ in range(_TRIES):
            record = self.ledger.load(incident_id)
            if record is None:
                raise self._unknown(incident_id)
            made = self._finished(record, edit(record))
            if made is record:
                self._keep(record)
                return record
            if made.fingerprint != record.fingerprint:
                made = self._recurring(made)
            attempt.append(made)
            if self.ledger.save(made, expected=record.version):
                self._keep(made)
                if tell:
                    self._tell(record, made)
                return made
        raise StoreError(
            f"{incident_id}: changed by others {_TRIES} times while it was changed here"
        )

    def _finished(self, before: IncidentRecord | None, edited: IncidentRecord) -> IncidentRecord:
        """What an edit made, as it is kept; `before` itself if it changed nothing."""
        if before is not None and edited == before:
            return before
        if self._clean is not None:
            edited = redacted(edited, self._clean, before)
        return replace(
            edited,
            id=edited.id if before is None else before.id,
            version=(0 if before is None else before.version) + 1,
            updated_at=self.time(),
            fingerprint=fingerprint(
                edited.incident_class,
                journey=edited.journey,
                route=edited.route,
                alias=edited.alias,
                control=edited.control,
                signature=edited.signature,
            ),
            told=edited.state if self._listeners else edited.told,
        )

    def _recurring(self, record: IncidentRecord) -> IncidentRecord:
        """`record` with the last closed incident of its kind."""
        same = self.ledger.incidents(
            service=record.service, fingerprint=record.fingerprint, limit=10
        )
        earlier = [r.id for r in same if r.id != record.id and not r.open]
        return replace(record, recurrence_of=earlier[0] if earlier else None)

    def _announce(self, record: IncidentRecord) -> None:
        state = record.state

        def edit(now: IncidentRecord) -> IncidentRecord:
            return replace(now, told=state) if now.state is state else now

        try:
            self.update(record.id, edit)
        except Exception as error:
            self._fault(error)

    def _ask(self, question: Callable[[Ledger], T]) -> T | StoreError:
        """What the ledger answers; the error instead, while it is away."""
        if not self._reachable():
            return StoreError("the ledger is away")
        try:
            return question(self.ledger)
        except StoreError as error:
            self._failed(error)
            return error

    def _reachable(self) -> bool:
        """Whether the ledger may be asked now: what waits comes first."""
        if self._next_try is not None and self._clock.now() < self._next_try:
            return False
        while self._pending:
            try:
                self._replay(self._pending[0])
            except StoreError as error:
                self._failed(error)
                return False
            except Exception as error:
                # Others have taken it further than this edit fits: theirs stands.
                self._lost += 1
                self._fault(error)
            self._pending.popleft()
        if self._next_try is not None:
            self._next_try, self._pause = None, _RETRY_FIRST
        return True

    def _replay(self, waiting: _Waiting) -> None:
        if waiting.edit is None:
            record = waiting.record
            assert record is not None
            found = self.ledger.open_one(self._recurring(record), waiting.key)
            if found is None:
                raise LifecycleError(f"{record.id}: the id is taken by another incident")
            if found.id != record.id:
                self._renamed[record.id] = found.id
                self._known.pop(record.id, None)
            self._keep(found)
            return
        incident_id = self.current_id(waiting.incident_id)
        record = self.ledger.load(incident_id)
        if record is not None and record == waiting.record:
            return  # it had arrived; only the answer was lost
        self._apply(incident_id, waiting.edit, [], tell=False)  # told of as it was made here

    def _failed(self, error: StoreError) -> None:
        self._next_try = self._clock.now() + self._pause
        self._pause = min(_RETRY_MOST, 2 * self._pause)
        if self._offline == "raise":
            raise error
        self._fault(error)

    def _wait(self, waiting: _Waiting) -> None:
        if self._offline == "raise":
            raise StoreError(f"{waiting.incident_id}: the ledger is away")
        if len(self._pending) >= MOST_PENDING:
            oldest = next((w for w in self._pending if w.edit is not None), self._pending[0])
            self._pending.remove(oldest)
            self._lost += 1
        self._pending.append(waiting)

    def _keep(self, record: IncidentRecord) -> None:
        self._known[record.id] = record
        self._known.move_to_end(record.id)
        if len(self._known) > _MOST_KNOWN:
            closed = (r.id for r in self._known.values() if not r.open)
            del self._known[next(closed, next(iter(self._known)))]

    def _tell(self, before: IncidentRecord | None, after: IncidentRecord) -> None:
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception as error:
                self._fault(error)

    def _fault(self, error: BaseException) -> None:
        if self._on_fault is not None:
            self._on_fault(error)

    def _unknown(self, incident_id: str) -> UnknownIncident:
        open_ones = [record.id for record in self._known.values() if record.open]
        there = f"open are {', '.join(open_ones[:5])}" if open_ones else "none is open"
        return UnknownIncident(f"no incident {incident_id!r}: {there}")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self._process != os.getpid():  # another thread may have held it as the process forked
            self._lock = threading.RLock()
            self._process = os.getpid()
        with self._lock:
            yield


def _all(given: Sequence[Runbook]) -> list[Runbook]:
    return [*defaults(), unclassified(), *given]


def _detected(record: IncidentRecord) -> float:
    return record.detected_at or 0.0
