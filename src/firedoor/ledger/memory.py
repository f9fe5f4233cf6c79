"""The ledger of one process: gone with it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from firedoor.core.incident import IncidentRecord
from firedoor.ledger.base import BATCH

__all__ = ["MemoryLedger"]

_MOST = 1_000


class MemoryLedger:
    """Incidents in memory. Thread-safe; a fork gets a copy of its own.

    Args:
        most: Incidents kept. Beyond that the oldest closed one is forgotten, or where all are
            open the oldest.
    """

    shared = False

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._records: OrderedDict[str, IncidentRecord] = OrderedDict()
        self._keys: dict[tuple[str, str], str] = {}

    def __repr__(self) -> str:
        return "<MemoryLedger>"

    def save(self, record: IncidentRecord, *, expected: int) -> bool:
        """See `Ledger.save`."""
        with self._exclusive():
            had = self._records.get(record.id)
            if (had.version if had is not None else 0) != expected:
                return False
            self._put(record)
            return True

    def open_one(self, record: IncidentRecord, key: str) -> IncidentRecord | None:
        """See `Ledger.open_one`."""
        with self._exclusive():
            first = self._keys.get((record.service, key))
            if first is not None:
                return self._records[first]
            if record.id in self._records:
                return None
            if record.open:
                self._keys[record.service, key] = record.id
            self._put(record)
            return record

    def load(self, incident_id: str) -> IncidentRecord | None:
        """See `Ledger.load`."""
        with self._exclusive():
            return self._records.get(incident_id)

    def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        fingerprint: str | None = None,
        limit: int = 100,
    ) -> tuple[IncidentRecord, ...]:
        """See `Ledger.incidents`."""
        with self._exclusive():
            found = [
                record
                for record in self._records.values()
                if (service is None or record.service == service)
                and (not open_only or record.open)
                and (fingerprint is None or record.fingerprint == fingerprint)
            ]
        found.sort(key=lambda record: (record.detected_at or 0.0, record.id), reverse=True)
        return tuple(found[: max(0, limit)])

    def prune(
        self,
        *,
        before: float,
        service: str | None = None,
        limit: int = BATCH,
        dry_run: bool = False,
    ) -> tuple[str, ...]:
        """See `Ledger.prune`."""
        with self._exclusive():
            old: list[IncidentRecord] = []
            held: set[tuple[str, str | None]] = set()
            for record in self._records.values():
                if record.open or record.updated_at >= before:
                    held.add((record.service, record.recurrence_of))
                elif service is None or record.service == service:
                    old.append(record)
            old = [record for record in old if (record.service, record.id) not in held]
            old.sort(key=lambda record: (record.updated_at, record.id))
            gone = tuple(record.id for record in old[: max(0, limit)])
            if not dry_run:
                for incident_id in gone:
                    del self._records[incident_id]
            return gone

    def close(self) -> None:
        """See `Ledger.close`."""

    def _put(self, record: IncidentRecord) -> None:
        self._records[record.id] = record
        if not record.open:
            self._free(record.id)
        while len(self._records) > self._most:
            closed = (r.id for r in self._records.values() if not r.open and r.id != record.id)
            gone = next(closed, None) or next(i for i in self._records if i != record.id)
            del self._records[gone]
            self._free(gone)

    def _free(self, incident_id: str) -> None:
        for key in [key for key, held in self._keys.items() if held == incident_id]:
            del self._keys[key]

    def _exclusive(self) -> threading.Lock:
        if self._process != os.getpid():  # another thread may have held it as the process forked
            self._lock = threading.Lock()
            self._process = os.getpid()
        return self._lock
