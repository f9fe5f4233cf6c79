"""The ledger of one host: a SQLite file that many processes share.

Every change is one `BEGIN IMMEDIATE` transaction in the write-ahead log, with `synchronous=FULL`:
what was answered is on the disk, also after the machine lost its power.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

from firedoor.core.incident import IncidentRecord
from firedoor.ledger import schema
from firedoor.ledger.base import BATCH
from firedoor.sqlite_file import SQLiteFile

__all__ = ["SQLiteLedger"]

BUSY_TIMEOUT = 5.0
"""Seconds to wait for others' transactions."""


class SQLiteLedger:
    """Incidents in a file.

    Thread-safe and fork-safe.

    Args:
        path: The file; made if it is not there.
        busy_timeout: Seconds to wait for others' transactions before `StoreError`.

    Raises:
        ConfigurationError: If the file cannot be used.
    """

    shared = True

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self._file = SQLiteFile(
            path, _migrate, what="ledger", synchronous="FULL", busy_timeout=busy_timeout
        )

    def __repr__(self) -> str:
        return f"<SQLiteLedger {str(self._file.path)!r}>"

    def save(self, record: IncidentRecord, *, expected: int) -> bool:
        """See `Ledger.save`."""
        with self._file.writing() as sql:
            if expected == 0:
                return sql.execute(schema.INSERT, schema.row(record, None)).rowcount > 0
            return sql.execute(schema.UPDATE, schema.update(record, expected)).rowcount > 0

    def open_one(self, record: IncidentRecord, key: str) -> IncidentRecord | None:
        """See `Ledger.open_one`."""
        with self._file.writing() as sql:
            held = key if record.open else None
            if sql.execute(schema.INSERT, schema.row(record, held)).rowcount > 0:
                return record
            found = sql.execute(schema.OPEN_WITH_KEY, schema.key_of(record, key)).fetchone()
            return None if found is None else schema.read(*found)

    def load(self, incident_id: str) -> IncidentRecord | None:
        """See `Ledger.load`."""
        with self._file.reading() as sql:
            found = sql.execute(schema.LOAD, (schema.column(incident_id),)).fetchone()
        return None if found is None else schema.read(*found)

    def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        fingerprint: str | None = None,
        limit: int = 100,
    ) -> tuple[IncidentRecord, ...]:
        """See `Ledger.incidents`."""
        text, values = schema.query(
            service=service, open_only=open_only, fingerprint=fingerprint, limit=limit
        )
        with self._file.reading() as sql:
            rows = sql.execute(text, values).fetchall()
        return tuple(schema.read(*found) for found in rows)

    def prune(
        self,
        *,
        before: float,
        service: str | None = None,
        limit: int = BATCH,
        dry_run: bool = False,
    ) -> tuple[str, ...]:
        """See `Ledger.prune`."""
        text, values = schema.outdated(before=before, service=service, limit=limit)
        with self._file.reading() as sql:  # mostly there are none: nobody need wait for that
            gone = schema.ids(sql.execute(text, values).fetchall())
        if dry_run or not gone:
            return gone
        with self._file.writing() as sql:
            gone = schema.ids(sql.execute(text, values).fetchall())
            sql.executemany(schema.DELETE, [(incident_id,) for incident_id in gone])
        return gone

    def close(self) -> None:
        """See `Ledger.close`."""
        self._file.close()


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; of processes that begin at once, one does it."""
    (there,) = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE name = 'firedoor_ledger_schema'"
    ).fetchone()
    if there and schema.missing(_version(connection)) == ():
        return  # without waiting for whoever writes
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS firedoor_ledger_schema (version INTEGER NOT NULL)"
        )
        schema.upgrade(_version(connection), connection.execute)
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("SELECT max(version) FROM firedoor_ledger_schema").fetchone()
    return version or 0
