"""The ledger of one host: a SQLite file that many processes share.

Every change is one `BEGIN IMMEDIATE` transaction in the write-ahead log, with `synchronous=FULL`:
what was answered is on the disk, also after the machine lost its power.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import threading
import time
from collections.abc import Iterator

from firedoor.core.incident import IncidentRecord
from firedoor.errors import ConfigurationError, StoreError
from firedoor.ledger import schema

__all__ = ["SQLiteLedger"]

BUSY_TIMEOUT = 5.0
"""Seconds to wait for others' transactions."""

_RETRY = 0.01

# Connections that were open when the process forked: closing them here is not ours to do.
_INHERITED: list[sqlite3.Connection] = []


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
        self.path = pathlib.Path(path).absolute()
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        try:
            self._connection = self._prepare()
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"sqlite ledger {str(self.path)!r} cannot be used ({error}): give a file in a "
                "directory that exists and may be written to; an absolute path has four slashes, "
                "as in sqlite:////var/lib/app/incidents.db"
            ) from error

    def __repr__(self) -> str:
        return f"<SQLiteLedger {str(self.path)!r}>"

    def save(self, record: IncidentRecord, *, expected: int) -> bool:
        """See `Ledger.save`."""
        with self._transaction() as sql:
            if expected == 0:
                return sql.execute(schema.INSERT, schema.row(record, None)).rowcount > 0
            return sql.execute(schema.UPDATE, schema.update(record, expected)).rowcount > 0

    def open_one(self, record: IncidentRecord, key: str) -> IncidentRecord | None:
        """See `Ledger.open_one`."""
        with self._transaction() as sql:
            held = key if record.open else None
            if sql.execute(schema.INSERT, schema.row(record, held)).rowcount > 0:
                return record
            found = sql.execute(schema.OPEN_WITH_KEY, schema.key_of(record, key)).fetchone()
            return None if found is None else schema.read(*found)

    def load(self, incident_id: str) -> IncidentRecord | None:
        """See `Ledger.load`."""
        with self._exclusive() as sql:
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
        with self._exclusive() as sql:
            rows = sql.execute(text, values).fetchall()
        return tuple(schema.read(*found) for found in rows)

    def close(self) -> None:
        """See `Ledger.close`."""
        if self._process != os.getpid():
            self._after_fork()
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # The connection ------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _prepare(self) -> sqlite3.Connection:
        connection = self._connect()
        ends = time.monotonic() + self._busy_timeout
        while True:
            try:
                # Two processes that change the mode at once do not wait for each other.
                connection.execute("PRAGMA journal_mode=WAL")
                _migrate(connection)
                return connection
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > ends:
                    connection.close()
                    raise
                time.sleep(_RETRY)
            except BaseException:
                connection.close()
                raise

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[sqlite3.Connection]:
        if self._process != os.getpid():
            self._after_fork()
        lock = self._lock
        if not lock.acquire(timeout=self._busy_timeout):
            raise StoreError(f"sqlite ledger {str(self.path)!r}: other threads do not let go of it")
        try:
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except sqlite3.Error as error:
            # Whatever state it is in, a new one is in a better.
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            raise StoreError(f"sqlite ledger {str(self.path)!r}: {error}") from error
        finally:
            lock.release()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._exclusive() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _after_fork(self) -> None:
        if self._connection is not None:
            _INHERITED.append(self._connection)
        self._lock = threading.Lock()
        self._connection = None
        self._process = os.getpid()


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; of processes that begin at once, one does it."""
    # A transaction of its own takes the lock even where there is nothing to change.
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS firedoor_ledger_schema (version INTEGER NOT NULL)"
        )
        (have,) = connection.execute("SELECT max(version) FROM firedoor_ledger_schema").fetchone()
        for statement in schema.missing(have or 0):
            connection.execute(statement)
        if (have or 0) < schema.VERSION:
            connection.execute("INSERT INTO firedoor_ledger_schema VALUES (?)", (schema.VERSION,))
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
